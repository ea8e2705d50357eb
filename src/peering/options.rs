//! TCP options of links.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::limits::LINK_DEAD;

/// Sets what a link's socket needs: no Nagle's delay, an end to data that nobody acknowledges, and BBR
/// where the kernel has it.
pub(super) fn set_link_options(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(30));
    // Each of these makes a link better; none is needed for it to work.
    let results = [
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        (
            "TCP_USER_TIMEOUT",
            socket.set_tcp_user_timeout(Some(LINK_DEAD * 10)),
        ),
        ("SO_KEEPALIVE", socket.set_tcp_keepalive(&keepalive)),
        ("TCP_CONGESTION", socket.set_tcp_congestion(b"bbr")),
    ];
    for (option, result) in results {
        if let Err(error) = result {
            tracing::debug!(option, %error, "socket option not set");
        }
    }
}
