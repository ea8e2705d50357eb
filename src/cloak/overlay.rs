//! The overlay as its owner drives it: tree, directory and forwarding behind one face.
//!
//! One input, then drain [`Overlay::poll_message`] and [`Overlay::poll_event`], then ask
//! [`Overlay::poll_timeout`]. Time never goes back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cloak::bearings::Bearings;
use crate::cloak::compass::Compass;
use crate::cloak::directory::{self, Directory};
use crate::cloak::forward::Verdict;
use crate::cloak::geometry::{Geometry, Metric};
use crate::cloak::notices::Notices;
use crate::cloak::probe::Probes;
use crate::cloak::tree::{self, Strict, Tree, Verify};
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::time::{Almanac, Calendar, Time};
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::tag::Tag;

pub use crate::cloak::directory::{Absence, Found};
pub use crate::cloak::notices::Traced;
pub use crate::cloak::tree::Misbehaviour;

/// Kinds of messages of the tree.
const TREE_KINDS: std::ops::RangeInclusive<u8> = 1..=31;
/// Kinds of notices.
const NOTICE_KINDS: std::ops::RangeInclusive<u8> = 64..=95;
/// Kinds of messages of the directory.
const DIRECTORY_KINDS: std::ops::RangeInclusive<u8> = 32..=63;

/// Whether a message is one of the tree, which nobody sends twice.
pub fn is_of_tree(message: &[u8]) -> bool {
    let kind = message.first();
    kind.is_some_and(|kind| TREE_KINDS.contains(kind))
}

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
    /// Highest number of a record of this node that is known from earlier runs ([`Event::Sequence`]); 0 if
    /// none is.
    pub last_seq: u64,
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
            last_seq: 0,
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
    /// Ways to places may have opened or broken.
    Ways,
    /// Another root: whoever could not be reached may be again.
    Root,
    /// A link to this node would help the tree; without one it only recovers more slowly.
    WantLink(Name),
    /// No neighbour has a place for this node; this one was asked last.
    NoPlace(Name),
    /// A relay says that nothing gets through to this node; it may lie.
    PathBroken(Tag),
    /// A node on a traced way has answered.
    Traced(Traced),
    /// A look-up found a node.
    Found {
        /// Which look-up.
        query: u64,
        /// What the directory says, checked.
        found: Box<Found>,
    },
    /// A look-up found nothing.
    NotFound {
        /// Which look-up.
        query: u64,
        /// Why.
        why: Absence,
    },
    /// This node's record of this number lies at two of its places at least.
    Published(u64),
    /// The number of this node's latest record, to be written down (R-D2).
    Sequence(u64),
}

/// One node's part of the overlay.
#[derive(Debug)]
pub struct Overlay {
    pub(in crate::cloak) me: Name,
    geometry: Arc<Geometry>,
    pub(in crate::cloak) tree: Tree,
    directory: Directory,
    pub(in crate::cloak) notices: Notices,
    pub(in crate::cloak) probes: Probes,
    /// From the tree; the directory has heard of them.
    events: VecDeque<Event>,
}

impl Overlay {
    /// A node without neighbours.
    pub fn new(settings: Settings, mut random: Random, now: Time, calendar: Calendar) -> Self {
        let geometry = Arc::new(Geometry::new(settings.metric, settings.degree));
        let me = settings.me.name();
        let directory = directory::Settings {
            me: Arc::clone(&settings.me),
            verifier: Arc::clone(&settings.verifier),
            almanac: Almanac::new(calendar, now),
            last_seq: settings.last_seq,
        };
        let tree = tree::Settings {
            me: settings.me,
            relay: settings.relay,
            roots: settings.roots,
            verifier: settings.verifier,
        };
        let tree = Tree::new(tree, Arc::clone(&geometry), random.fork(), now, calendar);
        let mut overlay = Self {
            me,
            geometry,
            tree,
            directory: Directory::new(directory, random.fork(), now),
            notices: Notices::default(),
            probes: Probes::new(random.fork(), now),
            events: VecDeque::new(),
        };
        overlay.tell_directory(now);
        overlay
    }

    /// Keeps at most so many bytes of the directory.
    pub const fn bound_directory(&mut self, bytes: usize) {
        self.directory.bound(bytes);
    }

    /// What the calendar says now. It is set anew when the clock of the machine is set, and when the machine has
    /// slept, in which time stood still.
    pub fn set_calendar(&mut self, calendar: Calendar, now: Time) {
        let almanac = Almanac::new(calendar, now);
        self.tree.set_almanac(almanac);
        self.directory.set_almanac(almanac, now);
    }

    /// The machine woke up or its network changed: neighbours are asked where they hang, and look-ups ask anew.
    pub fn network_changed(&mut self, now: Time) {
        self.tree.ask_all(now);
        self.tell_directory(now);
        self.directory.forget_all();
    }

    fn bearings(&self) -> Bearings<'_> {
        Bearings {
            me: self.me,
            geometry: &self.geometry,
            tree: &self.tree,
        }
    }

    /// Calls the directory with the tree as it is.
    fn ask_directory<R>(&mut self, call: impl FnOnce(&mut Directory, &Bearings<'_>) -> R) -> R {
        let bearings = Bearings {
            me: self.me,
            geometry: &self.geometry,
            tree: &self.tree,
        };
        call(&mut self.directory, &bearings)
    }

    /// Tells the directory what has happened to the tree.
    pub(in crate::cloak) fn tell_directory(&mut self, now: Time) {
        let (mut moved, mut keys, mut root) = (false, false, false);
        while let Some(event) = self.tree.poll_event() {
            self.events.push_back(match event {
                tree::Event::Moved => {
                    moved = true;
                    Event::Moved
                }
                tree::Event::Keys => {
                    keys = true;
                    Event::Keys
                }
                tree::Event::Ways => Event::Ways,
                tree::Event::Root => {
                    root = true;
                    Event::Root
                }
                tree::Event::WantLink(name) => Event::WantLink(name),
                tree::Event::NoPlace(name) => Event::NoPlace(name),
            });
        }
        if moved || root {
            self.restart_probes(now);
        }
        if moved {
            let places = self.tree.locations();
            self.ask_directory(|directory, bearings| directory.moved(places, bearings, now));
        } else if keys {
            self.ask_directory(|directory, bearings| directory.changed(bearings, now));
        }
        if root {
            self.ask_directory(|directory, bearings| directory.other_root(bearings, now));
        }
    }

    /// The first link to a neighbour is up, or one of several was lost with what was under way on it: it is
    /// told everything anew. The link has proved the name.
    pub fn neighbour_up(&mut self, name: Name, now: Time) {
        self.notices.neighbour_up(name);
        self.tree.neighbour_up(name, now);
        self.tell_directory(now);
    }

    /// A link to a node is up that carries nothing but what is for one of its ends: answers and notices too.
    pub fn shortcut_up(&mut self, name: Name) {
        self.notices.neighbour_up(name);
    }

    /// The last link to a neighbour is gone.
    pub fn neighbour_down(&mut self, name: Name, now: Time) {
        self.notices.neighbour_down(name);
        self.tree.neighbour_down(name, now);
        self.tell_directory(now);
        self.ask_directory(|directory, bearings| directory.neighbour_down(name, bearings, now));
    }

    /// A message of a neighbour. After an error its links are closed.
    pub fn handle(&mut self, from: Name, message: &[u8], now: Time) -> Result<(), Misbehaviour> {
        match message.first() {
            Some(kind) if TREE_KINDS.contains(kind) => {
                let handled = self.tree.handle(from, message, now);
                self.tell_directory(now);
                handled
            }
            Some(kind) if NOTICE_KINDS.contains(kind) => self.notice(from, message, now),
            Some(kind) if DIRECTORY_KINDS.contains(kind) => {
                let handled = self.ask_directory(|directory, bearings| {
                    directory.handle(from, message, bearings, now)
                });
                handled.map_err(|error| match error {
                    directory::Misbehaviour::Malformed(_) => Misbehaviour::Malformed,
                    directory::Misbehaviour::Forged => Misbehaviour::Forged,
                })
            }
            _ => Err(Misbehaviour::Malformed),
        }
    }

    /// The next message to a neighbour.
    pub fn poll_message(&mut self) -> Option<(Name, Vec<u8>)> {
        let next = self.tree.poll_message();
        next.or_else(|| self.directory.poll_message())
            .or_else(|| self.notices.poll_message())
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if let Some(event) = self.notices.poll_event() {
            return Some(event);
        }
        self.directory.poll_event().map(|event| match event {
            directory::Event::Found { query, found } => Event::Found { query, found },
            directory::Event::NotFound { query, why } => Event::NotFound { query, why },
            directory::Event::Published(seq) => Event::Published(seq),
            directory::Event::Sequence(seq) => Event::Sequence(seq),
        })
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Time {
        let directory = self.directory.poll_timeout();
        let probes = self.probes.next();
        self.tree.poll_timeout().min(directory).min(probes)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.tree.poll_timeout() <= now {
            self.tree.handle_timeout(now);
            self.tell_directory(now);
        }
        if self.directory.poll_timeout() <= now {
            self.ask_directory(|directory, bearings| directory.handle_timeout(bearings, now));
        }
        if self.probes.next() <= now {
            self.run_probes(now);
        }
    }

    /// Looks a name up in the directory. [`Event::Found`] or [`Event::NotFound`] with the returned number
    /// follows within [`DIRECTORY_LOOKUP`](crate::limits::DIRECTORY_LOOKUP).
    pub fn lookup(&mut self, name: Name, now: Time) -> u64 {
        self.ask_directory(|directory, bearings| directory.lookup(name, bearings, now))
    }

    /// What was found of a name is out of date, as a broken path tells: the next look-up asks again.
    pub fn forget(&mut self, name: Name) {
        self.directory.forget(name);
    }

    /// Publishes this node's places from now on, whenever they change and every ten minutes, with these
    /// `host:port` of its link ports. Again with others when they change.
    pub fn publish(&mut self, endpoints: Vec<String>, now: Time) {
        let places = self.tree.locations();
        self.ask_directory(|directory, bearings| {
            directory.publish(places, endpoints, bearings, now);
        });
    }

    /// Tells the directory that this node leaves. It should live until [`Event::Published`], or for a
    /// second.
    pub fn withdraw(&mut self, now: Time) {
        self.ask_directory(|directory, bearings| directory.withdraw(bearings, now));
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
        self.bearings().decide(route, ingress, avoid)
    }

    /// The ways to keys and places, as the directory uses them.
    pub fn compass(&self) -> impl Compass {
        self.bearings()
    }

    /// The tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The directory, for its figures and floors.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The directory, to hand in floors of an earlier run.
    pub const fn directory_mut(&mut self) -> &mut Directory {
        &mut self.directory
    }

    /// Bytes of memory that this node's part takes, records kept for others apart
    /// ([`Stats::bytes`](directory::Stats::bytes)).
    pub fn bytes(&self) -> usize {
        self.tree.bytes() + self.geometry.bytes() + self.directory.bytes()
    }
}

#[cfg(test)]
mod tests;
