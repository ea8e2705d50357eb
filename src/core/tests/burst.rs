//! More requests at once than the far side takes.

use super::*;
use crate::limits::OPENING_MAX;

/// Asks for `count` channels at once over a session that is there.
fn burst(world: &mut World, count: usize) -> Vec<Ticket> {
    let peer = world.nodes[1].core.name();
    let now = world.now;
    let core = &mut world.nodes[0].core;
    (0..count)
        .map(|_| core.request(vec![peer], Target::Loopback(80), 1, now))
        .collect()
}

fn opening(world: &mut World, session: u32) -> usize {
    let audits = world.nodes[0].core.audits();
    assert!(audits.into_iter().all(|(_, audit)| audit.broken.is_none()));
    world.nodes[0].core.session(session).unwrap().opening()
}

fn count(world: &World, what: impl Fn(&Event) -> bool) -> usize {
    world.nodes[0].events.iter().filter(|e| what(e)).count()
}

const ASSIGNED: fn(&Event) -> bool = |event| matches!(event, Event::Assigned(..));
const OPENED: fn(&Event) -> bool = |event| matches!(event, Event::Opened(_));
const REFUSED: fn(&Event) -> bool =
    |event| matches!(event, Event::Unassigned(..) | Event::OpenFailed(..));

#[test]
fn a_burst_goes_out_as_answers_come_and_all_of_it_opens() {
    let mut world = World::new();
    world.connect();
    let (near, _) = world.open();
    world.nodes[0].events.clear();
    let tickets = burst(&mut world, 2_000);
    assert_eq!(opening(&mut world, near.session), OPENING_MAX);
    for _ in 0..100 {
        world.run(RTT / 2);
        assert!(opening(&mut world, near.session) <= OPENING_MAX);
    }
    assert_eq!(count(&world, OPENED), 2_000);
    assert_eq!(count(&world, REFUSED), 0);
    let order = world.nodes[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Assigned(ticket, _) => Some(*ticket),
            _ => None,
        });
    assert!(order.eq(tickets), "first come, first served");
}

#[test]
fn whoever_gives_up_leaves_its_turn_and_whoever_waits_too_long_hears_of_a_limit() {
    let mut world = World::new();
    world.connect();
    let (near, _) = world.open();
    world.nodes[0].events.clear();
    let tickets = burst(&mut world, OPENING_MAX + 20);
    world.nodes[0].act(world.now);
    assert_eq!(count(&world, ASSIGNED), OPENING_MAX);
    world.nodes[0].core.withdraw(tickets[OPENING_MAX]);
    let key = world.nodes[0].events.iter().find_map(|event| match event {
        Event::Assigned(_, key) => Some(*key),
        _ => None,
    });
    let now = world.now;
    let core = &mut world.nodes[0].core;
    assert!(core.kill_channel(key.unwrap(), ResetCode::Connection, now));
    world.nodes[0].act(now);
    assert_eq!(opening(&mut world, near.session), OPENING_MAX);
    let last = world.nodes[0].events.iter().rfind(|event| ASSIGNED(event));
    let next = tickets[OPENING_MAX + 1];
    assert!(matches!(last, Some(Event::Assigned(ticket, _)) if *ticket == next));
    // No answer comes.
    world.now += Duration::from_millis(30_001);
    world.nodes[0].core.poll_requests(world.now);
    world.nodes[0].act(world.now);
    let limit = |event: &Event| matches!(event, Event::Unassigned(_, OpenFailure::Limit));
    assert_eq!(count(&world, limit), 18);
}
