//! Epochs: pairs of resume numbers, one per side.

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The initiator of the session's handshake.
    A,
    /// The responder.
    B,
}

/// An epoch: the resume numbers of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The number of [`Side::A`].
    pub a: u32,
    /// The number of [`Side::B`].
    pub b: u32,
}

/// The random value drawn with a resume number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResumeNonce(pub [u8; 16]);
