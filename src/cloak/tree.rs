//! Upkeep of the overlay's tree: who is whose parent, and where everybody hangs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use crate::cloak::geometry::{Geometry, Steps};
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::time::{Calendar, Time};
use crate::wire::location::{Location, PATH_MAX};
use crate::wire::tag::Tag;
use crate::wire::tree::Message;

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
}

/// What the tree tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node's place changed.
    Moved,
    /// A link to this node would help.
    WantLink(Name),
}

/// A range of the circle Z/2^64, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First key.
    pub first: u64,
    /// Last key, not below the first.
    pub last: u64,
}

impl Range {
    /// The whole circle.
    pub const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// Whether a key lies in it.
    pub const fn contains(&self, key: u64) -> bool {
        self.first <= key && key <= self.last
    }

    /// How many keys it has.
    pub const fn length(&self) -> u128 {
        (self.last - self.first) as u128 + 1
    }
}

#[derive(Clone, Debug)]
struct Neighbour {
    rank: u64,
    place: Option<(u64, u64, Vec<(u32, u32)>)>,
}

/// The tree as one node sees it.
#[derive(Debug)]
pub struct Tree {
    settings: Settings,
    geometry: Arc<Geometry>,
    random: Random,
    rank: u64,
    tree: u64,
    path: Vec<(u32, u32)>,
    parent: Option<Name>,
    asked: Option<Name>,
    children: BTreeMap<Name, (u32, u32)>,
    neighbours: BTreeMap<Name, Neighbour>,
    messages: VecDeque<(Name, Vec<u8>)>,
    events: VecDeque<Event>,
}

impl Tree {
    /// The tree of a node without neighbours: its own root.
    pub fn new(
        settings: Settings,
        geometry: Arc<Geometry>,
        mut random: Random,
        _now: Time,
        calendar: Calendar,
    ) -> Self {
        let tree = random.number();
        Self {
            settings,
            geometry,
            random,
            rank: calendar.0,
            tree,
            path: Vec::new(),
            parent: None,
            asked: None,
            children: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            messages: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The first link to a neighbour is up.
    pub fn neighbour_up(&mut self, name: Name, _now: Time) {
        let fresh = Neighbour {
            rank: 0,
            place: None,
        };
        self.neighbours.entry(name).or_insert(fresh);
        self.announce_to(name);
    }

    /// The last link to a neighbour is gone.
    pub fn neighbour_down(&mut self, name: Name, _now: Time) {
        self.neighbours.remove(&name);
        self.children.remove(&name);
        if self.asked == Some(name) {
            self.asked = None;
        }
        if self.parent == Some(name) {
            self.parent = None;
            self.tree = self.random.number();
            self.rank = u64::MAX >> 1;
            self.settle(Vec::new());
        }
        self.look();
    }

    /// A message of a neighbour.
    pub fn handle(&mut self, from: Name, bytes: &[u8], _now: Time) -> Result<(), Misbehaviour> {
        let message = Message::decode(bytes).map_err(|_| Misbehaviour::Malformed)?;
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(());
        };
        match message {
            Message::Announce { rank, place } => {
                let Location::Tree { tree, term, path } = place else {
                    return Err(Misbehaviour::Malformed);
                };
                neighbour.rank = rank;
                neighbour.place = Some((tree, term, path.clone()));
                if self.parent == Some(from) {
                    let mut own = path;
                    own.extend(self.path.last().copied());
                    (self.tree, self.rank) = (tree, rank);
                    self.settle(own);
                } else {
                    self.look();
                }
            }
            Message::Join => self.give(from),
            Message::Grant { slot, lease } => {
                if self.asked.take() == Some(from)
                    && let Some((tree, _, path)) = neighbour.place.clone()
                {
                    let mut own = path;
                    own.push((slot, lease));
                    (self.tree, self.rank) = (tree, neighbour.rank);
                    self.parent = Some(from);
                    self.settle(own);
                }
            }
            Message::Refuse => self.asked = None,
        }
        Ok(())
    }

    fn give(&mut self, child: Name) {
        let first = u32::from(!self.path.is_empty());
        let taken = |slot: u32| self.children.values().any(|(taken, _)| *taken == slot);
        let slot = (first..self.geometry.degree()).find(|slot| !taken(*slot));
        let free = self.settings.relay && self.path.len() < PATH_MAX;
        let Some(slot) = slot.filter(|_| free) else {
            self.send(child, &Message::Refuse);
            return;
        };
        let lease = u32::try_from(self.random.below(1 << 30)).unwrap_or_default();
        self.children.insert(child, (slot, lease));
        self.send(child, &Message::Grant { slot, lease });
    }

    fn look(&mut self) {
        if self.asked.is_some() {
            return;
        }
        let better = self.neighbours.iter().filter_map(|(name, neighbour)| {
            let (tree, _, path) = neighbour.place.as_ref()?;
            let senior = (neighbour.rank, *tree) < (self.rank, self.tree);
            senior.then_some((path.len(), *name))
        });
        if let Some((_, name)) = better.min() {
            self.asked = Some(name);
            self.send(name, &Message::Join);
        }
    }

    fn settle(&mut self, path: Vec<(u32, u32)>) {
        self.path = path;
        self.events.push_back(Event::Moved);
        let all: Vec<_> = self.neighbours.keys().copied().collect();
        for name in all {
            self.announce_to(name);
        }
    }

    fn announce_to(&mut self, name: Name) {
        let place = Location::Tree {
            tree: self.tree,
            term: 1,
            path: self.path.clone(),
        };
        let rank = self.rank;
        self.send(name, &Message::Announce { rank, place });
    }

    fn send(&mut self, to: Name, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.messages.push_back((to, bytes));
    }

    /// The next message to a neighbour.
    pub fn poll_message(&mut self) -> Option<(Name, Vec<u8>)> {
        self.messages.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub const fn poll_timeout(&self) -> Time {
        Time::NEVER
    }

    /// Lets time pass.
    pub const fn handle_timeout(&mut self, _now: Time) {}

    /// This node's place; none while it has none.
    pub fn location(&self) -> Option<Location> {
        Some(Location::Tree {
            tree: self.tree,
            term: 1,
            path: self.path.clone(),
        })
    }

    /// Own place and live aliases, the place first.
    pub fn locations(&self) -> Vec<Location> {
        self.location().into_iter().collect()
    }

    /// The overlay's random number.
    pub const fn tree(&self) -> u64 {
        self.tree
    }

    /// Own place in a tree, an alias if need be.
    pub fn place_in(&self, tree: u64) -> Option<&Steps> {
        (tree == self.tree).then_some(self.path.as_slice())
    }

    /// Places of the neighbours in a tree, former ones included.
    pub fn places_in(&self, tree: u64) -> impl Iterator<Item = (Tag, &Steps)> {
        self.neighbours.iter().filter_map(move |(name, neighbour)| {
            let (other, _, path) = neighbour.place.as_ref()?;
            (*other == tree).then_some((name.tag(), path.as_slice()))
        })
    }

    /// Whether a node is a neighbour.
    pub fn is_neighbour(&self, tag: Tag) -> bool {
        self.neighbours.keys().any(|name| name.tag() == tag)
    }

    /// The parent; none at the root.
    pub const fn parent(&self) -> Option<Name> {
        self.parent
    }

    /// The children.
    pub fn children(&self) -> impl Iterator<Item = Name> {
        self.children.keys().copied()
    }

    /// Whether a key belongs to this node: its whole range holds it, and none of its children's does.
    pub const fn is_responsible(&self, _key: u64) -> bool {
        self.parent.is_none()
    }

    /// Depth and whole range of this node, twice for a root that also hangs below its seat.
    pub fn ranges(&self) -> impl Iterator<Item = (usize, Range)> {
        self.parent.is_none().then_some((0, Range::ALL)).into_iter()
    }

    /// Depth and whole range of each neighbour in this node's tree.
    pub fn neighbour_ranges(&self) -> impl Iterator<Item = (Name, usize, Range)> {
        self.neighbours.iter().filter_map(|(name, neighbour)| {
            let (tree, _, path) = neighbour.place.as_ref()?;
            (*tree == self.tree && path.is_empty()).then_some((*name, 0, Range::ALL))
        })
    }

    /// Bytes of memory that the tree takes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}
