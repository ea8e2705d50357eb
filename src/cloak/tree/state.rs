//! Where this node hangs, and how its place changes.

use std::sync::Arc;

use crate::cloak::tree::proof::{digest, prove};
use crate::cloak::tree::rank::Reign;
use crate::cloak::tree::{Event, Range, Tree, rank};
use crate::limits::TREE_FOLLOW;
use crate::name::Name;
use crate::time::Time;
use crate::wire::location::PATH_MAX;
use crate::wire::tree::{Announce, Charter, Grant, Key, Message, Pulse};

/// Own place.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) charter: Arc<Charter>,
    pub(super) pulse: Pulse,
    /// When the pulse came.
    pub(super) pulse_at: Time,
    /// Grants from the root down to this node.
    pub(super) chain: Vec<Arc<Grant>>,
    pub(super) path: Box<[(u32, u32)]>,
    pub(super) range: Option<Range>,
    pub(super) digest: u32,
    /// None at the root, and while there is none.
    pub(super) parent: Option<Name>,
}

impl Own {
    pub(super) fn new(
        charter: Arc<Charter>,
        pulse: Pulse,
        chain: Vec<Arc<Grant>>,
        now: Time,
    ) -> Self {
        let proved = prove(&chain);
        Self {
            digest: digest(&charter, &chain),
            charter,
            pulse,
            pulse_at: now,
            chain,
            path: proved.path,
            range: proved.range,
            parent: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let grant = size_of::<Grant>() + 16;
        let charter = size_of::<Charter>() + 16 + self.charter.deputies.len() * 32;
        self.chain.len() * (grant + 8) + self.path.len() * 8 + 2 * charter
    }
}

/// The closest that this node was to a root during the newest pulse of it that it passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feasible {
    pub(super) tree: u64,
    pub(super) root: Key,
    pub(super) term: u64,
    pub(super) seq: u64,
    pub(super) depth: usize,
}

impl Feasible {
    /// Whether a parent with this pulse at this depth can make no loop.
    pub(super) fn allows(&self, term: u64, seq: u64, depth: usize) -> bool {
        (term, seq) > (self.term, self.seq)
            || ((term, seq) == (self.term, self.seq) && depth < self.depth)
    }
}

impl Tree {
    /// Whether a parent with this pulse at this depth can make no loop.
    pub(super) fn is_feasible(&self, (tree, term, root): Reign, seq: u64, depth: usize) -> bool {
        let mut known = self.feasible.iter().flatten();
        let known = known.find(|feasible| (feasible.tree, feasible.root) == (tree, root));
        known.is_none_or(|feasible| feasible.allows(term, seq, depth))
    }

    /// Notes that this node tells others its present place.
    pub(super) fn note_feasible(&mut self) {
        let (tree, term, root) = rank::reign(&self.own.charter);
        let mut fresh = Feasible {
            tree,
            root,
            term,
            seq: self.own.pulse.seq,
            depth: self.own.path.len(),
        };
        let of = |known: &Option<Feasible>| {
            known.is_some_and(|known| (known.tree, known.root) == (tree, root))
        };
        let found = self.feasible.iter().position(of);
        // The one that was used last is in front; another pushes the last one out.
        let at = found.unwrap_or(self.feasible.len() - 1);
        if let Some(front) = self.feasible.get_mut(..=at) {
            front.rotate_right(1);
        }
        let first = &mut self.feasible[0];
        if let Some(known) = first.filter(|_| found.is_some())
            && (known.term, known.seq) == (fresh.term, fresh.seq)
        {
            fresh.depth = fresh.depth.min(known.depth);
        }
        *first = Some(fresh);
    }

    /// Whether this node would be in its own chain.
    pub(super) fn is_mine(&self, root: &[u8; 32], chain: &[Arc<Grant>]) -> bool {
        let me = self.me.as_bytes();
        root == me || chain.iter().any(|grant| grant.child == *me)
    }

    /// Takes a place below `parent`: its announcement, and the grant it gave. None when they do not fit.
    pub(super) fn below(parent: &Announce, grant: Arc<Grant>) -> Option<Vec<Arc<Grant>>> {
        let at_root =
            parent.chain.len() <= 1 && parent.chain.iter().all(|g| g.child == parent.root);
        let mut chain = match (grant.seat, at_root) {
            (true, true) => Vec::new(),
            (true, false) => return None,
            (false, _) if parent.chain.is_empty() => return None,
            (false, _) => parent.chain.clone(),
        };
        chain.push(grant);
        (chain.len() <= PATH_MAX).then_some(chain)
    }

    /// Hangs this node somewhere. All neighbours will be told.
    pub(super) fn settle(&mut self, mut own: Own, now: Time) {
        let moved = (own.charter.tree, &own.path) != (self.own.charter.tree, &self.own.path);
        let other = !rank::same(&own.charter, &self.own.charter);
        if own.digest == self.own.digest && own.parent == self.own.parent && !other {
            own.pulse_at = own.pulse_at.max(self.own.pulse_at);
            let newer = own.pulse.seq > self.own.pulse.seq;
            self.own = own;
            self.note_feasible();
            if newer {
                self.mend();
            }
            return;
        }
        self.cut = None;
        if let Some(old) = self.own.parent
            && own.parent != Some(old)
            && self.neighbours.contains_key(&old)
        {
            self.send(old, &Message::Leave);
        }
        let before = std::mem::replace(&mut self.own, own);
        if moved {
            let (tree, path) = (before.charter.tree, before.path);
            self.former.keep(tree, path, now);
            self.former.drop(self.own.charter.tree, &self.own.path);
            self.expire_at = now;
            self.events.push_back(Event::Moved);
        }
        if before.range != self.own.range || moved {
            self.events.push_back(Event::Keys);
        }
        if other {
            self.events.push_back(Event::Root);
            self.share_charter();
            self.look_at = self.look_at.min(now + TREE_FOLLOW);
        }
        if before.parent != self.own.parent {
            self.told_weight = (0, Time::ZERO);
        }
        self.note_feasible();
        self.unsaid = true;
    }

    /// The way up is whole again: a pulse came down it.
    pub(super) fn mend(&mut self) {
        if self.cut.take().is_some() {
            self.unsaid = true;
            self.events.push_back(Event::Ways);
        }
    }

    /// Remembers the charter as that of all neighbours with the same root, so that it is kept once.
    pub(super) fn share_charter(&mut self) {
        let own = &self.own.charter;
        for neighbour in self.neighbours.values_mut() {
            if let Some(charter) = &mut neighbour.charter
                && rank::same(charter, own)
            {
                *charter = Arc::clone(own);
            }
            if let Some(place) = &mut neighbour.place
                && rank::same(&place.charter, own)
            {
                place.charter = Arc::clone(own);
            }
        }
    }

    /// The announcement of this node's place.
    pub(super) fn announcement(&self) -> Announce {
        Announce {
            tree: self.own.charter.tree,
            term: self.own.charter.term,
            root: self.own.charter.root,
            pulse: self.own.pulse,
            relay: self.settings.relay,
            weight: self.children.weight(),
            chain: self.own.chain.clone(),
        }
    }
}
