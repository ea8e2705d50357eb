//! Notices about a way through the overlay, kinds 64 to 95 of overlay messages: each neighbour hands them on by
//! the routing header in them.
//!
//! `kind(1) | routing header | body`. BROKEN (64): `about(8) | why(1)`, why 1 = the place is another's now,
//! 2 = no neighbour is closer, 3 = another overlay. TRACE (65): `left(1) | id(8) | zeros(312)`. TRACED (66):
//! `left(1) | id(8) | name(32)`, from the node at which `left` of its TRACE was used up, or the end.

use crate::wire::codec::{DecodeError, Reader, Write};
use crate::wire::link::Route;
use crate::wire::location::LOCATION_BYTES_MAX;
use crate::wire::tag::Tag;

const BROKEN: u8 = 64;
const TRACE: u8 = 65;
const TRACED: u8 = 66;

/// Zeros at the end of a TRACE: what a TRACED may be longer by without them. Its watermark begins anew, with seven
/// bytes more, it comes from the longest place instead of going to the shortest, and it has a name.
const TRACE_ZEROS: [u8; TRACE_FILL] = [0; TRACE_FILL];
const TRACE_FILL: usize = 7 + LOCATION_BYTES_MAX - 1 + 32;

/// Why a path is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The place is that of this node, but the name is another's: the place is out of date.
    Moved,
    /// No neighbour is closer to the place.
    Stuck,
    /// The place is in another overlay, or is none at all.
    Elsewhere,
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing gets through to this node.
    Broken(Tag, Broken),
    /// Who is this many nodes further on? With a number of the asker's.
    Trace(u8, u64),
    /// The answer: steps asked for, the asker's number, and the name of who answers, which may be none.
    Traced(u8, u64, [u8; 32]),
}

impl Notice {
    /// The wire form behind a routing header.
    pub fn encode(&self, route: &Route) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(match self {
            Self::Broken(..) => BROKEN,
            Self::Trace(..) => TRACE,
            Self::Traced(..) => TRACED,
        });
        route.encode(&mut out);
        match self {
            Self::Broken(about, why) => {
                out.put(&about.0);
                out.put_u8(match why {
                    Broken::Moved => 1,
                    Broken::Stuck => 2,
                    Broken::Elsewhere => 3,
                });
            }
            Self::Trace(left, id) => {
                out.put_u8(*left);
                out.put_u64(*id);
                out.put(&TRACE_ZEROS);
            }
            Self::Traced(left, id, name) => {
                out.put_u8(*left);
                out.put_u64(*id);
                out.put(name);
            }
        }
        out
    }

    /// Reads a notice and its routing header.
    pub fn decode(bytes: &[u8]) -> Result<(Route, Self), DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let route = Route::decode(&mut reader)?;
        let notice = match kind {
            BROKEN => {
                let about = Tag(reader.array()?);
                let why = match reader.u8()? {
                    1 => Broken::Moved,
                    2 => Broken::Stuck,
                    3 => Broken::Elsewhere,
                    _ => return Err(DecodeError::Invalid("reason of a broken path")),
                };
                Self::Broken(about, why)
            }
            TRACE => {
                let trace = Self::Trace(reader.u8()?, reader.u64()?);
                if reader.array()? != TRACE_ZEROS {
                    return Err(DecodeError::Invalid("padding of a trace"));
                }
                trace
            }
            TRACED => Self::Traced(reader.u8()?, reader.u64()?, reader.array()?),
            _ => return Err(DecodeError::Invalid("kind of a notice")),
        };
        reader.finish()?;
        Ok((route, notice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::location::Location;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    #[test]
    fn every_notice_reads_back_and_nothing_else_does() {
        let route = Route {
            to_location: Location::Tree {
                tree: 5,
                term: 1,
                path: vec![(3, 4)],
            },
            ..Route::neighbour(Tag([1; 8]), Tag([2; 8]))
        };
        for notice in [
            Notice::Broken(Tag([9; 8]), Broken::Moved),
            Notice::Broken(Tag([9; 8]), Broken::Stuck),
            Notice::Broken(Tag([9; 8]), Broken::Elsewhere),
            Notice::Trace(3, 77),
            Notice::Traced(3, 77, [7; 32]),
        ] {
            let bytes = notice.encode(&route);
            assert_eq!(Notice::decode(&bytes), Ok((route.clone(), notice)));
            assert!(Notice::decode(&bytes[..bytes.len() - 1]).is_err());
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Notice::decode(&longer).is_err());
        }
    }

    /// One of each, between the nodes of the tags 01… and 02….
    fn samples() -> [(&'static str, Route, Notice); 3] {
        let place = |path: &[(u32, u32)]| Location::Tree {
            tree: 0x0102_0304_0506_0708,
            term: 2,
            path: path.to_vec(),
        };
        let route = Route {
            hops: 63,
            watermark: 3,
            to_location: place(&[(3, 0x1234), (1, 7)]),
            from_location: place(&[(2, 5)]),
            ..Route::neighbour(Tag([1; 8]), Tag([2; 8]))
        };
        let back = Route {
            hops: 63,
            watermark: 2,
            to_location: place(&[(2, 5)]),
            from_location: place(&[(3, 0x1234)]),
            ..Route::neighbour(Tag([3; 8]), Tag([1; 8]))
        };
        let nowhere = Route {
            from_location: Location::Neighbour,
            ..back.clone()
        };
        let broken = Notice::Broken(Tag([2; 8]), Broken::Stuck);
        [
            ("broken", nowhere, broken),
            ("trace", route, Notice::Trace(0, 77)),
            ("traced", back, Notice::Traced(0, 77, [7; 32])),
        ]
    }

    #[test]
    fn the_vectors_hold() {
        let vectors = include_str!("../../tests/vectors/notices.txt");
        let found: String = samples()
            .iter()
            .map(|(name, route, notice)| {
                let hex = HEXLOWER.encode(&notice.encode(route));
                format!("{name} {hex}\n")
            })
            .collect();
        let expected: String = vectors
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_fills_a_trace_is_nothing_else() {
        let [_, (_, route, trace), _] = samples();
        let mut bytes = trace.encode(&route);
        *bytes.last_mut().unwrap() = 1;
        assert!(Notice::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = Notice::decode(&bytes);
        }
    }
}
