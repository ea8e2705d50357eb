//! The directory of a world: who holds which keys, how far it is to them, and whether look-ups find.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cloak::compass::{Compass, Toward, WATERMARK_START, Way};
use crate::cloak::overlay::Found;
use crate::limits::{DIRECTORY_LOOKUP, HOPS_MAX};
use crate::sim::overlay::figures::{DirectoryFigures, Mean, Tries, count, float, ratio};
use crate::sim::overlay::graph::{pairs, pick};
use crate::sim::overlay::world::World;

/// Test keys per node.
const KEYS_PER_NODE: usize = 64;
/// Test keys whose way is walked.
const WALKS: usize = 2_000;
/// Look-ups in an overlay that stands still, and the pause between two.
const LOOKUPS: (usize, Duration) = (600, Duration::from_millis(10));

/// Look-ups under way and what became of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Whom each of them is about, and whether it is the second one.
    under_way: BTreeMap<(usize, u64), (usize, bool)>,
    pub(super) done: Tries,
    /// Who found a wrong place looks once more: what it sends there does not arrive.
    pub(super) twice: bool,
}

impl World {
    /// Lets a node look up another one, and not in what it remembers.
    pub(super) fn ask(&mut self, from: usize, to: usize) {
        self.look_for(from, to, false);
    }

    fn look_for(&mut self, from: usize, to: usize, again: bool) {
        let (Some(name), Some(now)) = (self.name(to), self.time(from)) else {
            return;
        };
        if let Some(overlay) = self.overlay(from) {
            overlay.forget(name);
            let query = overlay.lookup(name, now);
            self.lookups.under_way.insert((from, query), (to, again));
            self.drain(from);
        }
    }

    /// A look-up has ended: well, if it gave a place that the other one holds, or its newest record.
    pub(super) fn answered(&mut self, from: usize, query: u64, found: Option<&Found>) {
        let Some((to, again)) = self.lookups.under_way.remove(&(from, query)) else {
            return;
        };
        let Some(overlay) = self.overlay(to) else {
            return;
        };
        let places = overlay.locations();
        let newest = overlay.directory().stats().seq;
        let good = found.is_some_and(|found| {
            found.seq == newest || found.locations.iter().any(|place| places.contains(place))
        });
        if !good && found.is_some() && self.lookups.twice && !again {
            return self.look_for(from, to, true);
        }
        if !good {
            tracing::debug!(from, to, now = ?self.now, found = found.is_some(), "look-up failed");
        }
        self.lookups.done.add(good);
    }

    /// Look-ups whose asker has died are nobody's failure; any other one that is still under way is one.
    pub(super) fn take_lookups(&mut self) -> Tries {
        let lookups = std::mem::take(&mut self.lookups);
        let mut done = lookups.done;
        for ((from, _), (to, _)) in lookups.under_way {
            let lives = |node: usize| self.nodes.get(node).is_some_and(|node| node.died.is_none());
            if lives(from) && lives(to) {
                done.add(false);
            }
        }
        done
    }

    /// Measures the directory of an overlay that stands still.
    pub(super) fn measure_directory(&mut self) -> DirectoryFigures {
        self.take_lookups();
        for (from, to) in pairs(&self.live, LOOKUPS.0, &mut self.random) {
            self.ask(from, to);
            self.run(self.now + LOOKUPS.1);
        }
        self.run(self.now + DIRECTORY_LOOKUP);
        let lookups = self.take_lookups();
        let mut hops = Mean::default();
        for _ in 0..WALKS {
            let key = self.random.number();
            if let Some(from) = pick(&self.live, &mut self.random)
                && let Some(walked) = self.walk_to_key(from, key)
            {
                hops.add(f64::from(walked));
            }
        }
        DirectoryFigures {
            lookups,
            hops,
            top10_share: self.top_tenth(),
        }
    }

    /// Links on the way of a request for `key`; none if it ends where nobody is responsible.
    fn walk_to_key(&self, from: usize, key: u64) -> Option<u32> {
        let (mut at, mut watermark, mut ingress) = (from, WATERMARK_START, None);
        for hops in 0..u32::from(HOPS_MAX) {
            let node = self.nodes.get(at)?;
            let compass = node.overlay.as_ref()?.compass();
            match compass.toward(key, watermark, ingress.as_slice(), Way::Any) {
                Toward::Here => return Some(hops),
                Toward::Next(name, next) => {
                    (watermark, ingress) = (next, Some(node.name));
                    at = self.numbered(name)?;
                }
                Toward::Stuck => return None,
            }
        }
        None
    }

    /// Share of uniform test keys that the tenth of the nodes with most of them hold.
    fn top_tenth(&mut self) -> f64 {
        let mut ranges = Vec::new();
        for number in &self.live {
            if let Some(overlay) = self
                .nodes
                .get(*number)
                .and_then(|node| node.overlay.as_ref())
            {
                let own = overlay.compass().ranges();
                ranges.extend(own.into_iter().map(|(first, last)| (first, last, *number)));
            }
        }
        ranges.sort_unstable();
        let mut held = vec![0_u64; self.nodes.len()];
        let keys = KEYS_PER_NODE * self.live.len();
        for _ in 0..keys {
            let key = self.random.number();
            let before = ranges.partition_point(|(first, ..)| *first <= key);
            let range = before.checked_sub(1).and_then(|at| ranges.get(at));
            if let Some((_, last, number)) = range
                && key <= *last
                && let Some(held) = held.get_mut(*number)
            {
                *held += 1;
            }
        }
        held.sort_unstable_by(|a, b| b.cmp(a));
        let top: u64 = held.iter().take(self.live.len().div_ceil(10)).sum();
        ratio(float(top), count(keys))
    }
}
