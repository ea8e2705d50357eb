//! Links to nodes that the overlay has found: shortcuts to the peers of sessions that go through relays, and
//! links that make the tree recover sooner.
//!
//! One try per request, over the node's endpoints in turn; the core asks again when it thinks it worth it.
//! A shortcut carries only sessions between its two ends and takes no part in the overlay (design 7).
//!
//! A record is signed by the node that it is about, but anybody can make one, and it may name any address. So that
//! nobody has this node look round in a network that only this node can reach, it dials public addresses, and of private
//! ones those of a block in which it has an address itself; few of each name, each peer seldom, and few at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::acl::address::Canonical;
use crate::engine::Command;
use crate::limits::{FOUND_ADDRESSES_MAX, FOUND_DIALS_AT_ONCE, FOUND_PAUSE, LINK_DIAL};
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
    tries: Arc<Mutex<Tries>>,
    own: OwnAddresses,
}

/// Tells the addresses of this machine.
pub type OwnAddresses = fn() -> io::Result<Vec<IpAddr>>;

/// Whom it dials, and has dialled of late.
#[derive(Debug, Default)]
struct Tries {
    under_way: BTreeSet<Name>,
    begun: BTreeMap<Name, Instant>,
}

impl Tries {
    /// Whether a try may begin now; then it has.
    fn begin(&mut self, peer: Name) -> bool {
        self.begun.retain(|_, begun| begun.elapsed() < FOUND_PAUSE);
        let may = self.under_way.len() < FOUND_DIALS_AT_ONCE
            && !self.begun.contains_key(&peer)
            && self.under_way.insert(peer);
        if may {
            self.begun.insert(peer, Instant::now());
        }
        may
    }
}

impl Finder {
    /// `joiner` proves who we are, finished links go to `commands`, and `own` tells the addresses of this machine.
    pub fn new(
        joiner: Arc<Joiner>,
        commands: mpsc::Sender<Command>,
        tasks: Tasks,
        random: Random,
        own: OwnAddresses,
    ) -> Self {
        Self {
            joiner,
            commands,
            tasks,
            random: Arc::new(Mutex::new(random)),
            tries: Arc::default(),
            own,
        }
    }

    /// Tries to link to `peer` at one of these endpoints, unless a try is under way or was begun a moment ago. The overlay's
    /// word alone makes nobody a neighbour who may not be one.
    pub fn dial(&self, peer: Name, endpoints: Vec<String>, shortcut: bool) {
        match self.joiner.standing(&peer) {
            Standing::Allowed => {}
            Standing::Unknown if shortcut => {}
            Standing::Unknown | Standing::Denied => return,
        }
        if !self.tries().begin(peer) {
            return;
        }
        let this = self.clone();
        self.tasks.spawn(async move {
            this.attempt(peer, &endpoints, shortcut).await;
            this.tries().under_way.remove(&peer);
        });
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn attempt(&self, peer: Name, endpoints: &[String], shortcut: bool) {
        let own = spawn_blocking(self.own).await.ok();
        let own = own.and_then(Result::ok).unwrap_or_default();
        for endpoint in endpoints {
            let random = self.fork();
            let dial = async {
                let addresses = lookup_host(endpoint).await.ok()?;
                let addresses = within_reach(addresses, &own);
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

/// The first of these addresses that a peer's word may make us dial, on a machine with addresses `own`.
fn within_reach(addresses: impl Iterator<Item = SocketAddr>, own: &[IpAddr]) -> Vec<SocketAddr> {
    let known = addresses.filter_map(|address| {
        let canonical = Canonical::of(address.ip());
        let block = Block::of(canonical.ip());
        let is_ours = || own.iter().any(|own| Block::of(*own) == block);
        let fits = !canonical.is_special() || (block.is_some() && is_ours());
        fits.then(|| SocketAddr::new(canonical.dialled(), address.port()))
    });
    known.take(FOUND_ADDRESSES_MAX).collect()
}

/// A block of addresses that many networks use, each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// 10/8.
    Ten,
    /// 172.16/12.
    OneSeventyTwo,
    /// 192.168/16.
    OneNinetyTwo,
    /// 100.64/10, between a provider and its customers.
    Provider,
    /// fd00::/8.
    Unique,
}

impl Block {
    const fn of(ip: IpAddr) -> Option<Self> {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(ip) if ip.octets()[0] == 0xfd => return Some(Self::Unique),
            IpAddr::V6(_) => return None,
        };
        match bytes {
            [10, ..] => Some(Self::Ten),
            [172, 16..=31, ..] => Some(Self::OneSeventyTwo),
            [192, 168, ..] => Some(Self::OneNinetyTwo),
            [100, 64..=127, ..] => Some(Self::Provider),
            _ => None,
        }
    }
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
        let random = Random::from_number(1);
        let finder = Finder::new(Arc::new(joiner), commands, tasks, random, || Ok(Vec::new()));
        let dials = |peer, shortcut| {
            finder.dial(peer, vec!["127.0.0.1:9".to_owned()], shortcut);
            finder.tries().under_way.contains(&peer)
        };
        assert!(!dials(stranger, false));
        assert!(dials(friend, false));
        // The peer of a session of ours; the link takes no part in the overlay.
        assert!(dials(stranger, true));
        assert!(!dials(denied, true));
    }

    fn told(addresses: &[&str], own: &[&str]) -> Vec<String> {
        let addresses = addresses
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), 7000));
        let own: Vec<IpAddr> = own.iter().map(|ip| ip.parse().unwrap()).collect();
        let dialled = within_reach(addresses, &own).into_iter();
        dialled.map(|address| address.ip().to_string()).collect()
    }

    #[test]
    fn private_addresses_are_dialled_only_in_a_block_of_ones_own() {
        let private = [
            "10.9.9.9",
            "172.16.0.1",
            "192.168.3.4",
            "fd00::9",
            "100.64.1.1",
        ];
        assert!(told(&private, &["192.0.2.7", "2001:db8::1"]).is_empty());
        for (own, ip) in [
            "10.0.0.1",
            "172.31.0.5",
            "192.168.1.1",
            "fd12::1",
            "100.100.0.1",
        ]
        .iter()
        .zip(private)
        {
            assert_eq!(told(&private, &["192.0.2.7", own]), [ip]);
        }
        // However it is written.
        assert!(told(&["::ffff:10.9.9.9"], &["192.168.1.1"]).is_empty());
        assert_eq!(told(&["::ffff:10.9.9.9"], &["10.0.0.1"]), ["10.9.9.9"]);
        // Nor the machine itself, nor many at once, nor a cloud's metadata service.
        let never = [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "169.254.169.254",
        ];
        assert!(told(&never, &["10.0.0.1", "127.0.0.1"]).is_empty());
    }

    #[test]
    fn few_addresses_of_a_name_are_dialled() {
        let public = ["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"];
        assert_eq!(told(&public, &[]), public[..FOUND_ADDRESSES_MAX]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_tried_seldom_and_few_are_at_once() {
        let mut tries = Tries::default();
        let peer = |number: usize| {
            let seed = u8::try_from(number).unwrap();
            Identity::from_seed(&[seed; 32]).name()
        };
        assert!(tries.begin(peer(0)));
        tries.under_way.clear();
        assert!(!tries.begin(peer(0)), "it has just been dialled");
        tokio::time::advance(FOUND_PAUSE).await;
        let begun = (0..40).filter(|number| tries.begin(peer(*number)));
        assert_eq!(begun.count(), FOUND_DIALS_AT_ONCE);
    }
}
