//! Whose turn it is: deficit round robin in which who was quiet goes first, and who holds how much.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Bytes that a member may send per round.
const QUANTUM: i64 = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    New,
    Old,
}

/// Members that have something to send, and some that have just run out of it.
///
/// A member that appears goes before all that have been there for a round, for one quantum. When it runs
/// dry it stays for the round that goes on, so it wins nothing by coming again at once.
#[derive(Debug)]
pub(super) struct Rounds<K> {
    members: BTreeMap<K, (Row, i64)>,
    new: VecDeque<K>,
    old: VecDeque<K>,
}

impl<K> Default for Rounds<K> {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
            new: VecDeque::new(),
            old: VecDeque::new(),
        }
    }
}

impl<K: Copy + Ord> Rounds<K> {
    /// A member has something to send.
    pub(super) fn arrive(&mut self, key: K) {
        if let Entry::Vacant(place) = self.members.entry(key) {
            place.insert((Row::New, QUANTUM));
            self.new.push_back(key);
        }
    }

    /// Whether a member is known.
    pub(super) fn knows(&self, key: K) -> bool {
        self.members.contains_key(&key)
    }

    /// Members, those included that ran out.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The member whose turn it is: until [`Self::spent`] uses up its deficit, or [`Self::dry`].
    pub(super) fn turn(&mut self) -> Option<K> {
        loop {
            let key = *self.new.front().or_else(|| self.old.front())?;
            let Some((row, deficit)) = self.members.get_mut(&key) else {
                // Every listed key is a member.
                return None;
            };
            if *deficit > 0 {
                return Some(key);
            }
            *deficit += QUANTUM;
            match std::mem::replace(row, Row::Old) {
                Row::New => self.new.pop_front(),
                Row::Old => self.old.pop_front(),
            };
            self.old.push_back(key);
        }
    }

    /// The member has sent `bytes`.
    pub(super) fn spent(&mut self, key: K, bytes: usize) {
        if let Some((_, deficit)) = self.members.get_mut(&key) {
            *deficit = deficit.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// The member whose turn it is has nothing to send.
    pub(super) fn dry(&mut self, key: K) {
        match self.members.get_mut(&key) {
            Some((row, _)) if *row == Row::New => {
                self.new.retain(|listed| *listed != key);
                if self.old.is_empty() {
                    self.members.remove(&key);
                } else {
                    *row = Row::Old;
                    self.old.push_back(key);
                }
            }
            _ => self.forget(key),
        }
    }

    /// The member is gone, wherever it stood.
    pub(super) fn forget(&mut self, key: K) {
        match self.members.remove(&key) {
            Some((Row::New, _)) => self.new.retain(|listed| *listed != key),
            Some((Row::Old, _)) => self.old.retain(|listed| *listed != key),
            None => {}
        }
    }
}

/// What each member holds, and which one holds most.
#[derive(Debug)]
pub(in crate::cloak) struct Tally<K> {
    held: BTreeMap<K, usize>,
    order: BTreeSet<(usize, K)>,
    total: usize,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            order: BTreeSet::new(),
            total: 0,
        }
    }
}

impl<K: Copy + Ord> Tally<K> {
    /// A member holds `more`.
    pub(in crate::cloak) fn add(&mut self, key: K, more: usize) {
        self.change(key, |held| held.saturating_add(more));
    }

    /// A member holds `less`.
    pub(in crate::cloak) fn take(&mut self, key: K, less: usize) {
        self.change(key, |held| held.saturating_sub(less));
    }

    fn change(&mut self, key: K, to: impl Fn(usize) -> usize) {
        let before = self.held.remove(&key).unwrap_or(0);
        self.order.remove(&(before, key));
        let after = to(before);
        self.total = (self.total - before).saturating_add(after);
        if after > 0 {
            self.held.insert(key, after);
            self.order.insert((after, key));
        }
    }

    /// What a member holds.
    pub(in crate::cloak) fn of(&self, key: K) -> usize {
        self.held.get(&key).copied().unwrap_or(0)
    }

    /// What all hold together.
    pub(in crate::cloak) const fn total(&self) -> usize {
        self.total
    }

    /// Who holds most.
    pub(in crate::cloak) fn most(&self) -> Option<K> {
        self.order.last().map(|(_, key)| *key)
    }
}
