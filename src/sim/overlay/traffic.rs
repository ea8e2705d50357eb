//! Packets between nodes that live, die and move: sent, sent once more, and judged.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cloak::forward::WATERMARK_START;
use crate::limits::{DIRECTORY_LOOKUP, HOPS_MAX};
use crate::sim::overlay::figures::ChurnFigures;
use crate::sim::overlay::graph::{Graph, pick};
use crate::sim::overlay::world::{Event, World};
use crate::time::Time;
use crate::wire::link::Route;

/// A packet that has not arrived by then is sent again, by the tree.
const AGAIN_AFTER: Duration = Duration::from_millis(1_500);
/// A packet must have arrived by then.
const IN_TIME: Duration = Duration::from_secs(3);
/// How long after a root's death packets count as near to it.
const NEAR_ROOT_DEATH: Duration = Duration::from_secs(10);
/// Packets for each look-up.
const PACKETS_PER_LOOKUP: u32 = 10;
/// A node takes part in the traffic from this age on.
const GROWN_UP: Duration = Duration::from_secs(5);

/// A packet under way.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// The node that has it, or will.
    pub(super) at: usize,
    /// Where it came from, over which link; none where it starts.
    pub(super) ingress: Option<(usize, u64)>,
    /// Its header.
    pub(super) route: Route,
    /// Which one it is.
    pub(super) number: u64,
}

/// What traffic and churn let happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// A packet is sent between two nodes.
    Send,
    /// A node looks up another one.
    Ask,
    /// A packet is sent again unless it has arrived.
    Again(u64),
    /// A packet is judged.
    Judge(u64),
    /// A node dies, and another one comes.
    Death,
    /// The root dies, and a node comes.
    RootDeath,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    from: usize,
    to: usize,
    at: Time,
    arrived: bool,
}

/// Traffic under way and what became of earlier one.
#[derive(Debug, Default)]
pub(super) struct State {
    sent: BTreeMap<u64, Sent>,
    next: u64,
    root_died: Option<Time>,
    until: Time,
    send_every: Duration,
    death_every: Duration,
    detect: Duration,
    pub(super) figures: ChurnFigures,
}

/// How much happens under churn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Mean time between deaths.
    pub(super) death_every: Duration,
    /// Time between packets.
    pub(super) send_every: Duration,
    /// Until a death is noticed.
    pub(super) detect: Duration,
    /// How long it goes on.
    pub(super) span: Duration,
    /// Root deaths, evenly over the span, beside those by chance.
    pub(super) root_deaths: u32,
}

impl World {
    /// Lets nodes die and come while packets are sent; returns when the last packet was judged.
    pub(super) fn churn(&mut self, rates: &Rates) -> ChurnFigures {
        let until = self.now + rates.span;
        self.traffic = State {
            until,
            send_every: rates.send_every,
            death_every: rates.death_every,
            detect: rates.detect,
            next: self.traffic.next,
            ..State::default()
        };
        self.take_lookups();
        for what in [Traffic::Send, Traffic::Ask] {
            self.queue.push(self.now, Event::Traffic(what));
        }
        self.next_death();
        for number in 0..rates.root_deaths {
            let share = rates.span / rates.root_deaths.max(1);
            let death = Event::Traffic(Traffic::RootDeath);
            self.queue
                .push(self.now + share * number + share / 3, death);
        }
        self.run(until + IN_TIME + DIRECTORY_LOOKUP);
        self.traffic.figures.lookups = self.take_lookups();
        self.traffic.figures
    }

    pub(super) fn traffic(&mut self, what: Traffic) {
        match what {
            Traffic::Send => self.send(),
            Traffic::Ask => self.look_up(),
            Traffic::Again(number) => self.again(number),
            Traffic::Judge(number) => self.judge(number),
            Traffic::Death => {
                if self.now < self.traffic.until {
                    let victim = pick(&self.live, &mut self.random);
                    self.replace(victim);
                    self.next_death();
                }
            }
            Traffic::RootDeath => {
                let root = self.live.iter().copied().find(|node| self.is_root(*node));
                self.replace(root);
            }
        }
    }

    fn next_death(&mut self) {
        let mean = u64::try_from(self.traffic.death_every.as_micros()).unwrap_or(u64::MAX);
        if mean == 0 {
            return;
        }
        let pause = Duration::from_micros(self.random.below(mean.saturating_mul(2)));
        self.queue
            .push(self.now + pause, Event::Traffic(Traffic::Death));
    }

    fn replace(&mut self, victim: Option<usize>) {
        let Some(victim) = victim else {
            return;
        };
        self.traffic.figures.deaths += 1;
        if self.is_root(victim) {
            self.traffic.figures.root_deaths += 1;
            self.traffic.root_died = Some(self.now);
        }
        self.kill(victim, self.traffic.detect);
        self.join(Graph::Random);
    }

    /// Two nodes that have been there for a while.
    fn ends(&mut self) -> Option<(usize, usize)> {
        for _ in 0..64 {
            let from = pick(&self.live, &mut self.random)?;
            let to = pick(&self.live, &mut self.random)?;
            let is_grown = |node: usize| {
                self.nodes
                    .get(node)
                    .is_some_and(|node| self.now.since(node.born) >= GROWN_UP)
            };
            if from != to && is_grown(from) && is_grown(to) {
                return Some((from, to));
            }
        }
        None
    }

    fn send(&mut self) {
        if self.now >= self.traffic.until {
            return;
        }
        let next = self.now + self.traffic.send_every;
        self.queue.push(next, Event::Traffic(Traffic::Send));
        let Some((from, to)) = self.ends() else {
            return;
        };
        let number = self.traffic.next;
        self.traffic.next += 1;
        let sent = Sent {
            from,
            to,
            at: self.now,
            arrived: false,
        };
        self.traffic.sent.insert(number, sent);
        for (after, what) in [
            (AGAIN_AFTER, Traffic::Again(number)),
            (IN_TIME, Traffic::Judge(number)),
        ] {
            self.queue.push(self.now + after, Event::Traffic(what));
        }
        self.leave(number, sent, false);
    }

    fn again(&mut self, number: u64) {
        if let Some(sent) = self.traffic.sent.get(&number).copied()
            && !sent.arrived
        {
            self.leave(number, sent, true);
        }
    }

    fn look_up(&mut self) {
        if self.now >= self.traffic.until {
            return;
        }
        let next = self.now + self.traffic.send_every * PACKETS_PER_LOOKUP;
        self.queue.push(next, Event::Traffic(Traffic::Ask));
        if let Some((from, to)) = self.ends() {
            self.ask(from, to);
        }
    }

    /// Sends a packet to where its receiver hangs now: ends of a session tell each other.
    fn leave(&mut self, number: u64, sent: Sent, by_tree: bool) {
        if let Some(route) = self.route(sent.from, sent.to) {
            let route = Route { by_tree, ..route };
            let packet = Packet {
                at: sent.from,
                ingress: None,
                route,
                number,
            };
            self.packet(packet);
        }
    }

    /// The header of a packet from one node to another; none while the receiver never had a place.
    pub(super) fn route(&self, from: usize, to: usize) -> Option<Route> {
        let place = |node: usize| self.nodes.get(node)?.place();
        let mut route = Route::neighbour(self.name(from)?.tag(), self.name(to)?.tag());
        route.hops = HOPS_MAX;
        route.watermark = WATERMARK_START;
        route.to_location = place(to)?;
        if let Some(place) = place(from) {
            route.from_location = place;
        }
        Some(route)
    }

    pub(super) fn arrived(&mut self, packet: &Packet) {
        if let Some(sent) = self.traffic.sent.get_mut(&packet.number) {
            sent.arrived = true;
        }
    }

    fn judge(&mut self, number: u64) {
        let Some(sent) = self.traffic.sent.remove(&number) else {
            return;
        };
        let lives = |node: usize| self.nodes.get(node).is_some_and(|node| node.died.is_none());
        if !lives(sent.from) || !lives(sent.to) {
            return;
        }
        let died = self.traffic.root_died;
        let is_near = died.is_some_and(|died| sent.at.since(died) < NEAR_ROOT_DEATH);
        let figures = &mut self.traffic.figures;
        figures.packets.add(sent.arrived);
        if is_near && died.is_some_and(|died| died <= sent.at + IN_TIME) {
            figures.near_root_death.add(sent.arrived);
        }
        if !sent.arrived {
            tracing::debug!(sent.from, sent.to, at = ?sent.at, is_near, "packet lost");
        }
    }
}
