//! Messages between neighbours that keep the overlay's tree; kinds 1 to 31 of overlay messages.

use crate::wire::codec::{DecodeError, Reader, Write};
use crate::wire::location::Location;

const ANNOUNCE: u8 = 1;
const JOIN: u8 = 2;
const GRANT: u8 = 3;
const REFUSE: u8 = 4;

/// A message of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Where the sender hangs, and the rank of its tree: the lower, the more senior.
    Announce {
        /// Rank of the tree.
        rank: u64,
        /// The sender's place.
        place: Location,
    },
    /// The sender would like a slot.
    Join,
    /// A slot and its lease.
    Grant {
        /// The slot.
        slot: u32,
        /// Its lease.
        lease: u32,
    },
    /// There is no slot.
    Refuse,
}

impl Message {
    /// Appends the wire form.
    pub fn encode(&self, out: &mut impl Write) {
        match self {
            Self::Announce { rank, place } => {
                out.put_u8(ANNOUNCE);
                out.put_u64(*rank);
                place.encode(out);
            }
            Self::Join => out.put_u8(JOIN),
            Self::Grant { slot, lease } => {
                out.put_u8(GRANT);
                out.put_u32(*slot);
                out.put_u32(*lease);
            }
            Self::Refuse => out.put_u8(REFUSE),
        }
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            ANNOUNCE => Self::Announce {
                rank: reader.u64()?,
                place: Location::decode(&mut reader)?,
            },
            JOIN => Self::Join,
            GRANT => Self::Grant {
                slot: reader.u32()?,
                lease: reader.u32()?,
            },
            REFUSE => Self::Refuse,
            _ => return Err(DecodeError::Invalid("kind of a tree message")),
        };
        reader.finish()?;
        Ok(message)
    }
}
