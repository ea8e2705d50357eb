//! Two sessions joined by a hostile path, what breaks, and when.
//!
//! Beside what happens to whole links, single messages are lost, doubled, reordered, spoilt, held and
//! replayed; paths come and go at each end by itself; clocks jump, nodes freeze and restart.

mod end;
mod traffic;
mod trouble;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::core::ChannelKey;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::session::{EndReason, Event, Options, Places, Session};
use crate::sim::application::{Mood, Oracle};
use crate::sim::hop::{Hop, Message};
use crate::sim::journal::Journal;
use crate::sim::sessions::end::End;
use crate::sim::setting::{Failure, Report, Setting, established, party};
use crate::sim::watch::Watch;
use crate::ssm::established::Established;
use crate::ssm::ledger;
use crate::ssm::suite::Suite;
use crate::time::Time;
use crate::wire::target::Target;

/// How long things break at most.
const TROUBLE_MAX: u64 = 14_000;
/// How long everything may take to come right afterwards.
const CALM: Duration = Duration::from_secs(90);
/// A dialer looks this often whether there is a path that answers.
const REDIAL: Duration = Duration::from_millis(300);
/// Steps of a run: far more than any needs.
const STEPS_MAX: u32 = 2_000_000;
/// Steps without time passing: more than any burst needs.
const STILL_MAX: u32 = 20_000;

/// Something that happens to an end at a time.
#[derive(Debug)]
enum Happening {
    /// A copy of a message arrives: which one, whether spoilt, whether marked.
    Arrives(Rc<Message>, bool, bool),
    PathUp(u64),
    PathDown(u64),
    /// The peer's restart was proved to this end (rule 19).
    PeerRestarted,
}

pub(super) struct World {
    ends: [End; 2],
    parties: [Rc<LocalParty>; 2],
    suite: Suite,
    hop: Hop,
    happenings: BTreeMap<(Time, u64), (usize, Happening)>,
    next_happening: u64,
    pub(super) oracle: Oracle,
    watch: Watch,
    journal: Journal,
    random: Random,
    now: Time,
    generation: u32,
    restarting: bool,
    act_at: Time,
    trouble_at: Time,
    hop_at: Time,
    dial_at: Time,
    calm_at: Time,
    calm: bool,
    report: Report,
}

/// Plays the run of a seed; the error tells which rule was broken.
pub fn run(seed: u64) -> Result<Report, Failure> {
    ledger::begin();
    World::new(seed).finish(seed)
}

/// How long two sessions take to go on after an outage of `span`, from the moment a path is there; their
/// channels are open all the time. Fails like [`run`].
pub fn outage(seed: u64, span: Duration) -> Result<Duration, Failure> {
    let mut world = World::new(seed);
    let took = world.outage(span);
    took.and_then(|took| world.play().map(|()| took))
        .map_err(|what| world.failure(seed, what))
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed ^ 0x5e55_0000_0000_0000);
        let suite = Setting::suite(seed);
        let ends = [0, 1].map(|side| End::new(side, &Setting::of(seed, &mut random)));
        let trouble = Duration::from_millis(1_000 + random.below(TROUBLE_MAX));
        let mut world = Self {
            ends,
            parties: [party(1, 1), party(2, 2)].map(Rc::new),
            suite,
            hop: Hop::default(),
            happenings: BTreeMap::new(),
            next_happening: 0,
            oracle: Oracle::default(),
            watch: Watch::default(),
            journal: Journal::default(),
            random,
            now: Time::ZERO,
            generation: 0,
            restarting: false,
            act_at: Time::ZERO,
            trouble_at: Time::ZERO + Duration::from_millis(300),
            hop_at: Time::ZERO,
            dial_at: Time::ZERO,
            calm_at: Time::ZERO + trouble,
            calm: false,
            report: Report::default(),
        };
        world.shake_hands();
        world
    }

    pub(super) fn finish(mut self, seed: u64) -> Result<Report, Failure> {
        let played = self.play();
        let sealed = ledger::end().map_err(|breach| breach.to_string());
        match played.and(sealed) {
            Ok(_) => {
                self.report.trace = self.journal.trace();
                Ok(self.report)
            }
            Err(what) => Err(self.failure(seed, what)),
        }
    }

    fn failure(&self, seed: u64, what: String) -> Failure {
        Failure {
            what: format!("SEED={seed} sessions, at {:?}: {what}", self.now),
            diagram: self.journal.diagram(),
        }
    }

    /// Two sessions that belong together, from a handshake.
    fn shake_hands(&mut self) {
        self.generation += 1;
        self.watch = Watch::default();
        let first = usize::from(self.random.below(2) == 1);
        let Some(made) = self.handshake(first) else {
            self.oracle.fault("the handshake failed".to_owned());
            return;
        };
        let sides = [first, 1 - first];
        for (side, established) in sides.into_iter().zip(made) {
            let end = &mut self.ends[side];
            let now = self.now + end.skew;
            let options: Options = end.options.clone();
            let session = Session::new(
                &established,
                Places::NEIGHBOURS,
                options,
                &mut self.random,
                now,
            );
            end.begin(session, self.generation);
        }
    }

    fn handshake(&mut self, first: usize) -> Option<[Established; 2]> {
        let (a, b) = (&self.parties[first], &self.parties[1 - first]);
        established([a, b], self.suite, &mut self.random)
    }

    fn play(&mut self) -> Result<(), String> {
        let mut still = 0;
        for _ in 0..STEPS_MAX {
            let before = self.now;
            self.step()?;
            still = if self.now > before { 0 } else { still + 1 };
            if still > STILL_MAX {
                let due = self.ends.each_ref().map(End::next);
                return Err(format!("time stands still: {due:?} {}", self.unfinished()));
            }
            if !self.calm && self.now >= self.calm_at {
                self.calm_down();
            }
            if self.calm && self.is_over() {
                return self.settle_accounts();
            }
            if self.now >= self.calm_at + CALM {
                return Err(self.unfinished());
            }
        }
        Err("too many steps".to_owned())
    }

    fn is_over(&self) -> bool {
        !self.restarting && self.ends.iter().all(|end| end.applications.is_over())
    }

    /// When something happens next.
    fn next(&self) -> Time {
        let mut next = self.act_at.min(self.trouble_at).min(self.dial_at);
        next = next.min(self.hop_at);
        if let Some(((at, _), _)) = self.happenings.first_key_value() {
            next = next.min(*at);
        }
        let ends = self.ends.iter().map(End::next);
        ends.fold(next, Time::min)
    }

    /// Moves to the next moment at which something happens, and lets it happen.
    fn step(&mut self) -> Result<(), String> {
        self.now = self.next().max(self.now);
        let now = self.now;
        if now >= self.trouble_at {
            self.trouble();
        }
        if now >= self.hop_at {
            self.hop_acts();
        }
        if now >= self.dial_at {
            self.dial_at = now + REDIAL;
            self.dial();
        }
        while let Some(entry) = self.happenings.first_entry().filter(|e| e.key().0 <= now) {
            let ((_, order), (side, happening)) = entry.remove_entry();
            if now < self.ends[side].frozen_until {
                // What comes while a node is frozen waits in its kernel.
                let later = self.ends[side].frozen_until;
                self.happenings.insert((later, order), (side, happening));
                continue;
            }
            self.happens(side, happening);
            self.check()?;
        }
        for side in 0..2 {
            if self.ends[side].is_due(now) {
                self.ends[side].handle_timeout(now);
                self.events(side);
            }
        }
        if now >= self.act_at {
            self.act_at = now + Duration::from_millis(5 + self.random.below(60));
            self.act();
        }
        for side in 0..2 {
            self.flush(side);
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        if let Some(what) = self.oracle.broken.take() {
            return Err(what);
        }
        let mut seen = [0, 1].map(|side| self.ends[side].audit());
        #[cfg(test)]
        self.spoil(&mut seen);
        if self.restarting {
            seen = [None; 2];
        }
        self.watch.check(seen)?;
        for end in &self.ends {
            if end.options.budget.used() > end.options.budget.limit() {
                return Err("more memory than allowed".to_owned());
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn spoil(&self, seen: &mut [Option<crate::session::Audit>; 2]) {
        use crate::sim::application::Sabotage;
        if self.oracle.is(Sabotage::PairFalls)
            && self.now.as_nanos() % 2 == 1
            && let [Some(audit), _] = seen
            && audit.next.a > 0
        {
            audit.next.a -= 1;
        }
    }

    /// Puts something into the future of an end.
    fn later(&mut self, side: usize, span: Duration, happening: Happening) {
        self.at(self.now + span, side, happening);
    }

    fn at(&mut self, at: Time, side: usize, happening: Happening) {
        self.next_happening += 1;
        self.happenings
            .insert((at, self.next_happening), (side, happening));
    }

    fn happens(&mut self, side: usize, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Arrives(message, spoilt, marked) => {
                self.arrives(side, &message, spoilt, marked);
            }
            Happening::PathUp(path) => {
                let front = self.random.below(4) == 0;
                self.ends[side].path_up(path, front, now);
            }
            Happening::PathDown(path) => self.ends[side].path_down(path, now),
            Happening::PeerRestarted => {
                self.ends[side]
                    .applications
                    .may_all_be_cut(&mut self.oracle);
                self.ends[side].peer_restarted();
                self.events(side);
                self.restarting = false;
                self.report.restarts += 1;
                self.shake_hands();
            }
        }
        self.events(side);
    }

    fn events(&mut self, side: usize) {
        while let Some(event) = self.ends[side]
            .session
            .as_mut()
            .and_then(Session::poll_event)
        {
            self.journal.note(self.now, side, format!("{event:?}"));
            self.event(side, event);
        }
    }

    fn event(&mut self, side: usize, event: Event) {
        let end = &mut self.ends[side];
        let key = |channel| ChannelKey {
            session: end.generation,
            channel,
        };
        match event {
            Event::Incoming { channel, .. } => {
                let key = key(channel);
                end.enter(key, &mut self.oracle, &mut self.random);
                end.applications.asked(key);
                self.report.channels += 1;
            }
            Event::Opened(channel) => end.applications.wake(key(channel)),
            Event::Woken(channel) => {
                let key = key(channel);
                if let Some(session) = &mut end.session {
                    session.seen(channel);
                }
                end.applications.wake(key);
            }
            Event::OpenFailed(channel, why) => {
                let key = key(channel);
                end.applications.not_opened(key, why, &mut self.oracle);
            }
            Event::Reset(channel, _) => {
                let key = key(channel);
                if self.restarting {
                    // Its OPEN crossed the goodbye of the other end.
                    end.applications.may_be_cut(key, &mut self.oracle);
                }
                end.applications.was_cut(key, &mut self.oracle);
            }
            Event::Closed(channel) => {
                let key = key(channel);
                end.applications.closed(key, &mut self.oracle);
            }
            Event::Confirmed
            | Event::CheckState
            | Event::Unanswered
            | Event::Paused(..)
            | Event::Forged(_) => {}
            Event::Suspended(_) => self.report.suspensions += 1,
            Event::Resumed => self.report.resumes += 1,
            Event::Ended(EndReason::PeerLostState) if end.peer_is_lost => {}
            // A clock that jumped finds the session idle for long. It is gone then, as by a restart.
            Event::Ended(EndReason::Local) if end.applications.is_over() => self.lose_state(side),
            Event::Ended(EndReason::Goodbye) if self.restarting => {}
            Event::Ended(why) => {
                // Nobody else says goodbye, and nobody breaks the protocol (invariant 9).
                self.oracle
                    .fault(format!("the session of {side} ended: {why}"));
            }
        }
    }

    fn act(&mut self) {
        let side = usize::from(self.random.below(2) == 1);
        let mood = Mood {
            calm: self.calm,
            now: self.now + self.ends[side].skew,
        };
        let end = &mut self.ends[side];
        if self.now < end.frozen_until {
            return;
        }
        let opens = !self.calm && end.applications.want_more() && self.random.below(5) == 0;
        if opens && let Some(key) = end.open(Target::Loopback(80), mood.now) {
            end.enter(key, &mut self.oracle, &mut self.random);
            self.report.channels += 1;
        }
        end.act(&mut self.oracle, &mut self.random, mood);
        self.events(side);
    }

    fn settle_accounts(&mut self) -> Result<(), String> {
        self.report.ended = self.oracle.clean_ends();
        if let Some(lost) = self.oracle.lost() {
            return Err(lost);
        }
        #[cfg(test)]
        if self.oracle.is(crate::sim::application::Sabotage::Leak) {
            self.ends[0].options.budget.reserve(1);
        }
        let used = self.ends.each_ref().map(|end| end.options.budget.used());
        if used != [0, 0] {
            return Err(format!("memory not given back: {used:?}"));
        }
        Ok(())
    }

    fn unfinished(&self) -> String {
        let left: Vec<String> = self
            .ends
            .iter()
            .flat_map(|end| end.applications.unfinished(&self.oracle))
            .collect();
        let audits = self.ends.each_ref().map(End::audit);
        let up = self.ends.each_ref().map(|end| end.up.clone());
        format!("never finished: {}; {audits:?} {up:?}", left.join("; "))
    }
}
