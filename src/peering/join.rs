//! The link handshake over a socket, and who may link.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::core::Joined;
use crate::limits::LINK_KNOWN_MAX;
use crate::link::handshake::{Dialer, Judge, LinkError, LinkKeys, Listener, Step, body_len};
use crate::name::Name;
use crate::name::certificate::{LocalParty, PeerKeys, Verified};
use crate::net::clock::calendar;
use crate::net::seldom::{Pass, PerPeer, Seldom};
use crate::peering::firsts::Firsts;
use crate::random::Random;

/// What a proved name may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may link.
    Allowed,
    /// It may not, unless we dial it by its name.
    Unknown,
    /// It has no part here.
    Denied,
}

/// Tells what a name may do.
pub type Standings = Box<dyn Fn(&Name) -> Standing + Send + Sync>;

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
    /// A first message that was answered before.
    #[error("a replayed message")]
    Replayed,
    /// The name is not in `[network] allow` nor pinned.
    #[error("{0} may not link: add it to [network] allow, or pin it as NAME@HOST:PORT")]
    NotAllowed(Name),
    /// The name is on the deny list.
    #[error("{0} is on the list [network] deny")]
    Denied(Name),
}

/// Runs link handshakes for one node.
pub struct Joiner {
    me: Arc<LocalParty>,
    network_key: Option<Zeroizing<[u8; 32]>>,
    standings: RwLock<Standings>,
    /// What earlier links told of each neighbour.
    known: Mutex<BTreeMap<Name, Known>>,
    firsts: Mutex<Firsts>,
    /// Lines about those who were turned away (R-X2).
    lines: PerPeer,
}

/// Lines about those whose name is not known: anyone can make us write them.
static STRANGERS: Seldom = Seldom::new(Duration::from_secs(60));

/// What an earlier link told of a neighbour.
#[derive(Clone, Copy)]
struct Known {
    /// Highest certificate serial seen (R-H11).
    serial: u64,
    static_public: [u8; 32],
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
    /// A neighbour that knew us, with what rode in its only message; both may be a replay until a frame
    /// opens.
    Asked(Box<Joined>, std::net::TcpStream, Vec<u8>),
    /// Somebody else; nothing, or nothing that tells him anything, was said to him.
    Stranger(TcpStream),
    /// The connection ended meanwhile.
    Gone,
}

impl Joiner {
    /// A joiner for `me`; `standings` tells who may link.
    pub fn new(
        me: Arc<LocalParty>,
        network_key: Option<Zeroizing<[u8; 32]>>,
        standings: Standings,
    ) -> Self {
        Self {
            me,
            network_key,
            standings: RwLock::new(standings),
            known: Mutex::default(),
            firsts: Mutex::default(),
            lines: PerPeer::default(),
        }
    }

    /// Decides differently from here on; existing links stay.
    pub fn replace_policy(&self, new: Standings) {
        let mut standings = self
            .standings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *standings = new;
    }

    /// What a name may do at present.
    pub fn standing(&self, name: &Name) -> Standing {
        let standings = self
            .standings
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        standings(name)
    }

    /// Judges who wants to link; `named` if we dialled it by this name.
    fn admit(&self, name: Name, named: bool) -> Result<(), JoinError> {
        match self.standing(&name) {
            Standing::Allowed => Ok(()),
            Standing::Unknown if named => Ok(()),
            Standing::Unknown => Err(JoinError::NotAllowed(name)),
            Standing::Denied => Err(JoinError::Denied(name)),
        }
    }

    /// Whether a node may be dialled by its name.
    pub(super) fn may_dial(&self, name: Name) -> Result<(), JoinError> {
        self.admit(name, true)
    }

    fn known(&self, name: &Name) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).copied()
    }

    /// The static key that a neighbour had when we last met.
    pub fn keys(&self, name: &Name) -> Option<PeerKeys> {
        let static_public = self.known(name)?.static_public;
        Some(PeerKeys {
            name: *name,
            static_public,
        })
    }

    fn remember(&self, certificate: &Verified) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LINK_KNOWN_MAX && !known.contains_key(&certificate.name()) {
            known.pop_first();
        }
        let fresh = Known {
            serial: certificate.certificate().terms.serial,
            static_public: certificate.static_public(),
        };
        let last = known.entry(certificate.name()).or_insert(fresh);
        if last.serial <= fresh.serial {
            // Of two handshakes at once the older certificate may be the last to be done.
            *last = fresh;
        }
    }

    fn judging(
        &self,
        read: impl FnOnce(&Judge<'_>) -> Result<Step, LinkError>,
    ) -> Result<Step, LinkError> {
        let serial = |name: &Name| Some(self.known(name)?.serial);
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
        stream: TcpStream,
        pinned: Option<Name>,
        mut random: Random,
    ) -> Result<(Joined, std::net::TcpStream), JoinError> {
        let begun = Dialer::xx(&self.me, self.key(), pinned, &mut random)?;
        self.finish(stream, begun, pinned).await
    }

    /// The same with a node that had `keys` when we last met; `early` rides in the first message. It is
    /// silent if it has other keys now.
    pub async fn dial_known(
        &self,
        stream: TcpStream,
        keys: PeerKeys,
        early: &[u8],
        pinned: Option<Name>,
        mut random: Random,
    ) -> Result<(Joined, std::net::TcpStream), JoinError> {
        let begun = Dialer::ik(&self.me, self.key(), &keys, early, &mut random)?;
        self.finish(stream, begun, pinned).await
    }

    async fn finish(
        &self,
        mut stream: TcpStream,
        (mut dialer, first): (Dialer, Vec<u8>),
        pinned: Option<Name>,
    ) -> Result<(Joined, std::net::TcpStream), JoinError> {
        stream.write_all(&first).await?;
        loop {
            let body = message(&mut stream).await?;
            let step = self.judging(|judge| dialer.read(judge, &body))?;
            // Who may not link learns our name from the third message only.
            if let Some(keys) = &step.done {
                self.admit(keys.peer(), pinned.is_some())?;
            }
            if let Some(reply) = &step.reply {
                stream.write_all(reply).await?;
            }
            if let Some(keys) = step.done {
                // The third message tells who we are, and whoever reads it may not want us.
                let taken = step.reply.is_none();
                let (joined, stream) = self.joined(keys, stream, true)?;
                return Ok((Joined { taken, ..joined }, stream));
            }
        }
    }

    /// Lets the other end of a connection that it made join, if it proves a name that may. May be
    /// dropped at any await.
    pub async fn greet(&self, mut stream: TcpStream, mut random: Random) -> Greeting {
        match self.listen(&mut stream, &mut random).await {
            Ok(mut keys) => {
                let (early, confirmed) = (std::mem::take(&mut keys.early), keys.confirmed);
                match self.joined(keys, stream, false) {
                    Ok((joined, stream)) if confirmed => Greeting::Joined(Box::new(joined), stream),
                    Ok((joined, stream)) => Greeting::Asked(Box::new(joined), stream, early),
                    Err(_) => Greeting::Gone,
                }
            }
            Err(JoinError::NotAllowed(peer) | JoinError::Denied(peer)) => {
                if let Some(Pass { held_back }) = self.lines.pass(peer) {
                    tracing::info!(%peer, held_back, "a node that may not link was turned away");
                }
                Greeting::Stranger(stream)
            }
            Err(error) => {
                let told = matches!(error, JoinError::Link(_)).then(|| STRANGERS.due());
                if let Some(held_back) = told.flatten() {
                    tracing::info!(%error, held_back, "somebody on the link port was not understood");
                } else {
                    tracing::debug!(%error, "a stranger on the link port");
                }
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
            if let Some(keys) = &step.done {
                // Both before a reply: who may not link, or has no message of its own, hears nothing.
                self.admit(keys.peer(), false)?;
                let mut firsts = self.firsts.lock().unwrap_or_else(PoisonError::into_inner);
                if !keys.confirmed && !firsts.is_new(&body) {
                    return Err(JoinError::Replayed);
                }
            }
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
        keys: LinkKeys,
        stream: TcpStream,
        dialled: bool,
    ) -> std::io::Result<(Joined, std::net::TcpStream)> {
        let endpoint = stream.peer_addr()?.to_string();
        let stream = stream.into_std()?;
        self.remember(&keys.certificate);
        let joined = Joined {
            peer: keys.peer(),
            static_public: keys.certificate.static_public(),
            serial: keys.certificate.certificate().terms.serial,
            boot: keys.boot_id,
            send_key: keys.send_key,
            receive_key: keys.receive_key,
            dialled,
            endpoint,
            shortcut: false,
            taken: true,
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
