//! Which packet numbers of one direction and epoch have been received (R-W5).

use crate::limits::PACKETS_IN_FLIGHT_MAX;

/// Words of the ring.
const WORDS: usize = 258;
/// Bits of a word.
const BITS: u64 = u64::BITS as u64;
/// Numbers behind the highest received one that are still told apart.
///
/// Twice what may be under way (R-W5), and the word that is being filled; 2 KiB per key set.
pub const WINDOW: u64 = (WORDS as u64 - 1) * BITS;
const _: () = assert!(
    WINDOW >= 2 * PACKETS_IN_FLIGHT_MAX as u64,
    "a packet that was overtaken by all others under way must still open"
);

/// A sliding window of received packet numbers: each is accepted once.
///
/// [`Self::check`] before opening, [`Self::mark`] after: a forged number moves nothing.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    /// Bit `n % 64` of word `n / 64 % WORDS` says that `n` was received.
    words: Box<[u64; WORDS]>,
    /// One above the highest number marked; zero when none was.
    next: u64,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayWindow {
    /// A window that has seen nothing.
    pub fn new() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            next: 0,
        }
    }

    /// Whether `number` may be accepted: not seen, not older than the window, not the reserved
    /// `u64::MAX`.
    pub fn check(&self, number: u64) -> bool {
        if number == u64::MAX {
            return false;
        }
        match self.next.checked_sub(number) {
            None | Some(0) => true,
            Some(age) if age > WINDOW => false,
            Some(_) => self.words[slot(number)] & bit(number) == 0,
        }
    }

    /// Records that `number` was received; does nothing where [`Self::check`] says no.
    pub fn mark(&mut self, number: u64) {
        if !self.check(number) {
            return;
        }
        if number >= self.next {
            self.advance(number);
        }
        self.words[slot(number)] |= bit(number);
    }

    /// Moves the window up to `number`, forgetting what falls out.
    fn advance(&mut self, number: u64) {
        let newest = self.next.saturating_sub(1) / BITS;
        let steps = (number / BITS - newest).min(WORDS as u64);
        for step in 1..=steps {
            self.words[ring(newest + step)] = 0;
        }
        // `check` refused u64::MAX.
        self.next = number.saturating_add(1);
    }
}

/// The word of a packet number.
const fn slot(number: u64) -> usize {
    ring(number / BITS)
}

/// The place of a word in the ring.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below WORDS"
)]
const fn ring(word: u64) -> usize {
    (word % WORDS as u64) as usize
}

/// The bit of a packet number in its word.
const fn bit(number: u64) -> u64 {
    1 << (number % BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The same rule with a set of everything ever received.
    #[derive(Default)]
    struct Model {
        seen: BTreeSet<u64>,
    }

    impl Model {
        fn check(&self, number: u64) -> bool {
            let in_window = self
                .seen
                .last()
                .is_none_or(|highest| number > *highest || highest - number < WINDOW);
            number != u64::MAX && in_window && !self.seen.contains(&number)
        }
    }

    #[test]
    fn a_duplicate_is_refused_and_the_order_does_not_matter() {
        let mut window = ReplayWindow::new();
        for number in [5, 3, 4, 0] {
            assert!(window.check(number));
            window.mark(number);
            assert!(!window.check(number));
        }
        assert!(window.check(1));
    }

    #[test]
    fn the_window_holds_what_is_promised_and_no_more() {
        for highest in [
            WINDOW,
            WINDOW + 1,
            WINDOW + 63,
            WINDOW + 64,
            10 * WINDOW + 17,
        ] {
            let mut window = ReplayWindow::new();
            window.mark(highest);
            assert!(window.check(highest - WINDOW + 1));
            assert!(!window.check(highest - WINDOW));
        }
    }

    #[test]
    fn a_jump_over_the_whole_ring_forgets_everything_old() {
        let mut window = ReplayWindow::new();
        for number in 0..2 * WINDOW {
            window.mark(number);
        }
        window.mark(100 * WINDOW);
        for number in 99 * WINDOW + 1..100 * WINDOW {
            assert!(window.check(number), "{number}");
        }
    }

    #[test]
    fn arithmetic_holds_at_the_end_of_the_numbers() {
        let mut window = ReplayWindow::new();
        assert!(!window.check(u64::MAX));
        window.mark(u64::MAX);
        assert!(window.check(0));
        window.mark(u64::MAX - 1);
        assert!(!window.check(u64::MAX - 1));
        assert!(window.check(u64::MAX - 2));
        assert!(window.check(u64::MAX - WINDOW));
        assert!(!window.check(u64::MAX - 1 - WINDOW));
        assert!(!window.check(0));
        assert!(!window.check(u64::MAX));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_all_numbers(
            start in prop_oneof![
                Just(0),
                any::<u64>(),
                Just(u64::MAX - 3 * WINDOW),
            ],
            steps in prop::collection::vec(
                prop_oneof![0..200_u64, 0..3 * WINDOW, Just(u64::MAX)],
                1..300,
            ),
        ) {
            let mut window = ReplayWindow::new();
            let mut model = Model::default();
            for step in steps {
                let number = start.saturating_add(step);
                prop_assert_eq!(window.check(number), model.check(number), "{}", number);
                if model.check(number) {
                    model.seen.insert(number);
                }
                window.mark(number);
            }
        }
    }
}
