//! The clear front of session packets, as a hop sees it behind the routing header.

use crate::wire::codec::{DecodeError, Reader, Write};

/// Version of the session protocol.
pub const VERSION: u8 = 1;
/// Bytes of a data packet's header.
pub const HEADER_LEN: usize = 19;

/// Type of a session packet (the paper's `ConTYPE` of the handshake phases).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// First message of the handshake (Hello of the initiator).
    HelloA,
    /// Second message of the handshake (Hello of the responder).
    HelloB,
    /// Sealed packet of a pair.
    Data,
    /// Re-Hello.
    ReHello,
    /// Cookie, when the responder is under load.
    Cookie,
}

impl Kind {
    /// The type byte.
    pub const fn code(self) -> u8 {
        match self {
            Self::HelloA => 1,
            Self::HelloB => 2,
            Self::Data => 3,
            Self::ReHello => 4,
            Self::Cookie => 5,
        }
    }

    /// The type behind a byte.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::HelloA,
            2 => Self::HelloB,
            3 => Self::Data,
            4 => Self::ReHello,
            5 => Self::Cookie,
            _ => return None,
        })
    }
}

/// Header of a data packet (R-W1): type (1), receiver index (8), selector (2), packet number (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Index of the session at the receiver.
    pub index: u64,
    /// Low bytes of both resume numbers.
    pub selector: [u8; 2],
    /// Packet number (the paper's SeqNBR).
    pub number: u64,
}

impl Header {
    /// The header as bytes; they are associated data of the packet.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (kind, rest) = bytes.split_at_mut(1);
        let (index, rest) = rest.split_at_mut(8);
        let (selector, number) = rest.split_at_mut(2);
        kind.copy_from_slice(&[Kind::Data.code()]);
        index.copy_from_slice(&self.index.to_be_bytes());
        selector.copy_from_slice(&self.selector);
        number.copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Reads the header of a data packet.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != Kind::Data.code() {
            return Err(DecodeError::Invalid("packet type"));
        }
        Ok(Self {
            index: reader.u64()?,
            selector: reader.array()?,
            number: reader.u64()?,
        })
    }
}

/// Front of a Re-Hello: type (1), receiver index (8); nonce and ciphertext follow.
pub fn put_re_hello_front(out: &mut impl Write, index: u64) {
    out.put_u8(Kind::ReHello.code());
    out.put_u64(index);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let header = Header {
            index: 0x0102_0304_0506_0708,
            selector: [9, 10],
            number: 11,
        };
        let bytes = header.to_bytes();
        assert_eq!(Header::decode(&mut Reader::new(&bytes)), Ok(header));
        assert_eq!(bytes[..3], [3, 1, 2]);
    }
}
