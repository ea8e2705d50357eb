//! Where applications come in, whose (R-F5), and from where (R-F1).

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, UnixListener};

use crate::lcm::stream::Stream;
use crate::net::accept::{Listener, accept};
use crate::net::descriptors::wait_for_room;
use crate::net::owner::owner;
use crate::net::seldom::Seldom;

static STRANGERS: Seldom = Seldom::new(Duration::from_secs(60));
static ELSEWHERE: Seldom = Seldom::new(Duration::from_secs(60));

/// A listener for applications; connections of other users or from other addresses than the allowed ones
/// are closed.
#[derive(Debug)]
pub struct Door {
    listener: Either,
    /// Anybody if there is no list.
    uids: Option<BTreeSet<u32>>,
    /// Anywhere if there is no list.
    from: Option<Vec<IpNet>>,
}

#[derive(Debug)]
enum Either {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener for Either {
    type Accepted = Stream;

    async fn accept_one(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => Stream::Tcp(listener.accept_one().await?.0),
            Self::Unix(listener) => Stream::Unix(listener.accept_one().await?),
        })
    }
}

impl Door {
    /// A TCP port, for programs of these users on this machine, or for anybody, and for these addresses,
    /// or for any.
    pub const fn tcp(
        listener: TcpListener,
        uids: Option<BTreeSet<u32>>,
        from: Option<Vec<IpNet>>,
    ) -> Self {
        Self {
            listener: Either::Tcp(listener),
            uids,
            from,
        }
    }

    /// A Unix socket, for programs of these users.
    pub const fn unix(listener: UnixListener, uids: BTreeSet<u32>) -> Self {
        Self {
            listener: Either::Unix(listener),
            uids: Some(uids),
            from: None,
        }
    }

    /// The next application's connection. Its descriptor, or another one, is none of those kept back.
    /// Dropping this half-way may close one connection that waits for that.
    pub(super) async fn accept(&self) -> Stream {
        loop {
            let stream = accept(&self.listener).await;
            if self.is_near(&stream) && self.admits(&stream) {
                wait_for_room(&stream).await;
                return stream;
            }
            stream.reset_on_close();
        }
    }

    /// Whether it comes from an address that may connect (R-F1).
    fn is_near(&self, stream: &Stream) -> bool {
        let (Some(from), Stream::Tcp(stream)) = (&self.from, stream) else {
            return true;
        };
        // Whose connection is gone already has no address.
        let Ok(peer) = stream.peer_addr() else {
            return false;
        };
        let address = peer.ip().to_canonical();
        let near = from.iter().any(|net| net.contains(&address));
        if !near && let Some(held_back) = ELSEWHERE.due() {
            tracing::warn!(
                held_back,
                "a connection from {address} was turned away: `from` says who may connect"
            );
        }
        near
    }

    fn admits(&self, stream: &Stream) -> bool {
        let Some(uids) = &self.uids else {
            return true;
        };
        // Who cannot be found must not come in.
        let found = user(stream);
        let admitted = matches!(&found, Ok(Some(uid)) if uids.contains(uid));
        if !admitted && let Some(held_back) = STRANGERS.due() {
            let whose = match found {
                Ok(Some(uid)) => format!("user {uid}"),
                Ok(None) => "nobody on this machine".to_owned(),
                Err(error) => format!("a user that the system does not tell ({error})"),
            };
            tracing::warn!(
                held_back,
                "a program of {whose} was turned away: `allow_uids` says who may connect"
            );
        }
        admitted
    }
}

/// Whose program is at the other end.
fn user(stream: &Stream) -> io::Result<Option<u32>> {
    match stream {
        Stream::Tcp(stream) => owner(stream.peer_addr()?, stream.local_addr()?),
        Stream::Unix(stream) => Ok(Some(stream.peer_cred()?.uid())),
    }
}
