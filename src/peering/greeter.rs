//! Accepting links. A stranger hears nothing and is let go after a while (R-P1).

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::engine::Command;
use crate::limits::{LINK_GREETINGS_MAX, LINK_HANDSHAKE};
use crate::net::accept::accept;
use crate::net::descriptors::kept;
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
    let mut guests = Guests::new(LINK_GREETINGS_MAX.min(half_kept));
    loop {
        let (stream, _) = accept(&listener).await;
        let (joiner, commands, random) = (Arc::clone(&joiner), commands.clone(), random.fork());
        let evicted = guests.admit(async move {
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

/// Tasks of connections whose handshake is under way, the oldest first; dropping it ends them all.
struct Guests {
    places: usize,
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Guests {
    fn new(places: usize) -> Self {
        Self {
            places,
            tasks: JoinSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Starts a guest's task; true if the oldest one had to go for it.
    fn admit(&mut self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        while self.tasks.try_join_next().is_some() {}
        let mut evicted = false;
        if self.order.len() >= self.places {
            self.order.retain(|guest| !guest.is_finished());
            if self.order.len() >= self.places
                && let Some(oldest) = self.order.pop_front()
            {
                oldest.abort();
                evicted = true;
            }
        }
        self.order.push_back(self.tasks.spawn(task));
        evicted
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_oldest_guest_goes_when_all_places_are_taken() {
        let mut guests = Guests::new(2);
        let mut ends = Vec::new();
        for evicts in [false, false, true] {
            let (alive, end) = oneshot::channel::<()>();
            let stays = async move {
                pending::<()>().await;
                drop(alive);
            };
            assert_eq!(guests.admit(stays), evicts);
            ends.push(end);
        }
        assert!((&mut ends[0]).await.is_err(), "it was dropped");
        assert!(ends[1].try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert!(ends[2].try_recv() == Err(oneshot::error::TryRecvError::Empty));
    }

    #[tokio::test]
    async fn a_guest_that_is_done_leaves_its_place() {
        let mut guests = Guests::new(1);
        let (done, end) = oneshot::channel();
        let says = async move {
            done.send(()).unwrap();
        };
        assert!(!guests.admit(says));
        end.await.unwrap();
        tokio::task::yield_now().await;
        assert!(!guests.admit(pending()));
    }
}
