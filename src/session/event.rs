//! What a session tells its owner.

use std::fmt;
use std::time::Duration;

use crate::srm::resume::Reason;
use crate::srm::send::Misbehaved;
use crate::wire::codec::DecodeError;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::target::Target;

/// Why a channel was reset; travels in RESET, for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCode {
    /// The application or the service reset its connection.
    Connection,
    /// The operator ended it.
    Killed,
    /// The grant that allowed it is gone.
    Forbidden,
    /// The peer has no state of it.
    SessionLost,
    /// The session has ended here.
    SessionEnded(EndReason),
    /// Another code.
    Other(u8),
}

impl ResetCode {
    /// The code in RESET.
    pub const fn code(self) -> u8 {
        match self {
            Self::Connection => 1,
            Self::Killed => 2,
            Self::Forbidden => 3,
            Self::SessionLost | Self::SessionEnded(_) => 4,
            Self::Other(code) => code,
        }
    }

    /// The reason behind a code.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Connection,
            2 => Self::Killed,
            3 => Self::Forbidden,
            4 => Self::SessionLost,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("connection reset"),
            Self::Killed => f.write_str("ended by the operator"),
            Self::Forbidden => f.write_str("no longer allowed"),
            Self::SessionLost => f.write_str("session lost"),
            Self::SessionEnded(why) => write!(f, "session lost: {why}"),
            Self::Other(code) => write!(f, "reason {code}"),
        }
    }
}

/// Something the owner must act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer wants a channel; answer with `accept` or `refuse`.
    Incoming {
        /// The channel.
        channel: ChannelId,
        /// Where it shall lead.
        target: Target,
    },
    /// The channel is open.
    Opened(ChannelId),
    /// The channel could not be opened; it is gone.
    OpenFailed(ChannelId, OpenFailure),
    /// Something about the channel's bytes changed: look at it again.
    Woken(ChannelId),
    /// The peer reset the channel; it is gone.
    Reset(ChannelId, ResetCode),
    /// The channel has ended cleanly in both directions and is gone.
    Closed(ChannelId),
    /// The handshake is confirmed: the peer has the keys.
    Confirmed,
    /// The peer owes an answer, and one to a question after it: it may have to be looked for.
    Unanswered,
    /// The peer cannot be reached, for this reason: local reads pause.
    Suspended(Reason),
    /// The session goes on under a new pair of keys.
    Resumed,
    /// Bytes move again, after nothing could for this long; suspended or not.
    Paused(Reason, Duration),
    /// So many packets and Re-Hellos more were forged or spoilt; told once a minute at most.
    Forged(u64),
    /// Two Re-Hellos were unanswered on a live path: ask the peer whether it still has the session.
    CheckState,
    /// The session has ended; every channel is gone.
    Ended(EndReason),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The peer said goodbye.
    Goodbye,
    /// We said goodbye.
    Local,
    /// Its node may not take part any more.
    Expelled,
    /// The peer has proved that its state is gone.
    PeerLostState,
    /// The peer broke the protocol.
    Misbehaved(Misbehaviour),
    /// So much was forged that one more could succeed.
    Forged,
    /// A counter reached its end.
    Exhausted,
    /// The peer's certificate is over, and it has shown no newer one.
    Expired,
    /// Suspended for longer than `max_suspend`.
    GivenUp,
    /// Asked `max_j` times without an answer.
    Unanswered,
    /// Suspended while memory was used up, and `on_memory_pressure` says that it gives way.
    MemoryPressure,
}

/// How a peer broke the protocol. It is to blame in every case, and only its session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A sealed packet held something that is no frame.
    #[error("sealed packet does not decode: {0}")]
    Frame(#[from] DecodeError),
    /// A channel's offsets do not fit.
    #[error("channel: {0}")]
    Channel(#[from] Misbehaved),
    /// It acknowledged a packet that was never sent.
    #[error("acknowledged a packet that was never sent")]
    AckOfUnsent,
    /// It opened a channel with an id that only we may give.
    #[error("opened a channel in our name")]
    ForeignId,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye => f.write_str("the peer said goodbye"),
            Self::Local => f.write_str("closed here"),
            Self::Expelled => {
                f.write_str("its node may not take part any more ([network] allow, deny)")
            }
            Self::PeerLostState => f.write_str("the peer restarted"),
            Self::Misbehaved(what) => write!(f, "the peer broke the protocol: {what}"),
            Self::Forged => f.write_str("too many forged packets"),
            Self::Exhausted => f.write_str("a counter is used up"),
            Self::Expired => f.write_str("the peer's certificate has expired"),
            Self::GivenUp => f.write_str("suspended for longer than max_suspend"),
            Self::Unanswered => f.write_str("asked max_j times without an answer"),
            Self::MemoryPressure => f.write_str(
                "memory is used up, and it was suspended for longest (on_memory_pressure)",
            ),
        }
    }
}
