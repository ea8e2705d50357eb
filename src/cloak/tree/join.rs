//! Finding a parent, and giving slots.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use crate::cloak::tree::children::{Child, State};
use crate::cloak::tree::neighbour::{Neighbour, Place};
use crate::cloak::tree::proof::{Doubt, believed};
use crate::cloak::tree::state::Own;
use crate::cloak::tree::{Event, Misbehaviour, Tree, rank};
use crate::limits::{
    TREE_ANSWER, TREE_AVOIDED, TREE_BETTER_AFTER, TREE_BETTER_REST, TREE_BETTER_STEPS, TREE_FOLLOW,
    TREE_LEAVE_AFTER, TREE_LIGHT, TREE_MERGE_CALM, TREE_MERGE_HOLD, TREE_NEWS, TREE_REFUSED,
};
use crate::name::Name;
use crate::time::Time;
use crate::wire::location::PATH_MAX;
use crate::wire::tree::{Announce, Grant, Message, Part, Signature};

/// A neighbour that was asked for a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) name: Name,
    /// The tree it was in.
    pub(super) tree: u64,
    pub(super) until: Time,
}

impl Tree {
    /// Neither root nor child.
    pub(super) const fn is_lost(&self) -> bool {
        self.own.parent.is_none() && self.office.is_none()
    }

    /// Whether this node can still hang on a neighbour that it asked; why it did may be over.
    fn may_go(&self, name: &Name) -> bool {
        let place = self.neighbours.get(name).and_then(|n| n.place.as_deref());
        place.is_some_and(|place| {
            let order = rank::compare(&place.charter, &self.own.charter);
            let fits = match order {
                Ordering::Greater => true,
                Ordering::Equal => self.office.is_none(),
                Ordering::Less => false,
            };
            fits && place.relay && !place.below && place.cut.is_none()
        })
    }

    /// Whether this node would go to a neighbour now.
    fn would_go(&self, name: &Name, neighbour: &Neighbour, now: Time) -> bool {
        let Some(place) = neighbour.place.as_deref() else {
            return false;
        };
        if !place.is_open() || self.own.parent == Some(*name) || neighbour.refused_until > now {
            return false;
        }
        let order = rank::compare(&place.charter, &self.own.charter);
        self.is_feasible(rank::reign(&place.charter), place.seq, place.depth())
            && match order {
                Ordering::Greater => self.would_merge(neighbour, place, now),
                Ordering::Equal => self.would_repair(neighbour, place, now),
                Ordering::Less => false,
            }
    }

    /// Whether this node would go to another tree, or another root of the same.
    fn would_merge(&self, neighbour: &Neighbour, place: &Place, now: Time) -> bool {
        let alone = self.office.is_some() && self.children.is_empty();
        if alone {
            return true;
        }
        let since = |moment: Option<Time>| moment.map(|moment| now.since(moment));
        if place.charter.tree == self.own.charter.tree {
            // The parent may follow by itself, and then this node's place stays.
            let waited = since(neighbour.senior_since);
            return self.own.parent.is_none() || waited.is_some_and(|time| time >= TREE_FOLLOW);
        }
        // A tree that lives, not what is left of one, and that was there for a while.
        let fresh = since(neighbour.fresh).is_some_and(|time| time < TREE_NEWS);
        let known = since(neighbour.senior_since).unwrap_or_default();
        let home = self.home == Some(place.charter.tree);
        fresh && (home || known >= self.merge_hold(now))
    }

    /// How long another tree must have been there before this node goes to it. Whoever shows one fine
    /// tree after the other makes nobody move more than a few times.
    fn merge_hold(&self, now: Time) -> Duration {
        let moves = self.changes(now);
        let hold = TREE_MERGE_HOLD
            .0
            .saturating_mul(1_u32.checked_shl(moves).unwrap_or(u32::MAX));
        if moves == 0 {
            Duration::ZERO
        } else {
            hold.min(TREE_MERGE_HOLD.1)
        }
    }

    /// Whether this node follows its parent to another tree. Not when it changed its tree a moment ago: who
    /// moves from tree to tree takes nobody along for long.
    pub(super) fn would_follow(&self, tree: u64, now: Time) -> bool {
        let same = tree == self.own.charter.tree || self.home == Some(tree);
        same || now.since(self.merged.1) >= self.merge_hold(now)
    }

    /// Notes that this node is about to go to another tree, but not back to where it was cut off.
    fn note_change(&mut self, own: &Own, now: Time) {
        let (from, to) = (&self.own.charter, &own.charter);
        if from.tree == to.tree || self.home == Some(to.tree) {
            return;
        }
        let down = rank::compare(to, from) == Ordering::Less;
        self.home = Some(from.tree).filter(|_| down);
        let alone = self.office.is_some() && self.children.is_empty();
        if !alone {
            self.count_change(now);
        }
    }

    /// Counts a change of tree.
    pub(super) fn count_change(&mut self, now: Time) {
        let moves = self.changes(now);
        self.merged = (moves.saturating_add(1).min(16), now);
    }

    /// How often this node changed its tree of late.
    fn changes(&self, now: Time) -> u32 {
        let (moves, at) = self.merged;
        let calm = now.since(at).as_secs() / TREE_MERGE_CALM.as_secs().max(1);
        moves.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX))
    }

    /// Whether this node would go elsewhere below the same root.
    fn would_repair(&self, neighbour: &Neighbour, place: &Place, now: Time) -> bool {
        if self.office.is_some() {
            return false;
        }
        if self.own.parent.is_none() || (self.is_silent(now) && place.seq > self.own.pulse.seq) {
            return true;
        }
        let better = neighbour.better_since;
        better.is_some_and(|since| now.since(since) >= TREE_BETTER_AFTER)
    }

    /// Whether the root was not heard for so long that the parent may be left.
    fn is_silent(&self, now: Time) -> bool {
        self.office.is_none() && now.since(self.own.pulse_at) >= TREE_LEAVE_AFTER
    }

    /// Notes since when neighbours are better; says when to look again because of it.
    fn compare_all(&mut self, now: Time) -> Time {
        let depth = self.own.path.len();
        let hold = self.merge_hold(now);
        // Where little hangs below, a single step is worth the move.
        let light = self.children.weight() <= TREE_LIGHT;
        let steps = if light { 1 } else { TREE_BETTER_STEPS };
        let mut again = Time::NEVER;
        let mut ask = Vec::new();
        for (name, neighbour) in &mut self.neighbours {
            let place = neighbour.place.as_deref().filter(|place| !place.below);
            let order = place.map(|place| rank::compare(&place.charter, &self.own.charter));
            let senior = order == Some(Ordering::Greater);
            let closer = place.is_some_and(|p| p.depth() + 1 + steps <= depth);
            let better = order == Some(Ordering::Equal) && closer && self.office.is_none();
            let since = |since: Option<Time>, holds: bool| holds.then(|| since.unwrap_or(now));
            neighbour.senior_since = since(neighbour.senior_since, senior);
            neighbour.better_since = since(neighbour.better_since, better);
            let mut wait = |since: Option<Time>, pause: Duration| {
                let due = since.map_or(now, |since| since + pause);
                if due > now {
                    again = again.min(due);
                }
            };
            wait(neighbour.senior_since, TREE_FOLLOW);
            wait(neighbour.senior_since, hold);
            wait(neighbour.better_since, TREE_BETTER_AFTER);
            wait(neighbour.better_since, TREE_BETTER_AFTER - TREE_NEWS);
            if senior || better || self.own.parent.is_none() {
                wait(Some(neighbour.refused_until), Duration::ZERO);
            }
            let news = neighbour.fresh;
            let news = news.is_some_and(|at| now.since(at) < TREE_NEWS / 2);
            let soon = |since: Time| now.since(since) + TREE_NEWS >= TREE_BETTER_AFTER;
            // What one does not hang on tells its pulses only when asked.
            if !news && (senior || neighbour.better_since.is_some_and(soon)) {
                wait(Some(now), TREE_NEWS / 4);
                ask.push(*name);
            }
        }
        for name in ask {
            self.query(name, now);
        }
        again
    }

    /// Looks for a better parent, and asks the best.
    pub(super) fn look(&mut self, now: Time) {
        self.look_at = self.compare_all(now);
        if self.asked.is_some() {
            return;
        }
        let mut best: Option<(&Place, (usize, u64), Name)> = None;
        for (name, neighbour) in &self.neighbours {
            if !self.would_go(name, neighbour, now) {
                continue;
            }
            let Some(place) = neighbour.place.as_deref() else {
                continue;
            };
            let key = (place.depth(), self.preference(name));
            let wins = best.is_none_or(|(other, than, _)| {
                match rank::compare(&place.charter, &other.charter) {
                    Ordering::Greater => true,
                    Ordering::Equal => key < than,
                    Ordering::Less => false,
                }
            });
            if wins {
                best = Some((place, key, *name));
            }
        }
        let Some((place, _, name)) = best else {
            return;
        };
        let message = Message::Join {
            tree: place.charter.tree,
            weight: self.children.weight(),
            former: self.claim(place),
        };
        self.asked = Some(Asked {
            name,
            tree: place.charter.tree,
            until: now + TREE_ANSWER,
        });
        self.send(name, &message);
    }

    /// Among equals, each node prefers others, so that children spread.
    fn preference(&self, name: &Name) -> u64 {
        let (a, b) = (name.tag().0, self.me.tag().0);
        (u64::from_be_bytes(a) ^ u64::from_be_bytes(b)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The slot on the seat that this node would like to keep under a new root.
    fn claim(&self, place: &Place) -> Option<Grant> {
        let [grant] = self.own.chain.as_slice() else {
            return None;
        };
        let same = place.root && place.charter.tree == self.own.charter.tree;
        same.then(|| (**grant).clone())
    }

    /// A neighbour wants a slot.
    pub(super) fn give(
        &mut self,
        to: Name,
        tree: u64,
        weight: u64,
        former: Option<Grant>,
        now: Time,
    ) {
        let above = self.own.parent == Some(to)
            || self.own.charter.root == *to.as_bytes()
            || self
                .own
                .chain
                .iter()
                .any(|grant| grant.child == *to.as_bytes());
        let fits = tree == self.own.charter.tree && self.settings.relay && self.cut.is_none();
        let child = if above || !fits {
            None
        } else {
            // Without its former slot its addresses would change: it asks again.
            let Ok(claim) = self.claimed(former, to, now) else {
                return;
            };
            self.assign(to, weight, claim, now)
        };
        let Some(child) = child else {
            let instead = self.children.lightest().filter(|name| *name != to && fits);
            let instead = instead.map(|name| *name.as_bytes());
            self.send(to, &Message::Refuse(instead));
            return;
        };
        self.expire_at = now;
        self.children.weighed(now);
        self.send_grant(to, &child);
    }

    fn assign(
        &mut self,
        to: Name,
        weight: u64,
        claim: Option<(u32, u32)>,
        now: Time,
    ) -> Option<Child> {
        let state = State::Given(now + TREE_ANSWER * 3);
        let own = self.own.chain.first().filter(|_| self.office.is_some());
        let own = own.map(|grant| grant.part);
        if let Some(child) = self.children.again(&to, weight, state, own) {
            // It comes back, or the answer was lost.
            return Some(child);
        }
        let (seat, slot, lease) = match claim {
            Some((slot, lease)) => (true, slot, lease),
            None => self.free_slot(now)?,
        };
        let place = self.neighbours.get(&to).and_then(|n| n.place.as_deref());
        let child = Child {
            number: 0,
            seat,
            slot,
            lease,
            part: Part::default(),
            weight,
            relay: place.is_none_or(|place| place.relay),
            since: now,
            state,
        };
        Some(self.children.add(to, child, own))
    }

    fn free_slot(&mut self, now: Time) -> Option<(bool, u32, u32)> {
        let degree = self.geometry.degree();
        let depth = self.own.path.len();
        let seat = self.office.filter(|office| now >= office.claims_until);
        let own = self.own.path.first().map(|(slot, _)| *slot);
        let seat = seat.and_then(|_| self.children.free(true, 0, degree, own));
        let below = || {
            let free = self.children.free(false, 1, degree, None);
            free.filter(|_| (1..PATH_MAX).contains(&depth))
        };
        let (seat, slot) = match seat {
            Some(slot) => (true, slot),
            None => (false, below()?),
        };
        Some((seat, slot, self.lease()))
    }

    /// The slot on the seat that the former root gave to this node, if nobody else has it.
    fn claimed(
        &mut self,
        former: Option<Grant>,
        child: Name,
        now: Time,
    ) -> Result<Option<(u32, u32)>, Doubt> {
        let grant = former.filter(|grant| {
            let own = self.own.path.first().map(|(slot, _)| *slot);
            self.office.is_some()
                && grant.seat
                && grant.child == *child.as_bytes()
                && grant.slot < self.geometry.degree()
                && own != Some(grant.slot)
                && self.children.is_free(true, grant.slot)
        });
        let before = self.own.charter.predecessor.clone();
        let (Some(grant), Some(before)) = (grant, before) else {
            return Ok(None);
        };
        let speaker = self.speaker(child, now);
        match self.proofs.grant(speaker, &before.root, &grant) {
            Ok(()) => Ok(Some((grant.slot, grant.lease))),
            Err(Doubt::Forged) => Ok(None),
            Err(Doubt::Unchecked) => Err(Doubt::Unchecked),
        }
    }

    /// Tells a child its slot, and all that it must know with it.
    pub(super) fn send_grant(&mut self, to: Name, child: &Child) {
        let grant = self.sign_grant(Grant {
            child: *to.as_bytes(),
            number: child.number,
            seat: child.seat,
            slot: child.slot,
            lease: child.lease,
            part: child.part,
            signature: Signature([0; 64]),
        });
        self.introduce(to);
        let place = self.announcement();
        self.send(to, &Message::Grant { grant, place });
    }

    /// A neighbour gave a slot, or cut its keys anew.
    pub(super) fn granted(
        &mut self,
        from: Name,
        grant: Grant,
        place: &Announce,
        now: Time,
    ) -> Result<(), Misbehaviour> {
        let is_parent = self.own.parent == Some(from);
        let asked = self.asked.is_some_and(|asked| asked.name == from);
        let speaker = self.speaker(from, now);
        let is_known = self.learn(from, place, now)?;
        if asked {
            self.asked = None;
        }
        if !is_known {
            return Ok(());
        }
        if grant.child != *self.me.as_bytes() {
            return Err(Misbehaviour::Forged);
        }
        if believed(self.proofs.grant(speaker, from.as_bytes(), &grant))?.is_none() {
            return Ok(());
        }
        let follows = is_parent && self.would_follow(place.tree, now);
        let wanted = follows || (asked && self.may_go(&from));
        if wanted && !self.hang(from, place, Arc::new(grant), now) {
            self.avoid(from, TREE_REFUSED, now);
            if is_parent {
                self.lose_parent(now);
            }
            self.send(from, &Message::Leave);
        } else if !wanted {
            self.part(from, is_parent, now);
        }
        self.check_twice(now);
        self.look(now);
        Ok(())
    }

    /// Leaves a parent that is not followed, or does not take a slot.
    pub(super) fn part(&mut self, from: Name, is_parent: bool, now: Time) {
        self.send(from, &Message::Leave);
        if is_parent {
            self.avoid(from, self.merge_hold(now), now);
            self.lose_parent(now);
        }
    }

    /// Hangs this node below a neighbour whose place was checked. False when that would be wrong.
    pub(super) fn hang(
        &mut self,
        parent: Name,
        place: &Announce,
        grant: Arc<Grant>,
        now: Time,
    ) -> bool {
        let Some(charter) = self.charter_of(&parent, place) else {
            return false;
        };
        if self.is_mine(&place.root, &place.chain) {
            return false;
        }
        let at_root = place.root == *parent.as_bytes();
        let depth = if at_root { 0 } else { place.chain.len() };
        if !self.is_feasible(rank::reign(&charter), place.pulse.seq, depth) {
            return false;
        }
        let Some(chain) = Self::below(place, grant) else {
            return false;
        };
        let same = rank::same(&charter, &self.own.charter);
        let newer = !same || place.pulse.seq > self.own.pulse.seq;
        let heard = if newer { now } else { self.own.pulse_at };
        let mut own = Own::new(charter, place.pulse, chain, heard);
        if !self.geometry.holds(&own.path) {
            return false;
        }
        own.parent = Some(parent);
        self.note_change(&own, now);
        let seated = self.step_down(now);
        self.settle(own, now);
        for name in seated {
            if let Some(child) = self.children.get(&name).copied() {
                self.send_grant(name, &child);
            }
        }
        if newer {
            self.pass_pulse(now);
        }
        self.want_deputies();
        true
    }

    /// The parent is gone, or its place is.
    pub(super) fn lose_parent(&mut self, now: Time) {
        if self.own.parent.take().is_some() {
            self.watch_at = now;
            self.cut_off(u8::try_from(self.own.path.len()).unwrap_or(u8::MAX));
            self.look(now);
            if self.asked.is_none() {
                self.query_all(now);
            }
        }
    }

    /// Leaves the parent for another one, and does not come back to it for a while.
    pub(in crate::cloak) fn leave_parent(&mut self, pause: Duration, now: Time) {
        if let Some(parent) = self.own.parent {
            self.avoid(parent, pause, now);
            self.send(parent, &Message::Leave);
            self.lose_parent(now);
            self.reschedule();
        }
    }

    /// The way up is broken above so many steps: all neighbours are told.
    pub(super) fn cut_off(&mut self, steps: u8) {
        if self.cut.is_some_and(|known| known >= steps) {
            return;
        }
        self.cut = Some(steps);
        self.events.push_back(Event::Ways);
        let all: Vec<_> = self.neighbours.keys().copied().collect();
        for name in all {
            if self.own.parent != Some(name) {
                self.send(name, &Message::Cut(steps));
            }
        }
    }

    /// A neighbour's way up is broken.
    pub(super) fn neighbour_cut(&mut self, from: Name, steps: u8) {
        let place = self
            .neighbours
            .get_mut(&from)
            .and_then(|n| n.place.as_mut());
        if let Some(place) = place
            && place.cut.replace(steps) != Some(steps)
        {
            self.events.push_back(Event::Ways);
        }
        if self.own.parent == Some(from) && usize::from(steps) < self.own.path.len() {
            self.cut_off(steps);
        }
    }

    /// Does not ask a neighbour for a slot for a while.
    pub(super) fn avoid(&mut self, name: Name, pause: Duration, now: Time) {
        if let Some(neighbour) = self.neighbours.get_mut(&name) {
            neighbour.refused_until = now + pause;
            // Who would only hang a little better does not ask again and again.
            neighbour.better_since = neighbour.better_since.map(|_| now + TREE_BETTER_REST);
        }
    }

    /// A neighbour has a grant of this node's own parent for this node's own slot: whoever came later goes.
    pub(super) fn check_twice(&mut self, now: Time) {
        let (Some((slot, above)), Some(grant)) =
            (self.own.path.split_last(), self.own.chain.last())
        else {
            return;
        };
        let tree = self.own.charter.tree;
        let twice = self.neighbours.values().any(|neighbour| {
            let place = neighbour
                .place
                .as_deref()
                .filter(|p| p.charter.tree == tree);
            place.is_some_and(|place| {
                let last = place.path.split_last();
                last.is_some_and(|(other, over)| {
                    other.0 == slot.0 && over == above && grant.number > place.number
                })
            })
        });
        if twice {
            self.leave_parent(TREE_AVOIDED, now);
        }
    }
}
