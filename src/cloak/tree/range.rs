//! Which keys belong to whom: the circle Z/2^64 is cut among the nodes along the tree.
//!
//! The root's seat owns all of it. Each parent keeps a rest for itself and gives each child a part in
//! proportion to the nodes that hang on it. Grants hold parts as fractions of the parent's, so when an
//! ancestor cuts anew, nothing below it is signed again.

use crate::wire::tree::Part;

/// A range of keys, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First key.
    pub first: u64,
    /// Last key, not below the first.
    pub last: u64,
}

impl Range {
    /// The whole circle.
    pub const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// Whether a key lies in it.
    pub const fn contains(&self, key: u64) -> bool {
        self.first <= key && key <= self.last
    }

    /// How many keys it has.
    pub fn length(&self) -> u128 {
        u128::from(self.last.saturating_sub(self.first)) + 1
    }

    /// A part of it; none when no key is in it.
    pub fn part(&self, part: Part) -> Option<Self> {
        let at = |units: u64| {
            let keys = (self.length() * u128::from(units)) >> 32;
            u128::from(self.first) + keys
        };
        let offset = u64::from(part.offset);
        let first = at(offset);
        let end = at(offset + u64::from(part.length));
        if first >= end {
            return None;
        }
        Some(Self {
            first: u64::try_from(first).ok()?,
            last: u64::try_from(end - 1).ok()?,
        })
    }
}

/// Units of a whole range.
const WHOLE: u64 = 1 << 32;
/// How much more than all others a child counts for that is not on the seat.
const CHAIN: u64 = 16;

/// Cuts a whole range into one part for each weight and a rest that has the weight `rest`; zero weights
/// get nothing.
pub(super) fn cut(weights: &[u64], rest: u64) -> Vec<Part> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let total = (sum + u128::from(rest)).max(1);
    let mut before = 0_u128;
    let at = |weight: u128| {
        let units = u128::from(WHOLE - 1) * weight / total;
        u32::try_from(units).unwrap_or(u32::MAX)
    };
    let part = |weight: &u64| {
        let offset = at(before);
        before += u128::from(*weight);
        Part {
            offset,
            length: at(before).saturating_sub(offset),
        }
    };
    weights.iter().map(part).collect()
}

/// Makes weights count for keys: of the heaviest only so much that a lie about it gains little. `rest` is
/// what the parent counts for itself.
///
/// On the root's seat it counts no more than the second, or two fifths of all others: then it has at most
/// half of the circle, and two sevenths where no other one has more than two fifths of what is left. Since a
/// cut comes only when shares are off by an eighth, that is less than two thirds and less than a third: never
/// all sub-keys of a name, and there only one. Elsewhere it counts no more than all others and a few, so that
/// chains still share their keys.
pub(super) fn level(weights: &mut [u64], rest: u64, seat: bool) {
    let Some(heaviest) = weights.iter().copied().max() else {
        return;
    };
    let Some(at) = weights.iter().position(|weight| *weight == heaviest) else {
        return;
    };
    let others = weights.iter().enumerate().filter(|(other, _)| *other != at);
    let others = others.map(|(_, weight)| *weight).chain([rest]);
    let second = others.clone().max().unwrap_or_default();
    let others = others.fold(0, u64::saturating_add);
    let most = if seat {
        second.max(others.saturating_mul(2) / 5)
    } else {
        others.saturating_add(CHAIN)
    };
    if let Some(weight) = weights.get_mut(at) {
        *weight = heaviest.min(most);
    }
}

/// The largest gap between parts.
pub(super) fn gap(mut parts: Vec<Part>) -> Part {
    parts.retain(|part| part.length > 0);
    parts.sort_unstable_by_key(|part| part.offset);
    let mut end = 0_u32;
    let mut best = Part::default();
    for part in parts {
        let length = part.offset.saturating_sub(end);
        if length > best.length {
            best = Part {
                offset: end,
                length,
            };
        }
        end = end.max(part.offset.saturating_add(part.length));
    }
    let length = u32::MAX - end;
    if length > best.length {
        best = Part {
            offset: end,
            length,
        };
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_cut_follow_each_other_and_are_in_proportion() {
        let parts = cut(&[1, 0, 3, 4], 8);
        assert_eq!(parts[0].offset, 0);
        for pair in parts.windows(2) {
            assert_eq!(pair[0].offset + pair[0].length, pair[1].offset);
        }
        assert_eq!(parts[1].length, 0);
        let share = |part: &Part| u64::from(part.length) * 16 / (WHOLE - 16);
        assert_eq!(parts.iter().map(share).collect::<Vec<_>>(), [1, 0, 3, 4]);
        let all: Vec<_> = parts.iter().map(|part| Range::ALL.part(*part)).collect();
        assert_eq!(all[1], None);
        assert_eq!(all[0].unwrap().last + 1, all[2].unwrap().first);
        assert_eq!(gap(parts).offset, u32::MAX / 2);
    }

    fn shares(weights: &[u64], seat: bool) -> Vec<u64> {
        let mut weights = weights.to_vec();
        level(&mut weights, 1, seat);
        let all: u64 = weights.iter().sum::<u64>() + 1;
        weights.iter().map(|weight| weight * 1_000 / all).collect()
    }

    #[test]
    fn no_lie_takes_two_thirds_of_the_circle_nor_a_third_among_many() {
        assert_eq!(shares(&[1 << 40, 60, 50, 40], true)[0], 284);
        assert_eq!(shares(&[1 << 40, 60], true)[0], 495);
        assert_eq!(shares(&[1 << 40], true)[0], 500);
        assert_eq!(shares(&[100, 90], true), [497, 497]);
        assert_eq!(shares(&[1 << 40, 9], false), [722, 250]);
        let siblings: [&[u64]; 6] = [&[], &[9], &[9, 9], &[30, 20, 20, 9], &[500, 1], &[0, 0]];
        for others in siblings {
            let sum = others.iter().sum::<u64>() + 1;
            let most = others.iter().copied().fold(1, u64::max);
            let limit = if most * 5 <= sum * 2 { 286 } else { 500 };
            for lie in (0..600).chain([1 << 40]) {
                let mut weights = others.to_vec();
                weights.push(lie);
                let share = shares(&weights, true)[others.len()];
                assert!(share <= limit, "{others:?} and {lie}: {share}");
            }
        }
    }

    #[test]
    fn nested_parts_never_leave_their_parent() {
        let mut range = Range::ALL;
        let part = Part {
            offset: u32::MAX - 99,
            length: 99,
        };
        let mut levels = 0;
        while let Some(inner) = range.part(part) {
            assert!(range.contains(inner.first) && range.contains(inner.last));
            assert!(inner.length() < range.length());
            range = inner;
            levels += 1;
        }
        assert_eq!(levels, 2);
    }

    #[test]
    fn the_largest_gap_is_found() {
        let part = |offset, length| Part { offset, length };
        assert_eq!(gap(Vec::new()), part(0, u32::MAX));
        assert_eq!(gap(vec![part(10, 5), part(0, u32::MAX)]).length, 0);
        let parts = vec![part(100, 100), part(1000, u32::MAX - 1000)];
        assert_eq!(gap(parts), part(200, 800));
    }
}
