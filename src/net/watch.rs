//! Notices that the network changed: links up or down, addresses, routes (rtnetlink(7)).
//!
//! What exactly changed is not looked at: whoever is told tries what it would try anyway, only at once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// Changes come in bursts: an address, its route, a neighbour. They are told as one.
const BURST: Duration = Duration::from_millis(20);

/// Multicast groups of rtnetlink: links, IPv4 and IPv6 addresses, IPv4 and IPv6 routes.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A socket on which the kernel tells changes.
#[derive(Debug)]
pub struct NetworkWatch {
    socket: AsyncFd<OwnedFd>,
}

impl NetworkWatch {
    /// Listens from here on. Fails where the system has no such thing.
    #[expect(
        deprecated,
        reason = "an OwnedFd keeps its descriptor open as long as it is registered; the other way is unsafe"
    )]
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self {
            socket: AsyncFd::new(socket)?,
        })
    }

    /// Resolves after the next change, when its burst is over. May be dropped at any await.
    pub async fn changed(&self) -> io::Result<()> {
        self.drain().await?;
        sleep(BURST).await;
        // What has come meanwhile belongs to the same burst.
        while self.take()? {}
        Ok(())
    }

    /// Waits for one message.
    async fn drain(&self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            if self.take()? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Takes one message, if one is there. A lost one counts: something has changed.
    fn take(&self) -> io::Result<bool> {
        let mut buffer = [0_u8; 8192];
        match recv(self.socket.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(rustix::io::Errno::NOBUFS) => Ok(true),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
