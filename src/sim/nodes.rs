//! Two nodes, the wires between them, what breaks, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::core::{Cloak, Core, Event, Joined, Settings};
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::session::{EndReason, ResetCode};
use crate::sim::application::{Applications, Mood, Oracle, Reader};
use crate::sim::journal::{Content, Fate, Journal};
use crate::sim::setting::{Failure, Report, Setting, party};
use crate::sim::watch::Watch;
use crate::sim::wire::Wire;
use crate::srm::budget::Budget;
use crate::ssm::ledger;
use crate::ssm::schedule::Secret;
use crate::time::{Calendar, Time};
use crate::wire::target::Target;

/// How long things break at most.
const TROUBLE_MAX: u64 = 8_000;
/// How long everything may take to come right afterwards.
const CALM: Duration = Duration::from_secs(60);
/// A dialer looks this often whether there is a link that answers.
const REDIAL: Duration = Duration::from_millis(300);
/// Steps of a run: far more than any needs.
const STEPS_MAX: u32 = 400_000;

struct Node {
    core: Core,
    budget: Budget,
    applications: Applications,
    frozen_until: Time,
    boot: u8,
    packet_max: usize,
}

struct World {
    nodes: [Node; 2],
    parties: [Arc<LocalParty>; 2],
    wires: Vec<Wire>,
    oracle: Oracle,
    watches: BTreeMap<[u8; 32], Watch>,
    journal: Journal,
    random: Random,
    seed: u64,
    now: Time,
    act_at: Time,
    break_at: Time,
    dial_at: Time,
    calm_at: Time,
    calm: bool,
    report: Report,
}

/// Plays the run of a seed; the error tells which rule was broken.
pub fn run(seed: u64) -> Result<Report, Failure> {
    ledger::begin();
    let mut world = World::new(seed);
    let played = world.play();
    let sealed = ledger::end().map_err(|breach| breach.to_string());
    match played.and(sealed) {
        Ok(_) => {
            world.report.trace = world.journal.trace();
            Ok(world.report)
        }
        Err(what) => Err(Failure {
            what: format!("SEED={seed} nodes, at {:?}: {what}", world.now),
            diagram: world.journal.diagram(),
        }),
    }
}

fn node(side: usize, party: &Arc<LocalParty>, seed: u64, boot: u8, random: &mut Random) -> Node {
    let setting = Setting::of(seed, random);
    let options = setting.options();
    let budget = options.budget.clone();
    let settings = Settings {
        suites: vec![Setting::suite(seed)],
        session: options,
        open_timeout: Duration::from_secs(30),
        psk: Zeroizing::new([0; 32]),
        cloak: Cloak::default(),
    };
    Node {
        core: Core::new(
            Arc::clone(party),
            settings,
            random.fork(),
            Calendar(1_000_000),
        ),
        budget,
        applications: Applications::new(side),
        frozen_until: Time::ZERO,
        boot,
        packet_max: setting.packet_max,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let parties = [party(1, 1), party(2, 2)].map(Arc::new);
        let nodes = [0, 1].map(|side| {
            let boot = if side == 0 { 1 } else { 2 };
            node(side, &parties[side], seed, boot, &mut random)
        });
        let trouble = Duration::from_millis(2_000 + random.below(TROUBLE_MAX));
        Self {
            nodes,
            parties,
            wires: Vec::new(),
            oracle: Oracle::default(),
            watches: BTreeMap::new(),
            journal: Journal::default(),
            random,
            seed,
            now: Time::ZERO,
            act_at: Time::ZERO,
            break_at: Time::ZERO + Duration::from_millis(500),
            dial_at: Time::ZERO,
            calm_at: Time::ZERO + trouble,
            calm: false,
            report: Report::default(),
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            self.step();
            self.check()?;
            self.calm = self.now >= self.calm_at;
            if self.calm && self.is_over() {
                return self.settle_accounts();
            }
            if self.now >= self.calm_at + CALM {
                return Err(self.unfinished());
            }
        }
        Err("time stands still: too many steps".to_owned())
    }

    fn check(&mut self) -> Result<(), String> {
        if let Some(what) = self.oracle.broken.take() {
            return Err(what);
        }
        let mut seen: BTreeMap<[u8; 32], [_; 2]> = BTreeMap::new();
        for (side, node) in self.nodes.iter().enumerate() {
            for (sess_id, audit) in node.core.audits() {
                seen.entry(sess_id).or_default()[side] = Some(audit);
            }
            if node.budget.used() > node.budget.limit() {
                return Err("more memory than allowed".to_owned());
            }
        }
        for (sess_id, audits) in seen {
            self.watches.entry(sess_id).or_default().check(audits)?;
        }
        Ok(())
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
                applications: &node.applications,
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
            self.journal.note(self.now, side, format!("{event:?}"));
            self.event(side, event);
        }
    }

    fn event(&mut self, side: usize, event: Event) {
        let now = self.now;
        let node = &mut self.nodes[side];
        match event {
            Event::Assigned(_, key) => self.enter(side, key),
            Event::Incoming(key, ..) => {
                node.applications.asked(key);
                self.enter(side, key);
            }
            Event::Woken(key) => {
                if let Some(session) = node.core.session(key.session) {
                    session.seen(key.channel);
                }
                node.applications.wake(key);
            }
            Event::Opened(key) => node.applications.wake(key),
            Event::Reset(key, code) => {
                if self.report.restarts > 0
                    && matches!(code, ResetCode::SessionLost | ResetCode::SessionEnded(_))
                {
                    node.applications.may_be_cut(key, &mut self.oracle);
                }
                node.applications.was_cut(key, &mut self.oracle);
            }
            Event::OpenFailed(key, why) => {
                node.applications.not_opened(key, why, &mut self.oracle);
            }
            Event::Closed(key) => node.applications.closed(key, &mut self.oracle),
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
            Event::Forged(_, _, count) => {
                let what = format!("{count} packets do not open at {side}, and nobody forges any");
                self.oracle.fault(what);
            }
            Event::SessionUp(number, _) => {
                if let Some(session) = node.core.session(number) {
                    let sess_id = session.sess_id();
                    node.applications
                        .session_up(number, sess_id, &mut self.oracle);
                }
            }
            Event::SessionDown(_, _, why) => self.session_down(side, why),
            Event::Unassigned(..)
            | Event::LinkDoubtful(_)
            | Event::Paused(..)
            | Event::NoHandshake(..)
            | Event::WantLink(_)
            | Event::NoPlace(_)
            | Event::Dial(..)
            | Event::Found(_)
            | Event::Published(_)
            | Event::Seen(..)
            | Event::NotFound(..)
            | Event::Traced(_) => {}
        }
    }

    /// A session ends only with proof that the peer's state is gone, or by local policy (invariant 9).
    /// Without a restart a peer drops sessions that carry nothing, of which two crossing handshakes leave
    /// one; whether a channel was on it is seen by its cut.
    fn session_down(&mut self, side: usize, why: EndReason) {
        match why {
            EndReason::Goodbye | EndReason::Local | EndReason::PeerLostState => {}
            EndReason::Misbehaved(_)
            | EndReason::Exhausted
            | EndReason::Expelled
            | EndReason::Forged
            | EndReason::GivenUp
            | EndReason::Unanswered
            | EndReason::Expired
            | EndReason::MemoryPressure => {
                self.oracle
                    .fault(format!("a session of {side} ended: {why}"));
            }
        }
    }

    /// A channel appears at one end.
    fn enter(&mut self, side: usize, key: crate::core::ChannelKey) {
        let node = &mut self.nodes[side];
        if let Some(session) = node.core.session(key.session) {
            let sess_id = session.sess_id();
            node.applications
                .enter(key, sess_id, &mut self.oracle, &mut self.random);
            self.report.channels += 1;
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
            let node = &mut self.nodes[side];
            let mut out = Vec::new();
            if let Err(why) = node.core.pull(link, &mut out, 32_000, node.packet_max, now) {
                self.oracle
                    .fault(format!("link of {side} cannot send: {why}"));
            }
            if !out.is_empty() {
                let fate = if wire.silent { Fate::Lost } else { Fate::Sent };
                self.journal
                    .message(now, side, Content::Bytes(out.len()), fate);
                wire.send(1 - side, out, now);
            }
        }
        self.events(side);
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
                serial: other.certificate().terms.serial,
                boot: other.boot_id(),
                send_key: Secret::from_bytes(keys[side].into()),
                receive_key: Secret::from_bytes(keys[1 - side].into()),
                dialled: side == 0,
                endpoint: String::new(),
                shortcut: false,
                taken: true,
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
        let side = usize::from(self.random.below(2) == 1);
        match self.random.below(14) {
            0..=3 => {
                for wire in &mut self.wires {
                    wire.cut();
                }
            }
            4..=7 => self.reset(),
            8 | 9 => self.connect(),
            10 | 11 => {
                let span = Duration::from_millis(self.random.below(6_000));
                self.nodes[side].frozen_until = now + span;
            }
            12 => self.nodes[side].core.network_changed(now),
            _ => self.restart(side),
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

    /// A node's process ends, and a new one starts with another boot id and no state. Its kernel closes
    /// the links; the connections of its applications are cut.
    fn restart(&mut self, side: usize) {
        self.report.restarts += 1;
        for node in &mut self.nodes {
            node.applications.may_all_be_cut(&mut self.oracle);
        }
        let old = &mut self.nodes[side];
        old.applications.forget_all(&mut self.oracle);
        let entered = old.applications.entered;
        let boot = old.boot.wrapping_add(16);
        for wire in &mut self.wires {
            wire.close(side, self.now);
        }
        let number = if side == 0 { 1 } else { 2 };
        self.parties[side] = Arc::new(party(number, boot));
        let mut fresh = node(side, &self.parties[side], self.seed, boot, &mut self.random);
        fresh.applications.entered = entered;
        self.nodes[side] = fresh;
        self.watches.clear();
    }

    /// The applications do something.
    fn act(&mut self) {
        let side = usize::from(self.random.below(2) == 1);
        let node = &mut self.nodes[side];
        if self.now < node.frozen_until {
            return;
        }
        if !self.calm && node.applications.want_more() && self.random.below(5) == 0 {
            let peer = self.parties[1 - side].name();
            let port = u16::try_from(self.random.below(9)).unwrap_or(0);
            node.core
                .request(vec![peer], Target::Loopback(80), port, self.now);
        }
        let mood = Mood {
            calm: self.calm,
            now: self.now,
        };
        node.applications
            .act(&mut node.core, &mut self.oracle, &mut self.random, mood);
    }

    fn is_over(&self) -> bool {
        self.nodes.iter().all(|node| node.applications.is_over())
    }

    /// After the last channel every byte of memory is back.
    fn settle_accounts(&mut self) -> Result<(), String> {
        self.report.ended = self.oracle.clean_ends();
        if let Some(lost) = self.oracle.lost() {
            return Err(lost);
        }
        let used = self.nodes.each_ref().map(|node| node.budget.used());
        // Stubs of channels that were reset wait for the peer to know; they hold no memory.
        if used != [0, 0] {
            return Err(format!("memory not given back: {used:?}"));
        }
        Ok(())
    }

    fn unfinished(&self) -> String {
        let left: Vec<String> = self
            .nodes
            .iter()
            .flat_map(|node| node.applications.unfinished(&self.oracle))
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
