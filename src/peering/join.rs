//! The link handshake over a socket, and who may link.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::core::Joined;
use crate::link::handshake::{Dialer, Judge, LinkError, LinkKeys, Listener, Step, body_len};
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::net::clock::calendar;
use crate::random::Random;

/// Decides whether a proved name may link.
pub type Allows = Box<dyn Fn(&Name) -> bool + Send + Sync>;

/// Why a link did not come about.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The socket failed, or the other end closed it: a node of another network, or one that does not
    /// let us link, says nothing.
    #[error("{0}; is the network id and key the same, and may this node link there?")]
    Io(#[from] std::io::Error),
    /// The other end does not follow the protocol or is not who it should be.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The name is not in `[network] allow` nor pinned.
    #[error("{0} may not link: add it to [network] allow, or pin it as NAME@HOST:PORT")]
    NotAllowed(Name),
}

/// Runs link handshakes for one node.
pub struct Joiner {
    me: Arc<LocalParty>,
    network_key: Option<Zeroizing<[u8; 32]>>,
    allows: RwLock<Allows>,
    /// Highest certificate serial seen of each neighbour (R-H11).
    serials: Mutex<BTreeMap<Name, u64>>,
}

impl fmt::Debug for Joiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joiner")
            .field("me", &self.me.name())
            .finish_non_exhaustive()
    }
}

/// What became of an inbound connection.
#[derive(Debug)]
pub enum Greeting {
    /// A neighbour.
    Joined(Box<Joined>, std::net::TcpStream),
    /// Somebody else; nothing, or nothing that tells him anything, was said to him.
    Stranger(TcpStream),
    /// The connection ended meanwhile.
    Gone,
}

impl Joiner {
    /// A joiner for `me`; `allows` decides who may link.
    pub fn new(
        me: Arc<LocalParty>,
        network_key: Option<Zeroizing<[u8; 32]>>,
        allows: Allows,
    ) -> Self {
        Self {
            me,
            network_key,
            allows: RwLock::new(allows),
            serials: Mutex::default(),
        }
    }

    /// Decides differently from here on; existing links stay.
    pub fn replace_policy(&self, allows: Allows) {
        *self.allows.write().unwrap_or_else(PoisonError::into_inner) = allows;
    }

    fn allows(&self, name: &Name) -> bool {
        let allows = self.allows.read().unwrap_or_else(PoisonError::into_inner);
        allows(name)
    }

    fn serial(&self, name: &Name) -> Option<u64> {
        self.serials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
    }

    fn judging(
        &self,
        read: impl FnOnce(&Judge<'_>) -> Result<Step, LinkError>,
    ) -> Result<Step, LinkError> {
        let serial = |name: &Name| self.serial(name);
        read(&Judge {
            me: &self.me,
            now: calendar(),
            last_serial: &serial,
        })
    }

    fn key(&self) -> Option<&[u8; 32]> {
        self.network_key.as_deref()
    }

    /// Joins the node at the other end of a connection that we made; `pinned` must be its name. May
    /// be dropped at any await.
    pub async fn dial(
        &self,
        mut stream: TcpStream,
        pinned: Option<Name>,
        mut random: Random,
    ) -> Result<(Joined, std::net::TcpStream), JoinError> {
        let (mut dialer, first) = Dialer::xx(&self.me, self.key(), pinned, &mut random)?;
        stream.write_all(&first).await?;
        loop {
            let body = message(&mut stream).await?;
            let step = self.judging(|judge| dialer.read(judge, &body))?;
            // Who may not link learns our name from the third message only.
            if let Some(keys) = &step.done
                && pinned.is_none()
                && !self.allows(&keys.peer())
            {
                return Err(JoinError::NotAllowed(keys.peer()));
            }
            if let Some(reply) = &step.reply {
                stream.write_all(reply).await?;
            }
            if let Some(keys) = step.done {
                return Ok(self.joined(&keys, stream, true)?);
            }
        }
    }

    /// Lets the other end of a connection that it made join, if it proves a name that may. May be
    /// dropped at any await.
    pub async fn greet(&self, mut stream: TcpStream, mut random: Random) -> Greeting {
        match self.listen(&mut stream, &mut random).await {
            Ok(keys) if self.allows(&keys.peer()) => {
                let joined = self.joined(&keys, stream, false);
                joined.map_or(Greeting::Gone, |(joined, stream)| {
                    Greeting::Joined(Box::new(joined), stream)
                })
            }
            Ok(keys) => {
                let peer = keys.peer();
                tracing::info!(%peer, "a node that may not link was turned away");
                Greeting::Stranger(stream)
            }
            Err(error) => {
                tracing::debug!(%error, "a stranger on the link port");
                Greeting::Stranger(stream)
            }
        }
    }

    async fn listen(
        &self,
        stream: &mut TcpStream,
        random: &mut Random,
    ) -> Result<LinkKeys, JoinError> {
        let mut listener = Listener::new(&self.me, self.key(), random);
        loop {
            let body = message(stream).await?;
            let step = self.judging(|judge| listener.read(judge, &body))?;
            if let Some(reply) = &step.reply {
                stream.write_all(reply).await?;
            }
            if let Some(keys) = step.done {
                return Ok(keys);
            }
        }
    }

    fn joined(
        &self,
        keys: &LinkKeys,
        stream: TcpStream,
        dialled: bool,
    ) -> std::io::Result<(Joined, std::net::TcpStream)> {
        let endpoint = stream.peer_addr()?.to_string();
        let stream = stream.into_std()?;
        let serial = keys.certificate.certificate().terms.serial;
        self.serials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(keys.peer(), serial);
        let joined = Joined {
            peer: keys.peer(),
            static_public: keys.certificate.static_public(),
            boot: keys.boot_id,
            send_key: *keys.send_key.as_bytes(),
            receive_key: *keys.receive_key.as_bytes(),
            dialled,
            endpoint,
        };
        Ok((joined, stream))
    }
}

/// The next message without its length, which is checked before anything is allocated.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix).await?;
    let len = body_len(prefix).ok_or(std::io::ErrorKind::InvalidData)?;
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
