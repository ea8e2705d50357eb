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
use crate::lcm::table::Table;
use crate::limits::{DIALS_AT_ONCE, LINK_DIAL, LINK_OVERLAP, REDIAL, REDIAL_MAX};
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
    /// What makes it dial at once.
    pub hurry: Arc<Hurry>,
    /// Whether connections are open or wait.
    pub table: Table,
}

/// What makes a dialer dial at once.
#[derive(Debug, Default)]
pub struct Hurry {
    /// Channels wait for a link.
    pub wanted: Notify,
    /// The network changed.
    pub network: Notify,
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
        let mut before = None;
        let mut told = false;
        while let Some((joined, stream)) = this.attempt(&mut told, &mut random).await {
            told = false;
            let (health, mut watch) = watch::channel(Health::Good);
            let link = Command::Link(joined, stream, Some(health));
            if this.commands.send(link).await.is_err() {
                return;
            }
            let overlap = async {
                sleep(LINK_OVERLAP).await;
                // Letting go of its health ends the link that this one replaces.
                before = None;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                // An error means that the link or the engine is gone.
                _gone = watch.wait_for(|health| *health != Health::Good) => {}
                () = overlap => {}
            }
            before = Some(watch);
        }
        drop(before);
    }

    /// Tries until one try succeeds; `None` when the engine is gone.
    async fn attempt(
        self: &Arc<Self>,
        told: &mut bool,
        random: &mut Random,
    ) -> Option<(Joined, std::net::TcpStream)> {
        let mut tries: JoinSet<Result<(Joined, std::net::TcpStream), DialError>> = JoinSet::new();
        let mut pause = REDIAL;
        while !self.commands.is_closed() {
            if tries.len() < DIALS_AT_ONCE {
                let (this, random) = (Arc::clone(self), random.fork());
                tries.spawn(async move { this.dial(random).await });
            }
            let jitter = Duration::from_millis(random.below(100));
            let next = sleep(pause + jitter);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    Some(result) = tries.join_next() => match result {
                        Ok(Ok(link)) => return Some(link),
                        Ok(Err(error)) => self.tell(&error, told),
                        // Only a try that was given up.
                        Err(_) => {}
                    },
                    () = &mut next => break,
                    () = self.hurry.wanted.notified() => break,
                    () = self.hurry.network.notified() => {
                        // What was begun on the network as it was may never be answered.
                        tries.abort_all();
                        tries = JoinSet::new();
                        pause = REDIAL;
                        break;
                    }
                }
            }
            pause = if self.table.is_idle() {
                (pause * 2).min(REDIAL_MAX)
            } else {
                REDIAL
            };
        }
        None
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
