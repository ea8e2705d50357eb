//! The only place that reads clocks.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::time::{Calendar, Time};

/// The node's clock: monotonic time since its start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at this moment.
    #[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Time since the start.
    #[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
    pub fn now(&self) -> Time {
        let nanos = self.start.elapsed().as_nanos();
        Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The runtime's moment of a node's time.
    pub fn instant(&self, time: Time) -> tokio::time::Instant {
        let far = Duration::from_secs(24 * 3600);
        let span = time.since(Time::ZERO);
        let now = self.now();
        // Timers far in the future are armed again when they fire early.
        let span = span.min(now.since(Time::ZERO) + far);
        tokio::time::Instant::from_std(self.start + span)
    }
}

/// Calendar time.
#[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
pub fn calendar() -> Calendar {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Calendar(since.map_or(0, |span| span.as_secs()))
}

/// How long this machine has slept since it booted: the clock that counts sleep less the one that
/// does not (R-T1).
pub fn slept() -> Duration {
    let with = clock_gettime(ClockId::Boottime);
    let without = clock_gettime(ClockId::Monotonic);
    let span = |time: rustix::time::Timespec| {
        let secs = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    span(with).saturating_sub(span(without))
}
