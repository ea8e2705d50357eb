//! What status shows of a core's part in the overlay.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cloak::directory::Stats as DirectoryStats;
use crate::cloak::relay::RelayStats;
use crate::core::view::{LinkView, Way};
use crate::core::{Core, Entry};
use crate::name::Name;
use crate::time::Time;
use crate::wire::location::Location;

/// A node's part in the overlay, for status.
#[derive(Clone, Debug)]
pub struct OverlayView {
    /// Directions of each place in the tree.
    pub degree: u32,
    /// Whether it carries frames of others.
    pub relays: bool,
    /// Its own place; none while it has none.
    pub place: Option<Location>,
    /// Former places of its own that still work.
    pub former: Vec<Location>,
    /// The root.
    pub root: Option<Name>,
    /// Age of the last sign of life of the root.
    pub root_heard: Duration,
    /// Nodes of the tree: exact at the root, to a power of two elsewhere.
    pub size: u64,
    /// The parent; none at the root.
    pub parent: Option<Name>,
    /// Children.
    pub children: usize,
    /// Neighbours, by name.
    pub neighbours: Vec<NeighbourView>,
    /// Counters of what it carried for others.
    pub relay: RelayStats,
    /// Bytes of others that wait here, as charged.
    pub waiting: usize,
    /// Its part in the directory.
    pub directory: DirectoryStats,
}

/// What a neighbour is to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The node hangs below it.
    Parent,
    /// It hangs below the node.
    Child,
    /// Neither; a link across the tree.
    Extra,
    /// Linked only for sessions between the two; no part of the overlay.
    Shortcut,
}

/// A neighbour, for status.
#[derive(Clone, Debug)]
pub struct NeighbourView {
    /// Its name.
    pub name: Name,
    /// What it is to this node.
    pub role: Role,
    /// Where it hangs, as far as it is known.
    pub place: Option<Location>,
    /// Links to it.
    pub links: usize,
    /// All of them owe an answer for too long already.
    pub doubtful: bool,
    /// Age of the last frame of it that opened.
    pub last_answer: Duration,
    /// Shortest round trip that a ping took last.
    pub rtt: Option<Duration>,
}

impl Core {
    /// This node's part in the overlay.
    pub fn overlay_view(&self, now: Time) -> OverlayView {
        let mut links: BTreeMap<Name, Vec<LinkView>> = BTreeMap::new();
        for link in self.link_views(now) {
            links.entry(link.peer).or_default().push(link);
        }
        let tree = self.overlay.tree().view();
        let places: BTreeMap<Name, (Option<Location>, bool)> = tree
            .neighbours
            .into_iter()
            .map(|neighbour| (neighbour.name, (neighbour.location, neighbour.child)))
            .collect();
        let children = places.values().filter(|(_, child)| *child).count();
        let neighbours = links.into_iter().map(|(name, links)| {
            let (place, child) = places.get(&name).cloned().unwrap_or_default();
            let role = if links.iter().all(|link| link.shortcut) {
                Role::Shortcut
            } else if tree.parent == Some(name) {
                Role::Parent
            } else if child {
                Role::Child
            } else {
                Role::Extra
            };
            neighbour_view(name, role, place, &links)
        });
        OverlayView {
            degree: self.settings.cloak.degree,
            relays: self.settings.cloak.relay,
            place: self.overlay.location(),
            former: tree.aliases,
            root: Name::from_bytes(tree.root).ok(),
            root_heard: now.since(tree.pulse_at),
            size: tree.size,
            parent: tree.parent,
            children,
            neighbours: neighbours.collect(),
            relay: self.relay.stats(),
            waiting: self.relay.cost(),
            directory: self.overlay.directory().stats(),
        }
    }

    /// How the packets of a session leave.
    pub(super) fn way_of(&self, entry: &Entry) -> Option<Way> {
        let link = entry.carrier.as_ref()?.link;
        let first = self.link_peer(link)?;
        Some(if first == entry.session.peer() {
            Way::Direct
        } else {
            Way::By(first)
        })
    }

    /// Where the peer of a session hangs: where it said itself, or as its record tells.
    pub(super) fn place_of(&self, entry: &Entry) -> Option<Location> {
        let peer = entry.session.peer();
        let told = entry.session.destination();
        let told = told.filter(|place| **place != Location::Neighbour);
        let known = self.peers.get(&peer);
        let recorded = known.into_iter().flat_map(|known| &known.places);
        told.into_iter().chain(recorded).next().cloned()
    }
}

fn neighbour_view(
    name: Name,
    role: Role,
    place: Option<Location>,
    links: &[LinkView],
) -> NeighbourView {
    let silences = links.iter().map(|link| link.last_answer);
    NeighbourView {
        name,
        role,
        place,
        links: links.len(),
        doubtful: links.iter().all(|link| link.doubtful),
        last_answer: silences.min().unwrap_or_default(),
        rtt: links.iter().filter_map(|link| link.rtt).min(),
    }
}
