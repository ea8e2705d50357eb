//! A double of the key schedule: pairs and nonces without secrets, and a ledger of what was made.

use std::collections::BTreeSet;

use crate::srm::resume::{Exhausted, Keys};
use crate::ssm::schedule::{Pair, ResumeNonce, Side};

pub(super) const ZERO: ResumeNonce = ResumeNonce([0; 16]);

/// Stands for the keys of both directions of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Set {
    pub(super) pair: Pair,
    /// Nonces of A and B: two sets are the same keys if pair and nonces are equal.
    pub(super) nonces: (ResumeNonce, ResumeNonce),
    /// Highest packet number opened.
    pub(super) highest: Option<u64>,
    /// Packet number to seal next.
    pub(super) sealed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModelKeys {
    pub(super) side: Side,
    pub(super) own: (u32, ResumeNonce),
    pub(super) peer: (u32, ResumeNonce),
    pub(super) live: Option<Set>,
    /// None while the next pair is live.
    pub(super) next: Option<Set>,
    /// Every pair whose keys this side ever made.
    pub(super) created: BTreeSet<Pair>,
    /// What a mutation keeps although it should be gone.
    pub(super) stale: Option<Set>,
    /// Draw nonces from the argument, or name them after the number so that states compare equal.
    pub(super) real_nonces: bool,
    pub(super) fault: Option<&'static str>,
}

impl ModelKeys {
    pub(super) fn new(side: Side, real_nonces: bool) -> Self {
        let pair = Pair { a: 0, b: 0 };
        let live = Set {
            pair,
            nonces: (ZERO, ZERO),
            highest: None,
            sealed: 0,
        };
        Self {
            side,
            own: (0, ZERO),
            peer: (0, ZERO),
            live: Some(live),
            next: None,
            created: [pair].into(),
            stale: None,
            real_nonces,
            fault: None,
        }
    }

    pub(super) fn make_next(&mut self) {
        let pair = self.next();
        let nonces = match self.side {
            Side::A => (self.own.1, self.peer.1),
            Side::B => (self.peer.1, self.own.1),
        };
        if !self.created.insert(pair) {
            self.fault = Some("a pair's keys were made twice");
        }
        self.next = Some(Set {
            pair,
            nonces,
            highest: None,
            sealed: 0,
        });
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Set> {
        self.live.iter().chain(&self.next)
    }

    /// Whether an erased pair could be derived from the chain values at `own` and `peer`.
    pub(super) fn past_is_readable(&self) -> bool {
        let next = self.next();
        self.created
            .iter()
            .filter(|pair| self.held().all(|set| set.pair != **pair))
            .any(|pair| pair.a >= next.a && pair.b >= next.b)
    }

    fn nonce(&self, number: u32, drawn: ResumeNonce) -> ResumeNonce {
        if self.real_nonces {
            return drawn;
        }
        let mut nonce = [1; 16];
        nonce[0] = u8::try_from(number).unwrap();
        ResumeNonce(nonce)
    }
}

impl Keys for ModelKeys {
    fn own(&self) -> (u32, ResumeNonce) {
        self.own
    }

    fn peer(&self) -> (u32, ResumeNonce) {
        self.peer
    }

    fn live(&self) -> Option<Pair> {
        self.live.map(|set| set.pair)
    }

    fn next(&self) -> Pair {
        match self.side {
            Side::A => Pair {
                a: self.own.0,
                b: self.peer.0,
            },
            Side::B => Pair {
                a: self.peer.0,
                b: self.own.0,
            },
        }
    }

    fn renew_own(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted> {
        let number = self.own.0.checked_add(1).ok_or(Exhausted)?;
        self.own = (number, self.nonce(number, nonce));
        self.make_next();
        Ok(())
    }

    fn renew_peer(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted> {
        let number = self.peer.0.checked_add(1).ok_or(Exhausted)?;
        self.peer = (number, nonce);
        self.make_next();
        Ok(())
    }

    fn erase_live(&mut self) {
        self.live = None;
    }

    fn commit(&mut self) {
        if self.next.is_none() {
            self.fault = Some("commit without next keys");
        }
        self.live = self.next.take();
    }
}
