//! A neighbour that is known is dialled with the Re-Hello in the first message (design 7).

use super::*;
use crate::link::handshake::{Dialer, Judge, LinkKeys, Listener};
use crate::name::certificate::PeerKeys;

/// Whether the dialler knows the static key, and uses what it may send early.
#[derive(Clone, Copy, PartialEq)]
enum Knows {
    Nothing,
    Key,
    KeyAndEarly,
}

fn joined(keys: LinkKeys, dialled: bool) -> Joined {
    Joined {
        peer: keys.peer(),
        static_public: keys.certificate.static_public(),
        serial: keys.certificate.certificate().terms.serial,
        boot: keys.boot_id,
        send_key: keys.send_key,
        receive_key: keys.receive_key,
        dialled,
        endpoint: "test".to_owned(),
        shortcut: false,
        taken: true,
    }
}

impl World {
    fn pull(&mut self, side: usize) -> Vec<u8> {
        let (now, node) = (self.now, &mut self.nodes[side]);
        let mut out = Vec::new();
        if let Some(link) = node.link {
            node.core.pull(link, &mut out, 1 << 16, 4_000, now).unwrap();
        }
        out
    }

    fn receive(&mut self, side: usize, mut bytes: Vec<u8>) {
        self.now += RTT / 2;
        let (now, node) = (self.now, &mut self.nodes[side]);
        let link = node.link.unwrap();
        let used = node
            .core
            .receive(link, &mut bytes, &mut node.application, now)
            .unwrap();
        assert_eq!(used, bytes.len());
        node.act(now);
    }
}

/// One-way trips from the dialler's first message until the bytes that were under way when the link
/// broke are at the other end.
fn trips(knows: Knows) -> u32 {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    world.write(0, near, b"under way");
    world.disconnect();
    let parties = [party(1, 1), party(2, 1)];
    let serial = |_: &Name| None;
    let judge = |side: usize| Judge {
        me: &parties[side],
        now: Calendar(1_000_000),
        last_serial: &serial,
    };
    let random = &mut Random::from_number(5);
    let peer = parties[1].name();
    let keys = PeerKeys {
        name: peer,
        static_public: parties[1].static_key().public(),
    };
    let early = match knows {
        Knows::KeyAndEarly => world.nodes[0].core.early(peer, world.now),
        Knows::Nothing | Knows::Key => Vec::new(),
    };
    assert_eq!(early.is_empty(), knows != Knows::KeyAndEarly);
    let (mut dialer, first) = if knows == Knows::Nothing {
        Dialer::xx(&parties[0], None, Some(peer), random).unwrap()
    } else {
        Dialer::ik(&parties[0], None, &keys, &early, random).unwrap()
    };
    let mut listener = Listener::new(&parties[1], None, random);
    // First trip: the first message. Second: the answer, with what the accepting end sends at once.
    let step = listener.read(&judge(1), &first[2..]).unwrap();
    if let Some(mut keys) = step.done {
        let (now, core) = (world.now, &mut world.nodes[1].core);
        let early = std::mem::take(&mut keys.early);
        world.nodes[1].link = core.link_asked(joined(keys, false), &early, now);
    }
    let back = world.pull(1);
    let answer = dialer.read(&judge(0), &step.reply.unwrap()[2..]).unwrap();
    let (now, core) = (world.now, &mut world.nodes[0].core);
    world.nodes[0].link = core.link_up(joined(answer.done.unwrap(), true), now);
    world.receive(0, back);
    // Third: the last message of XX, and the dialler's frames.
    let there = world.pull(0);
    if let Some(third) = answer.reply {
        let step = listener.read(&judge(1), &third[2..]).unwrap();
        let (now, core) = (world.now, &mut world.nodes[1].core);
        world.nodes[1].link = core.link_up(joined(step.done.unwrap(), false), now);
    }
    world.receive(1, there);
    let mut count = 3;
    while world.got(1, far) != b"under way" {
        count += 1;
        let to = usize::from(count % 2 == 1);
        let bytes = world.pull(1 - to);
        world.receive(to, bytes);
        assert!(count < 20, "never resumed");
    }
    count
}

#[test]
fn a_re_hello_in_the_first_message_saves_a_round_trip() {
    let counts = [Knows::Nothing, Knows::Key, Knows::KeyAndEarly].map(trips);
    assert_eq!(counts, [5, 5, 3], "one-way trips");
}

#[test]
fn a_replayed_first_message_takes_nothing_over() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    let before = world.nodes[1].link;
    world.write(0, near, b"one ");
    // Somebody else has recorded how node 1 dialled, and sends it again: he cannot seal a frame.
    let now = world.now;
    let early = world.nodes[0].core.early(party(2, 1).name(), now);
    assert!(early.is_empty(), "no session waits");
    let replayed = Joined {
        peer: party(1, 1).name(),
        static_public: party(1, 1).static_key().public(),
        serial: party(1, 1).certificate().terms.serial,
        boot: [1; 16],
        send_key: Secret::from_bytes([0xaa; 32].into()),
        receive_key: Secret::from_bytes([0xbb; 32].into()),
        dialled: false,
        endpoint: "elsewhere".to_owned(),
        shortcut: false,
        taken: true,
    };
    let core = &mut world.nodes[1].core;
    let fake = core.link_asked(replayed, &[4; 470], now).unwrap();
    assert_eq!(core.link_of(far.session), before);
    assert_eq!(core.link_views(now).len(), 1, "it does not show as a link");
    world.run(RTT * 4);
    world.write(0, near, b"two");
    world.run(RTT * 2);
    assert_eq!(world.got(1, far), b"one two");
    // Nobody answers there: it is given up, and nothing else is.
    world.run(Duration::from_secs(5));
    assert!(world.saw(
        1,
        |event| matches!(event, Event::LinkDead(link) if *link == fake)
    ));
    assert!(!world.saw(1, |event| matches!(event, Event::Suspended(..))));
    world.write(1, far, b"back");
    world.run(RTT * 2);
    assert_eq!(world.got(0, near), b"back");
}

#[test]
fn unproved_links_are_few() {
    let mut world = World::new();
    let mut links = 0;
    for key in 0..=u8::MAX {
        let joined = Joined {
            peer: party(1, 1).name(),
            static_public: party(1, 1).static_key().public(),
            serial: party(1, 1).certificate().terms.serial,
            boot: [1; 16],
            send_key: Secret::from_bytes([key; 32].into()),
            receive_key: Secret::from_bytes([!key; 32].into()),
            dialled: false,
            endpoint: "elsewhere".to_owned(),
            shortcut: false,
            taken: true,
        };
        let core = &mut world.nodes[1].core;
        links += usize::from(core.link_asked(joined, &[], Time::ZERO).is_some());
    }
    assert_eq!(links, crate::limits::LINKS_UNPROVED_MAX);
}
