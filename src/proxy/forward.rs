//! Fixed forwards: every connection to a listener leads to one destination.

use tokio::sync::{mpsc, watch};

use crate::lcm::local::{Answer, LocalConnection};
use crate::name::Name;
use crate::proxy::door::Door;
use crate::wire::target::Target;

/// Hands every connection through `door` over with the one `target`, until `stop` holds true or its
/// sender or the gate is gone.
///
/// `via` is asked for each connection, so that a reload counts at once; where it names nobody the
/// connection is reset, for lack of another way to say "failed". While the gate is full nothing more is accepted. It may be dropped at any time.
pub async fn serve_forward<V>(
    door: Door,
    via: V,
    target: Target,
    gate: mpsc::Sender<LocalConnection>,
    mut stop: watch::Receiver<bool>,
) where
    V: Fn() -> Vec<Name> + Send,
{
    let forward = async {
        loop {
            let stream = door.accept().await;
            // Only after accepting: a place held in advance would be lost to all others.
            let Ok(permit) = gate.reserve().await else {
                stream.reset_on_close();
                return;
            };
            let via = via();
            if via.is_empty() {
                tracing::debug!("a forwarded connection has no way to go");
                stream.reset_on_close();
                continue;
            }
            let port = stream.port();
            match stream.into_local() {
                Ok(stream) => permit.send(LocalConnection {
                    stream,
                    early: Vec::new(),
                    port,
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
