//! When each of many is due, without asking all of them after every byte.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Moments at which something is to be looked at: never later than it is due. A later moment is taken only
/// when the earlier one has passed, so that a deadline which every packet puts off costs no more than a
/// comparison.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// `key` is due at `at`, as far as is known now.
    pub(super) fn note(&mut self, key: K, at: Time) {
        match self.by_key.get_mut(&key) {
            Some(known) if *known <= at => return,
            Some(known) => {
                self.by_time.remove(&(*known, key));
                *known = at;
            }
            None => {
                self.by_key.insert(key, at);
            }
        }
        self.by_time.insert((at, key));
    }

    /// `key` is gone.
    pub(super) fn remove(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// The first moment.
    pub(super) fn first(&self) -> Time {
        self.by_time.first().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// Takes those whose moment has come; each must be noted anew.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<K> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.by_time.pop_first() {
            if at > now {
                self.by_time.insert((at, key));
                break;
            }
            self.by_key.remove(&key);
            due.push(key);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_earliest_moment_counts_until_it_has_passed() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.first(), Time::NEVER);
        deadlines.note('a', at(5));
        deadlines.note('a', at(9));
        assert_eq!(deadlines.first(), at(5));
        deadlines.note('a', at(3));
        deadlines.note('b', at(4));
        assert_eq!(deadlines.first(), at(3));
        assert_eq!(deadlines.take_due(at(2)), []);
        assert_eq!(deadlines.take_due(at(4)), ['a', 'b']);
        assert_eq!(deadlines.first(), Time::NEVER);
        deadlines.note('a', at(9));
        assert_eq!(deadlines.first(), at(9));
    }

    #[test]
    fn what_is_gone_is_never_due() {
        let mut deadlines = Deadlines::default();
        deadlines.note('a', at(5));
        deadlines.remove('a');
        deadlines.remove('b');
        assert_eq!(deadlines.first(), Time::NEVER);
        assert_eq!(deadlines.take_due(at(9)), []);
    }
}
