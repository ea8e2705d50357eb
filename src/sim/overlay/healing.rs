//! One node dies in an overlay that stands still: how long until everybody reaches everybody again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::sim::overlay::Plan;
use crate::sim::overlay::graph::{distances, pairs};
use crate::sim::overlay::world::World;
use crate::wire::location::Location;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Pairs of nodes that are tried at each look; at the end all are.
const PAIRS: usize = 150;

/// How an overlay took the death of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healing {
    /// Which node died, by the order of joining.
    pub victim: usize,
    /// It was the root.
    pub was_root: bool,
    /// From its death to the first moment from which on everything arrived; none if that did not come in time.
    pub after: Option<Duration>,
    /// Twice the time that a message takes between the nodes that are furthest apart, at the links' slowest.
    pub diameters: Duration,
    /// Nodes whose place changed, those that hung below the victim included.
    pub moved: usize,
    /// Statements that somebody made faster than others may check them.
    pub unchecked: u64,
}

/// Lets each node of the plan's overlay die in a world of its own and looks for at most `patience`.
pub fn heal(plan: &Plan, victim: usize, detect: Duration, patience: Duration) -> Healing {
    let mut world = World::new(plan);
    world.grow();
    let was_root = world.is_root(victim);
    let before: Vec<_> = world.nodes.iter().map(|node| node.place()).collect();
    let died = world.now;
    world.kill(victim, detect);
    let sample = pairs(&world.live, PAIRS, &mut world.random);
    let mut healed = None;
    while world.now.since(died) < patience {
        world.run(world.now + LOOK);
        let is_whole = world.is_one() && world.reached(sample.iter().copied()).share() == Some(1.0);
        healed = if is_whole {
            healed.or(Some(world.now))
        } else {
            None
        };
    }
    let all = pairs(&world.live, usize::MAX, &mut world.random);
    let healed = healed.filter(|_| world.reached(all.iter().copied()).share() == Some(1.0));
    let moved = world.nodes.iter().zip(before);
    let moved = moved.filter(|(node, before)| node.overlay.is_some() && node.place() != *before);
    Healing {
        victim,
        was_root,
        after: healed.map(|healed| healed.since(died)),
        diameters: world.diameter() * 2,
        moved: moved.count(),
        unchecked: world.unchecked(),
    }
}

impl World {
    /// All nodes that live hang in one tree.
    pub(super) fn is_one(&self) -> bool {
        let trees = self
            .live
            .iter()
            .map(|number| match self.nodes.get(*number)?.place()? {
                Location::Tree { tree, term, .. } => Some((tree, term)),
                Location::Neighbour => None,
            });
        let trees: BTreeSet<_> = trees.collect();
        trees.len() == 1 && !trees.contains(&None)
    }

    fn diameter(&self) -> Duration {
        let far = self.live.iter().map(|from| {
            let distances = distances(self.nodes.len(), *from, |node| self.linked(node));
            distances.into_iter().flatten().max().unwrap_or_default()
        });
        Self::SLOWEST * far.max().unwrap_or_default()
    }
}
