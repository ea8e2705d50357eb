//! Accepting links. A stranger hears nothing and is let go after a while (R-P1).

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::engine::Command;
use crate::limits::{LINK_GREETINGS_MAX, LINK_HANDSHAKE};
use crate::net::accept::accept;
use crate::peering::join::{Greeting, Joiner};
use crate::peering::options::set_link_options;
use crate::random::Random;

/// Accepts links on one listener until dropped.
pub async fn greet(
    listener: TcpListener,
    joiner: Arc<Joiner>,
    commands: mpsc::Sender<Command>,
    mut random: Random,
) {
    let places = Arc::new(Semaphore::new(LINK_GREETINGS_MAX));
    let mut guests = JoinSet::new();
    loop {
        let (stream, _) = accept(&listener).await;
        while guests.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (joiner, commands, random) = (Arc::clone(&joiner), commands.clone(), random.fork());
        guests.spawn(async move {
            welcome(stream, &joiner, &commands, random).await;
            drop(place);
        });
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
