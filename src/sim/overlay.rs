//! The overlay at scale: thousands of [`Overlay`](crate::cloak::overlay::Overlay) values on simulated links, in virtual time.
//!
//! Every node is the state machine that a real node runs, with its own identity; what they say to each other are the
//! bytes that links would carry. Links take 5 to 40 ms one way, the same for each message of a link, and lose nothing
//! while both ends live. A node dies without a word, and its neighbours notice after a given time. One seed is one run.
//!
//! First the overlay grows, each joiner as soon as the one before it has its place; then it stands still and is measured;
//! then, if asked for, nodes are replaced while packets are sent.

mod figures;
mod graph;
mod grow;
mod node;
mod queue;
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
}

/// Time under churn that is measured.
const CHURN_SPAN: Duration = Duration::from_secs(600);
/// Packets in that time, about.
const CHURN_PACKETS: u32 = 60_000;

/// Plays a plan.
pub fn run(plan: &Plan) -> Figures {
    let mut world = World::new(plan);
    let mut figures = world.grow();
    world.measure(&mut figures);
    if let Some(churn) = plan.churn {
        let replaced = plan_deaths(plan.nodes, churn.percent);
        let rates = Rates {
            death_every: CHURN_SPAN.div_f64(replaced.max(1e-9)),
            send_every: CHURN_SPAN / CHURN_PACKETS,
            detect: churn.detect,
            span: CHURN_SPAN,
            root_deaths: 0,
        };
        let mut measured = world.churn(&rates);
        let apart = world.churn(&Rates {
            root_deaths: 5,
            span: ROOT_SPAN,
            ..rates
        });
        measured.near_root_death.join(apart.near_root_death);
        figures.churn = Some(measured);
    }
    figures.misbehaviour = world.misbehaviour;
    figures
}

/// Time in which roots die on purpose.
const ROOT_SPAN: Duration = Duration::from_secs(150);

fn plan_deaths(nodes: usize, percent: f64) -> f64 {
    figures::float(figures::count(nodes)) * percent / 100.0
}
