//! Requests for channels: which peer carries them, and waiting for a path or for their turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::Core;
use crate::core::event::{ChannelKey, Event, Ticket};
use crate::limits::{OPENING_MAX, REQUESTS_MAX};
use crate::name::Name;
use crate::session::{Phase, ResetCode};
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::target::Target;

/// Requests that have no channel yet: those that may go the same ways stand in one line, in order.
#[derive(Debug, Default)]
pub(super) struct Requests {
    lines: BTreeMap<Arc<[Name]>, BTreeMap<Ticket, Request>>,
    /// In which line each one stands, and until when. All wait equally long, so the first is due first.
    waiting: BTreeMap<Ticket, (Time, Arc<[Name]>)>,
}

/// A request that has no channel yet.
#[derive(Debug)]
struct Request {
    target: Target,
    port: u16,
}

/// What became of a try to find a channel for the first of a line.
enum Tried {
    Opened(ChannelKey),
    Failed(OpenFailure),
    Waits,
}

impl Requests {
    /// When the first one has waited long enough.
    pub(super) fn due_at(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|(_, (due, _))| *due)
    }

    /// Every ticket, the oldest first.
    pub(super) fn into_tickets(self) -> impl Iterator<Item = Ticket> {
        self.waiting.into_keys()
    }

    fn insert(&mut self, ticket: Ticket, via: Arc<[Name]>, request: Request, due: Time) {
        self.waiting.insert(ticket, (due, Arc::clone(&via)));
        self.lines.entry(via).or_default().insert(ticket, request);
    }

    fn remove(&mut self, ticket: Ticket) -> Option<(Arc<[Name]>, Request)> {
        let (_, via) = self.waiting.remove(&ticket)?;
        let line = self.lines.get_mut(&via)?;
        let request = line.remove(&ticket)?;
        if line.is_empty() {
            self.lines.remove(&via);
        }
        Some((via, request))
    }

    fn first(&self, via: &[Name]) -> Option<(Ticket, &Request)> {
        let (ticket, request) = self.lines.get(via)?.first_key_value()?;
        Some((*ticket, request))
    }

    /// The ways of every line, or of those that may go by `peer`.
    fn ways(&self, peer: Option<Name>) -> Vec<Arc<[Name]>> {
        let by = |via: &&Arc<[Name]>| peer.is_none_or(|peer| via.contains(&peer));
        self.lines.keys().filter(by).map(Arc::clone).collect()
    }
}

impl Core {
    /// Asks for a channel to `target` through the first of `via` that can be reached; waits up to
    /// `open_timeout` for one, and for its turn while [`OPENING_MAX`] others have no answer. The answer
    /// comes as [`Event::Assigned`] or [`Event::Unassigned`].
    pub fn request(&mut self, via: Vec<Name>, target: Target, port: u16, now: Time) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        if self.requests.waiting.len() >= REQUESTS_MAX {
            self.events
                .push_back(Event::Unassigned(ticket, OpenFailure::Limit));
            return ticket;
        }
        let due = now + self.settings.open_timeout;
        let via: Arc<[Name]> = via.into();
        let request = Request { target, port };
        self.requests.insert(ticket, Arc::clone(&via), request, due);
        self.poll_line(&via, now);
        if self.is_waiting(ticket) {
            for peer in via.iter().copied() {
                if self.live_session(peer).is_none() {
                    self.seek(peer, now);
                    self.events.push_back(Event::WantLink(peer));
                }
            }
            self.settle_overlay(now);
        }
        self.settle(now);
        ticket
    }

    /// Withdraws a request: the application went away.
    pub fn withdraw(&mut self, ticket: Ticket) {
        self.requests.remove(ticket);
    }

    /// Opens channels for a line of requests until one has to wait.
    fn poll_line(&mut self, via: &[Name], now: Time) {
        while let Some((ticket, request)) = self.requests.first(via) {
            let (target, port) = (request.target.clone(), request.port);
            let event = match self.try_open(via, target, port, now) {
                Tried::Opened(key) => Event::Assigned(ticket, key),
                Tried::Failed(failure) => Event::Unassigned(ticket, failure),
                Tried::Waits => return,
            };
            self.requests.remove(ticket);
            self.events.push_back(event);
        }
    }

    /// Opens the channel if a peer can be reached and few enough others have no answer there.
    fn try_open(&mut self, via: &[Name], target: Target, port: u16, now: Time) -> Tried {
        if via.iter().all(|via| self.denied.contains(via)) {
            return Tried::Failed(OpenFailure::Denied);
        }
        for via in via {
            if self.denied.contains(via) {
                continue;
            }
            if let Some(number) = self.live_session(*via) {
                let Some(entry) = self.sessions.get_mut(&number) else {
                    continue;
                };
                if entry.session.opening() >= OPENING_MAX {
                    return Tried::Waits;
                }
                self.touched.insert(number);
                self.stirred = true;
                return match entry.session.open(target, port, now) {
                    Ok(channel) => {
                        let key = ChannelKey {
                            session: number,
                            channel,
                        };
                        self.note_opening(key, now);
                        Tried::Opened(key)
                    }
                    Err(failure) => Tried::Failed(failure),
                };
            }
            if self.is_reachable(*via) && !self.has_confirmed(*via) {
                self.start_handshake(*via, None, now);
                let attempt = self.peers.get(via).and_then(|known| known.attempt.as_ref());
                if !attempt.is_some_and(|attempt| attempt.is_unanswered(now)) {
                    return Tried::Waits;
                }
            }
        }
        Tried::Waits
    }

    /// Whether the request still waits for a path or its turn.
    pub fn is_waiting(&self, ticket: Ticket) -> bool {
        self.requests.waiting.contains_key(&ticket)
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
    pub(super) fn live_session(&self, peer: Name) -> Option<u32> {
        let known = self.peers.get(&peer)?;
        known.sessions.iter().rev().copied().find(|number| {
            self.sessions.get(number).is_some_and(|entry| {
                !entry.spare && entry.session.is_confirmed() && !entry.session.is_suspended()
            })
        })
    }

    /// Lets requests that wait for their turn go by a session that has room for some.
    pub(super) fn let_requests_go(&mut self, session: u32, now: Time) {
        let entry = self.sessions.get(&session).filter(|entry| {
            !self.requests.waiting.is_empty() && entry.session.opening() < OPENING_MAX
        });
        let Some(peer) = entry.map(|entry| entry.session.peer()) else {
            return;
        };
        for via in self.requests.ways(Some(peer)) {
            self.poll_line(&via, now);
        }
    }

    /// Tries waiting requests again, and gives up those that have waited long enough.
    pub(super) fn poll_requests(&mut self, now: Time) {
        while let Some((ticket, (due, via))) = self.requests.waiting.first_key_value()
            && *due <= now
        {
            let ticket = *ticket;
            // Its turn has not come, or there was no path.
            let reachable = via.iter().any(|via| self.live_session(*via).is_some());
            let why = if reachable {
                OpenFailure::Limit
            } else {
                OpenFailure::NoPath
            };
            self.requests.remove(ticket);
            self.events.push_back(Event::Unassigned(ticket, why));
        }
        for via in self.requests.ways(None) {
            self.poll_line(&via, now);
        }
    }

    /// Whether requests wait for this peer.
    pub fn is_wanted(&self, peer: Name) -> bool {
        self.requests.lines.keys().any(|via| via.contains(&peer))
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
