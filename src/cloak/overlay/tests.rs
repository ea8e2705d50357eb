//! Tree and directory together: a few dozen nodes that join, publish, look each other up and die.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::cloak::compass::Compass;
use crate::cloak::directory::genuine::sub_keys;
use crate::limits::HOPS_MAX;
use crate::name::Identity;
use crate::name::certificate::{OverlayId, StaticKey, Terms};
use crate::wire::link::{BOUND_LEN, Head, SIGNAL_MIN};
use crate::wire::notice::{Broken, Notice};
use crate::wire::packet::HEADER_LEN;

const SECOND: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_millis(10);
const EPOCH: Calendar = Calendar(1_800_000_000);

/// What was signed, with the key in front, and whether it was right.
type Checked = (Vec<u8>, bool);

/// Remembers what it checked, for all nodes of a world.
#[derive(Debug, Default)]
struct Memo(Mutex<BTreeMap<[u8; 64], Checked>>);

impl Verify for Memo {
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let said = [key, message].concat();
        let mut memo = self.0.lock().unwrap();
        match memo.get(signature) {
            Some((known, good)) if *known == said => *good,
            _ => {
                let good = Strict.verify(key, message, signature);
                memo.insert(*signature, (said, good));
                good
            }
        }
    }
}

struct World {
    memo: Arc<Memo>,
    now: Time,
    nodes: BTreeMap<usize, Overlay>,
    names: BTreeMap<Name, usize>,
    links: BTreeSet<(usize, usize)>,
    queue: BTreeMap<(Time, u64), (usize, usize, Vec<u8>)>,
    sent: u64,
    /// Bytes of directory messages.
    bytes: usize,
    outcomes: BTreeMap<(usize, u64), Event>,
    published: BTreeMap<usize, u64>,
    random: Random,
}

fn party(number: usize) -> Arc<LocalParty> {
    let mut seed = [5; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(u64::MAX),
        serial: 1,
    };
    let key = StaticKey::from_bytes(seed);
    let overlay = OverlayId::of("test");
    let identity = Identity::from_seed(&seed);
    Arc::new(LocalParty::new(identity, key, terms, [1; 16], overlay))
}

/// A place; the root's term is no part of it.
fn path(place: &Location) -> (u64, Vec<(u32, u32)>) {
    match place {
        Location::Tree { tree, path, .. } => (*tree, path.clone()),
        Location::Neighbour => panic!("no place"),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            memo: Arc::default(),
            now: Time::ZERO + SECOND,
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            links: BTreeSet::new(),
            queue: BTreeMap::new(),
            sent: 0,
            bytes: 0,
            outcomes: BTreeMap::new(),
            published: BTreeMap::new(),
            random: Random::from_number(seed),
        }
    }

    /// Nodes that join one after the other with links to three earlier ones, and publish.
    fn grown(nodes: usize, seed: u64) -> Self {
        let mut world = Self::new(seed);
        for node in 0..nodes {
            world.join(node, true);
            world.run(SECOND / 5);
        }
        // Nodes that found a much shorter way take it after a while.
        world.run(SECOND * 90);
        world
    }

    fn join(&mut self, node: usize, relay: bool) {
        let mut settings = Settings::new(party(node));
        settings.relay = relay;
        settings.verifier = Arc::clone(&self.memo) as Arc<dyn Verify>;
        self.names.insert(settings.me.name(), node);
        let calendar = Calendar(EPOCH.0 + self.now.since(Time::ZERO).as_secs());
        let overlay = Overlay::new(settings, self.random.fork(), self.now, calendar);
        self.nodes.insert(node, overlay);
        let earlier: Vec<_> = self.nodes.keys().copied().filter(|n| *n != node).collect();
        for _ in 0..3.min(earlier.len()) {
            let pick = self.random.below(earlier.len() as u64);
            self.link(node, earlier[usize::try_from(pick).unwrap()]);
        }
        let endpoint = format!("host{node}:7000");
        self.with(node, |overlay, now| overlay.publish(vec![endpoint], now));
    }

    fn link(&mut self, a: usize, b: usize) {
        if self.links.insert((a.min(b), a.max(b))) {
            let (one, other) = (self.name(a), self.name(b));
            self.with(a, |overlay, now| overlay.neighbour_up(other, now));
            self.with(b, |overlay, now| overlay.neighbour_up(one, now));
        }
    }

    fn name(&self, node: usize) -> Name {
        party(node).name()
    }

    fn with<R>(&mut self, node: usize, call: impl FnOnce(&mut Overlay, Time) -> R) -> R {
        let now = self.now;
        let overlay = self.nodes.get_mut(&node).unwrap();
        let result = call(overlay, now);
        while let Some((to, message)) = overlay.poll_message() {
            let to = self.names[&to];
            if self.links.contains(&(node.min(to), node.max(to))) {
                self.bytes += if message[0] >= 32 { message.len() } else { 0 };
                self.sent += 1;
                self.queue
                    .insert((now + DELAY, self.sent), (node, to, message));
            }
        }
        while let Some(event) = overlay.poll_event() {
            match event {
                Event::Found { query, .. } | Event::NotFound { query, .. } => {
                    self.outcomes.insert((node, query), event);
                }
                Event::Published(seq) => {
                    self.published.insert(node, seq);
                }
                _ => {}
            }
        }
        result
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let message = self.queue.first_key_value();
            let message = message.map_or(Time::NEVER, |((at, _), _)| *at);
            let timers = self.nodes.iter();
            let timer = timers
                .map(|(node, overlay)| (overlay.poll_timeout(), *node))
                .min();
            let (timer, node) = timer.unwrap_or((Time::NEVER, 0));
            if message.min(timer) > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(message.min(timer));
            if timer < message {
                self.with(node, Overlay::handle_timeout);
            } else if let Some((_, (from, to, message))) = self.queue.pop_first()
                && self.nodes.contains_key(&to)
                && self.links.contains(&(from.min(to), from.max(to)))
            {
                let from = self.name(from);
                let handled = self.with(to, |overlay, now| overlay.handle(from, &message, now));
                assert_eq!(handled, Ok(()));
            }
        }
    }

    /// A node dies; its neighbours notice a second later.
    fn die(&mut self, node: usize) {
        self.nodes.remove(&node);
        self.published.remove(&node);
        self.run(SECOND);
        let dead = |link: &&(usize, usize)| link.0 == node || link.1 == node;
        let links: Vec<_> = self.links.iter().filter(dead).copied().collect();
        let gone = self.name(node);
        for link in links {
            self.links.remove(&link);
            let other = if link.0 == node { link.1 } else { link.0 };
            self.with(other, |overlay, now| overlay.neighbour_down(gone, now));
        }
    }

    /// Nodes that lost links make new ones.
    fn link_up(&mut self) {
        let alive = self.alive();
        for node in &alive {
            let mine = |links: &BTreeSet<(usize, usize)>| {
                let mine = links.iter().filter(|(a, b)| a == node || b == node);
                mine.count()
            };
            while mine(&self.links) < 3 {
                let other = alive[usize::try_from(self.random.below(alive.len() as u64)).unwrap()];
                if other != *node {
                    self.link(*node, other);
                }
            }
        }
    }

    fn root(&self) -> usize {
        let root = self.nodes.values().next().unwrap().tree().root();
        self.names[&Name::from_bytes(root).unwrap()]
    }

    fn alive(&self) -> Vec<usize> {
        self.nodes.keys().copied().collect()
    }

    /// Every node looks up every other one; how many are found at their place, or where they were a moment
    /// ago.
    fn all_find_all(&mut self) -> (usize, usize) {
        let alive = self.alive();
        let mut queries = Vec::new();
        for (reader, node) in alive
            .iter()
            .flat_map(|a| alive.iter().map(move |b| (*a, *b)))
        {
            let name = self.name(node);
            let query = self.with(reader, |overlay, now| {
                overlay.forget(name);
                overlay.lookup(name, now)
            });
            let places = self.nodes[&node].locations();
            let places: Vec<_> = places.iter().map(path).collect();
            queries.push((reader, places, query));
            self.run(SECOND / 50);
        }
        self.run(SECOND * 4);
        let found = queries.iter().filter(|(reader, places, query)| {
            let outcome = self.outcomes.get(&(*reader, *query));
            let Some(Event::Found { found, .. }) = outcome else {
                return false;
            };
            let first = found.locations.first().map(path);
            first.is_some_and(|first| places.contains(&first))
        });
        (found.count(), queries.len())
    }

    /// Exactly one node is responsible for each key.
    fn owners(&self, key: u64) -> Vec<usize> {
        let owns = |(_, overlay): &(&usize, &Overlay)| overlay.bearings().is_responsible(key);
        self.nodes
            .iter()
            .filter(owns)
            .map(|(node, _)| *node)
            .collect()
    }
}

#[test]
fn every_key_has_one_owner_and_every_name_is_found_from_everywhere() {
    let mut world = World::grown(40, 1);
    assert_eq!(world.published.len(), 40);
    for node in 0..40 {
        for (_, key) in sub_keys(world.name(node).as_bytes()) {
            assert_eq!(world.owners(key).len(), 1, "{key:x}");
        }
    }
    assert_eq!(world.all_find_all(), (1_600, 1_600));
}

#[test]
fn after_deaths_everybody_is_found_at_the_new_place() {
    let mut world = World::grown(30, 2);
    for victim in [7, 13, 21] {
        world.die(victim);
        world.run(SECOND * 15);
        let alive = world.alive().len();
        assert_eq!(world.all_find_all(), (alive * alive, alive * alive));
    }
}

#[test]
fn the_death_of_the_root_costs_nobody_his_name() {
    let mut world = World::grown(30, 3);
    world.run(SECOND * 40);
    let root = world.root();
    world.die(root);
    world.run(SECOND * 15);
    assert_ne!(world.root(), root);
    assert_eq!(world.all_find_all(), (29 * 29, 29 * 29));
}

#[test]
fn a_leaf_publishes_and_looks_up_and_keeps_nothing() {
    let mut world = World::grown(15, 4);
    world.join(15, false);
    world.run(SECOND * 20);
    assert!(world.published.contains_key(&15));
    assert_eq!(world.all_find_all(), (256, 256));
    // What it kept while it was alone is at its places by now.
    world.run(SECOND * 300);
    assert_eq!(world.nodes[&15].directory().stats().records, 0);
}

#[test]
fn a_quiet_directory_says_little() {
    let mut world = World::grown(30, 5);
    world.run(SECOND * 60);
    let before = world.bytes;
    world.run(SECOND * 600);
    let each = (world.bytes - before) / 30 / 10;
    assert!(each < 3_000, "{each} bytes per node and minute");
}

#[test]
fn who_leaves_is_known_to_have_left() {
    let mut world = World::grown(20, 6);
    world.with(9, Overlay::withdraw);
    world.run(SECOND * 2);
    world.die(9);
    world.run(SECOND * 10);
    let name = world.name(9);
    let query = world.with(3, |overlay, now| overlay.lookup(name, now));
    world.run(SECOND * 4);
    let gone = Event::NotFound {
        query,
        why: Absence::Left,
    };
    assert_eq!(world.outcomes.get(&(3, query)), Some(&gone));
}

#[test]
fn packets_reach_the_places_that_look_ups_show() {
    let mut world = World::grown(20, 7);
    let name = world.name(17);
    let query = world.with(2, |overlay, now| overlay.lookup(name, now));
    world.run(SECOND * 4);
    let Some(Event::Found { found, .. }) = world.outcomes.get(&(2, query)) else {
        panic!("not found");
    };
    let mut route = Route::neighbour(world.name(2).tag(), name.tag());
    route.watermark = crate::cloak::forward::WATERMARK_START;
    route.to_location = found.locations[0].clone();
    let (mut at, mut ingress) = (2, None);
    for _ in 0..HOPS_MAX {
        match world.nodes[&at].decide(&route, ingress, None) {
            Verdict::Here => break,
            Verdict::Next {
                neighbour,
                watermark,
                hops,
            } => {
                (route.watermark, route.hops) = (watermark, hops);
                ingress = Some(world.name(at).tag());
                at = *world
                    .names
                    .iter()
                    .find(|(name, _)| name.tag() == neighbour)
                    .unwrap()
                    .1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(at, 17);
}

#[test]
fn names_are_found_while_nodes_come_and_go() {
    // All nodes are replaced once in ten minutes, roots among them; who looks up and who is looked up lives.
    let mut world = World::grown(40, 8);
    let (mut asked, mut found) = (0, 0);
    for round in 0..40 {
        let alive = world.alive();
        let pick = world.random.below(alive.len() as u64);
        let victim = alive[usize::try_from(pick).unwrap()];
        world.die(victim);
        world.link_up();
        world.join(40 + round, true);
        for _ in 0..14 {
            let alive = world.alive();
            let mut one =
                || alive[usize::try_from(world.random.below(alive.len() as u64)).unwrap()];
            let (reader, node) = (one(), one());
            // One that has just come has not said where it is.
            if !world.published.contains_key(&node) {
                continue;
            }
            let name = world.name(node);
            let places = world.nodes[&node].locations();
            let query = world.with(reader, |overlay, now| {
                overlay.forget(name);
                overlay.lookup(name, now)
            });
            world.run(SECOND);
            let mut waited = 0;
            while !world.outcomes.contains_key(&(reader, query)) && waited < 4 {
                world.run(SECOND);
                waited += 1;
            }
            asked += 1;
            let mut places: Vec<_> = places.iter().map(path).collect();
            places.extend(world.nodes[&node].locations().iter().map(path));
            if let Some(Event::Found { found: there, .. }) = world.outcomes.get(&(reader, query)) {
                let place = there.locations.first().map(path);
                found += usize::from(place.is_some_and(|place| places.contains(&place)));
            }
        }
    }
    assert!(found * 1_000 >= asked * 995, "{found} of {asked}");
}

/// The frame that brings a head, but for what all frames have.
fn len(head: &Head<'_>) -> usize {
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    bytes.len()
}

#[test]
fn no_notice_is_longer_than_what_it_came_of() {
    let mut world = World::grown(40, 11);
    let alive = world.alive();
    let depth = |world: &World, node: usize| path(&world.nodes[&node].location().unwrap()).1.len();
    let deepest = *alive.iter().max_by_key(|n| depth(&world, **n)).unwrap();
    assert!(depth(&world, deepest) > 2);
    let near = world.links.iter().find_map(|(a, b)| match deepest {
        d if d == *a => Some(*b),
        d if d == *b => Some(*a),
        _ => None,
    });
    let near = world.name(near.unwrap());
    let now = world.now;
    let asks = world.nodes[&world.names[&near]].location().unwrap();
    let overlay = world.nodes.get_mut(&deepest).unwrap();
    // The shortest header that is answered: it goes to the root of another tree, or here.
    let (tree, _) = path(&overlay.location().unwrap());
    for tree in [tree + 1, tree] {
        let route = Route {
            to_location: Location::Tree {
                tree,
                term: 0,
                path: Vec::new(),
            },
            from_location: asks.clone(),
            ..Route::neighbour(near.tag(), Tag([0; 8]))
        };
        let packet = Head::Packet {
            route: route.clone(),
            header: [3; HEADER_LEN],
        };
        let signal = Head::Signal {
            route: route.clone(),
            message: &[4; SIGNAL_MIN],
        };
        let least = len(&signal).min(len(&packet) + BOUND_LEN);
        overlay.tell_broken(near.tag(), &route, Broken::Elsewhere, now);
        let (_, broken) = overlay.poll_message().unwrap();
        assert!(
            len(&Head::Overlay(&broken)) <= least,
            "{} {least}",
            broken.len()
        );

        let trace = Notice::Trace(0, 1).encode(&route);
        overlay.handle(near, &trace, now).unwrap();
        let (_, traced) = overlay.poll_message().unwrap();
        assert!(matches!(
            Notice::decode(&traced),
            Ok((_, Notice::Traced(..)))
        ));
        assert!(
            traced.len() <= trace.len(),
            "{} {}",
            traced.len(),
            trace.len()
        );
    }
}
