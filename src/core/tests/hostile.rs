//! What neighbours and remote nodes may not bring about, and links of both kinds to one neighbour.

use super::relays::Mesh;
use super::*;
use crate::cloak::forward::Verdict;
use crate::core::Role;
use crate::core::links::Message;
use crate::limits::LINK_OUTBOX_MAX;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::notice::Notice;

fn role(mesh: &Mesh, at: usize, of: usize) -> Option<Role> {
    let view = mesh.nodes[at].core.overlay_view(mesh.now);
    let of = mesh.name(of);
    let neighbour = view.neighbours.into_iter().find(|n| n.name == of);
    neighbour.map(|neighbour| neighbour.role)
}

fn roots(mesh: &Mesh) -> BTreeSet<Option<Name>> {
    let nodes = mesh.nodes.iter();
    nodes
        .map(|node| node.core.overlay_view(mesh.now).root)
        .collect()
}

#[test]
fn a_made_up_answer_to_a_trace_costs_no_honest_relay_its_link() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    let (relay, end) = (mesh.name(1), mesh.name(2));
    let route = Route {
        to_location: mesh.nodes[2].core.own_location(),
        watermark: crate::cloak::forward::WATERMARK_START,
        ..Route::neighbour(mesh.name(0).tag(), end.tag())
    };
    let nobody = [0; 32];
    assert!(Name::from_bytes(nobody).is_err());
    let notice = Notice::Traced(0, 1, nobody).encode(&route);
    mesh.nodes[0].core.send_overlay(relay, notice);
    // An error of the receiving end would end the run.
    mesh.run(RTT * 4);
    assert_eq!(mesh.wires.len(), 2);
}

#[test]
fn a_peer_with_a_newer_certificate_than_its_record_is_reached_and_nothing_is_due_for_ever() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    let (first, second) = (mesh.name(0), mesh.name(2));
    mesh.nodes[2].core.me.renew(Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 2,
    });
    mesh.open(2, 0);
    assert_eq!(mesh.nodes[0].core.peers[&second].serial, Some(2));
    let now = mesh.now;
    let session = mesh.nodes[2].core.peers[&first].sessions[0];
    mesh.nodes[2].core.kill_session(session, now);
    mesh.run(RTT * 4);
    for node in &mut mesh.nodes {
        node.events.clear();
    }
    mesh.open(0, 2);
}

#[test]
fn sessions_that_end_leave_nothing_on_their_links() {
    let mut mesh = Mesh::new(2, &[(0, 1)]);
    for _ in 0..5 {
        mesh.open(0, 1);
        let (peer, now) = (mesh.name(1), mesh.now);
        let session = mesh.nodes[0].core.peers[&peer].sessions[0];
        mesh.nodes[0].core.kill_session(session, now);
        mesh.run(RTT * 4);
        for node in &mut mesh.nodes {
            node.events.clear();
            node.core.check_riders();
        }
    }
    assert!(mesh.nodes[1].core.sessions.is_empty());
    for link in mesh.nodes[1].core.links.values() {
        assert!(link.riders.is_empty());
    }
}

#[test]
fn a_shortcut_beside_a_link_takes_its_place_in_the_overlay() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    mesh.link(0, 1, true);
    mesh.run(Duration::from_secs(1));
    mesh.cut(0);
    mesh.run(Duration::from_secs(15));
    assert_eq!(roots(&mesh).len(), 1, "one overlay");
    for (at, of) in [(0, 1), (1, 0)] {
        assert!(matches!(
            role(&mesh, at, of),
            Some(Role::Parent | Role::Child)
        ));
    }
}

#[test]
fn shortcuts_that_cross_are_a_link_for_both() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    mesh.link(0, 2, true);
    mesh.run(RTT * 4);
    assert_eq!(role(&mesh, 0, 2), Some(Role::Shortcut));
    mesh.link(2, 0, true);
    mesh.run(Duration::from_secs(15));
    for (at, of) in [(0, 2), (2, 0)] {
        let role = role(&mesh, at, of);
        assert!(role.is_some() && role != Some(Role::Shortcut));
    }
    assert_eq!(roots(&mesh).len(), 1);
}

#[test]
fn what_is_for_a_node_reaches_it_by_its_shortcut_too() {
    let mut mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    mesh.link(0, 2, true);
    mesh.run(RTT * 4);
    let place = mesh.nodes[3].core.own_location();
    let (peer, now) = (mesh.name(3), mesh.now);
    let core = &mut mesh.nodes[0].core;
    let id = core.trace(peer, &[place], 9, now).unwrap();
    mesh.run(RTT * 8);
    let answered = |event: &Event| matches!(event, Event::Traced(traced) if traced.id == id);
    assert!(mesh.nodes[0].events.iter().any(answered));
}

#[test]
fn a_neighbour_to_which_the_tree_said_too_much_is_told_everything_anew() {
    let mut mesh = Mesh::new(2, &[(0, 1)]);
    let number = mesh.wires[0].links[0];
    let now = mesh.now;
    let core = &mut mesh.nodes[0].core;
    let link = core.links.get_mut(&number).unwrap();
    for _ in 0..LINK_OUTBOX_MAX / 1_000 {
        link.outbox.push(Message::Overlay(vec![1; 1_000]));
    }
    let mut out = Vec::new();
    core.pull(number, &mut out, 1 << 16, 4_000, now).unwrap();
    assert!(out.len() > LINK_OUTBOX_MAX / 2);
    let link = &core.links[&number];
    let anew = |m: &Message| matches!(m, Message::Overlay(m) if m[0] == 1);
    assert!(link.outbox.iter().any(anew));
}

#[test]
fn a_leaf_carries_nothing_for_others() {
    let leaf = node_of(
        2,
        1,
        Cloak {
            relay: false,
            ..Cloak::default()
        },
    );
    let mut nodes: Vec<Node> = [1, 3, 4, 5].map(|seed| node(seed, 1)).into();
    nodes.push(leaf);
    let wires = [(0, 4), (4, 1), (0, 2), (2, 3), (3, 1)];
    let mut mesh = Mesh::of(nodes, &wires);
    mesh.run(Duration::from_secs(3));
    let (near, far) = mesh.open(0, 1);
    mesh.transfer((0, near), (1, far), |_, _| {});
    assert_eq!(mesh.nodes[4].core.relay.stats().frames, 0);
    // Nor for a neighbour that asks for it all the same.
    let mut route = Route::neighbour(mesh.name(0).tag(), mesh.name(1).tag());
    route.to_location = mesh.nodes[1].core.own_location();
    route.watermark = crate::cloak::forward::WATERMARK_START;
    let link = mesh.wires[0].links[0];
    let core = &mut mesh.nodes[0].core;
    let link = core.links.get_mut(&link).unwrap();
    link.outbox.push(Message::Signal(route, vec![1; 16]));
    mesh.run(RTT * 4);
    assert_eq!(mesh.nodes[4].core.relay.stats().frames, 0);
    mesh.open(4, 1);
}

/// Nodes that a frame passes from one node to another, both included.
fn way(mesh: &Mesh, from: usize, to: usize) -> Vec<usize> {
    let mut route = Route {
        to_location: mesh.nodes[to].core.own_location(),
        watermark: crate::cloak::forward::WATERMARK_START,
        ..Route::neighbour(mesh.name(from).tag(), mesh.name(to).tag())
    };
    let (mut way, mut ingress) = (vec![from], None);
    while let Verdict::Next {
        neighbour,
        watermark,
        hops,
    } = {
        let at = &mesh.nodes[*way.last().unwrap()].core;
        at.overlay.decide(&route, ingress, None)
    } {
        ingress = Some(mesh.name(*way.last().unwrap()).tag());
        (route.watermark, route.hops) = (watermark, hops);
        let next = (0..mesh.nodes.len()).find(|node| mesh.name(*node).tag() == neighbour);
        way.push(next.unwrap());
    }
    way
}

/// Two ends, and a node on the way between them on which neither hangs.
fn crossed(mesh: &Mesh) -> Option<(usize, usize, usize)> {
    let steps = |node: usize| match mesh.nodes[node].core.own_location() {
        Location::Tree { path, .. } => path,
        Location::Neighbour => Vec::new(),
    };
    let count = mesh.nodes.len();
    let ends = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    let mut crossed = ends.flat_map(|(from, to)| {
        let way = way(mesh, from, to);
        let between = way.into_iter().filter(move |at| ![from, to].contains(at));
        between.map(move |between| (from, between, to))
    });
    crossed.find(|(from, between, to)| {
        let above = steps(*between);
        !steps(*from).starts_with(&above) && !steps(*to).starts_with(&above)
    })
}

#[test]
fn a_relay_that_swallows_what_it_carries_is_gone_round() {
    let ring = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)];
    for chord in [(0, 2), (1, 4), (2, 5), (3, 5)] {
        let wires: Vec<_> = ring.into_iter().chain([chord, (0, 6), (3, 7)]).collect();
        let mut mesh = Mesh::new(8, &wires);
        mesh.run(Duration::from_secs(10));
        let Some((from, between, to)) = crossed(&mesh) else {
            continue;
        };
        // It turns hostile under a session, and before one.
        let (near, far) = mesh.open(from, to);
        mesh.transfer((from, near), (to, far), |mesh, step| {
            if step == 20 {
                mesh.swallows = Some(between);
            }
        });
        mesh.transfer((to, far), (from, near), |_, _| {});
        assert_eq!(mesh.suspensions(from) + mesh.suspensions(to), 0);
        let now = mesh.now;
        let session = mesh.nodes[from].core.peers[&mesh.name(to)].sessions[0];
        mesh.nodes[from].core.kill_session(session, now);
        mesh.run(Duration::from_secs(90));
        for node in &mut mesh.nodes {
            node.events.clear();
        }
        let (near, far) = mesh.open(from, to);
        mesh.transfer((from, near), (to, far), |_, _| {});
        return;
    }
    panic!("no way leads past anybody");
}

#[test]
fn a_node_is_no_neighbour_of_itself() {
    let mut node = node(1, 1);
    let me = Arc::clone(&node.core.me);
    let joined = Joined {
        peer: me.name(),
        static_public: me.static_key().public(),
        serial: me.certificate().terms.serial,
        boot: me.boot_id(),
        send_key: Secret::from_bytes([1; 32].into()),
        receive_key: Secret::from_bytes([2; 32].into()),
        dialled: true,
        endpoint: "test".to_owned(),
        shortcut: false,
        taken: true,
    };
    assert_eq!(node.core.link_up(joined, Time::ZERO), None);
    assert_ne!(node.core.own_location(), Location::Neighbour);
}

#[test]
fn who_says_all_the_time_that_a_way_is_broken_is_heeded_once_a_second() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    let (near, _) = mesh.open(0, 2);
    mesh.run(RTT * 20);
    let about = mesh.name(2).tag();
    let (start, link) = (mesh.now, mesh.wires[0].links[0]);
    let core = &mut mesh.nodes[0].core;
    let pause = Duration::from_millis(20);
    let mut heeded = Vec::new();
    for round in 0..100 {
        let now = start + pause * round;
        // The route of a session that is not looked at anew keeps the mark.
        core.sessions
            .get_mut(&near.session)
            .unwrap()
            .carrier
            .as_mut()
            .unwrap()
            .route
            .hops = 1;
        core.seek_broken(about, now);
        let carrier = core.sessions[&near.session].carrier.as_ref();
        let rerouted = carrier.is_some_and(|by| by.route.hops != 1);
        core.settle(now);
        let mut out = Vec::new();
        core.pull(link, &mut out, 1 << 16, 4_000, now).unwrap();
        if !out.is_empty() || rerouted {
            heeded.push((round, rerouted));
        }
    }
    assert_eq!(heeded, [(0, true), (50, false)]);
}
