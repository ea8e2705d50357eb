//! Packets under way under one pair of keys: what was in them, and which count as lost.
//!
//! Paths are first-in first-out, so what lies well behind an acknowledged packet *of the same path*
//! was dropped. A time-out proves nothing and marks nothing (design 5).

use std::{collections::BTreeMap, time::Duration};

use crate::limits::{LOSS_OTHER_PATH, LOSS_PACKETS, PACKETS_IN_FLIGHT_MAX};
use crate::srm::send::Chunk;
use crate::srm::window::Stamp;
use crate::time::Time;
use crate::wire::frame::{Ack, ChannelId};

/// A frame under way that must arrive, by what would be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Bytes of a channel.
    Data(ChannelId, Chunk),
    /// A channel's OPEN.
    Open(ChannelId),
    /// A channel's OPENED or OPEN_FAILED.
    Answer(ChannelId),
    /// A channel's CREDIT: what it said, since only the newest counts.
    Credit(ChannelId, (u64, u64)),
    /// A channel's RESET.
    Reset(ChannelId),
    /// HERE, with its Re-Hello's number.
    Here(u64),
    /// A channel's GONE.
    Gone(ChannelId),
    /// FINISHED.
    Finished,
}

/// A packet under way.
#[derive(Clone, Debug)]
struct Packet {
    sent: Sent,
    items: Vec<Item>,
}

/// How a packet left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The path it took.
    pub path: u64,
    /// Bytes of its plaintext.
    pub bytes: u64,
    /// When.
    pub at: Time,
    /// Whether it wants an acknowledgement.
    pub eliciting: bool,
    /// Where the path's window stood.
    pub stamp: Stamp,
}

/// What an acknowledgement told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames that arrived.
    pub arrived: Vec<Item>,
    /// Frames that must go again.
    pub lost: Vec<Item>,
    /// Whether some packet was acknowledged for the first time.
    pub progress: bool,
    /// The newest packet, if it was acknowledged for the first time, and how long the peer waited.
    pub newest: Option<(Sent, Duration)>,
    /// Bytes that arrived by the path of the newest packet.
    pub arrived_bytes: u64,
    /// Packets that arrived by it.
    pub arrived_packets: u64,
    /// The newest packet that is lost.
    pub newest_lost: Option<Sent>,
}

/// Packets sent under one pair and not yet acknowledged.
#[derive(Debug, Default)]
pub struct Flight {
    packets: BTreeMap<u64, Packet>,
    /// Bytes under way, by path.
    bytes: Vec<(u64, u64)>,
    next: u64,
    oldest_eliciting: Option<Time>,
}

impl Flight {
    /// Notes a packet that was sealed under `number`.
    pub fn sent(&mut self, number: u64, sent: Sent, items: Vec<Item>) {
        self.next = number.saturating_add(1);
        if sent.eliciting && self.oldest_eliciting.is_none() {
            self.oldest_eliciting = Some(sent.at);
        }
        if sent.eliciting || !items.is_empty() {
            match self.bytes.iter_mut().find(|(path, _)| *path == sent.path) {
                Some((_, bytes)) => *bytes += sent.bytes,
                None => self.bytes.push((sent.path, sent.bytes)),
            }
            self.packets.insert(number, Packet { sent, items });
        }
    }

    /// Bytes under way by `path`.
    pub fn bytes_on(&self, path: u64) -> u64 {
        self.bytes
            .iter()
            .find(|(on, _)| *on == path)
            .map_or(0, |(_, bytes)| *bytes)
    }

    /// Takes a packet out, whatever became of it.
    fn settle(&mut self, number: u64) -> Option<Packet> {
        let packet = self.packets.remove(&number)?;
        self.bytes.retain_mut(|(path, bytes)| {
            if *path == packet.sent.path {
                *bytes = bytes.saturating_sub(packet.sent.bytes);
            }
            *bytes > 0
        });
        Some(packet)
    }

    /// Whether more packets may be sent before an acknowledgement.
    pub fn has_room(&self) -> bool {
        self.packets.len() < PACKETS_IN_FLIGHT_MAX
    }

    /// Whether every packet under way went by `path`.
    pub fn is_only_on(&self, path: u64) -> bool {
        self.bytes.iter().all(|(on, _)| *on == path)
    }

    /// Since when an answer has been owed.
    pub const fn waiting_since(&self) -> Option<Time> {
        self.oldest_eliciting
    }

    /// Takes an acknowledgement of packets under this pair; `None` if it names one never sent.
    pub fn acknowledge(&mut self, ack: &Ack, rtt: Duration, now: Time) -> Option<Outcome> {
        let (_, newest) = *ack.ranges.first()?;
        if newest >= self.next {
            return None;
        }
        let mut outcome = Outcome::default();
        let newest_sent = self.packets.get(&newest).map(|packet| packet.sent);
        outcome.newest = newest_sent.map(|sent| (sent, Duration::from_micros(ack.delay_us)));
        let mut front: BTreeMap<u64, u64> = BTreeMap::new();
        let mut latest = Time::ZERO;
        for (from, to) in &ack.ranges {
            let numbers: Vec<u64> = self
                .packets
                .range(*from..=*to)
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                let Some(packet) = self.settle(number) else {
                    continue;
                };
                outcome.progress = true;
                if newest_sent.is_some_and(|newest| newest.path == packet.sent.path) {
                    outcome.arrived_bytes += packet.sent.bytes;
                    outcome.arrived_packets += 1;
                }
                latest = latest.max(packet.sent.at);
                let high = front.entry(packet.sent.path).or_default();
                *high = (*high).max(number);
                outcome.arrived.extend(packet.items);
            }
        }
        self.find_lost((&front, latest), rtt, now, &mut outcome);
        self.find_oldest();
        Some(outcome)
    }

    fn find_oldest(&mut self) {
        let mut sent = self.packets.values().map(|packet| packet.sent);
        self.oldest_eliciting = sent.find(|sent| sent.eliciting).map(|sent| sent.at);
    }

    fn find_lost(
        &mut self,
        (front, latest): (&BTreeMap<u64, u64>, Time),
        rtt: Duration,
        now: Time,
        outcome: &mut Outcome,
    ) {
        let Some(high) = front.values().max().copied() else {
            return;
        };
        let patience = rtt * 9 / 8;
        let other_path = LOSS_OTHER_PATH.max(rtt * 3);
        let lost: Vec<u64> = self
            .packets
            .range(..high)
            .filter(|(number, packet)| {
                let left_behind = packet.sent.at + other_path <= latest;
                front.get(&packet.sent.path).map_or(left_behind, |high| {
                    **number + LOSS_PACKETS <= *high
                        || (**number < *high && now.since(packet.sent.at) > patience)
                })
            })
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            if let Some(packet) = self.settle(number) {
                outcome.newest_lost = Some(packet.sent);
                outcome.lost.extend(packet.items);
            }
        }
    }

    /// Gives up on the packets that went by `path`, which is gone: what was in them must go again.
    pub fn take_path(&mut self, path: u64) -> Vec<Item> {
        let mut items = Vec::new();
        self.packets.retain(|_, packet| {
            let stays = packet.sent.path != path;
            if !stays {
                items.append(&mut packet.items);
            }
            stays
        });
        self.bytes.retain(|(on, _)| *on != path);
        self.find_oldest();
        items
    }

    /// Gives up on every packet: what was in them must go again.
    pub fn take_items(&mut self) -> Vec<Item> {
        self.oldest_eliciting = None;
        self.bytes.clear();
        let packets = std::mem::take(&mut self.packets);
        packets
            .into_values()
            .flat_map(|packet| packet.items)
            .collect()
    }

    /// Forgets all packets: a resumed session tells everything again.
    pub fn forget(&mut self) {
        self.oldest_eliciting = None;
        self.bytes.clear();
        self.packets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(8);

    fn ack(ranges: &[(u64, u64)]) -> Ack {
        Ack {
            selector: [0, 0],
            delay_us: 0,
            marked: 0,
            ranges: ranges.to_vec(),
        }
    }

    fn item(number: u64) -> Item {
        Item::Here(number)
    }

    fn sent(path: u64, at: Time) -> Sent {
        Sent {
            path,
            bytes: 100,
            at,
            eliciting: true,
            stamp: Stamp::default(),
        }
    }

    fn flight(paths: &[u64]) -> Flight {
        let mut flight = Flight::default();
        for (number, path) in (0..).zip(paths) {
            flight.sent(number, sent(*path, Time::ZERO), vec![item(number)]);
        }
        flight
    }

    #[test]
    fn what_lies_three_behind_on_the_same_path_is_lost() {
        let mut flight = flight(&[1, 1, 1, 1, 1]);
        let outcome = flight
            .acknowledge(&ack(&[(4, 4)]), RTT, Time::ZERO)
            .unwrap();
        assert_eq!(outcome.arrived, [item(4)]);
        assert_eq!(outcome.lost, [item(0), item(1)]);
        let late = Time::ZERO + RTT * 2;
        let outcome = flight.acknowledge(&ack(&[(4, 4)]), RTT, late).unwrap();
        assert_eq!(
            outcome,
            Outcome::default(),
            "an old acknowledgement proves nothing"
        );
    }

    #[test]
    fn time_counts_only_behind_an_acknowledged_packet() {
        let mut flight = flight(&[1, 1]);
        flight.sent(2, sent(1, Time::ZERO + RTT), vec![item(2)]);
        assert_eq!(flight.bytes_on(1), 300);
        let late = Time::ZERO + RTT * 2;
        let outcome = flight.acknowledge(&ack(&[(1, 1)]), RTT, late).unwrap();
        assert_eq!(outcome.lost, [item(0)]);
        assert_eq!((flight.bytes_on(1), outcome.arrived_bytes), (100, 100));
        assert_eq!(flight.waiting_since(), Some(Time::ZERO + RTT));
    }

    #[test]
    fn another_path_proves_nothing() {
        let mut flight = flight(&[1, 1, 1, 2, 2, 2]);
        let outcome = flight
            .acknowledge(&ack(&[(5, 5)]), RTT, Time::ZERO + RTT * 9)
            .unwrap();
        assert_eq!(outcome.lost, [item(3), item(4)]);
    }

    #[test]
    fn a_path_that_was_left_cannot_keep_a_packet_for_ever() {
        let mut flight = flight(&[1]);
        for number in 1..3 {
            let at = Time::ZERO + LOSS_OTHER_PATH * u32::try_from(number).unwrap() / 2;
            flight.sent(number, sent(2, at), vec![item(number)]);
        }
        let late = Time::ZERO + LOSS_OTHER_PATH * 2;
        let outcome = flight.acknowledge(&ack(&[(1, 1)]), RTT, late).unwrap();
        assert_eq!(outcome.lost, [], "it may still be under way");
        let outcome = flight.acknowledge(&ack(&[(2, 2)]), RTT, late).unwrap();
        assert_eq!(outcome.lost, [item(0)]);
        assert_eq!(flight.waiting_since(), None);
    }

    #[test]
    fn an_acknowledgement_of_the_future_is_refused_whole() {
        let mut flight = flight(&[1, 1]);
        assert_eq!(
            flight.acknowledge(&ack(&[(2, 2), (0, 0)]), RTT, Time::ZERO),
            None
        );
        assert!(
            flight
                .acknowledge(&ack(&[(0, 1)]), RTT, Time::ZERO)
                .is_some()
        );
        assert_eq!(flight.waiting_since(), None);
    }
}
