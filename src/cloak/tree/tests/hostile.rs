//! Neighbours that lie. Each test has an overlay of honest nodes, and one hostile node that has a link.

use std::sync::Arc;
use std::time::Duration;

use super::world::{CALENDAR, World, party};
use crate::cloak::tree::Misbehaviour;
use crate::limits::{TREE_CHECKS_EACH, TREE_MESSAGES_PER_SECOND};
use crate::name::certificate::LocalParty;
use crate::wire::location::PATH_MAX;
use crate::wire::tree::{Announce, Charter, Grant, Message, Part, Pulse, Signature};

/// The number of the hostile node.
const EVIL: usize = 50;

/// Six nodes in a ring with chords; the hostile node is linked to 5, and 1 is linked to everybody.
fn world() -> World {
    let mut world = World::new(11, 8);
    world.add(0);
    world.run(Duration::from_secs(1));
    for node in 1..6 {
        world.add(node);
        world.link(node, node - 1);
        if node > 1 {
            world.link(node, 1);
        }
        world.run(Duration::from_millis(500));
    }
    world.settle(Duration::from_secs(8));
    admit(&mut world, EVIL, 5);
    world
}

/// A link of a node without a tree to `at`.
fn admit(world: &mut World, evil: usize, at: usize) {
    let name = party(evil).name();
    world.names.insert(name, evil);
    world.links.insert((at, evil));
    let now = world.now;
    world.nodes.get_mut(&at).unwrap().neighbour_up(name, now);
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// The latest announcement of a node.
fn announcement(world: &World, node: usize) -> Announce {
    world.tree(node).announcement()
}

fn signed(by: &LocalParty, mut grant: Grant) -> Grant {
    let message = grant.signed(&by.overlay().0);
    grant.signature = Signature(by.identity().sign(&message));
    grant
}

fn grant(child: &LocalParty, slot: u32, lease: u32, number: u64) -> Grant {
    Grant {
        child: *child.name().as_bytes(),
        number,
        seat: false,
        slot,
        lease,
        part: Part::default(),
        signature: Signature([0; 64]),
    }
}

fn tell(world: &mut World, to: usize, message: &Message) -> Result<(), Misbehaviour> {
    world.say(EVIL, to, &encoded(message))
}

fn introduce(world: &mut World, to: usize) {
    let charter = Arc::clone(&world.tree(to).own.charter);
    assert_eq!(tell(world, to, &Message::Charter(charter)), Ok(()));
}

#[test]
fn a_place_that_nobody_gave_is_refused() {
    let mut world = world();
    let parent = world.tree(5).parent();
    introduce(&mut world, 5);
    let evil = party(EVIL);
    let honest = announcement(&world, 1);
    // The place of another, word by word.
    let stolen = Message::Announce(honest.clone());
    assert_eq!(tell(&mut world, 5, &stolen), Err(Misbehaviour::Forged));
    // A place below the root, signed by itself.
    let own = signed(
        &evil,
        Grant {
            seat: true,
            ..grant(&evil, 3, 1, 1)
        },
    );
    let mut lie = honest;
    lie.chain = vec![Arc::new(own)];
    let lie = Message::Announce(lie);
    assert_eq!(tell(&mut world, 5, &lie), Err(Misbehaviour::Forged));
    // Closer to the root than it is: levels are left out of the chain.
    let five = party(5);
    let mut short = announcement(&world, 5);
    assert!(!short.chain.is_empty());
    let real = signed(&five, grant(&evil, 3, 1, 1));
    short.chain = vec![Arc::new(real.clone())];
    let short = Message::Announce(short);
    assert_eq!(tell(&mut world, 5, &short), Err(Misbehaviour::Forged));
    // The honest place below 5 is taken.
    let mut below = announcement(&world, 5);
    below.chain.push(Arc::new(real));
    assert_eq!(tell(&mut world, 5, &Message::Announce(below)), Ok(()));
    assert_eq!(world.tree(5).parent(), parent);
    world.cut(5, EVIL);
    world.settle(Duration::from_secs(8));
}

#[test]
fn a_pulse_that_the_root_did_not_give_is_refused() {
    let mut world = world();
    introduce(&mut world, 5);
    let five = party(5);
    let mut below = announcement(&world, 5);
    let real = signed(&five, grant(&party(EVIL), 3, 1, 1));
    below.chain.push(Arc::new(real));
    assert_eq!(
        tell(&mut world, 5, &Message::Announce(below.clone())),
        Ok(())
    );
    let charter = Arc::clone(&world.tree(5).own.charter);
    let seq = below.pulse.seq;
    let pulse = |digest| Message::Pulse {
        tree: below.tree,
        term: below.term,
        pulse: Pulse {
            seq: seq + 100,
            signature: below.pulse.signature,
        },
        digest,
    };
    // With another digest it may be of another root of the same term: it is asked for, not believed.
    assert_eq!(tell(&mut world, 5, &pulse(0)), Ok(()));
    assert_eq!(world.tree(5).own.pulse.seq, seq);
    let right = crate::cloak::tree::proof::digest(&charter, &below.chain);
    assert_eq!(
        tell(&mut world, 5, &pulse(right)),
        Err(Misbehaviour::Forged)
    );
    // An old one changes nothing.
    below.pulse.seq = 1;
    let old = Message::Announce(below);
    assert_eq!(tell(&mut world, 5, &old), Err(Misbehaviour::Forged));
}

#[test]
fn nobody_is_root_who_was_not_named() {
    let mut world = world();
    let evil = party(EVIL);
    let own = &world.tree(5).own.charter;
    let before = (**own.predecessor.as_ref().unwrap_or(own)).clone();
    let mut usurper = Charter {
        term: before.term + 10,
        root: *evil.name().as_bytes(),
        predecessor: Some(Arc::new(before.clone())),
        ..before
    };
    let message = usurper.signed(&evil.overlay().0);
    usurper.signature = Signature(evil.identity().sign(&message));
    let usurper = Message::Charter(Arc::new(usurper));
    assert_eq!(tell(&mut world, 5, &usurper), Err(Misbehaviour::Forged));
}

/// A tree of the hostile node alone that claims to be large and old.
fn empire(number: u64, seq: u64) -> [Vec<u8>; 2] {
    let evil = party(EVIL);
    let mut charter = Charter {
        tree: number,
        term: 1,
        version: 1,
        founded: CALENDAR.0 - number,
        class: 255,
        root: *evil.name().as_bytes(),
        deputies: Vec::new(),
        signature: Signature([0; 64]),
        predecessor: None,
    };
    let message = charter.signed(&evil.overlay().0);
    charter.signature = Signature(evil.identity().sign(&message));
    let message = Pulse::signed(&evil.overlay().0, number, 1, seq);
    let announce = Announce {
        tree: number,
        term: 1,
        root: charter.root,
        pulse: Pulse {
            seq,
            signature: Signature(evil.identity().sign(&message)),
        },
        relay: true,
        weight: 1 << 40,
        chain: Vec::new(),
    };
    [
        encoded(&Message::Charter(Arc::new(charter))),
        encoded(&Message::Announce(announce)),
    ]
}

#[test]
fn endless_trees_end_the_link_and_move_nobody() {
    let mut world = world();
    let before = world.moves.clone();
    let mut number = 0;
    let fault = loop {
        number += 1;
        let [charter, announce] = empire(number, 1);
        let result = world.say(EVIL, 5, &charter);
        let result = result.and_then(|()| world.say(EVIL, 5, &announce));
        if let Err(fault) = result {
            break fault;
        }
        world.run(Duration::from_millis(100));
        assert!(number < 1_000);
    };
    assert_eq!(fault, Misbehaviour::Flood);
    assert_eq!(world.moves, before);
    world.cut(5, EVIL);
    world.settle(Duration::from_secs(2));
}

#[test]
fn one_fine_tree_after_the_other_moves_nobody_often() {
    let mut world = world();
    let before = world.moves.values().sum::<usize>();
    // Five minutes of trees that live for ten seconds each, and give slots.
    for number in 1..30 {
        for seq in 1..10 {
            for bytes in empire(number, seq) {
                world.say(EVIL, 5, &bytes).unwrap();
            }
            let place = match Message::decode(&empire(number, seq)[1]).unwrap() {
                Message::Announce(place) => place,
                other => panic!("{other:?}"),
            };
            let five = Grant {
                seat: true,
                ..grant(&party(5), 1, 1, 1)
            };
            let grant = signed(&party(EVIL), five);
            let bytes = encoded(&Message::Grant { grant, place });
            world.say(EVIL, 5, &bytes).unwrap();
            world.run(Duration::from_millis(1_100));
        }
    }
    let moves = world.moves.values().sum::<usize>() - before;
    assert!(moves > 0, "the first one is believed");
    // 29 times each without the hold.
    assert!(moves <= 6 * 8, "{moves} moves of six nodes");
    world.cut(5, EVIL);
    world.settle(Duration::from_secs(30));
}

/// A place at the end of a chain of the hostile node's own making, all of it rightly signed and new.
fn dungeon(lease: u32) -> Announce {
    let above: Vec<_> = (60..60 + PATH_MAX).map(party).collect();
    let parties: Vec<_> = above.iter().cloned().chain([party(EVIL)]).collect();
    let chain = parties.windows(2).enumerate().map(|(depth, pair)| {
        let below = Grant {
            seat: depth == 0,
            ..grant(&pair[1], 1, lease, 1)
        };
        Arc::new(signed(&pair[0], below))
    });
    let root = &parties[0];
    let pulse = Pulse::signed(&root.overlay().0, 66, 1, 1);
    Announce {
        tree: 66,
        term: 1,
        root: *root.name().as_bytes(),
        pulse: Pulse {
            seq: 1,
            signature: Signature(root.identity().sign(&pulse)),
        },
        relay: true,
        weight: 1,
        chain: chain.collect(),
    }
}

/// The charter of the tree to which it belongs.
fn underworld() -> Message {
    let root = party(60);
    let mut charter = Charter {
        tree: 66,
        term: 1,
        version: 1,
        founded: CALENDAR.0 + 1_000,
        class: 0,
        root: *root.name().as_bytes(),
        deputies: Vec::new(),
        signature: Signature([0; 64]),
        predecessor: None,
    };
    let message = charter.signed(&root.overlay().0);
    charter.signature = Signature(root.identity().sign(&message));
    Message::Charter(Arc::new(charter))
}

#[test]
fn proof_after_proof_is_not_looked_at_and_moves_nobody() {
    let mut world = world();
    // Whoever would hang better elsewhere has gone there.
    world.run(Duration::from_secs(20));
    assert_eq!(tell(&mut world, 5, &underworld()), Ok(()));
    let (moves, before) = (world.moves.clone(), world.checks());
    // As many as are tolerated, each with 32 grants that nobody has seen.
    let seconds = 10;
    for lease in 0..TREE_MESSAGES_PER_SECOND.0 * seconds {
        let lie = Message::Announce(dungeon(lease));
        assert_eq!(tell(&mut world, 5, &lie), Ok(()));
        world.run(Duration::from_secs(1) / TREE_MESSAGES_PER_SECOND.0);
    }
    let (rate, burst) = TREE_CHECKS_EACH;
    let checks = world.checks() - before;
    let honest = 500;
    let most = usize::try_from(rate * seconds + burst).unwrap() + honest;
    assert!(checks < most, "{checks} checks");
    assert_eq!(world.moves, moves);
    assert!(world.now.since(world.tree(5).own.pulse_at) < Duration::from_secs(2));
    // What comes slowly is believed.
    world.run(Duration::from_secs(2));
    let place = dungeon(u32::MAX >> 2);
    let says: Vec<_> = place.chain.iter().map(|g| (g.slot, g.lease)).collect();
    assert_eq!(tell(&mut world, 5, &Message::Announce(place)), Ok(()));
    let known = world.tree(5).neighbours[&party(EVIL).name()].place.as_ref();
    assert_eq!(*known.unwrap().path, *says);
    world.cut(5, EVIL);
    world.settle(Duration::from_secs(2));
}

#[test]
fn a_flood_ends_the_link() {
    let mut world = world();
    let floods = (0..2_000).find_map(|_| tell(&mut world, 5, &Message::Query).err());
    assert_eq!(floods, Some(Misbehaviour::Flood));
    let garbage = world.say(EVIL, 4, &[31; 40]);
    assert_eq!(garbage, Ok(()), "no neighbour of 4: not even looked at");
    admit(&mut world, EVIL + 1, 4);
    let garbage = world.say(EVIL + 1, 4, &[31; 40]);
    assert_eq!(garbage, Err(Misbehaviour::Malformed));
    world.cut(5, EVIL);
    world.cut(4, EVIL + 1);
    world.settle(Duration::from_secs(2));
}

#[test]
fn of_two_tenants_of_one_slot_the_younger_moves() {
    let mut world = World::new(12, 4);
    world.add(0);
    world.run(Duration::from_secs(1));
    world.add(1);
    world.add(2);
    world.link(0, 1);
    world.link(0, 2);
    world.link(1, 2);
    world.settle(Duration::from_secs(2));
    world.run(Duration::from_secs(2));
    // The root is hostile: it gives 1's slot to 2 again, with a higher number.
    let (root, two) = (party(0), party(2));
    let mine = (**world.tree(1).own.chain.last().unwrap()).clone();
    let again = Grant {
        child: *two.name().as_bytes(),
        number: 1_000,
        lease: 77,
        ..mine
    };
    let grant = signed(&root, again);
    let place = announcement(&world, 0);
    let bytes = encoded(&Message::Grant { grant, place });
    world.say(0, 2, &bytes).unwrap();
    assert_eq!(world.tree(2).own.path[0].1, 77);
    world.run(Duration::from_millis(2_500));
    assert_eq!(world.tree(1).parent(), Some(world.name(0)));
    assert_eq!(world.tree(2).parent(), Some(world.name(1)));
}

#[test]
fn a_child_that_claims_to_be_huge_does_not_get_all_keys() {
    let mut world = World::new(13, 8);
    for node in 0..6 {
        world.add(node);
        if node > 0 {
            world.link(node, 0);
            world.run(Duration::from_millis(300));
        }
    }
    world.settle(Duration::from_secs(3));
    world.run(Duration::from_secs(40));
    world
        .say(1, 0, &encoded(&Message::Weight(1 << 40)))
        .unwrap();
    world.run(Duration::from_secs(20));
    let hostile = world
        .tree(1)
        .ranges()
        .map(|(_, range)| range.length())
        .sum::<u128>();
    assert!(hostile < (1_u128 << 64) * 96 / 100, "{hostile:x}");
    for node in 2..6 {
        assert!(world.tree(node).ranges().count() > 0, "{node}");
    }
}

#[test]
fn who_changes_its_weight_all_the_time_does_not_keep_others_from_their_share() {
    let mut world = World::new(15, 8);
    world.add(0);
    world.run(Duration::from_secs(1));
    for node in 1..6 {
        world.add(node);
        world.link(node, 0);
        world.run(Duration::from_millis(300));
    }
    world.settle(Duration::from_secs(3));
    let say = |world: &mut World, node, weight| {
        let message = encoded(&Message::Weight(weight));
        world.say(node, 0, &message).unwrap();
    };
    say(&mut world, 1, 100);
    world.run(Duration::from_secs(20));
    let keys = |world: &World| {
        let ranges = world.tree(2).ranges();
        ranges.map(|(_, range)| range.length()).sum::<u128>()
    };
    let before = keys(&world);
    // Not twice as much as it has: no reason to hurry.
    say(&mut world, 2, 2);
    for round in 0..65 {
        say(&mut world, 1, 100 + round % 2);
        world.run(Duration::from_secs(2));
    }
    assert!(keys(&world) > before * 5 / 4, "{before:x}");
}

#[test]
fn a_parent_that_swallows_pulses_is_left() {
    let mut world = World::new(14, 8);
    for node in 0..3 {
        world.add(node);
    }
    world.link(0, 1);
    world.run(Duration::from_secs(1));
    // 3 hangs on 2, and could hang on 1.
    world.link(0, 2);
    world.add(3);
    world.link(2, 3);
    world.settle(Duration::from_secs(2));
    world.link(1, 3);
    world.run(Duration::from_secs(2));
    assert_eq!(world.tree(3).parent(), Some(world.name(2)));
    // From here on nothing comes from 2, though the link stands.
    world.mute = Some((2, 3));
    world.run(Duration::from_millis(3_500));
    assert_eq!(world.tree(3).parent(), Some(world.name(1)));
}
