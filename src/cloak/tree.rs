//! Upkeep of the overlay's tree: who is whose parent, and where everybody hangs.
//!
//! Every node has a place at any time: it hangs on a parent, or it is a root, of a tree of one at first. A place is
//! proved by a chain of grants from the root down, each signed by a parent for its child; a grant says
//! nothing of what is above, so when a node moves, all that hangs on it moves with it and nothing is signed again.
//!
//! # No loops
//! The root counts its signs of life, the pulses. A node changes its parent only to one whose newest pulse
//! is newer than its own, or is the same while it is closer to the root than this node was at any time during
//! this pulse. So distances never count up to infinity, and a place can never hang on itself. Beside, a chain names
//! everybody in it, and a node refuses one that names it.
//!
//! # The seat
//! The root's place with the empty path is a seat: the root sits on it and may hang on it, too. When the
//! root is gone, one of its deputies, who are children of the seat, sits down in it and stays where it hangs: no
//! address changes.
//!
//! # When nothing is left
//! A node that is cut off founds a tree of its own with all that hangs on it, in which everything keeps
//! working; as soon as a neighbour of anyone in it knows a larger tree, the two become one again.

mod children;
mod join;
mod keys;
mod neighbour;
mod proof;
mod range;
mod rank;
mod root;
mod speak;
mod state;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use crate::cloak::geometry::{Geometry, Steps};
use crate::cloak::tree::children::Children;
use crate::cloak::tree::join::Asked;
use crate::cloak::tree::neighbour::{Aliases, Neighbour, leads};
use crate::cloak::tree::proof::Proofs;
use crate::cloak::tree::root::Office;
use crate::cloak::tree::state::{Feasible, Own};
use crate::limits::TREE_ASK_AFTER;
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::time::{Almanac, Calendar, Time};
use crate::wire::location::Location;
use crate::wire::tag::Tag;

pub use proof::{Strict, Verify};
pub use range::Range;

/// What a neighbour did that ends its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misbehaviour {
    /// Bytes that are no message.
    #[error("malformed overlay message")]
    Malformed,
    /// More messages than any honest neighbour sends.
    #[error("too many overlay messages")]
    Flood,
    /// A proof that proves nothing.
    #[error("forged overlay message")]
    Forged,
}

/// Settings of the tree.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub me: Arc<LocalParty>,
    /// Whether it carries traffic of others and accepts children.
    pub relay: bool,
    /// Who may be root; anyone if empty.
    pub roots: Vec<Name>,
    /// Checks signatures.
    pub verifier: Arc<dyn Verify>,
}

/// What the tree tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node's place changed.
    Moved,
    /// Which keys are this node's may have changed, or the ways to keys.
    Keys,
    /// Ways to places may have opened or broken: this node or a neighbour was cut off, or no longer is.
    Ways,
    /// Another root: whoever could not be reached may be again.
    Root,
    /// A link to this node would help.
    WantLink(Name),
    /// No neighbour has a place for this node, this one least of all.
    NoPlace(Name),
}

/// One node's view of the tree, for people.
#[derive(Clone, Debug)]
pub struct View {
    /// Own place.
    pub location: Location,
    /// Former places that still work.
    pub aliases: Vec<Location>,
    /// The root's key.
    pub root: [u8; 32],
    /// Nodes of the tree: exact at the root, to a power of two elsewhere.
    pub size: u64,
    /// The parent; none at the root and while there is none.
    pub parent: Option<Name>,
    /// When the last sign of life of the root came.
    pub pulse_at: Time,
    /// Neighbours, with their places as far as they are known.
    pub neighbours: Vec<NeighbourView>,
}

/// A neighbour in a [`View`].
#[derive(Clone, Debug)]
pub struct NeighbourView {
    /// Its name.
    pub name: Name,
    /// Where it hangs.
    pub location: Option<Location>,
    /// It is this node's child.
    pub child: bool,
}

/// The tree as one node sees it.
#[derive(Debug)]
pub struct Tree {
    settings: Settings,
    me: Name,
    geometry: Arc<Geometry>,
    random: Random,
    almanac: Almanac,
    own: Own,
    office: Option<Office>,
    /// Above so many steps of the own path the way up is broken.
    cut: Option<u8>,
    /// What loops are avoided by, under this root and those before it.
    feasible: [Option<Feasible>; 3],
    former: Aliases,
    children: Children,
    neighbours: BTreeMap<Name, Neighbour>,
    asked: Option<Asked>,
    proofs: Proofs,
    /// What changed and is to be announced, and from when on it may be.
    unsaid: bool,
    say_from: Time,
    told_weight: (u64, Time),
    /// How often this node went to another tree of late, and when last.
    merged: (u32, Time),
    /// The tree from which this node was cut off, with all above it that it still has.
    home: Option<u64>,
    refresh_at: Time,
    /// When something in the tables is too old next.
    expire_at: Time,
    /// When to look for a parent again.
    look_at: Time,
    /// When to look whether the root lives.
    watch_at: Time,
    due: Time,
    messages: VecDeque<(Name, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl Tree {
    /// The tree of a node without neighbours: its own root.
    pub fn new(
        settings: Settings,
        geometry: Arc<Geometry>,
        mut random: Random,
        now: Time,
        calendar: Calendar,
    ) -> Self {
        let overlay = settings.me.overlay().0;
        let proofs = Proofs::new(overlay, Arc::clone(&settings.verifier), random.bytes());
        let (own, office) = root::alone(&settings, random.number(), now, calendar);
        let mut tree = Self {
            me: settings.me.name(),
            settings,
            geometry,
            random,
            almanac: Almanac::new(calendar, now),
            own,
            office: Some(office),
            cut: None,
            feasible: [None; 3],
            former: Aliases::default(),
            children: Children::default(),
            neighbours: BTreeMap::new(),
            asked: None,
            proofs,
            unsaid: false,
            say_from: now,
            told_weight: (1, now),
            merged: (0, now),
            home: None,
            refresh_at: now,
            expire_at: Time::NEVER,
            look_at: Time::NEVER,
            watch_at: Time::NEVER,
            due: Time::NEVER,
            messages: VecDeque::new(),
            events: VecDeque::new(),
        };
        tree.refresh_at = now + tree.refresh_pause();
        tree.reschedule();
        tree
    }

    /// The calendar is set.
    pub const fn set_almanac(&mut self, almanac: Almanac) {
        self.almanac = almanac;
    }

    /// The next message to a neighbour.
    pub fn poll_message(&mut self) -> Option<(Name, Vec<u8>)> {
        let next = self.messages.pop_front();
        if next.is_none() && self.messages.capacity() > 64 {
            self.messages = VecDeque::new();
        }
        next
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub const fn poll_timeout(&self) -> Time {
        self.due
    }

    /// This node's place.
    pub fn location(&self) -> Location {
        self.place(self.own.charter.tree, &self.own.path)
    }

    fn place(&self, tree: u64, path: &Steps) -> Location {
        Location::Tree {
            tree,
            term: self.own.charter.term,
            path: path.to_vec(),
        }
    }

    /// Own place and live aliases, the place first, then the newest.
    pub fn locations(&self) -> Vec<Location> {
        let former = self.former.iter().rev();
        let former = former.map(|alias| self.place(alias.tree, &alias.path));
        [self.location()].into_iter().chain(former).collect()
    }

    /// The tree's random number.
    pub fn tree(&self) -> u64 {
        self.own.charter.tree
    }

    /// The root of the tree.
    pub fn root(&self) -> [u8; 32] {
        self.own.charter.root
    }

    /// The root's term.
    pub fn term(&self) -> u64 {
        self.own.charter.term
    }

    /// Own place in a tree, on the way to `path`; none in another tree, and while the way up is broken.
    pub fn place_toward(&self, tree: u64, path: &Steps) -> Option<&Steps> {
        let leads = tree == self.own.charter.tree && leads(&self.own.path, self.cut, path);
        leads.then_some(&*self.own.path)
    }

    /// Places of the neighbours that carry traffic of others and help on the way to `path` in a tree, former ones
    /// included.
    pub fn relays_toward<'a>(
        &'a self,
        tree: u64,
        path: &'a Steps,
    ) -> impl Iterator<Item = (Tag, &'a Steps)> {
        let relays = self.neighbours.iter().filter(|(_, n)| !n.is_leaf());
        relays.flat_map(move |(name, neighbour)| {
            let places = neighbour.places_toward(tree, path);
            places.map(|path| (name.tag(), path))
        })
    }

    /// Whether a node is a neighbour.
    pub fn is_neighbour(&self, tag: Tag) -> bool {
        self.neighbours.keys().any(|name| name.tag() == tag)
    }

    /// The parent; none at the root, and while there is none.
    pub const fn parent(&self) -> Option<Name> {
        self.own.parent
    }

    /// Neighbours that could be this node's parent as well as the one that is: they hang in the same tree, and not on
    /// this node. None for a node that accepts no children, which nobody looks for behind its parent.
    pub fn spares(&self, now: Time) -> impl Iterator<Item = Name> {
        let parent = self.own.parent;
        let may = parent.is_some() && self.settings.relay;
        let neighbours = self.neighbours.iter().filter(move |_| may);
        let spares = neighbours.filter(move |(name, neighbour)| {
            let place = neighbour.place.as_deref();
            let fits = place.is_some_and(|place| {
                place.is_open() && rank::same(&place.charter, &self.own.charter)
            });
            fits && Some(**name) != parent && neighbour.refused_until <= now
        });
        spares.map(|(name, _)| *name)
    }

    /// Whether the way up is whole, as far as this node knows.
    pub fn is_whole(&self, now: Time) -> bool {
        self.cut.is_none() && now.since(self.own.pulse_at) < TREE_ASK_AFTER
    }

    /// The logarithm to base 2 of the number of the tree's nodes, roughly; by the word of the root.
    pub fn class(&self) -> u8 {
        self.own.charter.class
    }

    /// The children.
    pub fn children(&self) -> impl Iterator<Item = Name> {
        self.children.live().map(|(name, _)| *name)
    }

    /// Nodes that hang on this node, itself included, as far as it was told.
    pub fn weight(&self) -> u64 {
        self.children.weight()
    }

    /// Whether a key belongs to this node: its whole range holds it, and none of its children's does.
    pub fn is_responsible(&self, key: u64) -> bool {
        let own = self.own.range.filter(|range| range.contains(key));
        let below = own.map(|range| !self.children.holds(false, range, key));
        if self.office.is_none() {
            return below == Some(true);
        }
        if self.own.path.is_empty() || own.is_none() {
            return !self.children.holds(true, Range::ALL, key);
        }
        below == Some(true)
    }

    /// Depth and whole range of this node, twice for a root that also hangs on its seat.
    pub fn ranges(&self) -> impl Iterator<Item = (usize, Range)> {
        let seat = self.office.as_ref().map(|_| (0, Range::ALL));
        let own = self.own.range.map(|range| (self.own.path.len(), range));
        let own = own.filter(|(depth, _)| *depth > 0);
        seat.into_iter().chain(own)
    }

    /// Depth and whole range of each neighbour in this node's tree: those with the present root only.
    pub fn neighbour_ranges(&self) -> impl Iterator<Item = (Name, usize, Range)> {
        self.neighbours.iter().flat_map(|(name, neighbour)| {
            let place = neighbour.place.as_deref();
            let place = place.filter(|place| place.charter.tree == self.own.charter.tree);
            let seat = place.filter(|place| place.root).map(|_| (0, Range::ALL));
            let own = place.and_then(|place| Some((place.path.len(), place.range?)));
            let own = own.filter(|(depth, _)| *depth > 0);
            seat.into_iter()
                .chain(own)
                .map(|(depth, range)| (*name, depth, range))
        })
    }

    /// Whether a neighbour keeps nothing for others.
    pub fn is_leaf(&self, name: &Name) -> bool {
        let place = self.neighbours.get(name).and_then(|n| n.place.as_deref());
        place.is_some_and(|place| !place.relay)
    }

    /// What people may want to know.
    pub fn view(&self) -> View {
        let neighbours = self.neighbours.iter().map(|(name, neighbour)| {
            let place = neighbour.place.as_deref();
            NeighbourView {
                name: *name,
                location: place.map(|place| Location::Tree {
                    tree: place.charter.tree,
                    term: place.charter.term,
                    path: place.path.to_vec(),
                }),
                child: self.children.has(name),
            }
        });
        let mut places = self.locations().into_iter();
        View {
            location: places.next().unwrap_or(Location::Neighbour),
            aliases: places.collect(),
            root: self.own.charter.root,
            size: match self.office {
                Some(_) => self.weight(),
                None => 1_u64
                    .checked_shl(self.own.charter.class.into())
                    .unwrap_or(u64::MAX),
            },
            parent: self.own.parent,
            pulse_at: self.own.pulse_at,
            neighbours: neighbours.collect(),
        }
    }

    /// Statements of neighbours that were not looked at, since they came faster than they may be checked.
    pub const fn unchecked(&self) -> u64 {
        self.proofs.unchecked()
    }

    /// Bytes of memory that the tree takes.
    pub fn bytes(&self) -> usize {
        let neighbours = self.neighbours.values().map(|n| 32 + n.bytes());
        let messages = self.messages.iter().map(|(_, bytes)| 56 + bytes.len());
        size_of::<Self>()
            + neighbours.sum::<usize>()
            + messages.sum::<usize>()
            + self.children.bytes()
            + self.former.bytes()
            + self.own.bytes()
            + self.proofs.bytes()
    }
}
