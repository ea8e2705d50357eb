mod hostile;
mod vector;
mod world;

use std::time::Duration;

use super::*;
use crate::cloak::directory::genuine::sub_keys;
use crate::cloak::directory::store::Kept;
use crate::cloak::directory::tests::world::{EPOCH, World};

const SECOND: Duration = Duration::from_secs(1);

const fn not_found(query: u64, why: Absence) -> Event {
    Event::NotFound { query, why }
}

/// A world in which every node has published.
fn published(nodes: usize, seed: u64) -> World {
    let mut world = World::new(nodes, seed);
    for node in 0..nodes {
        world.publish(node);
    }
    world.run(SECOND * 5);
    world
}

#[test]
fn every_node_finds_every_name() {
    let mut world = published(24, 1);
    let queries: Vec<_> = (0..24)
        .flat_map(|reader| (0..24).map(move |node| (reader, node)))
        .map(|(reader, node)| (reader, node, world.lookup(reader, node)))
        .collect();
    world.run(SECOND * 2);
    for (reader, node, query) in queries {
        let found = world.found(reader, query).unwrap();
        assert_eq!(found.certificate.name(), world.name(node));
        assert_eq!(found.locations, world.said(node).locations);
    }
}

#[test]
fn a_record_lies_at_its_owners_and_their_fathers_and_nowhere_else() {
    let mut world = published(24, 2);
    world.run(SECOND * 200);
    for node in 0..24 {
        for (index, key) in sub_keys(world.name(node).as_bytes()) {
            let owner = world.owner(key);
            let father = world.tree.guardian(owner);
            let mut holders: Vec<_> = world.holders(node, index).into_iter().collect();
            let mut expected: Vec<_> = [owner].into_iter().chain(father).collect();
            holders.sort_unstable();
            expected.sort_unstable();
            assert_eq!(holders, expected, "{node} {index}");
        }
    }
}

#[test]
fn a_lone_node_is_its_own_directory() {
    let mut world = published(1, 3);
    let query = world.lookup(0, 0);
    world.run(SECOND);
    assert!(world.found(0, query).is_some());
    let stranger = World::new(2, 9).name(1);
    let query = world.lookup_name(0, stranger);
    world.run(SECOND * 4);
    assert_eq!(
        world.outcome(0, query),
        Some(&not_found(query, Absence::Unanswered))
    );
}

#[test]
fn only_places_that_answer_can_tell_that_a_name_is_unknown() {
    let mut world = published(24, 4);
    let stranger = World::new(30, 4).name(29);
    let query = world.lookup_name(5, stranger);
    world.run(SECOND * 4);
    let unknown = not_found(query, Absence::Unknown);
    assert_eq!(world.outcome(5, query), Some(&unknown));
    // All others fall silent, and nobody has noticed yet.
    for node in world.alive() {
        if node != 5 {
            world.die(node);
        }
    }
    let query = world.lookup_name(5, stranger);
    world.run(SECOND * 4);
    let unanswered = not_found(query, Absence::Unanswered);
    assert_eq!(world.outcome(5, query), Some(&unanswered));
}

#[test]
fn two_of_three_places_may_die_with_their_fathers() {
    let mut played = 0;
    for seed in 10..20 {
        let mut world = published(30, seed);
        let keys: Vec<_> = sub_keys(world.name(29).as_bytes()).collect();
        let mut dead = Vec::new();
        for (_, key) in &keys[..2] {
            let owner = world.owner(*key);
            dead.push(owner);
            dead.extend(world.tree.guardian(owner));
        }
        for node in &dead {
            world.die(*node);
        }
        // The tree finds out, and nobody has published anew.
        world.mend();
        if world.holders(29, 2).is_empty() {
            // The third place was one of them.
            continue;
        }
        played += 1;
        world.run(SECOND * 2);
        for reader in world.alive() {
            // Who asks while a way is being mended finds nothing, and asks again.
            let found = (0..2).any(|_| {
                let query = world.lookup(reader, 29);
                world.run(SECOND * 4);
                world.found(reader, query).is_some()
            });
            assert!(found, "seed {seed}, from {reader}");
        }
    }
    assert!(played >= 3, "{played}");
}

#[test]
fn a_silent_owner_is_passed_by() {
    let mut world = published(30, 20);
    world.run(SECOND * 40);
    let keys: Vec<_> = sub_keys(world.name(29).as_bytes()).collect();
    for (_, key) in keys {
        let owner = world.owner(key);
        if owner != 0 && owner != 29 {
            world.die(owner);
        }
    }
    let mut found = 0;
    let readers = world.alive();
    for reader in &readers {
        let query = world.lookup(*reader, 29);
        world.run(SECOND * 4);
        found += usize::from(world.found(*reader, query).is_some());
    }
    // Nothing has been mended: who is cut off finds nothing.
    let reachable = readers
        .iter()
        .filter(|reader| world.tree.reaches_root(**reader))
        .count();
    assert!(found >= reachable * 8 / 10, "{found} of {reachable}");
}

#[test]
fn lost_messages_only_cost_time() {
    let mut world = World::new(20, 30);
    world.loss = 10;
    for node in 0..20 {
        world.publish(node);
    }
    world.run(SECOND * 30);
    let mut found = 0;
    for reader in 0..20 {
        let query = world.lookup(reader, (reader + 7) % 20);
        world.run(SECOND * 4);
        found += usize::from(world.found(reader, query).is_some());
    }
    assert!(found >= 19, "{found} of 20");
}

#[test]
fn a_move_is_known_within_seconds_and_readers_get_the_newest() {
    let mut world = published(24, 40);
    let old = world.seq(5);
    world.run(SECOND * 10);
    world.publish(5);
    world.run(SECOND);
    assert!(world.seq(5) > old);
    for reader in 0..24 {
        let query = world.lookup(reader, 5);
        world.run(SECOND);
        assert_eq!(world.found(reader, query).unwrap().seq, world.seq(5));
    }
    // Often, but not too often: thrice at once, then every five seconds.
    world.run(SECOND * 20);
    let before = world.seq(5);
    for _ in 0..60 {
        world.publish(5);
        world.run(SECOND / 5);
    }
    let numbers = world.numbers.get(&5).unwrap();
    let made = numbers.iter().filter(|seq| **seq > before).count();
    assert_eq!(made, 5);
    world.run(SECOND * 5);
    let query = world.lookup(3, 5);
    world.run(SECOND);
    assert_eq!(
        world.found(3, query).unwrap().locations,
        world.said(5).locations
    );
}

#[test]
fn records_are_refreshed_and_end_when_nobody_does() {
    let mut world = published(12, 50);
    world.run(SECOND * 60 * 60 * 3);
    let query = world.lookup(1, 7);
    world.run(SECOND * 4);
    assert!(world.found(1, query).is_some());
    world.die(7);
    world.mend();
    world.run(SECOND * 60);
    let query = world.lookup(1, 7);
    world.run(SECOND * 4);
    assert!(world.found(1, query).is_some());
    world.run(SECOND * 60 * 60 * 2);
    let query = world.lookup(1, 7);
    world.run(SECOND * 4);
    assert_eq!(
        world.outcome(1, query),
        Some(&not_found(query, Absence::Unknown))
    );
    assert!(world.holders(7, 0).is_empty() && world.holders(7, 1).is_empty());
}

#[test]
fn a_lost_copy_is_back_within_a_minute() {
    let mut world = published(24, 60);
    world.run(SECOND * 40);
    for node in 0..24 {
        world.forget_everything(node);
        world.run(SECOND * 60);
        for name in 0..24 {
            for (index, key) in sub_keys(world.name(name).as_bytes()) {
                let owner = world.owner(key);
                // A refresh may be under way: any number will do.
                for keeper in [Some(owner), world.tree.guardian(owner)]
                    .into_iter()
                    .flatten()
                {
                    let stored = world.stored(keeper, name, index);
                    assert!(stored.is_some(), "{name} {index} at {keeper}");
                }
            }
        }
    }
}

#[test]
fn arcs_move_and_records_with_them() {
    let mut world = published(24, 70);
    world.run(SECOND * 40);
    for step in 0..6 {
        world.reweigh(step * 3 + 1, 40);
        world.run(SECOND * 60);
        for name in 0..24 {
            for (index, key) in sub_keys(world.name(name).as_bytes()) {
                let owner = world.owner(key);
                let holders = world.holders(name, index);
                assert!(
                    holders.contains(&owner),
                    "{step}: {name} {index} at {owner}"
                );
            }
        }
        // While they move, they are found.
        let query = world.lookup(2, 9);
        world.run(SECOND * 4);
        assert!(world.found(2, query).is_some());
    }
}

#[test]
fn the_death_of_the_root_costs_no_record() {
    let mut world = published(24, 80);
    world.run(SECOND * 40);
    world.die(0);
    world.mend();
    world.run(SECOND * 60);
    for name in 1..24 {
        for (index, key) in sub_keys(world.name(name).as_bytes()) {
            let owner = world.owner(key);
            assert!(
                world.holders(name, index).contains(&owner),
                "{name} {index}"
            );
        }
    }
}

#[test]
fn a_tombstone_takes_the_records_place() {
    let mut world = published(24, 90);
    world.withdraw(6);
    world.run(SECOND * 2);
    world.die(6);
    world.mend();
    world.run(SECOND * 2);
    for reader in world.alive() {
        let query = world.lookup(reader, 6);
        world.run(SECOND * 4);
        assert_eq!(
            world.outcome(reader, query),
            Some(&not_found(query, Absence::Left))
        );
    }
}

#[test]
fn a_node_that_forgot_its_number_takes_over_that_of_the_directory() {
    let mut world = published(24, 100);
    let node = 8;
    // Its clock was ahead before, and is right now.
    let ahead = EPOCH.0 + 500;
    world.restart(node, Calendar(ahead));
    world.publish(node);
    world.run(SECOND * 10);
    let high = world.seq(node);
    world.restart(node, EPOCH);
    world.publish(node);
    world.run(SECOND * 20);
    assert!(world.seq(node) > high);
    let query = world.lookup(2, node);
    world.run(SECOND * 4);
    assert_eq!(world.found(2, query).unwrap().seq, world.seq(node));
}

#[test]
fn a_number_from_an_earlier_run_is_kept_above() {
    let mut world = World::new(4, 110);
    let high = genuine::micros(Calendar(EPOCH.0 + 300));
    world.restart_with(1, EPOCH, high);
    world.publish(1);
    world.run(SECOND * 2);
    assert_eq!(world.seq(1), high + 1);
}

#[test]
fn a_node_whose_clock_is_set_right_is_found_at_once() {
    let mut world = published(24, 105);
    let node = 8;
    world.restart(node, Calendar(EPOCH.0 - 3 * 24 * 3600));
    world.publish(node);
    world.run(SECOND * 20);
    let query = world.lookup(2, node);
    let query_by_it = world.lookup(node, 2);
    world.run(SECOND * 4);
    assert!(
        world
            .found(2, query)
            .is_none_or(|found| found.seq != world.seq(node))
    );
    assert!(
        world.found(node, query_by_it).is_none(),
        "others are ahead of it"
    );
    world.set_clock(node, world.calendar());
    world.run(SECOND * 2);
    let query = world.lookup(2, node);
    let query_by_it = world.lookup(node, 2);
    world.run(SECOND * 4);
    assert_eq!(world.found(2, query).unwrap().seq, world.seq(node));
    assert!(world.found(node, query_by_it).is_some());
}

#[test]
fn numbers_rise_though_the_clock_is_set_back() {
    let mut world = published(24, 106);
    let node = 8;
    world.restart(node, Calendar(world.calendar().0 + 500));
    world.publish(node);
    world.run(SECOND * 20);
    let high = world.seq(node);
    world.set_clock(node, Calendar(world.calendar().0 - 300));
    world.run(SECOND * 20);
    assert_eq!(world.seq(node), high + 1);
    let query = world.lookup(2, node);
    world.run(SECOND * 4);
    assert_eq!(world.found(2, query).unwrap().seq, high + 1);
    world.set_clock(node, world.calendar());
    world.run(SECOND * 20);
    assert_eq!(
        world.seq(node),
        high + 1,
        "a step of minutes makes no record"
    );
}

#[test]
fn a_record_follows_a_new_certificate() {
    let mut world = published(24, 107);
    let node = 8;
    let party = world.party(node);
    let mut terms = party.certificate().terms;
    terms.serial += 1;
    party.renew(terms);
    world.set_clock(node, world.calendar());
    world.run(SECOND * 10);
    let query = world.lookup(2, node);
    world.run(SECOND * 4);
    let found = world.found(2, query).unwrap();
    assert_eq!(found.certificate.certificate().terms.serial, terms.serial);
}

#[test]
fn readers_repair_what_is_outdated() {
    let mut world = published(24, 120);
    world.run(SECOND * 40);
    let old = world.record(5);
    world.publish(5);
    world.run(SECOND * 2);
    let new = world.record(5);
    assert!(new.seq() > old.seq());
    // One place and its father go back in time.
    let (index, key) = sub_keys(world.name(5).as_bytes()).next().unwrap();
    let owner = world.owner(key);
    for node in [Some(owner), world.tree.guardian(owner)]
        .into_iter()
        .flatten()
    {
        world.forget_everything(node);
        assert_eq!(world.plant(node, &old, index), Kept::New);
    }
    let query = world.lookup(11, 5);
    world.run(SECOND * 5);
    assert_eq!(world.found(11, query).unwrap().seq, new.seq());
    let stored = world.stored(owner, 5, index).unwrap();
    assert_eq!(stored, new.seq());
}

#[test]
fn the_same_seed_plays_the_same_run() {
    let play = |seed| {
        let mut world = published(12, seed);
        world.run(SECOND * 100);
        world.delivered
    };
    assert_eq!(play(5), play(5));
    assert_ne!(play(5), play(6));
}
