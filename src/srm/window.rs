//! How much may be under way on a path: enough to keep it full, and little that waits in a queue.
//!
//! A link's TCP finds the rate of the network, but lets megabytes wait in its buffers when the neighbour
//! reads more slowly than it sends; a keystroke would stand behind all of them. So a session keeps at
//! most about two round trips' worth of the measured rate under way, and a few milliseconds for
//! acknowledgements that come late. The round trip is the shortest seen, looked for anew every few
//! seconds with less under way. Rate and round trip only ever raise the window while they grow, so a long
//! fat path is filled by doubling (the idea of BBR's start-up and of its search for the round trip).

use std::time::Duration;

use crate::limits::{ACK_BYTES, WINDOW_SLACK, WINDOW_START};
use crate::time::Time;

/// How long the shortest round trip is believed.
const RTT_LIFE: Duration = Duration::from_secs(5);
/// Shortest search for a new one.
const SEARCH_MIN: Duration = Duration::from_millis(5);
/// How long the highest rate is believed, at least; ten round trips if those are longer.
const RATE_LIFE: Duration = Duration::from_millis(500);

/// Where a path stood when a packet left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    delivered: u64,
    delivered_at: Time,
}

/// The best value of the present period and of the one before.
#[derive(Debug)]
struct Best<T> {
    now: Option<T>,
    before: Option<T>,
    since: Time,
}

impl<T: Copy> Best<T> {
    const fn new(since: Time) -> Self {
        Self {
            now: None,
            before: None,
            since,
        }
    }

    /// Takes a value; true when a period has ended with it.
    fn note(&mut self, value: T, better: fn(T, T) -> T, life: Duration, now: Time) -> bool {
        let over = now.since(self.since) >= life;
        if over {
            self.before = self.now.take();
            self.since = now;
        }
        self.now = Some(self.now.map_or(value, |best| better(best, value)));
        over
    }

    fn get(&self, better: fn(T, T) -> T) -> Option<T> {
        match (self.now, self.before) {
            (Some(now), Some(before)) => Some(better(now, before)),
            (now, before) => now.or(before),
        }
    }
}

/// The window of one path.
#[derive(Debug)]
pub struct Window {
    path: u64,
    began: Time,
    delivered: u64,
    delivered_at: Time,
    /// Bytes per second.
    rate: Best<u64>,
    rtt: Best<Duration>,
    searching_until: Time,
}

impl Window {
    /// The window of a path of which nothing is known.
    pub const fn new(path: u64, now: Time) -> Self {
        Self {
            path,
            began: now,
            delivered: 0,
            delivered_at: now,
            rate: Best::new(now),
            rtt: Best::new(now),
            searching_until: Time::ZERO,
        }
    }

    /// The path.
    pub const fn path(&self) -> u64 {
        self.path
    }

    /// What a packet that leaves now must remember. `idle` says that nothing is under way: the time
    /// before it says nothing about the path.
    pub const fn stamp(&mut self, idle: bool, now: Time) -> Stamp {
        if idle {
            self.delivered_at = now;
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
        }
    }

    /// Takes an acknowledgement of `bytes`, the newest of which left at `stamp` and took `rtt`.
    pub fn arrived(&mut self, bytes: u64, stamp: Stamp, rtt: Duration, now: Time) {
        self.delivered += bytes;
        self.delivered_at = now;
        if self.rtt.note(rtt, Duration::min, RTT_LIFE, now) {
            self.searching_until = now + (rtt * 2).max(SEARCH_MIN);
        }
        // A packet that left before the path was left and found again has the stamp of another window.
        let since = self
            .delivered
            .checked_sub(stamp.delivered)
            .filter(|_| stamp.delivered_at >= self.began);
        let Some(since) = since else {
            return;
        };
        let span = now.since(stamp.delivered_at).max(Duration::from_micros(1));
        let sum = u128::from(since) * 1_000_000_000;
        let rate = u64::try_from(sum / span.as_nanos()).unwrap_or(u64::MAX);
        let life = RATE_LIFE.max(rtt * 10);
        self.rate.note(rate, u64::max, life, now);
    }

    /// The highest rate lately seen, bytes per second.
    pub fn rate(&self) -> Option<u64> {
        self.rate.get(u64::max)
    }

    /// Bytes that may be under way, in packets of up to `packet` bytes.
    pub fn limit(&self, packet: usize, now: Time) -> u64 {
        let (Some(rate), Some(rtt)) = (self.rate(), self.rtt.get(Duration::min)) else {
            return WINDOW_START;
        };
        let during = |span: Duration| {
            let bytes = u128::from(rate) * span.as_nanos() / 1_000_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        let packets = 2 * packet as u64;
        if now < self.searching_until {
            return packets.max(during(rtt / 2));
        }
        let slack = during(WINDOW_SLACK).min(ACK_BYTES);
        during(rtt * 2).saturating_add(slack + packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 64 << 10;

    /// A path of a rate (bytes per second) and a round trip, filled as far as the window allows; gives the
    /// window at the end and the longest time that a packet waited in the queue.
    fn fill(rate: u64, rtt: Duration, packets: u32, window: &mut Window, from: Time) -> Duration {
        let mut now = from;
        let mut free_at = from;
        let mut under_way = std::collections::VecDeque::new();
        let mut waited = Duration::ZERO;
        for _ in 0..packets {
            while (under_way.len() * PACKET) as u64 >= window.limit(PACKET, now) {
                let (arrives, sent, stamp): (Time, Time, Stamp) = under_way.pop_front().unwrap();
                now = arrives.max(now);
                window.arrived(PACKET as u64, stamp, now.since(sent), now);
            }
            let stamp = window.stamp(under_way.is_empty(), now);
            let passes = Duration::from_secs_f64(PACKET as f64 / rate as f64);
            waited = free_at.since(now);
            free_at = free_at.max(now) + passes;
            under_way.push_back((free_at + rtt, now, stamp));
        }
        waited
    }

    #[test]
    fn a_long_fat_path_is_filled() {
        let mut window = Window::new(1, Time::ZERO);
        let rtt = Duration::from_millis(100);
        fill(125_000_000, rtt, 4_000, &mut window, Time::ZERO);
        let rate = window.rate().unwrap();
        assert!((120_000_000..130_000_000).contains(&rate), "{rate}");
        let bdp = 12_500_000;
        assert!(window.limit(PACKET, Time::NEVER) >= 2 * bdp - PACKET as u64);
    }

    #[test]
    fn little_waits_on_a_short_path_however_long_it_is_full() {
        let mut window = Window::new(1, Time::ZERO);
        let rtt = Duration::from_micros(200);
        let waited = fill(600_000_000, rtt, 200_000, &mut window, Time::ZERO);
        assert!(waited < Duration::from_millis(3), "{waited:?}");
    }

    #[test]
    fn a_path_that_became_longer_or_slower_is_learnt() {
        let mut window = Window::new(1, Time::ZERO);
        fill(
            125_000_000,
            Duration::from_millis(10),
            2_000,
            &mut window,
            Time::ZERO,
        );
        let later = Time::ZERO + Duration::from_secs(60);
        let rtt = Duration::from_millis(80);
        fill(50_000_000, rtt, 20_000, &mut window, later);
        let limit = window.limit(PACKET, Time::NEVER);
        let bdp = 4_000_000;
        assert!((bdp..4 * bdp).contains(&limit), "{limit}");
    }

    #[test]
    fn a_packet_from_before_the_path_was_left_tells_nothing_of_the_rate() {
        let mut before = Window::new(1, Time::ZERO);
        let rtt = Duration::from_millis(10);
        fill(125_000_000, rtt, 100, &mut before, Time::ZERO);
        let sent = Time::ZERO + Duration::from_secs(10);
        let old = before.stamp(false, sent);
        let early = Window::new(1, Time::ZERO).stamp(true, Time::ZERO);
        let mut again = Window::new(1, sent + rtt);
        for stamp in [old, early] {
            again.arrived(PACKET as u64, stamp, rtt, sent + rtt * 2);
            assert_eq!(again.rate(), None);
        }
    }

    #[test]
    fn an_unknown_path_starts_small() {
        let window = Window::new(1, Time::ZERO);
        assert_eq!(window.limit(PACKET, Time::ZERO), WINDOW_START);
    }
}
