//! Time: suspicion, suspension, heartbeats, key age, idleness.

use std::time::Duration;

use crate::limits::{HEARTBEAT, SESSION_IDLE, SUSPECT_AFTER, SUSPEND_AFTER};
use crate::session::Session;
use crate::session::event::{EndReason, Event};
use crate::srm::resume::Reason;
use crate::time::Time;
use crate::wire::location::Location;

/// Pause between looks at idle buffers.
const MAINTENANCE: Duration = Duration::from_secs(5);

/// How long the peer has owed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// Not longer than it should.
    None,
    /// So long that it was asked for a sign of life.
    Suspected,
    /// That was not answered either.
    Unanswered,
}

/// What happened to the links that can carry a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A link to the peer came up.
    Up,
    /// The link that carried it is gone, others are left.
    Changed,
    /// No link to the peer is left, for this reason.
    Lost(Reason),
}

impl Session {
    /// Reacts to a change of the links below (rules 1, 2 and 18 of PROTOCOL 8).
    pub fn link_event(&mut self, event: LinkEvent, now: Time) {
        // Who asked for a session that nothing has confirmed may be a replay: it gets answers only.
        if self.ended || !self.is_confirmed() {
            return;
        }
        let (epochs, random) = (&mut self.epochs, &mut self.random);
        let done = match event {
            LinkEvent::Up => self.resume.event(epochs, Reason::LinkUp, random, now),
            LinkEvent::Changed => self
                .resume
                .event(epochs, Reason::CarrierClosed, random, now),
            LinkEvent::Lost(cause) => {
                self.suspend(cause, now);
                Ok(())
            }
        };
        if done.is_err() {
            self.end(EndReason::Exhausted);
        }
    }

    /// This end hangs at another place: the peer is told, by the next packet or, while none may be sent, by a
    /// Re-Hello (rules 1 and 14 of PROTOCOL 8).
    pub fn set_location(&mut self, location: &Location, now: Time) {
        if self.ended || self.location == *location {
            return;
        }
        self.location.clone_from(location);
        if !self.is_suspended() {
            self.probe_due = true;
        } else if self
            .resume
            .event(
                &mut self.epochs,
                Reason::AddressChange,
                &mut self.random,
                now,
            )
            .is_err()
        {
            self.end(EndReason::Exhausted);
        }
    }

    /// Suspends at once: keys are erased, local reads pause.
    pub(super) fn suspend(&mut self, cause: Reason, now: Time) {
        if self.is_suspended() || !self.is_confirmed() {
            return;
        }
        // The goodbye finds no way any more; whoever waits for the end must not wait for a resume.
        if let Some(reason) = self.goodbye.take() {
            return self.end(reason);
        }
        if self
            .resume
            .suspend(&mut self.epochs, cause, &mut self.random, now)
            .is_err()
        {
            return self.end(EndReason::Exhausted);
        }
        self.pause(self.waiting_since().unwrap_or(now), cause);
        self.suspended_at = Some(now);
        self.rewind();
        self.events.push_back(Event::Suspended(cause));
    }

    /// Since when an answer has been owed under the live pair.
    fn waiting_since(&self) -> Option<Time> {
        let since = self
            .pairs
            .iter()
            .filter_map(|state| state.flight.waiting_since())
            .min()?;
        Some(since.max(self.heard_at))
    }

    fn patience(&self) -> Duration {
        (self.rtt_or_default() * 3).max(SUSPECT_AFTER)
    }

    fn key_is_worn(&mut self, now: Time) -> bool {
        let limit = self.options.key_use;
        let age = now.since(self.live_since);
        let active = now.since(self.heard_at) < limit.age;
        let settled = self.resume.is_settled(&self.epochs);
        settled
            && self.epochs.live_keys().is_some_and(|keys| {
                keys.packets_sealed() >= limit.packets
                    || keys.bytes_sealed() >= limit.bytes
                    || (age >= limit.age && active && keys.packets_sealed() > 0)
            })
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Time {
        if self.ended {
            return Time::NEVER;
        }
        let mut at = Time::NEVER;
        let mut consider = |moment: Option<Time>| at = at.min(moment.unwrap_or(Time::NEVER));
        consider(self.resume.poll_timeout().map(|(moment, _)| moment));
        if self.is_suspended() {
            consider(
                self.suspended_at
                    .zip(self.options.max_suspend)
                    .map(|(from, max)| from + max),
            );
            return at;
        }
        // What is due already waits for a link with room, not for time.
        for state in self.pairs.iter().filter(|state| !state.acks.is_ripe()) {
            consider(state.acks.due_at());
        }
        if !self.schedule.is_empty() {
            consider(self.paced_until);
        }
        if let Some(since) = self.waiting_since() {
            let step = match self.doubt {
                Doubt::None => self.patience(),
                Doubt::Suspected => SUSPEND_AFTER.min(self.patience() * 2),
                Doubt::Unanswered => SUSPEND_AFTER,
            };
            consider(Some(since + step));
        } else if !self.channels.is_empty() && !self.probe_due {
            consider(Some(self.heard_at.max(self.sent_at) + HEARTBEAT));
        }
        if self.channels.is_empty() && self.goodbye.is_none() && self.is_confirmed() {
            consider(self.nobody_since().map(|since| since + SESSION_IDLE));
        } else if !self.channels.is_empty() {
            consider(Some(self.maintained_at + MAINTENANCE));
        }
        at
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        self.resume_timeout(now);
        for state in &mut self.pairs {
            state.acks.ripen(now);
        }
        // From here on what waits does so for room on a link.
        self.paced_until = self.paced_until.filter(|at| *at > now);
        if self.is_suspended() {
            let over = self.suspended_at.zip(self.options.max_suspend);
            if over.is_some_and(|(since, max)| now.since(since) >= max) {
                self.end(EndReason::GivenUp);
            }
            return;
        }
        if self.key_is_worn(now)
            && self
                .resume
                .start(&mut self.epochs, Reason::KeyUse, &mut self.random, now)
                .is_err()
        {
            return self.end(EndReason::Exhausted);
        }
        match self.waiting_since() {
            Some(since) => self.silence(now.since(since), now),
            None => {
                let quiet = now.since(self.heard_at.max(self.sent_at));
                if !self.channels.is_empty() && quiet >= HEARTBEAT {
                    self.probe_due = true;
                }
            }
        }
        self.idleness(now);
    }

    fn silence(&mut self, silence: Duration, now: Time) {
        if silence >= SUSPEND_AFTER {
            self.suspend(Reason::Suspicion, now);
        } else if self.doubt == Doubt::Suspected && silence >= self.patience() * 2 {
            self.doubt = Doubt::Unanswered;
            self.events.push_back(Event::Unanswered);
        } else if self.doubt == Doubt::None && silence >= self.patience() {
            self.doubt = Doubt::Suspected;
            self.probe_due = true;
            self.pause(self.waiting_since().unwrap_or(now), Reason::Suspicion);
        }
    }

    /// Since when neither end has had a channel, as far as it can be known: a peer with channels says
    /// something now and then.
    fn nobody_since(&self) -> Option<Time> {
        self.idle_since.map(|since| since.max(self.heard_at))
    }

    fn idleness(&mut self, now: Time) {
        let idle = self
            .nobody_since()
            .is_some_and(|since| now.since(since) >= SESSION_IDLE);
        if idle && self.is_confirmed() {
            self.close(EndReason::Local);
        }
        if now.since(self.maintained_at) >= MAINTENANCE {
            self.maintained_at = now;
            for channel in self.channels.values_mut() {
                channel.send.shrink();
                channel.receive.shrink();
            }
        }
    }

    fn resume_timeout(&mut self, now: Time) {
        let due = self.resume.poll_timeout().is_some_and(|(at, _)| at <= now);
        if !due {
            return;
        }
        match self
            .resume
            .handle_timeout(&mut self.epochs, &mut self.random, now)
        {
            Ok(outcome) => {
                self.probe_due |= outcome.probe;
                if outcome.check_state {
                    self.events.push_back(Event::CheckState);
                }
                if outcome.limit_reached {
                    self.end(EndReason::Unanswered);
                }
            }
            Err(_) => self.end(EndReason::Exhausted),
        }
    }

    /// Says goodbye with the next packet and ends; at once when the peer cannot be reached.
    pub fn close(&mut self, reason: EndReason) {
        if self.is_suspended() || !self.is_confirmed() {
            self.end(reason);
        } else {
            self.goodbye = Some(reason);
        }
    }

    /// Whether it is to end with the next packet.
    pub const fn is_closing(&self) -> bool {
        self.goodbye.is_some() && !self.ended
    }

    /// Something hints that the peer may be gone: asks for a sign of life.
    pub const fn probe(&mut self) {
        self.probe_due = true;
    }

    /// Whether the peer owes an answer for longer than it should.
    pub fn is_suspected(&self) -> bool {
        self.doubt > Doubt::None
    }
}
