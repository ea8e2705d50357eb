//! Where a channel shall lead at the far side.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use thiserror::Error;

use crate::wire::codec::{DecodeError, Reader, Write};

/// Longest host name in bytes (RFC 1035; SOCKS5 has one length byte).
pub const HOST_NAME_MAX: usize = 255;
/// Longest label of a host name, and longest service name, in bytes.
pub const LABEL_MAX: usize = 63;

/// A host name as it travels: lower case, letters, digits, `-`, `_` and dots only, labels of 1 to 63
/// bytes, no trailing dot, and never an IP address in text form (R-F4).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// Why a text is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// Nothing, or more than 255 bytes, or a label that is empty or above 63 bytes.
    #[error("a host name has 1 to 255 bytes in labels of 1 to 63")]
    Length,
    /// A character outside letters, digits, `-`, `_` and `.`.
    #[error("a host name holds only letters, digits, '-', '_' and '.'")]
    Character,
}

impl HostName {
    /// The name, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host: an address, or a name that only the far side resolves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name.
    Name(HostName),
}

impl FromStr for Host {
    type Err = HostError;

    /// Reads an address (IPv6 with or without brackets, no zone) or a name, which is canonicalised:
    /// lower case, one trailing dot removed. An address sent as a name is an address (R-F4).
    fn from_str(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Some(inner) = bare {
            return inner
                .parse::<Ipv6Addr>()
                .map(|ip| Self::Ip(ip.into()))
                .map_err(|_| HostError::Character);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        if text.is_empty() || text.len() > HOST_NAME_MAX {
            return Err(HostError::Length);
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > LABEL_MAX {
                return Err(HostError::Length);
            }
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            {
                return Err(HostError::Character);
            }
        }
        Ok(Self::Name(HostName(text.to_ascii_lowercase().into())))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Where a channel shall lead: what an OPEN asks of the forwarder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A host and port, judged by the forwarder's `to` patterns.
    Address(Host, u16),
    /// A service that the forwarder knows by name; the label rules of host names hold.
    Service(HostName),
    /// A port of the forwarder's own loopback: 127.0.0.1, then ::1.
    Loopback(u16),
}

const V4: u8 = 1;
const V6: u8 = 2;
const NAME: u8 = 3;
const SERVICE: u8 = 4;
const LOOPBACK: u8 = 5;

impl Target {
    /// Appends the target: kind (1), then address (4 or 16) and port (2), or length and name and
    /// port, or length and service, or port.
    pub fn encode(&self, out: &mut impl Write) {
        match self {
            Self::Address(Host::Ip(IpAddr::V4(ip)), port) => {
                out.put_u8(V4);
                out.put(&ip.octets());
                out.put_u16(*port);
            }
            Self::Address(Host::Ip(IpAddr::V6(ip)), port) => {
                out.put_u8(V6);
                out.put(&ip.octets());
                out.put_u16(*port);
            }
            Self::Address(Host::Name(name), port) => {
                out.put_u8(NAME);
                out.put_bytes(name.as_str().as_bytes());
                out.put_u16(*port);
            }
            Self::Service(name) => {
                out.put_u8(SERVICE);
                out.put_bytes(name.as_str().as_bytes());
            }
            Self::Loopback(port) => {
                out.put_u8(LOOPBACK);
                out.put_u16(*port);
            }
        }
    }

    /// Reads a target; names must arrive canonical.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            V4 => Self::Address(
                Host::Ip(Ipv4Addr::from(reader.array::<4>()?).into()),
                reader.u16()?,
            ),
            V6 => Self::Address(
                Host::Ip(Ipv6Addr::from(reader.array::<16>()?).into()),
                reader.u16()?,
            ),
            NAME => {
                let name = host_name(reader, HOST_NAME_MAX)?;
                Self::Address(Host::Name(name), reader.u16()?)
            }
            SERVICE => Self::Service(host_name(reader, LABEL_MAX)?),
            LOOPBACK => Self::Loopback(reader.u16()?),
            _ => return Err(DecodeError::Invalid("target kind")),
        })
    }
}

fn host_name(reader: &mut Reader<'_>, max: usize) -> Result<HostName, DecodeError> {
    let bytes = reader.bytes(max, "host name")?;
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid("host name"))?;
    match text.parse() {
        Ok(Host::Name(name)) if name.as_str() == text => Ok(name),
        _ => Err(DecodeError::Invalid("host name")),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(host, port) => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Loopback(port) => write!(f, "loopback:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_canonical_and_an_address_in_text_is_an_address() {
        let name = |text: &str| match text.parse() {
            Ok(Host::Name(name)) => name.as_str().to_owned(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(name("Example.ORG."), "example.org");
        assert_eq!(name("_srv.x-1.example"), "_srv.x-1.example");
        assert_eq!(
            "127.0.0.1".parse(),
            Ok(Host::Ip(Ipv4Addr::LOCALHOST.into()))
        );
        assert_eq!(
            "127.0.0.1.".parse(),
            Ok(Host::Ip(Ipv4Addr::LOCALHOST.into()))
        );
        assert_eq!("[::1]".parse(), Ok(Host::Ip(Ipv6Addr::LOCALHOST.into())));
        assert_eq!("::1".parse(), Ok(Host::Ip(Ipv6Addr::LOCALHOST.into())));
    }

    #[test]
    fn odd_names_are_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a\0b",
            "ä.example",
            "[::1",
            "fe80::1%eth0",
            "a..",
            "-é",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
        assert!(
            format!("{}.example", "a".repeat(64))
                .parse::<Host>()
                .is_err()
        );
        assert!(
            format!("{}.example", "a".repeat(63))
                .parse::<Host>()
                .is_ok()
        );
        let long = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(63),
        ]
        .join(".");
        assert_eq!(long.len(), 255);
        assert!(long.parse::<Host>().is_ok());
        assert!(format!("{long}e").parse::<Host>().is_err());
    }

    #[test]
    fn every_kind_of_target_reads_back() {
        let host = |text: &str| text.parse::<Host>().unwrap();
        let service = match host("ssh") {
            Host::Name(name) => Target::Service(name),
            Host::Ip(_) => panic!("a label"),
        };
        for target in [
            Target::Address(host("192.0.2.1"), 80),
            Target::Address(host("2001:db8::1"), 443),
            Target::Address(host("www.example.org"), 65535),
            service,
            Target::Loopback(22),
        ] {
            let mut out = Vec::new();
            target.encode(&mut out);
            let mut reader = Reader::new(&out);
            assert_eq!(Target::decode(&mut reader), Ok(target));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_name_that_is_not_canonical_is_refused_on_the_wire() {
        for text in ["Example.org", "127.0.0.1", "a.", "::1"] {
            let mut out = vec![NAME];
            out.put_bytes(text.as_bytes());
            out.put_u16(80);
            assert_eq!(
                Target::decode(&mut Reader::new(&out)),
                Err(DecodeError::Invalid("host name")),
                "{text}"
            );
        }
    }
}
