//! Grants of the forwarder: the patterns and lists that decide where a peer may go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
};

use ipnet::IpNet;
use thiserror::Error;

use crate::name::Name;
use crate::wire::target::Host;
use crate::wire::target::HostName;

/// The host part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`.
    Any,
    /// `*.suffix`.
    Suffix(String),
    /// One name.
    Name(HostName),
    /// Addresses.
    Net(IpNet),
}

/// The port part of a pattern; without ranges it holds every port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// Every port.
    pub const ALL: Self = Self(Vec::new());

    /// Whether `port` is meant.
    pub fn contains(&self, port: u16) -> bool {
        self.0.is_empty() || self.0.iter().any(|range| range.contains(&port))
    }
}

/// Hosts and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Which hosts.
    pub host: HostPattern,
    /// Which ports.
    pub ports: Ports,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a pattern is HOST:PORTS")]
pub struct PatternError;

impl Pattern {
    /// Reads `HOST:PORTS`; `default_ports` stand for ports left out.
    pub fn parse(text: &str, default_ports: Option<Ports>) -> Result<Self, PatternError> {
        let (host, ports) = match text.rsplit_once(':') {
            Some((host, ports)) if !ports.contains(']') => (host, read_ports(ports)?),
            _ => (text, default_ports.ok_or(PatternError)?),
        };
        Ok(Self {
            host: read_host(host)?,
            ports,
        })
    }

    /// Whether the pattern means this destination.
    pub fn matches(&self, host: &Host, port: u16) -> bool {
        self.ports.contains(port)
            && match (&self.host, host) {
                (HostPattern::Any, _) => true,
                (HostPattern::Suffix(suffix), Host::Name(name)) => name
                    .as_str()
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|head| head.ends_with('.')),
                (HostPattern::Name(pattern), Host::Name(name)) => pattern == name,
                (HostPattern::Net(net), Host::Ip(ip)) => net.contains(ip),
                (HostPattern::Suffix(_) | HostPattern::Name(_), Host::Ip(_))
                | (HostPattern::Net(_), Host::Name(_)) => false,
            }
    }
}

fn read_host(text: &str) -> Result<HostPattern, PatternError> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if let Some(suffix) = text.strip_prefix("*.") {
        return Ok(HostPattern::Suffix(suffix.to_ascii_lowercase()));
    }
    let bare: String = text.chars().filter(|c| !matches!(c, '[' | ']')).collect();
    if let Ok(net) = bare.parse() {
        return Ok(HostPattern::Net(net));
    }
    match text.parse() {
        Ok(Host::Name(name)) => Ok(HostPattern::Name(name)),
        Ok(Host::Ip(ip)) => Ok(HostPattern::Net(ip.into())),
        Err(_) => Err(PatternError),
    }
}

fn read_ports(text: &str) -> Result<Ports, PatternError> {
    if text == "*" {
        return Ok(Ports::ALL);
    }
    text.split(',')
        .map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            match (low.parse(), high.parse()) {
                (Ok(low), Ok(high)) => Ok(low..=high),
                _ => Err(PatternError),
            }
        })
        .collect::<Result<_, _>>()
        .map(Ports)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Any => f.write_str("*")?,
            HostPattern::Suffix(suffix) => write!(f, "*.{suffix}")?,
            HostPattern::Name(name) => write!(f, "{name}")?,
            HostPattern::Net(IpNet::V4(net)) => write!(f, "{net}")?,
            HostPattern::Net(IpNet::V6(net)) => {
                write!(f, "[{}]/{}", net.addr(), net.prefix_len())?;
            }
        }
        if self.ports.0.is_empty() {
            return f.write_str(":*");
        }
        for (place, range) in self.ports.0.iter().enumerate() {
            f.write_str(if place == 0 { ":" } else { "," })?;
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Whoever may open a session.
    Any,
    /// These names.
    Names(BTreeSet<Name>),
}

/// What some peers may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whom it is for.
    pub peers: Peers,
    /// Services by name.
    pub services: BTreeSet<HostName>,
    /// Destinations.
    pub to: Vec<Pattern>,
    /// Channels open at once; `None` is no limit.
    pub max_channels: Option<u32>,
    /// New channels per second; `None` is no limit.
    pub opens_per_s: Option<u32>,
}

/// Everything a forwarder grants.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Acl {
    /// Services and where they are.
    pub services: BTreeMap<HostName, (Host, u16)>,
    /// Grants; what none of them allows is denied.
    pub grants: Vec<Grant>,
}
