//! The receiving half of one direction of a channel: what arrived, what the application took, and how
//! far the peer may send.

use std::{collections::BTreeMap, time::Duration};

use crate::limits::{CHANNEL_WINDOW_MAX, REASSEMBLY_PIECES_MAX};
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
    /// No room for another early piece: the packet must count as not received.
    Refused,
}

/// Bytes that arrived in order and wait for the application, and pieces beyond a gap.
#[derive(Debug)]
pub struct ReceiveHalf {
    ring: Ring,
    early: BTreeMap<u64, Vec<u8>>,
    /// Bytes in `early`: never more than the window, whatever overlaps the peer sends.
    early_bytes: usize,
    budget: Budget,
    window: usize,
    permitted: u64,
    granted_at: Time,
    fin: Option<u64>,
    discarding: bool,
}

impl ReceiveHalf {
    /// A half that permits `window` bytes, which the caller has reserved.
    pub fn new(budget: Budget, window: usize, now: Time) -> Self {
        Self {
            ring: Ring::new(),
            early: BTreeMap::new(),
            early_bytes: 0,
            budget,
            window,
            permitted: window as u64,
            granted_at: now,
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
        let before = self.next_expected();
        if offset > self.ring.end() {
            return Ok(self.keep_early(offset, bytes, fin));
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
        if self
            .early
            .get(&offset)
            .is_some_and(|old| old.len() >= bytes.len())
            && !fin
        {
            return Arrival::Stale;
        }
        let full = self.early_bytes + bytes.len() > self.window;
        if full || self.early.len() >= REASSEMBLY_PIECES_MAX || bytes.is_empty() {
            return Arrival::Refused;
        }
        if fin {
            self.fin = Some(offset + bytes.len() as u64);
        }
        self.early_bytes += bytes.len();
        if let Some(shorter) = self.early.insert(offset, bytes.to_vec()) {
            self.early_bytes -= shorter.len();
        }
        Arrival::Early
    }

    fn join_early(&mut self) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.ring.end() {
                break;
            }
            let (offset, bytes) = entry.remove_entry();
            self.early_bytes -= bytes.len();
            self.append(offset, &bytes, |_| 0);
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
        self.ring.clear();
        self.early.clear();
        self.early_bytes = 0;
        self.discarding = true;
        self.budget.release(self.window);
        self.window = 0;
    }

    /// Gives back the buffer of an idle direction. Its credit has been promised and stays reserved.
    pub fn shrink(&mut self) {
        self.ring.shrink();
    }
}

impl Drop for ReceiveHalf {
    fn drop(&mut self) {
        self.budget.release(self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHANNEL_FLOOR;
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
        for offset in 1..200 {
            let arrival = half.arrive(offset, &[0; 1_000], false, |_| 0).unwrap();
            assert!(matches!(arrival, Arrival::Early | Arrival::Refused));
        }
        assert!(half.early.values().map(Vec::len).sum::<usize>() <= CHANNEL_FLOOR);
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
