//! Log lines that a flood must not multiply.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Lets one line through per interval and counts those it held back.
///
/// Made to stand in a `static` beside the log line that it guards.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Seldom {
    /// One line per `every`.
    pub const fn new(every: Duration) -> Self {
        Self {
            every,
            state: Mutex::new(State {
                last: None,
                held_back: 0,
            }),
        }
    }

    /// Whether the line may be written: then how many were held back since the last one.
    pub fn due(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        if state
            .last
            .is_some_and(|last| at.saturating_duration_since(last) < self.every)
        {
            state.held_back = state.held_back.saturating_add(1);
            return None;
        }
        state.last = Some(at);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_interval_passes_and_the_others_are_counted() {
        let seldom = Seldom::new(Duration::from_secs(10));
        assert_eq!(seldom.due(), Some(0));
        assert_eq!(seldom.due(), None);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(seldom.due(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(seldom.due(), Some(2));
        assert_eq!(seldom.due(), None);
    }
}
