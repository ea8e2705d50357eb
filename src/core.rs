//! One node without its sockets: sessions, overlay and links joined.
//!
//! # Order
//! One input, then drain [`Core::poll_event`], then ask [`Core::poll_timeout`]; whenever a link can take
//! bytes, [`Core::pull`] them. Time never goes back. Nothing here panics on what a peer sends: what
//! breaks a link's rules ends the link, what breaks a session's rules ends the session.
//!
//! # What it owns
//! The links and their liveness, the neighbour table, the sessions and the handshakes that lead to them,
//! and the requests for channels that wait for a path.

mod detour;
mod event;
mod gate;
mod half_open;
mod handshakes;
mod links;
mod overlay;
mod paths;
mod requests;
mod seek;
mod shortcuts;
#[cfg(test)]
mod tests;
mod validity;
mod view;

pub use event::{ChannelKey, Event, LinkEnd, Ticket};
pub use gate::GateStats;
pub use links::Joined;
pub use view::overlay::{NeighbourView, OverlayView, Role};
pub use view::{ChannelView, LinkView, SessionState, SessionView, Way};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::cloak::geometry::Metric;
use crate::cloak::neighbours::{Link as LinkNumber, Neighbours};
use crate::cloak::overlay::{Overlay, Settings as OverlaySettings};
use crate::cloak::relay::{Bounds, Relay};
use crate::cloak::tree::Strict;
use crate::core::detour::Detour;
use crate::core::gate::{Bucket, Gate, Meter};
use crate::core::handshakes::Attempt;
use crate::core::links::Link;
use crate::core::paths::Carrier;
use crate::core::requests::Requests;
use crate::core::seek::Seek;
use crate::core::shortcuts::Shortcut;
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::session::{
    EndReason, Event as SessionEvent, HelloTo, LinkEvent, Options, ResetCode, Session,
};
use crate::ssm::handshake::Cookie;
use crate::ssm::suite::Suite;
use crate::time::{Calendar, Time};
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::link::Route;
use crate::wire::location::Location;

/// Where bytes that arrive in order go.
pub trait Deliver {
    /// Offers bytes of a channel; says how many were taken. The rest is kept.
    fn deliver(&mut self, key: ChannelKey, bytes: &[u8]) -> usize;
}

/// Settings of a node's core.
#[derive(Debug)]
pub struct Settings {
    /// Cipher suites in order of preference.
    pub suites: Vec<Suite>,
    /// Settings of every session.
    pub session: Options,
    /// How long a request for a channel waits for a path.
    pub open_timeout: std::time::Duration,
    /// The session key of the network, or zeros.
    pub psk: Zeroizing<[u8; 32]>,
    /// Settings of the overlay.
    pub cloak: Cloak,
}

/// A node's part in the overlay.
#[derive(Clone, Debug)]
pub struct Cloak {
    /// Directions of each place in the tree; the same on all nodes.
    pub degree: u32,
    /// Whether it carries frames of others and lets them join below it.
    pub relay: bool,
    /// Number of this node's last record in the directory, of an earlier run (R-D2).
    pub last_seq: u64,
    /// Who may be root of the tree; anyone if empty.
    pub roots: Vec<Name>,
    /// Whether it links directly to the peers of sessions that go through relays.
    pub shortcuts: bool,
}

impl Default for Cloak {
    fn default() -> Self {
        Self {
            degree: 16,
            relay: true,
            last_seq: 0,
            roots: Vec::new(),
            shortcuts: true,
        }
    }
}

/// A session and what the core knows beside it.
#[derive(Debug)]
struct Entry {
    session: Session,
    /// Boot id of the peer when the session began, as far as it is known.
    boot: Option<[u8; 16]>,
    handshakes: u64,
    made_at: Time,
    /// It came of asking for the state of another session, which still exists: no channels for it.
    spare: bool,
    /// The link by which the Hello came that made it.
    ingress: Option<LinkNumber>,
    /// How its packets leave.
    carrier: Option<Carrier>,
    /// The place of the peer for which that was found.
    aim: Option<Location>,
    /// Links that the last packet took which came for it, as its relays tell.
    hops: Option<u8>,
}

impl Entry {
    /// The session with the header of its next frame; none while no link carries it.
    fn carried(&mut self) -> Option<(&mut Self, Route)> {
        let route = self.carrier.as_ref()?.route.clone();
        Some((self, route))
    }
}

/// What is known of a peer.
#[derive(Debug, Default)]
struct Peer {
    /// Certified static key.
    static_public: Option<[u8; 32]>,
    /// Highest certificate serial seen (R-H11).
    serial: Option<u64>,
    /// When its newest certificate ends.
    not_after: Option<Calendar>,
    /// Sessions, the newest last.
    sessions: Vec<u32>,
    attempt: Option<Attempt>,
    /// What a loaded peer wants to see with our next Hello, and since when we have it.
    cookie: Option<(Cookie, Time)>,
    /// Where it hangs, and where it can be dialled, by its newest record in the directory.
    places: Vec<Location>,
    endpoints: Vec<String>,
    seek: Seek,
    detour: Detour,
    shortcut: Shortcut,
    /// A link to it would help the tree.
    tie_wanted: bool,
    /// Handshakes that it may cause as a neighbour, and Hellos that came from it as one.
    bucket: Bucket,
    arrivals: Meter,
}

/// One node without its sockets.
#[derive(Debug)]
pub struct Core {
    me: Arc<LocalParty>,
    settings: Settings,
    random: Random,
    /// Calendar time at [`Time::ZERO`].
    epoch: Calendar,
    links: BTreeMap<LinkNumber, Link>,
    next_link: LinkNumber,
    neighbours: Neighbours,
    overlay: Overlay,
    /// Frames of other nodes that wait here for their turn.
    relay: Relay,
    /// Who is looked up under which number.
    lookups: BTreeMap<u64, Name>,
    peers: BTreeMap<Name, Peer>,
    sessions: BTreeMap<u32, Entry>,
    next_session: u32,
    by_index: BTreeMap<u64, u32>,
    gate: Gate,
    /// When certificates were looked at last.
    checked_at: Time,
    requests: Requests,
    next_ticket: u64,
    /// Channels that were opened and had no answer then, with the time to look at them; by time.
    opening: VecDeque<(Time, ChannelKey)>,
    /// Whether suspended sessions give way when memory is used up (R-X3).
    reset_oldest: bool,
    /// Sessions that may have something to say.
    touched: BTreeSet<u32>,
    /// Links that have something to send.
    hot: BTreeSet<LinkNumber>,
    events: VecDeque<Event>,
}

impl Core {
    /// A node without links. `epoch` is the calendar time at [`Time::ZERO`].
    pub fn new(
        me: Arc<LocalParty>,
        settings: Settings,
        mut random: Random,
        epoch: Calendar,
    ) -> Self {
        let overlay = OverlaySettings {
            me: Arc::clone(&me),
            degree: settings.cloak.degree,
            metric: Metric::Tree,
            relay: settings.cloak.relay,
            roots: settings.cloak.roots.clone(),
            verifier: Arc::new(Strict),
            last_seq: settings.cloak.last_seq,
        };
        let overlay = Overlay::new(overlay, random.fork(), Time::ZERO, epoch);
        let gate = Gate::new(me.name(), &mut random);
        Self {
            me,
            settings,
            random,
            epoch,
            links: BTreeMap::new(),
            next_link: 0,
            neighbours: Neighbours::default(),
            overlay,
            relay: Relay::new(Bounds::default()),
            lookups: BTreeMap::new(),
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            by_index: BTreeMap::new(),
            gate,
            checked_at: Time::ZERO,
            requests: Requests::default(),
            next_ticket: 0,
            opening: VecDeque::new(),
            reset_oldest: false,
            touched: BTreeSet::new(),
            hot: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// When memory is used up, ends suspended sessions instead of making everybody wait: first the one
    /// that was suspended first, whose bytes have waited longest (R-X3).
    #[must_use]
    pub fn with_reset_oldest(mut self) -> Self {
        self.reset_oldest = true;
        self
    }

    /// This node's name.
    pub fn name(&self) -> Name {
        self.me.name()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Time {
        let sessions = self
            .sessions
            .values()
            .map(|entry| entry.session.poll_timeout())
            .min();
        let attempts = self
            .peers
            .values()
            .filter_map(|peer| peer.attempt.as_ref())
            .map(Attempt::due_at)
            .min();
        let requests = self.requests.due_at();
        let opening = self.opening_due_at();
        let first = [sessions, attempts, requests, opening]
            .into_iter()
            .flatten()
            .min();
        first
            .unwrap_or(Time::NEVER)
            .min(self.links_due_at())
            .min(self.overlay.poll_timeout())
            .min(self.seeks_due_at())
            .min(self.shortcuts_due_at())
            .min(self.half_open_due_at())
            .min(self.recheck_due_at())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.poll_links(now);
        self.overlay.handle_timeout(now);
        self.settle_overlay(now);
        self.poll_seeks(now);
        self.poll_shortcuts(now);
        let due: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, entry)| entry.session.poll_timeout() <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            if let Some(entry) = self.sessions.get_mut(&number) {
                entry.session.handle_timeout(now);
                self.touched.insert(number);
            }
            self.doubt_way(number, now);
        }
        self.poll_handshakes(now);
        self.poll_validity(now);
        self.poll_requests(now);
        self.poll_opening(now);
        self.settle(now);
    }

    fn calendar(&self, now: Time) -> Calendar {
        Calendar(self.epoch.0 + now.since(Time::ZERO).as_secs())
    }

    /// Drains what inputs have left behind: events and signals of the sessions they touched.
    fn settle(&mut self, now: Time) {
        if self.reset_oldest {
            self.relieve();
        }
        self.settle_sessions(now);
        // Sessions may have begun to look for their peers.
        self.settle_overlay(now);
        self.settle_sessions(now);
    }

    fn settle_sessions(&mut self, now: Time) {
        while let Some(number) = self.touched.pop_first() {
            while let Some(event) = self
                .sessions
                .get_mut(&number)
                .and_then(|e| e.session.poll_event())
            {
                self.session_event(number, event, now);
            }
            let Some(peer) = self.sessions.get(&number).map(|e| e.session.peer()) else {
                continue;
            };
            self.let_requests_go(number, now);
            self.send_signals(number, peer);
            let Some(entry) = self.sessions.get(&number) else {
                continue;
            };
            if entry.session.destination() != entry.aim.as_ref() {
                self.reroute(number, None, now);
            }
            let Some(entry) = self.sessions.get(&number) else {
                continue;
            };
            if entry.session.wants_to_send(now)
                && let Some(carrier) = &entry.carrier
            {
                self.hot.insert(carrier.link);
            }
        }
    }

    /// Sends the Re-Hellos of a session: questions everywhere, answers to where the question came from, by
    /// a link to the peer and through relays.
    fn send_signals(&mut self, number: u32, peer: Name) {
        while let Some(signal) = self
            .sessions
            .get_mut(&number)
            .and_then(|entry| entry.session.poll_signal())
        {
            let places: Vec<&Location> = match &signal.to {
                HelloTo::Everywhere(places) => places.iter().collect(),
                HelloTo::At(place) => vec![place],
            };
            let ways = self.all_ways(peer, &places);
            self.send_signal(ways, &signal.message);
        }
    }

    /// While memory is used up, ends the session that was suspended first, of those that hold any.
    fn relieve(&mut self) {
        let budget = self.settings.session.budget.clone();
        let mut starved = budget.take_starved();
        while starved || budget.is_exhausted() {
            starved = false;
            let oldest = self
                .sessions
                .iter()
                .filter(|(_, entry)| entry.session.is_suspended() && entry.session.holds_memory())
                .min_by_key(|(_, entry)| entry.session.since())
                .map(|(number, _)| *number);
            let Some(entry) = oldest.and_then(|number| self.sessions.get_mut(&number)) else {
                return;
            };
            entry.session.end(EndReason::MemoryPressure);
            self.touched.extend(oldest);
        }
    }

    fn session_event(&mut self, number: u32, event: SessionEvent, now: Time) {
        let Some(entry) = self.sessions.get_mut(&number) else {
            return;
        };
        let peer = entry.session.peer();
        let key = |channel: ChannelId| ChannelKey {
            session: number,
            channel,
        };
        let out = match event {
            SessionEvent::Incoming { channel, target } => {
                entry.spare = false;
                Event::Incoming(key(channel), peer, target)
            }
            SessionEvent::Opened(channel) => Event::Opened(key(channel)),
            SessionEvent::OpenFailed(channel, why) => Event::OpenFailed(key(channel), why),
            SessionEvent::Woken(channel) => Event::Woken(key(channel)),
            SessionEvent::Reset(channel, code) => Event::Reset(key(channel), code),
            SessionEvent::Closed(channel) => Event::Closed(key(channel)),
            SessionEvent::Confirmed => {
                if !entry.spare {
                    self.confirmed(number, peer, now);
                }
                return;
            }
            SessionEvent::Suspended(reason) => {
                self.seek(peer, now);
                self.events.push_back(Event::WantLink(peer));
                Event::Suspended(number, peer, reason)
            }
            SessionEvent::Resumed => {
                self.seek_done(peer);
                self.events.push_back(Event::Resumed(number, peer));
                self.check_validity(number, now);
                self.poll_requests(now);
                return;
            }
            SessionEvent::Paused(cause, lasted) => Event::Paused(number, peer, cause, lasted),
            SessionEvent::CheckState => {
                self.check_state(number, now);
                return;
            }
            SessionEvent::Ended(reason) => {
                self.forget_session(number);
                Event::SessionDown(number, peer, reason)
            }
        };
        self.events.push_back(out);
    }

    fn forget_session(&mut self, number: u32) {
        let Some(entry) = self.sessions.remove(&number) else {
            return;
        };
        self.by_index.remove(&entry.session.local_index());
        let carrier = entry.carrier.map(|carrier| carrier.link);
        if let Some(link) = carrier.and_then(|link| self.links.get_mut(&link)) {
            link.riders.retain(|rider| *rider != number);
        }
        if let Some(peer) = self.peers.get_mut(&entry.session.peer()) {
            peer.sessions.retain(|known| *known != number);
        }
    }

    /// The peer can be reached: whatever waits for that goes on. `boot` is its boot id, as far as it is known.
    fn peer_reachable(&mut self, peer: Name, boot: Option<[u8; 16]>, now: Time) {
        let sessions = self
            .peers
            .get(&peer)
            .map(|known| known.sessions.clone())
            .unwrap_or_default();
        for number in sessions {
            let Some(entry) = self.sessions.get_mut(&number) else {
                continue;
            };
            let restarted = boot.is_some() && entry.boot.is_some() && entry.boot != boot;
            if entry.session.is_suspended() || entry.session.is_suspected() {
                entry.session.link_event(LinkEvent::Up, now);
                self.touched.insert(number);
            }
            if restarted {
                self.check_state(number, now);
            }
        }
        if let Some(attempt) = self
            .peers
            .get_mut(&peer)
            .and_then(|known| known.attempt.as_mut())
        {
            attempt.hurry(now);
            self.poll_handshakes(now);
        }
        self.poll_requests(now);
    }

    /// The machine woke up or its addresses changed: every link is asked, every pause of a retry ends.
    pub fn network_changed(&mut self, now: Time) {
        for (number, link) in &mut self.links {
            link.suspect(now);
            self.hot.insert(*number);
        }
        for (number, entry) in &mut self.sessions {
            if entry.session.is_suspended() {
                entry.session.link_event(LinkEvent::Up, now);
            } else {
                entry.session.probe();
            }
            self.touched.insert(*number);
        }
        self.settle(now);
    }

    /// The machine has slept for `slept`, up to now: whatever it knew of the network may be over.
    pub fn woke_up(&mut self, slept: std::time::Duration, now: Time) {
        for entry in self.sessions.values_mut() {
            entry.session.woke_up(slept, now);
        }
        self.network_changed(now);
    }

    /// A session, for the application's side of a channel.
    pub fn session(&mut self, number: u32) -> Option<&mut Session> {
        self.touched.insert(number);
        self.sessions
            .get_mut(&number)
            .map(|entry| &mut entry.session)
    }

    /// Drains what calls on [`Self::session`] have left behind.
    pub fn flush(&mut self, now: Time) {
        self.settle(now);
    }

    /// The link that carries a session, if there is one.
    pub fn link_of(&self, session: u32) -> Option<LinkNumber> {
        let carrier = self.sessions.get(&session)?.carrier.as_ref();
        carrier.map(|carrier| carrier.link)
    }

    /// Ends a session: goodbye to the peer, reset to every channel. False when there is none.
    pub fn kill_session(&mut self, number: u32, now: Time) -> bool {
        self.end_session(number, ResetCode::Killed, now)
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

    /// Says goodbye to every peer, before the node stops.
    pub fn close(&mut self, now: Time) {
        for (number, entry) in &mut self.sessions {
            entry.session.close();
            self.touched.insert(*number);
        }
        for ticket in std::mem::take(&mut self.requests).into_tickets() {
            self.events
                .push_back(Event::Unassigned(ticket, OpenFailure::General));
        }
        self.settle(now);
    }
}
