//! Who may still take part: certificates of peers, names that were taken out, and what the operator ends
//! (R-R11, R-I5).

use std::collections::BTreeSet;

use crate::cloak::neighbours::Link as LinkNumber;
use crate::core::{ChannelKey, Core, Event};
use crate::limits::RECHECK;
use crate::name::Name;
use crate::name::certificate::{SKEW_SECONDS, Verified};
use crate::session::{EndReason, ResetCode};
use crate::time::{Calendar, Time};
use crate::wire::frame::ChannelId;

impl Core {
    /// Notes a certificate that is none older than those before.
    pub(super) fn note_certificate(&mut self, verified: &Verified) {
        let terms = verified.certificate().terms;
        let known = self.peers.entry(verified.name()).or_default();
        known.static_public = Some(verified.static_public());
        known.serial = Some(terms.serial);
        known.not_after = Some(terms.not_after);
    }

    pub(super) fn recheck_due_at(&self) -> Time {
        if self.sessions.is_empty() {
            Time::NEVER
        } else {
            self.checked_at + RECHECK
        }
    }

    pub(super) fn poll_validity(&mut self, now: Time) {
        if self.recheck_due_at() > now {
            return;
        }
        self.checked_at = now;
        let all: Vec<u32> = self.sessions.keys().copied().collect();
        for number in all {
            self.check_validity(number, now);
        }
    }

    /// A session whose peer's certificate is over asks for a newer one, by a handshake beside it, for as
    /// long as clocks may differ; then it ends.
    pub(super) fn check_validity(&mut self, number: u32, now: Time) {
        let Calendar(calendar) = self.calendar(now);
        let Some(entry) = self.sessions.get_mut(&number) else {
            return;
        };
        let known = self.peers.get(&entry.session.peer());
        let Some(Calendar(until)) = known.and_then(|known| known.not_after) else {
            return;
        };
        if calendar.saturating_sub(SKEW_SECONDS) > until {
            entry.session.end(EndReason::Expired);
            self.touched.insert(number);
        } else if calendar > until {
            self.check_state(number, now);
        }
    }

    /// These may not take part any more: their sessions end with a goodbye, their channels are reset.
    /// Gives their links, to be closed once that has left.
    pub fn expel(&mut self, names: &BTreeSet<Name>, now: Time) -> Vec<LinkNumber> {
        let of = |peer: Name| names.contains(&peer);
        let sessions: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, entry)| of(entry.session.peer()))
            .map(|(number, _)| *number)
            .collect();
        for number in sessions {
            self.end_session(number, ResetCode::Forbidden, EndReason::Expelled, now);
        }
        let links = self.links.iter().filter(|(_, link)| of(link.peer));
        links.map(|(number, _)| *number).collect()
    }

    /// From here on these have no part here, and nobody else is denied: no link, no session, no request.
    /// Sessions of theirs end as in [`Self::expel`], whose links it gives, too.
    pub fn deny(&mut self, names: BTreeSet<Name>, now: Time) -> Vec<LinkNumber> {
        self.denied.clone_from(&names);
        for name in &names {
            if let Some(known) = self.peers.get_mut(name) {
                known.attempt = None;
            }
        }
        self.poll_requests(now);
        self.expel(&names, now)
    }

    /// Ends a session: goodbye to the peer, reset to every channel. False when there is none.
    pub(super) fn end_session(
        &mut self,
        number: u32,
        code: ResetCode,
        reason: EndReason,
        now: Time,
    ) -> bool {
        let Some(entry) = self.sessions.get_mut(&number) else {
            return false;
        };
        entry.session.close(reason);
        let ids: Vec<ChannelId> = entry.session.channels().map(|(id, _)| id).collect();
        for channel in ids {
            let key = ChannelKey {
                session: number,
                channel,
            };
            self.events.push_back(Event::Reset(key, code));
        }
        self.touched.insert(number);
        self.settle(now);
        true
    }

    /// Ends a session: goodbye to the peer, reset to every channel. False when there is none.
    pub fn kill_session(&mut self, number: u32, now: Time) -> bool {
        self.end_session(number, ResetCode::Killed, EndReason::Local, now)
    }

    /// Resets a channel at both ends. False when there is none.
    pub fn kill_channel(&mut self, key: ChannelKey, code: ResetCode, now: Time) -> bool {
        let Some(entry) = self.sessions.get_mut(&key.session) else {
            return false;
        };
        if entry.session.channel(key.channel).is_none() {
            return false;
        }
        entry.session.reset(key.channel, code);
        self.events.push_back(Event::Reset(key, code));
        self.touched.insert(key.session);
        self.settle(now);
        true
    }
}
