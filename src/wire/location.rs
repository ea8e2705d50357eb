//! Where a peer can be reached: the wire form of overlay locations.
//!
//! One form byte: 0 for a direct neighbour, 1 for a place in a tree. A place is `tree(8) | term(varint) |
//! count(1) | count × (slot(varint) | lease(varint))`, slots from the root downwards.

use crate::wire::codec::{DecodeError, Reader, Write};

/// Longest path of a location, in steps from the root: nobody joins deeper, so that a Re-Hello fits
/// into the first message of a link.
pub const PATH_MAX: usize = 32;
/// Largest slot and lease: four bytes on the wire.
pub const STEP_MAX: u32 = (1 << 30) - 1;
/// Longest encoded location in bytes.
pub const LOCATION_BYTES_MAX: usize = 1 + 8 + 8 + 1 + PATH_MAX * (4 + 4);

const NEIGHBOUR: u8 = 0;
const TREE: u8 = 1;

/// Where a peer can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// At the other end of the link on which this is said.
    Neighbour,
    /// A place in the overlay's tree.
    Tree {
        /// Which overlay: the root's random number.
        tree: u64,
        /// The root's term of office, below 2^62.
        term: u64,
        /// Slot and lease of each step from the root; at most [`PATH_MAX`]. Empty at the root.
        path: Vec<(u32, u32)>,
    },
}

impl Location {
    /// Whether both mean the same place, whoever was root when they were told.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Neighbour, Self::Neighbour) => true,
            (
                Self::Tree { tree, path, .. },
                Self::Tree {
                    tree: t, path: p, ..
                },
            ) => tree == t && path == p,
            _ => false,
        }
    }

    /// Appends the wire form. Steps behind [`PATH_MAX`] are left out; no location of ours has them.
    pub fn encode(&self, out: &mut impl Write) {
        match self {
            Self::Neighbour => out.put_u8(NEIGHBOUR),
            Self::Tree { tree, term, path } => {
                let steps = path.get(..PATH_MAX).unwrap_or(path);
                out.put_u8(TREE);
                out.put_u64(*tree);
                out.put_varint(*term);
                out.put_u8(u8::try_from(steps.len()).unwrap_or(u8::MAX));
                for (slot, lease) in steps {
                    out.put_varint(u64::from(*slot));
                    out.put_varint(u64::from(*lease));
                }
            }
        }
    }

    /// Reads one location. Fails on an unknown form, a path above [`PATH_MAX`], or a slot or lease
    /// above 32 bits.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            NEIGHBOUR => Ok(Self::Neighbour),
            TREE => {
                let tree = reader.u64()?;
                let term = reader.varint()?;
                let count = usize::from(reader.u8()?);
                if count > PATH_MAX {
                    return Err(DecodeError::TooLong("location path"));
                }
                let mut path = Vec::with_capacity(count);
                for _ in 0..count {
                    path.push((number(reader, "slot")?, number(reader, "lease")?));
                }
                Ok(Self::Tree { tree, term, path })
            }
            _ => Err(DecodeError::Invalid("location form")),
        }
    }
}

fn number(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, DecodeError> {
    let number = u32::try_from(reader.varint()?)
        .ok()
        .filter(|number| *number <= STEP_MAX);
    number.ok_or(DecodeError::Invalid(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::VARINT_MAX;
    use proptest::{collection::vec, prelude::*};

    fn encoded(location: &Location) -> Vec<u8> {
        let mut out = Vec::new();
        location.encode(&mut out);
        out
    }

    #[test]
    fn the_documented_bytes_stand() {
        assert_eq!(encoded(&Location::Neighbour), [0]);
        let place = Location::Tree {
            tree: 0x0102_0304_0506_0708,
            term: 3,
            path: vec![(2, 0x1234), (0, 7)],
        };
        assert_eq!(
            encoded(&place),
            [1, 1, 2, 3, 4, 5, 6, 7, 8, 3, 2, 2, 0x52, 0x34, 0, 7]
        );
    }

    #[test]
    fn the_longest_location_has_the_stated_size() {
        let place = Location::Tree {
            tree: 0,
            term: VARINT_MAX,
            path: vec![(STEP_MAX, STEP_MAX); PATH_MAX],
        };
        assert_eq!(encoded(&place).len(), LOCATION_BYTES_MAX);
    }

    #[test]
    fn a_long_path_a_wide_slot_and_an_unknown_form_are_refused() {
        let decode = |bytes: &[u8]| Location::decode(&mut Reader::new(bytes));
        let mut long = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 65];
        long.resize(200, 0);
        assert_eq!(decode(&long), Err(DecodeError::TooLong("location path")));
        let mut wide = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        wide.put_varint(1 << 32);
        wide.put_varint(0);
        assert_eq!(decode(&wide), Err(DecodeError::Invalid("slot")));
        assert_eq!(decode(&[2]), Err(DecodeError::Invalid("location form")));
        assert_eq!(decode(&[]), Err(DecodeError::Truncated));
    }

    proptest! {
        #[test]
        fn a_location_reads_back(
            tree: u64,
            term in 0..=VARINT_MAX,
            path in vec((0..=STEP_MAX, 0..=STEP_MAX), 0..=PATH_MAX),
        ) {
            let location = Location::Tree { tree, term, path };
            let bytes = encoded(&location);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Location::decode(&mut reader), Ok(location));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Location::decode(&mut Reader::new(&bytes));
        }
    }
}
