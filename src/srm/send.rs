//! The sending half of one direction of a channel: bytes not yet acknowledged, and how far they went.

use std::time::Duration;

use crate::limits::{CHANNEL_FLOOR, CHANNEL_WINDOW_MAX};
use crate::srm::budget::Budget;
use crate::srm::ring::Ring;
use crate::time::Time;

/// What the peer did that no honest peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaved {
    /// It acknowledged bytes that were never sent.
    #[error("acknowledged bytes that were never sent")]
    AckOfUnsent,
    /// It sent beyond what it was permitted.
    #[error("sent beyond its credit")]
    BeyondCredit,
    /// It moved the end of a direction, or sent behind it.
    #[error("changed the final size")]
    FinalSize,
}

/// Bytes to put into one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the first.
    pub offset: u64,
    /// How many.
    pub len: usize,
    /// Whether they are the last of the direction.
    pub fin: bool,
}

/// Bytes kept from the first unacknowledged one on.
///
/// The end counts as one more position behind the last byte: a peer that expects `final + 1` has it.
#[derive(Debug)]
pub struct SendHalf {
    ring: Ring,
    budget: Budget,
    window: usize,
    grown_at: Time,
    /// All of a full window was under way since it grew.
    held: bool,
    sent: u64,
    /// Highest place ever sent, and whether the end ever was: the peer may speak of it though a
    /// resumed session begins further back.
    shown: u64,
    fin_shown: bool,
    permitted: u64,
    lost: Vec<(u64, u64)>,
    fin: Fin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    Open,
    Wanted,
    Sent,
    Acknowledged,
}

impl SendHalf {
    /// A half whose peer permits `permitted` bytes; `window` bytes are reserved by the caller.
    pub fn new(budget: Budget, window: usize, permitted: u64, now: Time) -> Self {
        Self {
            ring: Ring::new(),
            budget,
            window,
            grown_at: now,
            held: false,
            sent: 0,
            shown: 0,
            fin_shown: false,
            permitted,
            lost: Vec::new(),
            fin: Fin::Open,
        }
    }

    /// Room for the application's bytes; empty while the window is full or the direction has ended.
    /// A window all of which was under way doubles, once a round trip, memory permitting; what waits
    /// for the path needs no more room.
    pub fn space(&mut self, rtt: Duration, may_grow: bool, now: Time) -> &mut [u8] {
        if self.fin != Fin::Open {
            return &mut [];
        }
        if self.held && may_grow && now.since(self.grown_at) >= rtt {
            self.held = false;
            let more = self.window.min(CHANNEL_WINDOW_MAX - self.window);
            if more > 0 && self.budget.grow(more) {
                self.window += more;
                self.grown_at = now;
            }
        }
        self.ring.space(self.window)
    }

    /// Whether [`Self::space`] would give room without growing.
    pub fn has_space(&self) -> bool {
        self.fin == Fin::Open && self.ring.len() < self.window
    }

    /// Says that `count` bytes were written into [`Self::space`].
    pub fn written(&mut self, count: usize) {
        self.ring.written(count);
    }

    /// Appends bytes that are already in memory; says how many fitted.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        if self.fin == Fin::Open {
            self.ring.push(bytes, self.window)
        } else {
            0
        }
    }

    /// Ends the direction behind what was written.
    pub fn finish(&mut self) {
        if self.fin == Fin::Open {
            self.fin = Fin::Wanted;
        }
    }

    /// Whether [`Self::finish`] was called.
    pub fn is_finished(&self) -> bool {
        self.fin != Fin::Open
    }

    /// Whether everything including the end has been acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.fin == Fin::Acknowledged
    }

    /// Whether something waits that may be sent.
    pub fn is_sendable(&self) -> bool {
        !self.lost.is_empty() || self.sent < self.limit() || self.fin_due()
    }

    /// Whether the next byte waits for the peer: for its credit, or for an acknowledgement that makes
    /// room in a full window.
    pub fn is_held(&self) -> bool {
        self.sent >= self.permitted && self.ring.end() > self.permitted
            || self.is_full() && self.unsent() == 0
    }

    fn is_full(&self) -> bool {
        self.ring.len() >= self.window
    }

    /// Bytes kept that were not sent.
    fn unsent(&self) -> u64 {
        self.ring.end() - self.sent
    }

    /// Bytes sent and not acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.ring.start())
    }

    /// Bytes kept, sent or not.
    pub const fn kept(&self) -> usize {
        self.ring.len()
    }

    /// Bytes acknowledged so far.
    pub const fn acknowledged(&self) -> u64 {
        self.ring.start()
    }

    fn limit(&self) -> u64 {
        self.ring.end().min(self.permitted)
    }

    fn fin_due(&self) -> bool {
        self.fin == Fin::Wanted && self.sent == self.ring.end()
    }

    /// The next bytes to send, at most `max`: lost ones first. They count as sent.
    pub fn next(&mut self, max: usize) -> Option<Chunk> {
        let end = self.ring.end();
        if let Some((from, to)) = self.lost.first_mut() {
            let len = usize::try_from(*to - *from).unwrap_or(usize::MAX).min(max);
            let chunk_end = *from + len as u64;
            let fin = self.fin == Fin::Wanted && chunk_end == end;
            let chunk = Chunk {
                offset: *from,
                len,
                fin,
            };
            *from = chunk_end;
            if *from >= *to {
                self.lost.remove(0);
            }
            if fin {
                self.fin = Fin::Sent;
                self.fin_shown = true;
            }
            return Some(chunk);
        }
        let len = usize::try_from(self.limit().saturating_sub(self.sent))
            .unwrap_or(usize::MAX)
            .min(max);
        let offset = self.sent;
        let fin = self.fin == Fin::Wanted && offset + len as u64 == end;
        if len == 0 && !fin {
            return None;
        }
        self.sent += len as u64;
        self.shown = self.shown.max(self.sent);
        self.held |= self.is_full() && self.unsent() == 0;
        if fin {
            self.fin = Fin::Sent;
            self.fin_shown = true;
        }
        Some(Chunk { offset, len, fin })
    }

    /// The bytes of a chunk, in up to two pieces.
    pub fn bytes(&self, chunk: Chunk) -> (&[u8], &[u8]) {
        self.ring.pieces(chunk.offset, chunk.len)
    }

    /// Takes the peer's word: it expects `next` and permits up to `permitted`. What is older than what
    /// it said before is stale and ignored. True when something was freed or permitted.
    pub fn credit(&mut self, next: u64, permitted: u64) -> Result<bool, Misbehaved> {
        let end = self.ring.end();
        if next > self.shown + u64::from(self.fin_shown && self.shown == end) {
            return Err(Misbehaved::AckOfUnsent);
        }
        self.sent = self.sent.max(next.min(end));
        let mut moved = permitted > self.permitted;
        self.permitted = self.permitted.max(permitted);
        if next > self.ring.start() {
            moved = true;
            self.ring.forget(next.min(end));
            self.trim_lost(next);
        }
        if next == end + 1 && self.fin != Fin::Acknowledged {
            moved = true;
            self.fin = Fin::Acknowledged;
            self.release();
        }
        Ok(moved)
    }

    fn trim_lost(&mut self, next: u64) {
        self.lost.retain_mut(|range| {
            range.0 = range.0.max(next);
            range.0 < range.1
        });
    }

    /// Marks a chunk that was on a lost packet for sending again.
    pub fn lost(&mut self, chunk: Chunk) {
        let from = chunk.offset.max(self.ring.start());
        let to = chunk.offset + chunk.len as u64;
        if from < to {
            self.lost.push((from, to));
            self.lost.sort_unstable();
        }
        if chunk.fin && self.fin == Fin::Sent {
            self.fin = Fin::Wanted;
        }
    }

    /// Goes back to the first unacknowledged byte, for a resumed session.
    pub fn rewind(&mut self) {
        self.lost.clear();
        self.sent = self.ring.start();
        if self.fin == Fin::Sent {
            self.fin = Fin::Wanted;
        }
    }

    /// Goes back to the beginning, for another peer to whom nothing was shown and which permits `permitted`
    /// bytes. False when something was acknowledged: that is not kept any more.
    pub fn begin_anew(&mut self, permitted: u64) -> bool {
        if self.ring.start() > 0 || self.fin == Fin::Acknowledged {
            return false;
        }
        self.rewind();
        (self.shown, self.fin_shown) = (0, false);
        self.permitted = permitted;
        true
    }

    /// Drops everything: the channel was reset.
    pub fn discard(&mut self) {
        self.ring.clear();
        self.lost.clear();
        self.sent = self.ring.end();
        self.fin = Fin::Acknowledged;
        self.release();
    }

    /// Gives back what an idle direction does not need: the buffer, and the window above the floor.
    pub fn shrink(&mut self) {
        if self.ring.is_empty() {
            self.ring.shrink();
            let surplus = self.window.saturating_sub(CHANNEL_FLOOR);
            self.budget.release(surplus);
            self.window -= surplus;
        }
    }

    fn release(&mut self) {
        self.budget.release(self.window);
        self.window = 0;
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(permitted: u64) -> SendHalf {
        let budget = Budget::new(1 << 20);
        assert!(budget.reserve(CHANNEL_FLOOR));
        SendHalf::new(budget, CHANNEL_FLOOR, permitted, Time::ZERO)
    }

    #[test]
    fn credit_holds_bytes_back_and_frees_them() {
        let mut half = half(4);
        assert_eq!(half.push(b"abcdefgh"), 8);
        half.finish();
        assert_eq!(
            half.next(100),
            Some(Chunk {
                offset: 0,
                len: 4,
                fin: false
            })
        );
        assert_eq!(half.next(100), None);
        assert!(half.is_held());
        assert_eq!(half.credit(4, 100), Ok(true));
        let last = half.next(100).unwrap();
        assert_eq!(
            last,
            Chunk {
                offset: 4,
                len: 4,
                fin: true
            }
        );
        assert_eq!(half.bytes(last).0, b"efgh");
        assert_eq!(half.credit(8, 100), Ok(true));
        assert!(!half.is_acknowledged());
        assert_eq!(half.credit(9, 100), Ok(true));
        assert!(half.is_acknowledged());
    }

    #[test]
    fn an_acknowledgement_of_the_future_is_the_peers_fault_and_an_old_one_is_stale() {
        let mut half = half(100);
        half.push(b"abcd");
        half.next(2);
        assert_eq!(half.credit(3, 100), Err(Misbehaved::AckOfUnsent));
        assert_eq!(half.credit(2, 100), Ok(true));
        assert_eq!(half.credit(1, 50), Ok(false));
        half.next(2);
        assert_eq!(
            half.credit(5, 100),
            Err(Misbehaved::AckOfUnsent),
            "the end was not sent"
        );
    }

    #[test]
    fn a_lost_chunk_goes_again_and_only_that() {
        let mut half = half(100);
        half.push(b"abcdef");
        half.finish();
        let first = half.next(2).unwrap();
        half.next(2);
        let last = half.next(2).unwrap();
        assert!(last.fin);
        half.lost(first);
        half.lost(last);
        assert_eq!(half.next(10), Some(first));
        assert_eq!(half.next(10), Some(last));
        assert_eq!(half.next(10), None);
    }

    #[test]
    fn a_lost_end_without_bytes_goes_again() {
        let mut half = half(100);
        half.push(b"ab");
        half.next(2);
        half.finish();
        let fin = half.next(2).unwrap();
        assert_eq!(
            fin,
            Chunk {
                offset: 2,
                len: 0,
                fin: true
            }
        );
        half.lost(fin);
        assert_eq!(half.next(2), Some(fin));
    }

    #[test]
    fn a_rewound_half_starts_at_the_first_unacknowledged_byte() {
        let mut half = half(100);
        half.push(b"abcdef");
        half.finish();
        half.next(100);
        half.credit(2, 100).unwrap();
        half.rewind();
        assert_eq!(
            half.next(100),
            Some(Chunk {
                offset: 2,
                len: 4,
                fin: true
            })
        );
    }

    #[test]
    fn a_rewound_half_believes_what_arrived_before() {
        let mut half = half(100);
        half.push(b"abcdef");
        half.finish();
        half.next(100);
        half.rewind();
        assert_eq!(half.credit(4, 100), Ok(true));
        let rest = Chunk {
            offset: 4,
            len: 2,
            fin: true,
        };
        assert_eq!(half.next(100), Some(rest));
        half.rewind();
        assert_eq!(half.credit(7, 100), Ok(true));
        assert!(half.is_acknowledged());
        assert_eq!(half.next(100), None);
    }

    #[test]
    fn a_window_that_held_for_a_round_trip_doubles_and_all_memory_returns() {
        let budget = Budget::new(1 << 20);
        assert!(budget.reserve(CHANNEL_FLOOR));
        let mut half = SendHalf::new(budget.clone(), CHANNEL_FLOOR, 0, Time::ZERO);
        let rtt = Duration::from_millis(10);
        assert_eq!(half.push(&[0; CHANNEL_FLOOR + 1]), CHANNEL_FLOOR);
        assert!(half.space(rtt, true, Time::ZERO + rtt).is_empty());
        half.credit(0, CHANNEL_FLOOR as u64).unwrap();
        half.next(CHANNEL_FLOOR);
        assert!(half.space(rtt, true, Time::ZERO).is_empty());
        assert!(!half.space(rtt, true, Time::ZERO + rtt).is_empty());
        assert_eq!(budget.used(), 2 * CHANNEL_FLOOR as u64);
        drop(half);
        assert_eq!(budget.used(), 0);
    }
}
