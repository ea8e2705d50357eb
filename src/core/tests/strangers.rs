//! What is kept of names that anybody can make up.

use super::cookies::hello_of;
use super::relays::Mesh;
use super::*;
use crate::limits::STRANGER_LIFE;

/// One of many parties.
fn made_up(number: u64) -> LocalParty {
    let seed = Random::from_number(number).bytes();
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes(seed);
    let identity = Identity::from_seed(&seed);
    LocalParty::new(identity, key, terms, [9; 16], OverlayId::of("test"))
}

#[test]
fn nothing_is_kept_of_made_up_names_once_their_attempts_are_over() {
    let mut world = World::new();
    world.connect();
    world.run(RTT * 4);
    let before: Vec<Name> = world.nodes[1].core.peers.keys().copied().collect();
    for number in 0..1_000 {
        // Slow enough to need no cookie.
        world.run(Duration::from_millis(60));
        world.inject(&hello_of(&made_up(number), number));
    }
    assert_eq!(world.nodes[1].core.peers.len(), before.len() + 1_000);
    world.run(STRANGER_LIFE);
    let core = &world.nodes[1].core;
    assert!(
        core.peers.keys().copied().eq(before),
        "{}",
        core.peers.len()
    );
    assert!(core.sessions.is_empty() && core.by_index.is_empty());
    assert!(core.strangers.is_empty());
}

#[test]
fn of_a_peer_that_was_met_the_serial_is_remembered() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    mesh.open(0, 2);
    let (first, second, now) = (mesh.name(0), mesh.name(2), mesh.now);
    let session = mesh.nodes[0].core.peers[&second].sessions[0];
    mesh.nodes[0].core.kill_session(session, now);
    mesh.run(STRANGER_LIFE * 2);
    let known = &mesh.nodes[2].core.peers[&first];
    assert!(known.sessions.is_empty());
    assert_eq!(known.serial, Some(1));
}
