//! Bounds hold and bytes are counted exactly, whatever is pushed; shares are fair; who was quiet goes first.

use proptest::{collection::vec, prelude::*};

use std::time::Duration;

use super::*;
use crate::cloak::queues::Content;
use crate::limits::{RELAY_FLOWS_MAX, RELAY_FRAME_COST, RELAY_MARK};
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::packet::HEADER_LEN;

/// A neighbour's number by which the tests know it.
const LINK: u8 = 200;
const NOW: Time = Time::ZERO;

fn tag(number: u8) -> Tag {
    Tag([number; 8])
}

fn packet(from: u8, to: u8, len: usize) -> Waiting {
    Waiting {
        route: Route::neighbour(tag(from), tag(to)),
        content: Content::Packet {
            header: [0; HEADER_LEN],
            body: vec![0; len],
        },
    }
}

fn signal(from: u8, to: u8, len: usize) -> Waiting {
    Waiting {
        route: Route::neighbour(tag(from), tag(to)),
        content: Content::Signal(vec![0; len]),
    }
}

impl Relay {
    fn comes(&mut self, ingress: u8, frame: Waiting) {
        // How often frames come is another test's.
        self.buckets.clear();
        self.push(tag(LINK), tag(ingress), frame, NOW);
    }

    fn goes_at(&mut self, now: Time) -> Option<Waiting> {
        match self.pop(tag(LINK), false, now)? {
            Turn::Frame { frame, .. } => Some(frame),
            Turn::Own => None,
        }
    }

    fn goes(&mut self) -> Option<Waiting> {
        self.goes_at(NOW)
    }
}

#[test]
fn neighbours_share_first_and_their_sessions_then() {
    let mut relay = Relay::default();
    for round in 0..4_000_u32 {
        let from = u8::try_from(round % 10).unwrap();
        relay.comes(101, packet(from, 50, 1_200));
        if round < 400 {
            relay.comes(102, packet(20, 50, 12_000));
        }
    }
    let mut shares: BTreeMap<u8, usize> = BTreeMap::new();
    while shares.values().sum::<usize>() < 1_600_000 {
        let frame = relay.goes().unwrap();
        let [from, ..] = frame.route.from.0;
        *shares.entry(from).or_default() += frame.wire_len();
    }
    assert!((780_000..820_000).contains(&shares[&20]), "{shares:?}");
    for from in 0..10 {
        assert!((60_000..90_000).contains(&shares[&from]), "{shares:?}");
    }
}

#[test]
fn this_nodes_own_sessions_are_one_more_neighbour() {
    let mut relay = Relay::default();
    for _ in 0..200 {
        relay.comes(101, packet(1, 50, 5_000));
        relay.comes(102, packet(2, 50, 5_000));
    }
    let (mut own, mut others) = (0, 0);
    while own + others < 900_000 {
        match relay.pop(tag(LINK), true, NOW).unwrap() {
            Turn::Own => {
                relay.own_sent(tag(LINK), 10_000);
                own += 10_000;
            }
            Turn::Frame { frame, .. } => others += frame.wire_len(),
        }
    }
    assert!((270_000..330_000).contains(&own), "{own}");
    let other = tag(LINK + 1);
    assert!(matches!(relay.pop(other, true, NOW), Some(Turn::Own)));
    assert!(relay.pop(other, false, NOW).is_none());
}

#[test]
fn own_sessions_keep_their_turn_until_none_wants_to_send() {
    let mut relay = Relay::default();
    relay.comes(101, packet(1, 50, 20_000));
    relay.comes(101, packet(1, 50, 20_000));
    assert!(relay.goes().is_some());
    for _ in 0..3 {
        let own = relay.pop(tag(LINK), true, NOW);
        assert!(matches!(own, Some(Turn::Own)));
        relay.own_sent(tag(LINK), 0);
    }
    assert!(relay.goes().is_some());
}

#[test]
fn who_was_quiet_goes_first_but_not_for_ever() {
    let mut relay = Relay::default();
    for _ in 0..100 {
        relay.comes(101, packet(1, 50, 20_000));
        relay.comes(102, packet(2, 50, 20_000));
    }
    for _ in 0..10 {
        relay.goes();
    }
    // Another session of the same neighbour, a signal of the same session, and another neighbour.
    for (ingress, quiet) in [
        (101, packet(3, 50, 100)),
        (101, signal(1, 50, 400)),
        (103, packet(4, 50, 100)),
    ] {
        relay.comes(ingress, quiet.clone());
        let before = (0..4).position(|_| relay.goes().unwrap() == quiet);
        assert!(before.is_some(), "{quiet:?}");
    }
    // One that comes again and again takes no more than its share.
    let mut often = 0;
    for _ in 0..60 {
        relay.comes(103, packet(4, 50, 20_000));
        often += usize::from(relay.goes().unwrap().route.from == tag(4));
    }
    assert!((15..=25).contains(&often), "{often}");
}

#[test]
fn what_has_waited_for_ten_milliseconds_is_marked() {
    let mut relay = Relay::default();
    for _ in 0..3 {
        relay.comes(101, packet(1, 50, 100));
    }
    let just = Duration::from_nanos(1);
    let marks = [RELAY_MARK.checked_sub(just).unwrap(), RELAY_MARK, just]
        .map(|span| relay.goes_at(NOW + span).unwrap().route.marked);
    assert_eq!(marks, [false, true, false]);
    let mut marked = packet(1, 50, 100);
    marked.route.marked = true;
    relay.comes(101, marked);
    assert!(relay.goes().unwrap().route.marked, "by a relay before");
    assert_eq!(relay.stats().marked, 2);
}

#[test]
fn the_oldest_of_the_longest_flow_goes() {
    let mut relay = Relay::new(Bounds {
        link: 100_000,
        ..Bounds::default()
    });
    relay.comes(101, packet(9, 50, 1_000));
    relay.comes(102, packet(1, 50, 1_000));
    let mut kept = 0;
    for len in 2_000..2_100 {
        relay.comes(102, packet(2, 50, len));
        kept = len;
    }
    let mut left = BTreeMap::new();
    while let Some(frame) = relay.goes() {
        left.insert(frame.route.from, frame.wire_len());
    }
    let front = packet(0, 0, 0).wire_len();
    assert_eq!(left[&tag(9)], front + 1_000);
    assert_eq!(left[&tag(1)], front + 1_000);
    assert_eq!(left[&tag(2)], front + kept, "the newest is there");
    assert!(relay.stats().overflowed > 50);
}

#[test]
fn a_neighbour_that_takes_nothing_takes_no_memory_from_others() {
    let bounds = Bounds::default();
    let mut relay = Relay::new(bounds);
    for egress in 0..40 {
        for _ in 0..200 {
            relay.buckets.clear();
            relay.push(tag(egress), tag(101), packet(1, 50, 60_000), NOW);
        }
    }
    assert!(relay.cost() <= bounds.ingress);
    assert!(relay.cost() > bounds.ingress / 2);
    relay.comes(101, packet(7, 50, 1_000));
    relay.comes(102, packet(8, 50, 1_000));
    let mut came = [relay.goes().unwrap(), relay.goes().unwrap()].map(|f| f.route.from);
    came.sort();
    assert_eq!(came, [tag(7), tag(8)]);
}

#[test]
fn flows_beyond_the_most_share_a_queue_and_none_is_kept_for_nothing() {
    let mut relay = Relay::default();
    for number in 0..4 * RELAY_FLOWS_MAX {
        let mut frame = packet(0, 50, 10);
        frame.route.from = Tag((number as u64).to_be_bytes());
        relay.comes(101, frame);
    }
    assert_eq!(relay.stats().overflowed, 0);
    let went = std::iter::from_fn(|| relay.goes()).count();
    assert_eq!(went, 4 * RELAY_FLOWS_MAX);
    assert_eq!(relay.cost(), 0);
    assert!(relay.links.is_empty() && relay.shares.is_empty());
}

#[test]
fn a_neighbour_that_sends_too_often_is_held_back() {
    let (rate, burst) = RELAY_FRAMES_PER_SECOND;
    let mut relay = Relay::default();
    let push = |relay: &mut Relay, count: u32, now| {
        let before = relay.stats().over_rate;
        for _ in 0..count {
            relay.push(tag(LINK), tag(101), packet(1, 50, 10), now);
            relay.pop(tag(LINK), false, now);
        }
        u64::from(count) - (relay.stats().over_rate - before)
    };
    assert_eq!(push(&mut relay, 2 * burst, NOW), u64::from(burst));
    let later = NOW + Duration::from_millis(50);
    assert_eq!(push(&mut relay, 2 * burst, later), u64::from(rate / 20));
    relay.push(tag(LINK), tag(102), packet(1, 50, 10), later);
    assert!(relay.waits_for(tag(LINK)), "another one is not");
}

#[test]
fn what_waits_for_a_neighbour_that_goes_is_given_back() {
    let mut relay = Relay::default();
    relay.comes(101, packet(1, 50, 1_000));
    relay.comes(102, signal(2, 50, 400));
    relay.push(tag(3), tag(LINK), packet(5, 50, 10), NOW);
    let mut frames = relay.neighbour_gone(tag(LINK));
    frames.sort_by_key(|(ingress, _)| *ingress);
    let back = [
        (tag(101), packet(1, 50, 1_000)),
        (tag(102), signal(2, 50, 400)),
    ];
    assert_eq!(frames, back);
    assert!(!relay.waits_for(tag(LINK)));
    assert_eq!(
        relay.cost(),
        packet(5, 50, 10).cost(),
        "what it sent goes on"
    );
}

#[test]
fn a_frame_is_charged_with_all_that_it_holds() {
    let mut frame = packet(1, 2, 1_000);
    assert_eq!(frame.cost(), 1_000 + RELAY_FRAME_COST);
    frame.route.from_location = Location::Tree {
        tree: 1,
        term: 1,
        path: vec![(1, 1); 32],
    };
    assert_eq!(frame.cost(), 1_000 + 256 + RELAY_FRAME_COST);
    assert!(size_of::<Waiting>() + 64 <= RELAY_FRAME_COST);
}

/// Something that happens to a relay.
#[derive(Clone, Debug)]
enum Act {
    Push {
        egress: u8,
        ingress: u8,
        flow: u8,
        len: usize,
    },
    Pop(u8),
    Gone(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let push = (0..3_u8, 0..4_u8, 0..5_u8, 0..3_000_usize);
    let push = push.prop_map(|(egress, ingress, flow, len)| Act::Push {
        egress,
        ingress,
        flow,
        len,
    });
    prop_oneof![
        6 => push,
        3 => (0..3_u8).prop_map(Act::Pop),
        1 => (0..3_u8).prop_map(Act::Gone),
    ]
}

/// What a relay should hold: frames by number, with their way and what each is charged with.
#[derive(Debug, Default)]
struct Model {
    pushed: BTreeMap<u64, (u8, u8, u8, usize)>,
    gone: u64,
    /// The newest frame of each flow that was passed on.
    passed: BTreeMap<(u8, u8, u8), u64>,
}

impl Model {
    /// A frame left the relay: it was there, and no later one of its flow left before.
    fn leaves(&mut self, egress: u8, frame: &Waiting) -> Result<(), TestCaseError> {
        let Content::Signal(message) = &frame.content else {
            return Err(TestCaseError::fail("no signal"));
        };
        let number = u64::from_be_bytes(*message.first_chunk().unwrap());
        let known = self.pushed.remove(&number);
        let Some((to, ingress, flow, cost)) = known else {
            return Err(TestCaseError::fail("never pushed, or passed on twice"));
        };
        prop_assert_eq!((to, cost), (egress, frame.cost()));
        let before = self.passed.insert((to, ingress, flow), number);
        prop_assert!(before.is_none_or(|before| before < number), "order");
        self.gone += 1;
        Ok(())
    }
}

proptest! {
    /// Against a model that only knows what was pushed: bytes are counted exactly, bounds hold after each
    /// step, a flow keeps its order, nothing comes twice, and what is missing was counted as dropped.
    #[test]
    fn bytes_are_counted_and_bounded(acts in vec(act(), 1..300)) {
        let bounds = Bounds { link: 20_000, ingress: 25_000, node: 40_000 };
        let mut relay = Relay::new(bounds);
        let mut model = Model::default();
        for (number, act) in (0_u64..).zip(acts) {
            match act {
                Act::Push { egress, ingress, flow, len } => {
                    let mut frame = signal(flow, 50, len + 8);
                    if let Content::Signal(message) = &mut frame.content {
                        message[..8].copy_from_slice(&number.to_be_bytes());
                    }
                    model.pushed.insert(number, (egress, ingress, flow, frame.cost()));
                    relay.push(tag(egress), tag(ingress), frame, NOW);
                }
                Act::Pop(egress) => {
                    if let Some(Turn::Frame { frame, .. }) = relay.pop(tag(egress), false, NOW) {
                        model.leaves(egress, &frame)?;
                    }
                }
                Act::Gone(egress) => {
                    for (_, frame) in relay.neighbour_gone(tag(egress)) {
                        model.leaves(egress, &frame)?;
                    }
                    prop_assert!(!relay.waits_for(tag(egress)));
                }
            }
            let links: Vec<usize> = (0..3).map(|egress| relay.waiting_for(tag(egress))).collect();
            prop_assert!(links.iter().all(|cost| *cost <= bounds.link));
            prop_assert_eq!(links.iter().sum::<usize>(), relay.cost());
            prop_assert!(relay.cost() <= bounds.node);
            for ingress in 0..4 {
                let held = relay.ingresses.of(tag(ingress));
                let share = relay.shares.get(&tag(ingress)).map_or(0, Tally::total);
                prop_assert_eq!(held, share);
                prop_assert!(held <= bounds.ingress);
            }
        }
        let mut left = relay.cost();
        for egress in 0..3 {
            while let Some(Turn::Frame { frame, cost, .. }) = relay.pop(tag(egress), false, NOW) {
                left -= cost;
                model.leaves(egress, &frame)?;
            }
        }
        prop_assert_eq!((left, relay.cost()), (0, 0));
        prop_assert!(relay.shares.is_empty() && relay.links.is_empty());
        prop_assert_eq!(model.pushed.len() as u64, relay.stats().overflowed);
    }

    /// Between any two that always have something, neighbours or flows of one, the difference is never more
    /// than two turns, however long their frames are.
    #[test]
    fn nobody_gets_far_ahead(lens in vec((0..3_u8, 0..3_u8, 1..65_000_usize), 60..200)) {
        let mut relay = Relay::new(Bounds { link: 1 << 30, ingress: 1 << 30, node: 1 << 30 });
        let mut left: BTreeMap<(u8, u8), usize> = BTreeMap::new();
        for (ingress, flow, len) in lens {
            relay.comes(ingress, packet(10 * ingress + flow, 50, len));
            *left.entry((ingress, flow)).or_default() += 1;
        }
        let mut flows: BTreeMap<(u8, u8), usize> = left.keys().map(|key| (*key, 0)).collect();
        let most = 2 * (65_600 + 16_384);
        while let Some(frame) = relay.goes() {
            let [from, ..] = frame.route.from.0;
            let key = (from / 10, from % 10);
            *flows.get_mut(&key).unwrap() += frame.wire_len();
            let last = left.get_mut(&key).unwrap();
            *last -= 1;
            if *last == 0 {
                break;
            }
            let of = |ingress: u8| -> Vec<usize> {
                flows.range((ingress, 0)..(ingress, 9)).map(|(_, sent)| *sent).collect()
            };
            let apart = |sent: &[usize]| sent.iter().max().zip(sent.iter().min()).map_or(0, |(a, b)| a - b);
            let each: Vec<Vec<usize>> = (0..3).map(of).filter(|flows| !flows.is_empty()).collect();
            let sums: Vec<usize> = each.iter().map(|flows| flows.iter().sum()).collect();
            prop_assert!(apart(&sums) <= most, "{:?}", sums);
            for flows in &each {
                prop_assert!(apart(flows) <= most, "{:?}", flows);
            }
        }
    }
}
