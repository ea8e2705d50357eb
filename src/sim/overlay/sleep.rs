//! A machine sleeps while the overlay goes on: how it finds its way back.

use std::time::Duration;

use crate::limits::DIRECTORY_LOOKUP;
use crate::name::Name;
use crate::sim::overlay::Plan;
use crate::sim::overlay::figures::Tries;
use crate::sim::overlay::node::{Asleep, calendar};
use crate::sim::overlay::world::{Event, World};

/// Until the neighbours of a machine that fell asleep notice.
const DETECT: Duration = Duration::from_secs(3);
/// Between its wake-up and the look-ups.
const SETTLE: Duration = Duration::from_secs(20);

/// What look-ups gave after a node had slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awake {
    /// Those of all others for it.
    pub of_it: Tries,
    /// Its own for all others.
    pub by_it: Tries,
}

/// Lets one node of the plan's overlay sleep for `span`.
pub fn sleep(plan: &Plan, sleeper: usize, span: Duration) -> Awake {
    let mut world = World::new(plan);
    world.grow();
    world.fall_asleep(sleeper);
    world.run(world.now + span);
    world.wake(sleeper, span);
    world.run(world.now + SETTLE);
    let others: Vec<usize> = world
        .live
        .iter()
        .copied()
        .filter(|n| *n != sleeper)
        .collect();
    let mut ask = |pairs: Vec<(usize, usize)>| {
        world.take_lookups();
        for (from, to) in pairs {
            world.ask(from, to);
        }
        world.run(world.now + DIRECTORY_LOOKUP * 2);
        world.take_lookups()
    };
    Awake {
        of_it: ask(others.iter().map(|other| (*other, sleeper)).collect()),
        by_it: ask(others.iter().map(|other| (sleeper, *other)).collect()),
    }
}

impl World {
    fn fall_asleep(&mut self, number: usize) {
        let Some(overlay) = self
            .nodes
            .get_mut(number)
            .and_then(|node| node.overlay.take())
        else {
            return;
        };
        let links = self.nodes.get(number).map(|node| node.links.clone());
        let neighbours = links.into_iter().flatten();
        let neighbours: Vec<Name> = neighbours.filter_map(|(peer, _)| self.name(peer)).collect();
        self.kill(number, DETECT);
        if let Some(node) = self.nodes.get_mut(number) {
            node.asleep = Some(Asleep {
                overlay,
                neighbours,
            });
        }
    }

    /// A machine wakes up, with no link left, and dials as many nodes as at first.
    fn wake(&mut self, number: usize, span: Duration) {
        let (now, links) = (self.now, self.plan.links);
        let Some(node) = self.nodes.get_mut(number) else {
            return;
        };
        let Some(Asleep {
            mut overlay,
            neighbours,
        }) = node.asleep.take()
        else {
            return;
        };
        node.died = None;
        node.slept += span;
        let own = node.time(now);
        overlay.set_calendar(calendar(now), own);
        overlay.network_changed(own);
        for neighbour in neighbours {
            overlay.neighbour_down(neighbour, own);
        }
        node.overlay = Some(overlay);
        let chosen: Vec<usize> = self.live.iter().copied().take(links).collect();
        self.live.push(number);
        for peer in chosen {
            self.connect(number, peer);
        }
        self.drain(number);
        self.queue.push(now, Event::Dial(number));
    }
}
