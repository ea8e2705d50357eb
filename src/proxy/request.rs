//! One request for a connection, in whichever of the two protocols the client speaks.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::http;
use crate::proxy::preface::Preface;
use crate::proxy::socks;
use crate::proxy::users::Users;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Host;

/// What a client asked for.
#[derive(Debug)]
pub(crate) struct Request {
    /// Host, never resolved here.
    pub(crate) host: Host,
    /// Port; zero is for the router and the far side to judge.
    pub(crate) port: u16,
    /// Tells the client that it is connected.
    pub(crate) success: Vec<u8>,
    /// Tells the client why it is not.
    pub(crate) failure: fn(OpenFailure) -> Vec<u8>,
}

/// Why a preface led to no request. What the client is to be told waits in the preface.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// The client ended or broke the connection before its request was complete.
    #[error("the client went away")]
    Gone(#[source] io::Error),
    /// The first byte belongs to neither protocol: no reply (R-F3).
    #[error("the client speaks neither SOCKS5 nor HTTP but {0}")]
    Stranger(&'static str),
    /// None of the login methods fits.
    #[error("the client offers no login that is allowed here")]
    Method,
    /// Wrong user or password, or none where one is required.
    #[error("wrong user or password, or none")]
    Login,
    /// Something else than CONNECT.
    #[error("the client asked for something else than a connection")]
    Command,
    /// An address type that SOCKS5 does not define.
    #[error("unknown address type")]
    AddressType,
    /// A host that is no name and no address (R-F4).
    #[error("the host is no valid name")]
    Host,
    /// Bytes that the protocol does not allow.
    #[error("malformed request")]
    Malformed,
    /// An HTTP head above its limit.
    #[error("the request is too large")]
    TooLarge,
}

impl Refusal {
    /// The client stopped sending inside its request.
    pub(crate) fn ended() -> Self {
        Self::Gone(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Reads a request: the first byte decides the protocol (R-F3).
///
/// Waits as long as the client does; the caller sets the deadline. Must not be used again after it
/// was dropped half-way.
pub(crate) async fn read<S>(
    preface: &mut Preface<S>,
    users: Option<&Users>,
) -> Result<Request, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if preface.fill().await.map_err(Refusal::Gone)? == 0 {
        return Err(Refusal::ended());
    }
    match preface.unread().first() {
        Some(0x05) => socks::read(preface, users).await,
        Some(b'A'..=b'Z') => http::read(preface, users).await,
        Some(0x04) => Err(Refusal::Stranger("SOCKS4")),
        Some(0x16) => Err(Refusal::Stranger("TLS")),
        Some(_) | None => Err(Refusal::Stranger("something unknown")),
    }
}
