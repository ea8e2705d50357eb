//! Keeping a link to a configured endpoint.
//!
//! A link that answers is left alone. One that owes an answer gets a second dial beside it; whichever
//! answers carries the sessions (design 5). A neighbour that was met before is dialled by its static key,
//! with a waiting Re-Hello in the first message; if it does not answer that, it is dialled as a stranger
//! beside (design 7). While channels wait, a fresh connect starts every second, so
//! no try ever waits for the kernel's back-off; the name is resolved again at each try.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::core::Joined;
use crate::engine::{Command, Health};
use crate::lcm::table::Table;
use crate::limits::{
    DIALS_AT_ONCE, LINK_DIAL, LINK_KNOWN_PATIENCE, LINK_OVERLAP, REDIAL, REDIAL_MAX, REDIAL_REFUSED,
};
use crate::name::Name;
use crate::name::certificate::PeerKeys;
use crate::peering::join::{JoinError, Joiner};
use crate::peering::options::set_link_options;
use crate::peering::report::Report;
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
    /// What is known of the endpoint, for status.
    pub report: Arc<Report>,
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
    #[error("no answer within {} s; is the network id and key the same at both ends?", LINK_DIAL.as_secs())]
    Timeout,
    #[error(
        "the other end does not take the link; is this node in its [network] allow, and are both clocks right?"
    )]
    Refused,
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
        let mut refused = Duration::ZERO;
        while let Some((joined, stream)) = this.attempt(&mut told, &mut random).await {
            let peer = joined.peer;
            let (health, mut watch) = watch::channel(Health::New);
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
            // An error means that the link or the engine is gone.
            let mut taken = false;
            let life = async {
                let first = watch.wait_for(|health| *health != Health::New).await;
                taken = first.is_ok_and(|health| *health == Health::Good);
                if taken {
                    this.report.up(peer);
                    let _gone = watch.wait_for(|health| *health != Health::Good).await;
                }
            };
            tokio::select! {
                () = life => {}
                () = overlap => {}
            }
            if taken {
                this.report.down();
                (told, refused) = (false, Duration::ZERO);
            } else {
                this.tell(&DialError::Refused, &mut told);
                refused = this.rest(refused).await;
            }
            before = Some(watch);
        }
        drop(before);
    }

    /// Leaves alone who let us go, for longer each time; says for how long. News of the network end it.
    async fn rest(&self, last: Duration) -> Duration {
        let longest = if self.table.is_idle() {
            REDIAL_MAX
        } else {
            REDIAL_REFUSED
        };
        let pause = (last * 2).clamp(REDIAL, longest);
        tokio::select! {
            () = sleep(pause) => {}
            () = self.hurry.network.notified() => {}
        }
        pause
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
        self.report.failed(error.to_string());
        if std::mem::replace(told, true) {
            tracing::debug!(endpoint, %error, "no link");
        } else {
            tracing::info!(endpoint, %error, "no link; trying on");
        }
    }

    async fn dial(&self, random: Random) -> Result<(Joined, std::net::TcpStream), DialError> {
        let name = self.endpoint.pinned.or_else(|| self.report.peer());
        if let Some(name) = name {
            self.joiner.may_dial(name)?;
        }
        let known = name.and_then(|name| self.joiner.keys(&name));
        let whole = async {
            match known {
                Some(keys) => self.dial_known(keys, random).await,
                None => self.dial_unknown(random).await,
            }
        };
        timeout(LINK_DIAL, whole)
            .await
            .map_err(|_| DialError::Timeout)?
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.endpoint.address).await?;
        set_link_options(&stream);
        Ok(stream)
    }

    async fn dial_unknown(
        &self,
        random: Random,
    ) -> Result<(Joined, std::net::TcpStream), DialError> {
        let stream = self.connect().await?;
        let pinned = self.endpoint.pinned;
        Ok(self.joiner.dial(stream, pinned, random).await?)
    }

    /// Dials a node by the key it had. One that has another by now, or is another, says nothing or
    /// closes: it is dialled anew without that knowledge, beside, and whichever answers wins.
    async fn dial_known(
        &self,
        keys: PeerKeys,
        mut random: Random,
    ) -> Result<(Joined, std::net::TcpStream), DialError> {
        let began = Instant::now();
        let stream = self.connect().await?;
        let patience = LINK_KNOWN_PATIENCE.max(began.elapsed() * 2);
        let early = self.early(keys.name).await;
        let pinned = self.endpoint.pinned;
        let by_key = self
            .joiner
            .dial_known(stream, keys, &early, pinned, random.fork());
        let mut by_key = std::pin::pin!(by_key);
        tokio::select! {
            done = &mut by_key => match done {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::debug!(endpoint = self.endpoint.address, %error, "not the key it had");
                    return self.dial_unknown(random).await;
                }
            },
            () = sleep(patience) => {}
        }
        let mut beside = std::pin::pin!(self.dial_unknown(random));
        tokio::select! {
            done = &mut by_key => match done {
                Ok(link) => Ok(link),
                Err(_) => beside.await,
            },
            done = &mut beside => match done {
                Ok(link) => Ok(link),
                // What was begun first may still be answered; if not, this is the error to tell.
                Err(error) => by_key.await.map_err(|_| error),
            },
        }
    }

    /// The Re-Hello that waits for this neighbour, if there is one.
    async fn early(&self, name: Name) -> Vec<u8> {
        let (reply, early) = oneshot::channel();
        if self
            .commands
            .send(Command::Early(name, reply))
            .await
            .is_err()
        {
            return Vec::new();
        }
        early.await.unwrap_or_default()
    }
}
