//! Names to addresses, by the system's resolver, in bounded parallel (R-A7).
//!
//! The system's resolver blocks a thread and cannot be interrupted. The place of a look-up is given
//! back when its thread is done, not when the caller has given up: so at most [`LOOKUPS_MAX`]
//! threads of the runtime's blocking pool ever wait for DNS. Nothing is cached.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::forwarder::dialer::system_failure;
use crate::name::Name;
use crate::wire::failure::OpenFailure;
use crate::wire::target::HostName;

/// Look-ups at the same time (R-A7); more wait in order of arrival.
pub(crate) const LOOKUPS_MAX: usize = 64;
/// Look-ups of one peer at the same time (R-A7).
pub(crate) const LOOKUPS_PER_PEER: usize = 32;
/// How long an OPEN waits for its look-up, queue included (R-A7).
pub(crate) const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);
/// Addresses of one name that are taken (R-A7).
pub(crate) const ADDRESSES_MAX: usize = 8;

/// A blocking look-up of a name.
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Resolves names for all peers. Clones share their limits.
#[derive(Clone)]
pub(crate) struct Resolver {
    lookup: Arc<Lookup>,
    deadline: Duration,
    all: Arc<Semaphore>,
    by_peer: Arc<Mutex<BTreeMap<Name, Arc<Semaphore>>>>,
}

impl Resolver {
    /// A resolver that asks the system.
    pub(crate) fn system() -> Self {
        Self::new(Arc::new(ask_the_system), LOOKUP_DEADLINE)
    }

    /// A resolver that asks `lookup` on a thread of the blocking pool.
    pub(crate) fn new(lookup: Arc<Lookup>, deadline: Duration) -> Self {
        Self {
            lookup,
            deadline,
            all: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            by_peer: Arc::default(),
        }
    }

    /// Resolves `name` once, for `peer`: at most [`ADDRESSES_MAX`] addresses, never none, families
    /// alternating so that the cap leaves both. May be dropped half-way.
    pub(crate) async fn resolve(
        &self,
        peer: Name,
        name: &HostName,
    ) -> Result<Vec<IpAddr>, OpenFailure> {
        let found = match timeout(self.deadline, self.queue(peer, name)).await {
            Ok(found) => found?,
            Err(_elapsed) => return Err(OpenFailure::TimedOut),
        };
        let mut addresses = alternate(found);
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err(OpenFailure::UnknownName);
        }
        Ok(addresses)
    }

    async fn queue(&self, peer: Name, name: &HostName) -> Result<Vec<IpAddr>, OpenFailure> {
        // The peer's own limit comes first: whoever asks for much queues behind itself.
        let own = self.semaphore_of(peer).acquire_owned().await;
        let all = Arc::clone(&self.all).acquire_owned().await;
        let (Ok(own), Ok(all)) = (own, all) else {
            return Err(OpenFailure::General);
        };
        let lookup = Arc::clone(&self.lookup);
        let name = name.clone();
        let asked = spawn_blocking(move || {
            let _places = (own, all);
            lookup(name.as_str())
        });
        match asked.await {
            Ok(Ok(addresses)) => Ok(addresses),
            // The resolver's own errors have no number; only the system's do.
            Ok(Err(error)) => Err(system_failure(&error).unwrap_or(OpenFailure::UnknownName)),
            Err(_panicked) => Err(OpenFailure::General),
        }
    }

    fn semaphore_of(&self, peer: Name) -> Arc<Semaphore> {
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits or looks up holds a second reference.
        by_peer.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let semaphore = by_peer
            .entry(peer)
            .or_insert_with(|| Arc::new(Semaphore::new(LOOKUPS_PER_PEER)));
        Arc::clone(semaphore)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("deadline", &self.deadline)
            .field("free", &self.all.available_permits())
            .finish_non_exhaustive()
    }
}

fn ask_the_system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0)
        .to_socket_addrs()?
        .map(|found| found.ip())
        .collect())
}

/// Alternates the families, beginning with that of the first address (RFC 8305, section 4).
pub(crate) fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let Some(first) = addresses.first().copied() else {
        return addresses;
    };
    let (one, other): (Vec<IpAddr>, Vec<IpAddr>) = addresses
        .into_iter()
        .partition(|ip| ip.is_ipv4() == first.is_ipv4());
    let mut other = other.into_iter();
    let mut out = Vec::new();
    for ip in one {
        out.push(ip);
        out.extend(other.next());
    }
    out.extend(other);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::name::Identity;
    use crate::wire::target::Host;

    fn name(seed: u8) -> Name {
        Identity::from_seed(&[seed; 32]).name()
    }

    fn host() -> HostName {
        match "a.example".parse() {
            Ok(Host::Name(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn answering(answer: fn() -> io::Result<Vec<IpAddr>>) -> Resolver {
        Resolver::new(Arc::new(move |_: &str| answer()), LOOKUP_DEADLINE)
    }

    #[test]
    fn families_alternate_beginning_with_the_first() {
        let mixed = ips(&["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]);
        assert_eq!(
            alternate(mixed),
            ips(&["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"])
        );
        let later = ips(&["1.1.1.1", "::1", "::2"]);
        assert_eq!(alternate(later.clone()), later);
        assert!(alternate(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn eight_addresses_are_taken_and_the_cap_leaves_both_families() {
        let resolver = answering(|| {
            let v6 = (1..=9_u128).map(|bits| IpAddr::V6(bits.into()));
            let v4 = (1..=9_u32).map(|bits| IpAddr::V4(bits.into()));
            Ok(v6.chain(v4).collect())
        });
        let found = resolver.resolve(name(1), &host()).await.unwrap();
        assert_eq!(found.len(), ADDRESSES_MAX);
        assert_eq!(found.iter().filter(|ip| ip.is_ipv4()).count(), 4);
    }

    #[tokio::test]
    async fn no_address_is_an_unknown_name_and_no_descriptor_is_a_limit() {
        let ask = async |resolver: Resolver| resolver.resolve(name(1), &host()).await;
        let unknown = Err(OpenFailure::UnknownName);
        assert_eq!(ask(answering(|| Ok(Vec::new()))).await, unknown);
        assert_eq!(
            ask(answering(|| Err(io::Error::other("NXDOMAIN")))).await,
            unknown
        );
        let full = answering(|| Err(rustix::io::Errno::MFILE.into()));
        assert_eq!(ask(full).await, Err(OpenFailure::Limit));
    }

    #[tokio::test]
    async fn the_system_knows_this_machine_and_old_notations() {
        let resolver = Resolver::system();
        for text in ["localhost", "127.1"] {
            let Ok(Host::Name(host)) = text.parse() else {
                panic!("{text} is a name");
            };
            let found = resolver.resolve(name(1), &host).await.unwrap();
            assert!(found.iter().all(IpAddr::is_loopback), "{text}: {found:?}");
        }
    }

    #[tokio::test]
    async fn a_look_up_that_hangs_times_out_and_keeps_its_place_until_its_thread_is_done() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let lookup = move |_: &str| {
            // Ends when the test drops the sender.
            let _closed = hang.lock().unwrap().recv();
            Ok(Vec::new())
        };
        let resolver = Resolver::new(Arc::new(lookup), Duration::from_millis(1));
        assert_eq!(
            resolver.resolve(name(1), &host()).await,
            Err(OpenFailure::TimedOut)
        );
        assert_eq!(resolver.all.available_permits(), LOOKUPS_MAX - 1);
        drop(release);
        let all = u32::try_from(LOOKUPS_MAX).unwrap();
        let _everything = resolver.all.acquire_many(all).await.unwrap();
    }

    #[tokio::test]
    async fn one_peer_holds_half_of_the_places_and_another_still_gets_one() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let greedy = name(1);
        let lookup = move |text: &str| {
            if text == "a.example" {
                let _closed = hang.lock().unwrap().recv();
            }
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        };
        let resolver = Resolver::new(Arc::new(lookup), LOOKUP_DEADLINE);
        let mut hanging = tokio::task::JoinSet::new();
        for _ in 0..LOOKUPS_PER_PEER + 5 {
            let resolver = resolver.clone();
            hanging.spawn(async move { resolver.resolve(greedy, &host()).await });
        }
        // Every task runs until it holds a place or waits for one.
        while resolver.all.available_permits() > LOOKUPS_MAX - LOOKUPS_PER_PEER {
            tokio::task::yield_now().await;
        }
        let Ok(Host::Name(other)) = "b.example".parse() else {
            panic!("a name");
        };
        assert!(resolver.resolve(name(2), &other).await.is_ok());
        assert!(resolver.all.available_permits() >= LOOKUPS_MAX - LOOKUPS_PER_PEER - 1);
        drop(release);
        while let Some(done) = hanging.join_next().await {
            assert!(done.unwrap().is_ok());
        }
    }
}
