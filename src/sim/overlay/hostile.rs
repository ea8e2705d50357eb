//! Nodes that break the rules with all the means they have: their own keys, and all that they ever heard.

mod mind;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::cloak::compass::Compass;
use crate::cloak::directory::genuine::{Genuine, Said};
use crate::limits::{DIRECTORY_LIFE, DIRECTORY_LOOKUP};
use crate::sim::overlay::Plan;
use crate::sim::overlay::figures::{Tries, count, float};
use crate::sim::overlay::graph::{pairs, pick};
use crate::sim::overlay::node::calendar;
use crate::sim::overlay::world::{Event, World};
use crate::time::Calendar;
use crate::wire::location::Location;

pub(super) use mind::{BOUT, Mind};

/// What a hostile node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malice {
    /// Drops every packet and every message of the directory that it should carry or answer, and is a model
    /// neighbour otherwise.
    Swallow,
    /// Falls silent, though its links stand.
    Mute,
    /// Says again what it ever heard and said, to everyone, as fast as is tolerated.
    Replay,
    /// Answers whoever asks for a name with an old record of it, which was genuine once.
    Stale,
    /// Says what it has to say ten times as often as is tolerated.
    Flood,
    /// Asks everybody for names by chance, more often than is tolerated.
    Requests,
    /// Sends bytes by chance.
    Nonsense,
    /// Claims to hang as near to the root as those above it.
    Near,
    /// Claims that half of the world hangs on it, to be given its keys, and answers for none.
    Weight,
    /// Claims the place of another node.
    Claim,
    /// Claims to be whoever is asked for: answers with records of its own making.
    Name,
    /// Founds one tree after the other, each senior to all before it.
    Trees,
    /// Gives one slot to everyone who asks.
    OneSlot,
    /// Proves one place of its own making after the other, by long chains, as fast as is tolerated.
    Proofs,
}

impl Malice {
    /// Everything.
    pub const ALL: [Self; 14] = [
        Self::Swallow,
        Self::Mute,
        Self::Replay,
        Self::Stale,
        Self::Flood,
        Self::Requests,
        Self::Nonsense,
        Self::Near,
        Self::Weight,
        Self::Claim,
        Self::Name,
        Self::Trees,
        Self::OneSlot,
        Self::Proofs,
    ];
}

impl Malice {
    const fn span(self) -> Duration {
        match self {
            Self::Swallow => ATTACK_LONG,
            _ => ATTACK,
        }
    }
}

/// What a hostile node did to the others. Who has come to hang below it is not outside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Harm {
    /// Honest nodes that hung below it at first.
    pub below: usize,
    /// Packets between honest nodes outside: those that arrived at the second try at the latest.
    pub outside: Tries,
    /// The same at the end of the attack, when the others have had their time to adapt.
    pub outside_late: Tries,
    /// Those of them that arrived at the first try.
    pub outside_first: Tries,
    /// Packets from or to honest nodes that hung below it, at the end.
    pub below_late: Tries,
    /// Children of it that had another neighbour which did not hang on it: those that have left it at the end.
    pub left: Tries,
    /// Packets from outside to those that have left, at the end.
    pub left_late: Tries,
    /// Look-ups of each other by nodes outside, at the end.
    pub lookups: Tries,
    /// Share of all keys that are not held by nodes outside at the end.
    pub keys: f64,
    /// Packets from nodes that came when it was hostile already, and knew it and one other, to nodes outside; at
    /// the end.
    pub newcomers_late: Tries,
    /// Links that honest nodes closed on it.
    pub closed: u64,
    /// Links that honest nodes closed on each other: never right.
    pub innocent: u64,
    /// Statements that honest nodes did not look at.
    pub unchecked: u64,
    /// Nodes outside whose place changed.
    pub moved: usize,
    /// Most bytes of state of an honest node, before and at the end.
    pub state: (usize, usize),
}

/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(40);
/// The same for one that is noticed by probes, which take their time.
const ATTACK_LONG: Duration = Duration::from_secs(150);
/// Look-ups at the end, and the pause between two.
const LOOKUPS: (usize, Duration) = (1_000, Duration::from_millis(5));
/// Nodes that come and know nobody but the hostile one and one other at first.
const NEWCOMERS: usize = 6;
/// Pairs that are tried each second.
const PAIRS: usize = 200;
/// Pairs that are tried at the end.
const PAIRS_LATE: usize = 2_000;

/// Lets a node turn hostile in an overlay that stands still: of those with at most a quarter of all others below
/// themselves the one with most.
pub fn attack(plan: &Plan, malice: Malice) -> Harm {
    let mut world = World::new(plan);
    world.grow();
    let (attacker, below) = world.of_middling_size();
    let free = world.free_children(attacker, &below);
    let mut siege = Siege {
        places: world.places(),
        honest: world.honest(attacker),
        below,
        free,
        world,
        attacker,
        harm: Harm::default(),
    };
    siege.harm.below = siege.below.len();
    siege.harm.state.0 = siege.world.largest_state(&siege.honest);
    siege.hold(malice);
    siege.judge();
    siege.harm
}

/// An attack under way.
struct Siege {
    world: World,
    attacker: usize,
    /// Where everybody hung before.
    places: Vec<Option<Location>>,
    honest: Vec<usize>,
    /// Who hung below the hostile node before.
    below: BTreeSet<usize>,
    /// Which of its children had another neighbour, not below it.
    free: Vec<usize>,
    harm: Harm,
}

impl Siege {
    /// Honest nodes that were there before and hung below the hostile one neither then nor now.
    fn outside(&self) -> Vec<usize> {
        let below = self.world.below(self.attacker);
        let honest = self.honest.iter().copied();
        let outside = honest.filter(|node| !self.below.contains(node) && !below.contains(node));
        outside.collect()
    }

    /// The node is hostile for a while.
    fn hold(&mut self, malice: Malice) {
        let outside = self.outside();
        self.world.turn(self.attacker, malice, &outside);
        let sample = pairs(&outside, PAIRS, &mut self.world.random);
        let end = self.world.now + malice.span();
        while self.world.now < end {
            self.world.run(self.world.now + Duration::from_secs(1));
            let outside: BTreeSet<_> = self.outside().into_iter().collect();
            let pairs = sample.iter().copied();
            let pairs = pairs.filter(|(a, b)| outside.contains(a) && outside.contains(b));
            self.harm.outside.join(self.world.reached(pairs));
        }
    }

    /// What the others can do at the end.
    fn judge(&mut self) {
        let outside = self.outside();
        let Self { world, harm, .. } = self;
        harm.state.1 = world.largest_state(&self.honest);
        (harm.closed, harm.innocent) = (world.closed, world.misbehaviour);
        harm.unchecked = world.unchecked();
        world.take_lookups();
        world.lookups.twice = true;
        for (from, to) in pairs(&outside, LOOKUPS.0, &mut world.random) {
            world.ask(from, to);
            world.run(world.now + LOOKUPS.1);
        }
        world.run(world.now + DIRECTORY_LOOKUP * 2);
        harm.lookups = world.take_lookups();
        let places = world.places();
        let moved = outside
            .iter()
            .filter(|n| places.get(**n) != self.places.get(**n));
        harm.moved = moved.count();
        let below = world.below(self.attacker);
        let others = world.live.iter().copied();
        let others = others.filter(|node| *node != self.attacker && !below.contains(node));
        harm.keys = 1.0 - world.keys_of(&others.collect());
        let outside: Vec<_> = outside.into_iter().filter(|n| !below.contains(n)).collect();
        let sample = pairs(&outside, PAIRS_LATE, &mut world.random);
        for (from, to) in &sample {
            let first = world.walk(*from, *to, false);
            harm.outside_first.add(first.is_some());
        }
        harm.outside_late = world.reached(sample);
        let mixed = pairs(&self.honest, PAIRS_LATE, &mut world.random).into_iter();
        let is_below = |node: &usize| below.contains(node);
        harm.below_late = world.reached(mixed.filter(|(a, b)| is_below(a) || is_below(b)));
        let (stayed, left): (Vec<_>, Vec<_>) = self
            .free
            .iter()
            .copied()
            .partition(|child| below.contains(child));
        harm.left.made = count(self.free.len());
        harm.left.good = harm.left.made - count(stayed.len());
        let ways = left
            .iter()
            .flat_map(|to| outside.iter().map(move |from| (*from, *to)));
        harm.left_late = world.reached(ways.collect::<Vec<_>>());
        let newcomers = self.places.len()..world.nodes.len();
        let newcomers = newcomers.filter(|newcomer| !below.contains(newcomer));
        let ways = newcomers.flat_map(|newcomer| outside.iter().map(move |to| (newcomer, *to)));
        harm.newcomers_late = world.reached(ways);
    }
}

/// Whether a place hangs below that of node `number`.
fn is_below(place: Option<&Location>, places: &[Option<Location>], number: usize) -> bool {
    match (place, places.get(number)) {
        (
            Some(Location::Tree { tree, path, .. }),
            Some(Some(Location::Tree {
                tree: same,
                path: above,
                ..
            })),
        ) => tree == same && path.starts_with(above),
        _ => false,
    }
}

impl World {
    fn places(&self) -> Vec<Option<Location>> {
        self.nodes.iter().map(|node| node.place()).collect()
    }

    fn honest(&self, hostile: usize) -> Vec<usize> {
        let honest = self.live.iter().copied();
        honest.filter(|node| *node != hostile).collect()
    }

    /// Who hangs below a node.
    fn below(&self, number: usize) -> BTreeSet<usize> {
        let places = self.places();
        let others = self.live.iter().copied().filter(|node| *node != number);
        let place = |node: usize| places.get(node).and_then(Option::as_ref);
        others
            .filter(|node| is_below(place(*node), &places, number))
            .collect()
    }

    /// Children of a node that have another neighbour beside those below it.
    fn free_children(&self, number: usize, below: &BTreeSet<usize>) -> Vec<usize> {
        let name = self.name(number);
        let is_free = |child: &usize| {
            let Some(node) = self.nodes.get(*child) else {
                return false;
            };
            let parent = node
                .overlay
                .as_ref()
                .and_then(|overlay| overlay.tree().parent());
            let mut others = node.links.keys();
            parent == name && others.any(|peer| *peer != number && !below.contains(peer))
        };
        below.iter().copied().filter(is_free).collect()
    }

    /// Of the nodes with at most a quarter of all others below themselves the one with most, and who hangs
    /// below it.
    fn of_middling_size(&self) -> (usize, BTreeSet<usize>) {
        let all = self.live.iter();
        let all = all.map(|number| (*number, self.below(*number)));
        let fair = all.filter(|(_, below)| below.len() * 4 <= self.nodes.len());
        let most = fair.max_by_key(|(number, below)| (below.len(), *number));
        most.unwrap_or_default()
    }

    fn turn(&mut self, number: usize, malice: Malice, others: &[usize]) {
        let (random, now) = (self.random.fork(), self.now);
        let old = self.old_records();
        let peer = self.linked(number).next();
        let peer = peer.and_then(|peer| self.name(peer));
        if let Some(node) = self.nodes.get_mut(number) {
            node.mind = Some(Mind::new(malice, Arc::clone(&node.me), random, old));
            // As if a link had come back: so it has something to twist.
            if let (Some(overlay), Some(peer)) = (&mut node.overlay, peer) {
                overlay.neighbour_up(peer, now);
            }
        }
        self.drain(number);
        self.queue.push(now, Event::Bout(number));
        for _ in 0..NEWCOMERS {
            let honest = pick(others, &mut self.random);
            let known: Vec<usize> = honest.into_iter().chain([number]).collect();
            self.join_at(&known);
        }
    }

    /// A genuine record of each node, older than its newest and with a place that it has left.
    fn old_records(&self) -> BTreeMap<[u8; 32], Arc<[u8]>> {
        let nodes = self.nodes.iter().filter(|node| node.overlay.is_some());
        let records = nodes.map(|node| {
            let seq = node
                .overlay
                .as_ref()
                .map(|overlay| overlay.directory().stats().seq);
            let place = Location::Tree {
                tree: 0,
                term: 0,
                path: Vec::new(),
            };
            let said = Said {
                locations: vec![place],
                endpoints: Vec::new(),
                certificate: node.me.certificate(),
            };
            let (identity, overlay) = (node.me.identity(), node.me.overlay());
            let seq = seq.unwrap_or_default().saturating_sub(1);
            let expiry = Calendar(calendar(self.now).0 + DIRECTORY_LIFE.as_secs());
            let record = Genuine::sign(identity, overlay, seq, expiry, Some(&said));
            (*node.name.as_bytes(), Arc::clone(record.bytes()))
        });
        records.collect()
    }

    /// Share of all keys that these nodes hold.
    fn keys_of(&self, nodes: &BTreeSet<usize>) -> f64 {
        let overlays = nodes
            .iter()
            .filter_map(|number| self.nodes.get(*number)?.overlay.as_ref());
        let ranges = overlays.flat_map(|overlay| overlay.compass().ranges());
        let keys = ranges
            .map(|(first, last)| u128::from(last - first) + 1)
            .sum::<u128>();
        float(u64::try_from(keys >> 32).unwrap_or(u64::MAX)) / float(1 << 32)
    }

    fn largest_state(&self, nodes: &[usize]) -> usize {
        let overlays = nodes
            .iter()
            .filter_map(|number| self.nodes.get(*number)?.overlay.as_ref());
        overlays
            .map(|overlay| overlay.bytes())
            .max()
            .unwrap_or_default()
    }
}
