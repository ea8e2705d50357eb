//! Places change while sessions run, and nobody is left to tell: the root dies again and again, and both ends
//! of a session lose their parents at once.

use super::relays::Mesh;
use super::*;
use crate::wire::location::Location;

/// Two ends that carry nothing for others, and four relays between them.
///
/// ```text
///         ┌ 2 ── 3 ┐
///     0 ──┤ │    │ ├── 1
///         └ 4 ── 5 ┘
/// ```
const WIRES: [(usize, usize); 8] = [
    (0, 2),
    (0, 4),
    (2, 4),
    (2, 3),
    (4, 5),
    (3, 5),
    (1, 3),
    (1, 5),
];

fn member(seed: u8, number: u8, boot: u8) -> Node {
    let cloak = Cloak {
        relay: number >= 2,
        ..Cloak::default()
    };
    node_of(seed * 6 + number, boot, cloak)
}

fn world(seed: u8) -> Mesh {
    let nodes = (0..6).map(|number| member(seed, number, 1)).collect();
    let mut mesh = Mesh::of(nodes, &WIRES);
    mesh.run(Duration::from_secs(5));
    mesh
}

fn root_of(mesh: &Mesh) -> usize {
    let is_root = |node: &usize| {
        let core = &mesh.nodes[*node].core;
        core.overlay.tree().root() == *core.name().as_bytes()
    };
    let roots: Vec<usize> = (0..mesh.nodes.len()).filter(is_root).collect();
    assert_eq!(roots.len(), 1, "one tree");
    roots[0]
}

/// The two ends of a channel, and when each last got something.
struct Typists {
    ends: [(usize, ChannelKey); 2],
    got: [usize; 2],
    last: [Time; 2],
}

impl Typists {
    fn new(mesh: &mut Mesh) -> Self {
        let (near, far) = mesh.open(0, 1);
        Self {
            ends: [(0, near), (1, far)],
            got: [0; 2],
            last: [mesh.now; 2],
        }
    }

    /// Both type for a while; says for how long either got nothing at most.
    fn go_on(&mut self, mesh: &mut Mesh, span: Duration) -> Duration {
        let (end, mut longest) = (mesh.now + span, Duration::ZERO);
        while mesh.now < end {
            for (node, key) in self.ends {
                mesh.write(node, key, b"x");
            }
            mesh.run(RTT);
            for (side, (node, key)) in self.ends.into_iter().enumerate() {
                let got = mesh.got(node, key).len();
                longest = longest.max(mesh.now.since(self.last[side]));
                if got > self.got[side] {
                    (self.got[side], self.last[side]) = (got, mesh.now);
                }
            }
        }
        longest
    }
}

#[test]
fn connections_go_on_within_four_seconds_of_the_death_of_each_root() {
    for seed in 1..7 {
        let mut mesh = world(seed);
        let mut typists = Typists::new(&mut mesh);
        for strike in 0..4 {
            // At another moment between two pulses each time.
            typists.go_on(
                &mut mesh,
                Duration::from_millis(130) * u32::from(seed + strike),
            );
            let root = root_of(&mesh);
            mesh.kill(root);
            let mut stall = typists.go_on(&mut mesh, Duration::from_secs(4));
            // It comes back, and has forgotten everything.
            let number = u8::try_from(root).unwrap();
            mesh.nodes[root] = member(seed, number, strike + 2);
            let now = mesh.now;
            mesh.nodes[root].core.publish(Vec::new(), now);
            for (a, b) in WIRES.into_iter().filter(|(a, b)| *a == root || *b == root) {
                mesh.link(a, b, false);
            }
            stall = stall.max(typists.go_on(&mut mesh, Duration::from_secs(4)));
            assert!(stall < Duration::from_secs(4), "{seed} {strike}: {stall:?}");
        }
    }
}

#[test]
fn ends_that_both_lose_their_parents_find_each_other_within_a_second() {
    for seed in 1..7 {
        let mut mesh = world(seed);
        let mut typists = Typists::new(&mut mesh);
        typists.go_on(&mut mesh, Duration::from_secs(2));
        let before = [0, 1].map(|node| mesh.nodes[node].core.own_location());
        for node in [0, 1] {
            let parent = mesh.nodes[node].core.overlay.tree().parent();
            let parent = (2..6).find(|other| Some(mesh.name(*other)) == parent);
            let joins = |wire: &relays::Wire| wire.joins(node, parent.unwrap());
            let wire = mesh.wires.iter().position(joins).unwrap();
            mesh.cut(wire);
        }
        let stall = typists.go_on(&mut mesh, Duration::from_secs(6));
        let after = [0, 1].map(|node| mesh.nodes[node].core.own_location());
        assert!(before[0] != after[0] && before[1] != after[1], "{seed}");
        assert!(stall < Duration::from_secs(1), "{seed}: {stall:?}");
    }
}

#[test]
fn a_record_that_shows_the_peer_elsewhere_makes_a_live_session_ask_there() {
    let mut mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    let (near, _) = mesh.open(0, 3);
    let peer = mesh.name(3);
    let mut events = mesh.nodes[0].events.iter();
    let found = events.find_map(|event| match event {
        Event::Found(found) if found.certificate.name() == peer => Some(found.clone()),
        _ => None,
    });
    let found = found.unwrap();
    let told = mesh.nodes[0].core.sessions[&near.session]
        .session
        .destination();
    let told = told.cloned().unwrap();
    let Location::Tree { tree, term, path } = told.clone() else {
        panic!("{told:?}")
    };
    let path = [&path[..], &[(3, 3)]].concat();
    let elsewhere = Location::Tree { tree, term, path };
    let mut resumes = |places: &[&Location]| {
        let (mut found, now) = (found.clone(), mesh.now);
        found.locations = places.iter().copied().cloned().collect();
        let core = &mut mesh.nodes[0].core;
        core.lookups.insert(0, peer);
        core.found(0, found, now);
        core.flush(now);
        mesh.run(RTT * 6);
        let core = &mut mesh.nodes[0].core;
        core.session(near.session).unwrap().stats().resumes
    };
    // The first place of a record is the present one, the others still work for a while.
    assert_eq!(resumes(&[&told, &elsewhere]), 0);
    assert_eq!(resumes(&[&elsewhere, &told]), 1);
}

#[test]
fn a_peer_that_does_not_answer_is_looked_up_before_its_session_is_suspended() {
    let mut mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    let (near, _) = mesh.open(3, 0);
    mesh.wires[1].silent = true;
    mesh.write(3, near, b"x");
    let lookups = |mesh: &Mesh| mesh.nodes[3].core.overlay.directory().stats().lookups;
    mesh.run(Duration::from_millis(300));
    assert_eq!(lookups(&mesh), 0, "it was only asked for a sign of life");
    mesh.run(Duration::from_millis(300));
    assert_eq!((lookups(&mesh), mesh.suspensions(3)), (1, 0));
}
