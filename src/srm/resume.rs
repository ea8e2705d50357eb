//! The Re-Hello exchange: how a session moves to new keys and new paths.
//!
//! Each side owns one resume number; an epoch is the pair of both. A side that wants to move raises
//! its number and tells it in an H; the peer answers with an H; the first packet that opens under
//! the new pair makes it live (commit). A side that suspends raises its number too and erases its
//! live keys. Only its owner raises a number, and only after the peer has shown that it knows the
//! last one, so the two views of a number differ by one at most and late or replayed messages sort
//! themselves out. Rules are numbered as in the state table of `docs/PROTOCOL.md`.
//!
//! [`Resume`] is the control part of one side: it holds no keys (they are behind [`Keys`]), no
//! channels and no sockets. In: events of paths, opened H, opened packets, time. Out: H to seal and
//! send ([`Resume::poll_hello`]), under which pair packets go ([`Resume::send_under`]), the next
//! deadline.
//!
//! Invariants: the live pair never falls in either part and is never above the next one; while both
//! are equal the own number is known to the peer; where live traffic goes is decided by packets
//! under that traffic's keys only, never by an H.

mod hello;
mod keys;
mod outcome;
mod timers;

pub use hello::{HELLO_BYTES, HINTS_MAX, Hello, Reason};
pub use keys::{Exhausted, Keys};
pub use outcome::{
    Dropped, HelloOutcome, HelloTo, Here, Impossible, Opened, Sending, TimeoutOutcome, Which,
};
pub use timers::Deadline;

use std::time::Duration;

use keys::part;
use timers::{Limiter, Timers};

use crate::random::Random;
use crate::ssm::schedule::{Pair, ResumeNonce, Side};
use crate::time::Time;
use crate::wire::location::Location;

/// What a side knows when its session begins.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which side this is.
    pub side: Side,
    /// Where the handshake found the peer.
    pub peer_location: Location,
    /// Round-trip time of the handshake.
    pub rtt: Duration,
    /// Whether one packet may follow each H before it is answered (rule 12).
    pub early_data: bool,
    /// Report when so many H in a row were not answered; `None` never reports (R-R9).
    pub unanswered_max: Option<u32>,
}

/// One side's state of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    side: Side,
    /// The peer has shown that it knows the own number.
    answered: bool,
    /// Something was sealed under the next pair, which is not live.
    sealed_next: bool,
    seq_out: u64,
    seq_in: u64,
    /// Location in the peer's newest H.
    answer_loc: Location,
    /// Location of the peer for the live pair, and the counter of H told with it.
    live_loc: Location,
    live_loc_seq: u64,
    /// Own location as last told by the caller; HERE of an older one do not count as delivered.
    own_loc: Option<Location>,
    here_floor: u64,
    /// The pair under which a HERE of the present location was acknowledged.
    here_done: Option<Pair>,
    /// One early packet may go.
    early: bool,
    early_data: bool,
    ask_due: bool,
    answer_due: Option<Location>,
    reason: Reason,
    unanswered: u32,
    unanswered_max: Option<u32>,
    /// T_confirm has expired once for the present next pair.
    confirm_expired: bool,
    /// The carrier of packets under the next pair is gone.
    next_carrier_dead: bool,
    timers: Timers,
    limiter: Limiter,
}

impl Resume {
    /// The state behind a finished handshake: pair (0, 0) is live.
    pub fn new(setup: Setup, now: Time) -> Self {
        Self {
            side: setup.side,
            answered: true,
            sealed_next: false,
            seq_out: 0,
            seq_in: 0,
            answer_loc: setup.peer_location.clone(),
            live_loc: setup.peer_location,
            live_loc_seq: 0,
            own_loc: None,
            here_floor: 0,
            here_done: None,
            early: false,
            early_data: setup.early_data,
            ask_due: false,
            answer_due: None,
            reason: Reason::Other,
            unanswered: 0,
            unanswered_max: setup.unanswered_max,
            confirm_expired: false,
            next_carrier_dead: false,
            timers: Timers::new(setup.rtt),
            limiter: Limiter::new(now),
        }
    }

    /// Rule 1: begins a move to a new pair, or asks again at once if the own number is not answered.
    /// The live pair stays in use. Fails when the own number is used up.
    pub fn start(
        &mut self,
        keys: &mut impl Keys,
        cause: Reason,
        random: &mut Random,
        now: Time,
    ) -> Result<(), Exhausted> {
        self.renew(keys, random)?;
        self.reason = cause;
        self.ask_due = true;
        if is_event(cause) {
            self.timers.reset_ask();
        }
        self.arm(keys, random, now);
        self.check(keys);
        Ok(())
    }

    /// Rule 2: erases the live keys and begins a move. The caller has drained, and pauses local
    /// reads. Does nothing while suspended. Fails when the own number is used up.
    pub fn suspend(
        &mut self,
        keys: &mut impl Keys,
        cause: Reason,
        random: &mut Random,
        now: Time,
    ) -> Result<(), Exhausted> {
        if keys.live().is_none() {
            return Ok(());
        }
        self.renew(keys, random)?;
        keys.erase_live();
        self.reason = cause;
        self.ask_due = true;
        self.arm(keys, random, now);
        self.check(keys);
        Ok(())
    }

    /// A link came up or the own address changed: begins a move, or, while one is under way, sends
    /// an H at once and resets T_ask; T_confirm runs on. Fails when the own number is used up.
    pub fn event(
        &mut self,
        keys: &mut impl Keys,
        cause: Reason,
        random: &mut Random,
        now: Time,
    ) -> Result<(), Exhausted> {
        if self.is_settled(keys) {
            return self.start(keys, cause, random, now);
        }
        self.reason = cause;
        self.ask_due = true;
        self.timers.reset_ask();
        self.arm(keys, random, now);
        Ok(())
    }

    /// Rules 17 and 18: a carrier closed, or its task ended, under which packets of `its_pair` went.
    /// Returns whether it was the live one; a late teardown is ignored. Fails when the own number is
    /// used up.
    pub fn carrier_closed(
        &mut self,
        keys: &mut impl Keys,
        its_pair: Pair,
        random: &mut Random,
        now: Time,
    ) -> Result<bool, Exhausted> {
        if keys.live() == Some(its_pair) {
            self.event(keys, Reason::CarrierClosed, random, now)?;
            return Ok(true);
        }
        if keys.next() == its_pair {
            self.next_carrier_dead = true;
        }
        Ok(false)
    }

    /// Rules 5 to 10: takes an H that was opened and decoded. Fails when the peer's number is used
    /// up.
    pub fn handle_hello(
        &mut self,
        keys: &mut impl Keys,
        hello: &Hello,
        random: &mut Random,
        now: Time,
    ) -> Result<HelloOutcome, Exhausted> {
        if let Err(why) = self.judge(keys, hello) {
            return Ok(HelloOutcome::Dropped(why));
        }
        let settled = self.is_settled(keys);
        let could_send = self.may_send_next(keys);
        let renewed = hello.own != keys.peer().0;
        let heard = hello.seen == keys.own().0;
        if renewed {
            keys.renew_peer(hello.own_nonce)?;
            self.answered = heard;
            self.next_changed();
            // The path works: an own question that waits in a long back-off need not.
            self.timers.reset_ask();
        } else if heard {
            self.answered = true;
        }
        if settled && renewed {
            self.reason = Reason::PeerAsked;
        }
        self.seq_in = hello.seq;
        self.answer_loc.clone_from(&hello.location);
        self.unanswered = 0;
        if hello.ask && (renewed || self.limiter.pass(now)) {
            self.answer_due = Some(hello.location.clone());
        }
        self.arm(keys, random, now);
        self.check(keys);
        let send_now = self.may_send_next(keys) && (renewed || !could_send);
        Ok(HelloOutcome::Accepted { renewed, send_now })
    }

    /// Rules 14 and 15: a packet opened under the live or the next pair. `highest` tells whether its
    /// number is the highest so far under its keys.
    pub fn opened(
        &mut self,
        keys: &mut impl Keys,
        which: Which,
        here: Option<&Here>,
        highest: bool,
    ) -> Opened {
        let committed = which == Which::Next && !self.is_settled(keys);
        if committed {
            keys.commit();
            self.answered = true;
            self.next_changed();
            self.timers.stop();
            self.ask_due = false;
            self.unanswered = 0;
        }
        if let Some(here) = here
            && (committed || highest)
            && here.h_seq >= self.live_loc_seq
        {
            self.live_loc.clone_from(&here.location);
            self.live_loc_seq = here.h_seq;
        }
        self.check(keys);
        Opened {
            committed,
            reply: committed,
        }
    }

    /// Something was sealed under these keys.
    pub const fn sealed(&mut self, which: Which) {
        match which {
            Which::Live => {}
            Which::Next => {
                self.sealed_next = true;
                self.early = false;
            }
        }
    }

    /// The HERE that the next packet must carry; none once one of the same pair and location was
    /// acknowledged, or while nothing may be sent. `location` is the own one.
    pub fn here(&mut self, keys: &impl Keys, location: &Location) -> Option<Here> {
        self.note_location(location);
        let pair = match self.send_under(keys) {
            Sending::Live(_) => keys.live()?,
            Sending::Next(_) | Sending::Early(_) => keys.next(),
            Sending::Nothing => return None,
        };
        (self.here_done != Some(pair)).then(|| Here {
            h_seq: self.seq_out,
            location: location.clone(),
        })
    }

    /// A packet under `pair` that carried HERE with `h_seq` was acknowledged.
    pub fn here_acked(&mut self, keys: &impl Keys, pair: Pair, h_seq: u64) {
        let held = keys.live() == Some(pair) || keys.next() == pair;
        if held && h_seq >= self.here_floor && self.here_done.is_none_or(|done| done < pair) {
            self.here_done = Some(pair);
        }
    }

    /// The round-trip time was measured; the last one bounds T_confirm.
    pub const fn set_rtt(&mut self, rtt: Duration) {
        self.timers.set_rtt(rtt);
    }

    /// Whether channels are open: while they are, questions are at most a second apart.
    pub fn set_channels_open(&mut self, open: bool, now: Time) {
        self.timers.set_channels_open(open, now);
    }

    /// Rules 11 to 13: where packets go, and under which keys.
    pub fn send_under(&self, keys: &impl Keys) -> Sending {
        if self.may_send_next(keys) {
            return Sending::Next(self.answer_loc.clone());
        }
        if keys.live().is_some() {
            return Sending::Live(self.live_loc.clone());
        }
        if self.early {
            return Sending::Early(self.newest_location().clone());
        }
        Sending::Nothing
    }

    /// Where packets go; nowhere while none may be sent.
    pub fn destination(&self, keys: &impl Keys) -> Option<&Location> {
        if self.may_send_next(keys) {
            return Some(&self.answer_loc);
        }
        if keys.live().is_some() {
            return Some(&self.live_loc);
        }
        self.early.then(|| self.newest_location())
    }

    /// The next H to seal and send, from the own `location`; the caller adds hints. Call until it
    /// gives nothing.
    pub fn poll_hello(
        &mut self,
        keys: &impl Keys,
        location: &Location,
    ) -> Option<(Hello, HelloTo)> {
        let (ask, to) = if self.ask_due {
            self.ask_due = false;
            let known = [self.live_loc.clone(), self.answer_loc.clone()];
            (true, HelloTo::Everywhere(known))
        } else {
            let to = self.answer_due.take()?;
            (!self.answered, HelloTo::At(to))
        };
        self.note_location(location);
        self.seq_out = self.seq_out.saturating_add(1);
        if ask {
            self.unanswered = self.unanswered.saturating_add(1);
        }
        self.early = self.early_data && keys.live().is_none() && !self.answered;
        let (own, own_nonce) = keys.own();
        let (seen, seen_nonce) = keys.peer();
        let hello = Hello {
            seq: self.seq_out,
            own,
            own_nonce,
            seen,
            seen_nonce,
            ask,
            location: location.clone(),
            reason: self.reason,
            hints: Vec::new(),
        };
        Some((hello, to))
    }

    /// The next deadline and its timer; none while settled.
    pub fn poll_timeout(&self) -> Option<(Time, Deadline)> {
        self.timers.next()
    }

    /// Rules 3, 4 and 19: lets the timers that are due expire. Fails when the own number is used up.
    pub fn handle_timeout(
        &mut self,
        keys: &mut impl Keys,
        random: &mut Random,
        now: Time,
    ) -> Result<TimeoutOutcome, Exhausted> {
        let mut outcome = TimeoutOutcome::default();
        let Some((at, deadline)) = self.timers.next() else {
            return Ok(outcome);
        };
        if at > now {
            return Ok(outcome);
        }
        self.ask_due = true;
        match deadline {
            Deadline::Ask => {
                self.timers.count_ask();
                self.timers.arm_ask(random, now);
            }
            Deadline::Confirm => {
                self.timers.count_confirm();
                if self.confirm_expired || self.next_carrier_dead {
                    self.start(keys, Reason::Unconfirmed, random, now)?;
                } else {
                    self.confirm_expired = true;
                    outcome.probe = self.may_send_next(keys);
                    self.timers.arm_confirm(random, now);
                }
            }
        }
        let unanswered = match deadline {
            // Those from before a way came up say nothing of the peer.
            Deadline::Ask => self.timers.asks(),
            Deadline::Confirm => self.unanswered,
        };
        outcome.check_state = unanswered >= 2 && unanswered.is_power_of_two();
        outcome.limit_reached = self
            .unanswered_max
            .is_some_and(|max| self.unanswered >= max);
        self.check(keys);
        Ok(outcome)
    }

    /// Whether no keys carry traffic.
    pub fn is_suspended(&self, keys: &impl Keys) -> bool {
        keys.live().is_none()
    }

    /// Whether nothing is under way: the next pair is live.
    pub fn is_settled(&self, keys: &impl Keys) -> bool {
        keys.live() == Some(keys.next())
    }

    /// Why the last exchange was started; for status.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// What one side can see of the invariants of PROTOCOL 8; names the one that fails.
    pub fn invariants(&self, keys: &impl Keys) -> Result<(), &'static str> {
        let next = keys.next();
        let settled = self.is_settled(keys);
        let (own, peer) = match self.side {
            Side::A => (next.a, next.b),
            Side::B => (next.b, next.a),
        };
        let waits_ask = !settled && !self.answered;
        let waits_confirm = !settled && self.answered;
        let rules = [
            (
                own == keys.own().0 && peer == keys.peer().0,
                "next is the pair of own and peer",
            ),
            (
                keys.live().is_none_or(|l| l.a <= next.a && l.b <= next.b),
                "live is at most next in both parts",
            ),
            (!settled || self.answered, "a settled side is answered"),
            (
                !settled || !self.sealed_next,
                "sealed under next only while it is not live",
            ),
            (
                self.timers.ask_at.is_some() == waits_ask,
                "T_ask runs while unanswered",
            ),
            (
                self.timers.confirm_at.is_some() == waits_confirm,
                "T_confirm runs while unconfirmed",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, name)) => Err(name),
            None => Ok(()),
        }
    }

    /// RENEW: a new own number, unless the last one is not answered; that one is used again.
    fn renew(&mut self, keys: &mut impl Keys, random: &mut Random) -> Result<(), Exhausted> {
        if !self.answered {
            return Ok(());
        }
        keys.renew_own(ResumeNonce(random.bytes()))?;
        self.answered = false;
        self.next_changed();
        self.timers.reset_ask();
        Ok(())
    }

    /// What belonged to the former next pair ends with it.
    const fn next_changed(&mut self) {
        self.sealed_next = false;
        self.early = false;
        self.confirm_expired = false;
        self.next_carrier_dead = false;
        self.timers.confirm_at = None;
    }

    /// Rules 5 to 7.
    fn judge(&self, keys: &impl Keys, hello: &Hello) -> Result<(), Dropped> {
        let (own, own_nonce) = keys.own();
        let (peer, peer_nonce) = keys.peer();
        if hello.seq <= self.seq_in {
            return Err(Dropped::Replayed);
        }
        if hello.own < peer {
            return Err(Dropped::Old);
        }
        if hello.own - peer > 1 {
            return Err(Dropped::Impossible(Impossible::Jump));
        }
        if hello.seen > own {
            return Err(Dropped::Impossible(Impossible::Unsent));
        }
        let known_peer = hello.own != peer || hello.own_nonce == peer_nonce;
        let known_own = hello.seen != own || hello.seen_nonce == own_nonce;
        if known_peer && known_own {
            Ok(())
        } else {
            Err(Dropped::Impossible(Impossible::Nonce))
        }
    }

    /// Rule 11: the peer knows the next pair, and it is this side's turn to use it first.
    fn may_send_next(&self, keys: &impl Keys) -> bool {
        let started = keys
            .live()
            .is_none_or(|live| keys.own().0 > part(live, self.side));
        self.answered && started && !self.is_settled(keys)
    }

    const fn newest_location(&self) -> &Location {
        if self.live_loc_seq >= self.seq_in {
            &self.live_loc
        } else {
            &self.answer_loc
        }
    }

    /// A changed own location gets a counter of its own, so that HERE of both can be told apart.
    fn note_location(&mut self, location: &Location) {
        if self.own_loc.as_ref() == Some(location) {
            return;
        }
        self.own_loc = Some(location.clone());
        self.seq_out = self.seq_out.saturating_add(1);
        self.here_floor = self.seq_out;
        self.here_done = None;
    }

    /// Runs the timer that the state calls for, and only that one.
    fn arm(&mut self, keys: &impl Keys, random: &mut Random, now: Time) {
        let settled = self.is_settled(keys);
        if settled || self.answered {
            self.timers.reset_ask();
        } else if self.timers.ask_at.is_none() {
            self.timers.arm_ask(random, now);
        }
        if settled || !self.answered {
            self.timers.confirm_at = None;
        } else if self.timers.confirm_at.is_none() {
            self.timers.arm_confirm(random, now);
        }
    }

    fn check(&self, keys: &impl Keys) {
        debug_assert_eq!(self.invariants(keys), Ok(()));
    }
}

/// Whether a cause is an event that makes an early question worth it.
const fn is_event(cause: Reason) -> bool {
    match cause {
        Reason::LinkUp | Reason::AddressChange | Reason::WakeUp => true,
        Reason::Other
        | Reason::Suspicion
        | Reason::KeyUse
        | Reason::CarrierClosed
        | Reason::Unconfirmed
        | Reason::PeerAsked
        | Reason::NoWay => false,
    }
}

#[cfg(test)]
mod tests;
