//! What peers may use of the forwarder: pending OPENs, channels and openings per grant (R-A8).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::name::Name;
use crate::time::Time;
use crate::wire::failure::OpenFailure;

/// Entries that are kept before idle ones are swept out.
const SWEEP_MIN: usize = 64;

/// OPENs that are being resolved or dialled, counted in total and per peer.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    max: usize,
    counts: Arc<Mutex<PendingCounts>>,
}

#[derive(Debug, Default)]
struct PendingCounts {
    total: usize,
    by_peer: BTreeMap<Name, usize>,
}

/// One pending OPEN; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct PendingOpen {
    peer: Name,
    counts: Arc<Mutex<PendingCounts>>,
}

impl Pending {
    /// Room for `max` OPENs, of which one peer gets at most half.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            counts: Arc::default(),
        }
    }

    /// Takes a place.
    pub(crate) fn enter(&self, peer: Name) -> Result<PendingOpen, OpenFailure> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.by_peer.get(&peer).copied().unwrap_or(0);
        if counts.total >= self.max || own >= self.max.div_ceil(2) {
            return Err(OpenFailure::Limit);
        }
        counts.total += 1;
        counts.by_peer.insert(peer, own + 1);
        drop(counts);
        Ok(PendingOpen {
            peer,
            counts: Arc::clone(&self.counts),
        })
    }

    /// Whether nobody has a pending OPEN.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total == 0 && counts.by_peer.is_empty()
    }
}

impl Drop for PendingOpen {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total = counts.total.saturating_sub(1);
        if let Some(own) = counts.by_peer.get_mut(&self.peer) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.by_peer.remove(&self.peer);
            }
        }
    }
}

/// What a grant allows to one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quota {
    /// Most channels at once.
    pub(crate) channels: Option<u32>,
    /// Most openings in a second.
    pub(crate) opens_per_s: Option<u32>,
}

/// Who uses a grant, and how much of it.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<BTreeMap<Name, PeerUsage>>);

#[derive(Debug, Default)]
struct PeerUsage {
    channels: u32,
    opened: Rate,
}

/// One channel that counts against a grant; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Slot {
    peer: Name,
    usage: Arc<Usage>,
}

impl Usage {
    /// Counts an OPEN: one opening and, until the slot is dropped, one channel.
    pub(crate) fn open(
        self: &Arc<Self>,
        peer: Name,
        quota: Quota,
        now: Time,
    ) -> Result<Slot, OpenFailure> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= SWEEP_MIN && !peers.contains_key(&peer) {
            peers.retain(|_, usage| usage.channels > 0 || usage.opened.is_busy(now));
        }
        let usage = peers.entry(peer).or_default();
        if quota.channels.is_some_and(|max| usage.channels >= max) {
            return Err(OpenFailure::Limit);
        }
        if let Some(rate) = quota.opens_per_s
            && !usage.opened.take(rate, Duration::from_secs(1), now)
        {
            return Err(OpenFailure::Limit);
        }
        usage.channels = usage.channels.saturating_add(1);
        drop(peers);
        Ok(Slot {
            peer,
            usage: Arc::clone(self),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut peers = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = peers.get_mut(&self.peer) {
            usage.channels = usage.channels.saturating_sub(1);
            // The rate has to be remembered until it is idle; `open` sweeps those out.
            if usage.channels == 0 && usage.opened == Rate::default() {
                peers.remove(&self.peer);
            }
        }
    }
}

/// A rate limit: at most `n` at once, refilled evenly over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// When everything taken so far is refilled.
    full_at: Time,
}

impl Rate {
    /// Takes one of `n` per `period`, if there is one.
    pub(crate) fn take(&mut self, n: u32, period: Duration, now: Time) -> bool {
        if n == 0 {
            return false;
        }
        let full_at = self.full_at.max(now) + period / n;
        if full_at.since(now) > period {
            return false;
        }
        self.full_at = full_at;
        true
    }

    /// Whether something taken is not refilled yet.
    pub(crate) fn is_busy(self, now: Time) -> bool {
        self.full_at > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    fn name(seed: u8) -> Name {
        Identity::from_seed(&[seed; 32]).name()
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn one_peer_gets_half_of_the_pending_opens_and_another_the_rest() {
        let pending = Pending::new(4);
        let first = pending.enter(name(1)).unwrap();
        let _second = pending.enter(name(1)).unwrap();
        assert_eq!(pending.enter(name(1)).unwrap_err(), OpenFailure::Limit);
        let _third = pending.enter(name(2)).unwrap();
        let _fourth = pending.enter(name(3)).unwrap();
        assert_eq!(pending.enter(name(2)).unwrap_err(), OpenFailure::Limit);
        drop(first);
        let _again = pending.enter(name(1)).unwrap();
        assert_eq!(pending.enter(name(2)).unwrap_err(), OpenFailure::Limit);
    }

    #[test]
    fn nothing_is_kept_of_peers_without_pending_opens() {
        let pending = Pending::new(4);
        drop(pending.enter(name(1)));
        assert!(pending.is_empty());
    }

    #[test]
    fn channels_are_counted_per_peer_and_given_back() {
        let usage = Arc::new(Usage::default());
        let quota = Quota {
            channels: Some(2),
            opens_per_s: None,
        };
        let open = |peer| usage.open(name(peer), quota, at(0));
        let first = open(1).unwrap();
        let second = open(1).unwrap();
        assert_eq!(open(1).unwrap_err(), OpenFailure::Limit);
        let other = open(2).unwrap();
        drop(first);
        let third = open(1).unwrap();
        assert_eq!(open(1).unwrap_err(), OpenFailure::Limit);
        drop((second, third, other));
        assert!(usage.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_refused_opening_takes_no_channel() {
        let usage = Arc::new(Usage::default());
        let quota = Quota {
            channels: Some(2),
            opens_per_s: Some(1),
        };
        let slot = usage.open(name(1), quota, at(0)).unwrap();
        assert_eq!(
            usage.open(name(1), quota, at(999)).unwrap_err(),
            OpenFailure::Limit
        );
        let again = usage.open(name(1), quota, at(1000)).unwrap();
        drop((slot, again));
        assert_eq!(usage.0.lock().unwrap()[&name(1)].channels, 0);
    }

    #[test]
    fn a_rate_gives_its_burst_and_refills_evenly() {
        let mut rate = Rate::default();
        let second = Duration::from_secs(1);
        for _ in 0..4 {
            assert!(rate.take(4, second, at(1000)));
        }
        assert!(!rate.take(4, second, at(1000)));
        assert!(!rate.take(4, second, at(1249)));
        assert!(rate.take(4, second, at(1250)));
        assert!(!rate.take(4, second, at(1499)));
        assert!(rate.is_busy(at(2249)));
        assert!(!rate.is_busy(at(2250)));
        assert!(!Rate::default().take(0, second, at(0)));
    }

    #[test]
    fn peers_that_come_and_go_are_forgotten() {
        let usage = Arc::new(Usage::default());
        let quota = Quota {
            channels: None,
            opens_per_s: Some(10),
        };
        for seed in 0..200 {
            let now = at(u64::from(seed) * 200);
            drop(usage.open(name(seed), quota, now).unwrap());
            assert!(usage.0.lock().unwrap().len() <= SWEEP_MIN);
        }
    }
}
