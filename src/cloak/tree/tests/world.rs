//! A few nodes, links with latency between them, and what must hold when they have settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::cloak::forward::{self, Own, Verdict, WATERMARK_START};
use crate::cloak::geometry::{Geometry, Metric};
use crate::cloak::tree::{Event, Misbehaviour, Range, Settings, Strict, Tree, Verify};
use crate::limits::HOPS_MAX;
use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
use crate::name::{Identity, Name};
use crate::random::Random;
use crate::time::{Calendar, Time};
use crate::wire::link::Route;

pub(super) const CALENDAR: Calendar = Calendar(1_800_000_000);

/// Remembers what it checked, for all nodes of a world.
#[derive(Debug, Default)]
struct Memo {
    known: Mutex<BTreeMap<Statement, bool>>,
    checks: AtomicUsize,
}

type Statement = ([u8; 32], Vec<u8>, [u8; 64]);

impl Verify for Memo {
    fn verify(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let mut known = self.known.lock().unwrap();
        *known
            .entry((*key, message.to_vec(), *signature))
            .or_insert_with(|| Strict.verify(key, message, signature))
    }
}

pub(super) fn party(number: usize) -> Arc<LocalParty> {
    let seed = u8::try_from(number).unwrap();
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(u64::MAX),
        serial: 1,
    };
    Arc::new(LocalParty::new(
        Identity::from_seed(&[seed.wrapping_add(1); 32]),
        StaticKey::from_bytes([seed; 32]),
        terms,
        [seed; 16],
        OverlayId::of("test"),
    ))
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) nodes: BTreeMap<usize, Tree>,
    pub(super) names: BTreeMap<Name, usize>,
    pub(super) links: BTreeSet<(usize, usize)>,
    /// Messages under way: arrival, order, from, to.
    queue: BTreeMap<(Time, u64), (usize, usize, Vec<u8>)>,
    sent: u64,
    pub(super) bytes: usize,
    pub(super) moves: BTreeMap<usize, usize>,
    pub(super) wants: BTreeSet<(usize, Name)>,
    /// Who was told by whom that there is no place.
    pub(super) stranded: BTreeSet<(usize, Name)>,
    pub(super) faults: Vec<(usize, usize, Misbehaviour)>,
    pub(super) random: Random,
    seed: u64,
    /// Nothing comes from the first to the second.
    pub(super) mute: Option<(usize, usize)>,
    memo: Arc<Memo>,
    geometry: Arc<Geometry>,
}

pub(super) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn edge(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    pub(super) fn new(seed: u64, degree: u32) -> Self {
        Self {
            now: Time::ZERO + Duration::from_secs(1),
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            links: BTreeSet::new(),
            queue: BTreeMap::new(),
            sent: 0,
            bytes: 0,
            moves: BTreeMap::new(),
            wants: BTreeSet::new(),
            stranded: BTreeSet::new(),
            faults: Vec::new(),
            random: Random::from_number(seed),
            seed,
            mute: None,
            memo: Arc::default(),
            geometry: Arc::new(Geometry::new(Metric::Tree, degree)),
        }
    }

    pub(super) fn add(&mut self, node: usize) {
        self.add_with(node, true);
    }

    pub(super) fn add_with(&mut self, node: usize, relay: bool) {
        let settings = Settings {
            me: party(node),
            relay,
            roots: Vec::new(),
            verifier: self.memo.clone(),
        };
        self.names.insert(settings.me.name(), node);
        let geometry = Arc::clone(&self.geometry);
        let calendar = Calendar(CALENDAR.0 + self.now.since(Time::ZERO).as_secs());
        let tree = Tree::new(settings, geometry, self.random.fork(), self.now, calendar);
        self.nodes.insert(node, tree);
    }

    pub(super) fn name(&self, node: usize) -> Name {
        let mut names = self.names.iter();
        *names.find(|(_, number)| **number == node).unwrap().0
    }

    pub(super) fn link(&mut self, a: usize, b: usize) {
        if a == b || !self.links.insert(edge(a, b)) {
            return;
        }
        let (now, one, other) = (self.now, self.name(a), self.name(b));
        self.nodes.get_mut(&a).unwrap().neighbour_up(other, now);
        self.nodes.get_mut(&b).unwrap().neighbour_up(one, now);
        self.drain(a);
        self.drain(b);
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        if !self.links.remove(&edge(a, b)) {
            return;
        }
        self.queue
            .retain(|_, (from, to, _)| edge(*from, *to) != edge(a, b));
        for (node, gone) in [(a, b), (b, a)] {
            let gone = self.name(gone);
            let now = self.now;
            if let Some(tree) = self.nodes.get_mut(&node) {
                tree.neighbour_down(gone, now);
                self.drain(node);
            }
        }
    }

    /// A node dies; its neighbours notice after a while.
    pub(super) fn kill(&mut self, node: usize, detect: Duration) {
        self.nodes.remove(&node);
        self.run(detect);
        let links: Vec<_> = self.links.iter().copied().collect();
        for (a, b) in links {
            if a == node || b == node {
                self.cut(a, b);
            }
        }
    }

    /// Signatures that all nodes have checked, each for itself.
    pub(super) fn checks(&self) -> usize {
        self.memo.checks.load(Ordering::Relaxed)
    }

    pub(super) fn tree(&self, node: usize) -> &Tree {
        &self.nodes[&node]
    }

    fn drain(&mut self, node: usize) {
        let Some(tree) = self.nodes.get_mut(&node) else {
            return;
        };
        while let Some(event) = tree.poll_event() {
            match event {
                Event::Moved => *self.moves.entry(node).or_default() += 1,
                Event::WantLink(name) => {
                    self.wants.insert((node, name));
                }
                Event::NoPlace(name) => {
                    self.stranded.insert((node, name));
                }
                Event::Keys | Event::Ways | Event::Root => {}
            }
        }
        while let Some((to, bytes)) = tree.poll_message() {
            let to = self.names[&to];
            self.bytes += bytes.len();
            self.sent += 1;
            if self.links.contains(&edge(node, to)) && self.mute != Some((node, to)) {
                // A latency for each link, the same in both directions: nothing is overtaken.
                let (a, b) = edge(node, to);
                let latency = 5 + (u64::try_from(a * 7 + b * 13).unwrap() % 40);
                let at = self.now + millis(latency);
                self.queue.insert((at, self.sent), (node, to, bytes));
            }
        }
    }

    /// Says something to a node as if a neighbour had.
    pub(super) fn say(&mut self, from: usize, to: usize, bytes: &[u8]) -> Result<(), Misbehaviour> {
        let from = self.name(from);
        let now = self.now;
        let result = self.nodes.get_mut(&to).unwrap().handle(from, bytes, now);
        self.drain(to);
        result
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.nodes.iter();
            let timer = timers
                .map(|(node, tree)| (tree.poll_timeout(), *node))
                .min();
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let timer_at = timer.map_or(Time::NEVER, |(at, _)| at);
            let next = arrival.unwrap_or(Time::NEVER).min(timer_at);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (from, to, bytes)) = self.queue.pop_first().unwrap();
                if self.nodes.contains_key(&to)
                    && let Err(fault) = self.say(from, to, &bytes)
                {
                    self.faults.push((from, to, fault));
                    self.cut(from, to);
                }
            } else if let Some((_, node)) = timer {
                let now = self.now;
                self.nodes.get_mut(&node).unwrap().handle_timeout(now);
                self.drain(node);
            }
        }
        self.now = end;
    }

    pub(super) fn components(&self) -> Vec<BTreeSet<usize>> {
        let mut left: BTreeSet<usize> = self.nodes.keys().copied().collect();
        let mut all = Vec::new();
        while let Some(start) = left.pop_first() {
            let mut part = BTreeSet::from([start]);
            let mut stack = vec![start];
            while let Some(at) = stack.pop() {
                let both = self.links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
                let next = both.filter(|(from, to)| *from == at && self.nodes.contains_key(to));
                let next: Vec<_> = next
                    .map(|(_, to)| to)
                    .filter(|to| left.remove(to))
                    .collect();
                part.extend(&next);
                stack.extend(next);
            }
            all.push(part);
        }
        all
    }

    /// What must hold in each connected component; says what does not.
    pub(super) fn check(&self) -> Result<(), String> {
        for part in self.components() {
            let trees: BTreeSet<_> = part
                .iter()
                .map(|node| (self.tree(*node).tree(), self.tree(*node).term()))
                .collect();
            if trees.len() != 1 {
                return Err(format!("{part:?} has trees {trees:?}"));
            }
            let roots: Vec<_> = part
                .iter()
                .filter(|node| self.tree(**node).office.is_some())
                .collect();
            if roots.len() != 1 {
                return Err(format!("{part:?} has roots {roots:?}"));
            }
            for node in &part {
                self.check_place(*node)?;
            }
            self.check_routes(&part)?;
            self.check_keys(&part)?;
        }
        Ok(())
    }

    fn check_place(&self, node: usize) -> Result<(), String> {
        let tree = self.tree(node);
        let Some(parent) = tree.parent() else {
            return match tree.office {
                Some(_) => Ok(()),
                None => Err(format!("{node} has no parent")),
            };
        };
        let parent = self.tree(self.names[&parent]);
        let me = self.name(node);
        let Some(child) = parent.children.get(&me).filter(|child| !child.is_gone()) else {
            return Err(format!("{node} is no child of its parent"));
        };
        let above = if child.seat { &[] } else { &*parent.own.path };
        let expected = [above, &[(child.slot, child.lease)]].concat();
        if *tree.own.path != *expected {
            return Err(format!(
                "{node} is at {:?}, not {expected:?}",
                tree.own.path
            ));
        }
        Ok(())
    }

    /// Walks from one node to another; says over how many hops.
    pub(super) fn walk(&self, from: usize, to: usize) -> Result<usize, String> {
        let mut route = Route::neighbour(self.name(from).tag(), self.name(to).tag());
        route.watermark = WATERMARK_START;
        route.to_location = self.tree(to).location();
        self.walk_route(from, route)
    }

    pub(super) fn walk_route(&self, from: usize, mut route: Route) -> Result<usize, String> {
        let (mut at, mut ingress, mut hops) = (from, None, 0);
        loop {
            let tree = self.tree(at);
            let tag = self.name(at).tag();
            let crate::wire::location::Location::Tree {
                tree: number, path, ..
            } = route.to_location.clone()
            else {
                return Err("no place".into());
            };
            let own = Own {
                tag,
                tree: number,
                place: tree.place_toward(number, &path),
            };
            let end = tree.is_neighbour(route.to);
            let end = end.then_some((route.to, [].as_slice()));
            let neighbours = tree.relays_toward(number, &path).chain(end);
            let neighbours = neighbours.map(|(tag, place)| forward::Near {
                tag,
                place,
                in_tree: tree.is_tied(tag),
            });
            match forward::decide(&self.geometry, own, neighbours, &route, ingress, None) {
                Verdict::Here => return Ok(hops),
                Verdict::Next {
                    neighbour,
                    watermark,
                    hops: left,
                } => {
                    (route.watermark, route.hops) = (watermark, left);
                    ingress = Some(tag);
                    let mut names = self.names.iter();
                    at = *names.find(|(name, _)| name.tag() == neighbour).unwrap().1;
                    hops += 1;
                }
                other => return Err(format!("{from}: {other:?} at {at} for {route:?}")),
            }
            assert!(hops <= usize::from(HOPS_MAX));
        }
    }

    fn check_routes(&self, part: &BTreeSet<usize>) -> Result<(), String> {
        for from in part {
            for to in part {
                self.walk(*from, *to)?;
            }
        }
        Ok(())
    }

    /// Every key has one owner, and everybody finds it.
    fn check_keys(&self, part: &BTreeSet<usize>) -> Result<(), String> {
        for step in 0..64_u64 {
            let key = step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let owners = part
                .iter()
                .filter(|node| self.tree(**node).is_responsible(key));
            let owners: Vec<_> = owners.copied().collect();
            if owners.len() != 1 {
                return Err(format!("{key:x} is owned by {owners:?}"));
            }
            for from in part {
                if self.seek(*from, key) != owners[0] {
                    return Err(format!("{from} does not find {key:x}"));
                }
            }
        }
        Ok(())
    }

    /// Where the way to a key ends.
    fn seek(&self, from: usize, key: u64) -> usize {
        let measure = |depth: usize, range: Range| {
            if range.contains(key) {
                (0, range.length())
            } else {
                (1, u128::try_from(depth).unwrap())
            }
        };
        let mut at = from;
        let mut watermark = (2, 0);
        loop {
            let tree = self.tree(at);
            if tree.is_responsible(key) {
                return at;
            }
            let own = tree.ranges().map(|(depth, range)| measure(depth, range));
            watermark = own.fold(watermark, Ord::min);
            let next = tree
                .neighbour_ranges()
                .map(|(name, depth, range)| (measure(depth, range), name))
                .filter(|(measure, _)| *measure < watermark)
                .min();
            let Some((measure, name)) = next else {
                return usize::MAX;
            };
            watermark = measure;
            at = self.names[&name];
        }
    }

    /// Runs until all is well; fails after `limit`.
    pub(super) fn settle(&mut self, limit: Duration) -> Duration {
        let start = self.now;
        let mut last = Ok(());
        while self.now.since(start) < limit {
            self.run(millis(50));
            last = self.check();
            if last.is_ok() {
                return self.now.since(start);
            }
        }
        panic!(
            "SEED={}: not settled after {limit:?}: {last:?}\n{}",
            self.seed,
            self.show()
        );
    }

    pub(super) fn show(&self) -> String {
        let mut out = String::new();
        for (node, tree) in &self.nodes {
            let parent = tree.parent().map(|name| self.names[&name]);
            let children: Vec<_> = tree.children().map(|name| self.names[&name]).collect();
            let root = self
                .names
                .iter()
                .find(|(n, _)| *n.as_bytes() == tree.root());
            out += &format!(
                "{node}: {:?} {:x} term {} seq {} root {:?} {:?} {:?} parent {parent:?} children {children:?} {:?}\n",
                tree.me,
                tree.tree(),
                tree.term(),
                tree.own.pulse.seq,
                root.map(|(_, node)| node),
                tree.own.path,
                tree.own.chain.last().map(|grant| grant.part),
                tree.children
                    .live()
                    .map(|(_, c)| (c.slot, c.part, c.weight, c.state))
                    .collect::<Vec<_>>(),
            );
        }
        out + &format!("links {:?} faults {:?}", self.links, self.faults)
    }
}
