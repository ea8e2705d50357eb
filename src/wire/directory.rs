//! Messages of the directory between neighbours: overlay messages of kinds 32 to 63.
//!
//! Requests travel hop by hop towards a key, answers hop by hop towards the place of who asked. The
//! others are for the neighbour alone, who keeps copies of what its sender is responsible for.

use crate::limits::HOPS_MAX;
use crate::wire::codec::{DecodeError, Reader, VARINT_MAX, Write};
use crate::wire::location::Location;
use crate::wire::record::RECORD_BYTES_MAX;
use crate::wire::tag::Tag;

/// Longest message in bytes: with its head it fits a link frame's head.
pub const MESSAGE_BYTES_MAX: usize = 4_000;
/// Bytes that a request has at least, its location not counted: a third of the longest answer (R-D7).
pub const REQUEST_BYTES_MIN: usize = 384;
/// Bytes of a token.
pub const TOKEN_LEN: usize = 16;
/// Bytes of a digest's hash.
pub const HASH_LEN: usize = 16;
/// Sub-keys of a name: independent places of its record.
pub const SUB_KEYS: u8 = 3;
/// Ranges of one digest at most.
pub const RANGES_MAX: usize = 240;
/// Entries of one list at most, whatever its sections; so that it fits a message.
pub const LISTED_MAX: usize = 140;
/// Sections of one list at most.
pub const SECTIONS_MAX: usize = 32;

const GET: u8 = 32;
const PUT: u8 = 33;
const ANSWER: u8 = 34;
const DIGEST: u8 = 40;
const DIFFERS: u8 = 41;
const LIST: u8 = 42;
const WANT: u8 = 43;
const COPIES: u8 = 44;

const BY_TREE: u8 = 1;
const UP: u8 = 2;
const EXACT: u8 = 4;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Towards a key.
    Request(Request<'a>),
    /// Towards who asked.
    Answer(Answer<'a>),
    /// What the sender is responsible for and has: the receiver keeps copies.
    Digest(Digest),
    /// The digest with this hash is not what the receiver of it has.
    Differs([u8; HASH_LEN]),
    /// What the sender has between some keys, in full; sections rise and lie apart.
    List(Vec<Section>),
    /// Entries of a list that its receiver lacks.
    Want(Vec<(u64, Tag)>),
    /// Records, each behind the number of its sub-key.
    Copies(Vec<(u8, &'a [u8])>),
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Only by links of the tree, so that it passes the father of who is responsible.
    pub by_tree: bool,
    /// Who is responsible lacks the record: it is for its father, who gets it.
    pub up: bool,
    /// It is about what the node that is responsible has itself: copies above do not count.
    pub exact: bool,
    /// Hops left.
    pub hops: u8,
    /// Measure that the next hop must undercut.
    pub watermark: u128,
    /// Comes back in the answer.
    pub nonce: u64,
    /// Whose record.
    pub name: [u8; 32],
    /// Which of its sub-keys, below [`SUB_KEYS`].
    pub index: u8,
    /// Who asks.
    pub from: Tag,
    /// Where it is.
    pub from_location: Location,
    /// What it asks.
    pub ask: Ask<'a>,
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// The record.
    Get,
    /// To keep this one.
    Put {
        /// From an answer of the same storer.
        token: [u8; TOKEN_LEN],
        /// The record.
        record: &'a [u8],
    },
}

/// An answer on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// By links of the tree where it can, as its request.
    pub by_tree: bool,
    /// Hops left.
    pub hops: u8,
    /// Distance that the next hop must undercut.
    pub watermark: u64,
    /// Of the request.
    pub nonce: u64,
    /// Of the request.
    pub index: u8,
    /// Who asked.
    pub to: Tag,
    /// Where it was.
    pub to_location: Location,
    /// What came of it.
    pub outcome: Outcome,
    /// Lets who asked put a record here for a while.
    pub token: [u8; TOKEN_LEN],
    /// The record that the storer has, if the outcome says so.
    pub record: &'a [u8],
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is no record.
    Nothing,
    /// Here it is.
    Found,
    /// It is kept.
    Stored,
    /// A record of the same or a higher number is there: here it is.
    TooLow,
    /// The token is of another time or way: put again, with the one here.
    Token,
    /// It is not genuine, too long, or of the wrong time.
    Refused,
    /// A limit is reached.
    Busy,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Found,
        Self::Stored,
        Self::TooLow,
        Self::Token,
        Self::Refused,
        Self::Busy,
    ];

    fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|outcome| *outcome == self);
        place.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
    }

    const fn has_record(self) -> bool {
        matches!(self, Self::Found | Self::TooLow)
    }
}

/// A digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// First and last key of each range, rising and apart, at most [`RANGES_MAX`].
    pub ranges: Vec<(u64, u64)>,
    /// Over the entries in them.
    pub hash: [u8; HASH_LEN],
}

/// All entries between two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// First key.
    pub first: u64,
    /// Last key.
    pub last: u64,
    /// The entries, rising.
    pub entries: Vec<Listed>,
}

/// An entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Sub-key.
    pub key: u64,
    /// Of the name.
    pub tag: Tag,
    /// Number of the record.
    pub seq: u64,
}

impl<'a> Message<'a> {
    /// Appends the wire form. What is beyond the limits is left out; no message of ours has it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request(request) => request.encode(out),
            Self::Answer(answer) => answer.encode(out),
            Self::Digest(Digest { ranges, hash }) => {
                let ranges = ranges.iter().take(RANGES_MAX);
                out.put_u8(DIGEST);
                out.put_u8(u8::try_from(ranges.len()).unwrap_or(0));
                for (first, last) in ranges {
                    out.put_u64(*first);
                    out.put_u64(*last);
                }
                out.put(hash);
            }
            Self::Differs(hash) => {
                out.put_u8(DIFFERS);
                out.put(hash);
            }
            Self::List(sections) => {
                out.put_u8(LIST);
                out.put_u8(u8::try_from(sections.len()).unwrap_or(0));
                for section in sections {
                    section.encode(out);
                }
            }
            Self::Want(wanted) => {
                out.put_u8(WANT);
                out.put_u8(u8::try_from(wanted.len()).unwrap_or(0));
                for (key, tag) in wanted {
                    out.put_u64(*key);
                    out.put(&tag.0);
                }
            }
            Self::Copies(copies) => {
                out.put_u8(COPIES);
                out.put_u8(u8::try_from(copies.len()).unwrap_or(0));
                for (index, record) in copies {
                    out.put_u8(*index);
                    out.put_bytes(record);
                }
            }
        }
    }

    /// Reads a message that fills `bytes`. Fails on kinds that are not the directory's, on counts above
    /// their limits and on requests that are shorter than [`REQUEST_BYTES_MIN`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(DecodeError::TooLong("directory message"));
        }
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            kind @ (GET | PUT) => {
                return Request::decode(kind, &mut reader, bytes.len()).map(Self::Request);
            }
            ANSWER => Self::Answer(Answer::decode(&mut reader)?),
            DIGEST => {
                let count = limited(&mut reader, RANGES_MAX, "ranges")?;
                let mut ranges = Vec::with_capacity(count);
                let mut least = Some(0);
                for _ in 0..count {
                    ranges.push(range(&mut reader, &mut least)?);
                }
                let hash = reader.array()?;
                Self::Digest(Digest { ranges, hash })
            }
            DIFFERS => Self::Differs(reader.array()?),
            LIST => Self::List(sections(&mut reader)?),
            WANT => {
                let count = limited(&mut reader, LISTED_MAX, "wanted entries")?;
                let mut wanted = Vec::with_capacity(count);
                for _ in 0..count {
                    wanted.push((reader.u64()?, Tag(reader.array()?)));
                }
                Self::Want(wanted)
            }
            COPIES => {
                let count = usize::from(reader.u8()?);
                let mut copies = Vec::new();
                for _ in 0..count {
                    copies.push((index(&mut reader)?, record(&mut reader)?));
                }
                Self::Copies(copies)
            }
            _ => return Err(DecodeError::Invalid("kind of directory message")),
        };
        reader.finish()?;
        Ok(message)
    }
}

impl<'a> Request<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u8(match self.ask {
            Ask::Get => GET,
            Ask::Put { .. } => PUT,
        });
        let by_tree = if self.by_tree { BY_TREE } else { 0 };
        let exact = if self.exact { EXACT } else { 0 };
        out.put_u8(by_tree | exact | if self.up { UP } else { 0 });
        out.put_u8(self.hops);
        out.put(&self.watermark.to_be_bytes());
        out.put_u64(self.nonce);
        out.put(&self.name);
        out.put_u8(self.index);
        out.put(&self.from.0);
        let before = out.len();
        self.from_location.encode(out);
        let location = out.len() - before;
        if let Ask::Put { token, record } = &self.ask {
            out.put(token);
            out.put_bytes(record);
        }
        let least = start + location + REQUEST_BYTES_MIN;
        out.resize(out.len().max(least), 0);
    }

    /// `len` is that of the whole message.
    fn decode(kind: u8, reader: &mut Reader<'a>, len: usize) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !(BY_TREE | UP | EXACT) != 0 {
            return Err(DecodeError::Invalid("request flags"));
        }
        let hops = reader.u8()?;
        let watermark = u128::from_be_bytes(reader.array()?);
        let nonce = reader.u64()?;
        let name = reader.array()?;
        let index = index(reader)?;
        let from = Tag(reader.array()?);
        let before = reader.rest().len();
        let from_location = Location::decode(reader)?;
        let location = before - reader.rest().len();
        let ask = if kind == GET {
            Ask::Get
        } else {
            Ask::Put {
                token: reader.array()?,
                record: record(reader)?,
            }
        };
        if len < location + REQUEST_BYTES_MIN {
            return Err(DecodeError::Invalid("length of request"));
        }
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(DecodeError::Invalid("padding of request"));
        }
        Ok(Self {
            by_tree: flags & BY_TREE != 0,
            up: flags & UP != 0,
            exact: flags & EXACT != 0,
            hops,
            watermark,
            nonce,
            name,
            index,
            from,
            from_location,
            ask,
        })
    }
}

impl<'a> Answer<'a> {
    /// The answer to a request, as it leaves who answers: it goes to where the request says that it came from,
    /// and as it came, by the tree or not.
    pub fn to(
        request: &Request<'_>,
        outcome: Outcome,
        token: [u8; TOKEN_LEN],
        record: &'a [u8],
    ) -> Self {
        Self {
            by_tree: request.by_tree,
            hops: HOPS_MAX,
            watermark: VARINT_MAX,
            nonce: request.nonce,
            index: request.index,
            to: request.from,
            to_location: request.from_location.clone(),
            outcome,
            token,
            record,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ANSWER);
        out.put_u8(if self.by_tree { BY_TREE } else { 0 });
        out.put_u8(self.hops);
        out.put_varint(self.watermark);
        out.put_u64(self.nonce);
        out.put_u8(self.index);
        out.put(&self.to.0);
        self.to_location.encode(out);
        out.put_u8(self.outcome.code());
        out.put(&self.token);
        if self.outcome.has_record() {
            out.put_bytes(self.record);
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !BY_TREE != 0 {
            return Err(DecodeError::Invalid("answer flags"));
        }
        let hops = reader.u8()?;
        let watermark = reader.varint()?;
        let nonce = reader.u64()?;
        let index = index(reader)?;
        let to = Tag(reader.array()?);
        let to_location = Location::decode(reader)?;
        let outcome = Outcome::ALL.get(usize::from(reader.u8()?)).copied();
        let outcome = outcome.ok_or(DecodeError::Invalid("outcome"))?;
        Ok(Self {
            by_tree: flags & BY_TREE != 0,
            hops,
            watermark,
            nonce,
            index,
            to,
            to_location,
            outcome,
            token: reader.array()?,
            record: if outcome.has_record() {
                record(reader)?
            } else {
                &[]
            },
        })
    }
}

impl Section {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.first);
        out.put_u64(self.last);
        out.put_u8(u8::try_from(self.entries.len()).unwrap_or(0));
        for entry in &self.entries {
            out.put_u64(entry.key);
            out.put(&entry.tag.0);
            out.put_u64(entry.seq);
        }
    }
}

fn sections(reader: &mut Reader<'_>) -> Result<Vec<Section>, DecodeError> {
    let count = limited(reader, SECTIONS_MAX, "sections")?;
    let mut sections = Vec::with_capacity(count);
    let (mut left, mut least) = (LISTED_MAX, Some(0));
    for _ in 0..count {
        let (first, last) = range(reader, &mut least)?;
        let count = limited(reader, left, "listed entries")?;
        left -= count;
        let mut entries: Vec<Listed> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = Listed {
                key: reader.u64()?,
                tag: Tag(reader.array()?),
                seq: reader.u64()?,
            };
            let rises = entries.last().is_none_or(|before| *before < entry);
            if !rises || !(first..=last).contains(&entry.key) {
                return Err(DecodeError::Invalid("listed entry"));
            }
            entries.push(entry);
        }
        sections.push(Section {
            first,
            last,
            entries,
        });
    }
    Ok(sections)
}

/// A range that begins at `least` or above and ends before what `least` is then: ranges rise, so that no
/// message makes its receiver look at an entry twice.
fn range(reader: &mut Reader<'_>, least: &mut Option<u64>) -> Result<(u64, u64), DecodeError> {
    let (first, last) = (reader.u64()?, reader.u64()?);
    if first > last || least.is_none_or(|least| first < least) {
        return Err(DecodeError::Invalid("range of keys"));
    }
    *least = last.checked_add(1);
    Ok((first, last))
}

fn index(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let index = reader.u8()?;
    if index >= SUB_KEYS {
        return Err(DecodeError::Invalid("number of sub-key"));
    }
    Ok(index)
}

fn record<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    reader.bytes(RECORD_BYTES_MAX, "record")
}

fn limited(reader: &mut Reader<'_>, max: usize, field: &'static str) -> Result<usize, DecodeError> {
    let count = usize::from(reader.u8()?);
    if count > max {
        return Err(DecodeError::TooLong(field));
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
