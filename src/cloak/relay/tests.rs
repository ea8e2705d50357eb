//! Bounds hold and bytes are counted exactly, whatever is pushed; shares are fair.

use super::*;
use crate::cloak::queues::Content;

use crate::wire::link::Route;
use crate::wire::packet::HEADER_LEN;

fn tag(number: u8) -> Tag {
    Tag([number; 8])
}

fn packet(from: u8, to: u8, len: usize) -> Waiting {
    Waiting {
        route: Route::neighbour(tag(from), tag(to)),
        content: Content::Packet {
            header: [0; HEADER_LEN],
            body: vec![from; len],
        },
    }
}

fn frame(turn: Option<Turn>) -> Option<Waiting> {
    match turn? {
        Turn::Frame { frame, .. } => Some(frame),
        Turn::Own => None,
    }
}

const LINK: u8 = 200;

/// Bytes of each sender that pass in a time in which `total` bytes do.
fn shares(relay: &mut Relay, total: usize) -> BTreeMap<u8, usize> {
    let mut shares = BTreeMap::new();
    let mut passed = 0;
    while passed < total {
        let frame = frame(relay.pop(tag(LINK), false, Time::ZERO)).unwrap();
        passed += frame.wire_len();
        *shares.entry(frame.route.from.0[0]).or_default() += frame.wire_len();
    }
    shares
}

#[test]
fn neighbours_share_first_and_their_sessions_then() {
    let mut relay = Relay::default();
    for round in 0..4_000_u32 {
        let from = u8::try_from(round % 10).unwrap();
        relay.push(tag(LINK), tag(101), packet(from, 50, 1_200), Time::ZERO);
        if round < 400 {
            relay.push(tag(LINK), tag(102), packet(20, 50, 12_000), Time::ZERO);
        }
        relay.buckets.clear();
    }
    let shares = shares(&mut relay, 1_000_000);
    let alone = shares[&20];
    assert!((480_000..520_000).contains(&alone), "{shares:?}");
    for from in 0..10 {
        assert!((40_000..60_000).contains(&shares[&from]), "{shares:?}");
    }
}
