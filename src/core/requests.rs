//! Requests for channels: which peer carries them, and waiting for a path.

use crate::core::Core;
use crate::core::event::{ChannelKey, Event, Ticket};
use crate::name::Name;
use crate::session::{Phase, ResetCode};
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::target::Target;

/// Requests that may wait at once; more are answered with "limit reached".
const REQUESTS_MAX: usize = 4_096;

/// A request that has no channel yet.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticket: Ticket,
    via: Vec<Name>,
    target: Target,
    port: u16,
    deadline: Time,
}

impl Request {
    pub(super) const fn deadline(&self) -> Time {
        self.deadline
    }
}

impl Core {
    /// Asks for a channel to `target` through the first of `via` that can be reached; waits up to
    /// `open_timeout` for one. The answer comes as [`Event::Assigned`] or [`Event::Unassigned`].
    pub fn request(&mut self, via: Vec<Name>, target: Target, port: u16, now: Time) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        if self.requests.len() >= REQUESTS_MAX {
            self.events
                .push_back(Event::Unassigned(ticket, OpenFailure::Limit));
            return ticket;
        }
        let deadline = now + self.settings.open_timeout;
        let request = Request {
            ticket,
            via,
            target,
            port,
            deadline,
        };
        if let Some(request) = self.try_assign(request, now) {
            if let Some(first) = request.via.first() {
                self.events.push_back(Event::WantLink(*first));
            }
            self.requests.push(request);
        }
        self.settle(now);
        ticket
    }

    /// Withdraws a request: the application went away.
    pub fn withdraw(&mut self, ticket: Ticket) {
        self.requests.retain(|request| request.ticket != ticket);
    }

    /// Opens the channel if a peer can be reached; gives the request back if none can.
    fn try_assign(&mut self, request: Request, now: Time) -> Option<Request> {
        for via in &request.via {
            if let Some(number) = self.live_session(*via) {
                let Some(entry) = self.sessions.get_mut(&number) else {
                    continue;
                };
                let event = match entry.session.open(request.target, request.port, now) {
                    Ok(channel) => {
                        let key = ChannelKey {
                            session: number,
                            channel,
                        };
                        self.note_opening(key, now);
                        Event::Assigned(request.ticket, key)
                    }
                    Err(failure) => Event::Unassigned(request.ticket, failure),
                };
                self.touched.insert(number);
                self.events.push_back(event);
                return None;
            }
            let linked = self.neighbours.preferred(via.tag()).is_some();
            if linked && !self.has_confirmed(*via) {
                self.start_handshake(*via, None, now);
                return Some(request);
            }
        }
        Some(request)
    }

    /// Whether the request still waits for a path.
    pub fn is_waiting(&self, ticket: Ticket) -> bool {
        // The newest ones stand last.
        self.requests
            .iter()
            .rev()
            .any(|request| request.ticket == ticket)
    }

    /// Remembers to look at a channel that may be left without an answer by a suspension.
    fn note_opening(&mut self, key: ChannelKey, now: Time) {
        while let Some((_, first)) = self.opening.front()
            && !self.is_opening(*first)
        {
            self.opening.pop_front();
        }
        self.opening
            .push_back((now + self.settings.open_timeout, key));
    }

    fn is_opening(&self, key: ChannelKey) -> bool {
        let entry = self.sessions.get(&key.session);
        let channel = entry.and_then(|entry| entry.session.channel(key.channel));
        channel.is_some_and(|channel| channel.phase() == Phase::Opening)
    }

    /// When [`Self::poll_opening`] has something to do next.
    pub(super) fn opening_due_at(&self) -> Option<Time> {
        self.opening.front().map(|(due, _)| *due)
    }

    /// Gives up channels whose OPEN has no answer because its session was suspended meanwhile. On a
    /// live path the answer comes from the far side, which has its own time limits.
    pub(super) fn poll_opening(&mut self, now: Time) {
        while let Some((_, key)) = self.opening.pop_front_if(|(due, _)| *due <= now) {
            if !self.is_opening(key) {
                continue;
            }
            let Some(entry) = self.sessions.get_mut(&key.session) else {
                continue;
            };
            if entry.session.is_suspended() {
                entry.session.reset(key.channel, ResetCode::Connection);
                self.touched.insert(key.session);
                self.events
                    .push_back(Event::OpenFailed(key, OpenFailure::NoPath));
            } else {
                self.opening
                    .push_back((now + self.settings.open_timeout, key));
            }
        }
    }

    /// The newest session with a peer that can carry channels.
    fn live_session(&self, peer: Name) -> Option<u32> {
        let known = self.peers.get(&peer)?;
        known.sessions.iter().rev().copied().find(|number| {
            self.sessions.get(number).is_some_and(|entry| {
                !entry.spare && entry.session.is_confirmed() && !entry.session.is_suspended()
            })
        })
    }

    /// Tries waiting requests again, and gives up those that have waited long enough.
    pub(super) fn poll_requests(&mut self, now: Time) {
        for request in std::mem::take(&mut self.requests) {
            if request.deadline <= now {
                self.events
                    .push_back(Event::Unassigned(request.ticket, OpenFailure::NoPath));
            } else if let Some(request) = self.try_assign(request, now) {
                self.requests.push(request);
            }
        }
    }

    /// Whether requests wait for this peer.
    pub fn is_wanted(&self, peer: Name) -> bool {
        self.requests
            .iter()
            .any(|request| request.via.contains(&peer))
            || self.sessions.values().any(|entry| {
                entry.session.peer() == peer && entry.session.channels().next().is_some()
            })
    }

    /// Answers an incoming channel.
    pub fn answer(&mut self, key: ChannelKey, result: Result<(), OpenFailure>, now: Time) {
        let Some(entry) = self.sessions.get_mut(&key.session) else {
            return;
        };
        match result {
            Ok(()) => entry.session.accept(key.channel),
            Err(failure) => entry.session.refuse(key.channel, failure),
        }
        self.touched.insert(key.session);
        self.settle(now);
    }

    /// Whether a channel still exists.
    pub fn has_channel(&self, key: ChannelKey) -> bool {
        let ChannelKey { session, channel } = key;
        self.sessions
            .get(&session)
            .is_some_and(|entry| entry.session.channel(channel).is_some())
    }

    /// Ids of a session's channels.
    pub fn channel_ids(&self, session: u32) -> Vec<ChannelId> {
        let entry = self.sessions.get(&session);
        entry
            .map(|entry| entry.session.channels().map(|(id, _)| id).collect())
            .unwrap_or_default()
    }
}
