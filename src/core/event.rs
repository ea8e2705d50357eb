//! What a node's core tells its driver.

use std::time::Duration;

use crate::cloak::neighbours::Link;
use crate::cloak::overlay::{Absence, Found, Misbehaviour, Traced};
use crate::link::frames::FrameError;
use crate::name::Name;
use crate::session::{EndReason, ResetCode};
use crate::srm::resume::Reason;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::target::Target;

/// A channel of this node: the LCM's key. Session numbers are local and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey {
    /// Local number of the session.
    pub session: u32,
    /// The channel within it.
    pub channel: ChannelId,
}

/// A request for a channel that may have to wait for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something the driver must act on.
#[derive(Clone, Debug)]
pub enum Event {
    /// A waiting request has its channel; the far side has not answered yet.
    Assigned(Ticket, ChannelKey),
    /// A waiting request found no path or no room.
    Unassigned(Ticket, OpenFailure),
    /// A peer wants a channel.
    Incoming(ChannelKey, Name, Target),
    /// The far side has opened the channel.
    Opened(ChannelKey),
    /// The far side could not open the channel; it is gone.
    OpenFailed(ChannelKey, OpenFailure),
    /// Look at the channel's bytes again.
    Woken(ChannelKey),
    /// The channel was cut; it is gone.
    Reset(ChannelKey, ResetCode),
    /// The channel has ended cleanly; it is gone.
    Closed(ChannelKey),
    /// A session is there, or begins anew under its number: nothing of it had reached the peer, all of it goes
    /// again.
    SessionUp(u32, Name),
    /// A session's peer cannot be reached.
    Suspended(u32, Name, Reason),
    /// A suspended session goes on.
    Resumed(u32, Name),
    /// A session's bytes move again, after nothing could for this long, for this reason.
    Paused(u32, Name, Reason, Duration),
    /// A handshake with a peer came to nothing so far.
    NoHandshake(Name, NoHandshake),
    /// So many packets and Re-Hellos of a session were forged or spoilt since this was told last.
    Forged(u32, Name, u64),
    /// A session is over.
    SessionDown(u32, Name, EndReason),
    /// The link owes an answer: dial a second one beside it.
    LinkDoubtful(Link),
    /// The link is dead: close it and call `link_down`.
    LinkDead(Link),
    /// Channels wait for a link to this peer: dial at once.
    WantLink(Name),
    /// A direct link to this node would help; it can be dialled at these endpoints. A shortcut, if it says
    /// true: for sessions with it that go through relays.
    Dial(Name, Vec<String>, bool),
    /// No neighbour has a place in the overlay for this node; this one was asked last.
    NoPlace(Name),
    /// A look-up in the directory found this record.
    Found(Box<Found>),
    /// The number of this node's newest record in the directory, to be written down.
    Published(u64),
    /// A look-up has seen a record of this number of this node, or the word that it left: no older one is
    /// believed any more (R-D5).
    Seen(Name, u64),
    /// A look-up in the directory found nothing, and why.
    NotFound(Name, Absence),
    /// A node on a traced way has answered.
    Traced(Traced),
}

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHandshake {
    /// The peer can be reached, and does not answer ours.
    Unanswered,
    /// The peer's names none of the cipher suites that this node allows.
    NoSuite,
}

impl std::fmt::Display for NoHandshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unanswered => {
                "it does not answer: is it stopped, or are its [session] suites or its network others?"
            }
            Self::NoSuite => "refused: it offers none of this node's [session] suites",
        })
    }
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkEnd {
    /// The neighbour sent something that is no frame of this link.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The neighbour is leaving.
    #[error("the neighbour is leaving")]
    Goodbye,
    /// The neighbour breaks the rules of the overlay.
    #[error(transparent)]
    Overlay(#[from] Misbehaviour),
    /// The link was ended before.
    #[error("the link was ended before")]
    Unknown,
}
