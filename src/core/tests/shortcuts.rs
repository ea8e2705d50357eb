//! Direct links for sessions that went through relays: when they are made, taken and left.

use super::relays::Mesh;
use super::*;

#[test]
fn traffic_moves_onto_a_direct_link_and_back_without_a_suspension() {
    let mut mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    let (near, far) = mesh.open(0, 3);
    let relayed = |mesh: &Mesh| mesh.nodes[1].core.relay.stats().frames;
    let mut at_link = 0;
    mesh.transfer((0, near), (3, far), |mesh, step| match step {
        10 => mesh.link(0, 3, true),
        15 => at_link = relayed(mesh),
        _ => {}
    });
    assert!(relayed(&mesh) < at_link + 20, "it goes by the direct link");
    let place = |mesh: &Mesh, node: usize| mesh.nodes[node].core.own_location();
    let before = [0, 3].map(|node| place(&mesh, node));
    mesh.transfer((0, near), (3, far), |mesh, step| {
        if step == 5 {
            mesh.cut(mesh.wires.len() - 1);
        }
    });
    assert!(relayed(&mesh) > at_link + 50, "and falls back");
    assert_eq!(
        [0, 3].map(|node| place(&mesh, node)),
        before,
        "a shortcut moves nobody"
    );
    assert_eq!(mesh.suspensions(0) + mesh.suspensions(3), 0);
    assert_eq!(mesh.handshakes(0), [1]);
    assert_ne!(before[0], Location::Neighbour);
}

#[test]
fn a_direct_link_that_falls_silent_under_load_is_left_within_a_second() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    mesh.run(Duration::from_secs(5));
    let (near, far) = mesh.open(0, 2);
    mesh.link(0, 2, true);
    let busy = |mesh: &mut Mesh, span: Duration| {
        let end = mesh.now + span;
        while mesh.now < end {
            mesh.write(0, near, &[7; 100_000]);
            mesh.write(2, far, &[7; 100_000]);
            mesh.run(RTT);
        }
        [mesh.got(0, near).len(), mesh.got(2, far).len()]
    };
    let before = busy(&mut mesh, Duration::from_secs(1));
    mesh.wires[2].silent = true;
    let after = busy(&mut mesh, Duration::from_secs(1));
    let more = [after[0] - before[0], after[1] - before[1]];
    assert!(more.iter().all(|more| *more > 50_000), "{more:?}");
    assert_eq!([mesh.suspensions(0), mesh.suspensions(2)], [0, 0]);
}

#[test]
fn who_makes_no_shortcuts_dials_nobody_by_itself() {
    let dials = |shortcuts| {
        let cloak = Cloak {
            shortcuts,
            ..Cloak::default()
        };
        let nodes = (0..5).map(|number| node_of(number, 1, cloak.clone()));
        let mut mesh = Mesh::of(nodes.collect(), &[(0, 1), (1, 2), (2, 3), (3, 4)]);
        let now = mesh.now;
        for node in &mut mesh.nodes {
            node.core.publish(vec!["192.0.2.1:7700".to_owned()], now);
        }
        mesh.run(Duration::from_secs(30));
        mesh.open(0, 4);
        mesh.run(Duration::from_secs(10));
        let events = mesh.nodes.iter().flat_map(|node| &node.events);
        let dialled = events.filter_map(|event| match event {
            Event::Dial(_, _, shortcut) => Some(*shortcut),
            _ => None,
        });
        dialled.collect::<BTreeSet<bool>>()
    };
    assert_eq!(dials(true), [false, true].into());
    assert_eq!(dials(false), [].into());
}
