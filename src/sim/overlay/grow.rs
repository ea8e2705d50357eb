//! An overlay grows, settles, and is measured while nothing changes.

use std::time::Duration;

use crate::cloak::forward::Verdict;
use crate::sim::overlay::figures::{Figures, Tries, count, float, ratio};
use crate::sim::overlay::graph::{distances, pairs};
use crate::sim::overlay::world::World;
use crate::time::Time;

/// Pause between two joiners; most have their place after some 200 ms.
const JOIN_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for every joiner to have a place.
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);
/// What is waited for after that: news get everywhere, nodes find better parents, and records their keepers.
const SETTLE: Duration = Duration::from_secs(60);
/// Quiet in which control messages are counted.
const QUIET: Duration = Duration::from_secs(60);
/// Pairs of nodes between which packets are sent.
const PAIRS: usize = 600;

impl World {
    /// Lets all nodes of the plan join, and waits until nothing moves.
    pub(super) fn grow(&mut self) -> Figures {
        while self.nodes.len() < self.plan.nodes {
            self.join(self.plan.graph);
            self.run(self.now + JOIN_EVERY);
        }
        let patience = self.now + SETTLE_PATIENCE;
        let mut homeless = self.live.clone();
        loop {
            homeless.retain(|node| self.is_homeless(*node));
            if homeless.is_empty() || self.now >= patience {
                break;
            }
            self.run(self.now + Duration::from_secs(1));
        }
        let settled = self.now;
        self.run(self.now + SETTLE);
        Figures {
            refused: float(self.refused),
            settled_after: settled.since(Time::ZERO).as_secs_f64(),
            ..Figures::default()
        }
    }

    /// Measures an overlay that stands still.
    pub(super) fn measure(&mut self, figures: &mut Figures) {
        let before = self.sent;
        self.kinds.clear();
        self.run(self.now + QUIET);
        let bytes = float(self.sent - before);
        tracing::debug!(nodes = self.live.len(), kinds = ?self.kinds, "messages in quiet, by kind: number and bytes");
        figures.control_bytes = ratio(bytes, count(self.live.len())) * 60.0 / QUIET.as_secs_f64();
        for number in self.live.clone() {
            let Some(node) = self.nodes.get(number) else {
                continue;
            };
            figures.homeless += u64::from(node.is_homeless());
            let Some(overlay) = &node.overlay else {
                continue;
            };
            figures.state_bytes.add(float(count(overlay.bytes())));
            if let Some(depth) = node.depth() {
                figures.depth.add(float(count(depth)));
            }
        }
        let pairs = pairs(&self.live, PAIRS, &mut self.random);
        self.routes(&pairs, figures);
        figures.directory = Some(self.measure_directory());
    }

    fn routes(&self, pairs: &[(usize, usize)], figures: &mut Figures) {
        let mut last = None;
        for (from, to) in pairs {
            // Pairs come in the order of their first node.
            let shortest = match last.take() {
                Some((node, shortest)) if node == *from => shortest,
                _ => distances(self.nodes.len(), *from, |node| self.linked(node)),
            };
            let walked = self.walk(*from, *to, false);
            figures.delivery.add(walked.is_some());
            if let (Some(hops), Some(least)) = (walked, shortest.get(*to).copied().flatten()) {
                figures.hops.add(f64::from(hops));
                figures.shortest.add(f64::from(least));
                figures
                    .stretch
                    .add(f64::from(hops) / f64::from(least.max(1)));
            }
            last = Some((*from, shortest));
        }
    }

    /// Links that a packet crosses from one node to another as things stand; none if it does not arrive.
    pub(super) fn walk(&self, from: usize, to: usize, by_tree: bool) -> Option<u32> {
        let mut route = self.route(from, to)?;
        route.by_tree = by_tree;
        let (mut at, mut ingress) = (from, None);
        for hops in 0.. {
            let node = self.nodes.get(at).filter(|node| !node.swallows(&route));
            let node = node?;
            let overlay = node.overlay.as_ref()?;
            match overlay.decide(&route, ingress, None) {
                Verdict::Here => return Some(hops),
                Verdict::Next {
                    neighbour,
                    watermark,
                    hops,
                } => {
                    (route.watermark, route.hops) = (watermark, hops);
                    ingress = Some(node.name.tag());
                    at = self.number(neighbour)?;
                    node.links.get(&at).filter(|wire| wire.up)?;
                }
                Verdict::Broken(_) | Verdict::Drop => return None,
            }
        }
        None
    }

    /// How many of these pairs can send to each other as things stand, with a second try that goes by the tree.
    pub(super) fn reached(&self, pairs: impl IntoIterator<Item = (usize, usize)>) -> Tries {
        let mut tries = Tries::default();
        for (from, to) in pairs {
            let mut walks = [false, true].into_iter();
            tries.add(walks.any(|by_tree| self.walk(from, to, by_tree).is_some()));
        }
        tries
    }

    /// Neighbours over links that are up.
    pub(super) fn linked(&self, number: usize) -> impl Iterator<Item = usize> {
        let node = self.nodes.get(number).filter(|node| node.overlay.is_some());
        let links = node.into_iter().flat_map(|node| &node.links);
        links.filter(|(_, wire)| wire.up).map(|(peer, _)| *peer)
    }
}
