//! What the simulator looks at to check a session's invariants (PROTOCOL 8).

use crate::session::{Channel, Phase, Session};
use crate::ssm::schedule::{Pair, Side};

/// Numbers and pairs of one side, and how much it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Which side it is.
    pub(crate) side: Side,
    /// Its own resume number.
    pub(crate) own: u32,
    /// The peer's highest number that it accepted.
    pub(crate) peer: u32,
    /// The pair that carries traffic.
    pub(crate) live: Option<Pair>,
    /// The pair at which the chains stand.
    pub(crate) next: Pair,
    /// Pairs of which packets are remembered.
    pub(crate) pairs: usize,
    /// Ranges of channels that the peer has opened.
    pub(crate) opened: usize,
    /// The first rule that does not hold.
    pub(crate) broken: Option<&'static str>,
}

impl Session {
    /// Looks at the session, changing nothing.
    pub(crate) fn audit(&self) -> Audit {
        Audit {
            side: self.side,
            own: self.epochs.own().0,
            peer: self.epochs.peer().0,
            live: self.epochs.live(),
            next: self.epochs.next(),
            pairs: self.pairs.len(),
            opened: self.opened_by_peer.count(),
            broken: self
                .resume
                .invariants(&self.epochs)
                .err()
                .or_else(|| self.miscounted()),
        }
    }

    fn miscounted(&self) -> Option<&'static str> {
        let phases = self.channels.values().map(Channel::phase);
        let opening = phases.filter(|phase| *phase == Phase::Opening).count();
        (opening != self.opening).then_some("channels without an answer are counted")
    }
}
