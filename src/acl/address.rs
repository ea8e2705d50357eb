//! Which address a destination really is, and whether it is a special one (R-A3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as policy sees it: an IPv4 address stands for every IPv6 form that embeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Canonical {
    ip: IpAddr,
    dialled: IpAddr,
}

impl Canonical {
    /// Canonicalises `ip`.
    pub(crate) fn of(ip: IpAddr) -> Self {
        let embedded = match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => embedded(v6),
        };
        let Some(found) = embedded else {
            return Self { ip, dialled: ip };
        };
        let v4 = IpAddr::V4(found.v4);
        // A network without IPv4 of its own reaches a public IPv4 address only through its NAT64.
        // Anything special is dialled as itself: a grant means this node's view of it, not the
        // translator's.
        let dialled = if found.form == Form::Nat64 && !special_v4(found.v4) {
            ip
        } else {
            v4
        };
        Self { ip: v4, dialled }
    }

    /// The address that patterns are compared with.
    pub(crate) const fn ip(self) -> IpAddr {
        self.ip
    }

    /// The address to connect to: the canonical one, except that a public IPv4 address keeps the
    /// NAT64 prefix it came with.
    pub(crate) const fn dialled(self) -> IpAddr {
        self.dialled
    }

    /// Whether only an address or CIDR pattern may grant it: everything that is not public unicast
    /// (IANA special-purpose address registries), and a cloud's metadata service at a public
    /// address.
    pub(crate) const fn is_special(self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => special_v4(ip),
            IpAddr::V6(ip) => special_v6(ip),
        }
    }
}

/// Length of the prefix that makes all addresses beginning like `ip` embed an IPv4 address, if `ip`
/// does: a pattern at least that long would never match.
pub(crate) fn embedding_prefix_len(ip: Ipv6Addr) -> Option<u8> {
    Some(match embedded(ip)?.form {
        Form::SixToFour => 16,
        Form::Teredo => 32,
        Form::Nat64 | Form::Last32 => 96,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// 64:ff9b::/96 (RFC 6052).
    Nat64,
    /// 2002::/16 (RFC 3056).
    SixToFour,
    /// 2001::/32 (RFC 4380).
    Teredo,
    /// Mapped, compatible, translated and ISATAP (RFC 4291, RFC 2765, RFC 5214).
    Last32,
}

struct Embedded {
    v4: Ipv4Addr,
    form: Form,
}

fn embedded(ip: Ipv6Addr) -> Option<Embedded> {
    let (form, high, low) = match ip.segments() {
        // Unspecified and loopback are addresses of their own, not 0.0.0.0 and 0.0.0.1.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0, 0, 0, 0, 0xffff, 0, a, b] => (Form::Last32, a, b),
        [0x0064, 0xff9b, 0, 0, 0, 0, a, b] => (Form::Nat64, a, b),
        [0x2002, a, b, ..] => (Form::SixToFour, a, b),
        // The client's address is stored inverted.
        [0x2001, 0, _, _, _, _, a, b] => (Form::Teredo, !a, !b),
        // No multicast address has an interface identifier.
        [0xff00..=0xffff, ..] => return None,
        // The two low bits of the first byte (universal, group) say nothing.
        [_, _, _, _, 0 | 0x0100 | 0x0200 | 0x0300, 0x5efe, a, b] => (Form::Last32, a, b),
        _ => return None,
    };
    let v4 = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    Some(Embedded { v4, form })
}

const fn special_v4(ip: Ipv4Addr) -> bool {
    matches!(
        ip.octets(),
        // "This network" with unspecified, private, loopback, multicast, reserved and broadcast.
        [0 | 10 | 127 | 224..=255, ..]
            // Carrier-grade NAT.
            | [100, 64..=127, ..]
            // Link-local, with the usual metadata service.
            | [169, 254, ..]
            // Private.
            | [172, 16..=31, ..]
            | [192, 168, ..]
            // Protocol assignments, documentation.
            | [192, 0, 0 | 2, _]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            // The anycast relay of 6to4, withdrawn.
            | [192, 88, 99, _]
            // Benchmarking.
            | [198, 18..=19, ..]
            // Azure's metadata and host service, at a public address.
            | [168, 63, 129, 16]
    )
}

const fn special_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // Protocol assignments (with benchmarking and ORCHID), documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => true,
        // Global unicast is 2000::/3; loopback, local, private, multicast and all that is
        // unassigned lies outside.
        [0x2000..=0x3fff, ..] => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
