//! What the kernel tells everybody who listens (netlink(7)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with,
};
use tokio::io::unix::AsyncFd;

/// Bytes of one message that are looked at.
const BYTES_MAX: usize = 8192;

/// A socket on which the kernel tells what happens.
#[derive(Debug)]
pub(super) struct Notices {
    socket: AsyncFd<OwnedFd>,
}

impl Notices {
    /// Listens from here on to these multicast groups. Fails where the system has no such thing.
    #[expect(
        deprecated,
        reason = "an OwnedFd keeps its descriptor open as long as it is registered; the other way is unsafe"
    )]
    pub(super) fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            socket: AsyncFd::new(socket)?,
        })
    }

    /// Waits for the next message; empty if some were lost. May be dropped at any time.
    pub(super) async fn next(&self) -> io::Result<Vec<u8>> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            ready.clear_ready();
        }
    }

    /// Takes a message, if one is there; empty if some were lost.
    pub(super) fn take(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0_u8; BYTES_MAX];
        match recv(self.socket.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((taken, _)) => Ok(buffer.get(..taken).map(<[u8]>::to_vec)),
            Err(rustix::io::Errno::NOBUFS) => Ok(Some(Vec::new())),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
