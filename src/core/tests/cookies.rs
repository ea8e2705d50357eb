//! A flood of Hellos, replays, and the bounds on half-open sessions (R-H6 to R-H8).

use super::*;
use crate::limits::{HALF_OPEN_PER_LINK, HANDSHAKES_PER_SECOND};
use crate::name::certificate::PeerKeys;
use crate::ssm::handshake::{Initiator, Offer};
use crate::wire::link::Route;

/// A Hello of the party `seed` to node 2, and the route it comes by.
fn hello(seed: u8, index: u64) -> (Route, Vec<u8>) {
    hello_of(&party(seed, 1), index)
}

/// The same of any party.
pub(super) fn hello_of(me: &LocalParty, index: u64) -> (Route, Vec<u8>) {
    let peer = party(2, 1);
    let keys = PeerKeys {
        name: peer.name(),
        static_public: peer.static_key().public(),
    };
    let offer = Offer {
        suites: vec![Suite::Chacha20Poly1305],
        index,
        port: 0,
        asked: None,
    };
    let random = &mut Random::from_number(index);
    let (_, message) = Initiator::start(me, keys, &[0; 32], offer, random).unwrap();
    let route = Route::neighbour(me.name().tag(), peer.name().tag());
    (route, message)
}

impl World {
    /// A Hello arrives at node 2 by its link.
    pub(super) fn inject(&mut self, (route, message): &(Route, Vec<u8>)) {
        let (now, node) = (self.now, &mut self.nodes[1]);
        let link = node.link.unwrap();
        node.core.signal(link, route, message, now);
        node.core.settle(now);
    }

    fn half_open(&mut self) -> usize {
        let views = self.nodes[1].core.session_views(self.now);
        let half = |view: &&SessionView| view.state == SessionState::Handshake;
        views.iter().filter(half).count()
    }

    /// Round trips until node 1 has a session.
    fn trips(&mut self) -> u32 {
        let (now, peer) = (self.now, self.nodes[1].core.name());
        let core = &mut self.nodes[0].core;
        core.request(vec![peer], Target::Loopback(80), 1, now);
        (0..20)
            .find(|_| {
                self.run(RTT);
                self.saw(0, |event| matches!(event, Event::SessionUp(..)))
            })
            .unwrap()
    }
}

#[test]
fn a_flood_gets_cookies_and_costs_no_public_key_work() {
    let mut calm = World::new();
    calm.connect();
    let usual = calm.trips();
    drop(calm);

    let mut world = World::new();
    world.connect();
    let (rate, burst) = HANDSHAKES_PER_SECOND;
    let flood: Vec<_> = (0..200).map(|at| hello(10, at)).collect();
    for message in &flood {
        world.inject(message);
    }
    let stats = world.nodes[1].core.gate_stats();
    assert_eq!(stats.hellos_read, u64::from(burst));
    assert_eq!(stats.cookies_sent, 200 - u64::from(burst));
    assert!(world.half_open() <= 4, "one initiator, one share");

    // An honest initiator comes by the same link while that goes on, and pays one round trip more. Only
    // who shows a cookie takes tokens now.
    world.run(RTT * 10);
    for message in &flood {
        world.inject(message);
    }
    assert_eq!(world.trips(), usual + 1);
    let after = world.nodes[1].core.gate_stats();
    assert_eq!(after.hellos_read, stats.hellos_read + 1);
    assert!(after.hellos_read < u64::from(burst + rate));

    // The cookie is kept: the next handshake shows it at once.
    let number = world.nodes[0].core.session_views(world.now)[0].number;
    for message in &flood {
        world.inject(message);
    }
    world.nodes[0].core.kill_session(number, world.now);
    world.run(RTT * 2);
    world.nodes[0].events.clear();
    for message in &flood {
        world.inject(message);
    }
    assert_eq!(world.trips(), usual);
}

#[test]
fn a_replayed_hello_has_no_effect() {
    let mut world = World::new();
    world.connect();
    let replayed = hello(1, 77);
    world.inject(&replayed);
    world.inject(&replayed);
    assert_eq!(world.half_open(), 1);

    // It delays a handshake of our own by one retry at most.
    let now = world.now;
    let peer = world.nodes[0].core.name();
    let core = &mut world.nodes[1].core;
    core.request(vec![peer], Target::Loopback(80), 1, now);
    world.run(Duration::from_millis(1_500));
    assert!(world.saw(1, |event| matches!(event, Event::Opened(_))));

    // It never touches what is established.
    let before = world.nodes[1].core.session_views(world.now);
    world.run(Duration::from_secs(12));
    assert_eq!(world.half_open(), 0, "nobody confirmed it");
    for _ in 0..3 {
        world.inject(&replayed);
        world.run(RTT);
    }
    assert_eq!(world.half_open(), 1);
    let after = world.nodes[1].core.session_views(world.now);
    let live = |view: &&SessionView| view.state == SessionState::Live;
    let numbers = |views: &[SessionView]| -> Vec<u32> {
        views.iter().filter(live).map(|view| view.number).collect()
    };
    assert_eq!(numbers(&before), numbers(&after));
    assert_eq!(numbers(&after).len(), 1);
    assert!(!world.saw(1, |event| matches!(event, Event::Reset(..))));
}

#[test]
fn half_open_sessions_of_one_link_are_bounded() {
    let mut world = World::new();
    world.connect();
    for index in 0..120 {
        // Slow enough to need no cookie, quick enough to outrun their life.
        world.now += Duration::from_millis(60);
        let seed = u8::try_from(10 + index / 2).unwrap();
        world.inject(&hello(seed, index));
    }
    assert_eq!(world.half_open(), HALF_OPEN_PER_LINK);
    assert_eq!(world.nodes[1].core.gate_stats().cookies_sent, 0);
}
