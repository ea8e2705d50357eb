//! Destination patterns of grants and routes: `HOST:PORTS`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
};

use ipnet::{IpNet, Ipv6Net};
use thiserror::Error;

use crate::acl::address::{Canonical, embedding_prefix_len};
use crate::wire::target::{Host, HostError, HostName};

/// The host part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`: in a route every host; in a grant every name and every public address.
    Any,
    /// `*.suffix`, kept without the `*.`: every name below the suffix, not the suffix itself.
    Suffix(String),
    /// Exactly this name.
    Name(HostName),
    /// An address (full prefix length) or a CIDR block.
    Net(IpNet),
}

/// Why a text is no pattern. The texts name the remedy; the configuration adds file and line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// No `:PORTS` where they are required.
    #[error("ports are missing: write HOST:PORTS, with `*` for all ports")]
    PortsMissing,
    /// Ports that are neither `*`, nor `n`, nor `n-m`, nor a list of these.
    #[error("ports are `*`, a number from 1 to 65535, a range like 8000-8099, or a list of these")]
    Ports,
    /// The host is no host name.
    #[error("{0}")]
    Host(#[from] HostError),
    /// An IPv6 address without brackets.
    #[error("an IPv6 address stands in brackets: [2001:db8::1]:443 or [2001:db8::]/32:443")]
    Brackets,
    /// Something in brackets that is no IPv6 address, or one with a zone.
    #[error("brackets hold an IPv6 address without a zone")]
    NoIpv6,
    /// No address in front of the slash, or a prefix length that is none.
    #[error("a prefix is an address, `/` and a length up to 32 (IPv4) or 128 (IPv6)")]
    Prefix,
    /// Bits are set behind the prefix: either the address or the length is mistyped.
    #[error("the address has bits beyond the prefix length: write {0}")]
    HostBits(IpNet),
    /// The last label is a number: an address that is mistyped or shortened.
    #[error("a name does not end in a number: write an IPv4 address in full")]
    Numeric,
    /// An IPv6 form that embeds IPv4; it is judged as the IPv4 address.
    #[error("write the IPv4 address that this IPv6 form stands for")]
    Embedded,
}

/// A set of TCP ports; port 0 is never in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// All ports, 1 to 65535.
    pub fn all() -> Self {
        Self(vec![1..=u16::MAX])
    }

    /// Whether `port` is one of them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    fn parse(text: &str) -> Result<Self, PatternError> {
        let mut ranges = text
            .split(',')
            .map(|item| range(item.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                Some(_) | None => merged.push(range),
            }
        }
        Ok(Self(merged))
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, PatternError> {
    if text == "*" {
        return Ok(1..=u16::MAX);
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (port(from)?, port(to)?);
    if from > to {
        return Err(PatternError::Ports);
    }
    Ok(from..=to)
}

fn port(text: &str) -> Result<u16, PatternError> {
    // `parse` alone would take a plus sign.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PatternError::Ports);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(PatternError::Ports),
        Ok(port) => Ok(port),
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str("*");
        }
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

/// A destination pattern of a grant or a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Which hosts.
    pub host: HostPattern,
    /// Which ports.
    pub ports: Ports,
}

impl Pattern {
    /// Reads `HOST:PORTS`. HOST is `*`, `*.suffix`, a name, an address or a CIDR block, IPv6 in
    /// brackets. Without `:PORTS` the `default_ports` are taken; `None` requires ports.
    pub fn parse(text: &str, default_ports: Option<Ports>) -> Result<Self, PatternError> {
        let (host, ports) = split(text)?;
        let ports = match ports {
            Some(ports) => Ports::parse(ports)?,
            None => default_ports.ok_or(PatternError::PortsMissing)?,
        };
        let host = HostPattern::parse(host)?;
        Ok(Self { host, ports })
    }

    /// Whether host and port match, as routes understand it: `*` is every host, addresses are
    /// compared canonically (an IPv6 form that embeds IPv4 is that IPv4 address), names by text.
    pub fn matches(&self, host: &Host, port: u16) -> bool {
        self.ports.contains(port)
            && match (&self.host, host) {
                (HostPattern::Any, _) => true,
                (HostPattern::Net(net), Host::Ip(ip)) => net.contains(&Canonical::of(*ip).ip()),
                (pattern, Host::Name(name)) => pattern.matches_name(name),
                (HostPattern::Suffix(_) | HostPattern::Name(_), Host::Ip(_)) => false,
            }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.ports)
    }
}

/// Splits host and ports at the colon behind the host.
fn split(text: &str) -> Result<(&str, Option<&str>), PatternError> {
    let host_from = match text.strip_prefix('[') {
        Some(inside) => 1 + inside.find(']').ok_or(PatternError::NoIpv6)?,
        None => 0,
    };
    let colon = text
        .bytes()
        .enumerate()
        .skip(host_from)
        .find_map(|(place, byte)| (byte == b':').then_some(place));
    let (host, ports) = match colon.and_then(|place| text.split_at_checked(place)) {
        Some((host, ports)) => (host, ports.strip_prefix(':')),
        None => (text, None),
    };
    if ports.is_some_and(|ports| ports.contains(':')) {
        return Err(PatternError::Brackets);
    }
    Ok((host, ports))
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            return Ok(Self::Suffix(name(suffix)?.as_str().to_owned()));
        }
        if let Some(inside) = text.strip_prefix('[') {
            let (address, behind) = inside.split_once(']').ok_or(PatternError::NoIpv6)?;
            let address: Ipv6Addr = address.parse().map_err(|_| PatternError::NoIpv6)?;
            return net(address.into(), behind);
        }
        let (address, behind) = text.split_at(text.find('/').unwrap_or(text.len()));
        match address.parse::<Host>() {
            Ok(Host::Ip(IpAddr::V6(_))) => Err(PatternError::Brackets),
            Ok(Host::Ip(ip)) => net(ip, behind),
            Ok(Host::Name(_)) | Err(_) if !behind.is_empty() => Err(PatternError::Prefix),
            Ok(Host::Name(_)) | Err(_) => Ok(Self::Name(name(text)?)),
        }
    }

    /// Whether a name matches by its text; address patterns match no name.
    pub(crate) fn matches_name(&self, name: &HostName) -> bool {
        match self {
            Self::Any => true,
            Self::Suffix(suffix) => name
                .as_str()
                .strip_suffix(suffix.as_str())
                .is_some_and(|front| front.ends_with('.')),
            Self::Name(own) => own == name,
            Self::Net(_) => false,
        }
    }
}

/// Reads a host name that cannot be taken for an address.
fn name(text: &str) -> Result<HostName, PatternError> {
    match text.parse()? {
        Host::Name(name) if !ends_in_a_number(&name) => Ok(name),
        Host::Name(_) | Host::Ip(_) => Err(PatternError::Numeric),
    }
}

/// Whether resolvers would read the name as an IPv4 address in an old notation, like `127.1`,
/// `0x7f.1` or `2130706433`.
fn ends_in_a_number(name: &HostName) -> bool {
    let last = name.as_str().rsplit('.').next().unwrap_or_default();
    match last.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// An address with nothing or `/LENGTH` behind it.
fn net(ip: IpAddr, behind: &str) -> Result<HostPattern, PatternError> {
    let net = match behind.strip_prefix('/') {
        Some(len) if len.bytes().all(|b| b.is_ascii_digit()) => {
            let len = len.parse().map_err(|_| PatternError::Prefix)?;
            IpNet::new(ip, len).map_err(|_| PatternError::Prefix)?
        }
        None if behind.is_empty() => IpNet::from(ip),
        Some(_) | None => return Err(PatternError::Prefix),
    };
    if net.trunc() != net {
        return Err(PatternError::HostBits(net.trunc()));
    }
    match net {
        IpNet::V6(v6) if never_matches(v6) => Err(PatternError::Embedded),
        IpNet::V4(_) | IpNet::V6(_) => Ok(HostPattern::Net(net)),
    }
}

fn never_matches(net: Ipv6Net) -> bool {
    embedding_prefix_len(net.network()).is_some_and(|len| net.prefix_len() >= len)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Name(name) => name.fmt(f),
            Self::Net(net) => {
                Host::Ip(net.network()).fmt(f)?;
                if net.prefix_len() < net.max_prefix_len() {
                    write!(f, "/{}", net.prefix_len())?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
