//! The overlay as its owner drives it: tree and forwarding behind one face.
//!
//! One input, then drain [`Overlay::poll_message`] and [`Overlay::poll_event`], then ask
//! [`Overlay::poll_timeout`]. Time never goes back.

use std::sync::Arc;

use crate::cloak::forward::{self, Broken, Own, Verdict};
use crate::cloak::geometry::{Geometry, Metric};
use crate::cloak::tree::{self, Strict, Tree, Verify};
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::time::{Calendar, Time};
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::tag::Tag;

pub use crate::cloak::tree::Misbehaviour;

/// Kinds of messages of the tree.
const TREE_KINDS: std::ops::RangeInclusive<u8> = 1..=31;

/// Settings of the overlay.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node; it signs what it says.
    pub me: Arc<LocalParty>,
    /// Directions of each node of the tree, within [`crate::cloak::geometry::DEGREES`]; the same on all
    /// nodes of an overlay.
    pub degree: u32,
    /// How distances are measured; the same on all nodes of an overlay.
    pub metric: Metric,
    /// Whether this node carries traffic of others and accepts children.
    pub relay: bool,
    /// Who may be root of the tree; anyone if empty.
    pub roots: Vec<Name>,
    /// Checks signatures.
    pub verifier: Arc<dyn Verify>,
}

impl Settings {
    /// The usual settings: degree 16, distances in edges, traffic carried.
    pub fn new(me: Arc<LocalParty>) -> Self {
        Self {
            me,
            degree: 16,
            metric: Metric::Tree,
            relay: true,
            roots: Vec::new(),
            verifier: Arc::new(Strict),
        }
    }
}

/// What happened in the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This node's places changed: correspondents and the directory should know.
    Moved,
    /// Which keys are this node's may have changed, or the ways to keys.
    Keys,
    /// A link to this node would help the tree; without one it only recovers more slowly.
    WantLink(Name),
}

/// One node's part of the overlay.
#[derive(Debug)]
pub struct Overlay {
    me: Tag,
    geometry: Arc<Geometry>,
    tree: Tree,
}

impl Overlay {
    /// A node without neighbours; none when the degree is out of bounds.
    pub fn new(
        settings: Settings,
        mut random: Random,
        now: Time,
        calendar: Calendar,
    ) -> Option<Self> {
        let geometry = Arc::new(Geometry::new(settings.metric, settings.degree)?);
        let me = settings.me.name().tag();
        let tree = tree::Settings {
            me: settings.me,
            relay: settings.relay,
            roots: settings.roots,
            verifier: settings.verifier,
        };
        let tree = Tree::new(tree, Arc::clone(&geometry), random.fork(), now, calendar);
        Some(Self { me, geometry, tree })
    }

    /// The first link to a neighbour is up, or one of several was lost with what was under way on it: it is
    /// told everything anew. The link has proved the name.
    pub fn neighbour_up(&mut self, name: Name, now: Time) {
        self.tree.neighbour_up(name, now);
    }

    /// The last link to a neighbour is gone.
    pub fn neighbour_down(&mut self, name: Name, now: Time) {
        self.tree.neighbour_down(name, now);
    }

    /// A message of a neighbour. After an error its links are closed.
    pub fn handle(&mut self, from: Name, message: &[u8], now: Time) -> Result<(), Misbehaviour> {
        match message.first() {
            Some(kind) if TREE_KINDS.contains(kind) => self.tree.handle(from, message, now),
            _ => Err(Misbehaviour::Malformed),
        }
    }

    /// The next message to a neighbour.
    pub fn poll_message(&mut self) -> Option<(Name, Vec<u8>)> {
        self.tree.poll_message()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.tree.poll_event().map(|event| match event {
            tree::Event::Moved => Event::Moved,
            tree::Event::Keys => Event::Keys,
            tree::Event::WantLink(name) => Event::WantLink(name),
        })
    }

    /// When [`Self::handle_timeout`] is due.
    pub const fn poll_timeout(&self) -> Time {
        self.tree.poll_timeout()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Time) {
        self.tree.handle_timeout(now);
    }

    /// This node's place; every node has one, if only in a tree of its own.
    pub fn location(&self) -> Option<Location> {
        Some(self.tree.location())
    }

    /// Own place and live aliases, the place first.
    pub fn locations(&self) -> Vec<Location> {
        self.tree.locations()
    }

    /// Decides on a packet that came from `ingress` (none: from this node itself); `avoid` is a neighbour
    /// over which an earlier try failed.
    pub fn decide(&self, route: &Route, ingress: Option<Tag>, avoid: Option<Tag>) -> Verdict {
        if route.to == self.me {
            return Verdict::Here;
        }
        let Location::Tree { tree, ref path, .. } = route.to_location else {
            return Verdict::Broken(Broken::Elsewhere);
        };
        let own = Own {
            tag: self.me,
            tree,
            place: self.tree.place_in(tree),
        };
        // A neighbour is reached wherever it hangs, even in another tree.
        let end = self
            .tree
            .is_neighbour(route.to)
            .then_some((route.to, [].as_slice()));
        let neighbours = self.tree.places_toward(tree, path).chain(end);
        forward::decide(&self.geometry, own, neighbours, route, ingress, avoid)
    }

    /// The tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Bytes of memory that this node's part takes.
    pub fn bytes(&self) -> usize {
        self.tree.bytes() + self.geometry.bytes()
    }
}
