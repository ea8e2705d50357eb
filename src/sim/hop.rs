//! The hostile path between two sessions: relays that lose, double, reorder, spoil, hold and replay whole
//! messages, and remember every one they have seen.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::random::Random;
use crate::ssm::schedule::Pair;
use crate::time::Time;
use crate::wire::packet::HEADER_LEN;

/// Messages that the relays remember; a random older one is forgotten beyond.
const MEMORY: usize = 400;

/// A message of a session on its way.
#[derive(Debug)]
pub(super) struct Message {
    /// The end that sent it.
    pub(super) from: usize,
    /// The pair of sessions that it belongs to.
    pub(super) generation: u32,
    pub(super) what: What,
    /// Whether the far end has opened it: no copy may open again.
    pub(super) opened: Cell<bool>,
}

/// What a message is.
#[derive(Debug)]
pub(super) enum What {
    Packet {
        header: [u8; HEADER_LEN],
        body: Vec<u8>,
        pair: Pair,
        number: u64,
    },
    Hello(Vec<u8>),
}

/// How a path treats messages: chances in a thousand.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: u64,
    pub(super) double: u64,
    pub(super) hold: u64,
    pub(super) spoil: u64,
    pub(super) mark: u64,
    /// Everything vanishes.
    pub(super) silent: bool,
}

impl Path {
    /// A path as good as any.
    pub(super) fn good(random: &mut Random) -> Self {
        Self {
            latency: Duration::from_millis(1 + random.below(60)),
            jitter: Duration::ZERO,
            loss: 0,
            double: 0,
            hold: 0,
            spoil: 0,
            mark: 0,
            silent: false,
        }
    }

    /// Some of what can be wrong with a path.
    pub(super) fn worsen(&mut self, random: &mut Random) {
        let mut pick = |chance: u64, most: u64| {
            if random.below(chance) == 0 {
                random.below(most)
            } else {
                0
            }
        };
        self.loss = pick(2, 250);
        self.double = pick(2, 200);
        self.hold = pick(3, 100);
        self.spoil = pick(4, 60);
        self.mark = pick(4, 400);
        self.jitter = Duration::from_millis(pick(2, 120));
    }

    /// Nothing is wrong any more.
    pub(super) const fn mend(&mut self) {
        self.jitter = Duration::ZERO;
        self.loss = 0;
        self.double = 0;
        self.hold = 0;
        self.spoil = 0;
    }
}

/// What the relays do with a message that was sent.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// When copies arrive; none is lost or held.
    pub(super) arrivals: Vec<Time>,
    pub(super) held: bool,
    /// The copies are spoilt.
    pub(super) spoilt: bool,
    pub(super) marked: bool,
}

/// The relays of all paths.
#[derive(Debug, Default)]
pub(super) struct Hop {
    pub(super) paths: BTreeMap<u64, Path>,
    pub(super) next_path: u64,
    memory: Vec<Rc<Message>>,
    pub(super) held: Vec<Rc<Message>>,
    /// Everything is held until then.
    pub(super) jam_until: Time,
}

impl Hop {
    /// A message enters `path`.
    pub(super) fn takes(
        &mut self,
        path: u64,
        message: &Rc<Message>,
        random: &mut Random,
        now: Time,
    ) -> Verdict {
        self.remember(message, random);
        let mut verdict = Verdict::default();
        let Some(path) = self.paths.get(&path).filter(|path| !path.silent) else {
            return verdict;
        };
        let mut happens = |chance: u64| random.below(1_000) < chance;
        if happens(path.loss) {
            return verdict;
        }
        if now < self.jam_until || happens(path.hold) {
            verdict.held = true;
            self.held.push(Rc::clone(message));
            return verdict;
        }
        verdict.spoilt = happens(path.spoil);
        verdict.marked = happens(path.mark);
        let copies = if happens(path.double) { 2 } else { 1 };
        let jitter = u64::try_from(path.jitter.as_micros()).unwrap_or(0);
        for _ in 0..copies {
            let late = Duration::from_micros(random.below(jitter.max(1)));
            verdict.arrivals.push(now + path.latency + late);
        }
        verdict
    }

    fn remember(&mut self, message: &Rc<Message>, random: &mut Random) {
        if self.memory.len() >= MEMORY {
            let at = random.below(MEMORY as u64);
            self.memory.swap_remove(usize::try_from(at).unwrap_or(0));
        }
        self.memory.push(Rc::clone(message));
    }

    /// Any message that the relays have seen.
    pub(super) fn any(&self, random: &mut Random) -> Option<Rc<Message>> {
        let at = usize::try_from(random.below(self.memory.len() as u64)).ok()?;
        self.memory.get(at).cloned()
    }

    /// Some of the messages that are held, in any order.
    pub(super) fn release(&mut self, all: bool, random: &mut Random) -> Vec<Rc<Message>> {
        let mut out = Vec::new();
        while !self.held.is_empty() && (all || random.below(4) > 0) {
            let at = random.below(self.held.len() as u64);
            out.push(self.held.swap_remove(usize::try_from(at).unwrap_or(0)));
        }
        out
    }
}
