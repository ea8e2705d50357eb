//! Grants of the forwarder and their decision (R-A1 to R-A4).
//!
//! What a peer may reach is what a grant says, and nothing else: no grant, no dial and no DNS query.
//! A grant names its peers, and named services or `HOST:PORTS` patterns. A service is dialled
//! wherever the operator put it. Anything else is judged by the address that would be dialled: it is
//! canonicalised first (an IPv6 form that embeds IPv4 is that IPv4 address), and a special address
//! (loopback, private, link-local, metadata …) passes only through an address or CIDR pattern,
//! however it was asked for.
//!
//! A name is judged twice: by its text before anyone resolves it, and by every address of that one
//! resolution. Old notations of addresses (`127.1`, `0x7f.1`) are names, so they are caught by the
//! second judgement.
//!
//! The invariant: a [`Granted`] can be made only in this file, by a grant that allows it, and the
//! forwarder dials nothing but the address in a [`Granted`].
//!
//! This room decides; it neither resolves nor dials nor counts. Port 0 is never granted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;

use crate::name::Name;
use crate::wire::target::{Host, HostName, Target};

pub(crate) mod address;
mod pattern;

pub(crate) use self::address::Canonical;
pub use self::pattern::{HostPattern, Pattern, PatternError, Ports};

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// `*`: whoever may open a session.
    Any,
    /// These names; aliases and groups are resolved by the configuration.
    Names(BTreeSet<Name>),
}

impl Peers {
    fn contains(&self, peer: &Name) -> bool {
        match self {
            Self::Any => true,
            Self::Names(names) => names.contains(peer),
        }
    }
}

/// Permission for some peers to reach some destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whom it is for.
    pub peers: Peers,
    /// Named services that they may reach.
    pub services: BTreeSet<HostName>,
    /// Destinations that they may choose themselves.
    pub to: Vec<Pattern>,
    /// Most channels that one peer may have open through this grant; `None` is no limit (R-A8).
    pub max_channels: Option<u32>,
    /// Most channels that one peer may open through this grant in a second; `None` is no limit.
    pub opens_per_s: Option<u32>,
}

impl Grant {
    /// Whether `other` permits the same to the same peers; the limits may differ.
    pub fn same_subject(&self, other: &Self) -> bool {
        self.peers == other.peers && self.services == other.services && self.to == other.to
    }
}

/// The access list of a forwarder. The default denies everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Acl {
    /// Named services and where they are.
    pub services: BTreeMap<HostName, (Host, u16)>,
    /// Grants; the first one that allows a destination is the one whose limits count.
    pub grants: Vec<Grant>,
}

/// Proof that a grant allows to dial an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    address: SocketAddr,
    grant: usize,
}

impl Granted {
    /// The address to dial.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Index in [`Acl::grants`] of the grant that allows it.
    pub const fn grant(&self) -> usize {
        self.grant
    }
}

/// What the access list says about a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// No grant allows it.
    Denied,
    /// These addresses may be dialled, in this order; never empty.
    Dial(Vec<Granted>),
    /// The name may be resolved once; what comes out has to be judged.
    Resolve(Resolution),
}

/// Permission to resolve a name, with all that is needed to judge the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    name: HostName,
    port: u16,
    grant: usize,
    /// The name is the operator's own word for a service: every address is allowed.
    trusted: bool,
    /// Address patterns that the peer has for this port, with their grants.
    nets: Vec<(usize, IpNet)>,
}

impl Acl {
    /// Decides what `peer` may do to reach `target`.
    pub fn judge(&self, peer: &Name, target: &Target) -> Judgement {
        match target {
            Target::Service(name) => self.judge_service(peer, name),
            Target::Address(Host::Name(name), port) => self.judge_name(peer, name, *port),
            Target::Address(Host::Ip(ip), port) => self.judge_addresses(peer, &[*ip], *port),
            Target::Loopback(port) => {
                let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                self.judge_addresses(peer, &loopback, *port)
            }
        }
    }

    /// Whether a channel of `peer` to `target` that is connected to `dialled` would be allowed;
    /// asked again for live channels when the access list changes.
    pub fn allows(&self, peer: &Name, target: &Target, dialled: SocketAddr) -> bool {
        match self.judge(peer, target) {
            Judgement::Denied => false,
            Judgement::Dial(granted) => granted.iter().any(|g| g.address == dialled),
            Judgement::Resolve(resolution) => {
                resolution.port == dialled.port() && !resolution.judge(&[dialled.ip()]).is_empty()
            }
        }
    }

    fn judge_service(&self, peer: &Name, name: &HostName) -> Judgement {
        let grant = self
            .grants_of(peer)
            .find(|(_, grant)| grant.services.contains(name));
        let (Some((grant, _)), Some((host, port))) = (grant, self.services.get(name)) else {
            return Judgement::Denied;
        };
        match host {
            Host::Ip(ip) => Judgement::Dial(vec![Granted {
                address: SocketAddr::new(Canonical::of(*ip).dialled(), *port),
                grant,
            }]),
            Host::Name(name) => Judgement::Resolve(Resolution {
                name: name.clone(),
                port: *port,
                grant,
                trusted: true,
                nets: Vec::new(),
            }),
        }
    }

    fn judge_name(&self, peer: &Name, name: &HostName, port: u16) -> Judgement {
        let by_name = self
            .patterns_of(peer, port)
            .find(|(_, pattern)| pattern.matches_name(name));
        let Some((grant, _)) = by_name else {
            return Judgement::Denied;
        };
        Judgement::Resolve(Resolution {
            name: name.clone(),
            port,
            grant,
            trusted: false,
            nets: self
                .patterns_of(peer, port)
                .filter_map(|(grant, pattern)| match pattern {
                    HostPattern::Net(net) => Some((grant, *net)),
                    HostPattern::Any | HostPattern::Suffix(_) | HostPattern::Name(_) => None,
                })
                .collect(),
        })
    }

    fn judge_addresses(&self, peer: &Name, ips: &[IpAddr], port: u16) -> Judgement {
        let granted: Vec<Granted> = ips
            .iter()
            .filter_map(|ip| {
                let ip = Canonical::of(*ip);
                let (grant, _) = self
                    .patterns_of(peer, port)
                    .find(|(_, pattern)| allows_address(pattern, ip))?;
                Some(Granted {
                    address: SocketAddr::new(ip.dialled(), port),
                    grant,
                })
            })
            .collect();
        if granted.is_empty() {
            Judgement::Denied
        } else {
            Judgement::Dial(granted)
        }
    }

    fn grants_of(&self, peer: &Name) -> impl Iterator<Item = (usize, &Grant)> {
        self.grants
            .iter()
            .enumerate()
            .filter(|(_, grant)| grant.peers.contains(peer))
    }

    fn patterns_of(&self, peer: &Name, port: u16) -> impl Iterator<Item = (usize, &HostPattern)> {
        self.grants_of(peer).flat_map(move |(index, grant)| {
            grant
                .to
                .iter()
                .filter(move |pattern| pattern.ports.contains(port))
                .map(move |pattern| (index, &pattern.host))
        })
    }
}

/// Whether a pattern of a grant allows an address that was asked for as such.
fn allows_address(pattern: &HostPattern, ip: Canonical) -> bool {
    match pattern {
        HostPattern::Any => !ip.is_special(),
        HostPattern::Net(net) => net.contains(&ip.ip()),
        HostPattern::Suffix(_) | HostPattern::Name(_) => false,
    }
}

impl Resolution {
    /// The name to resolve.
    pub const fn host(&self) -> &HostName {
        &self.name
    }

    /// The port to dial.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Index in [`Acl::grants`] of the grant that allows the name.
    pub const fn grant(&self) -> usize {
        self.grant
    }

    /// Judges every address that the name resolved to and keeps the allowed ones, each once, in
    /// their order: public addresses by the grant of the name, special ones by a grant whose
    /// address or CIDR pattern holds them.
    pub fn judge(&self, addresses: &[IpAddr]) -> Vec<Granted> {
        let mut granted: Vec<Granted> = Vec::with_capacity(addresses.len());
        for ip in addresses.iter().map(|ip| Canonical::of(*ip)) {
            let grant = if self.trusted || !ip.is_special() {
                Some(self.grant)
            } else {
                self.nets
                    .iter()
                    .find_map(|(grant, net)| net.contains(&ip.ip()).then_some(*grant))
            };
            let address = SocketAddr::new(ip.dialled(), self.port);
            if let Some(grant) = grant
                && !granted.iter().any(|known| known.address == address)
            {
                granted.push(Granted { address, grant });
            }
        }
        granted
    }
}

#[cfg(test)]
mod tests;
