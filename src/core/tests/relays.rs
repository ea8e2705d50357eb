//! Sessions between nodes that are not neighbours: through relays, and around dead ones.

use super::*;
use crate::cloak::overlay::is_of_tree;
use crate::cloak::relay::{Bounds, Relay};
use crate::core::links::Message;
use crate::limits::SUSPEND_AFTER;
use crate::wire::location::Location;

/// Nodes with links between any of them, in virtual time; every link takes the same time.
pub(super) struct Mesh {
    pub(super) nodes: Vec<Node>,
    pub(super) wires: Vec<Wire>,
    pub(super) now: Time,
    /// Bytes that a link takes at once.
    takes: usize,
    /// A node that carries nothing for others and is a model neighbour otherwise.
    pub(super) swallows: Option<usize>,
    made: u32,
}

pub(super) struct Wire {
    ends: [usize; 2],
    /// Bytes vanish on it.
    pub(super) silent: bool,
    pub(super) links: [LinkNumber; 2],
    /// Bytes on their way to each end.
    arriving: [Vec<u8>; 2],
}

impl Wire {
    pub(super) fn joins(&self, a: usize, b: usize) -> bool {
        self.ends == [a, b] || self.ends == [b, a]
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let sealed = ledger::end();
        if !std::thread::panicking() {
            sealed.unwrap();
        }
    }
}

impl Mesh {
    pub(super) fn new(count: u8, wires: &[(usize, usize)]) -> Self {
        Self::of((1..=count).map(|seed| node(seed, 1)).collect(), wires)
    }

    pub(super) fn of(mut nodes: Vec<Node>, wires: &[(usize, usize)]) -> Self {
        ledger::begin();
        for node in &mut nodes {
            node.core.publish(Vec::new(), Time::ZERO);
        }
        let mut mesh = Self {
            nodes,
            wires: Vec::new(),
            now: Time::ZERO,
            takes: 1 << 16,
            swallows: None,
            made: 0,
        };
        for (a, b) in wires {
            mesh.link(*a, *b, false);
        }
        mesh.run(Duration::from_secs(3));
        mesh
    }

    pub(super) fn link(&mut self, a: usize, b: usize, shortcut: bool) {
        self.made += 1;
        let keys = [1, 2].map(|side| {
            let mut key = [side; 32];
            key[..4].copy_from_slice(&self.made.to_be_bytes());
            key
        });
        let ends = [a, b];
        let parties = ends.map(|end| Arc::clone(&self.nodes[end].core.me));
        let links = [0, 1].map(|side: usize| {
            let other = &parties[1 - side];
            let joined = Joined {
                peer: other.name(),
                static_public: other.static_key().public(),
                serial: other.certificate().terms.serial,
                boot: other.boot_id(),
                send_key: Secret::from_bytes(keys[side].into()),
                receive_key: Secret::from_bytes(keys[1 - side].into()),
                dialled: side == 0,
                endpoint: "test".to_owned(),
                shortcut: shortcut && side == 0,
                taken: true,
            };
            let node = &mut self.nodes[ends[side]];
            node.core.link_up(joined, node.time(self.now)).unwrap()
        });
        self.wires.push(Wire {
            ends,
            links,
            silent: false,
            arriving: [Vec::new(), Vec::new()],
        });
    }

    /// Every link of a node breaks.
    pub(super) fn kill(&mut self, node: usize) {
        while let Some(wire) = self.wires.iter().position(|w| w.ends.contains(&node)) {
            self.cut(wire);
        }
    }

    /// A link breaks at both ends.
    pub(super) fn cut(&mut self, wire: usize) {
        let wire = self.wires.remove(wire);
        for side in 0..2 {
            let node = &mut self.nodes[wire.ends[side]];
            node.core.link_down(wire.links[side], node.time(self.now));
        }
    }

    /// Links that one end has given up break at the other.
    fn sweep(&mut self) {
        for wire in (0..self.wires.len()).rev() {
            let Wire { ends, links, .. } = &self.wires[wire];
            let mut sides = ends.iter().zip(links);
            if sides.any(|(end, link)| self.nodes[*end].core.link_peer(*link).is_none()) {
                self.cut(wire);
            }
        }
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.swallow();
            for wire in &mut self.wires {
                for side in 0..2 {
                    let mut out = Vec::new();
                    let node = &mut self.nodes[wire.ends[side]];
                    let now = node.time(self.now);
                    node.core
                        .pull(wire.links[side], &mut out, self.takes, 4_000, now)
                        .unwrap();
                    let sent = out.into_iter().filter(|_| !wire.silent);
                    wire.arriving[1 - side].extend(sent);
                }
            }
            self.now += RTT / 2;
            for wire in &mut self.wires {
                for side in 0..2 {
                    let node = &mut self.nodes[wire.ends[side]];
                    let (arriving, now) = (&mut wire.arriving[side], node.time(self.now));
                    let (link, to) = (wire.links[side], &mut node.application);
                    match node.core.receive(link, arriving, to, now) {
                        Ok(used) => drop(arriving.drain(..used)),
                        Err(LinkEnd::Goodbye) => node.core.link_down(link, now),
                        Err(why) => panic!("{why}"),
                    }
                }
            }
            for node in &mut self.nodes {
                let now = node.time(self.now);
                node.core.handle_timeout(now);
                let seen = node.events.len();
                node.act(now);
                let woken = node
                    .events
                    .iter()
                    .skip(seen)
                    .filter_map(|event| match event {
                        Event::Woken(key) => Some(*key),
                        _ => None,
                    });
                for key in woken.collect::<Vec<_>>() {
                    take(node, key, now);
                }
                rest(node, now);
            }
            self.sweep();
        }
    }

    /// What a hostile node should carry, and what it should say of the directory and of broken ways, is lost.
    fn swallow(&mut self) {
        let Some(node) = self.swallows else { return };
        let core = &mut self.nodes[node].core;
        core.relay = Relay::new(Bounds::default());
        for link in core.links.values_mut() {
            let is_kept = |message: &Message| match message {
                Message::Overlay(bytes) => is_of_tree(bytes),
                Message::Signal(..) | Message::Ping(_) | Message::Pong(_) => true,
            };
            link.outbox.retain(is_kept);
        }
    }

    pub(super) fn name(&self, node: usize) -> Name {
        self.nodes[node].core.name()
    }

    pub(super) fn open(&mut self, from: usize, to: usize) -> (ChannelKey, ChannelKey) {
        let (peer, now) = (self.name(to), self.nodes[from].time(self.now));
        let core = &mut self.nodes[from].core;
        core.request(vec![peer], Target::Loopback(80), 4242, now);
        // By chance the directory is asked before it knows, and again up to seconds later.
        for _ in 0..20 {
            self.run(RTT * 40);
            let near = self.nodes[from]
                .events
                .iter()
                .find_map(|event| match event {
                    Event::Assigned(_, key) => Some(*key),
                    _ => None,
                });
            let far = self.nodes[to].events.iter().find_map(|event| match event {
                Event::Incoming(key, ..) => Some(*key),
                _ => None,
            });
            if let (Some(near), Some(far)) = (near, far) {
                return (near, far);
            }
        }
        panic!("nobody opened a channel");
    }

    pub(super) fn write(&mut self, node: usize, key: ChannelKey, bytes: &[u8]) -> usize {
        let now = self.nodes[node].time(self.now);
        self.nodes[node].write(key, bytes, now)
    }

    /// Sends `bytes` while `trouble` happens at the given steps, and checks that they arrive as they were.
    pub(super) fn transfer(
        &mut self,
        (from, near): (usize, ChannelKey),
        (to, far): (usize, ChannelKey),
        mut trouble: impl FnMut(&mut Self, usize),
    ) {
        let bytes = pattern(1_500_000);
        let before = self.got(to, far).len();
        let mut written = 0;
        for step in 0..2_000 {
            written += self.write(from, near, &bytes[written..]);
            trouble(self, step);
            self.run(RTT / 2);
            if self.got(to, far).len() - before == bytes.len() {
                break;
            }
        }
        let got = &self.got(to, far)[before..];
        assert!(got == bytes, "{} of {} bytes", got.len(), bytes.len());
    }

    pub(super) fn got(&self, node: usize, key: ChannelKey) -> &[u8] {
        let application = &self.nodes[node].application.0;
        application.get(&key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn suspensions(&self, node: usize) -> usize {
        let suspended = |event: &&Event| matches!(event, Event::Suspended(..));
        self.nodes[node].events.iter().filter(suspended).count()
    }

    pub(super) fn handshakes(&self, node: usize) -> Vec<u64> {
        let node = &self.nodes[node];
        let views = node.core.session_views(node.time(self.now));
        views.iter().map(|view| view.handshakes).collect()
    }
}

/// Nothing is due for ever.
fn rest(node: &mut Node, now: Time) {
    for _ in 0..4 {
        if node.core.poll_timeout() > now {
            return;
        }
        node.core.handle_timeout(now);
        node.act(now);
    }
    panic!("something is due for ever");
}

/// Takes what arrived out of order and has its gaps filled now.
fn take(node: &mut Node, key: ChannelKey, now: Time) {
    let Some(session) = node.core.session(key.session) else {
        return;
    };
    session.seen(key.channel);
    let (first, second) = session.waiting(key.channel);
    let bytes = [first, second].concat();
    session.take(key.channel, bytes.len(), now);
    node.application.0.entry(key).or_default().extend(bytes);
    node.core.flush(now);
}

#[test]
fn two_nodes_that_are_not_linked_talk_through_relays_that_see_neither_names_nor_plaintext() {
    let mut mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    let (near, far) = mesh.open(0, 3);
    mesh.transfer((0, near), (3, far), |_, _| {});
    mesh.transfer((3, far), (0, near), |_, _| {});
    for relay in [1, 2] {
        assert!(mesh.nodes[relay].core.session_views(mesh.now).is_empty());
        assert!(mesh.nodes[relay].core.relay.stats().frames > 100);
    }
    assert_eq!(mesh.handshakes(0), [1]);
}

#[test]
fn sessions_that_share_a_slow_link_take_turns() {
    let mut mesh = Mesh::new(5, &[(0, 1), (1, 2), (1, 3), (1, 4)]);
    let channels = [2, 3, 4].map(|to| {
        let channel = mesh.open(0, to);
        mesh.nodes[0].events.clear();
        (to, channel)
    });
    // One packet at a time.
    mesh.takes = 1;
    let bytes = pattern(1_000_000);
    for _ in 0..300 {
        for (_, (near, _)) in channels {
            mesh.write(0, near, &bytes);
        }
        mesh.run(RTT / 2);
    }
    let got = channels.map(|(to, (_, far))| mesh.got(to, far).len());
    let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
    assert!(*least > 100_000 && least * 10 > most * 9, "{got:?}");
}

#[test]
fn a_request_takes_its_second_way_when_the_first_does_not_answer() {
    let mut mesh = Mesh::new(3, &[(0, 1), (0, 2)]);
    // Frozen before there was any session: its link stays, and says nothing.
    mesh.wires[0].silent = true;
    let (via, now) = (vec![mesh.name(1), mesh.name(2)], mesh.now);
    let core = &mut mesh.nodes[0].core;
    core.request(via, Target::Loopback(80), 4242, now);
    let assigned = |mesh: &Mesh| {
        let events = mesh.nodes[0].events.iter();
        events
            .filter(|event| matches!(event, Event::Assigned(..)))
            .count()
    };
    mesh.run(SUSPEND_AFTER - RTT);
    assert_eq!(assigned(&mesh), 0);
    mesh.run(Duration::from_secs(2));
    assert_eq!(assigned(&mesh), 1);
}

#[test]
fn who_offers_no_suite_that_is_allowed_is_told_of_once() {
    let mut mesh = Mesh::new(2, &[(0, 1)]);
    mesh.nodes[0].core.settings.suites = vec![Suite::Aes256Gcm];
    let (via, now) = (vec![mesh.name(1)], mesh.now);
    let core = &mut mesh.nodes[0].core;
    core.request(via, Target::Loopback(80), 4242, now);
    mesh.run(Duration::from_secs(20));
    let count = |node: usize, of: fn(&&Event) -> bool| {
        let events = mesh.nodes[node].events.iter();
        events.filter(of).count()
    };
    assert_eq!(
        count(1, |event| matches!(
            event,
            Event::NoHandshake(_, NoHandshake::NoSuite)
        )),
        1
    );
    assert_eq!(
        count(0, |event| matches!(
            event,
            Event::NoHandshake(_, NoHandshake::Unanswered)
        )),
        1
    );
}

#[test]
fn the_death_of_the_relay_in_use_is_bridged_by_the_other_without_a_handshake() {
    // Two disjoint ways from 0 to 3.
    let mut mesh = Mesh::new(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]);
    let (near, far) = mesh.open(0, 3);
    let used = |mesh: &Mesh| {
        let frames = |node: usize| mesh.nodes[node].core.relay.stats().frames;
        if frames(1) > frames(2) { 1 } else { 2 }
    };
    let dead = used(&mesh);
    mesh.transfer((0, near), (3, far), |mesh, step| {
        if step == 20 {
            mesh.kill(dead);
        }
    });
    mesh.transfer((3, far), (0, near), |_, _| {});
    assert_eq!(mesh.handshakes(0), [1], "keys were not negotiated anew");
    assert!(mesh.nodes[3 - dead].core.relay.stats().frames > 100);
}

#[test]
fn a_request_for_a_node_that_is_nowhere_waits_and_fails() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    let (peer, now) = (Identity::from_seed(&[99; 32]).name(), mesh.now);
    let core = &mut mesh.nodes[0].core;
    core.request(vec![peer], Target::Loopback(80), 4242, now);
    mesh.run(Duration::from_secs(31));
    let failed = |event: &Event| matches!(event, Event::Unassigned(_, OpenFailure::NoPath));
    assert!(mesh.nodes[0].events.iter().any(failed));
}

#[test]
fn a_view_tells_the_tree_the_ways_and_what_was_carried() {
    use crate::core::{Role, Way};
    let mut mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    let (near, far) = mesh.open(0, 3);
    mesh.transfer((0, near), (3, far), |_, _| {});
    let views: Vec<_> = (0..4)
        .map(|node| mesh.nodes[node].core.overlay_view(mesh.now))
        .collect();
    let root = views.iter().position(|view| view.parent.is_none()).unwrap();
    for (node, view) in views.iter().enumerate() {
        assert_eq!(view.root, Some(mesh.name(root)));
        assert_eq!(
            view.place.as_ref(),
            Some(&mesh.nodes[node].core.own_location())
        );
        for neighbour in &view.neighbours {
            let other = (0..4).find(|other| mesh.name(*other) == neighbour.name);
            let other = &views[other.unwrap()];
            assert_eq!(neighbour.place, other.place, "{node}");
            let is = |role| neighbour.role == role;
            assert_eq!(is(Role::Parent), view.parent == Some(neighbour.name));
            assert_eq!(is(Role::Child), other.parent == Some(mesh.name(node)));
            assert!(!neighbour.doubtful && neighbour.links == 1);
            assert!(neighbour.last_answer < Duration::from_secs(15));
        }
        let children = views.iter().filter(|v| v.parent == Some(mesh.name(node)));
        assert_eq!(view.children, children.count());
    }
    assert_eq!(views[1].neighbours.len(), 2);
    assert!(views[1].relay.frames > 100 && views[0].relay.frames == 0);
    let session = &mesh.nodes[0].core.session_views(mesh.now)[0];
    assert_eq!(session.way, Some(Way::By(mesh.name(1))));
    assert_eq!(session.hops, Some(3));
    assert_eq!(session.place, views[3].place);

    mesh.link(0, 3, true);
    mesh.transfer((0, near), (3, far), |_, _| {});
    let session = &mesh.nodes[0].core.session_views(mesh.now)[0];
    assert_eq!((session.way, session.hops), (Some(Way::Direct), Some(1)));
    let view = mesh.nodes[0].core.overlay_view(mesh.now);
    let far = view.neighbours.iter().find(|n| n.name == mesh.name(3));
    assert_eq!(far.map(|n| n.role), Some(Role::Shortcut));
}

#[test]
fn a_trace_is_answered_by_each_node_on_the_way_and_by_the_end() {
    let mut mesh = Mesh::new(4, &[(0, 1), (1, 2), (2, 3)]);
    let (peer, place) = (mesh.name(3), mesh.nodes[3].core.own_location());
    let nowhere = mesh.nodes[0].core.trace(peer, &[], 0, mesh.now);
    assert_eq!(nowhere, None, "it is not known where it hangs");
    for left in 0..5 {
        let core = &mut mesh.nodes[0].core;
        let places = [Location::Neighbour, place.clone()];
        let id = core.trace(peer, &places, left, mesh.now).unwrap();
        mesh.run(RTT * 8);
        let traced = mesh.nodes[0].events.iter().find_map(|event| match event {
            Event::Traced(traced) if traced.id == id => Some(traced.clone()),
            _ => None,
        });
        let (traced, node) = (traced.unwrap(), usize::from(left + 1).min(3));
        assert_eq!(traced.name, mesh.name(node));
        assert_eq!(traced.place, mesh.nodes[node].core.own_location());
    }
}

/// What a look-up of `peer` finds at node `from`: the number of its record, if it is there.
fn look_up(mesh: &mut Mesh, from: usize, peer: Name) -> Option<u64> {
    let seen = mesh.nodes[from].events.len();
    mesh.nodes[from].core.look_up(peer, mesh.now);
    mesh.run(Duration::from_secs(4));
    let answer = mesh.nodes[from].events.iter().skip(seen);
    let mut answer = answer.filter_map(|event| match event {
        Event::Found(found) => Some(Some(found.seq)),
        Event::NotFound(..) => Some(None),
        _ => None,
    });
    answer.next().expect("an answer")
}

#[test]
fn who_stops_is_not_found_any_more_until_it_comes_back() {
    let wires = [(0, 1), (1, 2), (2, 3), (1, 4)];
    let mut mesh = Mesh::new(5, &wires);
    let peer = mesh.name(3);
    mesh.run(Duration::from_secs(20));
    let before = look_up(&mut mesh, 0, peer).expect("it is there");
    let now = mesh.now;
    mesh.nodes[3].core.close(now);
    mesh.run(Duration::from_millis(150));
    assert_eq!(mesh.wires.len(), 3, "its link has ended before its time");
    for from in [0, 4] {
        assert_eq!(look_up(&mut mesh, from, peer), None);
    }
    let mut numbers = mesh.nodes[3].events.iter().filter_map(|event| match event {
        Event::Published(number) => Some(*number),
        _ => None,
    });
    let last_seq = numbers.next_back().unwrap();
    assert!(last_seq > before);
    let seen = mesh.nodes[0].events.iter().filter_map(|event| match event {
        Event::Seen(name, number) if *name == peer => Some(*number),
        _ => None,
    });
    assert_eq!(seen.collect::<Vec<_>>(), [before, last_seq]);

    let cloak = Cloak {
        last_seq,
        ..Cloak::default()
    };
    mesh.nodes[3] = node_of(4, 2, cloak);
    let now = mesh.now;
    mesh.nodes[3].core.publish(Vec::new(), now);
    mesh.link(2, 3, false);
    mesh.run(Duration::from_secs(20));
    for from in [0, 4] {
        assert!(look_up(&mut mesh, from, peer) > Some(last_seq));
    }
}

#[test]
fn who_stops_waits_for_a_silent_directory_for_a_moment_only() {
    let mut mesh = Mesh::new(2, &[(0, 1)]);
    mesh.run(Duration::from_secs(5));
    mesh.wires[0].silent = true;
    let now = mesh.now;
    // Of the places of this one's record only one is at itself.
    mesh.nodes[0].core.close(now);
    let link = mesh.wires[0].links[0];
    let leaves = |mesh: &Mesh| mesh.nodes[0].core.links[&link].leaving;
    assert!(!leaves(&mesh));
    let due = mesh.nodes[0].core.poll_timeout();
    assert!(due <= now + crate::limits::FAREWELL);
    mesh.nodes[0]
        .core
        .handle_timeout(now + crate::limits::FAREWELL);
    assert!(leaves(&mesh));
}

#[test]
fn who_has_seen_a_newer_record_before_a_restart_believes_no_older_one() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    let (peer, now) = (mesh.name(2), mesh.now);
    let restarted = |mesh: &mut Mesh, boot, above| {
        mesh.kill(0);
        mesh.nodes[0] = node(1, boot);
        mesh.link(0, 1, false);
        mesh.run(Duration::from_secs(30));
        let number = look_up(mesh, 1, peer).expect("it is there");
        mesh.nodes[0].core.set_floor(peer, number + above, now);
        look_up(mesh, 0, peer) == Some(number)
    };
    assert!(restarted(&mut mesh, 2, 0));
    assert!(!restarted(&mut mesh, 3, 1));
}
