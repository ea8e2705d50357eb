//! Sets of integers that come mostly in runs.

/// Disjoint closed ranges, ascending, never touching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds one number; false when it was in already.
    pub fn insert(&mut self, number: u64) -> bool {
        if let Some(last) = self.0.last_mut()
            && last.1.checked_add(1) == Some(number)
        {
            last.1 = number;
            return true;
        }
        let at = self.0.partition_point(|range| range.1 < number);
        if self.0.get(at).is_some_and(|range| range.0 <= number) {
            return false;
        }
        let joins_next = self
            .0
            .get(at)
            .is_some_and(|range| number.checked_add(1) == Some(range.0));
        let before = at.checked_sub(1);
        let joins_before = before
            .and_then(|at| self.0.get(at))
            .is_some_and(|range| range.1.checked_add(1) == Some(number));
        match (joins_before, joins_next) {
            (true, true) => {
                let (_, high) = self.0.remove(at);
                if let Some(range) = before.and_then(|at| self.0.get_mut(at)) {
                    range.1 = high;
                }
            }
            (true, false) => {
                if let Some(range) = before.and_then(|at| self.0.get_mut(at)) {
                    range.1 = number;
                }
            }
            (false, true) => {
                if let Some(range) = self.0.get_mut(at) {
                    range.0 = number;
                }
            }
            (false, false) => self.0.insert(at, (number, number)),
        }
        true
    }

    /// Whether the number is in.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < number);
        self.0.get(at).is_some_and(|range| range.0 <= number)
    }

    /// Whether adding the number makes no new range.
    pub fn touches(&self, number: u64) -> bool {
        let near = [Some(number), number.checked_sub(1), number.checked_add(1)];
        near.into_iter().flatten().any(|near| self.contains(near))
    }

    /// Largest number.
    pub fn max(&self) -> Option<u64> {
        self.0.last().map(|range| range.1)
    }

    /// Ranges, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().rev().copied()
    }

    /// How many ranges there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Drops the oldest ranges until at most `keep` are left.
    pub fn forget_oldest(&mut self, keep: usize) {
        let surplus = self.0.len().saturating_sub(keep);
        self.0.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_behaves_like_a_set(numbers in prop::collection::vec(0_u64..200, 0..300)) {
            let mut set = BTreeSet::new();
            let mut ranges = Ranges::default();
            for number in numbers {
                prop_assert_eq!(ranges.insert(number), set.insert(number));
            }
            for number in 0..202 {
                let before = ranges.count();
                let mut more = ranges.clone();
                more.insert(number);
                prop_assert_eq!(ranges.touches(number), more.count() <= before);
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
            for pair in ranges.0.windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0);
            }
        }
    }

    #[test]
    fn the_largest_number_is_no_special_case() {
        let mut ranges = Ranges::default();
        assert!(ranges.insert(u64::MAX));
        assert!(ranges.insert(u64::MAX - 1));
        assert!(!ranges.insert(u64::MAX));
        assert_eq!(ranges.count(), 1);
    }
}
