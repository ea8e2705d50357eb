//! The memory that channels share (R-X1, R-X3).
//!
//! Bytes are reserved before they are promised as credit or offered to an application, so the sum of
//! all windows never exceeds the limit. Counters only: nothing is allocated here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{CHANNEL_FLOOR, CHANNEL_START};

/// A share of the node's memory budget; clones count against the same limit.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Counters {
            limit,
            used: AtomicU64::new(0),
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
        bytes as u64 <= free / 2 && self.reserve(bytes)
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
    fn fifty_thousand_channels_find_a_start_in_half_a_gibibyte() {
        let budget = Budget::new(512 << 20);
        for _ in 0..50_000 {
            let window = budget.start_window();
            assert!(budget.reserve(2 * window));
        }
    }
}
