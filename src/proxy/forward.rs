//! Fixed forwards: every connection to a port leads to one destination.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::lcm::local::{Answer, LocalConnection, LocalStream};
use crate::name::Name;
use crate::net::accept::accept_application;
use crate::wire::target::Target;

/// Hands every connection to `listener` over with the one `target`, until `stop` holds true or its
/// sender or the gate is gone.
///
/// `via` is asked for each connection, so that a reload counts at once; where it names nobody the
/// connection is reset. While the gate is full nothing more is accepted. It may be dropped at any time.
pub async fn serve_forward<V>(
    listener: TcpListener,
    via: V,
    target: Target,
    gate: mpsc::Sender<LocalConnection>,
    mut stop: watch::Receiver<bool>,
) where
    V: Fn() -> Vec<Name> + Send,
{
    let forward = async {
        loop {
            let (stream, peer) = accept_application(&listener).await;
            // Only after accepting: a place held in advance would be lost to all others.
            let Ok(permit) = gate.reserve().await else {
                reset(stream);
                return;
            };
            let via = via();
            if via.is_empty() {
                tracing::debug!("a forwarded connection has no way to go");
                reset(stream);
                continue;
            }
            match stream.into_std() {
                Ok(stream) => permit.send(LocalConnection {
                    stream: LocalStream::Tcp(stream),
                    early: Vec::new(),
                    port: peer.port(),
                    via,
                    target: target.clone(),
                    answer: Answer::Silent,
                }),
                Err(error) => tracing::debug!(%error, "a connection could not be handed over"),
            }
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = forward => {}
    }
}

/// Closes with a reset: there is no other way to say "failed" without a protocol.
fn reset(stream: TcpStream) {
    // If it cannot be set the connection ends in an ordinary close.
    let _ = stream.set_zero_linger();
    drop(stream);
}
