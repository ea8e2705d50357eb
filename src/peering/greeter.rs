//! Accepting links. A stranger hears nothing and is let go after a while (R-P1).

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::engine::Command;
use crate::limits::{LINK_GREETINGS_MAX, LINK_HANDSHAKE};
use crate::net::accept::accept;
use crate::net::descriptors::kept;
use crate::net::guests::Guests;
use crate::net::seldom::Seldom;
use crate::peering::join::{Greeting, Joiner};
use crate::peering::options::set_link_options;
use crate::random::Random;

static FLOOD: Seldom = Seldom::new(Duration::from_secs(60));

/// Accepts links on one listener until dropped. A flood of strangers never shuts the door: whoever has
/// been here longest goes when all places are taken.
pub async fn greet(
    listener: TcpListener,
    joiner: Arc<Joiner>,
    commands: mpsc::Sender<Command>,
    mut random: Random,
) {
    let half_kept = usize::try_from(kept() / 2).unwrap_or(usize::MAX);
    let mut guests = Guests::new(LINK_GREETINGS_MAX.min(half_kept), Duration::ZERO);
    loop {
        let (stream, _) = accept(&listener).await;
        let (joiner, commands, random) = (Arc::clone(&joiner), commands.clone(), random.fork());
        let evicted = guests.admit(|_| async move {
            welcome(stream, &joiner, &commands, random).await;
        });
        if evicted && let Some(held_back) = FLOOD.due() {
            tracing::warn!(
                held_back,
                "many connections on the link port that are no links: the oldest are closed"
            );
        }
    }
}

async fn welcome(
    stream: TcpStream,
    joiner: &Joiner,
    commands: &mpsc::Sender<Command>,
    mut random: Random,
) {
    set_link_options(&stream);
    let jitter = Duration::from_millis(random.below(1_000));
    let deadline = sleep(LINK_HANDSHAKE + jitter);
    let greeting = timeout(LINK_HANDSHAKE, joiner.greet(stream, random)).await;
    match greeting {
        Ok(Greeting::Joined(joined, stream)) => {
            // The engine is gone when the node stops.
            let _stopping = commands.send(Command::Link(*joined, stream, None)).await;
        }
        Ok(Greeting::Asked(joined, stream, early)) => {
            let asked = Command::Asked(*joined, stream, early);
            let _stopping = commands.send(asked).await;
        }
        Ok(Greeting::Stranger(stream)) => {
            // What fails at once and what is slow look the same from outside.
            deadline.await;
            drop(stream);
        }
        Ok(Greeting::Gone) | Err(_) => {}
    }
}
