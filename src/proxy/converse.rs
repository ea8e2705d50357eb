//! From an accepted stream to a place in the gate, or to a polite end.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::Permit;
use tokio::time::{Instant, timeout, timeout_at};

use crate::lcm::local::LocalConnection;
use crate::name::Name;
use crate::net::guests::Silence;
use crate::net::seldom::Seldom;
use crate::proxy::FrontEnd;
use crate::proxy::preface::Preface;
use crate::proxy::request;
use crate::proxy::request::Refusal;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

/// How long a connection waits for a place in the gate. Chosen: a burst is over by then.
const GATE_TIME: Duration = Duration::from_secs(5);
/// Time for a refusal to reach the client, from its first byte to the client's end.
const FAREWELL_TIME: Duration = Duration::from_secs(2);
/// Bytes read and dropped after a refusal, so that closing does not reset it away.
const FAREWELL_BYTES: u64 = 256 * 1024;

static STRANGERS: Seldom = Seldom::new(Duration::from_secs(60));
static LOGINS: Seldom = Seldom::new(Duration::from_secs(60));

/// A connection with a place in the gate.
pub(super) struct Admitted<'a, S> {
    pub(super) stream: S,
    pub(super) early: Vec<u8>,
    pub(super) via: Vec<Name>,
    pub(super) target: Target,
    pub(super) success: Vec<u8>,
    pub(super) failure: fn(OpenFailure) -> Vec<u8>,
    pub(super) permit: Permit<'a, LocalConnection>,
}

impl FrontEnd {
    /// Reads the request until `deadline`, ends the silence, routes it and takes a place in the gate. On
    /// any failure the client has been told and the stream is closed.
    pub(super) async fn converse<S>(
        &self,
        stream: S,
        silence: &Silence,
        deadline: Instant,
    ) -> Option<Admitted<'_, S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut preface = Preface::new(stream);
        let read = request::read(&mut preface, self.users.as_ref());
        let read = timeout_at(deadline, read).await;
        silence.end();
        let request = match read {
            Ok(Ok(request)) => request,
            Ok(Err(refusal)) => {
                note(&refusal);
                if !matches!(refusal, Refusal::Gone(_) | Refusal::Stranger(_)) {
                    part(preface).await;
                }
                return None;
            }
            Err(_) => {
                tracing::debug!("a client did not complete its request in time");
                return None;
            }
        };
        let routed = match self.router.choose(&request.host, request.port) {
            Ok((via, _)) if via.is_empty() => Err(OpenFailure::General),
            routed => routed,
        };
        let placed = match routed {
            Ok(routed) => self.place().await.map(|permit| (routed, permit)),
            Err(failure) => Err(failure),
        };
        match placed {
            Ok(((via, target), permit)) => {
                let (stream, early) = preface.into_parts();
                Some(Admitted {
                    stream,
                    early,
                    via,
                    target,
                    success: request.success,
                    failure: request.failure,
                    permit,
                })
            }
            Err(failure) => {
                tracing::debug!(%failure, "a connection was refused");
                preface.say(&(request.failure)(failure));
                part(preface).await;
                None
            }
        }
    }

    async fn place(&self) -> Result<Permit<'_, LocalConnection>, OpenFailure> {
        match timeout(GATE_TIME, self.gate.reserve()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(OpenFailure::General),
            Err(_) => Err(OpenFailure::Limit),
        }
    }
}

/// Logs a refusal: a hint to the user seldom, everything at debug level, never what was sent.
fn note(refusal: &Refusal) {
    match refusal {
        Refusal::Stranger(spoken) => {
            if let Some(held_back) = STRANGERS.due() {
                tracing::warn!(
                    spoken,
                    held_back,
                    "a client speaks neither SOCKS5 nor HTTP; is it set to another kind of proxy?"
                );
            }
        }
        Refusal::Login | Refusal::Method => {
            if let Some(held_back) = LOGINS.due() {
                tracing::warn!(held_back, "a client was turned away: {refusal}");
            }
        }
        Refusal::Gone(_)
        | Refusal::Command
        | Refusal::AddressType
        | Refusal::Host
        | Refusal::Malformed
        | Refusal::TooLarge => tracing::debug!(%refusal, "a request was refused"),
    }
}

/// Sends what the client is to be told and closes so that it arrives: closing with unread bytes
/// would reset the connection, and the reply with it.
async fn part<S>(mut preface: Preface<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let parted = timeout(FAREWELL_TIME, async {
        preface.send().await?;
        let stream = preface.stream();
        stream.shutdown().await?;
        let mut rest = stream.take(FAREWELL_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        io::Result::Ok(())
    });
    // A client that is gone, or that does not read, needs no farewell.
    let _ = parted.await;
}
