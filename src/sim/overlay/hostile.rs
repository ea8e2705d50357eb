//! Nodes that break the rules with all the means they have: their own keys, and all that they ever heard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cloak::compass::Compass;
use crate::limits::{DIRECTORY_LOOKUP, TREE_MESSAGES_PER_SECOND};
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::sim::overlay::Plan;
use crate::sim::overlay::figures::{Tries, count, float};
use crate::sim::overlay::graph::{pairs, pick};
use crate::sim::overlay::world::{Event, World};
use crate::wire::location::Location;
use crate::wire::tree::{Announce, Charter, Grant, Message, Pulse, Signature, WEIGHT_MAX};

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
    /// Says what it has to say ten times as often as is tolerated.
    Flood,
    /// Sends bytes by chance.
    Nonsense,
    /// Claims to hang as near to the root as those above it.
    Near,
    /// Claims that half of the world hangs on it, to be given its keys, and answers for none.
    Weight,
    /// Claims the place of another node.
    Claim,
    /// Founds one tree after the other, each senior to all before it.
    Trees,
    /// Gives one slot to everyone who asks.
    OneSlot,
}

impl Malice {
    /// Everything.
    pub const ALL: [Self; 10] = [
        Self::Swallow,
        Self::Mute,
        Self::Replay,
        Self::Flood,
        Self::Nonsense,
        Self::Near,
        Self::Weight,
        Self::Claim,
        Self::Trees,
        Self::OneSlot,
    ];
}

/// Pause between two bouts.
pub(super) const BOUT: Duration = Duration::from_millis(100);
/// First kind of the messages of the directory.
const DIRECTORY: u8 = 32;
/// Messages that a hostile node remembers.
const HEARD_MAX: usize = 4_096;

/// A hostile node's mind.
#[derive(Debug)]
pub(super) struct Mind {
    pub(super) malice: Malice,
    me: Arc<LocalParty>,
    random: Random,
    heard: Vec<Vec<u8>>,
    own: Option<Announce>,
    slot: Option<(u32, u32)>,
    trees: u64,
}

impl Mind {
    pub(super) fn new(malice: Malice, me: Arc<LocalParty>, random: Random) -> Self {
        Self {
            malice,
            me,
            random,
            heard: Vec::new(),
            own: None,
            slot: None,
            trees: 0,
        }
    }

    /// A neighbour said something.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if self.heard.len() < HEARD_MAX {
            self.heard.push(bytes.to_vec());
        }
    }

    /// What it says instead of what it should.
    pub(super) fn say(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        self.hear(&bytes);
        if let Ok(Message::Announce(announce)) = Message::decode(&bytes) {
            self.own = Some(announce);
        }
        match self.malice {
            Malice::Mute => Vec::new(),
            Malice::Swallow | Malice::Weight
                if bytes.first().is_some_and(|kind| *kind >= DIRECTORY) =>
            {
                Vec::new()
            }
            Malice::OneSlot => vec![self.same_slot(&bytes).unwrap_or(bytes)],
            _ => vec![bytes],
        }
    }

    /// What it says by itself to each neighbour, every [`BOUT`].
    pub(super) fn bout(&mut self) -> Vec<Vec<u8>> {
        let (rate, _) = TREE_MESSAGES_PER_SECOND;
        let tolerated = usize::try_from(rate / 10).unwrap_or(1).max(1);
        match self.malice {
            Malice::Swallow | Malice::Mute | Malice::OneSlot => Vec::new(),
            Malice::Replay => (0..tolerated - 1)
                .filter_map(|_| self.any_heard())
                .collect(),
            Malice::Flood => {
                let own = self.own.clone().map(|own| encoded(&Message::Announce(own)));
                let own = own.into_iter();
                own.flat_map(|own| std::iter::repeat_n(own, tolerated * 10))
                    .collect()
            }
            Malice::Nonsense => {
                let mut bytes = self.random.bytes::<64>().to_vec();
                if let Some(kind) = bytes.first_mut() {
                    *kind = *kind % 12 + 1;
                }
                vec![bytes]
            }
            Malice::Near => self.near(),
            Malice::Weight => vec![encoded(&Message::Weight(WEIGHT_MAX))],
            Malice::Claim => self.claim(),
            Malice::Trees => self.found(),
        }
    }

    fn any_heard(&mut self) -> Option<Vec<u8>> {
        let at = self.random.below(count(self.heard.len()));
        self.heard.get(usize::try_from(at).ok()?).cloned()
    }

    /// Its own chain without the grants in the middle: the first one, and its own, signed by itself as if
    /// it hung there; then that of the node above; then none at all.
    fn near(&mut self) -> Vec<Vec<u8>> {
        let Some(own) = self.own.clone() else {
            return Vec::new();
        };
        let mut lies = Vec::new();
        if let Some(last) = own.chain.last() {
            let mut grant = Grant {
                seat: true,
                slot: 1,
                ..Grant::clone(last)
            };
            self.sign(&mut grant);
            lies.push(Announce {
                chain: vec![Arc::new(grant)],
                ..own.clone()
            });
        }
        for keep in 0..own.chain.len() {
            let chain = own.chain.iter().take(keep).cloned().collect();
            lies.push(Announce {
                chain,
                ..own.clone()
            });
        }
        let at = self.random.below(count(lies.len()).max(1));
        let lie = usize::try_from(at)
            .ok()
            .and_then(|at| lies.get(at).cloned());
        lie.map(|lie| encoded(&Message::Announce(lie)))
            .into_iter()
            .collect()
    }

    /// What another node announced, with the same name and with its own name in the place.
    fn claim(&mut self) -> Vec<Vec<u8>> {
        let Some(Ok(Message::Announce(mut other))) =
            self.any_heard().map(|bytes| Message::decode(&bytes))
        else {
            return Vec::new();
        };
        if self.random.below(2) == 0
            && let Some(last) = other.chain.pop()
        {
            let mut grant = Grant {
                child: *self.me.name().as_bytes(),
                ..Grant::clone(&last)
            };
            self.sign(&mut grant);
            other.chain.push(Arc::new(grant));
        }
        vec![encoded(&Message::Announce(other))]
    }

    /// A tree of its own that no honest one is senior to, and a place at its root.
    fn found(&mut self) -> Vec<Vec<u8>> {
        self.trees += 1;
        let overlay = self.me.overlay().0;
        let root = *self.me.name().as_bytes();
        let mut charter = Charter {
            tree: self.random.number() >> 16,
            term: self.trees,
            version: 1,
            founded: 0,
            class: 60,
            root,
            deputies: Vec::new(),
            signature: Signature([0; 64]),
            predecessor: None,
        };
        let identity = self.me.identity();
        charter.signature = Signature(identity.sign(&charter.signed(&overlay)));
        let (tree, term) = (charter.tree, charter.term);
        let signature = identity.sign(&Pulse::signed(&overlay, tree, term, 1));
        let pulse = Pulse {
            seq: 1,
            signature: Signature(signature),
        };
        let announce = Announce {
            tree,
            term,
            root,
            pulse,
            relay: true,
            weight: 1 << 30,
            chain: Vec::new(),
        };
        [
            Message::Charter(Arc::new(charter)),
            Message::Announce(announce),
        ]
        .iter()
        .map(encoded)
        .collect()
    }

    /// A grant, with the slot of the first one.
    fn same_slot(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Ok(Message::Grant { mut grant, place }) = Message::decode(bytes) else {
            return None;
        };
        let (slot, lease) = *self.slot.get_or_insert((grant.slot, grant.lease));
        (grant.slot, grant.lease) = (slot, lease);
        self.sign(&mut grant);
        Some(encoded(&Message::Grant { grant, place }))
    }

    fn sign(&self, grant: &mut Grant) {
        let signed = grant.signed(&self.me.overlay().0);
        grant.signature = Signature(self.me.identity().sign(&signed));
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// What a hostile node did to the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Harm {
    /// Honest nodes that hung below it at first.
    pub below: usize,
    /// Packets between honest nodes that did not: those that arrived at the second try at the latest.
    pub outside: Tries,
    /// The same at the end of the attack, when the others have had their time to adapt.
    pub outside_late: Tries,
    /// Packets from or to honest nodes that hung below it, at the end.
    pub below_late: Tries,
    /// Look-ups of each other, by nodes that did not hang below it, at the end.
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
    /// Nodes outside whose place changed.
    pub moved: usize,
    /// Most bytes of state of an honest node, before and at the end.
    pub state: (usize, usize),
}

/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(40);
/// Pause between look-ups at the end.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Nodes that come and know nobody but the hostile one and one other at first.
const NEWCOMERS: usize = 6;
/// Pairs that are tried each second.
const PAIRS: usize = 200;

/// Lets a node turn hostile in an overlay that stands still: of those with at most a quarter of all others below
/// themselves the one with most.
pub fn attack(plan: &Plan, malice: Malice) -> Harm {
    let mut world = World::new(plan);
    world.grow();
    let places: Vec<Option<Location>> = world.nodes.iter().map(|node| node.place()).collect();
    let (attacker, below) = of_middling_size(&world, &places);
    let honest = |number: &usize| *number != attacker;
    let outside: Vec<usize> = world
        .live
        .iter()
        .copied()
        .filter(honest)
        .filter(|n| !below.contains(n))
        .collect();
    let honest: Vec<usize> = world.live.iter().copied().filter(honest).collect();
    let before = world.largest_state(&honest);
    world.turn(attacker, malice, &outside);
    let end = world.now + ATTACK;
    let sample = pairs(&outside, PAIRS, &mut world.random);
    let mut harm = Harm {
        below: below.len(),
        outside: Tries::default(),
        outside_late: Tries::default(),
        below_late: Tries::default(),
        lookups: Tries::default(),
        newcomers_late: Tries::default(),
        keys: 0.0,
        closed: 0,
        innocent: 0,
        moved: 0,
        state: (before, 0),
    };
    while world.now < end {
        world.run(world.now + Duration::from_secs(1));
        harm.outside.join(world.reached(&sample));
    }
    let outside_pairs = pairs(&outside, 10 * PAIRS, &mut world.random);
    for (from, to) in pairs(&outside, PAIRS, &mut world.random) {
        world.ask(from, to);
        world.run(world.now + ASK_EVERY);
    }
    world.run(world.now + DIRECTORY_LOOKUP);
    harm.lookups = world.take_lookups();
    let others = world.live.iter().copied();
    let others = others.filter(|number| *number != attacker && !below.contains(number));
    harm.keys = 1.0 - world.keys_of(&others.collect());
    harm.outside_late = world.reached(&outside_pairs);
    let mixed = pairs(&honest, 10 * PAIRS, &mut world.random);
    let mixed: Vec<_> = mixed
        .into_iter()
        .filter(|(a, b)| below.contains(a) || below.contains(b))
        .collect();
    harm.below_late = world.reached(&mixed);
    for newcomer in plan.nodes..world.nodes.len() {
        let ways: Vec<_> = outside.iter().map(|other| (newcomer, *other)).collect();
        harm.newcomers_late.join(world.reached(&ways));
    }
    (harm.closed, harm.innocent) = (world.closed, world.misbehaviour);
    harm.moved = outside
        .iter()
        .filter(|n| places.get(**n) != world.nodes.get(**n).map(|node| node.place()).as_ref())
        .count();
    harm.state.1 = world.largest_state(&honest);
    harm
}

/// Of the nodes with at most a quarter of all others below themselves the one with most, and who hangs below it.
fn of_middling_size(world: &World, places: &[Option<Location>]) -> (usize, BTreeSet<usize>) {
    let below = |number: usize| {
        let all = places.iter().enumerate();
        let below =
            all.filter(|(other, place)| *other != number && is_below(place, places, number));
        below.map(|(other, _)| other).collect::<BTreeSet<_>>()
    };
    let sizes = world
        .live
        .iter()
        .map(|number| (below(*number).len(), *number));
    let fair = sizes.filter(|(size, _)| size * 4 <= places.len());
    let (_, attacker) = fair.max().unwrap_or_default();
    (attacker, below(attacker))
}

/// Whether a place hangs below that of node `number`.
fn is_below(place: &Option<Location>, places: &[Option<Location>], number: usize) -> bool {
    match (place, places.get(number)) {
        (Some(Location::Tree { path, .. }), Some(Some(Location::Tree { path: above, .. }))) => {
            path.starts_with(above)
        }
        _ => false,
    }
}

impl World {
    fn turn(&mut self, number: usize, malice: Malice, others: &[usize]) {
        let (random, now) = (self.random.fork(), self.now);
        let peer = self.linked(number).next();
        let peer = peer.and_then(|peer| self.name(peer));
        if let Some(node) = self.nodes.get_mut(number) {
            node.mind = Some(Mind::new(malice, Arc::clone(&node.me), random));
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
