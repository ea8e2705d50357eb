//! The memory that channels share (R-X1, R-X3).
//!
//! Bytes are reserved before they are promised as credit or offered to an application, so the sum of
//! all windows never exceeds the limit. Counters only: nothing is allocated here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::limits::{CHANNEL_FLOOR, CHANNEL_START};

/// A share of the node's memory budget; clones count against the same limit.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    limit: u64,
    used: AtomicU64,
    /// A channel could not grow to the window that channels start with.
    starved: AtomicBool,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Counters {
            limit,
            used: AtomicU64::new(0),
            starved: AtomicBool::new(false),
        }))
    }

    /// Reserves `bytes`; false, and nothing reserved, when they are not there.
    pub fn reserve(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let take = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.0.limit);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: usize) {
        let give = |used: u64| Some(used.saturating_sub(bytes as u64));
        let _always = self
            .0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    /// Bytes reserved.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be reserved in all.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// The window a fresh channel gets: plenty while memory is plentiful, the floor when many
    /// thousands of channels are open. Each takes a small share of the free half; the other half
    /// is kept for floors and for growth.
    pub fn start_window(&self) -> usize {
        let share = (self.limit() / 2).saturating_sub(self.used()) / 4096;
        usize::try_from(share)
            .unwrap_or(usize::MAX)
            .clamp(CHANNEL_FLOOR, CHANNEL_START)
    }

    /// Whether a window may grow by `bytes`: at most half of what is free goes to one request.
    pub fn grow(&self, bytes: usize) -> bool {
        let free = self.limit().saturating_sub(self.used());
        let grown = bytes as u64 <= free / 2 && self.reserve(bytes);
        if !grown && bytes < CHANNEL_START {
            self.0.starved.store(true, Ordering::Relaxed);
        }
        grown
    }

    /// Whether there is no room for the floor of another channel.
    pub fn is_exhausted(&self) -> bool {
        self.limit().saturating_sub(self.used()) < 2 * CHANNEL_FLOOR as u64
    }

    /// Whether a channel could not even grow to the window that channels start with, since this was
    /// last asked.
    pub fn take_starved(&self) -> bool {
        self.0.starved.load(Ordering::Relaxed) && self.0.starved.swap(false, Ordering::Relaxed)
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
        assert!(!budget.grow(21), "half of what is free");
        assert!(budget.grow(20));
        assert_eq!(budget.used(), 80);
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
            let window = budget.start_window();
            assert!(budget.reserve(2 * window));
        }
    }
}
