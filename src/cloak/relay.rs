//! A node as a relay: what waits for each neighbour, within bounds whatever any of them does.
//!
//! Three bounds: what waits for one neighbour, what waits of one neighbour, and all of it. Whatever
//! goes beyond one drops the oldest frame of the longest flow that counts against it, so who sends most
//! loses first, and a neighbour that takes nothing keeps no memory from the others. The sessions at the
//! ends repair what was dropped.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::cloak::queues::{Queues, Tally, Turn, Waiting};
use crate::cloak::rate::Bucket;
use crate::limits::{RELAY_FRAMES_PER_SECOND, RELAY_INGRESS_MAX, RELAY_LINK_MAX, RELAY_NODE_MAX};
use crate::time::Time;
use crate::wire::tag::Tag;

/// Bounds of a relay's memory, bytes as charged by [`Waiting::cost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For one neighbour.
    pub link: usize,
    /// Of one neighbour.
    pub ingress: usize,
    /// In all.
    pub node: usize,
}

impl Bounds {
    /// The usual bounds, less if a relay may hold only `bytes` in all.
    pub fn within(bytes: usize) -> Self {
        let usual = Self::default();
        Self {
            link: usual.link.min(bytes / 8),
            ingress: usual.ingress.min(bytes / 4),
            node: usual.node.min(bytes),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            link: RELAY_LINK_MAX,
            ingress: RELAY_INGRESS_MAX,
            node: RELAY_NODE_MAX,
        }
    }
}

/// Counters of a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Frames passed on.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames passed on with a mark of this node or one before.
    pub marked: u64,
    /// Frames dropped because too much waited.
    pub overflowed: u64,
    /// Frames dropped because their neighbour sent too many per second.
    pub over_rate: u64,
}

/// The frames that wait at a node for its neighbours.
#[derive(Debug, Default)]
pub struct Relay {
    bounds: Bounds,
    links: BTreeMap<Tag, Queues>,
    /// What waits of each neighbour, by the neighbour it waits for.
    shares: BTreeMap<Tag, Tally<Tag>>,
    /// What waits of each neighbour.
    ingresses: Tally<Tag>,
    /// Frames per second of each neighbour.
    buckets: BTreeMap<Tag, Bucket>,
    stats: RelayStats,
}

impl Relay {
    /// A relay with bounds of its own.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    /// A frame of the neighbour `ingress` waits for the neighbour `egress` from here on; older ones
    /// may be dropped for it, or it.
    pub fn push(&mut self, egress: Tag, ingress: Tag, frame: Waiting, now: Time) {
        let bucket = self.buckets.entry(ingress).or_default();
        if !bucket.pass(RELAY_FRAMES_PER_SECOND, now) {
            self.stats.over_rate += 1;
            return;
        }
        let link = self.links.entry(egress).or_default();
        let cost = link.push(ingress, frame, now);
        self.shares.entry(ingress).or_default().add(egress, cost);
        self.ingresses.add(ingress, cost);
        self.shed(egress, ingress);
    }

    /// Drops what goes beyond the bounds; only these three can have been passed.
    fn shed(&mut self, egress: Tag, ingress: Tag) {
        while self.waiting_for(egress) > self.bounds.link {
            let longest = self.links.get(&egress).and_then(Queues::longest);
            if longest.is_none_or(|from| !self.drop_one(egress, from)) {
                break;
            }
        }
        while self.ingresses.of(ingress) > self.bounds.ingress {
            if !self.drop_of(ingress) {
                break;
            }
        }
        while self.ingresses.total() > self.bounds.node {
            let longest = self.ingresses.most();
            if longest.is_none_or(|from| !self.drop_of(from)) {
                break;
            }
        }
    }

    /// Drops a frame of a neighbour where most of it waits.
    fn drop_of(&mut self, ingress: Tag) -> bool {
        let egress = self.shares.get(&ingress).and_then(Tally::most);
        egress.is_some_and(|egress| self.drop_one(egress, ingress))
    }

    fn drop_one(&mut self, egress: Tag, ingress: Tag) -> bool {
        let link = self.links.get_mut(&egress);
        let Some(cost) = link.and_then(|link| link.drop_from(ingress)) else {
            return false;
        };
        self.stats.overflowed += 1;
        self.released(egress, ingress, cost);
        true
    }

    fn released(&mut self, egress: Tag, ingress: Tag, cost: usize) {
        if let Some(share) = self.shares.get_mut(&ingress) {
            share.take(egress, cost);
            if share.total() == 0 {
                self.shares.remove(&ingress);
            }
        }
        self.ingresses.take(ingress, cost);
    }

    /// Whose turn it is on the link to `egress`: a frame that waits, or this node's own sessions if `own`
    /// tells that they have something. After [`Turn::Own`], [`Self::own_sent`] must follow.
    pub fn pop(&mut self, egress: Tag, own: bool, now: Time) -> Option<Turn> {
        let Some(link) = self.links.get_mut(&egress) else {
            return own.then_some(Turn::Own);
        };
        let turn = link.pop(own, now);
        match &turn {
            Some(Turn::Frame {
                frame,
                ingress,
                cost,
            }) => {
                self.stats.frames += 1;
                self.stats.bytes += frame.wire_len() as u64;
                self.stats.marked += u64::from(frame.route.marked);
                self.released(egress, *ingress, *cost);
            }
            Some(Turn::Own) => {}
            None => {
                self.links.remove(&egress);
            }
        }
        turn
    }

    /// This node's own sessions have sent `bytes` to `egress` in their turn. None if the one that was asked had
    /// nothing: the turn is the next one's.
    pub fn own_sent(&mut self, egress: Tag, bytes: usize) {
        if let Some(link) = self.links.get_mut(&egress) {
            link.own_sent(bytes);
        }
    }

    /// Whether something waits for a neighbour.
    pub fn waits_for(&self, egress: Tag) -> bool {
        self.waiting_for(egress) > 0
    }

    /// What waits for a neighbour, bytes as charged.
    pub fn waiting_for(&self, egress: Tag) -> usize {
        self.links.get(&egress).map_or(0, Queues::cost)
    }

    /// All that waits, bytes as charged.
    pub const fn cost(&self) -> usize {
        self.ingresses.total()
    }

    /// A neighbour is gone: gives what waited for it, with the neighbour that it came from, so that
    /// another way may be found. What came from it goes on.
    pub fn neighbour_gone(&mut self, neighbour: Tag) -> Vec<(Tag, Waiting)> {
        self.buckets.remove(&neighbour);
        let Some(mut link) = self.links.remove(&neighbour) else {
            return Vec::new();
        };
        let frames = link.take_all();
        for (ingress, frame) in &frames {
            self.released(neighbour, *ingress, frame.cost());
        }
        frames
    }

    /// Its bounds.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Counters.
    pub const fn stats(&self) -> RelayStats {
        self.stats
    }
}
