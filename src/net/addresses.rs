//! The addresses of this machine at which others may reach it, as the kernel tells them (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// Longest wait for the kernel, which answers at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// The kernel fills no more of a buffer with one message.
const BUFFER: usize = 32 << 10;
/// Messages of one answer that are read; a machine has fewer addresses.
const MESSAGES_MAX: usize = 4_096;

/// Asks for all of a kind (`NLM_F_REQUEST`, `NLM_F_DUMP`).
const ALL: u16 = 0x1 | 0x300;
/// Kinds of messages.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// Flags of an interface: up, and loopback.
const UP: u32 = 0x1;
const LOOPBACK: u32 = 0x8;
/// Flags of an address that is not for others to come to: temporary, a duplicate, or about to go; and of one
/// that is not usable yet.
const UNFIT: u8 = 0x01 | 0x08 | 0x20 | 0x40;
/// Attributes of an address: the far end's or the own one, and the own one.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;

/// Addresses of the interfaces that are up: none of loopback or of one link only, none that is about to go. Those
/// that are reached from farthest first, IPv4 and IPv6 in turns.
pub fn reachable() -> io::Result<Vec<IpAddr>> {
    let up = ask(GET_LINK, NEW_LINK, interface)?;
    let addresses = ask(GET_ADDRESS, NEW_ADDRESS, address)?;
    let fit = addresses
        .into_iter()
        .filter(|(index, _)| up.contains(&Some(*index)));
    Ok(in_order(fit.collect()))
}

/// The answers of the kernel to a question for all of a kind.
fn ask<T>(question: u16, answer: u16, read: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    // Length, kind, flags, number and sender of the message; then the body of the largest kind, all zero.
    let mut request = [0; 32];
    for (at, bytes) in [
        (0, &32_u32.to_ne_bytes()[..]),
        (4, &question.to_ne_bytes()),
        (6, &ALL.to_ne_bytes()),
    ] {
        if let Some(place) = request.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    send(&socket, &request, SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; BUFFER];
    for _ in 0..MESSAGES_MAX {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, behind)) = message(rest) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(Errno::OPNOTSUPP.into()),
                _ if kind == answer => found.extend(read(body)),
                _ => {}
            }
            rest = behind;
        }
    }
    Ok(found)
}

/// The first of several messages: its kind, its body, and those behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(array(bytes, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(array(bytes, 4)?);
    let body = bytes.get(16..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..);
    Some((kind, body, behind.unwrap_or_default()))
}

/// The number of an interface that is up and not loopback.
fn interface(body: &[u8]) -> Option<Option<u32>> {
    let (index, flags) = (array(body, 4)?, array(body, 8)?);
    let flags = u32::from_ne_bytes(flags);
    let fit = flags & (UP | LOOPBACK) == UP;
    Some(fit.then(|| u32::from_ne_bytes(index)))
}

/// An address that others may come to, and the number of its interface.
fn address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let [_, _, flags, _] = array(body, 0)?;
    let index = u32::from_ne_bytes(array(body, 4)?);
    let mut attributes = body.get(8..)?;
    let mut found = None;
    while let Some((length, kind)) = array(attributes, 0).zip(array(attributes, 2)) {
        let length = usize::from(u16::from_ne_bytes(length));
        let kind = u16::from_ne_bytes(kind);
        let Some(value) = attributes.get(4..length) else {
            break;
        };
        // On a line between two ends the first is the other one's.
        if kind == LOCAL || (kind == ADDRESS && found.is_none()) {
            found = ip(value).or(found);
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    found
        .filter(|ip| flags & UNFIT == 0 && is_reachable(*ip))
        .map(|ip| (index, ip))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or(sixteen).ok()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Whether an address may be reached from beyond its link.
fn is_reachable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

/// Whether an address is one of a home, a company or a provider, not of the whole network.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Public addresses first, then those of the older interfaces: those of containers and virtual machines come late.
/// Each family has every other place.
fn in_order(mut found: Vec<(u32, IpAddr)>) -> Vec<IpAddr> {
    found.sort_by_key(|(index, ip)| (is_private(*ip), *index));
    let addresses = found.into_iter().map(|(_, ip)| ip);
    let (four, six): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv4);
    let turns = four.len().max(six.len());
    let turn = |at: usize| [four.get(at), six.get(at)].into_iter().flatten().copied();
    (0..turns).flat_map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// An address as the kernel tells it: interface 2, these flags, one attribute.
    fn told(flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![2, 24, flags, 0];
        body.extend(2_u32.to_ne_bytes());
        for (kind, value) in attributes {
            let length = u16::try_from(4 + value.len()).unwrap();
            body.extend(length.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body
    }

    #[test]
    fn this_machine_tells_no_loopback_and_no_address_of_one_link_only() {
        let here = reachable().unwrap();
        assert!(here.iter().all(|ip| is_reachable(*ip)), "{here:?}");
    }

    #[test]
    fn the_own_end_of_a_line_counts_and_what_is_about_to_go_does_not() {
        let other = (ADDRESS, &[192, 0, 2, 1][..]);
        let own = (LOCAL, &[192, 0, 2, 7][..]);
        let label = (3, &b"wg0"[..]);
        let expected = Some((2, "192.0.2.7".parse().unwrap()));
        assert_eq!(address(&told(0x80, &[label, other, own])), expected);
        assert_eq!(address(&told(0x80, &[own, other])), expected);
        for flag in [0x01, 0x08, 0x20, 0x40] {
            assert_eq!(address(&told(flag, &[own])), None);
        }
        let link_local = (ADDRESS, &[169, 254, 1, 1][..]);
        assert_eq!(address(&told(0, &[link_local])), None);
        assert_eq!(address(&told(0, &[label])), None);
    }

    #[test]
    fn public_addresses_come_first_and_families_take_turns() {
        let found = [
            (5, "172.17.0.1"),
            (2, "192.168.1.4"),
            (3, "203.0.113.9"),
            (2, "fd00::4"),
            (2, "2001:db8::4"),
            (2, "100.64.0.1"),
        ];
        let found = found.map(|(index, ip)| (index, ip.parse().unwrap()));
        let expected = [
            "203.0.113.9",
            "2001:db8::4",
            "192.168.1.4",
            "fd00::4",
            "100.64.0.1",
            "172.17.0.1",
        ];
        assert_eq!(in_order(found.into()), ips(&expected));
    }

    #[test]
    fn whatever_the_kernel_says_is_read_without_harm() {
        let whole = told(0x80, &[(ADDRESS, &[192, 0, 2, 1]), (LOCAL, &[0; 16])]);
        for length in 0..whole.len() {
            let _ = address(&whole[..length]);
            let _ = interface(&whole[..length]);
            let _ = message(&whole[..length]);
        }
        let endless = [0; 32];
        assert_eq!(message(&endless), None);
        assert_eq!(address(&endless), None);
    }
}
