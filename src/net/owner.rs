//! Whose program is at the other end of a TCP connection on this machine (sock_diag(7), R-F5).
//!
//! `SO_PEERCRED` says nothing about TCP, and `/proc/net/tcp` has to be read as a whole: 50 ms with 8,000
//! connections, where this takes 10 µs. The kernel answers within the system call, so nothing waits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use crate::wire::codec::{DecodeError, Reader};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `TCP_TIME_WAIT`, `TCP_CLOSE` and `TCP_LISTEN`: what belongs to nobody, or is no connection.
const STRAY: [u8; 3] = [6, 7, 10];
/// Bytes of a request and of the fixed part of an answer, headers included.
const REQUEST_BYTES: u32 = 72;
/// Bytes of both ports and both addresses.
const ID_BYTES: usize = 36;
const ANSWER_BYTES_MAX: usize = 4096;
/// `ENOENT`, as the kernel says it.
const NO_SUCH: i32 = -2;

/// The user whose socket is bound to `theirs` and connected to `ours`; `None` if there is none on this
/// machine, or it has been closed.
pub fn owner(theirs: SocketAddr, ours: SocketAddr) -> io::Result<Option<u32>> {
    let pair = Pair::new(theirs, ours);
    let socket = open()?;
    send(&socket, &pair.request(), SendFlags::empty())?;
    let mut answer = [0; ANSWER_BYTES_MAX];
    let (taken, _) = recv(&socket, answer.as_mut_slice(), RecvFlags::DONTWAIT)?;
    let answer = answer.get(..taken).unwrap_or_default();
    pair.read(answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::DGRAM;
    let protocol = Some(netlink::SOCK_DIAG);
    Ok(socket_with(AddressFamily::NETLINK, kind, flags, protocol)?)
}

/// A connection as the other end sees it: family, and the ports and addresses of both ends as the kernel
/// writes them.
struct Pair {
    family: u8,
    id: [u8; ID_BYTES],
    /// The same of a dual-stack socket that speaks IPv4.
    mapped: [u8; ID_BYTES],
}

impl Pair {
    fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
        let family = if from.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let ([a, b], [c, d]) = (
            source.port().to_be_bytes(),
            destination.port().to_be_bytes(),
        );
        let id = |bytes: fn(IpAddr) -> [u8; 16]| {
            let mut id = [0; ID_BYTES];
            let (ports, addresses) = id.split_at_mut(4);
            let (first, second) = addresses.split_at_mut(16);
            ports.copy_from_slice(&[a, b, c, d]);
            first.copy_from_slice(&bytes(from));
            second.copy_from_slice(&bytes(to));
            id
        };
        Self {
            // Both are below 256.
            family: u8::try_from(family.as_raw()).unwrap_or(0),
            id: id(plain),
            mapped: id(mapped),
        }
    }

    fn is(&self, id: &[u8; ID_BYTES]) -> bool {
        *id == self.id || *id == self.mapped
    }

    /// `nlmsghdr`, then `inet_diag_req_v2`. Integers are this machine's, but for the pair.
    fn request(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(REQUEST_BYTES as usize);
        text.extend_from_slice(&REQUEST_BYTES.to_ne_bytes());
        text.extend_from_slice(&BY_FAMILY.to_ne_bytes());
        text.extend_from_slice(&REQUEST.to_ne_bytes());
        // Sequence number and sender, which nobody needs here.
        text.extend_from_slice(&[0; 8]);
        // No extensions, one byte of padding, every state.
        text.extend_from_slice(&[self.family, TCP, 0, 0]);
        text.extend_from_slice(&u32::MAX.to_ne_bytes());
        text.extend_from_slice(&self.id);
        // Any interface, and no cookie.
        text.extend_from_slice(&[0; 4]);
        text.extend_from_slice(&[0xff; 8]);
        text
    }

    /// `nlmsghdr`, then `inet_diag_msg` or an error number.
    fn read(&self, answer: &[u8]) -> Result<io::Result<Option<u32>>, DecodeError> {
        let mut reader = Reader::new(answer);
        reader.slice(4)?;
        let kind = u16::from_ne_bytes(reader.array()?);
        reader.slice(10)?;
        if kind == ERROR {
            let code = i32::from_ne_bytes(reader.array()?);
            let error = io::Error::from_raw_os_error(code.saturating_neg());
            return Ok(if code == NO_SUCH {
                Ok(None)
            } else {
                Err(error)
            });
        }
        if kind != BY_FAMILY {
            return Err(DecodeError::Invalid("type"));
        }
        let [_family, state, _timer, _retransmissions] = reader.array()?;
        let id: [u8; ID_BYTES] = reader.array()?;
        // Interface, cookie, expiry, and both queues.
        reader.slice(4 + 8 + 4 + 8)?;
        let uid = u32::from_ne_bytes(reader.array()?);
        let inode = u32::from_ne_bytes(reader.array()?);
        // A listener is told where no connection is; one that no program holds any more shows user 0.
        let whose = self.is(&id) && !STRAY.contains(&state) && inode != 0;
        Ok(Ok(whose.then_some(uid)))
    }
}

/// An address in 16 bytes, zeros behind one of IPv4.
fn plain(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The same as an address of IPv6.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connected(listen: &str, dial: &str) -> Option<(TcpListener, TcpStream, TcpStream)> {
        let Ok(listener) = TcpListener::bind(listen) else {
            eprintln!("SKIPPED: no {listen} here");
            return None;
        };
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((dial, port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        Some((listener, client, accepted))
    }

    fn whose(accepted: &TcpStream) -> Option<u32> {
        owner(
            accepted.peer_addr().unwrap(),
            accepted.local_addr().unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn the_user_of_a_program_is_found_over_both_families() {
        let me = rustix::process::geteuid().as_raw();
        for (listen, dial) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
            ("0.0.0.0:0", "::ffff:127.0.0.1"),
        ] {
            if let Some((_listener, _client, accepted)) = connected(listen, dial) {
                assert_eq!(whose(&accepted), Some(me), "{listen} {dial}");
            }
        }
    }

    #[test]
    fn a_connection_that_is_closed_or_was_never_there_is_nobodys() {
        let (listener, client, accepted) = connected("127.0.0.1:0", "127.0.0.1").unwrap();
        drop(client);
        assert_eq!(whose(&accepted), None, "closed");
        // Where a listener is, but no connection.
        let here = listener.local_addr().unwrap();
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert_eq!(owner(here, nobody).unwrap(), None);
        assert_eq!(owner(nobody, here).unwrap(), None);
        assert_eq!(owner("192.0.2.1:7".parse().unwrap(), here).unwrap(), None);
    }

    #[test]
    fn an_answer_that_is_cut_off_or_about_another_connection_names_nobody() {
        let pair = Pair::new(
            "127.0.0.1:5".parse().unwrap(),
            "127.0.0.1:6".parse().unwrap(),
        );
        let answer = |state: u8, id: &[u8], uid: u32, inode: u32| {
            let mut text = pair.request()[..16].to_vec();
            text.extend_from_slice(&[2, state, 0, 0]);
            text.extend_from_slice(id);
            text.extend_from_slice(&[0; 24]);
            text.extend_from_slice(&uid.to_ne_bytes());
            text.extend_from_slice(&inode.to_ne_bytes());
            text
        };
        let whole = answer(1, &pair.id, 7, 1);
        assert_eq!(whole.len(), 16 + 72);
        assert_eq!(pair.read(&whole).unwrap().unwrap(), Some(7));
        for len in 0..whole.len() {
            assert!(pair.read(&whole[..len]).is_err(), "{len}");
        }
        assert_eq!(
            pair.read(&answer(1, &[0; ID_BYTES], 7, 1))
                .unwrap()
                .unwrap(),
            None
        );
        assert_eq!(
            pair.read(&answer(1, &pair.id, 0, 0)).unwrap().unwrap(),
            None
        );
        for state in STRAY {
            let stray = pair.read(&answer(state, &pair.id, 0, 1));
            assert_eq!(stray.unwrap().unwrap(), None, "{state}");
        }
    }
}
