//! Names that have no part here (R-I5).

use super::*;

fn deny(world: &mut World, side: usize) {
    let peer = world.nodes[1 - side].core.name();
    let now = world.now;
    world.nodes[side].core.deny(BTreeSet::from([peer]), now);
}

fn ended(event: &Event) -> bool {
    matches!(event, Event::SessionDown(_, _, EndReason::Expelled))
}

fn unassigned(event: &Event) -> bool {
    matches!(event, Event::Unassigned(_, OpenFailure::Denied))
}

#[test]
fn a_denied_peer_loses_its_session_and_gets_no_other_until_it_is_taken_off_the_list() {
    for side in 0..2 {
        let mut world = World::new();
        world.connect();
        let (near, far) = world.open();
        deny(&mut world, side);
        let own = [near, far][side];
        world.run(RTT * 3);
        assert!(world.saw(side, ended), "{side}");
        let reset =
            |event: &Event| matches!(event, Event::Reset(key, ResetCode::Forbidden) if *key == own);
        assert!(world.saw(side, reset));
        assert!(world.nodes.iter().all(|node| node.core.sessions.is_empty()));

        // No link, though the handshake of one was finished before.
        world.disconnect();
        world.connect();
        assert_eq!(world.nodes[side].link, None);
        world.nodes[side].core.deny(BTreeSet::new(), world.now);
        world.disconnect();
        world.connect();
        // A link stands that has not been ended yet, and the peer begins a handshake on it.
        let peer = world.nodes[1 - side].core.name();
        world.nodes[side].core.denied = BTreeSet::from([peer]);
        let target = Target::Loopback(80);
        let (names, now) = (
            [1, 0].map(|of: usize| world.nodes[of].core.name()),
            world.now,
        );
        for (node, peer) in world.nodes.iter_mut().zip(names) {
            node.core.request(vec![peer], target.clone(), 1, now);
            node.act(now);
        }
        world.run(Duration::from_secs(3));
        assert!(world.saw(side, unassigned), "a request of its own");
        assert!(world.nodes[side].core.sessions.is_empty(), "{side}");

        // Off the list, what still waits at the other end goes on.
        world.nodes[side].core.deny(BTreeSet::new(), world.now);
        world.run(Duration::from_secs(3));
        assert_eq!(world.nodes[side].core.sessions.len(), 1);
    }
}

#[test]
fn a_request_goes_by_the_others_of_its_list() {
    let mut world = World::new();
    world.connect();
    let denied = Identity::from_seed(&[9; 32]).name();
    let (now, peer) = (world.now, world.nodes[1].core.name());
    world.nodes[0].core.deny(BTreeSet::from([denied]), now);
    let core = &mut world.nodes[0].core;
    core.request(vec![denied, peer], Target::Loopback(80), 1, now);
    world.run(RTT * 5);
    assert!(world.saw(0, |event| matches!(event, Event::Assigned(..))));
}

#[test]
fn a_request_that_waits_for_a_peer_ends_when_it_is_denied() {
    let mut world = World::new();
    let (now, peer) = (world.now, world.nodes[1].core.name());
    world.nodes[0]
        .core
        .request(vec![peer], Target::Loopback(80), 1, now);
    world.nodes[0].act(now);
    assert!(!world.saw(0, unassigned));
    deny(&mut world, 0);
    world.nodes[0].act(now);
    assert!(world.saw(0, unassigned));
}
