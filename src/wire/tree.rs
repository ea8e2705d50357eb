//! Messages between neighbours that keep the overlay's tree: kinds 1 to 31 of overlay messages.
//!
//! Three statements are signed, each over a domain label, the overlay's id and its fields: a [`Charter`] (who is
//! root, by its own word), a [`Pulse`] (the root lives), and a [`Grant`] (a parent gave a slot to a child). Keys
//! are kept as bytes: most are never used, since a statement that was checked before is not checked again.

use std::fmt;
use std::sync::Arc;

use crate::limits::TREE_DEPUTIES_MAX;
use crate::wire::codec::{DecodeError, Reader, Write};
use crate::wire::location::{PATH_MAX, STEP_MAX};

/// A public key, not yet known to be one.
pub type Key = [u8; 32];

/// Largest weight, that is number of nodes below a place, which a message can tell.
pub const WEIGHT_MAX: u64 = 1 << 40;

const ANNOUNCE: u8 = 1;
const CHARTER: u8 = 2;
const PULSE: u8 = 3;
const JOIN: u8 = 4;
const GRANT: u8 = 5;
const REFUSE: u8 = 6;
const LEAVE: u8 = 7;
const WEIGHT: u8 = 8;
const QUERY: u8 = 9;
const CUT: u8 = 10;

const CHARTER_LABEL: &[u8] = b"muses-charter-v1";
const PULSE_LABEL: &[u8] = b"muses-pulse-v1";
const GRANT_LABEL: &[u8] = b"muses-grant-v1";

/// The sender accepts children.
const FLAG_RELAY: u8 = 1;

/// A signature; not shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// What a root says about its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// The tree's random number; it outlives the root.
    pub tree: u64,
    /// Term of office, below 2^62; a successor has a higher one.
    pub term: u64,
    /// Rises with every charter of one term, below 2^62.
    pub version: u64,
    /// When the tree was founded, in seconds since 1970.
    pub founded: u64,
    /// Logarithm of the number of its nodes to base two, roughly.
    pub class: u8,
    /// The root.
    pub root: Key,
    /// Children of the root that may take its place, in order; at most [`TREE_DEPUTIES_MAX`].
    pub deputies: Vec<Key>,
    /// By the root.
    pub signature: Signature,
    /// A charter of the root before, which names this one as a deputy; without a predecessor of its own.
    pub predecessor: Option<Arc<Self>>,
}

impl Charter {
    /// The bytes under the signature; the predecessor stands by itself.
    pub fn signed(&self, overlay: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.put(CHARTER_LABEL);
        out.put(overlay);
        self.encode_fields(&mut out);
        out
    }

    fn encode_fields(&self, out: &mut impl Write) {
        out.put_u64(self.tree);
        out.put_varint(self.term);
        out.put_varint(self.version);
        out.put_varint(self.founded);
        out.put_u8(self.class);
        out.put(&self.root);
        let deputies = self.deputies.get(..TREE_DEPUTIES_MAX);
        let deputies = deputies.unwrap_or(&self.deputies);
        out.put_u8(u8::try_from(deputies.len()).unwrap_or(u8::MAX));
        for deputy in deputies {
            out.put(deputy);
        }
    }

    fn encode(&self, out: &mut impl Write) {
        self.encode_fields(out);
        out.put(&self.signature.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (tree, term) = (reader.u64()?, reader.varint()?);
        let (version, founded) = (reader.varint()?, reader.varint()?);
        let (class, root) = (reader.u8()?, reader.array()?);
        let count = usize::from(reader.u8()?);
        if count > TREE_DEPUTIES_MAX {
            return Err(DecodeError::TooLong("deputies"));
        }
        let deputies = (0..count).map(|_| reader.array());
        Ok(Self {
            tree,
            term,
            version,
            founded,
            class,
            root,
            deputies: deputies.collect::<Result<_, _>>()?,
            signature: Signature(reader.array()?),
            predecessor: None,
        })
    }
}

/// A sign of life of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Rises with every pulse of one term, below 2^62.
    pub seq: u64,
    /// By the root.
    pub signature: Signature,
}

impl Pulse {
    /// The bytes under the signature.
    pub fn signed(overlay: &[u8; 32], tree: u64, term: u64, seq: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        out.put(PULSE_LABEL);
        out.put(overlay);
        out.put_u64(tree);
        out.put_varint(term);
        out.put_varint(seq);
        out
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            seq: reader.varint()?,
            signature: Signature(reader.array()?),
        })
    }
}

/// A part of the keys of a parent, in units of 2^-32 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Part {
    /// Where it begins.
    pub offset: u32,
    /// How much it is; ends at 2^32 at the latest.
    pub length: u32,
}

/// A slot given by a parent to a child. The parent is who is one level higher in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who got it.
    pub child: Key,
    /// Number of the assignment: rises with each new one of this parent, below 2^62.
    pub number: u64,
    /// The slot hangs on the root's seat itself; else on the place of the parent.
    pub seat: bool,
    /// The slot.
    pub slot: u32,
    /// Tells this tenant of the slot from all others; below 2^30.
    pub lease: u32,
    /// The child's part of the parent's keys.
    pub part: Part,
    /// By the parent.
    pub signature: Signature,
}

impl Grant {
    /// The bytes under the signature.
    pub fn signed(&self, overlay: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        out.put(GRANT_LABEL);
        out.put(overlay);
        self.encode_fields(&mut out);
        out
    }

    fn encode_fields(&self, out: &mut impl Write) {
        out.put(&self.child);
        out.put_varint(self.number);
        out.put_u8(u8::from(self.seat));
        out.put_varint(u64::from(self.slot));
        out.put_varint(u64::from(self.lease));
        out.put_u32(self.part.offset);
        out.put_u32(self.part.length);
    }

    /// Appends the wire form.
    pub fn encode(&self, out: &mut impl Write) {
        self.encode_fields(out);
        out.put(&self.signature.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (child, number) = (reader.array()?, reader.varint()?);
        let seat = flag(reader, "seat")?;
        let (slot, lease) = (step(reader, "slot")?, step(reader, "lease")?);
        let part = Part {
            offset: reader.u32()?,
            length: reader.u32()?,
        };
        if u64::from(part.offset) + u64::from(part.length) > 1 << 32 {
            return Err(DecodeError::Invalid("part"));
        }
        Ok(Self {
            child,
            number,
            seat,
            slot,
            lease,
            part,
            signature: Signature(reader.array()?),
        })
    }
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid(field)),
    }
}

fn step(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, DecodeError> {
    let number = u32::try_from(reader.varint()?).ok();
    let number = number.filter(|number| *number <= STEP_MAX);
    number.ok_or(DecodeError::Invalid(field))
}

/// Where the sender hangs, with proofs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The tree.
    pub tree: u64,
    /// The term of its root.
    pub term: u64,
    /// Its root.
    pub root: Key,
    /// The latest sign of life that came down to the sender.
    pub pulse: Pulse,
    /// Whether the sender accepts children.
    pub relay: bool,
    /// Nodes that hang on the sender, itself included.
    pub weight: u64,
    /// Grants from the root down to the sender; at most [`PATH_MAX`]. Empty at a root that hangs on nothing.
    pub chain: Vec<Arc<Grant>>,
}

impl Announce {
    fn encode(&self, out: &mut impl Write) {
        out.put_u64(self.tree);
        out.put_varint(self.term);
        out.put(&self.root);
        out.put_varint(self.pulse.seq);
        out.put(&self.pulse.signature.0);
        out.put_u8(if self.relay { FLAG_RELAY } else { 0 });
        out.put_varint(self.weight.min(WEIGHT_MAX));
        let chain = self.chain.get(..PATH_MAX).unwrap_or(&self.chain);
        out.put_u8(u8::try_from(chain.len()).unwrap_or(u8::MAX));
        for grant in chain {
            grant.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (tree, term, root) = (reader.u64()?, reader.varint()?, reader.array()?);
        let pulse = Pulse::decode(reader)?;
        let flags = reader.u8()?;
        if flags & !FLAG_RELAY != 0 {
            return Err(DecodeError::Invalid("flags of an announcement"));
        }
        let weight = weight(reader)?;
        let count = usize::from(reader.u8()?);
        if count > PATH_MAX {
            return Err(DecodeError::TooLong("chain of grants"));
        }
        let chain = (0..count).map(|_| Grant::decode(reader).map(Arc::new));
        Ok(Self {
            tree,
            term,
            root,
            pulse,
            relay: flags & FLAG_RELAY != 0,
            weight,
            chain: chain.collect::<Result<_, _>>()?,
        })
    }
}

fn weight(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match reader.varint()? {
        weight @ 1..=WEIGHT_MAX => Ok(weight),
        _ => Err(DecodeError::Invalid("weight")),
    }
}

/// A message of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Where the sender hangs.
    Announce(Announce),
    /// The charter of the sender's tree; told before an announcement that needs it.
    Charter(Arc<Charter>),
    /// The root of the sender's tree lives.
    Pulse {
        /// The tree.
        tree: u64,
        /// The term.
        term: u64,
        /// The sign of life.
        pulse: Pulse,
        /// Digest of the sender's chain, so that a lost announcement is noticed.
        digest: u32,
    },
    /// The sender would like a slot.
    Join {
        /// In this tree.
        tree: u64,
        /// Nodes that hang on the sender, itself included.
        weight: u64,
        /// The slot on the seat that a former root gave to the sender, and that it would like to keep.
        former: Option<Grant>,
    },
    /// A slot, and where the sender hangs.
    Grant {
        /// The slot.
        grant: Grant,
        /// The sender's place.
        place: Announce,
    },
    /// There is no slot; a child of the sender may have one.
    Refuse(Option<Key>),
    /// The way up is broken: the first so many steps of the sender's path, below 33, hold together, but nothing
    /// above them. Its next announcement says that all is well again.
    Cut(u8),
    /// The sender is not the receiver's child any more, or the receiver not the sender's.
    Leave,
    /// Nodes that hang on the sender, itself included.
    Weight(u64),
    /// Asks for charter, announcement, and pulses for a while.
    Query,
}

impl Message {
    /// Appends the wire form.
    pub fn encode(&self, out: &mut impl Write) {
        match self {
            Self::Announce(announce) => {
                out.put_u8(ANNOUNCE);
                announce.encode(out);
            }
            Self::Charter(charter) => {
                out.put_u8(CHARTER);
                charter.encode(out);
                out.put_u8(u8::from(charter.predecessor.is_some()));
                if let Some(predecessor) = &charter.predecessor {
                    predecessor.encode(out);
                }
            }
            Self::Pulse {
                tree,
                term,
                pulse,
                digest,
            } => {
                out.put_u8(PULSE);
                out.put_u64(*tree);
                out.put_varint(*term);
                out.put_varint(pulse.seq);
                out.put(&pulse.signature.0);
                out.put_u32(*digest);
            }
            Self::Join {
                tree,
                weight,
                former,
            } => {
                out.put_u8(JOIN);
                out.put_u64(*tree);
                out.put_varint((*weight).min(WEIGHT_MAX));
                out.put_u8(u8::from(former.is_some()));
                if let Some(grant) = former {
                    grant.encode(out);
                }
            }
            Self::Grant { grant, place } => {
                out.put_u8(GRANT);
                grant.encode(out);
                place.encode(out);
            }
            Self::Refuse(instead) => {
                out.put_u8(REFUSE);
                out.put_u8(u8::from(instead.is_some()));
                if let Some(key) = instead {
                    out.put(key);
                }
            }
            Self::Cut(steps) => {
                out.put_u8(CUT);
                out.put_u8(*steps);
            }
            Self::Leave => out.put_u8(LEAVE),
            Self::Weight(weight) => {
                out.put_u8(WEIGHT);
                out.put_varint((*weight).min(WEIGHT_MAX));
            }
            Self::Query => out.put_u8(QUERY),
        }
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            ANNOUNCE => Self::Announce(Announce::decode(&mut reader)?),
            CHARTER => {
                let mut charter = Charter::decode(&mut reader)?;
                if flag(&mut reader, "predecessor")? {
                    charter.predecessor = Some(Arc::new(Charter::decode(&mut reader)?));
                }
                Self::Charter(Arc::new(charter))
            }
            PULSE => Self::Pulse {
                tree: reader.u64()?,
                term: reader.varint()?,
                pulse: Pulse::decode(&mut reader)?,
                digest: reader.u32()?,
            },
            JOIN => Self::Join {
                tree: reader.u64()?,
                weight: weight(&mut reader)?,
                former: match flag(&mut reader, "former slot")? {
                    true => Some(Grant::decode(&mut reader)?),
                    false => None,
                },
            },
            GRANT => Self::Grant {
                grant: Grant::decode(&mut reader)?,
                place: Announce::decode(&mut reader)?,
            },
            REFUSE => Self::Refuse(match flag(&mut reader, "other node")? {
                true => Some(reader.array()?),
                false => None,
            }),
            CUT => match reader.u8()? {
                steps if usize::from(steps) <= PATH_MAX => Self::Cut(steps),
                _ => return Err(DecodeError::Invalid("steps")),
            },
            LEAVE => Self::Leave,
            WEIGHT => Self::Weight(weight(&mut reader)?),
            QUERY => Self::Query,
            _ => return Err(DecodeError::Invalid("kind of a tree message")),
        };
        reader.finish()?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests;
