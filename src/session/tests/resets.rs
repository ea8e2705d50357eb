//! What a reset leaves behind: nothing, though it does not say how much was on its way (PROTOCOL 7).

use super::*;

const CHANNELS: usize = 1_000;

impl Pairing {
    /// Bytes that wait for an acknowledgement of their packet.
    fn under_way(&self, side: usize) -> u64 {
        let pairs = self.ends[side].pairs.iter();
        pairs.map(|state| state.flight.bytes_on(1)).sum()
    }

    /// All that may leave now, in order.
    fn burst(&mut self, from: usize) -> Vec<Packet> {
        std::iter::from_fn(|| self.packet(from)).collect()
    }

    /// What both ends permit on a channel that is open.
    fn credit(&self, id: ChannelId) -> [u64; 2] {
        let permitted = |end: &Session| end.channel(id).unwrap().receive.permitted();
        self.ends.each_ref().map(permitted)
    }

    fn fill(&mut self, side: usize, id: ChannelId) {
        let now = self.now;
        let space = self.ends[side].space(id, now);
        space.fill(7);
        let count = space.len();
        self.ends[side].written(id, count);
    }
}

#[test]
fn a_thousand_channels_reset_with_bytes_on_their_way_leave_nothing_taken() {
    let mut pairing = with_memory(512 << 20);
    pairing.settle();
    let budget = pairing.ends[0].options.budget.clone();
    let ids: Vec<ChannelId> = (0..CHANNELS).map(|_| pairing.opened()).collect();
    let full = pairing.credit(ids[0]);
    for (n, id) in ids.iter().enumerate() {
        for side in 0..2 {
            pairing.fill(side, *id);
        }
        // Bytes of it leave in both directions; then either end resets it, or both do, and what was on the way
        // comes before the RESET, behind it, or not at all.
        let sent = [0, 1].map(|side| pairing.burst(side));
        assert!(sent.iter().all(|packets| !packets.is_empty()));
        for side in 0..2 {
            if n % 3 != side {
                pairing.ends[side].reset(*id, ResetCode::Connection);
            }
        }
        let resets = [0, 1].map(|side| pairing.burst(side));
        let order = match n % 4 {
            0 => [Some(&sent), Some(&resets)],
            1 => [Some(&resets), Some(&sent)],
            2 => [Some(&resets), None],
            _ => [None, None],
        };
        for packets in order.into_iter().flatten() {
            for (from, packets) in packets.iter().enumerate() {
                for packet in packets {
                    pairing.arrives(1 - from, packet);
                }
            }
        }
        for side in 0..2 {
            pairing.ends[side].path_lost(PATH);
        }
        pairing.settle();
    }

    assert_eq!(budget.used(), 0);
    for side in 0..2 {
        let end = &pairing.ends[side];
        assert_eq!(
            (end.channels.len(), end.gone.len(), end.moved.len()),
            (0, 0, 0)
        );
        assert_eq!((end.opening, end.opens_pending, end.stubs), (0, 0, 0));
        assert!(end.schedule.is_empty() && end.news.is_empty());
        assert_eq!(pairing.under_way(side), 0);
    }
    let id = pairing.opened();
    assert_eq!(pairing.credit(id), full);
}
