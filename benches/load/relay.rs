//! The reference: one hop of a plain relay.

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

use crate::Fault;
use crate::helper;

/// Buffer of one direction of a connection, bytes.
const BUFFER: usize = 64 << 10;

/// Relays every connection to `to` until the end of standard input.
#[tokio::main]
pub(crate) async fn serve(to: &str) -> Result<(), Fault> {
    let to: std::net::SocketAddr = to.parse()?;
    let listener = helper::listen()?;
    helper::end_with_parent();
    helper::ready(&listener.local_addr()?.to_string())?;
    loop {
        let (mut near, _) = listener.accept().await?;
        tokio::spawn(async move {
            near.set_nodelay(true)?;
            let mut far = TcpStream::connect(to).await?;
            far.set_nodelay(true)?;
            copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await
        });
    }
}
