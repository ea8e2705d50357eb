//! What waits at a relay for one neighbour: fair by the neighbour it came from, then by session.
//!
//! Two rounds in one another. In the outer one the neighbours that frames came from take turns, and this
//! node's own sessions as one more; in the inner one the flows of each. In both, who was quiet goes first
//! (the idea of FQ-CoDel), so a keystroke, a handshake or a Re-Hello passes by the bulk of others. What has
//! waited long is marked, and the session that sent it sends less (`srm::window`).
//!
//! Nothing here has a bound: [`Relay`](crate::cloak::relay::Relay) keeps them, over all neighbours.

mod rounds;

use std::collections::{BTreeMap, VecDeque};

use crate::cloak::queues::rounds::Rounds;
pub(in crate::cloak) use crate::cloak::queues::rounds::Tally;
use crate::limits::{RELAY_FLOWS_MAX, RELAY_FRAME_COST, RELAY_MARK};
use crate::time::Time;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::packet::HEADER_LEN;
use crate::wire::tag::Tag;

/// A frame on its way through this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its routing header, as it leaves.
    pub route: Route,
    /// What is behind it.
    pub content: Content,
}

/// What a relay passes on and does not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A sealed packet of a session.
    Packet {
        /// Its header.
        header: [u8; HEADER_LEN],
        /// Ciphertext and tag.
        body: Vec<u8>,
    },
    /// A message outside packets.
    Signal(Vec<u8>),
}

impl Waiting {
    /// Bytes that it takes on a link, nearly.
    pub const fn wire_len(&self) -> usize {
        // Lengths and tag of the frame, flags, hops, both tags; places are short.
        const FRONT: usize = 48;
        match &self.content {
            Content::Packet { body, .. } => FRONT + HEADER_LEN + body.len(),
            Content::Signal(message) => FRONT + message.len(),
        }
    }

    /// Bytes of memory that it is charged with.
    pub fn cost(&self) -> usize {
        let bytes = match &self.content {
            Content::Packet { body, .. } => body.capacity(),
            Content::Signal(message) => message.capacity(),
        };
        let steps = |location: &Location| match location {
            Location::Neighbour => 0,
            Location::Tree { path, .. } => size_of_val(path.as_slice()),
        };
        let places = steps(&self.route.to_location) + steps(&self.route.from_location);
        bytes + places + RELAY_FRAME_COST
    }

    const fn flow(&self) -> Flow {
        Flow::Session {
            from: self.route.from,
            to: self.route.to,
            signal: matches!(self.content, Content::Signal(_)),
        }
    }
}

/// Frames that share a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flow {
    /// Those of one direction of a session; signals do not wait behind packets.
    Session { from: Tag, to: Tag, signal: bool },
    /// Those of all sessions beyond [`RELAY_FLOWS_MAX`].
    Rest,
}

/// Who takes turns on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Own,
    Neighbour(Tag),
}

#[derive(Debug)]
struct Entry {
    frame: Waiting,
    at: Time,
    cost: usize,
}

/// What came from one neighbour.
#[derive(Debug, Default)]
struct Ingress {
    flows: BTreeMap<Flow, VecDeque<Entry>>,
    rounds: Rounds<Flow>,
    costs: Tally<Flow>,
}

impl Ingress {
    fn push(&mut self, entry: Entry) {
        let mut flow = entry.frame.flow();
        if !self.rounds.knows(flow) && self.rounds.len() >= RELAY_FLOWS_MAX {
            flow = Flow::Rest;
        }
        self.rounds.arrive(flow);
        self.costs.add(flow, entry.cost);
        self.flows.entry(flow).or_default().push_back(entry);
    }

    fn take(&mut self, flow: Flow) -> Option<Entry> {
        let queue = self.flows.get_mut(&flow)?;
        let entry = queue.pop_front();
        if queue.is_empty() {
            self.flows.remove(&flow);
        }
        if let Some(entry) = &entry {
            self.costs.take(flow, entry.cost);
        }
        entry
    }

    fn pop(&mut self) -> Option<Entry> {
        loop {
            let flow = self.rounds.turn()?;
            match self.take(flow) {
                Some(entry) => {
                    self.rounds.spent(flow, entry.frame.wire_len());
                    return Some(entry);
                }
                None => self.rounds.dry(flow),
            }
        }
    }

    fn drop_longest(&mut self) -> Option<Entry> {
        let flow = self.costs.most()?;
        let entry = self.take(flow);
        if !self.flows.contains_key(&flow) {
            self.rounds.forget(flow);
        }
        entry
    }
}

/// Whose turn it is on a link.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// This frame goes.
    Frame {
        /// The frame, marked if it has waited for long.
        frame: Waiting,
        /// The neighbour that it came from.
        ingress: Tag,
        /// What it was charged with.
        cost: usize,
    },
    /// A packet of this node's own sessions goes.
    Own,
}

/// What waits for one neighbour.
#[derive(Debug, Default)]
pub struct Queues {
    ingresses: BTreeMap<Tag, Ingress>,
    rounds: Rounds<Source>,
    costs: Tally<Tag>,
}

impl Queues {
    /// A frame came from `ingress`; gives what it is charged with.
    pub fn push(&mut self, ingress: Tag, frame: Waiting, now: Time) -> usize {
        let cost = frame.cost();
        let at = now;
        let from = self.ingresses.entry(ingress).or_default();
        from.push(Entry { frame, at, cost });
        self.costs.add(ingress, cost);
        self.rounds.arrive(Source::Neighbour(ingress));
        cost
    }

    /// Whose turn it is; `own` tells that sessions of this node have something for the neighbour. For its
    /// own turn [`Self::own_sent`] must tell what was sent.
    pub fn pop(&mut self, own: bool, now: Time) -> Option<Turn> {
        if own {
            self.rounds.arrive(Source::Own);
        }
        loop {
            let source = self.rounds.turn()?;
            let ingress = match source {
                Source::Own if own => return Some(Turn::Own),
                Source::Own => {
                    self.rounds.dry(source);
                    continue;
                }
                Source::Neighbour(ingress) => ingress,
            };
            let entry = self.ingresses.get_mut(&ingress).and_then(Ingress::pop);
            let Some(Entry {
                mut frame,
                at,
                cost,
            }) = entry
            else {
                self.ingresses.remove(&ingress);
                self.rounds.dry(source);
                continue;
            };
            self.costs.take(ingress, cost);
            self.rounds.spent(source, frame.wire_len());
            frame.route.marked |= now.since(at) >= RELAY_MARK;
            return Some(Turn::Frame {
                frame,
                ingress,
                cost,
            });
        }
    }

    /// This node's own sessions have sent `bytes` in their turn.
    pub fn own_sent(&mut self, bytes: usize) {
        self.rounds.spent(Source::Own, bytes);
    }

    /// Drops the oldest frame of the longest flow of a neighbour; gives what it was charged with.
    pub fn drop_from(&mut self, ingress: Tag) -> Option<usize> {
        let from = self.ingresses.get_mut(&ingress)?;
        let entry = from.drop_longest();
        if from.flows.is_empty() {
            self.ingresses.remove(&ingress);
            self.rounds.forget(Source::Neighbour(ingress));
        }
        let cost = entry?.cost;
        self.costs.take(ingress, cost);
        Some(cost)
    }

    /// The neighbour from which most waits.
    pub fn longest(&self) -> Option<Tag> {
        self.costs.most()
    }

    /// What all that waits is charged with, bytes.
    pub const fn cost(&self) -> usize {
        self.costs.total()
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.costs.total() == 0
    }

    /// Everything that waits, with the neighbour that it came from, in no order that matters.
    pub fn take_all(&mut self) -> Vec<(Tag, Waiting)> {
        let all = std::mem::take(self);
        let entries = all.ingresses.into_iter().flat_map(|(ingress, from)| {
            let frames = from.flows.into_values().flatten();
            frames.map(move |entry| (ingress, entry.frame))
        });
        entries.collect()
    }
}
