//! Both sides, the messages on the network, and what must hold in every state.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::model::ModelKeys;
use crate::srm::resume::{Keys, Resume, Setup};
use crate::ssm::schedule::{Pair, ResumeNonce, Side};
use crate::time::Time;
use crate::wire::location::Location;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Message {
    Hello {
        from: Side,
        own: (u32, ResumeNonce),
        seen: (u32, ResumeNonce),
        ask: bool,
        version: u64,
    },
    Packet {
        from: Side,
        pair: Pair,
        nonces: (ResumeNonce, ResumeNonce),
        version: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) resume: Resume,
    pub(super) keys: ModelKeys,
    pub(super) version: u64,
    /// Highest pair this side sealed under.
    pub(super) sealed_max: Option<Pair>,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) ends: [End; 2],
    pub(super) net: BTreeSet<Message>,
}

pub(super) const fn other(side: Side) -> Side {
    match side {
        Side::A => Side::B,
        Side::B => Side::A,
    }
}

pub(super) fn place(version: u64) -> Location {
    Location::Tree {
        tree: version,
        term: 0,
        path: Vec::new(),
    }
}

pub(super) fn version_of(location: &Location) -> u64 {
    match location {
        Location::Neighbour => u64::MAX,
        Location::Tree { tree, .. } => *tree,
    }
}

impl End {
    pub(super) fn new(side: Side, early_data: bool, real_nonces: bool) -> Self {
        let setup = Setup {
            side,
            peer_location: place(0),
            rtt: Duration::ZERO,
            early_data,
            unanswered_max: None,
        };
        Self {
            resume: Resume::new(setup, Time::ZERO),
            keys: ModelKeys::new(side, real_nonces),
            version: 0,
            sealed_max: None,
        }
    }

    pub(super) fn settled(&self) -> bool {
        self.resume.is_settled(&self.keys)
    }

    fn digest(&self, hasher: &mut DefaultHasher) {
        let r = &self.resume;
        (
            r.answered,
            r.sealed_next,
            r.seq_in,
            r.early,
            r.confirm_expired,
        )
            .hash(hasher);
        (&r.answer_loc, &r.live_loc, r.live_loc_seq).hash(hasher);
        (&self.keys, self.version, self.ahead()).hash(hasher);
    }

    /// The pair that it sealed under and that is newer than its live one.
    fn ahead(&self) -> Option<Pair> {
        self.sealed_max.filter(|max| Some(*max) > self.keys.live())
    }
}

impl World {
    pub(super) fn new(early: bool, real_nonces: bool) -> Self {
        Self {
            ends: [Side::A, Side::B].map(|side| End::new(side, early, real_nonces)),
            net: BTreeSet::new(),
        }
    }

    pub(super) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.ends.iter().for_each(|end| end.digest(&mut hasher));
        self.net.hash(&mut hasher);
        hasher.finish()
    }

    /// Both sides use the same pair and each knows where the other is.
    pub(super) fn settled(&self) -> bool {
        let [a, b] = &self.ends;
        a.settled()
            && b.settled()
            && a.keys.live() == b.keys.live()
            && a.resume.live_loc == place(b.version)
            && b.resume.live_loc == place(a.version)
    }

    /// Invariants 1 to 6.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        for (end, peer) in [(0, 1), (1, 0)] {
            let (end, peer) = (&self.ends[end], &self.ends[peer]);
            let told = peer.keys.peer().0;
            if told > end.keys.own().0 || told + 1 < end.keys.own().0 {
                return Err("numbers more than one apart");
            }
            end.resume.invariants(&end.keys)?;
            if let Some(fault) = end.keys.fault {
                return Err(fault);
            }
            if end.keys.past_is_readable() {
                return Err("erased keys can be derived again");
            }
            for mine in end.keys.held() {
                for theirs in peer.keys.held() {
                    if mine.pair == theirs.pair && mine.nonces != theirs.nonces {
                        return Err("same pair, different keys");
                    }
                }
            }
            // A peer that is behind sealed under that live pair and renewed before it heard that it
            // was committed: a cut for one round trip, by an act of its own or of this side.
            if let (Some(live), Some(theirs)) = (end.keys.live(), peer.keys.live())
                && end.ahead().is_none()
                && (theirs.a > live.a || theirs.b > live.b)
                && peer.keys.held().all(|set| set.pair != live)
            {
                return Err("live side cut");
            }
        }
        Ok(())
    }

    /// Forgets messages that no rule can ever use again.
    pub(super) fn reduce(&mut self) {
        let ends = &self.ends;
        self.net.retain(|message| match message {
            Message::Hello {
                from, own, version, ..
            } => {
                let to = &ends[other(*from) as usize];
                own.0 >= to.keys.peer().0 && version + 1 >= to.resume.seq_in
            }
            Message::Packet { from, pair, .. } => {
                let to = &ends[other(*from) as usize].keys;
                let next = to.next();
                to.live() == Some(*pair) || (pair.a >= next.a && pair.b >= next.b)
            }
        });
    }
}
