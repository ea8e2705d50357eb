//! Sessions without a path: what is told of a pause, how long it may last, and OPENs that it left behind.

use super::*;

#[test]
fn a_pause_is_told_once_with_its_cause_and_its_length() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    world.silent = true;
    world.write(0, near, b"into the silence");
    world.run(Duration::from_secs(10));
    world.disconnect();
    world.connect();
    world.run(Duration::from_secs(2));
    world.disconnect();
    world.run(Duration::from_secs(4));
    world.connect();
    world.run(Duration::from_secs(2));
    assert_eq!(world.got(1, far), b"into the silence");
    let pauses: Vec<(Reason, u64)> = world.nodes[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Paused(_, _, cause, lasted) => Some((*cause, lasted.as_secs())),
            _ => None,
        })
        .collect();
    let expected = [(Reason::Suspicion, 10), (Reason::CarrierClosed, 4)];
    assert_eq!(pauses, expected);
}

#[test]
fn a_day_of_suspension_costs_nothing_and_ends_at_once() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    world.write(0, near, b"before ");
    world.run(RTT * 2);
    world.disconnect();
    world.now += Duration::from_secs(24 * 3600);
    for node in &mut world.nodes {
        node.core.handle_timeout(world.now);
    }
    world.connect();
    world.run(RTT * 3);
    world.write(0, near, b"and after");
    world.run(RTT * 2);
    assert_eq!(world.got(1, far), b"before and after");
}

#[test]
fn a_suspension_for_longer_than_allowed_is_what_the_reset_tells() {
    let mut world = World::new();
    let options = &mut world.nodes[0].core.settings.session;
    options.max_suspend = Some(Duration::from_secs(60));
    world.connect();
    let (near, _) = world.open();
    world.disconnect();
    world.run(Duration::from_secs(70));
    let why = ResetCode::SessionEnded(EndReason::GivenUp);
    assert!(world.saw(
        0,
        |event| matches!(event, Event::Reset(key, code) if (*key, *code) == (near, why))
    ));
}

#[test]
fn an_open_that_a_suspension_leaves_without_an_answer_fails_after_the_configured_time() {
    let mut world = World::new();
    world.connect();
    let (kept, _) = world.open();
    world.nodes[0].events.clear();
    // Nothing arrives any more when the next OPEN leaves.
    world.silent = true;
    let peer = world.nodes[1].core.name();
    let now = world.now;
    world.nodes[0]
        .core
        .request(vec![peer], Target::Loopback(80), 1, now);
    let failed = |event: &Event| matches!(event, Event::OpenFailed(_, OpenFailure::NoPath));
    world.run(Duration::from_secs(29));
    assert!(world.saw(0, |event| matches!(event, Event::Suspended(..))));
    assert!(!world.saw(0, failed));
    world.run(Duration::from_secs(2));
    assert!(world.saw(0, failed));
    world.disconnect();
    world.connect();
    world.run(Duration::from_secs(2));
    assert!(world.nodes[0].core.has_channel(kept));
    assert_eq!(world.nodes[0].core.channel_ids(kept.session).len(), 1);
    assert_eq!(
        world.nodes[1].core.channel_ids(1).len(),
        1,
        "the peer was told"
    );
}

#[test]
fn a_goodbye_that_the_loss_of_the_link_forestalls_still_ends_the_session() {
    let mut world = World::new();
    world.connect();
    let (near, _) = world.open();
    world.nodes[0].core.close(world.now);
    // The peer was quicker to leave: the link goes before the goodbye found room on it.
    world.disconnect();
    let mut seen = Vec::new();
    while let Some(event) = world.nodes[0].core.poll_event() {
        seen.push(event);
    }
    assert!(
        seen.iter()
            .any(|event| matches!(event, Event::Reset(key, _) if *key == near)),
        "{seen:?}"
    );
    assert!(!world.nodes[0].core.has_channel(near));
}

/// Two nodes, and a channel whose OPEN leaves node 0; the answer is lost, or the OPEN itself.
fn unanswered(arrives: bool) -> (World, ChannelKey) {
    let mut world = World::new();
    world.connect();
    let peer = world.nodes[1].core.name();
    let now = world.now;
    let core = &mut world.nodes[0].core;
    core.request(vec![peer], Target::Loopback(80), 4242, now);
    world.run(if arrives { RTT * 3 / 2 } else { RTT });
    world.silent = true;
    world.run(RTT);
    let assigned = world.nodes[0].events.iter().find_map(|event| match event {
        Event::Assigned(_, key) => Some(*key),
        _ => None,
    });
    (world, assigned.unwrap())
}

fn incoming(world: &World) -> Vec<ChannelKey> {
    let events = world.nodes[1].events.iter();
    let incoming = events.filter_map(|event| match event {
        Event::Incoming(key, ..) => Some(*key),
        _ => None,
    });
    incoming.collect()
}

#[test]
fn an_open_that_never_reached_the_peer_goes_again_with_its_early_bytes() {
    // The second time the peer still waits for the first packet when it is asked.
    for silence in [12, 4] {
        let (mut world, near) = unanswered(false);
        world.write(0, near, b"question");
        world.finish(0, near);
        world.run(Duration::from_secs(silence));
        assert!(world.saw(0, |event| matches!(event, Event::Suspended(..))));
        world.disconnect();
        world.connect();
        world.run(Duration::from_secs(3));
        let far = incoming(&world);
        assert_eq!(far.len(), 1);
        let session = world.nodes[1].core.session(far[0].session).unwrap();
        assert_eq!(session.waiting(far[0].channel).0, b"question");
        assert!(world.saw(0, |event| matches!(event, Event::Resumed(..))));
        assert!(world.saw(
            0,
            |event| matches!(event, Event::Opened(key) if *key == near)
        ));
        assert!(!world.saw(0, |event| matches!(event, Event::Reset(..))));
        world.write(1, far[0], b"answer");
        world.run(RTT * 4);
        assert_eq!(world.got(0, near), b"answer");
        assert_eq!(world.nodes[1].core.sessions.len(), 1);
    }
}

#[test]
fn an_open_that_the_peer_may_have_taken_is_never_said_again() {
    // The peer ends a session that it had taken, or forgets whether it had.
    for arrives in [true, false] {
        let (mut world, near) = unanswered(arrives);
        assert_eq!(incoming(&world).len(), usize::from(arrives));
        world.run(Duration::from_secs(12));
        if arrives {
            let (session, now) = (incoming(&world)[0].session, world.now);
            assert!(world.nodes[1].core.kill_session(session, now));
        } else {
            world.nodes[1] = node(2, 9);
        }
        world.nodes[1].events.clear();
        world.disconnect();
        world.connect();
        world.run(Duration::from_secs(40));
        assert_eq!(incoming(&world).len(), 0);
        assert!(world.saw(0, |event| {
            matches!(event, Event::Reset(key, _) if *key == near)
        }));
    }
}

#[test]
fn every_session_that_a_peer_has_forgotten_ends_at_once() {
    let mut world = World::new();
    world.connect();
    let (first, _) = world.open();
    let (peer, now) = (world.nodes[1].core.name(), world.now);
    world.nodes[0].core.start_handshake(peer, None, now);
    world.nodes[0].core.flush(now);
    world.run(RTT * 4);
    world.nodes[0].events.clear();
    let (second, _) = world.open();
    assert_ne!(first.session, second.session);
    world.disconnect();
    world.nodes[1] = node(2, 2);
    world.connect();
    world.run(RTT * 6);
    for key in [first, second] {
        assert!(!world.nodes[0].core.has_channel(key), "{key:?}");
    }
}

#[test]
fn a_session_is_asked_for_behind_a_hello_that_did_not_ask() {
    let mut world = World::new();
    world.connect();
    let (near, _) = world.open();
    world.disconnect();
    // The same start of the process, as far as can be seen.
    world.nodes[1] = node(2, 1);
    world.connect();
    let (peer, now) = (world.nodes[1].core.name(), world.now);
    let core = &mut world.nodes[0].core;
    core.start_handshake(peer, None, now);
    core.check_state(near.session, now);
    core.flush(now);
    world.run(RTT * 6);
    assert!(!world.nodes[0].core.has_channel(near));
}
