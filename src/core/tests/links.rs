//! What a link brings with it, and what it may change before its neighbour has shown that it is there.

use super::*;
use crate::limits::LINKS_PER_NAME;
use crate::link::frames::FrameSealer;
use crate::wire::link::Head;

/// A link to node `peer` that nobody answers on.
fn joined(peer: &LocalParty, key: u8) -> Joined {
    Joined {
        peer: peer.name(),
        static_public: peer.static_key().public(),
        serial: peer.certificate().terms.serial,
        boot: peer.boot_id(),
        send_key: Secret::from_bytes([key; 32].into()),
        receive_key: Secret::from_bytes([!key; 32].into()),
        dialled: false,
        endpoint: "test".to_owned(),
        shortcut: false,
        taken: true,
    }
}

#[test]
fn keys_of_a_link_are_not_shown() {
    let shown = format!("{:?}", joined(&party(1, 1), 0xab));
    assert!(
        !shown.contains("171") && shown.contains("Secret(..)"),
        "{shown}"
    );
}

#[test]
fn a_link_that_may_be_a_replay_changes_no_key() {
    let mut core = node(2, 1).core;
    let peer = party(1, 1);
    let mut replay = joined(&peer, 1);
    replay.static_public = [7; 32];
    core.link_up(joined(&peer, 2), Time::ZERO).unwrap();
    core.link_asked(replay, &[], Time::ZERO).unwrap();
    let known = core.peers.get(&peer.name()).unwrap();
    assert_eq!(known.static_public, Some(peer.static_key().public()));
    // Nor is anything remembered of a name that has not shown itself.
    let stranger = party(3, 1);
    core.link_asked(joined(&stranger, 3), &[], Time::ZERO)
        .unwrap();
    assert!(!core.peers.contains_key(&stranger.name()));
}

#[test]
fn links_and_sessions_have_one_floor_of_serials() {
    let mut core = node(2, 1).core;
    let peer = party(1, 1);
    let newer = |serial| Joined {
        serial,
        ..joined(&peer, 1)
    };
    core.link_up(newer(5), Time::ZERO).unwrap();
    assert_eq!(core.peers.get(&peer.name()).unwrap().serial, Some(5));
    assert_eq!(core.link_up(newer(4), Time::ZERO), None);
    core.peers.get_mut(&peer.name()).unwrap().serial = Some(6);
    assert_eq!(core.link_up(newer(5), Time::ZERO), None);
    assert!(core.link_up(newer(6), Time::ZERO).is_some());
}

#[test]
fn a_link_that_was_overtaken_lowers_no_floor() {
    let mut core = node(2, 1).core;
    let peer = party(1, 1);
    let slow = core.link_asked(joined(&peer, 1), &[], Time::ZERO).unwrap();
    let newer = Joined {
        serial: 5,
        static_public: [5; 32],
        ..joined(&peer, 2)
    };
    core.link_up(newer, Time::ZERO).unwrap();
    core.link_proved(slow, Time::ZERO);
    let known = core.peers.get(&peer.name()).unwrap();
    assert_eq!(
        (known.serial, known.static_public),
        (Some(5), Some([5; 32]))
    );
}

#[test]
fn a_neighbour_has_few_links_and_the_newest_wins() {
    let mut core = node(2, 1).core;
    let (peer, other) = (party(1, 1), party(3, 1));
    let quiet = core.link_up(joined(&other, 9), Time::ZERO).unwrap();
    let mut links = Vec::new();
    for key in 0..20 {
        links.extend(core.link_up(joined(&peer, key), Time::ZERO));
        while let Some(event) = core.poll_event() {
            if let Event::LinkDead(link) = event {
                core.link_lost(link, Reason::Suspicion, Time::ZERO);
            }
        }
    }
    let left = core.neighbours.all(peer.name().tag());
    assert_eq!(left, links.split_off(links.len() - LINKS_PER_NAME));
    assert_eq!(core.neighbours.all(other.name().tag()), [quiet]);
    assert_eq!(core.links.len(), 1 + LINKS_PER_NAME);
}

#[test]
fn a_link_that_was_dialled_carries_nothing_before_the_other_end_took_it() {
    let mut core = node(2, 1).core;
    let peer = party(1, 1);
    let dialled = Joined {
        dialled: true,
        taken: false,
        ..joined(&peer, 1)
    };
    let link = core.link_up(dialled, Time::ZERO).unwrap();
    let direct = |core: &Core| core.neighbours.preferred(peer.name().tag());
    assert_eq!(direct(&core), None);
    // It asks the other end for a sign, and any will do.
    let mut out = Vec::new();
    core.pull(link, &mut out, 1_000, 1_000, Time::ZERO).unwrap();
    assert!(!out.is_empty());
    let mut frame = Vec::new();
    let sealed =
        FrameSealer::new(Secret::from_bytes([!1; 32].into())).seal(&Head::Pong(1), &mut frame);
    sealed.unwrap();
    let used = core.receive(link, &mut frame, &mut Application::default(), Time::ZERO);
    assert_eq!(used.unwrap(), frame.len());
    assert_eq!(direct(&core), Some(link));
}
