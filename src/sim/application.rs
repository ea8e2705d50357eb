//! The applications of a simulation and the oracle that watches what they get.

use std::collections::BTreeMap;

use crate::core::{ChannelKey, Deliver};
use crate::wire::frame::ChannelId;

/// A channel, the same at both ends: SessID and channel id.
pub(super) type Flow = ([u8; 32], ChannelId);

/// One direction of a flow.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Bytes that the application wants to send.
    pub(super) wanted: u64,
    pub(super) written: u64,
    /// Its end was told to the session.
    pub(super) finished: bool,
    /// Bytes that the far application got.
    pub(super) got: u64,
    /// The far application saw the end.
    pub(super) ended: bool,
    /// Either application saw a cut, or made one.
    pub(super) cut: bool,
}

/// The byte of a flow's direction at a place: different for every flow, direction and place.
pub(super) fn byte(flow: &Flow, sender: usize, place: u64) -> u8 {
    let ([a, b, ..], channel) = flow;
    let mut mixed = channel.0 ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (sender as u64) << 56;
    mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed.to_le_bytes()[4] ^ a ^ b
}

/// What the applications of both nodes have sent and got.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Directions by flow and sender.
    pub(super) directions: BTreeMap<(Flow, usize), Direction>,
    /// The first rule that was broken.
    pub(super) broken: Option<String>,
}

impl Oracle {
    pub(super) fn direction(&mut self, flow: Flow, sender: usize) -> &mut Direction {
        self.directions.entry((flow, sender)).or_default()
    }

    pub(super) fn fault(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// The application at the far side of `sender` got bytes.
    pub(super) fn got(&mut self, flow: Flow, sender: usize, bytes: &[u8]) {
        let direction = self.direction(flow, sender);
        let (from, written) = (direction.got, direction.written);
        direction.got += bytes.len() as u64;
        let over = direction.got > written || (direction.ended && !bytes.is_empty());
        let wrong = (from..)
            .zip(bytes)
            .find(|(at, got)| byte(&flow, sender, *at) != **got);
        if let Some((at, _)) = wrong {
            self.fault(format!("wrong byte {at} of {:?} from {sender}", flow.1));
        } else if over {
            self.fault(format!(
                "bytes of {:?} from {sender} that were never sent",
                flow.1
            ));
        }
    }

    /// The application at the far side of `sender` saw a clean end.
    pub(super) fn ended(&mut self, flow: Flow, sender: usize) {
        let direction = self.direction(flow, sender);
        direction.ended = true;
        if !direction.finished || direction.got != direction.written {
            let (got, written) = (direction.got, direction.written);
            self.fault(format!(
                "clean end of {:?} from {sender} after {got} of {written}",
                flow.1
            ));
        }
    }
}

/// Delivery at one node: some applications take everything at once, others nothing.
pub(super) struct Reader<'a> {
    pub(super) side: usize,
    pub(super) flows: &'a BTreeMap<ChannelKey, Flow>,
    pub(super) oracle: &'a mut Oracle,
}

/// How much an application takes of what is offered: by its channel, so that runs repeat.
pub(super) const fn appetite(channel: ChannelId, offered: usize) -> usize {
    match channel.counter() % 3 {
        0 => offered,
        1 => offered / 2,
        _ => 0,
    }
}

impl Deliver for Reader<'_> {
    fn deliver(&mut self, key: ChannelKey, bytes: &[u8]) -> usize {
        let Some(flow) = self.flows.get(&key) else {
            return 0;
        };
        let taken = appetite(key.channel, bytes.len());
        self.oracle
            .got(*flow, 1 - self.side, bytes.get(..taken).unwrap_or_default());
        taken
    }
}
