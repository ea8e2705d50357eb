//! What the daemon tells about itself: the data behind `muses status`.
//!
//! The JSON form is a contract with scripts: fields may be added, none may go or change its meaning.

use serde::{Deserialize, Serialize};

use crate::control::overlay::{OverlayStatus, WayStatus};

/// The whole node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The node's name.
    pub name: String,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// Sessions with other nodes.
    pub sessions: Vec<SessionStatus>,
    /// Links to neighbours.
    pub links: Vec<LinkStatus>,
    /// Memory under the budget of `[limits] memory`.
    pub memory: MemoryStatus,
    /// Open listeners, as `KIND ADDRESS`.
    pub listeners: Vec<String>,
    /// The node's part in the overlay; null while the core does not answer.
    pub overlay: Option<OverlayStatus>,
}

/// One session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStatus {
    /// Number of the session within this run of the node; what `muses kill` takes.
    pub id: u32,
    /// Name of the far side.
    pub peer: String,
    /// Its alias here, if it has one.
    pub alias: Option<String>,
    /// `live`, `suspended` or `handshake`.
    pub state: String,
    /// Why it is in this state.
    pub reason: String,
    /// Seconds since it came into this state; `since` in JSON.
    #[serde(rename = "since")]
    pub since_s: f64,
    /// Milliseconds since the far side last answered.
    pub last_answer_ms: Option<u64>,
    /// Full handshakes so far; resumption adds none.
    pub handshakes: u64,
    /// Resumptions so far.
    pub resumes: u64,
    /// Packets that did not open: forged, or spoilt on their way.
    pub forged: u64,
    /// Its channels.
    pub channels: Vec<ChannelStatus>,
    /// Cipher suite.
    pub suite: String,
    /// Smoothed round-trip time in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How its packets go.
    pub way: WayStatus,
}

/// One channel: one connection of an application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelStatus {
    /// What `muses kill` takes: the text of [`Kill::Channel`](crate::control::service::Kill).
    pub id: String,
    /// Where it leads.
    pub target: String,
    /// `opening`, `open`, `closing` or the like.
    pub state: String,
    /// Bytes of the application taken so far.
    pub sent: u64,
    /// Bytes given to the application so far.
    pub received: u64,
    /// Bytes sent and not yet acknowledged.
    pub unacked: u64,
    /// Seconds since it was opened.
    pub age_s: f64,
}

/// One link to a neighbour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkStatus {
    /// Name of the neighbour; empty while unknown.
    pub peer: String,
    /// Its alias here, if it has one.
    pub alias: Option<String>,
    /// Where it is, as `host:port`.
    pub endpoint: String,
    /// `out` or `in`.
    pub direction: String,
    /// `up`, `dialling`, `handshake`, `waiting` or the like.
    pub state: String,
    /// Seconds since it came into this state; `since` in JSON.
    #[serde(rename = "since")]
    pub since_s: f64,
    /// Milliseconds since something arrived on it.
    pub last_answer_ms: Option<u64>,
    /// The last error, if the link is not up.
    pub error: Option<String>,
    /// Seconds since that error; `error_age` in JSON.
    #[serde(rename = "error_age")]
    pub error_age_s: Option<f64>,
    /// `good`, or `doubtful`: it owes an answer for too long already. Null if the link is not up.
    pub health: Option<String>,
    /// Round trip of the last ping in milliseconds; null before the first answer.
    pub rtt_ms: Option<f64>,
    /// It carries only sessions between its two ends.
    pub shortcut: bool,
}

/// Memory under the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStatus {
    /// Bytes that are taken: windows of channels, frames of others that wait, records of the directory.
    pub used: u64,
    /// Bytes allowed.
    pub limit: u64,
}
