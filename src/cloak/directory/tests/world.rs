//! A few directories over a tree that everybody sees alike, in virtual time.

use std::collections::BTreeMap;

use super::*;
use crate::cloak::compass::{Hop, Near, Span, measure, next};
use crate::cloak::directory::genuine::{Said, micros};
use crate::cloak::forward::{self, Own, Verdict};
use crate::cloak::geometry::{Geometry, Metric, Steps};
use crate::cloak::tree::Strict;
use crate::name::Identity;
use crate::name::certificate::{StaticKey, Terms};
use crate::wire::link::Route;
use crate::wire::location::Location;

pub(super) const EPOCH: Calendar = Calendar(1_800_000_000);
const TREE: u64 = 7;
const DELAY: Duration = Duration::from_millis(10);

/// Who hangs where, and the arcs that follow from it.
pub(super) struct Tree {
    pub(super) names: Vec<Name>,
    parent: Vec<Option<usize>>,
    extra: Vec<(usize, usize)>,
    dead: Vec<bool>,
    /// Dead, and everybody knows.
    gone: Vec<bool>,
    weight: Vec<u64>,
    arc: Vec<Span>,
    own: Vec<Span>,
    path: Vec<Vec<(u32, u32)>>,
}

impl Tree {
    fn children(&self, node: usize) -> Vec<usize> {
        let all = 0..self.parent.len();
        all.filter(|child| self.parent[*child] == Some(node) && !self.gone[*child])
            .collect()
    }

    fn size(&self, node: usize) -> u64 {
        let below = self
            .children(node)
            .into_iter()
            .map(|child| self.size(child));
        self.weight[node] + below.sum::<u64>()
    }

    fn root(&self) -> usize {
        (0..self.parent.len())
            .find(|node| self.parent[*node].is_none() && !self.gone[*node])
            .unwrap()
    }

    fn cut(&mut self) {
        let root = self.root();
        self.place(root, (0, u64::MAX), Vec::new());
    }

    fn place(&mut self, node: usize, arc: Span, path: Vec<(u32, u32)>) {
        let length = u128::from(arc.1 - arc.0) + 1;
        let whole = u128::from(self.size(node));
        let children = self.children(node);
        let part = |weight: u64| u64::try_from(length * u128::from(weight) / whole).unwrap();
        let mut first = arc.0;
        for (slot, child) in children.into_iter().enumerate() {
            let part = part(self.size(child));
            let mut path = path.clone();
            path.push((u32::try_from(slot + 1).unwrap(), 1));
            self.place(child, (first, first + (part - 1)), path);
            first += part;
        }
        self.arc[node] = arc;
        self.own[node] = (first, arc.1);
        self.path[node] = path;
    }

    /// Who keeps copies: the father, or the first child of the root.
    pub(super) fn guardian(&self, node: usize) -> Option<usize> {
        self.parent[node].or_else(|| self.children(node).first().copied())
    }

    fn neighbours(&self, node: usize) -> Vec<usize> {
        let linked = self.extra.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        let linked = linked.filter(|(a, _)| *a == node).map(|(_, b)| b);
        let all = linked.chain(self.parent[node]).chain(self.children(node));
        all.filter(|other| !self.gone[*other]).collect()
    }

    /// Whether the way to the root is alive.
    pub(super) fn reaches_root(&self, node: usize) -> bool {
        !self.dead[node] && self.parent[node].is_none_or(|parent| self.reaches_root(parent))
    }

    fn location(&self, node: usize) -> Location {
        Location::Tree {
            tree: TREE,
            term: 1,
            path: self.path[node].clone(),
        }
    }
}

struct View<'a> {
    tree: &'a Tree,
    me: usize,
}

impl View<'_> {
    fn near(&self, node: usize) -> Near {
        let tree = self.tree;
        Near {
            name: tree.names[node],
            arc: tree.arc[node],
            depth: tree.path[node].len(),
            in_tree: tree.parent[node] == Some(self.me) || tree.parent[self.me] == Some(node),
        }
    }
}

impl Compass for View<'_> {
    fn is_responsible(&self, key: u64) -> bool {
        let (first, last) = self.tree.own[self.me];
        (first..=last).contains(&key)
    }

    fn contains(&self, key: u64) -> bool {
        let (first, last) = self.tree.arc[self.me];
        (first..=last).contains(&key)
    }

    fn below(&self, key: u64) -> Option<(Name, Span)> {
        let children = self.tree.children(self.me).into_iter();
        let arcs = children.map(|child| (self.tree.names[child], self.tree.arc[child]));
        let mut below = arcs.filter(|(_, (first, last))| (*first..=*last).contains(&key));
        below.next()
    }

    fn ranges(&self) -> Vec<Span> {
        vec![self.tree.own[self.me]]
    }

    fn toward(&self, key: u64, watermark: u128, avoid: &[Name], way: Way) -> Toward {
        if self.is_responsible(key) {
            return Toward::Here;
        }
        let own = measure(self.tree.arc[self.me], self.tree.path[self.me].len(), key);
        let near = self
            .tree
            .neighbours(self.me)
            .into_iter()
            .map(|node| self.near(node));
        next(Some(own), near, key, watermark, avoid, way)
    }

    fn father(&self) -> Option<Name> {
        self.tree
            .guardian(self.me)
            .map(|node| self.tree.names[node])
    }

    fn location(&self) -> Option<Location> {
        Some(self.tree.location(self.me))
    }

    fn route(&self, route: &Route, ingress: Option<Name>) -> Hop {
        let tree = self.tree;
        let geometry = Geometry::new(Metric::Tree, 64);
        let me = tree.names[self.me].tag();
        let own = Own {
            tag: me,
            tree: TREE,
            place: Some(&tree.path[self.me]),
        };
        let near: Vec<_> = tree.neighbours(self.me);
        let places = near.iter().map(|node| {
            let place: &Steps = &tree.path[*node];
            let tag = tree.names[*node].tag();
            forward::Near {
                tag,
                place,
                in_tree: self.near(*node).in_tree,
            }
        });
        let ingress = ingress.map(|name| name.tag());
        match forward::decide(&geometry, own, places, route, ingress, None) {
            Verdict::Here => Hop::Here,
            Verdict::Next {
                neighbour,
                watermark,
                hops,
            } => {
                let node = near
                    .iter()
                    .find(|node| tree.names[**node].tag() == neighbour);
                Hop::Next {
                    neighbour: tree.names[*node.unwrap()],
                    watermark,
                    hops,
                }
            }
            Verdict::Broken(_) | Verdict::Drop => Hop::Nowhere,
        }
    }
}

pub(super) struct World {
    pub(super) tree: Tree,
    parties: Vec<Arc<LocalParty>>,
    pub(super) nodes: Vec<Directory>,
    queue: BTreeMap<(Time, u64), (usize, usize, Vec<u8>)>,
    pub(super) now: Time,
    random: Random,
    /// Messages of a thousand that are lost.
    pub(super) loss: u64,
    pub(super) delivered: u64,
    outcomes: BTreeMap<(usize, u64), Event>,
    /// Numbers of the records of each node.
    pub(super) numbers: BTreeMap<usize, Vec<u64>>,
    said: BTreeMap<usize, Said>,
    published: u64,
}

fn party(seed: u64) -> Arc<LocalParty> {
    let mut bytes = [1; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes(bytes);
    let overlay = OverlayId::of("test");
    Arc::new(LocalParty::new(
        Identity::from_seed(&bytes),
        key,
        terms,
        [1; 16],
        overlay,
    ))
}

impl World {
    /// Nodes that join one after the other below a random earlier one, and half as many links beside.
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let parties: Vec<_> = (0..nodes)
            .map(|node| party(seed << 16 | node as u64))
            .collect();
        let pick = |random: &mut Random, below: usize| {
            usize::try_from(random.below(below as u64)).unwrap()
        };
        let parent = (0..nodes).map(|node| (node > 0).then(|| pick(&mut random, node)));
        let parent: Vec<_> = parent.collect();
        let extra = (0..nodes / 2).map(|_| (pick(&mut random, nodes), pick(&mut random, nodes)));
        let extra: Vec<_> = extra.filter(|(a, b)| a != b).collect();
        let mut tree = Tree {
            names: parties.iter().map(|party| party.name()).collect(),
            parent,
            extra,
            dead: vec![false; nodes],
            gone: vec![false; nodes],
            weight: vec![1; nodes],
            arc: vec![(0, 0); nodes],
            own: vec![(0, 0); nodes],
            path: vec![Vec::new(); nodes],
        };
        tree.cut();
        let made = parties.iter().map(|party| {
            let settings = Settings {
                me: Arc::clone(party),
                verifier: Arc::new(Strict),
                almanac: Almanac::new(EPOCH, Time::ZERO),
                last_seq: 0,
            };
            Directory::new(settings, random.fork(), Time::ZERO)
        });
        Self {
            nodes: made.collect(),
            tree,
            parties,
            queue: BTreeMap::new(),
            now: Time::ZERO,
            random,
            loss: 0,
            delivered: 0,
            outcomes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            said: BTreeMap::new(),
            published: 0,
        }
    }

    pub(super) fn name(&self, node: usize) -> Name {
        self.tree.names[node]
    }

    pub(super) fn party(&self, node: usize) -> &LocalParty {
        &self.parties[node]
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|node| !self.tree.dead[*node])
            .collect()
    }

    pub(super) fn calendar(&self) -> Calendar {
        Calendar(EPOCH.0 + self.now.since(Time::ZERO).as_secs())
    }

    /// Calls a directory and takes what comes out of it.
    pub(super) fn with<R>(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut Directory, &dyn Compass, Time) -> R,
    ) -> R {
        let view = View {
            tree: &self.tree,
            me: node,
        };
        let result = call(&mut self.nodes[node], &view, self.now);
        self.drain(node);
        result
    }

    /// Calls a directory and shows what it would send, which does not go anywhere.
    pub(super) fn with_raw<R>(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut Directory, &dyn Compass, Time) -> R,
    ) -> (R, Vec<(Name, Vec<u8>)>) {
        let view = View {
            tree: &self.tree,
            me: node,
        };
        let directory = &mut self.nodes[node];
        let result = call(directory, &view, self.now);
        let sent = std::iter::from_fn(|| directory.poll_message()).collect();
        self.drain(node);
        (result, sent)
    }

    fn drain(&mut self, node: usize) {
        while let Some((to, message)) = self.nodes[node].poll_message() {
            let to = self.tree.names.iter().position(|name| *name == to).unwrap();
            if self.random.below(1_000) >= self.loss {
                self.send(node, to, message);
            }
        }
        while let Some(event) = self.nodes[node].poll_event() {
            match event {
                Event::Found { query, .. } | Event::NotFound { query, .. } => {
                    let before = self.outcomes.insert((node, query), event);
                    assert_eq!(before, None, "told twice");
                }
                Event::Sequence(seq) => self.numbers.entry(node).or_default().push(seq),
                Event::Published(_) => self.published += 1,
            }
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, message: Vec<u8>) {
        self.delivered += 1;
        self.queue
            .insert((self.now + DELAY, self.delivered), (from, to, message));
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let message = self
                .queue
                .first_key_value()
                .map_or(Time::NEVER, |((at, _), _)| *at);
            let alive = self.alive().into_iter();
            let timer = alive
                .map(|node| (self.nodes[node].poll_timeout(), node))
                .min();
            let (timer, node) = timer.unwrap_or((Time::NEVER, 0));
            if message.min(timer) > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(message.min(timer));
            if timer < message {
                self.with(node, |directory, compass, now| {
                    directory.handle_timeout(compass, now)
                });
                let next = self.nodes[node].poll_timeout();
                assert!(next > self.now, "a timer that does not pass: {next:?}");
            } else if let Some((_, (from, to, message))) = self.queue.pop_first()
                && !self.tree.dead[to]
            {
                let from = self.name(from);
                let handled = self.with(to, |directory, compass, now| {
                    directory.handle(from, &message, compass, now)
                });
                assert_eq!(handled, Ok(()), "honest nodes do nothing wrong");
            }
        }
    }

    /// A node publishes its place, with something that differs from last time.
    pub(super) fn publish(&mut self, node: usize) {
        let count = self.said.len() + self.numbers.values().map(Vec::len).sum::<usize>();
        let said = Said {
            locations: vec![self.tree.location(node)],
            endpoints: vec![format!("host{node}:{count}")],
            certificate: self.parties[node].certificate(),
        };
        self.said.insert(node, said.clone());
        self.with(node, |directory, compass, now| {
            directory.publish(said.locations, said.endpoints, compass, now)
        });
    }

    pub(super) fn said(&self, node: usize) -> &Said {
        &self.said[&node]
    }

    pub(super) fn withdraw(&mut self, node: usize) {
        self.with(node, |directory, compass, now| {
            directory.withdraw(compass, now)
        });
    }

    pub(super) fn lookup(&mut self, reader: usize, node: usize) -> u64 {
        let name = self.name(node);
        self.nodes[reader].forget(name);
        self.lookup_name(reader, name)
    }

    pub(super) fn lookup_name(&mut self, reader: usize, name: Name) -> u64 {
        self.with(reader, |directory, compass, now| {
            directory.lookup(name, compass, now)
        })
    }

    pub(super) fn outcome(&self, reader: usize, query: u64) -> Option<&Event> {
        self.outcomes.get(&(reader, query))
    }

    pub(super) fn found(&self, reader: usize, query: u64) -> Option<&Found> {
        match self.outcome(reader, query)? {
            Event::Found { found, .. } => Some(found),
            _ => None,
        }
    }

    pub(super) fn seq(&self, node: usize) -> u64 {
        self.nodes[node].stats().seq
    }

    /// The record of a node, as it would sign it now.
    pub(super) fn record(&self, node: usize) -> Genuine {
        self.sign(node, self.seq(node), 7_200)
    }

    pub(super) fn sign(&self, node: usize, seq: u64, life: u64) -> Genuine {
        let party = self.party(node);
        let expiry = Calendar(self.calendar().0 + life);
        let said = self.said.get(&node);
        Genuine::sign(party.identity(), party.overlay(), seq, expiry, said)
    }

    /// A number that fits the present.
    pub(super) fn present(&self) -> u64 {
        micros(self.calendar())
    }

    pub(super) fn owner(&self, key: u64) -> usize {
        let owner = self.alive().into_iter().find(|node| {
            let (first, last) = self.tree.own[*node];
            (first..=last).contains(&key)
        });
        owner.unwrap()
    }

    /// Number of the record of `name` that `node` keeps.
    pub(super) fn stored(&self, node: usize, name: usize, index: u8) -> Option<u64> {
        let bytes = *self.name(name).as_bytes();
        let place = (sub_key(&bytes, index), bytes);
        self.nodes[node]
            .store
            .get(place, self.calendar())
            .map(|entry| entry.seq)
    }

    /// Living nodes that keep the latest record of a node.
    pub(super) fn holders(&self, name: usize, index: u8) -> Vec<usize> {
        let holds = |node: &usize| self.stored(*node, name, index) == Some(self.seq(name));
        self.alive().into_iter().filter(holds).collect()
    }

    pub(super) fn plant(&mut self, node: usize, record: &Genuine, index: u8) -> Kept {
        let key = sub_key(record.name().as_bytes(), index);
        let at = (self.now, self.calendar());
        let view = View {
            tree: &self.tree,
            me: node,
        };
        let standing = store::Standing::of(&view, key);
        let ingress = self.name(node);
        self.nodes[node]
            .store
            .put(record, (key, index), standing, ingress, at)
    }

    pub(super) fn forget_everything(&mut self, node: usize) {
        self.nodes[node].store = Store::new();
    }

    /// A node stops; nobody knows yet.
    pub(super) fn die(&mut self, node: usize) {
        self.tree.dead[node] = true;
    }

    /// Everybody knows who is dead: their children hang at the grandfather, or at a child of the dead root.
    pub(super) fn mend(&mut self) {
        let all = 0..self.nodes.len();
        let died: Vec<_> = all
            .filter(|node| self.tree.dead[*node] && !self.tree.gone[*node])
            .collect();
        for node in &died {
            let children = self.tree.children(*node);
            let children: Vec<_> = children
                .into_iter()
                .filter(|child| !self.tree.dead[*child])
                .collect();
            let above = self.tree.parent[*node];
            let heir = above.is_none().then(|| children.first().copied()).flatten();
            for child in self.tree.children(*node) {
                self.tree.parent[child] = if Some(child) == heir {
                    None
                } else {
                    above.or(heir)
                };
            }
            self.tree.gone[*node] = true;
        }
        self.tree.cut();
        let names: Vec<_> = died.iter().map(|node| self.name(*node)).collect();
        for node in self.alive() {
            for name in &names {
                self.with(node, |directory, compass, now| {
                    directory.neighbour_down(*name, compass, now)
                });
            }
        }
    }

    /// The arc of a node grows or shrinks, and others with it.
    pub(super) fn reweigh(&mut self, node: usize, weight: u64) {
        self.tree.weight[node] = weight;
        self.tree.cut();
        for node in self.alive() {
            self.with(node, |directory, compass, now| {
                directory.changed(compass, now)
            });
        }
    }

    /// The clock of a node is set.
    pub(super) fn set_clock(&mut self, node: usize, calendar: Calendar) {
        let almanac = Almanac::new(calendar, self.now);
        self.with(node, |directory, _, now| {
            directory.set_almanac(almanac, now)
        });
    }

    pub(super) fn restart(&mut self, node: usize, epoch: Calendar) {
        self.restart_with(node, epoch, 0);
    }

    pub(super) fn restart_with(&mut self, node: usize, epoch: Calendar, last_seq: u64) {
        let settings = Settings {
            me: Arc::clone(&self.parties[node]),
            verifier: Arc::new(Strict),
            almanac: Almanac::new(epoch, self.now),
            last_seq,
        };
        self.nodes[node] = Directory::new(settings, self.random.fork(), self.now);
    }
}
