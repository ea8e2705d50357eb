//! Nodes, the links between them, and what goes over these, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cloak::forward::Verdict;
use crate::cloak::overlay::{self, Misbehaviour, Overlay};
use crate::name::Name;
use crate::random::Random;
use crate::sim::overlay::Plan;
use crate::sim::overlay::directory::Lookups;
use crate::sim::overlay::graph::{Graph, pick};
use crate::sim::overlay::hostile::BOUT;
use crate::sim::overlay::memory::Memory;
use crate::sim::overlay::node::{Node, Wire};
use crate::sim::overlay::queue::Queue;
use crate::sim::overlay::traffic::{self, Packet, Traffic};
use crate::time::Time;
use crate::wire::tag::Tag;

/// One way over a link: the least and the most, in milliseconds.
const LATENCY_MS: (u64, u64) = (5, 40);
/// A node with fewer links dials another one.
const LINKS_WANTED: usize = 2;
/// Pause before a node dials again, as `peering` does it.
const DIAL_PAUSE: Duration = Duration::from_secs(1);
/// A node that all its neighbours have left without a place for this long dials another one.
const PLACE_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a link frame around an overlay message: lengths, kind and seal.
const FRAME_BYTES: usize = 5 + 1 + 16;

/// What nodes publish beside their places.
const ENDPOINT: &str = "node.example:4001";

/// What can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A message comes over a link.
    Message {
        from: usize,
        to: usize,
        link: u64,
        bytes: Vec<u8>,
    },
    /// A node asked to be woken.
    Timer(usize),
    /// A link is up at one of its ends.
    Up { node: usize, peer: usize, link: u64 },
    /// A node notices that a link is gone.
    Down { node: usize, peer: usize, link: u64 },
    /// A node looks whether it has links enough.
    Dial(usize),
    /// A packet comes to a node.
    Packet(Box<Packet>),
    /// A hostile node does its worst.
    Bout(usize),
    /// See [`Traffic`].
    Traffic(Traffic),
}

/// One overlay.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: Time,
    pub(super) random: Random,
    pub(super) nodes: Vec<Node>,
    /// Nodes that live.
    pub(super) live: Vec<usize>,
    /// Every node once for each of its links, while the overlay grows.
    ends: Vec<usize>,
    names: BTreeMap<Name, usize>,
    tags: BTreeMap<Tag, usize>,
    pub(super) queue: Queue<Event>,
    next_link: u64,
    /// Bytes on all links.
    pub(super) sent: u64,
    /// Messages and their bytes, by kind.
    pub(super) kinds: BTreeMap<u8, (u64, u64)>,
    pub(super) refused: u64,
    /// Links that were closed because of what an honest neighbour said.
    pub(super) misbehaviour: u64,
    /// The same for hostile ones.
    pub(super) closed: u64,
    verifier: Arc<Memory>,
    pub(super) traffic: traffic::State,
    pub(super) lookups: Lookups,
}

impl World {
    /// One way over the slowest link.
    pub(super) const SLOWEST: Duration = Duration::from_millis(LATENCY_MS.1);

    /// A world without nodes.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            plan: *plan,
            now: Time::ZERO,
            random: Random::from_number(plan.seed),
            nodes: Vec::new(),
            live: Vec::new(),
            ends: Vec::new(),
            names: BTreeMap::new(),
            tags: BTreeMap::new(),
            queue: Queue::new(),
            next_link: 0,
            sent: 0,
            kinds: BTreeMap::new(),
            refused: 0,
            misbehaviour: 0,
            closed: 0,
            verifier: Arc::default(),
            traffic: traffic::State::default(),
            lookups: Lookups::default(),
        }
    }

    /// Lets a new node dial as many nodes as the plan says.
    pub(super) fn join(&mut self, graph: Graph) -> usize {
        let chosen = graph.choose(&self.live, &self.ends, self.plan.links, &mut self.random);
        self.join_at(&chosen)
    }

    /// Lets a new node dial these.
    pub(super) fn join_at(&mut self, chosen: &[usize]) -> usize {
        let node = Node::new(
            &self.plan,
            Arc::<Memory>::clone(&self.verifier),
            self.now,
            &mut self.random,
        );
        let number = self.add(node);
        for peer in chosen {
            self.connect(number, *peer);
        }
        self.queue
            .push(self.now + PLACE_PATIENCE, Event::Dial(number));
        number
    }

    fn add(&mut self, node: Node) -> usize {
        let number = self.nodes.len();
        self.names.insert(node.name, number);
        self.tags.insert(node.name.tag(), number);
        self.nodes.push(node);
        self.live.push(number);
        self.drain(number);
        number
    }

    /// Makes a link: the dialler has it after one round trip, the other end half a one later.
    pub(super) fn connect(&mut self, node: usize, peer: usize) {
        let (least, most) = LATENCY_MS;
        let latency =
            Duration::from_micros(least * 1_000 + self.random.below((most - least) * 1_000));
        let link = self.next_link;
        self.next_link += 1;
        self.ends.extend([node, peer]);
        for (end, other, steps) in [(node, peer, 2), (peer, node, 3)] {
            if let Some(end) = self.nodes.get_mut(end) {
                end.links.insert(
                    other,
                    Wire {
                        link,
                        latency,
                        up: false,
                    },
                );
            }
            let up = Event::Up {
                node: end,
                peer: other,
                link,
            };
            self.queue.push(self.now + latency * steps, up);
        }
    }

    /// A node is gone without a word: its neighbours notice after `detect`.
    pub(super) fn kill(&mut self, number: usize, detect: Duration) {
        let Some(node) = self.nodes.get_mut(number) else {
            return;
        };
        node.overlay = None;
        node.died = Some(self.now);
        for (peer, wire) in std::mem::take(&mut node.links) {
            let down = Event::Down {
                node: peer,
                peer: number,
                link: wire.link,
            };
            self.queue.push(self.now + detect + wire.latency, down);
        }
        self.live.retain(|live| *live != number);
    }

    /// Lets everything happen until `end`.
    pub(super) fn run(&mut self, end: Time) {
        while self.step(end) {}
        self.now = end;
    }

    /// Lets the next thing happen, unless it lies behind `end`.
    pub(super) fn step(&mut self, end: Time) -> bool {
        let Some((at, event)) = self.queue.pop(end) else {
            return false;
        };
        self.now = at;
        match event {
            Event::Message {
                from,
                to,
                link,
                bytes,
            } => self.message(from, to, link, &bytes),
            Event::Timer(number) => self.timer(number),
            Event::Up { node, peer, link } => self.up(node, peer, link),
            Event::Down { node, peer, link } => self.down(node, peer, link),
            Event::Dial(number) => self.dial(number),
            Event::Packet(packet) => self.packet(*packet),
            Event::Bout(number) => self.bout(number),
            Event::Traffic(traffic) => self.traffic(traffic),
        }
        true
    }

    /// Whether both ends are there for this link.
    fn wire(&mut self, node: usize, peer: usize, link: u64) -> Option<&mut Wire> {
        let wire = self.nodes.get_mut(node)?.links.get_mut(&peer)?;
        (wire.link == link).then_some(wire)
    }

    fn message(&mut self, from: usize, to: usize, link: u64, bytes: &[u8]) {
        if !self.wire(to, from, link).is_some_and(|wire| wire.up) {
            return;
        }
        let (Some(name), Some(now)) = (self.name(from), self.time(to)) else {
            return;
        };
        if let Some(mind) = self.nodes.get_mut(to).and_then(|node| node.mind.as_mut()) {
            mind.hear(bytes);
            if let Some(answer) = mind.answer(bytes) {
                return self.say(to, from, answer);
            }
        }
        let handled = self
            .overlay(to)
            .map(|overlay| overlay.handle(name, bytes, now));
        if let Some(Err(misbehaviour)) = handled {
            self.misbehaved(to, from, link, &misbehaviour);
        }
        self.drain(to);
    }

    /// The link over which a neighbour broke a rule is closed; the other end sees that at once.
    fn misbehaved(&mut self, node: usize, peer: usize, link: u64, what: &Misbehaviour) {
        if self.nodes.get(peer).is_some_and(|peer| peer.mind.is_some()) {
            self.closed += 1;
        } else {
            self.misbehaviour += 1;
        }
        tracing::debug!(node, peer, ?what, now = ?self.now, "link closed");
        let latency = self.wire(node, peer, link).map(|wire| wire.latency);
        let far = Event::Down {
            node: peer,
            peer: node,
            link,
        };
        self.queue.push(self.now + latency.unwrap_or_default(), far);
        self.down(node, peer, link);
    }

    fn timer(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.timer == now) else {
            return;
        };
        node.timer = Time::NEVER;
        let own = node.time(now);
        if let Some(overlay) = &mut node.overlay {
            overlay.handle_timeout(own);
        }
        self.drain(number);
    }

    fn up(&mut self, node: usize, peer: usize, link: u64) {
        let is_there = self
            .nodes
            .get(peer)
            .is_some_and(|peer| peer.overlay.is_some());
        let Some(wire) = self.wire(node, peer, link) else {
            return;
        };
        // Who died in the handshake does not answer; one that it has answered hears nothing more, later.
        wire.up = is_there;
        if !is_there {
            self.down(node, peer, link);
            return;
        }
        let (Some(name), Some(now)) = (self.name(peer), self.time(node)) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(node)
            && let Some(overlay) = &mut node.overlay
        {
            overlay.neighbour_up(name, now);
            if !std::mem::replace(&mut node.publishes, true) {
                overlay.publish(vec![ENDPOINT.to_owned()], now);
            }
        }
        self.drain(node);
    }

    fn down(&mut self, node: usize, peer: usize, link: u64) {
        let Some(was_up) = self.wire(node, peer, link).map(|wire| wire.up) else {
            return;
        };
        let (Some(name), Some(now)) = (self.name(peer), self.time(node)) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(node) {
            node.links.remove(&peer);
            if let Some(overlay) = node.overlay.as_mut().filter(|_| was_up) {
                overlay.neighbour_down(name, now);
            }
        }
        self.drain(node);
        self.queue.push(self.now, Event::Dial(node));
    }

    /// A node that has too few links, or that no neighbour gives a place, dials another one.
    fn dial(&mut self, number: usize) {
        let Some(node) = self.nodes.get_mut(number) else {
            return;
        };
        if node.overlay.is_none() {
            return;
        }
        let is_homeless = node.is_homeless();
        let has_few = node.links.len() < LINKS_WANTED.min(self.plan.links);
        let all_up = node.links.values().all(|wire| wire.up);
        let is_fed_up = is_homeless && all_up && self.now.since(node.dialled) >= PLACE_PATIENCE;
        if !has_few && !is_fed_up {
            if is_homeless {
                self.queue
                    .push(self.now + PLACE_PATIENCE, Event::Dial(number));
            }
            return;
        }
        if is_homeless
            && !has_few
            && !node.was_placed
            && !std::mem::replace(&mut node.refused, true)
        {
            self.refused += 1;
        }
        node.dialled = self.now;
        let taken: Vec<usize> = node.links.keys().copied().chain([number]).collect();
        for _ in 0..8 {
            match pick(&self.live, &mut self.random) {
                Some(peer) if !taken.contains(&peer) => {
                    self.connect(number, peer);
                    break;
                }
                _ => {}
            }
        }
        let pause = if has_few { DIAL_PAUSE } else { PLACE_PATIENCE };
        self.queue.push(self.now + pause, Event::Dial(number));
    }

    /// A node's own time.
    pub(super) fn time(&self, number: usize) -> Option<Time> {
        self.nodes.get(number).map(|node| node.time(self.now))
    }

    /// Takes what a node's overlay has left to send and to be woken for.
    pub(super) fn drain(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number) else {
            return;
        };
        let Some(overlay) = &mut node.overlay else {
            return;
        };
        let (mut wanted, mut answers) = (Vec::new(), Vec::new());
        while let Some(event) = overlay.poll_event() {
            match event {
                overlay::Event::WantLink(name) => {
                    let tree = overlay.tree();
                    let homeless = tree.parent().is_none() && tree.children().next().is_none();
                    if homeless && !node.was_placed && !std::mem::replace(&mut node.refused, true) {
                        self.refused += 1;
                    }
                    wanted.extend(self.names.get(&name));
                }
                overlay::Event::Found { query, found } => answers.push((query, Some(found))),
                overlay::Event::NotFound { query, .. } => answers.push((query, None)),
                overlay::Event::Moved => {
                    let tree = overlay.tree();
                    node.was_placed |= tree.parent().is_some() || tree.children().next().is_some();
                }
                _ => {}
            }
        }
        let mut said = Vec::new();
        while let Some((to, bytes)) = overlay.poll_message() {
            match &mut node.mind {
                Some(mind) => said.extend(mind.say(bytes).into_iter().map(|bytes| (to, bytes))),
                None => said.push((to, bytes)),
            }
        }
        // A timer of a real node is no finer; and a node that is always due must not stop time.
        let due = (overlay.poll_timeout() + node.slept).max(now + Duration::from_millis(1));
        if due < node.timer {
            node.timer = due;
            self.queue.push(due, Event::Timer(number));
        }
        for (to, bytes) in said {
            if let Some(to) = self.names.get(&to).copied() {
                self.say(number, to, bytes);
            }
        }
        for peer in wanted {
            self.link_wanted(number, peer);
        }
        for (query, found) in answers {
            self.answered(number, query, found.as_deref());
        }
    }

    fn say(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let wire = self.nodes.get(from).and_then(|node| node.links.get(&to));
        if let Some(Wire { link, latency, .. }) = wire.copied().filter(|wire| wire.up) {
            let len = u64::try_from(bytes.len() + FRAME_BYTES).unwrap_or(u64::MAX);
            self.sent += len;
            if let Some(kind) = bytes.first() {
                let (messages, bytes) = self.kinds.entry(*kind).or_default();
                *messages += 1;
                *bytes += len;
            }
            let message = Event::Message {
                from,
                to,
                link,
                bytes,
            };
            self.queue.push(self.now + latency, message);
        }
    }

    fn bout(&mut self, number: usize) {
        let Some(node) = self.nodes.get_mut(number) else {
            return;
        };
        let place = node.place();
        let Some(mind) = &mut node.mind else {
            return;
        };
        let peers: Vec<usize> = node.links.keys().copied().collect();
        let said: Vec<_> = peers
            .into_iter()
            .flat_map(|peer| {
                mind.bout(place.clone())
                    .into_iter()
                    .map(move |bytes| (peer, bytes))
            })
            .collect();
        for (peer, bytes) in said {
            self.say(number, peer, bytes);
        }
        self.queue.push(self.now + BOUT, Event::Bout(number));
    }

    /// The overlay would like a link to a node of which it knows where it is.
    fn link_wanted(&mut self, number: usize, peer: usize) {
        let lives = |number: usize| {
            self.nodes
                .get(number)
                .is_some_and(|node| node.overlay.is_some())
        };
        let are_linked = self
            .nodes
            .get(number)
            .is_some_and(|node| node.links.contains_key(&peer));
        if number != peer && lives(peer) && !are_linked {
            self.connect(number, peer);
        }
    }

    /// A packet at a node: on to the next one, or to its end.
    pub(super) fn packet(&mut self, mut packet: Packet) {
        let Packet { at, ingress, .. } = packet;
        if let Some((from, link)) = ingress
            && !self.wire(at, from, link).is_some_and(|wire| wire.up)
        {
            return;
        }
        let from = ingress.and_then(|(from, _)| self.name(from));
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        let Some(overlay) = node
            .overlay
            .as_ref()
            .filter(|_| !node.swallows(&packet.route))
        else {
            return;
        };
        match overlay.decide(&packet.route, from.map(|name| name.tag()), None) {
            Verdict::Here => self.arrived(&packet),
            Verdict::Next {
                neighbour,
                watermark,
                hops,
            } => {
                let next = self.tags.get(&neighbour).copied();
                let wire = next.and_then(|next| Some((next, *node.links.get(&next)?)));
                let Some((next, wire)) = wire.filter(|(_, wire)| wire.up) else {
                    tracing::warn!(at, "sent to a neighbour that is none");
                    return;
                };
                (packet.route.watermark, packet.route.hops) = (watermark, hops);
                (packet.at, packet.ingress) = (next, Some((at, wire.link)));
                self.queue
                    .push(self.now + wire.latency, Event::Packet(Box::new(packet)));
            }
            Verdict::Broken(_) | Verdict::Drop => {}
        }
    }

    pub(super) fn is_homeless(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(Node::is_homeless)
    }

    pub(super) fn is_root(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(Node::is_root)
    }

    pub(super) fn name(&self, number: usize) -> Option<Name> {
        self.nodes.get(number).map(|node| node.name)
    }

    pub(super) fn overlay(&mut self, number: usize) -> Option<&mut Overlay> {
        self.nodes.get_mut(number)?.overlay.as_mut()
    }

    /// Parents that nodes which live have left since their probes were lost.
    pub(super) fn parents_left(&self) -> u64 {
        let overlays = self.nodes.iter().filter_map(|node| node.overlay.as_ref());
        overlays.map(Overlay::parents_left).sum()
    }

    /// Statements that nodes which live have not looked at.
    pub(super) fn unchecked(&self) -> u64 {
        let overlays = self.nodes.iter().filter_map(|node| node.overlay.as_ref());
        overlays.map(|overlay| overlay.tree().unchecked()).sum()
    }

    pub(super) fn numbered(&self, name: Name) -> Option<usize> {
        self.names.get(&name).copied()
    }

    pub(super) fn number(&self, tag: Tag) -> Option<usize> {
        self.tags.get(&tag).copied()
    }
}
