//! Which packets of the peer arrived under one pair of keys, and when to say so.

use std::time::Duration;

use crate::limits::{ACK_BYTES, ACK_RANGES_MAX};
use crate::srm::ranges::Ranges;
use crate::time::Time;
use crate::wire::frame::Ack;

/// When acknowledgements go out: one per `every` packets or after `delay` (the paper's n).
#[derive(Clone, Copy, Debug)]
pub struct AckPolicy {
    /// Ack-eliciting packets per acknowledgement.
    pub every: u32,
    /// Longest wait.
    pub delay: Duration,
}

/// Packets received under one pair.
#[derive(Debug, Default)]
pub struct Acks {
    received: Ranges,
    newest_at: Time,
    marked: u64,
    unanswered: u32,
    unanswered_bytes: u64,
    due_at: Option<Time>,
    ripe: bool,
}

impl Acks {
    /// Notes a packet. `eliciting` ones want an answer, at once if `asked` or behind a gap.
    pub fn note(&mut self, packet: Noted, policy: AckPolicy, now: Time) {
        let behind_gap = self
            .received
            .max()
            .is_some_and(|max| packet.number != max.wrapping_add(1));
        if self.received.max().is_none_or(|max| packet.number > max) {
            self.newest_at = now;
        }
        self.received.insert(packet.number);
        self.received.forget_oldest(4 * ACK_RANGES_MAX);
        self.marked += u64::from(packet.marked);
        if !packet.eliciting {
            return;
        }
        self.unanswered += 1;
        self.unanswered_bytes += packet.bytes as u64;
        let at_once = packet.asked
            || behind_gap
            || self.unanswered >= policy.every
            || self.unanswered_bytes >= ACK_BYTES;
        let due = if at_once { now } else { now + policy.delay };
        self.due_at = Some(self.due_at.map_or(due, |old| old.min(due)));
    }

    /// When an acknowledgement must go out.
    pub const fn due_at(&self) -> Option<Time> {
        self.due_at
    }

    /// Notes that the time has come: from here on the acknowledgement waits for room on a link.
    pub fn ripen(&mut self, now: Time) {
        self.ripe |= self.due_at.is_some_and(|at| at <= now);
    }

    /// Whether the acknowledgement waits for room on a link.
    pub const fn is_ripe(&self) -> bool {
        self.ripe
    }

    /// Whether an acknowledgement would tell something that was not told.
    pub const fn has_news(&self) -> bool {
        self.unanswered > 0
    }

    /// The acknowledgement; nothing when nothing arrived. It counts as told.
    pub fn tell(&mut self, selector: [u8; 2], now: Time) -> Option<Ack> {
        let ranges: Vec<_> = self.received.newest_first().take(ACK_RANGES_MAX).collect();
        if ranges.is_empty() {
            return None;
        }
        self.unanswered = 0;
        self.unanswered_bytes = 0;
        self.due_at = None;
        self.ripe = false;
        let waited = now.since(self.newest_at).as_micros();
        let delay_us = u64::try_from(waited).unwrap_or(u64::MAX);
        Some(Ack {
            selector,
            delay_us,
            marked: self.marked,
            ranges,
        })
    }
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// Its number.
    pub number: u64,
    /// Bytes of its plaintext.
    pub bytes: usize,
    /// Whether it wants an acknowledgement.
    pub eliciting: bool,
    /// Whether it wants it at once.
    pub asked: bool,
    /// Whether a relay marked it.
    pub marked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: AckPolicy = AckPolicy {
        every: 3,
        delay: Duration::from_millis(5),
    };

    fn packet(number: u64) -> Noted {
        Noted {
            number,
            bytes: 10,
            eliciting: true,
            asked: false,
            marked: false,
        }
    }

    #[test]
    fn the_third_packet_a_gap_and_a_request_are_answered_at_once() {
        let now = Time::from_nanos(1_000);
        let later = now + POLICY.delay;
        let mut acks = Acks::default();
        acks.note(packet(0), POLICY, now);
        acks.note(packet(1), POLICY, now);
        assert_eq!(acks.due_at(), Some(later));
        acks.note(packet(2), POLICY, now);
        assert_eq!(acks.due_at(), Some(now));
        assert_eq!(acks.tell([0, 0], later).unwrap().ranges, [(0, 2)]);
        assert_eq!(acks.due_at(), None);
        acks.note(packet(4), POLICY, later);
        assert_eq!(acks.due_at(), Some(later), "a gap");
        let ack = acks.tell([0, 0], later).unwrap();
        assert_eq!((ack.ranges, ack.delay_us), (vec![(4, 4), (0, 2)], 0));
        acks.note(
            Noted {
                asked: true,
                ..packet(5)
            },
            POLICY,
            now,
        );
        assert_eq!(acks.due_at(), Some(now));
    }

    #[test]
    fn acknowledgements_are_not_acknowledged() {
        let mut acks = Acks::default();
        acks.note(
            Noted {
                eliciting: false,
                ..packet(0)
            },
            POLICY,
            Time::ZERO,
        );
        assert_eq!(acks.due_at(), None);
        assert!(!acks.has_news());
    }
}
