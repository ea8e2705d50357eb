//! Time as a value: the pure rooms are told what time it is and never ask.
//!
//! [`Time`] is monotonic and counts from an arbitrary start (the start of the node, or of a
//! simulation). Calendar time appears only in certificates and records, as [`Calendar`].

use std::{
    fmt,
    ops::{Add, AddAssign},
    time::Duration,
};

/// A moment on the node's monotonic clock, in nanoseconds since its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies ahead (R-T2).
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER {
            f.write_str("never")
        } else {
            write!(
                f,
                "{}.{:06}s",
                self.0 / 1_000_000_000,
                self.0 % 1_000_000_000 / 1000
            )
        }
    }
}

/// Calendar time: seconds since 1970-01-01 UTC. Used for certificates and directory records only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Calendar(pub u64);

/// What the calendar says at each moment, by what it said at one of them. The clock of the machine is set now
/// and then, and the monotonic one stands still while the machine sleeps: then there is another one.
#[derive(Clone, Copy, Debug)]
pub struct Almanac {
    at: Time,
    said: Calendar,
}

impl Almanac {
    /// The calendar says `said` at `at`.
    pub const fn new(said: Calendar, at: Time) -> Self {
        Self { at, said }
    }

    /// What it says now.
    pub const fn calendar(self, now: Time) -> Calendar {
        Calendar(self.said.0.saturating_add(now.since(self.at).as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
        assert_eq!(Time::ZERO.since(Time::from_nanos(5)), Duration::ZERO);
        assert_eq!(Time::from_nanos(7).since(Time::from_nanos(5)).as_nanos(), 2);
    }
}
