//! What marks and losses leave of a path's window: relays mark what waits and drop what is too much.
//!
//! Nothing is limited here until the first of either. Then the window falls to what the path was seen to
//! carry, later in proportion to the part of packets that were marked (as in DCTCP) or by half on a loss, once
//! per round trip. Without either it grows: back to where it was cut by a quarter of the way each round trip,
//! and beyond by a packet, and by ever more after a few. So it is careful where the path was full and quick
//! elsewhere (the idea of CUBIC).

use std::time::Duration;

use crate::limits::{PACKET_PLAIN_MIN, RELAY_MARK, WINDOW_START};

/// All packets of a round were marked, as a part: parts are of 1,024.
const WHOLE: u64 = 1_024;
/// Weight of the last round in the average part: one in this many.
const WEIGHT: u64 = 16;
/// Round trips without mark, loss or queue in which the window grows by a packet each, beyond where it was cut;
/// then by twice as much each time, at most by half of itself.
const PATIENCE: u32 = 3;
/// A packet that waited longer than this was in a queue: there is no more to be found.
const QUEUED: Duration = Duration::from_millis(5);
/// Time that a packet may take on a path that marks: as on a link (`link::pace`).
const PACKET_TIME: Duration = Duration::from_millis(5);
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
    /// How much longer than the shortest round trip the newest packet took.
    pub waited: Duration,
}

/// The congestion window of one path.
#[derive(Debug, Default)]
pub struct Congestion {
    /// None until the first mark or loss.
    window: Option<u64>,
    /// Where it was cut last.
    ceiling: u64,
    /// Part of the packets that were marked, averaged over rounds; none before the first round with a mark.
    part: Option<u64>,
    /// A round is over when a packet arrives that left behind so many acknowledged bytes.
    round_at: u64,
    packets: u64,
    marked: u64,
    /// What left before so many bytes had been acknowledged has been answered by a cut.
    cut_at: u64,
    cut: bool,
    /// Rounds without mark, loss and queue in a row.
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
        if told.marked > 0 && told.stamp >= self.cut_at {
            let part = self.part.unwrap_or(WHOLE);
            self.shrink(part, told.carries, delivered);
        } else if told.lost.is_some_and(|stamp| stamp >= self.cut_at) {
            self.shrink(WHOLE, told.carries, delivered);
        }
        if told.stamp >= self.round_at {
            self.round(told.waited, delivered, packet);
        }
    }

    /// Takes half of `part` off the window.
    fn shrink(&mut self, part: u64, carries: u64, delivered: u64) {
        let window = if let Some(window) = self.window {
            if self.calm > 0 {
                self.ceiling = window;
            }
            window - window / WHOLE * part / 2
        } else {
            let used = self.most.0.max(self.most.1).max(WINDOW_START);
            self.ceiling = used;
            (used / 2).max(carries.min(used))
        };
        self.window = Some(window.max(LEAST));
        self.cut_at = delivered;
        self.cut = true;
    }

    /// A round trip is over.
    fn round(&mut self, waited: Duration, delivered: u64, packet: u64) {
        let packets = self.packets.max(self.marked);
        if let Some(now) = (self.marked * WHOLE).checked_div(packets) {
            match &mut self.part {
                Some(part) => *part = (*part * (WEIGHT - 1) + now) / WEIGHT,
                None if self.marked > 0 => self.part = Some(now),
                None => {}
            }
        }
        let quiet = !self.cut && self.marked == 0 && waited < QUEUED;
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
            *window += (way / 4).max(packet).min(way);
            self.calm = self.calm.min(1);
            return;
        }
        let doublings = self.calm.saturating_sub(PATIENCE).min(20);
        *window += (packet << doublings).min((*window / 2).max(packet));
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
