//! Bytes on the wire: codecs of everything that crosses a link, and the values they carry.
//!
//! Decoding is total: every length is checked against what is left and against a constant of
//! [`crate::limits`] before anything is allocated (R-W8), and a decoded value is valid by
//! construction. State machines never index bytes. `docs/PROTOCOL.md` shows the same formats.

pub mod codec;
pub mod directory;
pub mod failure;
pub mod frame;
pub mod link;
pub mod location;
pub mod notice;
pub mod packet;
pub mod record;
pub mod tag;
pub mod target;
pub mod tree;
