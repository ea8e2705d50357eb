//! T_ask and T_confirm: when to ask again, and when to give an answered attempt up for a newer one.

use std::time::Duration;

use crate::random::Random;
use crate::time::Time;

/// First interval of T_ask, and least interval of T_confirm (PROTOCOL 8).
const FIRST: Duration = Duration::from_millis(250);
/// Longest interval of T_ask while channels are open (R-R8).
const ASK_MAX_OPEN: Duration = Duration::from_secs(1);
/// Longest interval of T_ask without channels, and of T_confirm.
const MAX: Duration = Duration::from_secs(60);

/// Which timer is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// T_ask: no answer yet.
    Ask,
    /// T_confirm: answered, but nothing was opened under the next pair.
    Confirm,
}

/// Both timers with their back-off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timers {
    pub(super) ask_at: Option<Time>,
    pub(super) confirm_at: Option<Time>,
    /// Expiries of T_ask since the last event.
    asks: u32,
    /// Expiries of T_confirm since the last commit; a new number does not reset it.
    confirms: u32,
    rtt: Duration,
    channels_open: bool,
}

impl Timers {
    pub(super) const fn new(rtt: Duration) -> Self {
        Self {
            ask_at: None,
            confirm_at: None,
            asks: 0,
            confirms: 0,
            rtt,
            channels_open: false,
        }
    }

    pub(super) const fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// Opening the first channel pulls a far deadline of T_ask closer.
    pub(super) fn set_channels_open(&mut self, open: bool, now: Time) {
        self.channels_open = open;
        if open {
            self.ask_at = self.ask_at.map(|at| at.min(now + ASK_MAX_OPEN));
        }
    }

    pub(super) const fn reset_ask(&mut self) {
        self.asks = 0;
        self.ask_at = None;
    }

    pub(super) fn arm_ask(&mut self, random: &mut Random, now: Time) {
        let cap = if self.channels_open {
            ASK_MAX_OPEN
        } else {
            MAX
        };
        let span = doubled(FIRST, self.asks).min(cap);
        // Up to a fifth earlier, so that the cap holds and many sessions spread.
        let early = nanos(span) / 5;
        let early = Duration::from_nanos(random.below(early.max(1)));
        self.ask_at = Some(now + span.saturating_sub(early));
    }

    pub(super) fn arm_confirm(&mut self, random: &mut Random, now: Time) {
        let base = self.rtt.saturating_mul(2).max(FIRST);
        let span = doubled(base, self.confirms).min(MAX);
        // Later only: an expiry below one round trip would abandon keys under way.
        let late = Duration::from_nanos(random.below((nanos(span) / 5).max(1)));
        self.confirm_at = Some(now + span.max(self.rtt) + late);
    }

    /// Expiries of T_ask since the last event.
    pub(super) const fn asks(&self) -> u32 {
        self.asks
    }

    pub(super) const fn count_ask(&mut self) {
        self.asks = self.asks.saturating_add(1);
    }

    pub(super) const fn count_confirm(&mut self) {
        self.confirms = self.confirms.saturating_add(1);
    }

    /// Ends both: there is nothing to wait for.
    pub(super) const fn stop(&mut self) {
        self.reset_ask();
        self.confirm_at = None;
        self.confirms = 0;
    }

    pub(super) fn next(&self) -> Option<(Time, Deadline)> {
        let ask = self.ask_at.map(|at| (at, Deadline::Ask));
        let confirm = self.confirm_at.map(|at| (at, Deadline::Confirm));
        ask.into_iter().chain(confirm).min()
    }
}

fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Lets at most twenty events pass in any second of its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limiter {
    since: Time,
    passed: u32,
}

impl Limiter {
    /// Answers to H without news, per second and session (PROTOCOL 8).
    pub(super) const PER_SECOND: u32 = 20;

    pub(super) const fn new(now: Time) -> Self {
        Self {
            since: now,
            passed: 0,
        }
    }

    pub(super) fn pass(&mut self, now: Time) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let pass = self.passed < Self::PER_SECOND;
        if pass {
            self.passed += 1;
        }
        pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(at: Option<Time>) -> Duration {
        at.unwrap().since(Time::ZERO)
    }

    #[test]
    fn asking_doubles_to_one_second_with_channels_and_to_a_minute_without() {
        let mut random = Random::from_number(1);
        for (open, cap) in [(true, 1_000), (false, 60_000)] {
            let mut timers = Timers::new(Duration::ZERO);
            timers.set_channels_open(open, Time::ZERO);
            for tries in 0..40_u32 {
                timers.arm_ask(&mut random, Time::ZERO);
                let full = (250_u64 << tries.min(20)).min(cap);
                let span = span(timers.ask_at);
                assert!(span <= Duration::from_millis(full), "{tries}: {span:?}");
                assert!(
                    span >= Duration::from_millis(full * 4 / 5),
                    "{tries}: {span:?}"
                );
                timers.count_ask();
            }
            timers.reset_ask();
            timers.arm_ask(&mut random, Time::ZERO);
            assert!(span(timers.ask_at) <= Duration::from_millis(250));
        }
    }

    #[test]
    fn confirming_starts_at_two_round_trips_and_never_goes_below_one() {
        let mut random = Random::from_number(2);
        for rtt in [0_u64, 100, 1_000, 20_000, 100_000] {
            let mut timers = Timers::new(Duration::from_millis(rtt));
            for tries in 0..40_u32 {
                timers.arm_confirm(&mut random, Time::ZERO);
                let base = (2 * rtt).max(250);
                let full = (base << tries.min(20)).min(60_000).max(rtt);
                let span = span(timers.confirm_at);
                assert!(
                    span >= Duration::from_millis(full),
                    "{rtt} {tries}: {span:?}"
                );
                assert!(
                    span <= Duration::from_millis(full * 6 / 5),
                    "{rtt} {tries}: {span:?}"
                );
                timers.count_confirm();
            }
        }
    }

    #[test]
    fn opening_a_channel_pulls_the_next_question_closer() {
        let mut random = Random::from_number(3);
        let mut timers = Timers::new(Duration::ZERO);
        for _ in 0..10 {
            timers.count_ask();
        }
        timers.arm_ask(&mut random, Time::ZERO);
        assert!(span(timers.ask_at) > ASK_MAX_OPEN);
        timers.set_channels_open(true, Time::ZERO);
        assert_eq!(span(timers.ask_at), ASK_MAX_OPEN);
    }

    #[test]
    fn the_limiter_passes_twenty_a_second() {
        let mut limiter = Limiter::new(Time::ZERO);
        let passed = (0..100).filter(|_| limiter.pass(Time::ZERO)).count();
        assert_eq!(passed, 20);
        assert!(limiter.pass(Time::ZERO + Duration::from_secs(1)));
    }
}
