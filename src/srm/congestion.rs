//! What marks and losses leave of a path's window: relays mark what waits and drop what is too much.
//!
//! Nothing is limited here until the first of either. Then the window falls to what the path was seen to
//! carry, later in proportion to the part of packets that were marked (as in DCTCP) or by half on a loss, once
//! per round trip. Without either it grows: back to the middle of the last cut by a quarter of the way each
//! round trip, and beyond by a little, and by ever more after a few. So it is careful where the path was full and quick
//! elsewhere (the idea of CUBIC).

use std::time::Duration;

use crate::limits::{PACKET_PLAIN_MIN, RELAY_MARK, WINDOW_START};

/// All packets of a round were marked, as a part: parts are of 1,024.
const WHOLE: u64 = 1_024;
/// Weight of the last round in the average part: one in this many.
const WEIGHT: u64 = 16;
/// Round trips without mark or loss in which the window grows by [`STEP`] each, beyond where it was cut; then by
/// twice as much each time, at most by a quarter of itself.
const PATIENCE: u32 = 3;
/// Time that a packet may take on a path that marks: a fifth of what may wait there.
const PACKET_TIME: Duration = Duration::from_millis(2);
/// Least growth per round trip, bytes: the same for all who share a queue, so that they come to have the same.
const STEP: u64 = 2 * PACKET_PLAIN_MIN as u64;
/// Least window, bytes: one packet may be under way while another is acknowledged.
const LEAST: u64 = 2 * PACKET_PLAIN_MIN as u64;

/// What an acknowledgement tells about a path, beside the time it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Packets that arrived.
    pub packets: u64,
    /// How many came with a mark.
    pub marked: u64,
    /// Bytes that had been acknowledged when the newest of them left.
    pub stamp: u64,
    /// Bytes that had been acknowledged when the newest packet left that is lost; none if none is.
    pub lost: Option<u64>,
    /// Bytes that the path was seen to carry in its shortest round trip.
    pub carries: u64,
}

/// The congestion window of one path.
#[derive(Debug, Default)]
pub struct Congestion {
    /// None until the first mark or loss.
    window: Option<u64>,
    /// Where it comes back to quickly.
    ceiling: u64,
    /// Part of the packets that were marked, averaged over rounds.
    part: u64,
    /// A round is over when a packet arrives that left behind so many acknowledged bytes.
    round_at: u64,
    packets: u64,
    marked: u64,
    /// What left before so many bytes had been acknowledged has been answered by a cut.
    cut_at: u64,
    /// The same for losses.
    halved_at: u64,
    cut: bool,
    /// Rounds without mark and loss in a row.
    calm: u32,
    /// Most bytes under way in this round and in the one before.
    most: (u64, u64),
}

impl Congestion {
    /// Bytes that may be under way; none if nothing limits them.
    pub const fn window(&self) -> Option<u64> {
        self.window
    }

    /// A packet leaves; with it `under_way` bytes are under way.
    pub fn sent(&mut self, under_way: u64) {
        self.most.0 = self.most.0.max(under_way);
    }

    /// Takes what an acknowledgement told, by which `delivered` bytes are acknowledged in all; packets
    /// have up to `packet` bytes.
    pub fn told(&mut self, told: Told, delivered: u64, packet: u64) {
        self.packets += told.packets;
        self.marked += told.marked;
        if told.lost.is_some_and(|stamp| stamp >= self.halved_at) {
            self.shrink(WHOLE, told.carries, delivered);
            self.halved_at = delivered;
        } else if told.marked > 0 && told.stamp >= self.cut_at {
            self.shrink(self.part, told.carries, delivered);
        }
        if told.stamp >= self.round_at {
            self.round(delivered, packet);
        }
    }

    /// Takes half of `part` off the window.
    fn shrink(&mut self, part: u64, carries: u64, delivered: u64) {
        let window = if let Some(window) = self.window {
            let less = window / WHOLE * part / 2;
            // Half of the way back is left to who has less.
            self.ceiling = window - less / 2;
            window - less
        } else {
            let used = self.most.0.max(self.most.1).max(WINDOW_START);
            self.ceiling = used;
            self.halved_at = delivered;
            (used / 2).max(carries.min(used))
        };
        self.window = Some(window.max(LEAST));
        self.cut_at = delivered;
        self.cut = true;
    }

    /// A round trip is over.
    fn round(&mut self, delivered: u64, packet: u64) {
        let packets = self.packets.max(self.marked);
        if let Some(now) = (self.marked * WHOLE).checked_div(packets) {
            self.part = (self.part * (WEIGHT - 1) + now) / WEIGHT;
        }
        let quiet = !self.cut && self.marked == 0;
        self.calm = if quiet { self.calm + 1 } else { 0 };
        if !self.cut {
            self.grow(packet);
        }
        self.round_at = delivered;
        (self.packets, self.marked, self.cut) = (0, 0, false);
        self.most = (0, self.most.0);
    }

    fn grow(&mut self, packet: u64) {
        let Some(window) = &mut self.window else {
            return;
        };
        // A window that is not used says nothing about the path.
        if self.most.0 + 2 * packet < *window {
            return;
        }
        if let Some(way) = self.ceiling.checked_sub(*window).filter(|way| *way > 0) {
            *window += (way / 4).max(STEP).min(way);
            self.calm = self.calm.min(1);
            return;
        }
        let doublings = self.calm.saturating_sub(PATIENCE).min(20);
        *window += (STEP << doublings).min((*window / 4).max(STEP));
    }

    /// Bytes of a packet that takes [`PACKET_TIME`] on the path, whose shortest round trip is `rtt`; none
    /// while nothing limits the window. A full window passes in a round trip and the longest wait without
    /// a mark.
    pub fn packet(&self, rtt: Duration) -> Option<usize> {
        let passes = (rtt + RELAY_MARK).as_nanos();
        let bytes = u128::from(self.window?) * PACKET_TIME.as_nanos() / passes;
        Some(usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1_200;

    /// A window that is used in full, and acknowledged round by round.
    #[derive(Default)]
    struct Path {
        congestion: Congestion,
        delivered: u64,
    }

    impl Path {
        fn window(&self) -> u64 {
            self.congestion.window().unwrap()
        }

        /// A round trip in which 64 packets arrive, so many of them marked, told by two acknowledgements.
        fn round(&mut self, marked: u64, lost: bool) {
            let stamp = self.delivered;
            self.congestion
                .sent(self.congestion.window().unwrap_or(1_000_000));
            for part in [marked / 2, marked - marked / 2] {
                self.delivered += 500_000;
                let told = Told {
                    packets: 32,
                    marked: part,
                    stamp,
                    lost: lost.then_some(stamp),
                    carries: 600_000,
                };
                self.congestion.told(told, self.delivered, PACKET);
            }
        }

        fn rounds(&mut self, count: u32, marked: u64, lost: bool) -> &mut Self {
            for _ in 0..count {
                self.round(marked, lost);
            }
            self
        }
    }

    #[test]
    fn nothing_limits_a_path_without_mark_or_loss() {
        let mut path = Path::default();
        path.rounds(1_000, 0, false);
        assert_eq!(path.congestion.window(), None);
        assert_eq!(path.congestion.packet(Duration::from_millis(20)), None);
    }

    #[test]
    fn the_first_mark_or_loss_leaves_what_the_path_carries() {
        for (marked, lost) in [(1, false), (0, true), (64, true)] {
            let mut path = Path::default();
            path.round(marked, lost);
            assert_eq!(path.window(), 600_000);
        }
    }

    #[test]
    fn it_falls_in_proportion_to_the_marks_once_a_round() {
        let mut path = Path::default();
        let before = path.rounds(200, 16, false).congestion.part;
        assert!((WHOLE / 4 - 20..=WHOLE / 4).contains(&before), "{before}");
        path.congestion.window = Some(1_000_000);
        path.round(16, false);
        let less = 1_000_000 - path.window();
        assert!((110_000..130_000).contains(&less), "{less}");
    }

    #[test]
    fn a_loss_halves_it_once_a_round() {
        let mut path = Path::default();
        path.rounds(2, 0, true);
        assert!((300_000..301_000).contains(&path.window()));
        path.congestion.window = Some(1_000_000);
        path.round(64, true);
        assert!((500_000..501_000).contains(&path.window()));
        path.rounds(100, 64, true);
        assert_eq!(path.window(), LEAST);
    }

    #[test]
    fn it_comes_back_quickly_to_where_it_was_cut_and_then_grows_ever_faster() {
        let mut path = Path::default();
        path.round(0, true);
        path.rounds(20, 0, false);
        assert!(path.window() >= 1_000_000);
        path.congestion.window = Some(LEAST);
        path.congestion.ceiling = LEAST;
        path.congestion.calm = 0;
        path.rounds(3, 0, false);
        assert_eq!(path.window(), LEAST + 3 * STEP);
        path.rounds(60, 0, false);
        assert!(path.window() > 12_500_000, "{}", path.window());
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut path = Path::default();
        path.round(0, true);
        for _ in 0..50 {
            path.delivered += 1_000;
            path.congestion.sent(1_000);
            let told = Told {
                packets: 1,
                stamp: path.delivered,
                ..Told::default()
            };
            path.congestion.told(told, path.delivered, PACKET);
        }
        assert_eq!(path.window(), 600_000);
    }

    #[test]
    fn packets_are_as_long_as_the_path_carries_in_two_milliseconds() {
        let mut path = Path::default();
        path.congestion.window = Some(300_000);
        let len = path.congestion.packet(Duration::from_millis(20));
        assert_eq!(len, Some(20_000));
    }
}
