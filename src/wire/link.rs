//! Frames of a link between two neighbours.
//!
//! On the TCP stream: length of the sealed head (2), length of the body (3), sealed head, body. The
//! head holds all that a hop may know; the body is the ciphertext of a session packet, already sealed
//! end to end, and is bound in by its last bytes (design 7).

use crate::limits::{FRAME_BODY_MAX, FRAME_HEAD_MAX, HOPS_MAX};
use crate::wire::codec::{DecodeError, Reader, Write};
use crate::wire::location::Location;
use crate::wire::packet::HEADER_LEN;
use crate::wire::tag::Tag;

/// Bytes of the two lengths in front of a frame.
pub const LENGTHS_LEN: usize = 5;
/// Bytes of the tag behind a sealed head.
pub const HEAD_TAG_LEN: usize = 16;
/// Bytes of the body's end that the head's seal covers.
pub const BOUND_LEN: usize = 16;
/// Bytes of the shortest message of a signal: with less, a notice that it goes no further would be longer (R-O9).
pub const SIGNAL_MIN: usize = 16;

/// The two lengths in front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Bytes of the sealed head, tag included.
    pub head: usize,
    /// Bytes of the body; zero for frames without one.
    pub body: usize,
}

impl Lengths {
    /// Reads and checks the lengths, before anything is allocated (R-O7).
    pub fn decode(bytes: [u8; LENGTHS_LEN]) -> Result<Self, DecodeError> {
        let [a, b, c, d, e] = bytes;
        let head = usize::from(u16::from_be_bytes([a, b]));
        let body = usize::try_from(u32::from_be_bytes([0, c, d, e])).unwrap_or(usize::MAX);
        if head <= HEAD_TAG_LEN || head > FRAME_HEAD_MAX {
            return Err(DecodeError::Invalid("length of a frame's head"));
        }
        if body > FRAME_BODY_MAX || (body != 0 && body < BOUND_LEN) {
            return Err(DecodeError::Invalid("length of a frame's body"));
        }
        Ok(Self { head, body })
    }

    /// The lengths as bytes; they are associated data of the head.
    pub fn to_bytes(self) -> [u8; LENGTHS_LEN] {
        let [.., a, b] = self.head.to_be_bytes();
        let [.., c, d, e] = self.body.to_be_bytes();
        [a, b, c, d, e]
    }

    /// Bytes of the whole frame.
    pub const fn frame(self) -> usize {
        LENGTHS_LEN + self.head + self.body
    }
}

/// The routing header (the paper's RH): all of it may change on the way, nothing in it is trusted
/// beyond delivery (R-O2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Set by a relay whose queue is long.
    pub marked: bool,
    /// It goes from father to child and from child to father where it can: past whoever only seems to be on the way.
    pub by_tree: bool,
    /// Hops left (R-O1).
    pub hops: u8,
    /// The end that shall get it.
    pub to: Tag,
    /// The end that sent it.
    pub from: Tag,
    /// Distance that the next hop must undercut; meaningless between neighbours.
    pub watermark: u64,
    /// Where the receiver hangs.
    pub to_location: Location,
    /// Where the sender hangs, for answers; a notice that the path is broken gets none, and has none.
    pub from_location: Location,
}

const MARKED: u8 = 1;
const BY_TREE: u8 = 2;

impl Route {
    /// A route between two neighbours.
    pub const fn neighbour(from: Tag, to: Tag) -> Self {
        Self {
            marked: false,
            by_tree: false,
            hops: HOPS_MAX,
            to,
            from,
            watermark: 0,
            to_location: Location::Neighbour,
            from_location: Location::Neighbour,
        }
    }

    /// Appends flags (1), hops (1), both tags (8 each), watermark, both locations.
    pub fn encode(&self, out: &mut impl Write) {
        let marked = if self.marked { MARKED } else { 0 };
        out.put_u8(marked | if self.by_tree { BY_TREE } else { 0 });
        out.put_u8(self.hops);
        out.put(&self.to.0);
        out.put(&self.from.0);
        out.put_varint(self.watermark);
        self.to_location.encode(out);
        self.from_location.encode(out);
    }

    /// Reads a routing header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !(MARKED | BY_TREE) != 0 {
            return Err(DecodeError::Invalid("routing flags"));
        }
        Ok(Self {
            marked: flags & MARKED != 0,
            by_tree: flags & BY_TREE != 0,
            hops: reader.u8()?,
            to: Tag(reader.array()?),
            from: Tag(reader.array()?),
            watermark: reader.varint()?,
            to_location: Location::decode(reader)?,
            from_location: Location::decode(reader)?,
        })
    }
}

/// The head of a link frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// A sealed packet of a session; its ciphertext is the frame's body.
    Packet {
        /// Where it goes.
        route: Route,
        /// Header of the packet (`wire::packet::Header`).
        header: [u8; HEADER_LEN],
    },
    /// A message of a session outside its packets: Hello, Re-Hello.
    Signal {
        /// Where it goes.
        route: Route,
        /// The message, by its type byte.
        message: &'a [u8],
    },
    /// Asks the neighbour for a sign of life.
    Ping(u64),
    /// The answer, with the number of the ping.
    Pong(u64),
    /// The neighbour is leaving.
    Goodbye,
    /// A message of the overlay to the neighbour itself: its first byte is its kind.
    Overlay(&'a [u8]),
}

const PACKET: u8 = 1;
const SIGNAL: u8 = 2;
const PING: u8 = 3;
const PONG: u8 = 4;
const GOODBYE: u8 = 5;
const OVERLAY: u8 = 6;

impl<'a> Head<'a> {
    /// Appends the head.
    pub fn encode(&self, out: &mut impl Write) {
        match self {
            Self::Packet { route, header } => {
                out.put_u8(PACKET);
                route.encode(out);
                out.put(header);
            }
            Self::Signal { route, message } => {
                out.put_u8(SIGNAL);
                route.encode(out);
                out.put(message);
            }
            Self::Ping(number) => {
                out.put_u8(PING);
                out.put_u64(*number);
            }
            Self::Pong(number) => {
                out.put_u8(PONG);
                out.put_u64(*number);
            }
            Self::Goodbye => out.put_u8(GOODBYE),
            Self::Overlay(message) => {
                out.put_u8(OVERLAY);
                out.put(message);
            }
        }
    }

    /// Reads a head; `has_body` says whether a body follows, which only packets have.
    pub fn decode(bytes: &'a [u8], has_body: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        if has_body != (kind == PACKET) {
            return Err(DecodeError::Invalid("body of a frame"));
        }
        let head = match kind {
            PACKET => Self::Packet {
                route: Route::decode(&mut reader)?,
                header: reader.array()?,
            },
            SIGNAL => {
                let route = Route::decode(&mut reader)?;
                let message = reader.rest();
                if message.len() < SIGNAL_MIN {
                    return Err(DecodeError::Truncated);
                }
                return Ok(Self::Signal { route, message });
            }
            PING => Self::Ping(reader.u64()?),
            PONG => Self::Pong(reader.u64()?),
            GOODBYE => Self::Goodbye,
            OVERLAY => return Ok(Self::Overlay(reader.rest())),
            _ => return Err(DecodeError::Invalid("frame kind")),
        };
        reader.finish()?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_head_reads_back() {
        let mut route = Route::neighbour(Tag([1; 8]), Tag([2; 8]));
        route.marked = true;
        route.to_location = Location::Tree {
            tree: 9,
            term: 1,
            path: vec![(1, 2)],
        };
        for (head, body) in [
            (
                Head::Packet {
                    route: route.clone(),
                    header: [7; HEADER_LEN],
                },
                true,
            ),
            (
                Head::Signal {
                    route,
                    message: b"hello hello hello",
                },
                false,
            ),
            (Head::Ping(5), false),
            (Head::Pong(5), false),
            (Head::Goodbye, false),
            (Head::Overlay(b"announcement"), false),
        ] {
            let mut out = Vec::new();
            head.encode(&mut out);
            assert_eq!(Head::decode(&out, body).as_ref(), Ok(&head));
            assert!(Head::decode(&out, !body).is_err());
        }
    }

    #[test]
    fn lengths_outside_their_limits_are_refused() {
        let good = Lengths {
            head: FRAME_HEAD_MAX,
            body: FRAME_BODY_MAX,
        };
        assert_eq!(Lengths::decode(good.to_bytes()), Ok(good));
        for (head, body) in [
            (HEAD_TAG_LEN, 0),
            (FRAME_HEAD_MAX + 1, 0),
            (40, FRAME_BODY_MAX + 1),
            (40, BOUND_LEN - 1),
        ] {
            assert!(
                Lengths::decode(Lengths { head, body }.to_bytes()).is_err(),
                "{head} {body}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), body: bool) {
            if let Ok(head) = Head::decode(&bytes, body) {
                let mut out = Vec::new();
                head.encode(&mut out);
                prop_assert_eq!(Head::decode(&out, body), Ok(head));
            }
        }
    }
}
