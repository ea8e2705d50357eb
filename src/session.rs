//! One end-to-end session: keys (SSM), reliability (SRM) and channels put together.
//!
//! # Inputs
//! [`Session::handle_packet`] and [`Session::handle_re_hello`] from below, [`Session::open`],
//! [`Session::space`], [`Session::finish`] … from above, [`Session::link_event`] and
//! [`Session::handle_timeout`] from the side; always with the time.
//!
//! # Outputs
//! Pulled until empty after each input: [`Session::poll_signal`] (Re-Hellos), [`Session::poll_packet`]
//! whenever a link has room, [`Session::poll_event`], [`Session::poll_timeout`].
//!
//! # Invariants
//! A packet number is used once per pair of keys; retransmission is new packets with old bytes. Bytes
//! reach the application in order and once; an end is shown only behind every byte before it, and
//! everything else is a reset. A session knows neither links nor addresses of the overlay.

mod anew;
mod audit;
mod channel;
mod event;
mod forged;
mod incoming;
mod outgoing;
mod pause;
mod schedule;
mod table;
#[cfg(test)]
mod tests;
mod timers;

pub use crate::srm::resume::HelloTo;
pub(crate) use audit::Audit;
pub use channel::{Channel, Phase};
pub use event::{EndReason, Event, Misbehaviour, ResetCode};
pub use incoming::Arrived;
pub use outgoing::{Sealed, Signal};
pub use timers::LinkEvent;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::limits::{PACKET_PLAIN_CHOSEN, PAIR_AGE, PAIR_BYTES, PAIR_PACKETS, PAIR_PACKETS_MAX};
use crate::name::Name;
use crate::random::Random;
use crate::session::pause::Pause;
use crate::session::schedule::Schedule;
use crate::session::timers::Doubt;
use crate::srm::acks::{AckPolicy, Acks};
use crate::srm::budget::Budget;
use crate::srm::flight::Flight;
use crate::srm::ranges::Ranges;
use crate::srm::resume::{Reason, Resume, Setup};
use crate::srm::rtt::Rtt;
use crate::srm::window::Window;
use crate::ssm::epoch::Epochs;
use crate::ssm::established::Established;
use crate::ssm::schedule::{Pair, Side};
use crate::ssm::suite::Suite;
use crate::time::Time;
use crate::wire::frame::ChannelId;
use crate::wire::location::Location;

/// Where arriving bytes go.
pub trait Delivery {
    /// Offers bytes of a channel to its application; says how many it took. What it does not take is
    /// kept, and [`Event::Woken`] tells that it is there.
    fn deliver(&mut self, channel: ChannelId, bytes: &[u8]) -> usize;
}

/// Settings of a session.
#[derive(Clone, Debug)]
pub struct Options {
    /// When acknowledgements go out.
    pub acks: AckPolicy,
    /// Memory shared with other sessions.
    pub budget: Budget,
    /// Longest suspension; `None` is unlimited.
    pub max_suspend: Option<Duration>,
    /// Longest row of unanswered Re-Hellos (the paper's `Max_j`); `None` is unlimited.
    pub max_j: Option<u32>,
    /// When a pair of keys is worn.
    pub key_use: KeyUse,
}

/// What a pair of keys may do before a side starts the next one (R-K5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Packets sealed.
    pub packets: u64,
    /// Packets sealed after which it seals no more; at most [`PAIR_PACKETS_MAX`].
    pub packets_max: u64,
    /// Bytes of plaintext sealed.
    pub bytes: u64,
    /// Age of a pair in use.
    pub age: Duration,
}

impl Default for KeyUse {
    fn default() -> Self {
        Self {
            packets: PAIR_PACKETS,
            packets_max: PAIR_PACKETS_MAX,
            bytes: PAIR_BYTES,
            age: PAIR_AGE,
        }
    }
}

/// Packets of one pair of keys.
#[derive(Debug)]
struct PairState {
    pair: Pair,
    acks: Acks,
    flight: Flight,
    highest: Option<u64>,
    /// Marked packets that the peer has told of.
    marked: u64,
}

impl PairState {
    fn new(pair: Pair) -> Self {
        Self {
            pair,
            acks: Acks::default(),
            flight: Flight::default(),
            highest: None,
            marked: 0,
        }
    }

    /// Marked packets that the peer tells of for the first time; `marked` is its count.
    fn told_marked(&mut self, marked: u64) -> u64 {
        let more = marked.saturating_sub(self.marked);
        self.marked += more;
        more
    }
}

/// Plain numbers for status and metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Packets that did not open: forged, replayed, or of erased keys.
    pub packets_dropped: u64,
    /// Packets and Re-Hellos that were forged, or spoilt on their way.
    pub forged: u64,
    /// Re-Hellos that no honest peer sends.
    pub impossible_hellos: u64,
    /// Moves to a new pair of keys.
    pub resumes: u64,
    /// Bytes of channels that were sent again.
    pub bytes_resent: u64,
    /// Bytes of channels that were sent, again or not.
    pub bytes_sent: u64,
}

/// Where the two ends of a session hang when it begins.
#[derive(Clone, Debug)]
pub struct Places {
    /// This end.
    pub own: Location,
    /// The peer, as far as the handshake shows it.
    pub peer: Location,
}

impl Places {
    /// Both at the ends of one link.
    pub const NEIGHBOURS: Self = Self {
        own: Location::Neighbour,
        peer: Location::Neighbour,
    };
}

/// A secure, resumable association between two names.
#[derive(Debug)]
pub struct Session {
    side: Side,
    peer: Name,
    sess_id: [u8; 32],
    suite: Suite,
    local_index: u64,
    peer_index: u64,
    options: Options,
    random: Random,
    epochs: Epochs,
    resume: Resume,
    pairs: VecDeque<PairState>,
    rtt: Rtt,
    /// Of the path that packets take.
    window: Window,
    packet_len: usize,
    /// Bytes of channels wait until then, even if the window has room.
    paced_until: Option<Time>,
    /// A packet of the peer has opened.
    heard: bool,
    finished: channel::Told,
    channels: BTreeMap<ChannelId, Channel>,
    opened_by_peer: Ranges,
    opens_pending: usize,
    /// Channels in [`Phase::Opening`].
    opening: usize,
    /// Refused channels that the peer has not heard of.
    stubs: usize,
    next_counter: u64,
    gone: VecDeque<ChannelId>,
    moved: Vec<ChannelId>,
    news: VecDeque<ChannelId>,
    schedule: Schedule,
    probe_due: bool,
    goodbye: Option<EndReason>,
    ended: bool,
    location: Location,
    heard_at: Time,
    sent_at: Time,
    live_since: Time,
    suspended_at: Option<Time>,
    pause: Option<Pause>,
    /// Cause of the last pause that was told.
    paused_for: Reason,
    doubt: Doubt,
    idle_since: Option<Time>,
    maintained_at: Time,
    events: VecDeque<Event>,
    stats: Stats,
    forged_told: forged::Told,
}

impl Session {
    /// The session behind a finished handshake. The responder's is not confirmed until the first
    /// packet opens (R-H4).
    pub fn new(
        established: &Established,
        places: Places,
        options: Options,
        random: &mut Random,
        now: Time,
    ) -> Self {
        let side = established.side;
        let setup = Setup {
            side,
            peer_location: places.peer,
            rtt: Duration::from_millis(100),
            early_data: false,
            unanswered_max: options.max_j,
        };
        let own = random.fork();
        let epochs = Epochs::new(established);
        Self {
            side,
            peer: established.peer(),
            sess_id: established.sess_id(),
            suite: established.suite(),
            local_index: established.local_index,
            peer_index: established.peer_index,
            options,
            random: own,
            epochs,
            resume: Resume::new(setup, now),
            pairs: VecDeque::from([PairState::new(Pair { a: 0, b: 0 })]),
            rtt: Rtt::default(),
            window: Window::new(0, false, now),
            packet_len: PACKET_PLAIN_CHOSEN,
            paced_until: None,
            heard: false,
            finished: channel::Told::Due,
            channels: BTreeMap::new(),
            opened_by_peer: Ranges::default(),
            opens_pending: 0,
            opening: 0,
            stubs: 0,
            next_counter: 1,
            gone: VecDeque::new(),
            moved: Vec::new(),
            news: VecDeque::new(),
            schedule: Schedule::default(),
            probe_due: false,
            goodbye: None,
            ended: false,
            location: places.own,
            heard_at: now,
            sent_at: now,
            live_since: now,
            suspended_at: None,
            pause: None,
            paused_for: Reason::Other,
            doubt: Doubt::None,
            idle_since: Some(now),
            maintained_at: now,
            events: VecDeque::new(),
            stats: Stats::default(),
            forged_told: forged::Told::default(),
        }
    }

    /// The other end.
    pub const fn peer(&self) -> Name {
        self.peer
    }

    /// Which side of the handshake this end was.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// pSessID-a ‖ pSessID-b.
    pub const fn sess_id(&self) -> [u8; 32] {
        self.sess_id
    }

    /// The agreed cipher suite.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The index by which the peer addresses this end.
    pub const fn local_index(&self) -> u64 {
        self.local_index
    }

    /// The index by which this end addresses the peer.
    pub const fn peer_index(&self) -> u64 {
        self.peer_index
    }

    /// Whether the peer has shown that it holds the keys.
    pub const fn is_confirmed(&self) -> bool {
        self.heard || matches!(self.side, Side::A)
    }

    /// Whether the peer cannot be reached.
    pub fn is_suspended(&self) -> bool {
        self.resume.is_suspended(&self.epochs)
    }

    /// Where the peer's packets go; nowhere while none may be sent.
    pub fn destination(&self) -> Option<&Location> {
        self.resume.destination(&self.epochs)
    }

    /// Whether the session is over.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Why nothing can move, or could not in the last pause; [`Reason::Other`] if there was none.
    pub fn reason(&self) -> Reason {
        self.pause.map_or(self.paused_for, |pause| pause.cause)
    }

    /// When the last packet of the peer opened.
    pub const fn heard_at(&self) -> Time {
        self.heard_at
    }

    /// Since when the session has been live or suspended.
    pub fn since(&self) -> Time {
        self.suspended_at.unwrap_or(self.live_since)
    }

    /// Round-trip time, once measured.
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt.get()
    }

    /// Counters.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The channels.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.channels.iter().map(|(id, channel)| (*id, channel))
    }

    /// Channels that we asked for and that have no answer.
    pub const fn opening(&self) -> usize {
        self.opening
    }

    /// Whether a channel of it holds memory of the budget.
    pub fn holds_memory(&self) -> bool {
        let holds = |phase| !matches!(phase, Phase::Refused(_) | Phase::Reset(_));
        self.channels.values().any(|channel| holds(channel.phase))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn rtt_or_default(&self) -> Duration {
        self.rtt.or(Duration::from_millis(50))
    }

    fn pair_state(&mut self, pair: Pair) -> &mut PairState {
        let known = self.pairs.iter().position(|state| state.pair == pair);
        let at = known.unwrap_or_else(|| {
            self.give_up_abandoned();
            self.pairs.push_back(PairState::new(pair));
            self.pairs.len() - 1
        });
        // The position was just found or made.
        &mut self.pairs[at]
    }
}
