//! Whatever links are cut and made: when it is quiet, every connected part is one tree that works.

use std::time::Duration;

use super::world::{World, millis};

fn play(seed: u64) {
    let mut world = World::new(seed, 12);
    let count = 12;
    for node in 0..count {
        world.add(node);
    }
    let number = |world: &mut World, bound: usize| {
        usize::try_from(world.random.below(u64::try_from(bound).unwrap())).unwrap()
    };
    for node in 1..count {
        let other = number(&mut world, node);
        world.link(node, other);
        let other = number(&mut world, node);
        world.link(node, other);
        if number(&mut world, 2) == 0 {
            world.run(millis(700));
        }
    }
    for _ in 0..20 {
        let (a, b) = (number(&mut world, count), number(&mut world, count));
        if !world.nodes.contains_key(&a) || !world.nodes.contains_key(&b) {
            continue;
        }
        match number(&mut world, 8) {
            0 => world.kill(a, millis(400)),
            1..=4 => {
                let links: Vec<_> = world.links.iter().copied().collect();
                if let Some((a, b)) = links.get(number(&mut world, links.len().max(1))) {
                    world.cut(*a, *b);
                }
            }
            _ => world.link(a, b),
        }
        let pause = number(&mut world, 3) * number(&mut world, 1_500);
        world.run(millis(u64::try_from(pause).unwrap()));
    }
    world.run(Duration::from_secs(40));
    // A cut of keys may be under way.
    world.settle(Duration::from_secs(2));
    assert!(world.faults.is_empty(), "SEED={seed}: {:?}", world.faults);
}

#[test]
fn after_quiet_time_every_part_is_one_tree_that_works() {
    for seed in 0..200 {
        play(seed);
    }
}
