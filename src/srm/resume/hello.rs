//! H, the Re-Hello: the one message of the exchange, before sealing.
//!
//! `seq(8) | own(4) | own_nonce(16) | seen(4) | seen_nonce(16) | flags(1) | location | reason(1) |
//! count(1) | count × (channel(8) | next(varint)) | zeros`. Every H has [`HELLO_BYTES`] bytes, so
//! that an answer is never larger than its question (no amplification) and tells nothing by its size.

use std::fmt;

use crate::ssm::schedule::ResumeNonce;
use crate::wire::codec::{DecodeError, Reader, Write};
use crate::wire::location::{LOCATION_BYTES_MAX, Location};

/// Most hints in one H.
pub const HINTS_MAX: usize = 6;
/// Bytes of an encoded H: the longest that can occur. Sealed it fits into the first message of a link
/// handshake.
pub const HELLO_BYTES: usize = 8 + 2 * (4 + 16) + 1 + LOCATION_BYTES_MAX + 1 + 1 + HINTS_MAX * 16;

const ASK: u8 = 1;

/// Why an exchange was started; for logs and status only, no rule looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Something that none of the others names.
    Other,
    /// No authenticated answer on the live path for a while.
    Suspicion,
    /// A link came up.
    LinkUp,
    /// The own address or place changed.
    AddressChange,
    /// The machine was asleep.
    WakeUp,
    /// The live keys are used up or old (R-K5).
    KeyUse,
    /// The carrier of the live pair closed.
    CarrierClosed,
    /// An answered attempt was not confirmed in time.
    Unconfirmed,
    /// Nobody asked here: the peer did.
    PeerAsked,
    /// No way through the overlay is known any more.
    NoWay,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "none",
            Self::Suspicion => "no answer",
            Self::LinkUp => "link up",
            Self::AddressChange => "address change",
            Self::WakeUp => "wake-up",
            Self::KeyUse => "key renewal",
            Self::CarrierClosed => "link lost",
            Self::Unconfirmed => "not confirmed in time",
            Self::PeerAsked => "asked by the peer",
            Self::NoWay => "no way",
        })
    }
}

impl Reason {
    const ALL: [Self; 10] = [
        Self::Other,
        Self::Suspicion,
        Self::LinkUp,
        Self::AddressChange,
        Self::WakeUp,
        Self::KeyUse,
        Self::CarrierClosed,
        Self::Unconfirmed,
        Self::PeerAsked,
        Self::NoWay,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::Suspicion => 1,
            Self::LinkUp => 2,
            Self::AddressChange => 3,
            Self::WakeUp => 4,
            Self::KeyUse => 5,
            Self::CarrierClosed => 6,
            Self::Unconfirmed => 7,
            Self::PeerAsked => 8,
            Self::NoWay => 9,
        }
    }

    /// The reason behind a code; an unknown code is [`Reason::Other`].
    fn from_code(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| reason.code() == code)
            .unwrap_or(Self::Other)
    }
}

/// A Re-Hello. The caller seals it under the resume key of its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Rises with every H of its sender, for the life of the session.
    pub seq: u64,
    /// The sender's resume number.
    pub own: u32,
    /// The nonce drawn with `own`.
    pub own_nonce: ResumeNonce,
    /// Highest number of the receiver that the sender knows.
    pub seen: u32,
    /// The nonce of `seen`: the echo that proves freshness.
    pub seen_nonce: ResumeNonce,
    /// Whether an answer is wanted.
    pub ask: bool,
    /// Where to answer.
    pub location: Location,
    /// Why the sender sends.
    pub reason: Reason,
    /// Channel and next expected byte of a few channels, merged with max; at most [`HINTS_MAX`].
    pub hints: Vec<(u64, u64)>,
}

impl Hello {
    /// The wire form, always [`HELLO_BYTES`] long. Hints behind [`HINTS_MAX`] are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HELLO_BYTES);
        out.put_u64(self.seq);
        out.put_u32(self.own);
        out.put(&self.own_nonce.0);
        out.put_u32(self.seen);
        out.put(&self.seen_nonce.0);
        out.put_u8(if self.ask { ASK } else { 0 });
        self.location.encode(&mut out);
        out.put_u8(self.reason.code());
        let hints = self.hints.get(..HINTS_MAX).unwrap_or(&self.hints);
        out.put_u8(u8::try_from(hints.len()).unwrap_or(u8::MAX));
        for (channel, next) in hints {
            out.put_u64(*channel);
            out.put_varint(*next);
        }
        out.resize(HELLO_BYTES, 0);
        out
    }

    /// Reads an opened H. Fails on a wrong length, unknown flags, too many hints, or padding that is
    /// not zero.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > HELLO_BYTES {
            return Err(DecodeError::TooLong("hello"));
        }
        if bytes.len() < HELLO_BYTES {
            return Err(DecodeError::Truncated);
        }
        let mut reader = Reader::new(bytes);
        let seq = reader.u64()?;
        let (own, own_nonce) = (reader.u32()?, ResumeNonce(reader.array()?));
        let (seen, seen_nonce) = (reader.u32()?, ResumeNonce(reader.array()?));
        let ask = match reader.u8()? {
            0 => false,
            ASK => true,
            _ => return Err(DecodeError::Invalid("hello flags")),
        };
        let location = Location::decode(&mut reader)?;
        let reason = Reason::from_code(reader.u8()?);
        let count = usize::from(reader.u8()?);
        if count > HINTS_MAX {
            return Err(DecodeError::TooLong("hints"));
        }
        let mut hints = Vec::with_capacity(count);
        for _ in 0..count {
            hints.push((reader.u64()?, reader.varint()?));
        }
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(DecodeError::Invalid("hello padding"));
        }
        Ok(Self {
            seq,
            own,
            own_nonce,
            seen,
            seen_nonce,
            ask,
            location,
            reason,
            hints,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::VARINT_MAX;
    use crate::wire::location::{PATH_MAX, STEP_MAX};
    use proptest::{collection::vec, prelude::*};

    fn hello(ask: bool, hints: usize) -> Hello {
        Hello {
            seq: 7,
            own: 2,
            own_nonce: ResumeNonce([1; 16]),
            seen: 3,
            seen_nonce: ResumeNonce([2; 16]),
            ask,
            location: Location::Neighbour,
            reason: Reason::LinkUp,
            hints: vec![(4, 5); hints],
        }
    }

    #[test]
    fn question_and_answer_have_the_same_size() {
        let question = hello(true, 0).encode();
        let mut answer = hello(false, HINTS_MAX);
        answer.location = Location::Tree {
            tree: 1,
            term: VARINT_MAX,
            path: vec![(STEP_MAX, STEP_MAX); PATH_MAX],
        };
        answer.hints = vec![(u64::MAX, VARINT_MAX); HINTS_MAX];
        assert_eq!(question.len(), HELLO_BYTES);
        assert_eq!(answer.encode().len(), HELLO_BYTES);
        assert_eq!(Hello::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn hints_above_the_limit_are_left_out_and_refused() {
        let decoded = Hello::decode(&hello(true, 40).encode()).unwrap();
        assert_eq!(decoded.hints.len(), HINTS_MAX);
        let mut bytes = hello(true, 0).encode();
        bytes[8 + 40 + 1 + 1 + 1] = 17;
        assert_eq!(Hello::decode(&bytes), Err(DecodeError::TooLong("hints")));
    }

    #[test]
    fn padding_flags_and_length_are_checked() {
        let good = hello(true, 1).encode();
        let mut padded = good.clone();
        padded[HELLO_BYTES - 1] = 1;
        let mut flagged = good.clone();
        flagged[48] = 2;
        let mut long = good.clone();
        long.push(0);
        let decode = Hello::decode;
        assert_eq!(decode(&padded), Err(DecodeError::Invalid("hello padding")));
        assert_eq!(decode(&flagged), Err(DecodeError::Invalid("hello flags")));
        assert_eq!(decode(&long), Err(DecodeError::TooLong("hello")));
        assert_eq!(decode(&good[..100]), Err(DecodeError::Truncated));
    }

    #[test]
    fn every_reason_reads_back_and_an_unknown_one_is_other() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), reason);
        }
        assert_eq!(Reason::from_code(200), Reason::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(mut bytes in vec(any::<u8>(), 0..300)) {
            let _ = Hello::decode(&bytes);
            bytes.resize(HELLO_BYTES, 0);
            if bytes.len() > 48 {
                bytes[48] &= 1;
                bytes[49] &= 1;
            }
            if let Ok(hello) = Hello::decode(&bytes) {
                prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
        }
    }
}
