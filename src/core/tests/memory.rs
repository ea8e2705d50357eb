//! What happens when memory is used up by sessions that are suspended.

use super::*;

/// A node whose memory is enough for two channels, with both of them in a suspended session and a
/// third peer in the place of theirs; the channels and the peer that was left.
fn full(reset_oldest: bool) -> (World, [ChannelKey; 2], Node) {
    let mut world = World::new();
    world.nodes[0] = node_with(1, 1, 5 * crate::limits::CHANNEL_FLOOR as u64);
    if reset_oldest {
        world.nodes[0].core.reset_oldest = true;
    }
    world.connect();
    let (first, _) = world.open();
    world.nodes[0].events.clear();
    let (second, _) = world.open();
    assert_ne!(first, second);
    world.write(0, first, b"kept for the peer");
    world.disconnect();
    let left = std::mem::replace(&mut world.nodes[1], node(3, 1));
    world.run(Duration::from_secs(10));
    let why = ResetCode::SessionEnded(EndReason::MemoryPressure);
    let told = |event: &Event| matches!(event, Event::Reset(_, code) if *code == why);
    assert_eq!(world.saw(0, told), reset_oldest);
    world.nodes[0].events.clear();
    (world, [first, second], left)
}

#[test]
fn without_memory_everybody_waits_unless_the_oldest_suspended_session_shall_give_way() {
    let (mut world, channels, _) = full(false);
    world.connect();
    let peer = world.nodes[1].core.name();
    let now = world.now;
    world.nodes[0]
        .core
        .request(vec![peer], Target::Loopback(80), 1, now);
    world.run(Duration::from_secs(5));
    let limit = |event: &Event| matches!(event, Event::Unassigned(_, OpenFailure::Limit));
    assert!(world.saw(0, limit));
    assert!(!world.saw(0, |event| matches!(event, Event::Reset(..))));
    for key in channels {
        assert!(world.nodes[0].core.has_channel(key));
    }
}

#[test]
fn the_oldest_suspended_session_gives_way_with_a_reset_at_both_ends() {
    let (mut world, channels, left) = full(true);
    for key in channels {
        assert!(!world.nodes[0].core.has_channel(key));
    }
    world.connect();
    let (near, far) = world.open();
    world.write(0, near, b"there is room again");
    world.run(RTT * 2);
    assert_eq!(world.got(1, far), b"there is room again");
    // The peer that was left hears of it when it comes back.
    world.disconnect();
    world.nodes[1] = left;
    world.nodes[1].events.clear();
    world.connect();
    world.run(Duration::from_secs(10));
    assert!(world.saw(1, |event| matches!(event, Event::Reset(..))));
    assert!(!world.saw(1, |event| matches!(event, Event::Closed(_))));
}

#[test]
fn channels_that_use_up_their_memory_have_half_of_the_directorys_until_they_need_it_no_more() {
    let mut node = node(1, 1);
    let (own, directory) = (node.budget.limit(), 8 << 20);
    node.core = node.core.with_overlay_memory(1 << 20, directory);
    let others = node.budget.for_another();
    let mut limit = |used: u64| {
        others.release(usize::try_from(others.used()).unwrap());
        assert!(others.reserve(usize::try_from(used).unwrap()));
        node.core.flush(Time::ZERO);
        others.limit()
    };
    let more = own + directory as u64 / 2;
    assert_eq!(limit(own / 100 * 89), own);
    assert_eq!(limit(own / 100 * 91), more);
    assert_eq!(limit(more), more, "all of it can be used");
    assert_eq!(limit(own / 100 * 85), more, "it does not go to and fro");
    assert_eq!(limit(own / 100 * 79), own);
}

#[test]
fn who_keeps_nothing_for_others_lends_nothing() {
    let leaf = Cloak {
        relay: false,
        ..Cloak::default()
    };
    let mut node = node_of(1, 1, leaf);
    let own = node.budget.limit();
    node.core = node.core.with_overlay_memory(1 << 20, 8 << 20);
    assert!(node.budget.reserve(usize::try_from(own).unwrap()));
    node.core.flush(Time::ZERO);
    assert_eq!(node.budget.limit(), own);
}
