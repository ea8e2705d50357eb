//! Front ends: an application's connection, by TCP or a Unix socket, becomes a [`LocalConnection`] (design 9).
//!
//! One listener speaks SOCKS5 ([RFC 1928](https://www.rfc-editor.org/rfc/rfc1928)) and HTTP CONNECT; a
//! fixed forward has one destination and no protocol. A front end reads the request, asks the
//! [`Router`] where it leads, and hands the stream over together with the bytes to answer with: the
//! application hears "connected" only after the far side has answered (R-F12). Nothing is resolved
//! here (R-F4), nothing of the channel passes through here.
//!
//! Bounds: a preface has 10 seconds in total and 1032 bytes (SOCKS5) or 8 KiB (HTTP), and so many
//! are in progress at most: then whoever has been silent longest goes for the next one (R-F2, R-X5).

mod converse;
mod door;
pub mod exercise;
mod forward;
mod http;
mod preface;
mod request;
mod socks;
mod users;

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::lcm::local::{Answer, LocalConnection};
use crate::lcm::stream::Stream;
use crate::name::Name;
use crate::net::descriptors::for_applications;
use crate::net::guests::{Guests, PATIENCE, Silence};
use crate::net::seldom::Seldom;
use crate::wire::failure::OpenFailure;
use crate::wire::target::{Host, Target};

pub use crate::proxy::door::Door;
pub use crate::proxy::forward::serve_forward;
pub use crate::proxy::users::Users;

/// The log filter directive that every subscriber must apply: `fast-socks5` logs destinations at
/// debug level (R-G3).
pub const LOG_FILTER: &str = "fast_socks5=off";

/// Time for the whole preface, from accepting on (R-F2).
pub(crate) const PREFACE_TIME: Duration = Duration::from_secs(10);
/// Most prefaces in progress at all listeners; at the limit of one of them whoever has owed his request longest goes for
/// the next one. Chosen: 4 MiB of buffers.
const PREFACES_MAX: usize = 4096;

static FLOOD: Seldom = Seldom::new(Duration::from_secs(60));

/// Decides where a destination leads.
pub trait Router: Send + Sync + 'static {
    /// Nodes to carry a connection, in order of preference and at least one, and where it shall lead
    /// there; or why it must not be (no route: [`OpenFailure::Denied`]).
    fn choose(&self, host: &Host, port: u16) -> Result<(Vec<Name>, Target), OpenFailure>;
}

/// SOCKS5 and HTTP CONNECT on one listener.
pub struct FrontEnd {
    router: Arc<dyn Router>,
    users: Option<Users>,
    gate: mpsc::Sender<LocalConnection>,
    /// At each of its listeners.
    prefaces_max: usize,
}

impl FrontEnd {
    /// A front end for so many `doors` that asks `router`, admits `users` (everyone if there is no list)
    /// and sends connections through `gate`.
    pub fn new(
        router: Arc<dyn Router>,
        users: Option<Users>,
        gate: mpsc::Sender<LocalConnection>,
        doors: usize,
    ) -> Self {
        // Silent clients must not use up what connections need.
        let half = usize::try_from(for_applications() / 2).unwrap_or(usize::MAX);
        Self {
            router,
            users,
            gate,
            prefaces_max: PREFACES_MAX.min(half) / doors.max(1),
        }
    }

    /// Serves `door` until `stop` holds true or its sender is gone; prefaces in progress are
    /// dropped then, connections handed over are not touched.
    ///
    /// It may be dropped at any time, with the same effect.
    pub async fn serve(self: Arc<Self>, door: Door, mut stop: watch::Receiver<bool>) {
        let mut prefaces = Guests::new(self.prefaces_max, PATIENCE);
        loop {
            let next = async {
                prefaces.room().await;
                door.accept().await
            };
            let stream = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                stream = next => stream,
            };
            let deadline = Instant::now() + PREFACE_TIME;
            let front = Arc::clone(&self);
            let evicted = prefaces.admit(|silence| front.receive(stream, silence, deadline));
            if evicted && let Some(held_back) = FLOOD.due() {
                tracing::warn!(
                    held_back,
                    "many clients that ask for nothing: those who have been silent longest are closed"
                );
            }
        }
    }

    /// Leads one connection through its preface to the gate.
    async fn receive(self: Arc<Self>, stream: Stream, silence: Silence, deadline: Instant) {
        let port = stream.port();
        let Some(admitted) = self.converse(stream, &silence, deadline).await else {
            return;
        };
        match admitted.stream.into_local() {
            Ok(stream) => admitted.permit.send(LocalConnection {
                stream,
                early: admitted.early,
                port,
                via: admitted.via,
                target: admitted.target,
                answer: Answer::Bytes {
                    success: admitted.success,
                    failure: admitted.failure,
                },
            }),
            Err(error) => tracing::debug!(%error, "a connection could not be handed over"),
        }
    }
}

impl fmt::Debug for FrontEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontEnd")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
