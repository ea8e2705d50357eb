//! Sessions through one relay: real sessions and the real queues between modelled links.
//!
//! Each neighbour of the relay has a line to it and one from it, with a rate, a delay, and a kernel's unsent
//! backlog in front. Sessions join two neighbours, and may have further hops behind them. Applications at
//! the first end send; the oracle at the second looks at every byte.

mod pair;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cloak::queues::{Content, Turn, Waiting};
use crate::cloak::relay::{Bounds, Relay};
use crate::limits::{PACKET_PLAIN_CHOSEN, PACKET_PLAIN_MIN};
use crate::random::Random;
use crate::session::{Arrived, KeyUse, Options, Places, Session};
use crate::sim::relay::pair::{Load, Pair, Writer};
use crate::sim::setting::{Failure, Report, established, party};
use crate::srm::acks::AckPolicy;
use crate::srm::budget::Budget;
use crate::ssm::suite::Suite;
use crate::time::Time;
use crate::wire::link::Route;
use crate::wire::tag::Tag;

/// What a kernel holds unsent of a line, as `link::pace` chooses it.
const BACKLOG: Duration = Duration::from_millis(8);
/// Time that a packet may take on the line in front, as `link::pace` chooses it.
const PACKET_TIME: Duration = Duration::from_millis(5);
/// Bytes of type and index in front of a Re-Hello, which are the router's.
const FRONT: usize = 9;
/// How long everything may take to come right behind the last standstill.
const CALM: Duration = Duration::from_secs(90);
/// The way of each session, which has no other one.
const PATH: u64 = 1;
/// Index of the line that all share in the runs of [`run`].
const SHARED: usize = 0;

/// One direction between a neighbour and the relay.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Bytes per second.
    rate: u64,
    delay: Duration,
    /// When the last byte that was given to it has left.
    free_at: Time,
    /// It is looked at again then.
    due: Option<Time>,
    /// It takes nothing until then.
    frozen_until: Time,
}

impl Line {
    const fn new(rate: u64, delay: Duration) -> Self {
        Self {
            rate,
            delay,
            free_at: Time::ZERO,
            due: None,
            frozen_until: Time::ZERO,
        }
    }

    /// When it takes more; now or before if it does.
    fn takes_at(&self) -> Time {
        let backlog = u64::try_from(BACKLOG.as_nanos()).unwrap_or(0);
        let at = self.free_at.as_nanos().saturating_sub(backlog);
        Time::from_nanos(at).max(self.frozen_until)
    }

    /// Takes bytes; gives the time at which they are at the other end.
    fn take(&mut self, bytes: usize, now: Time) -> Time {
        let nanos = bytes as u64 * 1_000_000_000 / self.rate;
        self.free_at = self.free_at.max(now) + Duration::from_nanos(nanos);
        self.free_at + self.delay
    }

    fn packet_max(&self) -> usize {
        let bytes = u128::from(self.rate) * PACKET_TIME.as_nanos() / 1_000_000_000;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        bytes.clamp(PACKET_PLAIN_MIN, PACKET_PLAIN_CHOSEN)
    }
}

/// A neighbour of the relay.
#[derive(Debug)]
struct Neighbour {
    tag: Tag,
    up: Line,
    down: Line,
    /// Ends of sessions behind it.
    ends: Vec<(usize, usize)>,
    turn: usize,
}

#[derive(Debug)]
enum Happening {
    /// A frame of an end is at the relay.
    AtRelay(usize, usize, Waiting),
    /// A frame is at an end.
    AtEnd(usize, usize, Waiting),
    /// A neighbour's line to the relay takes more.
    Up(usize),
    /// Its line from the relay does.
    Down(usize),
}

/// How a session lies.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The neighbours at its ends.
    at: [usize; 2],
    /// Delay of the hops behind the first.
    behind: Duration,
}

pub(super) struct World {
    relay: Relay,
    neighbours: Vec<Neighbour>,
    pairs: Vec<(Pair, Way)>,
    happenings: BTreeMap<(Time, u64), Happening>,
    next_happening: u64,
    touched: BTreeSet<usize>,
    random: Random,
    now: Time,
    /// Most that waited at the relay.
    most: usize,
    /// Marks are not seen: a test's fault.
    deaf: bool,
}

impl World {
    fn new(seed: u64, bounds: Bounds) -> Self {
        Self {
            relay: Relay::new(bounds),
            neighbours: Vec::new(),
            pairs: Vec::new(),
            happenings: BTreeMap::new(),
            next_happening: 0,
            touched: BTreeSet::new(),
            random: Random::from_number(seed ^ 0x3e1a_0000_0000_0000),
            now: Time::ZERO,
            most: 0,
            deaf: false,
        }
    }

    /// Adds a neighbour; bytes per second in both directions, delay in each.
    fn neighbour(&mut self, rate: u64, delay: Duration) -> usize {
        let number = self.neighbours.len();
        self.neighbours.push(Neighbour {
            tag: Tag((number as u64 + 1).to_be_bytes()),
            up: Line::new(rate, delay),
            down: Line::new(rate, delay),
            ends: Vec::new(),
            turn: 0,
        });
        number
    }

    /// Adds a session with its applications, from a handshake that is over.
    fn session(&mut self, way: Way, loads: &[Load], memory: u64) -> Option<usize> {
        let number = self.pairs.len();
        let random = &mut self.random;
        let parties = [party(1, 1), party(2, 2)];
        let made = established([&parties[0], &parties[1]], Suite::Aes256Gcm, random)?;
        let mut sessions = made.map(|side| {
            let options = Options {
                acks: AckPolicy {
                    every: crate::limits::ACK_EVERY,
                    delay: crate::limits::ACK_DELAY,
                },
                budget: Budget::new(memory),
                max_suspend: None,
                max_j: None,
                key_use: KeyUse::default(),
            };
            Session::new(&side, Places::NEIGHBOURS, options, random, self.now)
        });
        for (side, session) in sessions.iter_mut().enumerate() {
            session.set_path(PATH, true, self.now);
            self.neighbours[way.at[side]].ends.push((number, side));
        }
        let seeds = loads.iter().map(|load| (*load, random.number()));
        let writers = seeds.map(|(load, seed)| Writer::new(load, seed, self.now));
        let pair = Pair {
            sessions,
            writers: writers.collect(),
            broken: None,
        };
        self.pairs.push((pair, way));
        self.touched.insert(number);
        Some(number)
    }

    fn at(&mut self, at: Time, happening: Happening) {
        self.next_happening += 1;
        self.happenings.insert((at, self.next_happening), happening);
    }

    /// Lets everything happen until `end`, or until all is said and heard.
    fn play(&mut self, end: Time) -> Result<(), String> {
        loop {
            self.act()?;
            if self.pairs.iter().all(|(pair, _)| pair.is_over()) {
                return Ok(());
            }
            let pairs = self.pairs.iter().map(|(pair, _)| pair.next());
            let first = self.happenings.first_key_value();
            let next = pairs.fold(first.map_or(Time::NEVER, |((at, _), _)| *at), Time::min);
            if next > end {
                self.now = end;
                return Ok(());
            }
            self.now = next.max(self.now);
            self.timers();
            if let Some(entry) = self.happenings.first_entry()
                && entry.key().0 <= self.now
            {
                let happening = entry.remove();
                self.happens(happening);
            }
        }
    }

    fn timers(&mut self) {
        for (number, (pair, _)) in self.pairs.iter_mut().enumerate() {
            if pair.next() <= self.now {
                for session in &mut pair.sessions {
                    session.handle_timeout(self.now);
                }
                self.touched.insert(number);
            }
        }
    }

    fn act(&mut self) -> Result<(), String> {
        while let Some(number) = self.touched.pop_first() {
            let (pair, way) = &mut self.pairs[number];
            pair.act(self.now);
            if let Some(what) = pair.broken.take() {
                return Err(format!("session {number}: {what}"));
            }
            for neighbour in way.at {
                self.up(neighbour);
            }
        }
        Ok(())
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::AtRelay(ingress, egress, frame) => {
                let from = self.neighbours[ingress].tag;
                let to = self.neighbours[egress].tag;
                self.relay.push(to, from, frame, self.now);
                self.most = self.most.max(self.relay.cost());
                self.down(egress);
            }
            Happening::AtEnd(number, side, frame) => self.arrives(number, side, frame),
            Happening::Up(neighbour) => {
                self.neighbours[neighbour].up.due = None;
                self.up(neighbour);
            }
            Happening::Down(neighbour) => {
                self.neighbours[neighbour].down.due = None;
                self.down(neighbour);
            }
        }
    }

    fn arrives(&mut self, number: usize, side: usize, frame: Waiting) {
        let marked = frame.route.marked && !self.deaf;
        let (session, mut to) = self.pairs[number].0.end(side, self.now);
        match frame.content {
            Content::Packet { header, mut body } => {
                let arrived = Arrived {
                    header: &header,
                    body: &mut body,
                    marked,
                    path: PATH,
                };
                session.handle_packet(arrived, self.now, &mut to);
            }
            Content::Signal(message) => {
                session.handle_re_hello(message.get(FRONT..).unwrap_or_default(), self.now);
            }
        }
        self.touched.insert(number);
    }

    /// The ends behind a neighbour send what its line to the relay takes.
    fn up(&mut self, neighbour: usize) {
        let mut idle = 0;
        loop {
            let from = &mut self.neighbours[neighbour];
            if idle >= from.ends.len() {
                return;
            }
            let takes_at = from.up.takes_at();
            if takes_at > self.now {
                if from.up.due.is_none() {
                    from.up.due = Some(takes_at);
                    self.at(takes_at, Happening::Up(neighbour));
                }
                return;
            }
            from.turn = (from.turn + 1) % from.ends.len();
            let (number, side) = from.ends[from.turn];
            let packet_max = from.up.packet_max();
            let (pair, way) = &mut self.pairs[number];
            let session = &mut pair.sessions[side];
            let Some(frame) = frame(session, (number, side), packet_max, self.now) else {
                idle += 1;
                continue;
            };
            idle = 0;
            let behind = if side == 0 {
                way.behind
            } else {
                Duration::ZERO
            };
            let at = from.up.take(frame.wire_len(), self.now) + behind;
            let egress = way.at[1 - side];
            self.at(at, Happening::AtRelay(neighbour, egress, frame));
        }
    }

    /// The relay sends what a neighbour's line takes.
    fn down(&mut self, neighbour: usize) {
        loop {
            let to = &mut self.neighbours[neighbour];
            if !self.relay.waits_for(to.tag) {
                return;
            }
            let takes_at = to.down.takes_at();
            if takes_at > self.now {
                if to.down.due.is_none() {
                    to.down.due = Some(takes_at);
                    self.at(takes_at, Happening::Down(neighbour));
                }
                return;
            }
            let Some(Turn::Frame { frame, .. }) = self.relay.pop(to.tag, false, self.now) else {
                return;
            };
            let [.., number, side] = frame.route.to.0;
            let (number, side) = (usize::from(number), usize::from(side));
            let behind = self.pairs.get(number).map(|(_, way)| way.behind);
            let behind = behind.filter(|_| side == 0).unwrap_or_default();
            let at = to.down.take(frame.wire_len(), self.now) + behind;
            self.at(at, Happening::AtEnd(number, side, frame));
        }
    }
}

/// The tag of an end of a session.
fn end_tag(number: usize, side: usize) -> Tag {
    let byte = |number| u8::try_from(number).unwrap_or(u8::MAX);
    Tag([9, 0, 0, 0, 0, 0, byte(number), byte(side)])
}

/// What an end sends next.
fn frame(
    session: &mut Session,
    (number, side): (usize, usize),
    packet_max: usize,
    now: Time,
) -> Option<Waiting> {
    let route = Route::neighbour(end_tag(number, side), end_tag(number, 1 - side));
    if let Some(signal) = session.poll_signal() {
        let content = Content::Signal(signal.message);
        return Some(Waiting { route, content });
    }
    let mut body = Vec::new();
    let sealed = session.poll_packet(packet_max, &mut body, now)?;
    let header = sealed.header;
    let content = Content::Packet { header, body };
    Some(Waiting { route, content })
}

/// Plays the run of a seed: a few sessions of all kinds share a slow line of a relay with little memory,
/// which stands still at times. Every byte must arrive once.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let mut world = World::of(seed);
    world.all().map_err(|what| Failure {
        what: format!("SEED={seed} relay, at {:?}: {what}", world.now),
        diagram: String::new(),
    })
}

impl World {
    fn of(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let memory = 1 << (16 + random.below(7));
        let bounds = Bounds {
            link: memory,
            ingress: memory,
            node: 2 * memory,
        };
        let mut world = Self::new(seed, bounds);
        world.people(&mut random);
        world
    }

    fn all(&mut self) -> Result<Report, String> {
        for _ in 0..4 {
            let still = Duration::from_millis(self.random.below(2_500));
            self.neighbours[SHARED].down.frozen_until = self.now + still;
            self.play(self.now + Duration::from_secs(3))?;
        }
        self.play(self.now + CALM)?;
        let mut report = Report::default();
        for (number, (pair, _)) in self.pairs.iter().enumerate() {
            if !pair.is_over() {
                let what = format!("session {number} never finished: {:?}", pair.writers);
                return Err(what);
            }
            report.channels += pair.writers.len();
            report.ended += pair.writers.iter().filter(|writer| writer.ended).count();
        }
        if self.most > self.relay.bounds().node {
            return Err(format!("{} bytes waited", self.most));
        }
        Ok(report)
    }
    /// Some neighbours and sessions.
    fn people(&mut self, random: &mut Random) {
        let millis = |random: &mut Random, most| Duration::from_millis(random.below(most));
        let rate = 100_000 << random.below(7);
        let delay = millis(random, 30);
        self.neighbour(rate, delay);
        let others = 1 + random.below(3);
        for _ in 0..others {
            let delay = millis(random, 30);
            self.neighbour(rate << random.below(5), delay);
        }
        for _ in 0..1 + random.below(6) {
            let other = usize::try_from(1 + random.below(others)).unwrap_or(1);
            let at = if random.below(4) == 0 {
                [SHARED, other]
            } else {
                [other, SHARED]
            };
            let behind = millis(random, 100);
            let bulk = Load::Bulk(1 + random.below(2 * rate));
            let keys = Load::Keys(millis(random, 200), 1 + random.below(60));
            let loads: &[Load] = match random.below(3) {
                0 => &[bulk],
                1 => &[keys],
                _ => &[bulk, keys],
            };
            let memory = 200_000 << random.below(8);
            self.session(Way { at, behind }, loads, memory);
        }
    }
}
