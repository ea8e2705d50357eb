//! What status shows of a core's part in the overlay.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cloak::relay::RelayStats;
use crate::core::view::{LinkView, Way};
use crate::core::{Core, Entry};
use crate::name::Name;
use crate::time::Time;
use crate::wire::location::Location;
use crate::wire::tag::Tag;

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
    /// What it keeps of the directory.
    pub directory: Option<DirectoryView>,
}

/// What a node keeps of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryView {
    /// Records.
    pub records: usize,
    /// Bytes that they take.
    pub bytes: usize,
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
        let tree = self.overlay.tree();
        OverlayView {
            degree: self.settings.cloak.degree,
            relays: self.settings.cloak.relay,
            place: self.overlay.location(),
            former: self.overlay.locations().into_iter().skip(1).collect(),
            parent: tree.parent(),
            children: tree.children().count(),
            neighbours: links
                .into_iter()
                .map(|(name, links)| self.neighbour_view(name, &links))
                .collect(),
            relay: self.relay.stats(),
            waiting: self.relay.cost(),
            directory: None,
        }
    }

    fn neighbour_view(&self, name: Name, links: &[LinkView]) -> NeighbourView {
        let tree = self.overlay.tree();
        let role = if links.iter().all(|link| link.shortcut) {
            Role::Shortcut
        } else if tree.parent() == Some(name) {
            Role::Parent
        } else if tree.children().any(|child| child == name) {
            Role::Child
        } else {
            Role::Extra
        };
        let silences = links.iter().map(|link| link.last_answer);
        NeighbourView {
            name,
            role,
            place: self.neighbour_place(name.tag()),
            links: links.len(),
            doubtful: links.iter().all(|link| link.doubtful),
            last_answer: silences.min().unwrap_or_default(),
            rtt: links.iter().filter_map(|link| link.rtt).min(),
        }
    }

    /// Where a neighbour hangs in this node's tree.
    fn neighbour_place(&self, neighbour: Tag) -> Option<Location> {
        let Some(Location::Tree { tree, term, .. }) = self.overlay.location() else {
            return None;
        };
        let mut places = self.overlay.tree().places_in(tree);
        let (_, path) = places.find(|(tag, _)| *tag == neighbour)?;
        let path = path.to_vec();
        Some(Location::Tree { tree, term, path })
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

    /// Where the peer of a session hangs: where it said itself, or as its neighbour or its record tells.
    pub(super) fn place_of(&self, entry: &Entry) -> Option<Location> {
        let peer = entry.session.peer();
        let told = entry.session.destination();
        let told = told.filter(|place| **place != Location::Neighbour);
        let known = self.peers.get(&peer);
        let recorded = || known.and_then(|known| known.places.first()).cloned();
        told.cloned()
            .or_else(|| self.neighbour_place(peer.tag()))
            .or_else(recorded)
    }
}
