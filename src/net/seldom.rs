//! Log lines that a flood must not multiply.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::name::Name;

/// Lines about one peer per minute (R-X2).
const PER_MINUTE: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Peers remembered; the one whose minute began first goes.
const PEERS_KEPT: usize = 256;

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

/// Lets so many lines about each peer through per minute and counts those it held back: whoever may link can
/// make a node write as often as it likes.
#[derive(Debug, Default)]
pub struct PerPeer(Mutex<BTreeMap<Name, Minute>>);

/// A peer's present minute.
#[derive(Debug)]
struct Minute {
    began: Instant,
    written: u32,
    held_back: u64,
}

/// A line about a peer may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Lines about it that were held back since the last one, if any were.
    pub held_back: Option<u64>,
}

impl PerPeer {
    /// Whether a line about `peer` may be written.
    pub fn pass(&self, peer: Name) -> Option<Pass> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if peers.len() >= PEERS_KEPT && !peers.contains_key(&peer) {
            let first = peers.iter().min_by_key(|(_, minute)| minute.began);
            if let Some(name) = first.map(|(name, _)| *name) {
                peers.remove(&name);
            }
        }
        let minute = peers.entry(peer).or_insert(Minute {
            began: now,
            written: 0,
            held_back: 0,
        });
        if now.saturating_duration_since(minute.began) >= MINUTE {
            (minute.began, minute.written) = (now, 0);
        }
        if minute.written >= PER_MINUTE {
            minute.held_back = minute.held_back.saturating_add(1);
            return None;
        }
        minute.written += 1;
        let held_back = std::mem::take(&mut minute.held_back);
        Some(Pass {
            held_back: (held_back > 0).then_some(held_back),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    fn name(seed: u16) -> Name {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&seed.to_be_bytes());
        Identity::from_seed(&bytes).name()
    }

    #[tokio::test(start_paused = true)]
    async fn thirty_lines_of_each_peer_pass_per_minute_and_the_others_are_counted() {
        let lines = PerPeer::default();
        let held = |seed| lines.pass(name(seed)).map(|pass| pass.held_back);
        for _ in 0..PER_MINUTE {
            assert_eq!(held(1), Some(None));
        }
        assert_eq!(held(1), None);
        assert_eq!(held(2), Some(None));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(held(1), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(held(1), Some(Some(2)));
        assert_eq!(held(1), Some(None));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_peers_are_remembered() {
        let lines = PerPeer::default();
        for seed in 0..1_000 {
            assert!(lines.pass(name(seed)).is_some());
        }
        let kept = lines.0.lock().unwrap().len();
        assert_eq!(kept, PEERS_KEPT);
    }

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
