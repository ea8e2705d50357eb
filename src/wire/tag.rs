//! How routing headers know a node.

/// Eight bytes of a name, enough to tell neighbours and ends of a session apart in a routing header.
///
/// Never a proof of anything: who speaks is proved by keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tag(pub [u8; 8]);
