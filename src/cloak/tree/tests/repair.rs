//! Parents and roots that go.

use std::time::Duration;

use super::world::{World, millis};

/// A root with children 1 to 3, which have children 4 to 6, all of them in a ring.
fn ring() -> World {
    let mut world = World::new(7, 4);
    world.add(0);
    world.run(Duration::from_secs(1));
    for node in 1..7 {
        world.add(node);
        world.link(node, node.saturating_sub(3));
        world.run(millis(300));
    }
    for node in 1..6 {
        world.link(node, node + 1);
    }
    world.settle(Duration::from_secs(2));
    assert_eq!(world.tree(5).parent(), Some(world.name(2)));
    world.run(Duration::from_secs(5));
    world
}

#[test]
fn an_orphan_hangs_itself_elsewhere_and_its_old_place_still_works() {
    let mut world = ring();
    let old = world.tree(5).location();
    world.cut(2, 5);
    let took = world.settle(Duration::from_secs(3));
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    assert_ne!(world.tree(5).parent(), Some(world.name(2)));
    assert!(world.tree(5).locations().contains(&old));
    // By the old place it is found from its neighbours, and by who knows them.
    let mut route = crate::wire::link::Route::neighbour(world.name(4).tag(), world.name(5).tag());
    route.watermark = crate::cloak::forward::WATERMARK_START;
    route.to_location = old.clone();
    assert_eq!(world.walk_route(4, route), Ok(1));
    world.run(Duration::from_secs(11));
    assert!(!world.tree(5).locations().contains(&old));
    // It comes back to its old parent within the time of grace, and has its old slot.
    assert!(world.faults.is_empty());
}

#[test]
fn who_comes_back_soon_has_its_old_slot() {
    let mut world = World::new(8, 4);
    world.add(0);
    world.run(Duration::from_secs(1));
    for node in 1..4 {
        world.add(node);
        world.link(0, node);
    }
    world.settle(Duration::from_secs(2));
    world.run(Duration::from_secs(5));
    let old = world.tree(2).location();
    world.cut(0, 2);
    world.run(millis(200));
    world.link(0, 2);
    world.settle(Duration::from_secs(3));
    assert_eq!(world.tree(2).location(), old);
}

#[test]
fn a_subtree_moves_as_a_whole() {
    let mut world = ring();
    world.add(7);
    world.link(7, 5);
    world.settle(Duration::from_secs(2));
    world.cut(2, 5);
    world.settle(Duration::from_secs(3));
    assert_eq!(world.tree(7).parent(), Some(world.name(5)));
    assert_eq!(world.tree(7).locations().len(), 2);
}

#[test]
fn when_the_root_dies_the_first_deputy_sits_down_and_no_address_changes() {
    let mut world = ring();
    // What the root's children were asked to do.
    for a in 1..4 {
        for b in 1..4 {
            world.link(a, b);
        }
    }
    world.run(Duration::from_secs(3));
    let before: Vec<_> = (1..7)
        .map(|node| world.tree(node).own.path.clone())
        .collect();
    let tree = world.tree(0).tree();
    world.kill(0, Duration::from_secs(1));
    let took = world.settle(Duration::from_secs(4));
    assert!(took < Duration::from_secs(4), "{took:?}");
    let after: Vec<_> = (1..7)
        .map(|node| world.tree(node).own.path.clone())
        .collect();
    assert_eq!(before, after);
    assert_eq!(world.tree(6).tree(), tree);
    // And again: the next one.
    let root = (1..7)
        .find(|node| world.tree(*node).office.is_some())
        .unwrap();
    world.run(Duration::from_secs(15));
    world.kill(root, Duration::from_secs(1));
    world.settle(Duration::from_secs(6));
    assert!(world.faults.is_empty());
}

#[test]
fn a_new_root_soon_has_deputies_so_that_the_next_death_breaks_nothing_either() {
    let mut world = ring();
    let tree = world.tree(0).tree();
    for death in 0..4 {
        let root = world.nodes.iter().find(|(_, tree)| tree.office.is_some());
        let root = *root.unwrap().0;
        world.kill(root, millis(100));
        let took = world.settle(Duration::from_secs(5));
        assert!(took < Duration::from_secs(4), "{death}: {took:?}");
        assert!(world.nodes.values().all(|node| node.tree() == tree));
        world.run(Duration::from_secs(4));
    }
    assert!(world.faults.is_empty());
}

#[test]
fn children_of_the_root_want_links_to_deputies() {
    let world = ring();
    let deputies = &world.tree(0).own.charter.deputies;
    assert_eq!(deputies.len(), 3);
    assert!(world.wants.iter().any(|(node, _)| *node == 3));
}

#[test]
fn a_root_that_comes_back_yields_to_its_successor() {
    let mut world = ring();
    let tree = world.tree(0).tree();
    for node in 1..4 {
        world.cut(0, node);
    }
    world.settle(Duration::from_secs(9));
    assert_eq!(world.tree(4).tree(), tree);
    let root = (1..7)
        .find(|node| world.tree(*node).office.is_some())
        .unwrap();
    world.link(0, 6);
    world.settle(Duration::from_secs(4));
    assert_eq!(world.tree(0).root(), *world.name(root).as_bytes());
    assert_eq!(world.tree(0).tree(), tree);
}

#[test]
fn a_part_that_is_cut_off_lives_on_and_comes_back() {
    let mut world = World::new(9, 4);
    for node in 0..9 {
        world.add(node);
        if node > 0 {
            world.link(node, node - 1);
            world.run(millis(300));
        }
    }
    world.settle(Duration::from_secs(3));
    world.run(Duration::from_secs(30));
    world.cut(4, 5);
    world.settle(Duration::from_secs(8));
    world.run(Duration::from_secs(10));
    world.check().unwrap();
    world.link(0, 8);
    world.settle(Duration::from_secs(6));
    assert!(world.faults.is_empty());
}
