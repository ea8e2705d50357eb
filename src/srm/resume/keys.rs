//! What the exchange needs from the key schedule.

use thiserror::Error;

use crate::ssm::epoch::Epochs;
use crate::ssm::schedule::{Pair, ResumeNonce, Side};

/// A resume number reached 2^32 - 1 and cannot rise: the session ends (R-K8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("resume numbers exhausted")]
pub struct Exhausted;

/// Numbers, nonces and key sets of one side; the exchange moves them, the key schedule holds them.
pub trait Keys {
    /// Own resume number and the nonce drawn with it.
    fn own(&self) -> (u32, ResumeNonce);

    /// Highest number of the peer that was accepted, and its nonce.
    fn peer(&self) -> (u32, ResumeNonce);

    /// The pair whose keys carry traffic; none while suspended.
    fn live(&self) -> Option<Pair>;

    /// The pair of [`Keys::own`] and [`Keys::peer`].
    fn next(&self) -> Pair;

    /// Raises the own number by one: chain step, older chain value forgotten, new keys for the next
    /// pair; its former keys are dropped unless they are live. Fails, changing nothing, at the
    /// largest number.
    fn renew_own(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted>;

    /// The same for the peer's number.
    fn renew_peer(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted>;

    /// Erases the live keys: there is no live pair afterwards.
    fn erase_live(&mut self);

    /// Erases the live keys and makes the next pair live.
    fn commit(&mut self);
}

/// The part of `pair` that `side` advances.
pub(super) const fn part(pair: Pair, side: Side) -> u32 {
    match side {
        Side::A => pair.a,
        Side::B => pair.b,
    }
}

impl Keys for Epochs {
    fn own(&self) -> (u32, ResumeNonce) {
        self.own()
    }

    fn peer(&self) -> (u32, ResumeNonce) {
        self.peer()
    }

    fn live(&self) -> Option<Pair> {
        self.live()
    }

    fn next(&self) -> Pair {
        self.next()
    }

    fn renew_own(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted> {
        self.renew_own(nonce).map_err(|_| Exhausted)
    }

    fn renew_peer(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted> {
        self.renew_peer(nonce).map_err(|_| Exhausted)
    }

    fn erase_live(&mut self) {
        self.erase_live();
    }

    fn commit(&mut self) {
        self.commit();
    }
}
