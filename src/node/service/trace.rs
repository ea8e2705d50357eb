//! Asking the nodes on a way who they are, one after the other.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cloak::overlay::Traced;
use crate::limits::{TRACE_PATIENCE, TRACE_QUICK, TRACE_ROUNDS};

/// What became of one question.
#[derive(Debug)]
pub(super) enum Step {
    /// This node answered, after this long.
    Answer(Traced, Duration),
    /// Nobody answered.
    Silent,
    /// No neighbour is on the way.
    NoWay,
}

/// A walk from node to node.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Of the round trips so far.
    slowest: Duration,
}

impl Walk {
    /// Asks for the node `left` steps further on: one answer. When it does not come as soon as those before, this node and
    /// the two behind it are asked at once, until no answer can be expected any more: three.
    pub(super) async fn next<Q>(&mut self, left: u8, ask: impl Fn(u8) -> Q) -> Vec<Step>
    where
        Q: Future<Output = Option<Traced>>,
    {
        let begun = Instant::now();
        let quick = begun + TRACE_QUICK.max(self.slowest * TRACE_ROUNDS.0);
        let end = begun + TRACE_PATIENCE.max(self.slowest * TRACE_ROUNDS.1);
        let mut steps = vec![one(ask(left), quick).await];
        if matches!(steps.first(), Some(Step::Silent)) {
            let further = |by: u8| one(ask(left.saturating_add(by)), end);
            let (first, second, third) = tokio::join!(further(0), further(1), further(2));
            steps = vec![first, second, third];
        }
        for step in &steps {
            if let Step::Answer(_, took) = step {
                self.slowest = self.slowest.max(*took);
            }
        }
        steps
    }
}

async fn one(answer: impl Future<Output = Option<Traced>>, end: Instant) -> Step {
    let begun = Instant::now();
    match timeout_at(end, answer).await {
        Ok(Some(traced)) => Step::Answer(traced, begun.elapsed()),
        Ok(None) => Step::NoWay,
        Err(_) => Step::Silent,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::name::Identity;
    use crate::wire::location::Location;

    /// Nodes answer after `took`, but for those from `dead` on.
    async fn answer(left: u8, dead: u8, took: Duration) -> Option<Traced> {
        if left >= dead {
            std::future::pending::<()>().await;
        }
        sleep(took).await;
        Some(Traced {
            id: 1,
            left,
            name: Identity::from_seed(&[left; 32]).name(),
            place: Location::Neighbour,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_died_is_waited_for_as_long_as_the_others_take_a_few_times_over() {
        for (took, most) in [(40, TRACE_PATIENCE), (900, Duration::from_millis(900 * 4))] {
            let took = Duration::from_millis(took);
            let mut walk = Walk::default();
            let ask = |left| answer(left, 2, took);
            for left in 0..2 {
                let steps = walk.next(left, ask).await;
                assert!(matches!(steps.first(), Some(Step::Answer(..))), "{steps:?}");
            }
            let begun = Instant::now();
            let steps = walk.next(2, ask).await;
            assert!(steps.iter().all(|step| matches!(step, Step::Silent)));
            assert_eq!((steps.len(), begun.elapsed()), (3, most), "virtual time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_behind_a_silent_one_is_found() {
        let ask = |left| async move {
            if left == 0 {
                std::future::pending::<()>().await;
            }
            answer(left, 9, TRACE_QUICK).await
        };
        let steps = Walk::default().next(0, ask).await;
        let answers = steps.iter().map(|step| matches!(step, Step::Answer(..)));
        assert_eq!(answers.collect::<Vec<_>>(), [false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_way_nobody_waits() {
        let begun = Instant::now();
        let steps = Walk::default().next(0, |_| async { None }).await;
        assert!(matches!(steps.as_slice(), [Step::NoWay]));
        assert_eq!(begun.elapsed(), Duration::ZERO, "virtual time");
    }
}
