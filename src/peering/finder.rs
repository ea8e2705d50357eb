//! Links to nodes that the overlay has found: shortcuts to the peers of sessions that go through relays, and
//! links that make the tree recover sooner.
//!
//! One try per request, over the node's endpoints in turn; the core asks again when it thinks it worth it.
//! A shortcut carries only sessions between its two ends and takes no part in the overlay (design 7).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::engine::Command;
use crate::limits::{FOUND_DIALS_AT_ONCE, LINK_DIAL};
use crate::name::Name;
use crate::net::tasks::Tasks;
use crate::peering::join::{Joiner, Standing};
use crate::peering::options::set_link_options;
use crate::random::Random;

/// Makes such links for one node.
#[derive(Clone, Debug)]
pub struct Finder {
    joiner: Arc<Joiner>,
    commands: mpsc::Sender<Command>,
    tasks: Tasks,
    random: Arc<Mutex<Random>>,
    under_way: Arc<Mutex<BTreeSet<Name>>>,
}

impl Finder {
    /// `joiner` proves who we are, finished links go to `commands`.
    pub fn new(
        joiner: Arc<Joiner>,
        commands: mpsc::Sender<Command>,
        tasks: Tasks,
        random: Random,
    ) -> Self {
        Self {
            joiner,
            commands,
            tasks,
            random: Arc::new(Mutex::new(random)),
            under_way: Arc::default(),
        }
    }

    /// Tries to link to `peer` at one of these endpoints, unless a try is under way. The overlay's word alone
    /// makes nobody a neighbour who may not be one.
    pub fn dial(&self, peer: Name, endpoints: Vec<String>, shortcut: bool) {
        match self.joiner.standing(&peer) {
            Standing::Allowed => {}
            Standing::Unknown if shortcut => {}
            Standing::Unknown | Standing::Denied => return,
        }
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if under_way.len() >= FOUND_DIALS_AT_ONCE || !under_way.insert(peer) {
            return;
        }
        drop(under_way);
        let this = self.clone();
        self.tasks.spawn(async move {
            this.attempt(peer, &endpoints, shortcut).await;
            let mut under_way = this
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            under_way.remove(&peer);
        });
    }

    async fn attempt(&self, peer: Name, endpoints: &[String], shortcut: bool) {
        for endpoint in endpoints {
            let random = self.fork();
            let dial = async {
                let addresses: Vec<SocketAddr> = lookup_host(endpoint)
                    .await
                    .ok()?
                    .filter(|address| is_elsewhere(address.ip()))
                    .collect();
                let stream = TcpStream::connect(addresses.as_slice()).await.ok()?;
                set_link_options(&stream);
                self.joiner.dial(stream, Some(peer), random).await.ok()
            };
            let Ok(Some((mut joined, stream))) = timeout(LINK_DIAL, dial).await else {
                tracing::debug!(peer = peer.short(), endpoint, "no link");
                continue;
            };
            joined.shortcut = shortcut;
            // The engine is gone when the node stops.
            let _stopping = self
                .commands
                .send(Command::Link(joined, stream, None))
                .await;
            return;
        }
    }

    fn fork(&self) -> Random {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.fork()
    }
}

/// Whether a peer's word may make us dial this address: none of this machine, nor of many at once.
fn is_elsewhere(address: IpAddr) -> bool {
    let address = address.to_canonical();
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;
    use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
    use crate::time::Calendar;

    #[tokio::test]
    async fn the_overlay_makes_nobody_a_neighbour_who_may_not_link() {
        let terms = Terms {
            not_before: Calendar(0),
            not_after: Calendar(1 << 40),
            serial: 1,
        };
        let (identity, key) = (
            Identity::from_seed(&[1; 32]),
            StaticKey::from_bytes([3; 32]),
        );
        let me = LocalParty::new(identity, key, terms, [1; 16], OverlayId::of("test"));
        let friend = Identity::from_seed(&[2; 32]).name();
        let stranger = Identity::from_seed(&[3; 32]).name();
        let denied = Identity::from_seed(&[4; 32]).name();
        let standing = move |name: &Name| match *name {
            name if name == friend => Standing::Allowed,
            name if name == denied => Standing::Denied,
            _ => Standing::Unknown,
        };
        let joiner = Joiner::new(Arc::new(me), None, Box::new(standing));
        let (commands, _received) = mpsc::channel(1);
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let finder = Finder::new(Arc::new(joiner), commands, tasks, Random::from_number(1));
        let dials = |peer, shortcut| {
            finder.dial(peer, vec!["127.0.0.1:9".to_owned()], shortcut);
            finder.under_way.lock().unwrap().contains(&peer)
        };
        assert!(!dials(stranger, false));
        assert!(dials(friend, false));
        // The peer of a session of ours; the link takes no part in the overlay.
        assert!(dials(stranger, true));
        assert!(!dials(denied, true));
    }
}
