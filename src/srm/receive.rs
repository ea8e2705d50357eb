//! The receiving half of one direction of a channel: what arrived, what the application took, and how
//! far the peer may send.

use std::{collections::BTreeMap, time::Duration};

use crate::limits::{
    CHANNEL_FLOOR, CHANNEL_WINDOW_MAX, REASSEMBLY_PIECE_COST, REASSEMBLY_PIECES_MAX,
};
use crate::srm::budget::Budget;
use crate::srm::ring::Ring;
use crate::srm::send::Misbehaved;
use crate::time::Time;

/// What became of arriving bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing new.
    Stale,
    /// The application has more to take, or the end is in sight.
    Advanced,
    /// Kept until the gap before it closes.
    Early,
    /// No room for all of it: the packet must count as not received.
    Refused,
}

/// Bytes that arrived in order and wait for the application, and pieces beyond a gap.
///
/// `ring` and `early` hold no byte twice, and none beyond the window: so both together are within what is
/// reserved.
#[derive(Debug)]
pub struct ReceiveHalf {
    ring: Ring,
    /// Pieces that do not overlap. Each reserves [`REASSEMBLY_PIECE_COST`] beside the window.
    early: BTreeMap<u64, Vec<u8>>,
    budget: Budget,
    /// Bytes reserved. Less than what is permitted once an idle half has given its window back: what comes
    /// then has to find memory, or to come again.
    window: usize,
    permitted: u64,
    granted_at: Time,
    /// Something arrived since the last look for idle halves.
    active: bool,
    fin: Option<u64>,
    discarding: bool,
}

impl ReceiveHalf {
    /// A half that permits `window` bytes, which the caller has reserved.
    pub fn new(budget: Budget, window: usize, now: Time) -> Self {
        Self {
            ring: Ring::new(),
            early: BTreeMap::new(),
            budget,
            window,
            permitted: window as u64,
            granted_at: now,
            active: true,
            fin: None,
            discarding: false,
        }
    }

    /// Place of the next byte expected; one more than the final size once the end has arrived.
    pub fn next_expected(&self) -> u64 {
        self.ring.end() + u64::from(self.fin == Some(self.ring.end()))
    }

    /// First place that the peer may not send.
    pub const fn permitted(&self) -> u64 {
        self.permitted
    }

    /// Bytes that wait for the application.
    pub const fn waiting(&self) -> usize {
        self.ring.len()
    }

    /// The bytes that wait, in up to two pieces.
    pub fn pieces(&self) -> (&[u8], &[u8]) {
        self.ring.pieces(self.ring.start(), usize::MAX)
    }

    /// Whether the end and every byte before it have arrived.
    pub fn is_complete(&self) -> bool {
        self.fin == Some(self.ring.end())
    }

    /// Whether the end has arrived and the application has taken every byte before it.
    pub fn is_done(&self) -> bool {
        self.fin == Some(self.ring.start())
    }

    /// Bytes handed to the application.
    pub const fn taken(&self) -> u64 {
        self.ring.start()
    }

    /// Takes bytes from a packet. `direct` may pass some of them to the application at once when
    /// nothing waits before them; it says how many it took.
    pub fn arrive(
        &mut self,
        offset: u64,
        bytes: &[u8],
        fin: bool,
        direct: impl FnMut(&[u8]) -> usize,
    ) -> Result<Arrival, Misbehaved> {
        let end = offset
            .checked_add(bytes.len() as u64)
            .ok_or(Misbehaved::BeyondCredit)?;
        if end > self.permitted {
            return Err(Misbehaved::BeyondCredit);
        }
        let known_end = self
            .early
            .last_key_value()
            .map_or(0, |(at, piece)| at + piece.len() as u64);
        match self.fin {
            Some(size) if end > size || (fin && end != size) => return Err(Misbehaved::FinalSize),
            None if fin && end < known_end.max(self.ring.end()) => {
                return Err(Misbehaved::FinalSize);
            }
            Some(_) | None => {}
        }
        self.active = true;
        let before = self.next_expected();
        let whole = self.cover(end);
        if offset > self.ring.end() {
            return Ok(if whole {
                self.keep_early(offset, bytes, fin)
            } else {
                Arrival::Refused
            });
        }
        if !whole {
            // A channel can always move: as much as the window holds is taken, and comes again with the rest.
            let room = (self.ring.start() + self.window as u64).saturating_sub(offset);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            self.append(offset, bytes.get(..room).unwrap_or(bytes), direct);
            self.join_early();
            return Ok(Arrival::Refused);
        }
        if fin {
            self.fin = Some(end);
        }
        self.append(offset, bytes, direct);
        self.join_early();
        let moved = self.next_expected() > before;
        Ok(if moved {
            Arrival::Advanced
        } else {
            Arrival::Stale
        })
    }

    /// Whether memory is reserved for everything before `end`, which is permitted: a window that was given
    /// back while the half was idle is reserved again, all of it or what is needed.
    fn cover(&mut self, end: u64) -> bool {
        let window = self.window as u64;
        let lacks = |end: u64| end.saturating_sub(self.ring.start()).saturating_sub(window);
        let missing = [lacks(self.permitted), lacks(end)];
        if missing[1] == 0 || self.discarding {
            return true;
        }
        missing.into_iter().any(|more| {
            let more = usize::try_from(more).unwrap_or(usize::MAX);
            let grown = self.budget.grow(more);
            if grown {
                self.window += more;
            }
            grown
        })
    }

    fn append(&mut self, offset: u64, bytes: &[u8], mut direct: impl FnMut(&[u8]) -> usize) {
        let known = usize::try_from(self.ring.end() - offset).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else {
            return;
        };
        if self.discarding {
            self.ring.skip(new.len());
            return;
        }
        let mut taken = 0;
        if self.ring.is_empty() {
            taken = direct(new).min(new.len());
            self.ring.skip(taken);
        }
        self.ring
            .push(new.get(taken..).unwrap_or_default(), usize::MAX);
    }

    fn keep_early(&mut self, offset: u64, bytes: &[u8], fin: bool) -> Arrival {
        let end = offset + bytes.len() as u64;
        let known = |(at, piece): (&u64, &Vec<u8>)| at + piece.len() as u64;
        // What is known already of its front, of its end, and in between.
        let before = self.early.range(..=offset).next_back().map_or(0, known);
        let from = offset.max(before);
        if from >= end {
            self.end_at(end, fin);
            return if bytes.is_empty() {
                Arrival::Refused
            } else {
                Arrival::Stale
            };
        }
        let last = self.early.range(from..end).next_back();
        let to = last
            .filter(|last| known(*last) > end)
            .map_or(end, |(at, _)| *at);
        let inner: Vec<u64> = self.early.range(from..to).map(|(at, _)| *at).collect();
        let room = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
        let piece = bytes.get(room(from)..room(to)).unwrap_or_default();
        if !piece.is_empty() {
            let full = self.early.len() >= REASSEMBLY_PIECES_MAX;
            if full || !self.budget.grow(REASSEMBLY_PIECE_COST) {
                return Arrival::Refused;
            }
            for at in inner {
                self.forget_early(at);
            }
            self.early.insert(from, piece.to_vec());
        }
        self.end_at(end, fin);
        Arrival::Early
    }

    fn end_at(&mut self, end: u64, fin: bool) {
        if fin {
            self.fin = Some(end);
        }
    }

    fn forget_early(&mut self, at: u64) -> Option<Vec<u8>> {
        let piece = self.early.remove(&at)?;
        self.budget.release(REASSEMBLY_PIECE_COST);
        Some(piece)
    }

    fn join_early(&mut self) {
        while let Some(offset) = self.early.keys().next().copied() {
            if offset > self.ring.end() {
                break;
            }
            if let Some(bytes) = self.forget_early(offset) {
                self.append(offset, &bytes, |_| 0);
            }
        }
    }

    /// The application took `count` of the waiting bytes.
    pub fn take(&mut self, count: usize) {
        self.ring.forget(self.ring.start() + count as u64);
    }

    /// Whether new credit should be told: half the window has been used up since the last time.
    pub fn wants_grant(&self) -> bool {
        self.fin.is_none() && self.permitted - self.ring.start() <= self.window as u64 / 2
    }

    /// Permits a full window again. A window that was used up within two round trips doubles, memory
    /// permitting.
    pub fn grant(&mut self, rtt: Duration, may_grow: bool, now: Time) {
        let quick = now.since(self.granted_at) <= rtt * 2;
        if quick && may_grow {
            let more = self.window.min(CHANNEL_WINDOW_MAX - self.window);
            if more > 0 && self.budget.grow(more) {
                self.window += more;
            }
        }
        self.granted_at = now;
        self.permitted = self.permitted.max(self.ring.start() + self.window as u64);
    }

    /// Drops what waits and what still comes: nobody reads any more.
    pub fn discard(&mut self) {
        self.release();
        self.discarding = true;
    }

    /// Gives back the buffer and the window above the floor, if nothing came since this was last asked. The
    /// peer may still use the credit that it was promised.
    pub fn shrink(&mut self) {
        let active = std::mem::take(&mut self.active);
        if active || !self.ring.is_empty() || !self.early.is_empty() {
            return;
        }
        self.ring.shrink();
        let surplus = self.window.saturating_sub(CHANNEL_FLOOR);
        self.budget.release(surplus);
        self.window -= surplus;
    }

    fn release(&mut self) {
        self.ring.clear();
        let pieces = std::mem::take(&mut self.early).len();
        self.budget
            .release(self.window + pieces * REASSEMBLY_PIECE_COST);
        self.window = 0;
    }
}

impl Drop for ReceiveHalf {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn half() -> ReceiveHalf {
        let budget = Budget::new(1 << 20);
        assert!(budget.reserve(CHANNEL_FLOOR));
        ReceiveHalf::new(budget, CHANNEL_FLOOR, Time::ZERO)
    }

    fn all(half: &ReceiveHalf) -> Vec<u8> {
        let (first, second) = half.pieces();
        [first, second].concat()
    }

    #[test]
    fn bytes_go_straight_through_while_nothing_waits() {
        let mut half = half();
        let mut seen = Vec::new();
        let arrival = half.arrive(0, b"abcdef", true, |bytes| {
            seen.extend_from_slice(&bytes[..4]);
            4
        });
        assert_eq!(arrival, Ok(Arrival::Advanced));
        assert_eq!(
            (seen.as_slice(), all(&half).as_slice()),
            (&b"abcd"[..], &b"ef"[..])
        );
        assert_eq!(half.next_expected(), 7);
        assert!(!half.is_done());
        half.take(2);
        assert!(half.is_done());
    }

    #[test]
    fn the_end_shows_only_behind_every_byte() {
        let mut half = half();
        assert_eq!(half.arrive(2, b"cd", true, |_| 0), Ok(Arrival::Early));
        assert_eq!((half.next_expected(), half.is_done()), (0, false));
        assert_eq!(half.arrive(0, b"ab", false, |_| 0), Ok(Arrival::Advanced));
        assert_eq!(
            (half.next_expected(), all(&half).as_slice()),
            (5, &b"abcd"[..])
        );
    }

    #[test]
    fn credit_and_final_size_bind_the_peer() {
        let mut half = half();
        assert_eq!(
            half.arrive(CHANNEL_FLOOR as u64, b"x", false, |_| 0),
            Err(Misbehaved::BeyondCredit)
        );
        assert_eq!(
            half.arrive(u64::MAX, b"x", false, |_| 0),
            Err(Misbehaved::BeyondCredit)
        );
        half.arrive(0, b"abc", true, |_| 0).unwrap();
        assert_eq!(
            half.arrive(3, b"d", false, |_| 0),
            Err(Misbehaved::FinalSize)
        );
        assert_eq!(
            half.arrive(0, b"ab", true, |_| 0),
            Err(Misbehaved::FinalSize)
        );
        assert_eq!(half.arrive(0, b"abc", true, |_| 0), Ok(Arrival::Stale));
    }

    #[test]
    fn overlapping_pieces_take_no_more_than_the_window() {
        let mut half = half();
        for offset in (1..1_000).rev().chain(1..1_000) {
            let arrival = half.arrive(offset, &[0; 1_000], false, |_| 0).unwrap();
            assert_ne!(arrival, Arrival::Advanced);
        }
        let bytes = half.early.values().map(Vec::len).sum::<usize>();
        assert_eq!(bytes, 1_998);
        let reserved = CHANNEL_FLOOR + half.early.len() * REASSEMBLY_PIECE_COST;
        assert_eq!(half.budget.used(), reserved as u64);
        half.arrive(0, &[0], false, |_| 0).unwrap();
        assert_eq!((half.next_expected(), half.early.len()), (1_999, 0));
        assert_eq!(half.budget.used(), CHANNEL_FLOOR as u64);
    }

    #[test]
    fn small_pieces_are_charged_with_what_they_cost() {
        let budget = Budget::new(2 * CHANNEL_FLOOR as u64 + 20 * REASSEMBLY_PIECE_COST as u64);
        assert!(budget.reserve(CHANNEL_FLOOR));
        let other = budget.for_another();
        assert!(other.reserve(CHANNEL_FLOOR));
        let mut half = ReceiveHalf::new(other, CHANNEL_FLOOR, Time::ZERO);
        for offset in 1..CHANNEL_FLOOR as u64 / 2 {
            half.arrive(2 * offset, &[0], false, |_| 0).unwrap();
            assert!(budget.used() <= budget.limit());
        }
        assert!(half.early.len() <= 20, "{}", half.early.len());
        half.discard();
        assert_eq!(budget.used(), CHANNEL_FLOOR as u64);
    }

    /// A half whose window has grown to 64 times the floor, with its budget.
    fn grown() -> (ReceiveHalf, Budget) {
        let budget = Budget::new(1 << 20);
        assert!(budget.reserve(CHANNEL_FLOOR));
        let mut half = ReceiveHalf::new(budget.clone(), CHANNEL_FLOOR, Time::ZERO);
        for _ in 0..6 {
            let rest = vec![0; usize::try_from(half.permitted - half.ring.end()).unwrap()];
            half.arrive(half.ring.end(), &rest, false, <[u8]>::len)
                .unwrap();
            half.grant(Duration::from_millis(10), true, Time::ZERO);
        }
        assert_eq!(budget.used(), 64 * CHANNEL_FLOOR as u64);
        (half, budget)
    }

    #[test]
    fn an_idle_window_is_given_back_and_what_was_permitted_still_arrives() {
        let (mut half, budget) = grown();
        half.shrink();
        assert_eq!(budget.used(), 64 * CHANNEL_FLOOR as u64, "it was active");
        half.shrink();
        assert_eq!(budget.used(), CHANNEL_FLOOR as u64);
        let at = half.ring.end();
        // A keystroke needs no more than the floor; a burst has its window again.
        half.arrive(at, b"x", false, <[u8]>::len).unwrap();
        assert_eq!(budget.used(), CHANNEL_FLOOR as u64);
        let rest = vec![7; usize::try_from(half.permitted - at - 1).unwrap()];
        let arrival = half.arrive(at + 1, &rest, false, |_| 0);
        assert_eq!(arrival, Ok(Arrival::Advanced));
        assert_eq!(half.waiting(), rest.len());
        assert!(budget.used() >= rest.len() as u64);
        drop(half);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn without_memory_an_idle_channel_moves_by_its_floor() {
        let (mut half, budget) = grown();
        half.shrink();
        half.shrink();
        let other = budget.for_another();
        let free = usize::try_from(budget.limit() - budget.used()).unwrap();
        assert!(other.reserve(free));
        let (at, mut got) = (half.ring.end(), 0);
        let burst = vec![7; 10 * CHANNEL_FLOOR];
        for round in 1..=10 {
            let arrival = half.arrive(at, &burst, true, |_| 0);
            let whole = round == 10;
            assert_eq!(arrival == Ok(Arrival::Refused), !whole, "{arrival:?}");
            assert!(half.waiting() <= CHANNEL_FLOOR);
            got += half.waiting();
            half.take(half.waiting());
        }
        assert_eq!((got, half.is_done()), (burst.len(), true));
        assert_eq!(
            half.arrive(at + burst.len() as u64 - 1, b"7", true, |_| 0),
            Ok(Arrival::Stale)
        );
    }

    #[test]
    fn a_window_used_up_quickly_doubles() {
        let mut half = half();
        let rtt = Duration::from_millis(10);
        half.arrive(0, &[0; CHANNEL_FLOOR], false, <[u8]>::len)
            .unwrap();
        assert!(half.wants_grant());
        half.grant(rtt, true, Time::ZERO + rtt);
        assert_eq!(half.permitted(), 3 * CHANNEL_FLOOR as u64);
        half.arrive(
            CHANNEL_FLOOR as u64,
            &[0; 2 * CHANNEL_FLOOR],
            false,
            <[u8]>::len,
        )
        .unwrap();
        half.grant(rtt, true, Time::ZERO + rtt * 5);
        assert_eq!(
            half.permitted(),
            5 * CHANNEL_FLOOR as u64,
            "a slow one does not"
        );
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_the_bytes_once(
            cuts in prop::collection::vec((0_usize..400, 0_usize..120), 1..60),
            greedy: bool,
        ) {
            let stream: Vec<u8> = (0..500_u16).map(|n| (n % 251) as u8).collect();
            let mut half = half();
            let mut got = Vec::new();
            let whole = [(0, 500)];
            for (at, len) in cuts.iter().copied().chain(whole) {
                let end = (at + len).min(stream.len());
                half.arrive(at as u64, &stream[at..end], end == stream.len(), |bytes| {
                    let count = if greedy { bytes.len() } else { bytes.len() / 2 };
                    got.extend_from_slice(&bytes[..count]);
                    count
                }).unwrap();
                let waiting = all(&half);
                got.extend_from_slice(&waiting);
                half.take(waiting.len());
                prop_assert_eq!(&got[..], &stream[..got.len()]);
            }
            prop_assert!(half.is_done());
            prop_assert_eq!(got, stream);
        }
    }
}
