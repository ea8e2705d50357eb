//! The overlay at scale: thousands of [`Overlay`](crate::cloak::overlay::Overlay) values on simulated links, in virtual time.
//!
//! Every node is the state machine that a real node runs, with its own identity; what they say to each other are the
//! bytes that links would carry. Links take 5 to 40 ms one way, the same for each message of a link, and lose nothing
//! while both ends live. A node dies without a word, and its neighbours notice after a given time. One seed is one run.
//!
//! First the overlay grows, one joiner every 20 ms; then it stands still and is measured;
//! then, if asked for, nodes are replaced while packets are sent.

mod directory;
mod figures;
mod graph;
mod grow;
mod healing;
mod hostile;
mod memory;
mod node;
mod queue;
mod sleep;
#[cfg(test)]
mod tests;
mod traffic;
mod world;

use std::time::Duration;

use crate::cloak::geometry::Metric;
use crate::sim::overlay::traffic::Rates;
use crate::sim::overlay::world::World;

pub use figures::{ChurnFigures, DirectoryFigures, Figures, Mean, Tries};
pub use graph::Graph;
pub use healing::{Healing, heal};
pub use hostile::{Harm, Malice, attack};
pub use sleep::{Awake, sleep};

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Nodes of the overlay.
    pub nodes: usize,
    /// Nodes that each joiner dials.
    pub links: usize,
    /// Directions of each node of the tree.
    pub degree: u32,
    /// How joiners choose whom they dial.
    pub graph: Graph,
    /// How distances are measured.
    pub metric: Metric,
    /// What follows when all is quiet.
    pub churn: Option<Churn>,
    /// Everything by chance comes out of this number.
    pub seed: u64,
}

/// How nodes come and go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// Percent of the nodes that are replaced in ten minutes.
    pub percent: f64,
    /// Until neighbours notice that a node is gone.
    pub detect: Duration,
    /// How long it goes on.
    pub span: Duration,
    /// Packets in that time.
    pub packets: u32,
    /// Roots that die on purpose afterwards, one every 30 s: their traffic is measured apart.
    pub roots: u32,
}

impl Churn {
    /// Ten minutes of it, with 60,000 packets, and then five roots.
    pub const fn new(percent: f64, detect: Duration) -> Self {
        Self {
            percent,
            detect,
            span: Duration::from_secs(600),
            packets: 60_000,
            roots: 5,
        }
    }
}

/// Time between the deaths of roots that die on purpose.
const ROOT_EVERY: Duration = Duration::from_secs(30);

/// Plays a plan.
pub fn run(plan: &Plan) -> Figures {
    let mut world = World::new(plan);
    let mut figures = world.grow();
    world.measure(&mut figures);
    if let Some(churn) = plan.churn {
        figures.churn = Some(world.suffer(&churn));
    }
    figures.misbehaviour = world.misbehaviour;
    figures.unchecked = world.unchecked();
    figures.parents_left = world.parents_left();
    figures
}

impl World {
    /// Churn, and then roots that die.
    fn suffer(&mut self, churn: &Churn) -> ChurnFigures {
        let nodes = figures::float(figures::count(self.plan.nodes));
        let seconds = 600.0 * 100.0 / (nodes * churn.percent).max(1e-6);
        let rates = Rates {
            death_every: Duration::from_secs_f64(seconds),
            send_every: churn.span / churn.packets.max(1),
            detect: churn.detect,
            span: churn.span,
            root_deaths: 0,
        };
        let mut figures = self.churn(&rates);
        let apart = self.churn(&Rates {
            root_deaths: churn.roots,
            span: ROOT_EVERY * churn.roots,
            ..rates
        });
        figures.near_root_death.join(apart.near_root_death);
        figures.root_deaths += apart.root_deaths;
        figures.deaths += apart.deaths;
        figures
    }
}
