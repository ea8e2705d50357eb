//! Machines that sleep, and clocks that are set.

use super::relays::Mesh;
use super::*;
use crate::core::links::Message;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Mesh {
    fn calendar(&self) -> Calendar {
        Calendar(1_000_000 + self.now.since(Time::ZERO).as_secs())
    }

    /// A machine sleeps for so long, in which its links break and others go on, and wakes up without a link.
    fn sleep(&mut self, node: usize, span: Duration) {
        self.kill(node);
        self.now += span;
        self.nodes[node].slept += span;
        let (calendar, now) = (self.calendar(), self.nodes[node].time(self.now));
        let core = &mut self.nodes[node].core;
        core.set_calendar(calendar, now);
        core.woke_up(span, now);
        self.run(Duration::from_secs(10));
    }

    /// Number of the record that one node finds of another one.
    fn look_up(&mut self, from: usize, to: usize) -> Option<u64> {
        let name = self.name(to);
        let node = &mut self.nodes[from];
        node.events.clear();
        let now = node.time(self.now);
        node.core.look_up(name, now);
        self.run(Duration::from_secs(5));
        let events = &self.nodes[from].events;
        events.iter().find_map(|event| match event {
            Event::Found(found) if found.certificate.name() == name => Some(found.seq),
            _ => None,
        })
    }
}

#[test]
fn who_slept_finds_others_and_is_found_and_its_sessions_go_on() {
    for span in [3 * HOUR, 2 * DAY] {
        let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
        let (near, far) = mesh.open(0, 2);
        mesh.write(0, near, b"before");
        mesh.run(RTT * 10);
        let old = mesh.look_up(2, 0).expect("found");
        mesh.sleep(0, span);
        assert_eq!(mesh.look_up(2, 0), None, "its record is over");
        mesh.link(0, 1, false);
        mesh.run(Duration::from_secs(10));
        assert!(mesh.look_up(2, 0).is_some_and(|seq| seq > old), "{span:?}");
        assert!(mesh.look_up(0, 2).is_some(), "{span:?}");
        mesh.write(0, near, b" and after");
        mesh.run(RTT * 10);
        assert_eq!(mesh.got(2, far), b"before and after");
        assert_eq!(mesh.handshakes(0), [1], "{span:?}");
    }
}

#[test]
fn who_slept_takes_the_new_certificate_of_a_peer_that_restarted() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    mesh.open(0, 2);
    mesh.sleep(0, 2 * DAY);
    mesh.kill(2);
    let mut anew = node(3, 9);
    let Calendar(now) = mesh.calendar();
    anew.core.me.renew(Terms {
        not_before: Calendar(now),
        not_after: Calendar(now + 400 * 24 * 3600),
        serial: 2,
    });
    anew.core.publish(Vec::new(), mesh.now);
    mesh.nodes[2] = anew;
    mesh.link(1, 2, false);
    mesh.link(0, 1, false);
    mesh.run(Duration::from_secs(10));
    mesh.nodes[0].events.clear();
    let (near, far) = mesh.open(0, 2);
    mesh.write(0, near, b"anew");
    mesh.run(RTT * 10);
    assert_eq!(mesh.got(2, far), b"anew");
}

#[test]
fn on_waking_up_links_neighbours_and_peers_are_asked_at_once() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    mesh.open(0, 2);
    mesh.run(Duration::from_secs(10));
    let now = mesh.now;
    let core = &mut mesh.nodes[0].core;
    core.woke_up(Duration::from_secs(6), now);
    let said = core.links.values().flat_map(|link| link.outbox.iter());
    let said: Vec<_> = said.collect();
    assert!(
        said.iter()
            .any(|message| matches!(message, Message::Ping(_)))
    );
    let query = tree_query();
    assert!(
        said.iter()
            .any(|message| matches!(message, Message::Overlay(bytes) if *bytes == query))
    );
    assert!(
        core.sessions
            .values()
            .all(|entry| entry.session.wants_to_send(now))
    );
}

fn tree_query() -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::wire::tree::Message::Query.encode(&mut bytes);
    bytes
}

#[test]
fn on_waking_up_no_look_up_waits() {
    let mut mesh = Mesh::new(3, &[(0, 1), (1, 2)]);
    mesh.open(0, 2);
    mesh.kill(2);
    mesh.run(Duration::from_secs(90));
    let waits = |mesh: &Mesh| {
        let due = mesh.nodes[0].core.seeks_due_at();
        due != Time::NEVER && due.since(mesh.now) > Duration::from_secs(1)
    };
    for _ in 0..10_000 {
        if waits(&mesh) {
            break;
        }
        mesh.run(RTT / 2);
    }
    assert!(waits(&mesh));
    let now = mesh.now;
    let core = &mut mesh.nodes[0].core;
    core.woke_up(Duration::from_secs(6), now);
    assert!(core.poll_timeout() <= now);
    core.handle_timeout(now);
    assert!(!waits(&mesh), "it has asked");
}
