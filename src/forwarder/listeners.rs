//! The node's own listening sockets, which the forwarder never dials (R-A5).

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
};

/// Every address that this process listens on: front ends, links, control. Clones share one list,
/// and two nodes in one process share it too.
#[derive(Clone, Debug, Default)]
pub struct OwnListeners(Arc<Mutex<BTreeSet<SocketAddr>>>);

impl OwnListeners {
    /// Adds the bound address of a listener.
    pub fn insert(&self, bound: SocketAddr) {
        self.with(|list| list.insert(bound));
    }

    /// Removes the address of a listener that was closed.
    pub fn remove(&self, bound: SocketAddr) {
        self.with(|list| list.remove(&bound));
    }

    /// Whether a connection to `dialled` would reach one of them. A wildcard listener is reached by
    /// every address of this machine; in doubt the answer is yes.
    pub fn holds(&self, dialled: SocketAddr) -> bool {
        let ip = as_the_kernel_dials(dialled.ip());
        let same_port: Vec<IpAddr> = self.with(|list| {
            list.iter()
                .filter(|bound| bound.port() == dialled.port())
                .map(|bound| bound.ip().to_canonical())
                .collect()
        });
        same_port.contains(&ip)
            || (same_port.iter().any(IpAddr::is_unspecified) && is_of_this_machine(ip))
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeSet<SocketAddr>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Connecting to the unspecified address leads to loopback, to a mapped one to the IPv4 address.
fn as_the_kernel_dials(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    }
}

/// Only an address of this machine can be bound. Where the system allows to bind foreign addresses
/// (`ip_nonlocal_bind`), every address counts as local, which only refuses more.
fn is_of_this_machine(ip: IpAddr) -> bool {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::AddrNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn listeners(bound: &str) -> OwnListeners {
        let own = OwnListeners::default();
        own.insert(socket(bound));
        own
    }

    #[test]
    fn a_listener_is_held_until_it_is_removed() {
        let own = listeners("127.0.0.1:1080");
        let clone = own.clone();
        assert!(clone.holds(socket("127.0.0.1:1080")));
        assert!(!clone.holds(socket("127.0.0.1:1081")));
        assert!(!clone.holds(socket("127.0.0.2:1080")));
        own.remove(socket("127.0.0.1:1080"));
        assert!(!clone.holds(socket("127.0.0.1:1080")));
    }

    #[test]
    fn the_unspecified_and_the_mapped_address_are_seen_through() {
        let own = listeners("127.0.0.1:1080");
        assert!(own.holds(socket("0.0.0.0:1080")));
        assert!(own.holds(socket("[::ffff:127.0.0.1]:1080")));
        assert!(listeners("[::1]:1080").holds(socket("[::]:1080")));
    }

    #[test]
    fn a_wildcard_listener_is_reached_by_every_local_address_and_no_other() {
        for bound in ["0.0.0.0:1080", "[::]:1080"] {
            let own = listeners(bound);
            for local in ["127.0.0.1:1080", "127.9.8.7:1080", "0.0.0.0:1080"] {
                assert!(own.holds(socket(local)), "{bound} {local}");
            }
            assert!(!own.holds(socket("127.0.0.1:1081")));
        }
        // Documentation addresses belong to nobody, unless foreign addresses can be bound here.
        let foreign = socket("192.0.2.1:1080");
        let nonlocal = UdpSocket::bind((foreign.ip(), 0)).is_ok();
        assert_eq!(listeners("0.0.0.0:1080").holds(foreign), nonlocal);
    }
}
