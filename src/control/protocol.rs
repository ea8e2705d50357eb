//! Requests and answers of the control socket, and their limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::overlay::{FoundStatus, HopStatus};
use crate::control::service::{Kill, Unanswered};
use crate::control::status::Status;
use crate::lcm::local::Ending;
use crate::wire::failure::OpenFailure;

/// Longest line that a caller may send, in bytes; above it the connection is closed. Chosen: a host
/// name of 255 bytes and its frame take below 400.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// A request must be complete this long after the connection was accepted.
pub const REQUEST_TIME: Duration = Duration::from_secs(5);
/// An answer must be taken within this time.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Connections of callers at one time; for a further one the one goes that has owed its request longest.
pub const CONNECTIONS_MAX: usize = 1024;
/// Of those, at most this many may be `connect`; the rest stays free for `status` and `kill`.
pub const PIPES_MAX: usize = 1000;

/// What a caller asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of everything.
    Status {},
    /// End a session or a channel.
    Kill(Kill),
    /// Read the configuration again.
    Reload {},
    /// Open a channel and hand its stream over.
    Connect {
        /// A name or an address in text form.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// Look a node up in the directory.
    Lookup {
        /// An alias or a full name.
        name: String,
    },
    /// Ask the nodes on the way to a node, one after the other.
    Trace {
        /// An alias or a full name.
        name: String,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The state of everything.
    Status(Box<Status>),
    /// False: there is no such session or channel.
    Killed(bool),
    /// What changed.
    Reloaded(String),
    /// The channel is open; a descriptor comes with it.
    Opened(bool),
    /// The channel is over.
    Ended(Outcome),
    /// What the directory says.
    Found(FoundStatus),
    /// A step of the way; more answers follow.
    Hop(HopStatus),
    /// The trace is over; false: before it reached the node.
    Traced(bool),
    /// The request was refused or failed.
    Error(String),
    /// The channel could not be opened, or the node could not be found.
    #[serde(untagged)]
    Failed {
        /// One word.
        failed: String,
        /// What the calling command shall exit with.
        exit: u8,
        /// For a person.
        message: String,
    },
}

/// What the caller says on the connection of an open channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Notice {
    /// Its input ended properly: closing the stream is no abort.
    Eof(bool),
}

/// How a channel ended, on the control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every byte arrived.
    Clean,
    /// Bytes may be missing.
    Cut,
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Clean => Self::Clean,
            Ending::Cut => Self::Cut,
        }
    }
}

impl From<OpenFailure> for Response {
    fn from(failure: OpenFailure) -> Self {
        Self::Failed {
            failed: word(failure).to_owned(),
            exit: failure.exit_code(),
            message: failure.to_string(),
        }
    }
}

impl From<Unanswered> for Response {
    fn from(unanswered: Unanswered) -> Self {
        Self::Failed {
            failed: word(unanswered.why).to_owned(),
            exit: unanswered.why.exit_code(),
            message: unanswered.message,
        }
    }
}

const fn word(failure: OpenFailure) -> &'static str {
    match failure {
        OpenFailure::General => "general",
        OpenFailure::Denied => "denied",
        OpenFailure::NetworkUnreachable => "network_unreachable",
        OpenFailure::HostUnreachable => "host_unreachable",
        OpenFailure::Refused => "refused",
        OpenFailure::TimedOut => "timed_out",
        OpenFailure::UnknownName => "unknown_name",
        OpenFailure::Limit => "limit",
        OpenFailure::NoPath => "no_path",
        OpenFailure::Cut => "cut",
    }
}

/// One line of the protocol. Empty if the value has no JSON form, which ours all have.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_have_the_documented_text() {
        let text = |value: &Response| String::from_utf8(line(value)).unwrap();
        assert_eq!(
            text(&OpenFailure::Refused.into()),
            "{\"failed\":\"refused\",\"exit\":111,\"message\":\"connection refused\"}\n"
        );
        assert_eq!(text(&Response::Opened(true)), "{\"opened\":true}\n");
        assert_eq!(
            text(&Response::Ended(Outcome::Cut)),
            "{\"ended\":\"cut\"}\n"
        );
        assert_eq!(line(&Notice::Eof(true)), b"{\"eof\":true}\n");
        assert_eq!(line(&Request::Status {}), b"{\"status\":{}}\n");
        let name = "gw".to_owned();
        assert_eq!(
            line(&Request::Trace { name }),
            b"{\"trace\":{\"name\":\"gw\"}}\n"
        );
        assert_eq!(text(&Response::Traced(false)), "{\"traced\":false}\n");
        let unanswered = Unanswered {
            why: OpenFailure::UnknownName,
            message: "who?".to_owned(),
        };
        assert_eq!(
            text(&unanswered.into()),
            "{\"failed\":\"unknown_name\",\"exit\":68,\"message\":\"who?\"}\n"
        );
        let kill = Request::Kill(Kill::Channel {
            session: 3,
            channel: 42,
        });
        assert_eq!(line(&kill), b"{\"kill\":{\"session\":3,\"channel\":42}}\n");
    }

    #[test]
    fn every_answer_reads_back() {
        for answer in [
            Response::Status(Box::default()),
            Response::Killed(false),
            Response::Reloaded("x".into()),
            Response::Opened(true),
            Response::Ended(Outcome::Clean),
            Response::Found(FoundStatus::default()),
            Response::Hop(HopStatus::default()),
            Response::Traced(true),
            Response::Error("y".into()),
            OpenFailure::NoPath.into(),
        ] {
            let text = line(&answer);
            assert_eq!(serde_json::from_slice::<Response>(&text).unwrap(), answer);
        }
    }

    #[test]
    fn unknown_requests_and_fields_are_refused() {
        for text in [
            "{}",
            "[]",
            "null",
            "{\"stat\":{}}",
            "{\"status\":{\"x\":1}}",
            "{\"kill\":{}}",
            "{\"kill\":{\"session\":-1}}",
            "{\"connect\":{\"host\":\"a\",\"port\":65536}}",
            "{\"connect\":{\"host\":\"a\",\"port\":1,\"x\":2}}",
            "{\"status\":{},\"reload\":{}}",
            "{\"lookup\":{}}",
            "{\"trace\":{\"name\":\"a\",\"left\":1}}",
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
