//! What a front end hands to the LCM: an application's connection and where it shall lead.

use std::{fmt, net::TcpStream, os::unix::net::UnixStream};

use tokio::sync::oneshot;

use crate::name::Name;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

/// A non-blocking stream to an application or a service, not yet registered with a runtime.
#[derive(Debug)]
pub enum LocalStream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket, such as one end of the pair behind `muses connect`.
    Unix(UnixStream),
}

/// What the application hears when the far side has answered its OPEN.
#[derive(Debug)]
pub enum Answer {
    /// Nothing: bytes simply flow, or the connection is reset (fixed forwards).
    Silent,
    /// These bytes before the first byte of the far side; a failure is told by the function, then
    /// the connection is closed (SOCKS5, HTTP CONNECT).
    Bytes {
        /// Sent when the channel is open.
        success: Vec<u8>,
        /// Sent when it failed.
        failure: fn(OpenFailure) -> Vec<u8>,
    },
    /// Told out of band; nothing but the channel's bytes goes through the stream (`muses connect`).
    Report {
        /// Receives the answer to the OPEN.
        opened: oneshot::Sender<Result<(), OpenFailure>>,
        /// Receives how the channel ended.
        ended: oneshot::Sender<Ending>,
    },
}

/// How a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both directions were closed and every byte arrived.
    Clean,
    /// One side reset it, or the session is gone: bytes may be missing.
    Cut,
}

/// A connection that wants a channel.
pub struct LocalConnection {
    /// The application's stream.
    pub stream: LocalStream,
    /// Bytes that the application sent behind its request; they are the channel's first bytes.
    pub early: Vec<u8>,
    /// The application's source port: the paper's LCM key. Zero where there is none.
    pub port: u16,
    /// Nodes to carry it, in order of preference; the next one is taken while the first is
    /// suspended. Never empty.
    pub via: Vec<Name>,
    /// Where it shall lead.
    pub target: Target,
    /// How the application hears the answer.
    pub answer: Answer,
}

impl fmt::Debug for LocalConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalConnection")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
