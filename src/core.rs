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

mod clock;
mod deadlines;
mod detour;
mod event;
mod farewell;
mod gate;
mod half_open;
mod handshakes;
mod links;
mod memory;
mod overlay;
mod paths;
mod requests;
mod seek;
mod shortcuts;
mod signals;
mod strangers;
#[cfg(test)]
mod tests;
mod validity;
mod view;

pub use event::{ChannelKey, Event, LinkEnd, NoHandshake, Ticket};
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
use crate::core::deadlines::Deadlines;
use crate::core::detour::Detour;
use crate::core::gate::{Bucket, Gate, Meter};
use crate::core::handshakes::Attempt;
use crate::core::links::Link;
use crate::core::memory::Loan;
use crate::core::paths::Carrier;
use crate::core::requests::Requests;
use crate::core::seek::Seek;
use crate::core::shortcuts::Shortcut;
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::session::{Event as SessionEvent, LinkEvent, Options, Session};
use crate::srm::budget::Budget;
use crate::ssm::handshake::Cookie;
use crate::ssm::suite::Suite;
use crate::time::{Almanac, Calendar, Time};
use crate::wire::frame::ChannelId;
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
    /// Whether it links to others by itself: to the peers of sessions that go through relays, and to whoever
    /// would take over from the tree's root.
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
    /// It stands in the line of that link.
    in_line: bool,
    /// The place of the peer for which that was found.
    aim: Option<Location>,
    /// Links that the last packet took which came for it, as its relays tell.
    hops: Option<u8>,
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
    /// It has proved its name by a session or a link: Hellos may be replays.
    met: bool,
    /// It stands among the strangers.
    watched: bool,
    /// Sessions, the newest last.
    sessions: Vec<u32>,
    /// What its sessions hold of the memory.
    memory: Option<Budget>,
    /// Sessions that it began and of which no packet ever opened here, the one last spoken of last.
    unheard: VecDeque<[u8; 32]>,
    attempt: Option<Attempt>,
    /// What a loaded peer wants to see with our next Hello, and since when we have it.
    cookie: Option<(Cookie, Time)>,
    /// Where it hangs, and where it can be dialled, by its newest record in the directory.
    places: Vec<Location>,
    endpoints: Vec<String>,
    seek: Seek,
    detour: Detour,
    shortcut: Shortcut,
    /// When it was told last that it shares no cipher suite with us.
    no_suite_at: Option<Time>,
    /// A link to it would help the tree.
    tie_wanted: bool,
    /// Handshakes that it may cause as a neighbour, and Hellos that came from it as one.
    bucket: Bucket,
    arrivals: Meter,
    /// Re-Hellos that all sessions with it may send by every way (R-R8).
    asks: Bucket,
}

/// One node without its sockets.
#[derive(Debug)]
pub struct Core {
    me: Arc<LocalParty>,
    settings: Settings,
    random: Random,
    almanac: Almanac,
    links: BTreeMap<LinkNumber, Link>,
    next_link: LinkNumber,
    neighbours: Neighbours,
    overlay: Overlay,
    /// Frames of other nodes that wait here for their turn.
    relay: Relay,
    /// Who is looked up under which number.
    lookups: BTreeMap<u64, Name>,
    /// Who has no part here (R-I5).
    denied: BTreeSet<Name>,
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
    /// Names that were not met yet, and when each is looked at again.
    strangers: VecDeque<(Time, Name)>,
    /// Whether suspended sessions give way when memory is used up (R-X3).
    reset_oldest: bool,
    loan: Loan,
    /// When its links say goodbye, since the node stops.
    leave_at: Time,
    /// Sessions that may have something to say.
    touched: BTreeSet<u32>,
    /// When each session has to be looked at.
    deadlines: Deadlines<u32>,
    /// When links, handshakes and searches have to be looked at: never later than any of them is due.
    chores_due: Time,
    /// That may have changed, by more than a packet.
    stirred: bool,
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
            almanac: Almanac::new(epoch, Time::ZERO),
            links: BTreeMap::new(),
            next_link: 0,
            neighbours: Neighbours::default(),
            overlay,
            relay: Relay::new(Bounds::default()),
            lookups: BTreeMap::new(),
            denied: BTreeSet::new(),
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            by_index: BTreeMap::new(),
            gate,
            checked_at: Time::ZERO,
            requests: Requests::default(),
            next_ticket: 0,
            opening: VecDeque::new(),
            strangers: VecDeque::new(),
            reset_oldest: false,
            loan: Loan::Impossible,
            leave_at: Time::NEVER,
            touched: BTreeSet::new(),
            deadlines: Deadlines::default(),
            chores_due: Time::NEVER,
            stirred: false,
            hot: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    /// This node's name.
    pub fn name(&self) -> Name {
        self.me.name()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do next, or a little before.
    pub fn poll_timeout(&self) -> Time {
        debug_assert!(
            self.chores_due <= self.first_chore(),
            "missed: links {:?} searches {:?} shortcuts {:?} half-open {:?}, known {:?}",
            self.links_due_at(),
            self.seeks_due_at(),
            self.shortcuts_due_at(),
            self.half_open_due_at(),
            self.chores_due
        );
        debug_assert!(
            self.sessions
                .values()
                .all(|entry| self.deadlines.first() <= entry.session.poll_timeout()),
            "a session was missed"
        );
        let requests = self.requests.due_at();
        let opening = self.opening_due_at();
        let first = requests.into_iter().chain(opening).min();
        first
            .unwrap_or(Time::NEVER)
            .min(self.deadlines.first())
            .min(self.chores_due)
            .min(self.overlay.poll_timeout())
            .min(self.recheck_due_at())
            .min(self.leave_at)
    }

    /// When the first of the things is due that only few calls change, and that are many.
    fn first_chore(&self) -> Time {
        let attempts = self
            .peers
            .values()
            .filter_map(|peer| peer.attempt.as_ref())
            .map(Attempt::due_at)
            .min();
        attempts
            .unwrap_or(Time::NEVER)
            .min(self.links_due_at())
            .min(self.seeks_due_at())
            .min(self.shortcuts_due_at())
            .min(self.half_open_due_at())
            .min(self.strangers_due_at())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.overlay.handle_timeout(now);
        self.settle_overlay(now);
        if self.chores_due <= now {
            self.poll_links(now);
            self.poll_seeks(now);
            self.poll_shortcuts(now);
            self.poll_handshakes(now);
            self.poll_strangers(now);
            self.stirred = true;
        }
        for number in self.deadlines.take_due(now) {
            if let Some(entry) = self.sessions.get_mut(&number) {
                if entry.session.poll_timeout() <= now {
                    entry.session.handle_timeout(now);
                }
                self.touched.insert(number);
            }
            self.doubt_way(number, now);
        }
        self.poll_validity(now);
        self.poll_requests(now);
        self.poll_opening(now);
        self.poll_farewell(now);
        self.settle_few(now);
    }

    /// Drains what inputs have left behind: events and signals of the sessions they touched.
    fn settle(&mut self, now: Time) {
        self.stirred = true;
        self.settle_few(now);
    }

    /// The same after something that happens with every byte: what is due is not asked of everybody.
    fn settle_few(&mut self, now: Time) {
        self.balance();
        if self.reset_oldest {
            self.relieve();
        }
        self.settle_sessions(now);
        // Sessions may have begun to look for their peers.
        self.settle_overlay(now);
        self.settle_sessions(now);
        if std::mem::take(&mut self.stirred) {
            self.note_use_of_links(now);
            self.chores_due = self.first_chore();
        }
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
            self.send_signals(number, peer, now);
            let Some(entry) = self.sessions.get(&number) else {
                continue;
            };
            if entry.session.destination() != entry.aim.as_ref() {
                self.reroute(number, None, now);
            }
            let Some(entry) = self.sessions.get_mut(&number) else {
                continue;
            };
            self.deadlines.note(number, entry.session.poll_timeout());
            if !entry.in_line
                && entry.session.wants_to_send(now)
                && let Some(carrier) = &entry.carrier
                && let Some(link) = self.links.get_mut(&carrier.link)
            {
                entry.in_line = true;
                link.line.push_back(number);
                self.hot.insert(carrier.link);
            }
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
        self.stirred |= !matches!(
            event,
            SessionEvent::Woken(_)
                | SessionEvent::Opened(_)
                | SessionEvent::OpenFailed(..)
                | SessionEvent::Reset(..)
                | SessionEvent::Closed(_)
        );
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
            SessionEvent::Unanswered => {
                self.suspect_carrier(number, now);
                self.seek_silent(peer, now);
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
            SessionEvent::Forged(count) => Event::Forged(number, peer, count),
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
        self.deadlines.remove(number);
        self.by_index.remove(&entry.session.local_index());
        let carrier = entry.carrier.map(|carrier| carrier.link);
        if let Some(link) = carrier.and_then(|link| self.links.get_mut(&link)) {
            link.riders.retain(|rider| *rider != number);
            link.line.retain(|rider| *rider != number);
        }
        if let Some(peer) = self.peers.get_mut(&entry.session.peer()) {
            peer.sessions.retain(|known| *known != number);
            if !entry.session.is_confirmed() {
                peer.note_unheard(entry.session.sess_id());
            }
        }
    }

    /// A link to the peer is up, whose boot id is this: whatever waits for that goes on.
    fn peer_linked(&mut self, peer: Name, boot: [u8; 16], now: Time) {
        let sessions = self
            .peers
            .get(&peer)
            .map(|known| known.sessions.clone())
            .unwrap_or_default();
        for number in sessions {
            let Some(entry) = self.sessions.get_mut(&number) else {
                continue;
            };
            let restarted = entry.boot.is_some_and(|known| known != boot);
            if entry.session.is_suspended() || entry.session.is_suspected() {
                entry.session.link_event(LinkEvent::Up, now);
                self.touched.insert(number);
            }
            if restarted {
                self.check_state(number, now);
            }
        }
        self.hurry(peer, now);
    }

    /// A way to the peer has come up: handshakes and requests that wait for one go on.
    fn hurry(&mut self, peer: Name, now: Time) {
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

    /// A session, for the application's side of a channel.
    pub fn session(&mut self, number: u32) -> Option<&mut Session> {
        self.touched.insert(number);
        self.sessions
            .get_mut(&number)
            .map(|entry| &mut entry.session)
    }

    /// Drains what calls on [`Self::session`] have left behind.
    pub fn flush(&mut self, now: Time) {
        self.settle_few(now);
    }

    /// The link that carries a session, if there is one.
    pub fn link_of(&self, session: u32) -> Option<LinkNumber> {
        let carrier = self.sessions.get(&session)?.carrier.as_ref();
        carrier.map(|carrier| carrier.link)
    }
}
