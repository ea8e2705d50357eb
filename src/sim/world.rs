//! Two nodes, the wires between them, what breaks, and when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::core::{ChannelKey, Core, Event, Joined, Settings};
use crate::name::Identity;
use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
use crate::random::Random;
use crate::session::{Options, ResetCode};
use crate::sim::application::{Flow, Oracle, Reader, appetite, byte};
use crate::sim::wire::Wire;
use crate::srm::acks::AckPolicy;
use crate::srm::budget::Budget;
use crate::ssm::ledger;
use crate::ssm::suite::Suite;
use crate::time::{Calendar, Time};
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

/// How long things break.
const TROUBLE: Duration = Duration::from_secs(20);
/// How long everything may take to come right afterwards.
const CALM: Duration = Duration::from_secs(60);
/// A dialer looks this often whether there is a link that answers.
const REDIAL: Duration = Duration::from_millis(300);
/// Steps of a run: far more than any needs.
const STEPS_MAX: u32 = 400_000;

/// What one run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Hash of every event with its time.
    pub trace: [u8; 32],
    /// Channels that were opened.
    pub channels: usize,
    /// Directions that ended cleanly with every byte.
    pub ended: usize,
    /// Times a session was suspended.
    pub suspensions: usize,
    /// Moves to new keys.
    pub resumes: usize,
}

struct Node {
    core: Core,
    budget: Budget,
    flows: BTreeMap<ChannelKey, Flow>,
    incoming: VecDeque<ChannelKey>,
    frozen_until: Time,
}

struct World {
    nodes: [Node; 2],
    parties: [Arc<LocalParty>; 2],
    wires: Vec<Wire>,
    oracle: Oracle,
    random: Random,
    now: Time,
    act_at: Time,
    break_at: Time,
    dial_at: Time,
    calm: bool,
    hash: Sha256,
    report: Report,
}

/// Plays the run of a seed; the error tells which rule was broken.
pub fn run(seed: u64) -> Result<Report, String> {
    ledger::begin();
    let mut world = World::new(seed);
    let played = world.play();
    let sealed = ledger::end()
        .map(|_| ())
        .map_err(|breach| breach.to_string());
    sealed
        .and(played)
        .map_err(|what| format!("SEED={seed} at {:?}: {what}", world.now))?;
    world.report.trace = world.hash.clone().finalize().into();
    Ok(world.report)
}

fn party(seed: u8) -> Arc<LocalParty> {
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([seed ^ 0x55; 32]);
    let identity = Identity::from_seed(&[seed; 32]);
    Arc::new(LocalParty::new(
        identity,
        key,
        terms,
        [seed; 16],
        OverlayId::of("sim"),
    ))
}

fn node(party: &Arc<LocalParty>, random: &mut Random, suite: Suite) -> Node {
    let budget = Budget::new(8 << 20);
    let settings = Settings {
        suites: vec![suite],
        session: Options {
            acks: AckPolicy {
                every: 16,
                delay: Duration::from_millis(5),
            },
            budget: budget.clone(),
            max_suspend: None,
            max_j: None,
        },
        open_timeout: Duration::from_secs(30),
        psk: Zeroizing::new([0; 32]),
    };
    Node {
        core: Core::new(
            Arc::clone(party),
            settings,
            random.fork(),
            Calendar(1_000_000),
        ),
        budget,
        flows: BTreeMap::new(),
        incoming: VecDeque::new(),
        frozen_until: Time::ZERO,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let suite = match seed % 8 {
            0 => Suite::PaperAes128CtrHmacSha1,
            1 => Suite::Aes256Gcm,
            _ => Suite::Chacha20Poly1305,
        };
        let parties = [party(1), party(2)];
        let nodes = [
            node(&parties[0], &mut random, suite),
            node(&parties[1], &mut random, suite),
        ];
        Self {
            nodes,
            parties,
            wires: Vec::new(),
            oracle: Oracle::default(),
            random,
            now: Time::ZERO,
            act_at: Time::ZERO,
            break_at: Time::ZERO + Duration::from_millis(500),
            dial_at: Time::ZERO,
            calm: false,
            hash: Sha256::new(),
            report: Report {
                trace: [0; 32],
                channels: 0,
                ended: 0,
                suspensions: 0,
                resumes: 0,
            },
        }
    }

    fn play(&mut self) -> Result<(), String> {
        let trouble = Time::ZERO + TROUBLE;
        for _ in 0..STEPS_MAX {
            self.step();
            if let Some(what) = self.oracle.broken.take() {
                return Err(what);
            }
            self.calm = self.now >= trouble;
            if self.calm && self.is_over() {
                return self.settle_accounts();
            }
            if self.now >= trouble + CALM {
                return Err(self.unfinished());
            }
        }
        Err("time stands still: too many steps".to_owned())
    }

    /// Moves to the next moment at which something happens, and lets it happen.
    fn step(&mut self) {
        let mut next = self.act_at.min(self.break_at).min(self.dial_at);
        for (side, node) in self.nodes.iter().enumerate() {
            let wires = self.wires.iter().map(|wire| wire.next(side)).min();
            let own = node.core.poll_timeout().min(wires.unwrap_or(Time::NEVER));
            next = next.min(own.max(node.frozen_until));
        }
        self.now = next.max(self.now);
        if self.now >= self.break_at {
            self.trouble();
        }
        if self.now >= self.dial_at {
            self.dial_at = self.now + REDIAL;
            let fine = |wire: &Wire| !wire.silent && wire.ends.iter().all(Option::is_some);
            if !self.wires.iter().any(fine) {
                self.connect();
            }
        }
        for side in 0..2 {
            if self.now >= self.nodes[side].frozen_until {
                self.turn(side);
            }
        }
        if self.now >= self.act_at {
            self.act_at = self.now + Duration::from_millis(5 + self.random.below(60));
            self.act();
        }
        for side in 0..2 {
            if self.now >= self.nodes[side].frozen_until {
                self.flush(side);
            }
        }
        self.wires
            .retain(|wire| wire.ends.iter().any(Option::is_some));
    }

    /// A node reads its links and runs its timers.
    fn turn(&mut self, side: usize) {
        let now = self.now;
        for wire in &mut self.wires {
            wire.deliver(side, now);
            let Some(link) = wire.ends[side] else {
                continue;
            };
            let node = &mut self.nodes[side];
            let mut reader = Reader {
                side,
                flows: &node.flows,
                oracle: &mut self.oracle,
            };
            match node
                .core
                .receive(link, &mut wire.arrived[side], &mut reader, now)
            {
                Ok(used) => drop(wire.arrived[side].drain(..used)),
                Err(why) => self.oracle.fault(format!("link of {side} ended: {why}")),
            }
            if wire.closing[side].is_some_and(|at| at <= now) {
                wire.closing[side] = None;
                wire.ends[side] = None;
                node.core.link_down(link, now);
            }
        }
        let node = &mut self.nodes[side];
        if node.core.poll_timeout() <= now {
            node.core.handle_timeout(now);
        }
        self.events(side);
    }

    fn events(&mut self, side: usize) {
        while let Some(event) = self.nodes[side].core.poll_event() {
            self.hash.update(self.now.as_nanos().to_le_bytes());
            self.hash.update(format!("{side} {event:?}"));
            self.event(side, event);
        }
    }

    fn event(&mut self, side: usize, event: Event) {
        let now = self.now;
        match event {
            Event::Assigned(_, key) => self.enter(side, key),
            Event::Incoming(key, ..) => {
                self.enter(side, key);
                self.nodes[side].incoming.push_back(key);
            }
            Event::Woken(key) => {
                if let Some(session) = self.nodes[side].core.session(key.session) {
                    session.seen(key.channel);
                }
            }
            Event::Reset(key, _) | Event::OpenFailed(key, _) => self.was_cut(side, key),
            Event::Closed(key) => self.closed(side, key),
            Event::Suspended(..) => self.report.suspensions += 1,
            Event::Resumed(..) => self.report.resumes += 1,
            Event::LinkDead(link) => {
                for wire in &mut self.wires {
                    if wire.ends[side] == Some(link) {
                        wire.close(side, now);
                        self.nodes[side].core.link_down(link, now);
                    }
                }
            }
            Event::Unassigned(..)
            | Event::Opened(_)
            | Event::SessionUp(..)
            | Event::SessionDown(..)
            | Event::LinkDoubtful(_)
            | Event::WantLink(_) => {}
        }
    }

    /// A channel appears at one end.
    fn enter(&mut self, side: usize, key: ChannelKey) {
        let Some(session) = self.nodes[side].core.session(key.session) else {
            return;
        };
        let flow = (session.sess_id(), key.channel);
        self.nodes[side].flows.insert(key, flow);
        let wanted = match self.random.below(4) {
            0 => self.random.below(150_000),
            1 => 0,
            _ => self.random.below(3_000),
        };
        self.oracle.direction(flow, side).wanted = wanted;
        self.report.channels += 1;
    }

    /// A channel was cut, which only an application may do.
    fn was_cut(&mut self, side: usize, key: ChannelKey) {
        if let Some(flow) = self.nodes[side].flows.get(&key).copied()
            && !self.oracle.direction(flow, side).cut
        {
            self.oracle
                .fault(format!("{:?} was cut at {side}, and nobody did it", flow.1));
        }
        self.cut(side, key);
    }

    fn cut(&mut self, side: usize, key: ChannelKey) {
        if let Some(flow) = self.nodes[side].flows.remove(&key) {
            self.oracle.direction(flow, 0).cut = true;
            self.oracle.direction(flow, 1).cut = true;
        }
    }

    /// A channel is over at one end: it must have given everything and got everything.
    fn closed(&mut self, side: usize, key: ChannelKey) {
        let Some(flow) = self.nodes[side].flows.remove(&key) else {
            return;
        };
        let sent = self.oracle.direction(flow, side);
        let all_sent = sent.finished && sent.written == sent.wanted;
        let got = self.oracle.direction(flow, 1 - side);
        let all_got = got.got == got.written && got.finished;
        got.ended = true;
        if !all_sent || !all_got {
            self.oracle
                .fault(format!("closed {:?} at {side} too early", flow.1));
        }
    }

    /// A node writes to its links.
    fn flush(&mut self, side: usize) {
        let now = self.now;
        self.events(side);
        for wire in &mut self.wires {
            let Some(link) = wire.ends[side] else {
                continue;
            };
            let mut out = Vec::new();
            if let Err(why) = self.nodes[side]
                .core
                .pull(link, &mut out, 32_000, 3_000, now)
            {
                self.oracle
                    .fault(format!("link of {side} cannot send: {why}"));
            }
            if !out.is_empty() {
                wire.send(1 - side, out, now);
            }
        }
        self.events(side);
        if self.nodes[side].budget.used() > self.nodes[side].budget.limit() {
            self.oracle.fault("more memory than allowed".to_owned());
        }
    }

    /// Both ends of a new link come up.
    fn connect(&mut self) {
        let keys: [[u8; 32]; 2] = [self.random.bytes(), self.random.bytes()];
        let latency = Duration::from_millis(1 + self.random.below(60));
        let mut ends = [None; 2];
        for (side, end) in ends.iter_mut().enumerate() {
            let other = &self.parties[1 - side];
            let joined = Joined {
                peer: other.name(),
                static_public: other.static_key().public(),
                boot: other.boot_id(),
                send_key: keys[side],
                receive_key: keys[1 - side],
                dialled: side == 0,
                endpoint: String::new(),
            };
            *end = self.nodes[side].core.link_up(joined, self.now);
        }
        self.wires.push(Wire::new(ends, latency));
    }

    /// Something breaks.
    fn trouble(&mut self) {
        if self.calm {
            self.break_at = Time::NEVER;
            return;
        }
        self.break_at = self.now + Duration::from_millis(50 + self.random.below(3_000));
        let now = self.now;
        match self.random.below(6) {
            0 | 1 => {
                for wire in &mut self.wires {
                    wire.cut();
                }
            }
            2 | 3 => self.reset(),
            4 => self.connect(),
            _ => {
                let side = usize::from(self.random.below(2) == 1);
                let span = Duration::from_millis(self.random.below(6_000));
                self.nodes[side].frozen_until = now + span;
            }
        }
    }

    /// Every link breaks, and both ends hear of it.
    fn reset(&mut self) {
        let now = self.now;
        for wire in &mut self.wires {
            for (end, node) in wire.ends.iter_mut().zip(&mut self.nodes) {
                if let Some(link) = end.take() {
                    node.core.link_down(link, now);
                }
            }
        }
    }

    /// The applications do something.
    fn act(&mut self) {
        let side = usize::from(self.random.below(2) == 1);
        if self.now < self.nodes[side].frozen_until {
            return;
        }
        if !self.calm && self.report.channels < 30 && self.random.below(5) == 0 {
            let peer = self.parties[1 - side].name();
            let port = u16::try_from(self.random.below(9)).unwrap_or(0);
            self.nodes[side]
                .core
                .request(vec![peer], Target::Loopback(80), port, self.now);
        }
        if let Some(key) = self.nodes[side].incoming.pop_front() {
            let refuse = self.random.below(10) == 0;
            let answer = if refuse {
                Err(OpenFailure::Refused)
            } else {
                Ok(())
            };
            if refuse {
                self.cut(side, key);
            }
            self.nodes[side].core.answer(key, answer, self.now);
        }
        let keys: Vec<ChannelKey> = self.nodes[side].flows.keys().copied().collect();
        for key in keys {
            if !self.calm && self.random.below(2_000) == 0 {
                let now = self.now;
                self.nodes[side]
                    .core
                    .kill_channel(key, ResetCode::Connection, now);
                self.cut(side, key);
            } else {
                self.write(side, key);
                self.read(side, key);
            }
        }
    }

    fn write(&mut self, side: usize, key: ChannelKey) {
        let Some(flow) = self.nodes[side].flows.get(&key).copied() else {
            return;
        };
        let burst = self.random.below(20_000);
        let Some(session) = self.nodes[side].core.session(key.session) else {
            return;
        };
        let direction = self.oracle.direction(flow, side);
        let space = session.space(key.channel, self.now);
        let left = direction.wanted - direction.written;
        let count = usize::try_from(left.min(burst))
            .unwrap_or(0)
            .min(space.len());
        for (at, room) in (direction.written..).zip(space.iter_mut().take(count)) {
            *room = byte(&flow, side, at);
        }
        session.written(key.channel, count);
        direction.written += count as u64;
        if direction.written == direction.wanted && !direction.finished {
            direction.finished = true;
            session.finish(key.channel);
        }
    }

    fn read(&mut self, side: usize, key: ChannelKey) {
        let Some(flow) = self.nodes[side].flows.get(&key).copied() else {
            return;
        };
        let patience = self.calm || self.random.below(4) > 0;
        let now = self.now;
        let Some(session) = self.nodes[side].core.session(key.session) else {
            return;
        };
        let (first, second) = session.waiting(key.channel);
        let bytes = [first, second].concat();
        let taken = if patience {
            bytes.len()
        } else {
            appetite(key.channel, bytes.len())
        };
        self.oracle
            .got(flow, 1 - side, bytes.get(..taken).unwrap_or_default());
        session.take(key.channel, taken, now);
        if session.is_read_out(key.channel) && !self.oracle.direction(flow, 1 - side).ended {
            self.oracle.ended(flow, 1 - side);
        }
    }

    fn is_over(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| node.flows.is_empty() && node.incoming.is_empty())
    }

    /// After the last channel every byte of memory is back.
    fn settle_accounts(&mut self) -> Result<(), String> {
        self.report.ended = self.oracle.directions.values().filter(|d| d.ended).count();
        let lost = self
            .oracle
            .directions
            .iter()
            .find(|(_, d)| !d.cut && (!d.ended || d.got != d.wanted));
        if let Some(((flow, sender), direction)) = lost {
            return Err(format!(
                "{:?} from {sender} never ended: {direction:?}",
                flow.1
            ));
        }
        let used: Vec<u64> = self.nodes.iter().map(|node| node.budget.used()).collect();
        // Stubs of channels that were reset wait for the peer to know; they hold no memory.
        if used.iter().any(|used| *used != 0) {
            return Err(format!("memory not given back: {used:?}"));
        }
        Ok(())
    }

    fn unfinished(&self) -> String {
        let left: Vec<String> = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(side, node)| node.flows.values().map(move |flow| (side, flow)))
            .map(|(side, flow)| {
                let direction = |sender| self.oracle.directions.get(&(*flow, sender));
                format!(
                    "{:?} at {side}: {:?} {:?}",
                    flow.1,
                    direction(0),
                    direction(1)
                )
            })
            .take(4)
            .collect();
        let views: Vec<_> = self
            .nodes
            .iter()
            .map(|node| node.core.session_views(self.now))
            .collect();
        let states: Vec<_> = views
            .iter()
            .flatten()
            .map(|view| (view.state, view.reason))
            .collect();
        format!("never finished: {} sessions {states:?}", left.join("; "))
    }
}
