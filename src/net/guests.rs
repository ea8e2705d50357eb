//! Connections whose beginning is under way, so many at most: a flood of silent ones never shuts the door.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::select;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// How long programs on this machine may be silent although others wait. Chosen: in a burst, a request that
/// was sent at once is read by then.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Tasks of connections, the oldest first. When all places are taken, whoever has been silent longest goes
/// for the next one. Dropping it ends them all.
#[derive(Debug)]
pub struct Guests {
    places: usize,
    patience: Duration,
    tasks: JoinSet<()>,
    present: VecDeque<Guest>,
}

#[derive(Debug)]
struct Guest {
    task: AbortHandle,
    silence: Silence,
    since: Instant,
}

/// Held by a guest's task, which says when its guest has done its part.
#[derive(Clone, Debug, Default)]
pub struct Silence(Arc<AtomicBool>);

impl Silence {
    /// The guest is waited for no more: it keeps its place until its task ends.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn lasts(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

impl Guests {
    /// Room for so many; who has been silent for less than `patience` is not sent away.
    pub fn new(places: usize, patience: Duration) -> Self {
        Self {
            places: places.max(1),
            patience,
            tasks: JoinSet::new(),
            present: VecDeque::new(),
        }
    }

    /// Waits until one more can be admitted, for whom a silent one may have to go. May be dropped at any
    /// time.
    pub async fn room(&mut self) {
        while !self.is_free() {
            let oldest = self.present.iter().find(|guest| guest.silence.lasts());
            let Some(until) = oldest.map(|guest| guest.since + self.patience) else {
                self.tasks.join_next().await;
                continue;
            };
            if until <= Instant::now() {
                return;
            }
            select! {
                _ = self.tasks.join_next() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Starts a guest's task, after [`Self::room`]; true if the one that was silent longest had to go for it.
    pub fn admit<T>(&mut self, task: impl FnOnce(Silence) -> T) -> bool
    where
        T: Future<Output = ()> + Send + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        let mut evicted = false;
        if !self.is_free() {
            let oldest = self.present.iter().position(|g| g.silence.lasts());
            if let Some(oldest) = oldest.and_then(|oldest| self.present.remove(oldest)) {
                oldest.task.abort();
                evicted = true;
            }
        }
        let silence = Silence::default();
        let task = self.tasks.spawn(task(silence.clone()));
        self.present.push_back(Guest {
            task,
            silence,
            since: Instant::now(),
        });
        evicted
    }

    fn is_free(&mut self) -> bool {
        if self.present.len() >= self.places {
            self.present.retain(|guest| !guest.task.is_finished());
        }
        self.present.len() < self.places
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    /// A guest that stays, and its end.
    fn guest(speaks: bool) -> (impl FnOnce(Silence) -> Stay, oneshot::Receiver<()>) {
        let (alive, end) = oneshot::channel();
        let task = move |silence: Silence| -> Stay {
            if speaks {
                silence.end();
            }
            Box::pin(async move {
                pending::<()>().await;
                drop(alive);
            })
        };
        (task, end)
    }

    type Stay = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    const STAYS: Result<(), oneshot::error::TryRecvError> =
        Err(oneshot::error::TryRecvError::Empty);

    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_guest_goes_when_all_places_are_taken() {
        let mut guests = Guests::new(3, PATIENCE);
        let start = Instant::now();
        let mut ends = Vec::new();
        for (speaks, evicts) in [(true, false), (false, false), (false, false), (false, true)] {
            guests.room().await;
            let (task, end) = guest(speaks);
            assert_eq!(guests.admit(task), evicts);
            ends.push(end);
        }
        assert_eq!(Instant::now() - start, PATIENCE, "it had its time");
        assert!((&mut ends[1]).await.is_err(), "it was dropped");
        for staying in [0, 2, 3] {
            assert_eq!(ends[staying].try_recv(), STAYS, "{staying}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_room_while_all_have_spoken_and_none_has_left() {
        let mut guests = Guests::new(1, PATIENCE);
        let start = Instant::now();
        guests.admit(|silence| {
            silence.end();
            sleep_until(start + PATIENCE * 5)
        });
        guests.room().await;
        assert_eq!(Instant::now() - start, PATIENCE * 5);
        assert!(!guests.admit(|_| pending()));
    }

    #[tokio::test]
    async fn a_guest_that_is_done_leaves_its_place() {
        let mut guests = Guests::new(1, Duration::ZERO);
        let (done, end) = oneshot::channel();
        guests.admit(|_| async move {
            done.send(()).unwrap();
        });
        end.await.unwrap();
        tokio::task::yield_now().await;
        assert!(!guests.admit(|_| pending()));
    }
}
