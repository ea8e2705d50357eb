//! How much may be under way on a path: enough to keep it full, and little that waits in a queue.
//!
//! A link's TCP finds the rate of the network, but lets megabytes wait in its buffers when the neighbour
//! reads more slowly than it sends; a keystroke would stand behind all of them. So a session keeps at
//! most about two round trips' worth of the measured rate under way, and a few milliseconds for
//! acknowledgements that come late. The round trip is the shortest seen, looked for anew every few
//! seconds with less under way. Rate and round trip only ever raise the window while they grow, so a long
//! fat path is filled by doubling (the idea of BBR's start-up and of its search for the round trip).
//!
//! On a path through relays others share the queue, and its marks and losses count too: what they leave is
//! [`Congestion`]'s to say, and the smaller of both windows holds. What may leave there is also spread over the
//! round trip, since a relay has no kernel's buffer to take a whole window at once.

use std::time::Duration;

use crate::limits::{ACK_BYTES, PACKET_PLAIN_MIN, PACKET_PLAIN_START, WINDOW_SLACK, WINDOW_START};
use crate::srm::congestion::{Congestion, Told};
use crate::time::Time;

/// How long the shortest round trip is believed.
const RTT_LIFE: Duration = Duration::from_secs(5);
/// Shortest search for a new one.
const SEARCH_MIN: Duration = Duration::from_millis(5);
/// How long the highest rate is believed, at least; ten round trips if those are longer.
const RATE_LIFE: Duration = Duration::from_millis(500);

/// What may leave at once, as the time that it takes at the pace: as coarse as timers are.
const BURST: Duration = Duration::from_millis(2);

/// Where a path stood when a packet left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    delivered: u64,
    delivered_at: Time,
}

/// What an acknowledgement told of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Packets that arrived.
    pub packets: u64,
    /// How many of them, at most, came with a mark.
    pub marked: u64,
    /// Where the path stood when the newest of them left.
    pub stamp: Stamp,
    /// Where it stood when the newest packet left that is lost.
    pub lost: Option<Stamp>,
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
    relayed: bool,
    began: Time,
    delivered: u64,
    delivered_at: Time,
    /// Bytes per second.
    rate: Best<u64>,
    rtt: Best<Duration>,
    searching_until: Time,
    congestion: Congestion,
    /// When all that has left would have left at the pace.
    paced: Time,
}

impl Window {
    /// The window of a path of which nothing is known, but whether it leads through relays.
    pub fn new(path: u64, relayed: bool, now: Time) -> Self {
        Self {
            path,
            relayed,
            began: now,
            delivered: 0,
            delivered_at: now,
            rate: Best::new(now),
            rtt: Best::new(now),
            searching_until: Time::ZERO,
            congestion: Congestion::default(),
            paced: Time::ZERO,
        }
    }

    /// Whether this is the window of such a path.
    pub const fn is_of(&self, path: u64, relayed: bool) -> bool {
        self.path == path && self.relayed == relayed
    }

    /// The path.
    pub const fn path(&self) -> u64 {
        self.path
    }

    /// What a packet of `bytes` that leaves now must remember; `under_way` are before it. When nothing is,
    /// the time before it says nothing about the path.
    pub fn stamp(&mut self, under_way: u64, bytes: u64, now: Time) -> Stamp {
        if under_way == 0 {
            self.delivered_at = now;
        }
        self.congestion.sent(under_way + bytes);
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
        }
    }

    /// Takes an acknowledgement, the newest packet of which took `rtt`; packets have up to `packet` bytes.
    pub fn arrived(&mut self, news: News, rtt: Duration, packet: usize, now: Time) {
        self.delivered += news.bytes;
        self.delivered_at = now;
        if self.rtt.note(rtt, Duration::min, RTT_LIFE, now) {
            self.searching_until = now + (rtt * 2).max(SEARCH_MIN);
        }
        let Some(since) = self.since(news.stamp) else {
            return;
        };
        let span = now.since(news.stamp.delivered_at);
        let span = span.max(Duration::from_micros(1));
        let sum = u128::from(since) * 1_000_000_000;
        let rate = u64::try_from(sum / span.as_nanos()).unwrap_or(u64::MAX);
        let life = RATE_LIFE.max(rtt * 10);
        self.rate.note(rate, u64::max, life, now);
        let lost = news.lost.filter(|stamp| self.since(*stamp).is_some());
        let told = Told {
            packets: news.packets,
            marked: news.marked,
            stamp: news.stamp.delivered,
            lost: lost.map(|stamp| stamp.delivered),
            carries: self.carries(),
        };
        self.congestion.told(told, self.delivered, packet as u64);
    }

    /// Bytes that were acknowledged since a stamp. None if it is of another window: its packet left before
    /// the path was left and found again.
    fn since(&self, stamp: Stamp) -> Option<u64> {
        let since = self.delivered.checked_sub(stamp.delivered);
        since.filter(|_| stamp.delivered_at >= self.began)
    }

    /// The highest rate lately seen, bytes per second.
    pub fn rate(&self) -> Option<u64> {
        self.rate.get(u64::max)
    }

    /// Bytes that may be under way, in packets of up to `packet` bytes.
    pub fn limit(&self, packet: usize, now: Time) -> u64 {
        let unqueued = self.unqueued(packet, now);
        match self.congestion.window().filter(|_| self.relayed) {
            Some(window) => unqueued.min(window.max(2 * packet as u64)),
            None => unqueued,
        }
    }

    /// Bytes of plaintext that a packet should have at most, if the link in front wants `len` at most: it
    /// tells nothing of the relays behind it.
    pub fn packet_len(&self, len: usize) -> usize {
        if !self.relayed {
            return len;
        }
        let rtt = self.rtt.get(Duration::min).unwrap_or_default();
        let fits = self.congestion.packet(rtt);
        len.min(fits.map_or(PACKET_PLAIN_START, |fits| fits.max(PACKET_PLAIN_MIN)))
    }

    /// When the next packet may leave, now that `bytes` do. On a path through relays a window spreads over a
    /// round trip, or four fifths while nothing else limits it: sent at once, it would fill a queue however much
    /// the path can take.
    pub fn pace(&mut self, bytes: u64, packet: usize, now: Time) -> Time {
        let Some(rtt) = self.rtt.get(Duration::min).filter(|_| self.relayed) else {
            return now;
        };
        let limit = u128::from(self.limit(packet, now).max(1));
        let span = match self.congestion.window() {
            Some(_) => rtt,
            None => rtt * 4 / 5,
        };
        let nanos = u128::from(bytes) * span.as_nanos() / limit;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(0);
        let least = Time::from_nanos(now.as_nanos().saturating_sub(burst));
        self.paced = self.paced.max(least) + Duration::from_nanos(nanos);
        self.paced
    }

    /// Bytes that the path carries in `span` at its highest rate.
    fn during(&self, span: Duration) -> u64 {
        let rate = self.rate().unwrap_or(0);
        let bytes = u128::from(rate) * span.as_nanos() / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn carries(&self) -> u64 {
        self.rtt
            .get(Duration::min)
            .map_or(0, |rtt| self.during(rtt))
    }

    /// The window that keeps the path full and lets little wait, if nobody else uses it.
    fn unqueued(&self, packet: usize, now: Time) -> u64 {
        let (Some(_), Some(rtt)) = (self.rate(), self.rtt.get(Duration::min)) else {
            return WINDOW_START;
        };
        let packets = 2 * packet as u64;
        if now < self.searching_until {
            return packets.max(self.during(rtt / 2));
        }
        let slack = self.during(WINDOW_SLACK).min(ACK_BYTES);
        let limit = self.during(rtt * 2).saturating_add(slack + packets);
        // A rate of which only little was asked is no bound, and packets are small here at first.
        let least = if self.relayed { WINDOW_START } else { 0 };
        limit.max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 64 << 10;

    fn news(stamp: Stamp) -> News {
        News {
            bytes: PACKET as u64,
            packets: 1,
            stamp,
            ..News::default()
        }
    }

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
                window.arrived(news(stamp), now.since(sent), PACKET, now);
            }
            let bytes = (under_way.len() * PACKET) as u64;
            let stamp = window.stamp(bytes, PACKET as u64, now);
            let passes = Duration::from_secs_f64(PACKET as f64 / rate as f64);
            waited = free_at.since(now);
            free_at = free_at.max(now) + passes;
            under_way.push_back((free_at + rtt, now, stamp));
        }
        waited
    }

    #[test]
    fn a_long_fat_path_is_filled() {
        let mut window = Window::new(1, false, Time::ZERO);
        let rtt = Duration::from_millis(100);
        fill(125_000_000, rtt, 4_000, &mut window, Time::ZERO);
        let rate = window.rate().unwrap();
        assert!((120_000_000..130_000_000).contains(&rate), "{rate}");
        let bdp = 12_500_000;
        assert!(window.limit(PACKET, Time::NEVER) >= 2 * bdp - PACKET as u64);
    }

    #[test]
    fn little_waits_on_a_short_path_however_long_it_is_full() {
        let mut window = Window::new(1, false, Time::ZERO);
        let rtt = Duration::from_micros(200);
        let waited = fill(600_000_000, rtt, 200_000, &mut window, Time::ZERO);
        assert!(waited < Duration::from_millis(3), "{waited:?}");
    }

    #[test]
    fn a_path_that_became_longer_or_slower_is_learnt() {
        let mut window = Window::new(1, false, Time::ZERO);
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
        let mut before = Window::new(1, false, Time::ZERO);
        let rtt = Duration::from_millis(10);
        fill(125_000_000, rtt, 100, &mut before, Time::ZERO);
        let sent = Time::ZERO + Duration::from_secs(10);
        let old = before.stamp(1, 1, sent);
        let early = Window::new(1, false, Time::ZERO).stamp(0, 1, Time::ZERO);
        let mut again = Window::new(1, false, sent + rtt);
        for stamp in [old, early] {
            again.arrived(news(stamp), rtt, PACKET, sent + rtt * 2);
            assert_eq!(again.rate(), None);
        }
    }

    #[test]
    fn marks_losses_and_pace_are_for_paths_through_relays() {
        let rtt = Duration::from_millis(20);
        let play = |relayed, marked| {
            let mut window = Window::new(1, relayed, Time::ZERO);
            fill(10_000_000, rtt, 400, &mut window, Time::ZERO);
            let now = Time::ZERO + Duration::from_secs(3);
            let stamp = window.stamp(400_000, PACKET as u64, now);
            let told = News {
                marked,
                lost: Some(stamp).filter(|_| marked > 0),
                ..news(stamp)
            };
            window.arrived(told, rtt, PACKET, now + rtt);
            let later = now + rtt * 5;
            let limit = window.limit(PACKET, later);
            let waits = (0..9).any(|_| window.pace(PACKET as u64, PACKET, later) > later);
            (limit, waits, window.packet_len(PACKET))
        };
        let direct = play(false, 0);
        assert_eq!(direct, play(false, 1));
        assert_eq!((direct.1, direct.2), (false, PACKET));
        let (limit, waits, packet) = play(true, 1);
        assert!(waits && limit < play(true, 0).0, "{limit}");
        assert!((10_000..40_000).contains(&packet), "{packet}: 2 ms of it");
    }

    #[test]
    fn an_unknown_path_starts_small() {
        let window = Window::new(1, false, Time::ZERO);
        assert_eq!(window.limit(PACKET, Time::ZERO), WINDOW_START);
    }
}
