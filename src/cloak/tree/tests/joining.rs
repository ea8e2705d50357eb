//! Joining, refusals, merging, and that nothing moves without need.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::{World, millis};

#[test]
fn two_nodes_become_one_tree() {
    let mut world = World::new(1, 4);
    world.add(0);
    world.run(Duration::from_secs(2));
    world.add(1);
    world.link(0, 1);
    let took = world.settle(Duration::from_secs(2));
    assert!(took < millis(500), "{took:?}");
    assert_eq!(world.tree(1).parent(), Some(world.name(0)));
    assert!(world.faults.is_empty());
}

#[test]
fn a_line_of_nodes_settles_and_a_newcomer_moves_nobody() {
    let mut world = World::new(2, 4);
    world.add(0);
    for node in 1..10 {
        world.add(node);
        world.link(node - 1, node);
        world.run(millis(300));
    }
    world.settle(Duration::from_secs(8));
    world.run(Duration::from_secs(60));
    world.check().unwrap();
    let before = world.moves.clone();
    world.add(10);
    world.link(3, 10);
    world.link(9, 10);
    world.settle(Duration::from_secs(1));
    assert_eq!(world.tree(10).parent(), Some(world.name(3)));
    world.run(Duration::from_secs(40));
    let mut after = world.moves.clone();
    assert_eq!(after.remove(&10), Some(1));
    assert!(after.get(&1) == before.get(&1) && after.get(&3) == before.get(&3));
    assert!(world.faults.is_empty());
}

#[test]
fn who_is_refused_asks_another() {
    let mut world = World::new(3, 3);
    for node in 0..8 {
        world.add(node);
    }
    for node in 1..8 {
        for other in 0..node {
            world.link(node, other);
        }
        world.run(millis(500));
    }
    world.settle(Duration::from_secs(6));
    // Three at the root, two at everybody else.
    assert!(
        world
            .nodes
            .values()
            .all(|tree| tree.children().count() <= 3)
    );
}

#[test]
fn what_was_refused_in_one_tree_may_be_given_in_another_at_once() {
    // It asks a node that goes to another tree while the wish is under way, at different moments of that.
    for pause in 0..40 {
        let mut world = World::new(5, 4);
        for node in 0..3 {
            world.add_with(node, node != 2);
        }
        world.run(millis(100));
        world.link(0, 1);
        world.run(millis(5 * pause));
        world.link(1, 2);
        let took = world.settle(Duration::from_secs(3));
        assert!(took < millis(500), "{pause}: {took:?}");
    }
}

#[test]
fn a_leaf_takes_no_children_and_two_leaves_stay_apart() {
    let mut world = World::new(4, 4);
    world.add_with(0, false);
    world.run(Duration::from_secs(3));
    world.add(1);
    world.add(2);
    world.link(0, 1);
    world.link(0, 2);
    world.run(Duration::from_secs(3));
    // 2 knows only the leaf; 1 is root though it is younger.
    assert_eq!(world.tree(0).children().count(), 0);
    assert!(world.tree(0).parent().is_some());
    world.link(1, 2);
    world.settle(Duration::from_secs(4));
    world.add_with(3, false);
    world.add_with(4, false);
    world.link(3, 4);
    world.run(Duration::from_secs(3));
    assert_ne!(world.tree(3).tree(), world.tree(4).tree());
}

#[test]
fn two_overlays_become_one_and_the_larger_does_not_move() {
    let mut world = World::new(5, 4);
    // The smaller is older.
    for node in 0..3 {
        world.add(node);
    }
    world.link(0, 1);
    world.link(1, 2);
    world.run(Duration::from_secs(10));
    for node in 3..12 {
        world.add(node);
        if node > 3 {
            world.link(node, node - 1);
        }
        if node > 5 {
            world.link(node, node - 3);
        }
    }
    world.run(Duration::from_secs(60));
    let (small, large) = (world.tree(0).tree(), world.tree(11).tree());
    assert_ne!(small, large);
    let before = world.moves.clone();
    world.link(2, 7);
    let took = world.settle(Duration::from_secs(8));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(world.tree(0).tree(), large);
    world.run(Duration::from_secs(60));
    world.check().unwrap();
    for node in 3..12 {
        assert_eq!(before.get(&node), world.moves.get(&node), "{node} moved");
    }
    assert!(world.faults.is_empty());
}

#[test]
fn control_traffic_of_a_settled_tree_is_small() {
    let mut world = World::new(6, 8);
    for node in 0..12 {
        world.add(node);
        for back in 1..4 {
            if node >= back {
                world.link(node, node - back);
            }
        }
    }
    world.run(Duration::from_secs(90));
    world.check().unwrap();
    let before = (world.bytes, world.moves.clone());
    world.run(Duration::from_secs(60));
    let each = (world.bytes - before.0) / 12;
    assert!(each < 9_000, "{each} bytes per node and minute");
    assert_eq!(before.1, world.moves);
    let most = world.nodes.values().map(|tree| tree.bytes()).max().unwrap();
    assert!(most < 8_192, "{most} bytes of memory");
}

#[test]
fn who_finds_every_slot_taken_is_told_and_hangs_there_when_one_becomes_free() {
    let mut world = World::new(5, 3);
    world.add(0);
    world.run(Duration::from_secs(1));
    for node in 1..7 {
        world.add_with(node, false);
        world.link(node, 0);
        world.run(Duration::from_secs(1));
    }
    world.run(Duration::from_secs(10));
    let placed = |world: &World| {
        let nodes = world.nodes.iter();
        let hung = nodes.filter(|(_, tree)| tree.parent().is_some());
        hung.map(|(node, _)| *node).collect::<BTreeSet<usize>>()
    };
    let before = placed(&world);
    let stranded: BTreeSet<usize> = world.stranded.iter().map(|(node, _)| *node).collect();
    assert!((1..6).contains(&before.len()), "{before:?}");
    assert!((1..7).all(|node| before.contains(&node) != stranded.contains(&node)));
    world.kill(*before.first().unwrap(), Duration::from_secs(1));
    world.run(Duration::from_secs(60));
    assert_eq!(placed(&world).len(), before.len());
}
