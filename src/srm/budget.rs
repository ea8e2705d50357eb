//! The memory that channels share (R-X1, R-X3).
//!
//! Bytes are reserved before they are promised as credit or offered to an application, so the sum of
//! all windows never exceeds the limit. What one peer's channels hold beyond their floors never exceeds
//! what is left for all others (R-S5). Counters only: nothing is allocated here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::limits::{CHANNEL_FLOOR, CHANNEL_START};

/// The part of the node's memory budget that one peer uses; clones count as the same peer's.
#[derive(Clone, Debug)]
pub struct Budget {
    node: Arc<Counters>,
    own: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Counters {
    limit: AtomicU64,
    used: AtomicU64,
    /// A channel could not grow to the window that channels start with.
    starved: AtomicBool,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            node: Arc::new(Counters {
                limit: AtomicU64::new(limit),
                used: AtomicU64::new(0),
                starved: AtomicBool::new(false),
            }),
            own: Arc::default(),
        }
    }

    /// The part of another peer, under the same limit.
    pub fn for_another(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            own: Arc::default(),
        }
    }

    /// Reserves `bytes`; false, and nothing reserved, when they are not there.
    pub fn reserve(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let limit = self.limit();
        let take = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        let used = &self.node.used;
        let reserved = used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok();
        if reserved {
            self.own.fetch_add(bytes, Ordering::Relaxed);
        }
        reserved
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: usize) {
        for used in [&self.node.used, &*self.own] {
            let give = |used: u64| Some(used.saturating_sub(bytes as u64));
            let _always = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
        }
    }

    /// Bytes reserved, by all peers.
    pub fn used(&self) -> u64 {
        self.node.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be reserved in all.
    pub fn limit(&self) -> u64 {
        self.node.limit.load(Ordering::Relaxed)
    }

    /// Sets how many that are. What is reserved beyond stays so until it is given back.
    pub fn set_limit(&self, limit: u64) {
        self.node.limit.store(limit, Ordering::Relaxed);
    }

    fn free(&self) -> u64 {
        self.limit().saturating_sub(self.used())
    }

    /// The window a fresh channel gets: plenty while memory is plentiful, the floor when many
    /// thousands of channels are open. Each takes a small share of the free half; the other half
    /// is kept for floors and for growth.
    fn start_window(&self) -> usize {
        let share = (self.limit() / 2).saturating_sub(self.used()) / 4096;
        usize::try_from(share)
            .unwrap_or(usize::MAX)
            .clamp(CHANNEL_FLOOR, CHANNEL_START)
    }

    /// Reserves `bytes` beyond floors: a peer may hold half of what it holds and what is free, so it
    /// leaves as much as it takes.
    pub fn grow(&self, bytes: usize) -> bool {
        let (free, own) = (self.free(), self.own.load(Ordering::Relaxed));
        let fair = own.saturating_add(bytes as u64) <= own.saturating_add(free) / 2;
        let grown = fair && self.reserve(bytes);
        if !grown && bytes < CHANNEL_START && bytes as u64 > free / 2 {
            self.node.starved.store(true, Ordering::Relaxed);
        }
        grown
    }

    /// Reserves the windows of both directions of a fresh channel, and says how long each is.
    pub fn open(&self) -> Option<usize> {
        let window = self.start_window();
        if window > CHANNEL_FLOOR && self.grow(2 * window) {
            return Some(window);
        }
        self.reserve(2 * CHANNEL_FLOOR).then_some(CHANNEL_FLOOR)
    }

    /// Whether there is no room for the floor of another channel.
    pub fn is_exhausted(&self) -> bool {
        self.free() < 2 * CHANNEL_FLOOR as u64
    }

    /// Whether a channel could not even grow to the window that channels start with, since this was
    /// last asked.
    pub fn take_starved(&self) -> bool {
        let starved = &self.node.starved;
        starved.load(Ordering::Relaxed) && starved.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_reserved() {
        let budget = Budget::new(100);
        assert!(budget.reserve(100));
        assert!(!budget.reserve(1));
        budget.release(40);
        let other = budget.for_another();
        assert!(!other.grow(21), "half of what is free");
        assert!(other.grow(20));
        assert_eq!(budget.used(), 80);
    }

    #[test]
    fn a_peer_that_takes_all_it_can_leaves_as_much_to_the_others() {
        let greedy = Budget::new(64 << 20);
        let grab = |budget: &Budget| {
            let mut taken = 0;
            for piece in [32 << 20, 1 << 20, 64 << 10, 1 << 10] {
                while budget.grow(piece) {
                    taken += piece;
                }
            }
            taken
        };
        assert_eq!(grab(&greedy), 32 << 20);
        let (second, third) = (greedy.for_another(), greedy.for_another());
        assert_eq!(grab(&second), 16 << 20);
        assert_eq!(grab(&greedy), 0, "nor does it take more when others come");
        assert_eq!(grab(&third), 8 << 20);
        assert!(!greedy.take_starved());
        assert_eq!(greedy.own.load(Ordering::Relaxed), 32 << 20);
        greedy.release(32 << 20);
        assert!(
            second.grow(1 << 20),
            "what one gives back is there for others"
        );
    }

    #[test]
    fn a_small_window_that_cannot_grow_is_noticed_once_and_a_large_one_is_not() {
        let budget = Budget::new(4 * CHANNEL_START as u64);
        assert!(!budget.grow(4 * CHANNEL_START));
        assert!(!budget.take_starved());
        assert!(budget.reserve(4 * CHANNEL_START - 2 * CHANNEL_FLOOR));
        assert!(!budget.is_exhausted());
        assert!(!budget.grow(2 * CHANNEL_FLOOR));
        assert!(budget.take_starved());
        assert!(!budget.take_starved());
        assert!(budget.reserve(1));
        assert!(budget.is_exhausted());
    }

    #[test]
    fn fifty_thousand_channels_find_a_start_in_half_a_gibibyte() {
        let budget = Budget::new(512 << 20);
        for _ in 0..50_000 {
            assert!(budget.open().is_some());
        }
    }
}
