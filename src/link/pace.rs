//! How fast a link takes bytes, and what follows: the size of packets and of the unsent backlog.
//!
//! A packet leaves whole, so on a slow link a large one makes every other channel wait; the same holds for
//! what the kernel has taken and not sent. Both follow the link's rate (design 5).

use std::time::Duration;

use crate::limits::{
    LINK_BACKLOG, LINK_BACKLOG_MIN, LINK_BACKLOG_START, PACKET_PLAIN_MAX, PACKET_PLAIN_MIN,
    PACKET_PLAIN_START,
};
use crate::time::Time;

/// Time that one packet may take on the link.
const PACKET_TIME: Duration = Duration::from_millis(5);
/// Time that the unsent backlog may take.
const BACKLOG_TIME: Duration = Duration::from_millis(8);
/// Shortest span that says something about the rate.
const SPAN_MIN: Duration = Duration::from_millis(2);
/// Bytes after which a link that never was full counts as fast: more than any backlog that is chosen for a
/// slower one.
const FREE: u64 = 4 * LINK_BACKLOG as u64;

/// The rate of a link's sending direction.
///
/// Between two moments at which the kernel takes no more, exactly as many bytes were written as left. A
/// link that takes [`FREE`] bytes and is not full once is faster than its sender.
#[derive(Debug, Default)]
pub struct Pace {
    full_at: Option<Time>,
    written: u64,
    /// Bytes written since the kernel took no more.
    free: u64,
    /// Bytes per second.
    rate: Option<u64>,
}

impl Pace {
    /// The kernel took bytes.
    pub const fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
        self.free += bytes as u64;
        if self.free >= FREE {
            self.rate = Some(u64::MAX / 4);
        }
    }

    /// The kernel takes no more for now.
    pub fn full(&mut self, now: Time) {
        self.free = 0;
        let Some(since) = self.full_at else {
            self.full_at = Some(now);
            self.written = 0;
            return;
        };
        let span = now.since(since);
        if span < SPAN_MIN {
            return;
        }
        let sample = u128::from(self.written) * 1_000_000_000 / span.as_nanos();
        let sample = u64::try_from(sample).unwrap_or(u64::MAX / 4);
        // What counted as fast because it never was full has its first sample now.
        let before = self.rate.filter(|rate| *rate < u64::MAX / 4);
        self.rate = Some(before.map_or(sample, |rate| (rate * 3 + sample) / 4));
        self.full_at = Some(now);
        self.written = 0;
    }

    /// There is nothing to send: the time from here on says nothing.
    pub const fn idle(&mut self) {
        self.full_at = None;
    }

    /// Plaintext that a packet should carry at most, bytes.
    pub fn packet_len(&self) -> usize {
        self.worth(PACKET_TIME, PACKET_PLAIN_START)
            .clamp(PACKET_PLAIN_MIN, PACKET_PLAIN_MAX)
    }

    /// Bytes that the kernel should hold unsent at most.
    pub fn backlog(&self) -> usize {
        self.worth(BACKLOG_TIME, LINK_BACKLOG_START)
            .clamp(LINK_BACKLOG_MIN, LINK_BACKLOG)
    }

    fn worth(&self, span: Duration, unknown: usize) -> usize {
        self.rate.map_or(unknown, |rate| {
            let bytes = u128::from(rate) * span.as_nanos() / 1_000_000_000;
            usize::try_from(bytes).unwrap_or(usize::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that takes `rate` bytes per second for a second, 4 KiB each time.
    fn paced(rate: u64) -> Pace {
        let mut pace = Pace::default();
        let step = Duration::from_secs_f64(4096.0 / rate as f64);
        let mut now = Time::ZERO;
        while now < Time::ZERO + Duration::from_secs(1) {
            pace.full(now);
            pace.wrote(4096);
            now += step;
        }
        pace
    }

    #[test]
    fn packets_take_about_five_milliseconds() {
        let slow = paced(125_000);
        assert_eq!(slow.packet_len(), PACKET_PLAIN_MIN);
        assert_eq!(slow.backlog(), LINK_BACKLOG_MIN);
        let middle = paced(4_000_000);
        assert!((19_000..21_000).contains(&middle.packet_len()));
        assert!((31_000..33_000).contains(&middle.backlog()));
        let fast = paced(500_000_000);
        assert_eq!(fast.packet_len(), PACKET_PLAIN_MAX);
        assert_eq!(fast.backlog(), LINK_BACKLOG);
    }

    #[test]
    fn a_link_that_is_never_full_is_fast() {
        let mut pace = paced(125_000);
        for _ in 1..FREE / 4096 {
            assert_eq!(pace.packet_len(), PACKET_PLAIN_MIN);
            pace.wrote(4096);
        }
        assert_eq!(pace.packet_len(), PACKET_PLAIN_MAX);
    }

    #[test]
    fn time_without_anything_to_send_says_nothing() {
        let mut pace = paced(4_000_000);
        let before = pace.packet_len();
        pace.idle();
        pace.full(Time::ZERO + Duration::from_secs(100));
        assert_eq!(pace.packet_len(), before);
    }
}
