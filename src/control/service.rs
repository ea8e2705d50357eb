//! What the control socket asks of the running node.

use std::{fmt, future::Future, str::FromStr};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::control::overlay::{FoundStatus, HopStatus};
use crate::control::status::Status;
use crate::lcm::local::LocalConnection;
use crate::name::Name;
use crate::wire::failure::OpenFailure;
use crate::wire::target::{Host, Target};

/// The running node, as far as the control socket needs it. Futures may be dropped half-way.
pub trait Service: Send + Sync + 'static {
    /// The state of everything.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Ends a session or a channel, both sides being told; false if there is no such.
    fn kill(&self, what: Kill) -> impl Future<Output = bool> + Send;

    /// Reads the configuration again and takes over grants and routes, all or nothing; tells what
    /// changed, or why the old one stays.
    fn reload(&self) -> impl Future<Output = Result<String, String>> + Send;

    /// Which nodes may carry a connection to this destination, and what they are asked for. The list
    /// is not empty.
    fn choose(&self, host: &Host, port: u16) -> Result<(Vec<Name>, Target), OpenFailure>;

    /// Hands a connection to the LCM; false if the node is stopping.
    fn open(&self, connection: LocalConnection) -> impl Future<Output = bool> + Send;

    /// Looks a node, an alias or a full name, up in the directory.
    fn lookup(&self, node: &str) -> impl Future<Output = Result<FoundStatus, Unanswered>> + Send;

    /// Asks the nodes on the way to a node, one after the other, and tells each step; false if it ended
    /// before the node, or when nobody listens any more.
    fn trace(
        &self,
        node: &str,
        hops: mpsc::Sender<HopStatus>,
    ) -> impl Future<Output = Result<bool, Unanswered>> + Send;
}

/// Why nothing can be told of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// In one word.
    pub why: OpenFailure,
    /// For a person.
    pub message: String,
}

/// What `muses kill` ends.
///
/// Its text is `SESSION` or `SESSION/CHANNEL`: a decimal number, and the channel id in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "KillFields", into = "KillFields")]
pub enum Kill {
    /// A session with all its channels.
    Session(u32),
    /// One channel.
    Channel {
        /// Number of its session.
        session: u32,
        /// Its id on the wire.
        channel: u64,
    },
}

/// The JSON form of [`Kill`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KillFields {
    session: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<u64>,
}

impl From<KillFields> for Kill {
    fn from(fields: KillFields) -> Self {
        let session = fields.session;
        fields
            .channel
            .map_or(Self::Session(session), |channel| Self::Channel {
                session,
                channel,
            })
    }
}

impl From<Kill> for KillFields {
    fn from(kill: Kill) -> Self {
        match kill {
            Kill::Session(session) => Self {
                session,
                channel: None,
            },
            Kill::Channel { session, channel } => Self {
                session,
                channel: Some(channel),
            },
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "{session}"),
            Self::Channel { session, channel } => write!(f, "{session}/{channel:x}"),
        }
    }
}

impl FromStr for Kill {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected SESSION (a number) or SESSION/CHANNEL, as `muses status` shows them";
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_hexdigit());
        let (session, channel) = match text.split_once('/') {
            Some((session, channel)) => (session, Some(channel)),
            None => (text, None),
        };
        if !digits(session) || !channel.is_none_or(digits) {
            return Err(wrong);
        }
        let session = session.parse().map_err(|_| wrong)?;
        let Some(channel) = channel else {
            return Ok(Self::Session(session));
        };
        let channel = u64::from_str_radix(channel, 16).map_err(|_| wrong)?;
        Ok(Self::Channel { session, channel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_kill_reads_back_from_text_and_json() {
        let channel = Kill::Channel {
            session: 7,
            channel: u64::MAX,
        };
        for kill in [Kill::Session(0), Kill::Session(u32::MAX), channel] {
            assert_eq!(kill.to_string().parse(), Ok(kill));
            let json = serde_json::to_string(&kill).unwrap();
            assert_eq!(serde_json::from_str::<Kill>(&json).unwrap(), kill);
        }
        assert_eq!(
            "3/1f".parse(),
            Ok(Kill::Channel {
                session: 3,
                channel: 0x1f
            })
        );
        for text in [
            "",
            "x",
            "+1",
            "-1",
            "1/",
            "/1",
            "1/+f",
            "1/2/3",
            "4294967296",
            "1/10000000000000000",
        ] {
            assert!(text.parse::<Kill>().is_err(), "{text}");
        }
    }
}
