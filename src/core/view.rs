//! What status shows of a core: plain values, taken in one go.

pub(super) mod overlay;

use std::time::Duration;

use crate::core::Core;
use crate::name::Name;
use crate::session::{Audit, Phase};
use crate::srm::resume::Reason;
use crate::ssm::suite::Suite;
use crate::time::Time;
use crate::wire::frame::ChannelId;
use crate::wire::location::Location;
use crate::wire::target::Target;

/// State of a session, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Its handshake is not confirmed.
    Handshake,
    /// It carries traffic.
    Live,
    /// Its peer cannot be reached.
    Suspended,
}

/// A channel, for status.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Its id.
    pub id: ChannelId,
    /// Where it leads.
    pub target: Target,
    /// Where it is in its life.
    pub phase: Phase,
    /// Bytes of ours that the peer has.
    pub acknowledged: u64,
    /// Bytes kept for the peer.
    pub kept: usize,
    /// Bytes that our side took.
    pub received: u64,
    /// Since it was opened.
    pub age: Duration,
}

/// A session, for status.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its local number.
    pub number: u32,
    /// The other end.
    pub peer: Name,
    /// Its state.
    pub state: SessionState,
    /// Why the last exchange of Re-Hellos began.
    pub reason: Reason,
    /// Time in this state.
    pub since: Duration,
    /// Age of the last authenticated answer.
    pub last_answer: Duration,
    /// Handshakes made for it.
    pub handshakes: u64,
    /// Moves to new keys without a handshake.
    pub resumes: u64,
    /// Cipher suite.
    pub suite: Suite,
    /// Round trip, once measured.
    pub rtt: Option<Duration>,
    /// Packets and Re-Hellos that were forged, or spoilt on their way.
    pub forged: u64,
    /// Its channels.
    pub channels: Vec<ChannelView>,
    /// How its packets leave; none while no link carries it.
    pub way: Option<Way>,
    /// Links that the peer's last packet took, as its relays tell.
    pub hops: Option<u8>,
    /// Where the peer hangs, as far as it is known.
    pub place: Option<Location>,
}

/// How the packets of a session leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a link to the peer.
    Direct,
    /// Through others, first to this neighbour.
    By(Name),
}

/// A link, for status.
#[derive(Clone, Debug)]
pub struct LinkView {
    /// The neighbour.
    pub peer: Name,
    /// Its end of the TCP connection.
    pub endpoint: String,
    /// Whether we dialled.
    pub dialled: bool,
    /// Time since it came up.
    pub age: Duration,
    /// Age of the last frame that opened.
    pub last_answer: Duration,
    /// Round trip of the last ping.
    pub rtt: Option<Duration>,
    /// The neighbour owes an answer for too long already.
    pub doubtful: bool,
    /// Something has come by it: the neighbour takes it.
    pub heard: bool,
    /// It carries only sessions between its two ends.
    pub shortcut: bool,
}

impl Core {
    /// What the simulator checks of each session, by SessID.
    pub(crate) fn audits(&self) -> impl Iterator<Item = ([u8; 32], Audit)> {
        self.sessions
            .values()
            .filter(|entry| entry.session.is_confirmed())
            .map(|entry| (entry.session.sess_id(), entry.session.audit()))
    }

    /// Every session.
    pub fn session_views(&self, now: Time) -> Vec<SessionView> {
        self.sessions
            .iter()
            .map(|(number, entry)| {
                let session = &entry.session;
                let state = match (session.is_confirmed(), session.is_suspended()) {
                    (false, _) => SessionState::Handshake,
                    (true, true) => SessionState::Suspended,
                    (true, false) => SessionState::Live,
                };
                let channels = session.channels().map(|(id, channel)| {
                    let (acknowledged, kept, received) = channel.counts();
                    ChannelView {
                        id,
                        target: channel.target().clone(),
                        phase: channel.phase(),
                        acknowledged,
                        kept,
                        received,
                        age: now.since(channel.opened_at()),
                    }
                });
                SessionView {
                    number: *number,
                    peer: session.peer(),
                    state,
                    reason: session.reason(),
                    since: now.since(session.since()),
                    last_answer: now.since(session.heard_at()),
                    handshakes: entry.handshakes,
                    resumes: session.stats().resumes,
                    suite: session.suite(),
                    rtt: session.rtt(),
                    forged: session.stats().forged,
                    channels: channels.collect(),
                    way: self.way_of(entry),
                    hops: entry.hops,
                    place: self.place_of(entry),
                }
            })
            .collect()
    }

    /// Every link.
    pub fn link_views(&self, now: Time) -> Vec<LinkView> {
        self.links
            .values()
            .filter(|link| link.proved)
            .map(|link| LinkView {
                peer: link.peer,
                endpoint: link.endpoint.clone(),
                dialled: link.dialled,
                age: now.since(link.since),
                last_answer: link.life.silence(now),
                rtt: link.life.rtt(),
                doubtful: link.life.is_doubtful(),
                heard: link.heard,
                shortcut: link.shortcut,
            })
            .collect()
    }
}
