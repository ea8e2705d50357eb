//! Keeping a link to a configured endpoint.
//!
//! A link that answers is left alone. One that owes an answer gets a second dial beside it; whichever
//! answers carries the sessions (design 5). While channels wait, a fresh connect starts every second, so
//! no try ever waits for the kernel's back-off; the name is resolved again at each try.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::core::Joined;
use crate::engine::{Command, Health};
use crate::limits::{DIALS_AT_ONCE, LINK_DIAL, REDIAL, REDIAL_MAX};
use crate::name::Name;
use crate::peering::join::{JoinError, Joiner};
use crate::peering::options::set_link_options;
use crate::random::Random;

/// An endpoint to keep a link to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host and port, resolved at each try.
    pub address: String,
    /// Who must answer there; `None` accepts whoever may link.
    pub pinned: Option<Name>,
}

/// Keeps a link to one endpoint.
#[derive(Debug)]
pub struct Dialer {
    /// Whom to dial.
    pub endpoint: Endpoint,
    /// Proves who we are and who they are.
    pub joiner: Arc<Joiner>,
    /// Where finished links go.
    pub commands: mpsc::Sender<Command>,
    /// Notified when channels wait for a link, or the network changed.
    pub hurry: Arc<Notify>,
}

/// Why a try failed.
#[derive(Debug, Error)]
enum DialError {
    #[error("no answer within {} s", LINK_DIAL.as_secs())]
    Timeout,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl Dialer {
    /// Dials until dropped.
    pub async fn run(self, mut random: Random) {
        let this = Arc::new(self);
        let mut pause = REDIAL;
        let mut told = false;
        loop {
            match this.attempt(&mut told, &mut pause, &mut random).await {
                Some((joined, stream)) => {
                    told = false;
                    pause = REDIAL;
                    let (health, mut watch) = watch::channel(Health::Good);
                    let link = Command::Link(joined, stream, health);
                    if this.commands.send(link).await.is_err() {
                        return;
                    }
                    // An error means that the engine is gone, which ends the next send.
                    let _ended = watch.wait_for(|health| *health != Health::Good).await;
                }
                None => return,
            }
        }
    }

    /// Tries until one try succeeds.
    async fn attempt(
        self: &Arc<Self>,
        told: &mut bool,
        pause: &mut Duration,
        random: &mut Random,
    ) -> Option<(Joined, std::net::TcpStream)> {
        let mut tries: JoinSet<Result<(Joined, std::net::TcpStream), DialError>> = JoinSet::new();
        loop {
            if self.commands.is_closed() {
                return None;
            }
            if tries.len() < DIALS_AT_ONCE {
                let (this, random) = (Arc::clone(self), random.fork());
                tries.spawn(async move { this.dial(random).await });
            }
            let jitter = Duration::from_millis(random.below(100));
            let next = sleep(*pause + jitter);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    Some(result) = tries.join_next() => match result {
                        Ok(Ok(link)) => return Some(link),
                        Ok(Err(error)) => self.tell(&error, told),
                        Err(_) => {}
                    },
                    () = &mut next => break,
                    () = self.hurry.notified() => {
                        *pause = REDIAL;
                        break;
                    }
                }
            }
            *pause = (*pause * 2).min(REDIAL_MAX);
        }
    }

    /// The first failure of a row is news, the others are detail.
    fn tell(&self, error: &DialError, told: &mut bool) {
        let endpoint = &self.endpoint.address;
        if std::mem::replace(told, true) {
            tracing::debug!(endpoint, %error, "no link");
        } else {
            tracing::info!(endpoint, %error, "no link; trying on");
        }
    }

    async fn dial(&self, random: Random) -> Result<(Joined, std::net::TcpStream), DialError> {
        let whole = async {
            let stream = TcpStream::connect(&self.endpoint.address).await?;
            set_link_options(&stream);
            Ok(self
                .joiner
                .dial(stream, self.endpoint.pinned, random)
                .await?)
        };
        timeout(LINK_DIAL, whole)
            .await
            .map_err(|_| DialError::Timeout)?
    }
}
