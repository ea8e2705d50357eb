//! The children of a node: slots, leases, and their parts of its keys.

use std::collections::BTreeMap;

use crate::cloak::tree::Range;
use crate::cloak::tree::range::{cut, gap, level};
use crate::limits::{TREE_CUT_LATEST, TREE_CUT_PAUSE, TREE_CUT_QUIET, TREE_CUT_REST, TREE_GRACE};
use crate::name::Name;
use crate::time::Time;
use crate::wire::tree::Part;

/// A child, or who was one a short while ago.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) number: u64,
    /// It hangs on the root's seat, not on this node's own place.
    pub(super) seat: bool,
    pub(super) slot: u32,
    pub(super) lease: u32,
    pub(super) part: Part,
    /// Nodes that hang on it; what it says, within reason.
    pub(super) weight: u64,
    /// It keeps keys.
    pub(super) relay: bool,
    pub(super) since: Time,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The slot was given; it must be taken up by then.
    Given(Time),
    /// It hangs here.
    Here,
    /// It is gone; the slot is kept for it until then.
    Gone(Time),
}

impl Child {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone(_))
    }
}

/// What a node counts for itself when its keys are shared.
const REST: u64 = 1;

/// All children.
#[derive(Debug, Default)]
pub(super) struct Children {
    all: BTreeMap<Name, Child>,
    number: u64,
    /// When keys were cut last.
    cut_at: Time,
    /// When a weight changed last.
    changed_at: Time,
    shares: Shares,
}

/// How far shares of keys are from weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shares {
    /// About right.
    #[default]
    Even,
    /// Something changed.
    Uneven,
    /// Off by less than twice.
    Rough,
}

impl Children {
    pub(super) fn get(&self, name: &Name) -> Option<&Child> {
        self.all.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &Name) -> Option<&mut Child> {
        self.all.get_mut(name)
    }

    pub(super) fn remove(&mut self, name: &Name) {
        self.all.remove(name);
    }

    /// Those that hang here, or may soon.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Name, &Child)> {
        self.all.iter().filter(|(_, child)| !child.is_gone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live().next().is_none()
    }

    /// Whether a child hangs here, or may soon.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.get(name).is_some_and(|child| !child.is_gone())
    }

    /// Forgets slots on the seat that are kept for those who are gone.
    pub(super) fn forget_seats(&mut self) {
        self.all.retain(|_, child| !child.seat);
    }

    /// The child on which the fewest hang, of those that accept children.
    pub(super) fn lightest(&self) -> Option<Name> {
        let here = self
            .live()
            .filter(|(_, c)| c.relay && c.state == State::Here);
        here.min_by_key(|(_, child)| child.weight)
            .map(|(name, _)| *name)
    }

    /// Nodes that hang on this node, itself included.
    pub(super) fn weight(&self) -> u64 {
        let weights = self.live().map(|(_, child)| child.weight);
        weights.fold(1, u64::saturating_add)
    }

    /// The first free slot of one kind, in an order that spreads children.
    pub(super) fn free(
        &self,
        seat: bool,
        first: u32,
        degree: u32,
        own: Option<u32>,
    ) -> Option<u32> {
        let taken = |slot: u32| {
            let mut all = self.all.values();
            own == Some(slot) || all.any(|child| child.seat == seat && child.slot == slot)
        };
        (first..degree).find(|slot| !taken(*slot))
    }

    /// Whether a slot is free.
    pub(super) fn is_free(&self, seat: bool, slot: u32) -> bool {
        let mut all = self.all.values();
        !all.any(|child| child.seat == seat && child.slot == slot)
    }

    /// A new child takes a slot. Its part comes out of the rest, without a cut: at most half of it.
    pub(super) fn add(&mut self, name: Name, mut child: Child, own: Option<Part>) -> Child {
        self.number += 1;
        child.number = self.number;
        child.part = self.spare(&child, own);
        self.all.insert(name, child);
        child
    }

    /// Gives a child the slot again that is still its own.
    pub(super) fn again(
        &mut self,
        name: &Name,
        weight: u64,
        state: State,
        own: Option<Part>,
    ) -> Option<Child> {
        let mut child = *self.get(name)?;
        (child.weight, child.state) = (weight, state);
        if self.get(name)?.is_gone() {
            child.part = self.spare(&child, own);
        }
        self.all.insert(*name, child);
        Some(child)
    }

    fn spare(&self, child: &Child, own: Option<Part>) -> Part {
        if !child.relay {
            return Part::default();
        }
        let same = |other: &&Child| other.seat == child.seat;
        let others: Vec<_> = self.all.values().filter(same).copied().collect();
        let live = others.iter().filter(|other| !other.is_gone());
        let total = live.map(|other| other.weight).fold(1, u64::saturating_add);
        let total = total.saturating_add(child.weight);
        let fair = u128::from(u32::MAX) * u128::from(child.weight) / u128::from(total.max(1));
        let mut parts: Vec<_> = others.iter().map(|other| other.part).collect();
        parts.extend(own.filter(|_| child.seat));
        let gap = gap(parts);
        let length = u32::try_from(fair).unwrap_or(u32::MAX).min(gap.length / 2);
        Part {
            offset: gap.offset,
            length,
        }
    }

    /// A child is gone; its slot is kept for a while, its keys come back at once.
    pub(super) fn gone(&mut self, name: &Name, now: Time) {
        if let Some(child) = self.all.get_mut(name)
            && !child.is_gone()
        {
            child.state = State::Gone(now + TREE_GRACE);
            child.part = Part::default();
            self.weighed(now);
        }
    }

    /// Forgets what is over; says when the next one is, and whether a live one went.
    pub(super) fn expire(&mut self, now: Time) -> (Time, bool) {
        let before = self.live().count();
        let until = |child: &Child| match child.state {
            State::Given(until) | State::Gone(until) => until,
            State::Here => Time::NEVER,
        };
        self.all.retain(|_, child| until(child) > now);
        let next = self.all.values().map(until).min();
        (next.unwrap_or(Time::NEVER), self.live().count() != before)
    }

    /// How the keys of the seat, or of the own place, should be shared: each live child, and what it counts;
    /// behind them the own place, if it hangs on the seat.
    fn shares(&self, seat: bool, own: bool) -> (Vec<Name>, Vec<u64>) {
        let live = self.live().filter(|(_, child)| child.seat == seat);
        let counted = |child: &Child| if child.relay { child.weight } else { 0 };
        let shares = live.map(|(name, child)| (*name, counted(child)));
        let (names, mut weights): (Vec<_>, Vec<_>) = shares.unzip();
        if own && seat {
            weights.push(self.own_weight());
        }
        level(&mut weights, REST, seat);
        (names, weights)
    }

    /// Weight of the own place of a root that hangs on its own seat.
    pub(super) fn own_weight(&self) -> u64 {
        let below = self.live().filter(|(_, child)| !child.seat);
        below.fold(0, |sum: u64, (_, child)| sum.saturating_add(child.weight))
    }

    /// Whether a share is off by more than `num`/`den`.
    fn is_off(&self, seat: bool, own: Option<Part>, (num, den): (u128, u128)) -> bool {
        let (names, weights) = self.shares(seat, own.is_some());
        let total = weights.iter().copied().fold(REST, u64::saturating_add);
        let off = |weight: u64, part: Part| {
            let fair = u128::from(weight) * u128::from(u32::MAX) / u128::from(total);
            let has = u128::from(part.length);
            // A few units are rounding.
            has * den > fair * num + 64 * den || fair * den > has * num + 64 * den
        };
        let parts = names
            .iter()
            .map(|name| self.get(name).map(|child| child.part));
        let parts = parts.flatten().chain(own);
        weights
            .iter()
            .zip(parts)
            .any(|(weight, part)| off(*weight, part))
    }

    /// When to look at the shares again.
    pub(super) fn cut_due(&self) -> Time {
        match self.shares {
            Shares::Even => Time::NEVER,
            Shares::Uneven => self.cut_at + TREE_CUT_PAUSE,
            Shares::Rough => (self.cut_at + TREE_CUT_REST)
                .max(self.changed_at + TREE_CUT_QUIET)
                .min(self.cut_at + TREE_CUT_LATEST),
        }
    }

    /// Notes that weights changed.
    pub(super) const fn weighed(&mut self, now: Time) {
        self.shares = Shares::Uneven;
        self.changed_at = now;
    }

    /// Cuts the keys anew if shares are off by more than twice, or by less for long enough. Says whose part
    /// changed, and the own part on the seat.
    pub(super) fn cut(
        &mut self,
        own: Option<Part>,
        now: Time,
    ) -> Option<(Vec<Name>, Option<Part>)> {
        if now < self.cut_due() {
            return None;
        }
        let off = |limit| self.is_off(true, own, limit) || self.is_off(false, own, limit);
        if !off((9, 8)) {
            self.shares = Shares::Even;
            return None;
        }
        if self.shares == Shares::Uneven && !off((2, 1)) {
            self.shares = Shares::Rough;
            return None;
        }
        self.cut_at = now;
        self.shares = Shares::Even;
        let mut changed = Vec::new();
        let mut own_part = own;
        for seat in [true, false] {
            let (names, weights) = self.shares(seat, own.is_some());
            let parts = cut(&weights, REST);
            for (name, part) in names.iter().zip(&parts) {
                if let Some(child) = self.all.get_mut(name)
                    && child.part != *part
                {
                    child.part = *part;
                    changed.push(*name);
                }
            }
            if own.is_some() && seat {
                own_part = parts.last().copied();
            }
        }
        Some((changed, own_part))
    }

    /// Whether a child on the seat, or on the own place, has the key.
    pub(super) fn holds(&self, seat: bool, range: Range, key: u64) -> bool {
        self.live().any(|(_, child)| {
            child.seat == seat && range.part(child.part).is_some_and(|r| r.contains(key))
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.all.len() * size_of::<(Name, Child)>()
    }
}
