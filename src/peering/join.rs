//! The link handshake over a socket, and who may link.
use crate::core::Joined;
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;
use tokio::net::TcpStream;
use zeroize::Zeroizing;
pub type Allows = Box<dyn Fn(&Name) -> bool + Send + Sync>;
#[derive(Debug, Error)]
pub enum JoinError {
    #[error("x")]
    X,
}
pub struct Joiner {
    me: Arc<LocalParty>,
    psk: Zeroizing<[u8; 32]>,
    allows: RwLock<Allows>,
}
impl std::fmt::Debug for Joiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Joiner")
    }
}
pub enum Greeting {
    Joined(Box<Joined>, std::net::TcpStream),
    Stranger(TcpStream),
}
impl Joiner {
    pub fn new(me: Arc<LocalParty>, psk: Zeroizing<[u8; 32]>, allows: Allows) -> Self {
        Self {
            me,
            psk,
            allows: RwLock::new(allows),
        }
    }
    pub fn replace_policy(&self, allows: Allows) {
        *self.allows.write().unwrap_or_else(PoisonError::into_inner) = allows;
    }
    pub async fn dial(
        &self,
        _s: TcpStream,
        _p: Option<Name>,
        _r: Random,
    ) -> Result<(Joined, std::net::TcpStream), JoinError> {
        Err(JoinError::X)
    }
    pub async fn greet(&self, s: TcpStream, _r: Random) -> Greeting {
        Greeting::Stranger(s)
    }
}
