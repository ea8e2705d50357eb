//! Notices that the network changed: links up or down, addresses, routes (rtnetlink(7)).
//!
//! What exactly changed is not looked at: whoever is told tries what it would try anyway, only at once.

use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::net::netlink::Notices;

/// Changes come in bursts: an address, its route, a neighbour. They are told as one.
const BURST: Duration = Duration::from_millis(20);

/// Multicast groups of rtnetlink: links, IPv4 and IPv6 addresses, IPv4 and IPv6 routes.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A socket on which the kernel tells changes.
#[derive(Debug)]
pub struct NetworkWatch(Notices);

impl NetworkWatch {
    /// Listens from here on. Fails where the system has no such thing.
    pub fn open() -> io::Result<Self> {
        Notices::open(None, GROUPS).map(Self)
    }

    /// Resolves after the next change, when its burst is over. May be dropped at any await.
    pub async fn changed(&self) -> io::Result<()> {
        // A lost message counts: something has changed.
        self.0.next().await?;
        sleep(BURST).await;
        // What has come meanwhile belongs to the same burst.
        while self.0.take()?.is_some() {}
        Ok(())
    }
}
