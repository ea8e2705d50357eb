//! Where a node hangs in the overlay: the locations of routing headers and Re-Hellos.

use crate::wire::codec::{DecodeError, Reader, Write};

/// Levels of the longest location; deeper trees do not occur below 2^60 nodes.
pub const LEVELS_MAX: usize = 64;

/// A place in the overlay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// The neighbour whose name carries the tag beside this location.
    Neighbour,
    /// An address in a tree.
    Tree {
        /// The tree.
        tree: u64,
        /// Its term: rises when a deputy takes over.
        term: u64,
        /// Slot and lease on each level from the root down.
        path: Vec<(u32, u32)>,
    },
}

impl Location {
    /// Appends form (1), then for a tree: tree (8), term, count (1), slot and lease of each level.
    pub fn encode(&self, out: &mut impl Write) {
        match self {
            Self::Neighbour => out.put_u8(0),
            Self::Tree { tree, term, path } => {
                out.put_u8(1);
                out.put_u64(*tree);
                out.put_varint(*term);
                let levels = path.len().min(LEVELS_MAX);
                out.put_u8(u8::try_from(levels).unwrap_or(u8::MAX));
                for (slot, lease) in path.iter().take(levels) {
                    out.put_varint(u64::from(*slot));
                    out.put_varint(u64::from(*lease));
                }
            }
        }
    }

    /// Reads a location.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Neighbour),
            1 => {
                let tree = reader.u64()?;
                let term = reader.varint()?;
                let levels = usize::from(reader.u8()?);
                if levels > LEVELS_MAX {
                    return Err(DecodeError::TooLong("location"));
                }
                let mut path = Vec::with_capacity(levels);
                for _ in 0..levels {
                    path.push((small(reader)?, small(reader)?));
                }
                Ok(Self::Tree { tree, term, path })
            }
            _ => Err(DecodeError::Invalid("location form")),
        }
    }
}

fn small(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint()?).map_err(|_| DecodeError::Invalid("slot or lease"))
}
