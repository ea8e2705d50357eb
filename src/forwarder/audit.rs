//! Audit lines: one per OPEN and one per CLOSE, under the tracing target `muses::audit` (R-A9).
//!
//! What peers chose themselves is canonical and free of control characters before it comes here:
//! names of nodes are base32, destinations are [`Target`]s; the reason of a CLOSE is escaped.
//! Destinations are shown only where the operator asked for it or the target logs at debug level
//! (R-G3); services are the operator's own words. Refusals are limited per peer (R-X2); a line after
//! suppressed ones says how many.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tracing::{Level, enabled, info};

use crate::forwarder::limits::Rate;
use crate::name::Name;
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

/// Refusals of one peer that are logged per minute (R-X2).
const REFUSALS_PER_MINUTE: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Peers remembered before idle ones are swept out.
const PEERS_KEPT: usize = 256;

/// Writes audit lines.
#[derive(Debug)]
pub(crate) struct Audit {
    destinations: bool,
    refusals: Mutex<BTreeMap<Name, Refusals>>,
}

#[derive(Debug, Default)]
struct Refusals {
    logged: Rate,
    suppressed: u64,
}

/// A closed channel, as its audit line tells it.
pub(crate) struct Closed<'a> {
    pub(crate) peer: &'a Name,
    pub(crate) target: &'a Target,
    pub(crate) to_service: u64,
    pub(crate) from_service: u64,
    pub(crate) lasted: Duration,
    pub(crate) reason: &'a str,
}

impl Audit {
    /// `destinations`: show at info level where channels lead.
    pub(crate) const fn new(destinations: bool) -> Self {
        Self {
            destinations,
            refusals: Mutex::new(BTreeMap::new()),
        }
    }

    /// An OPEN that leads to a service, by the grant at this index.
    pub(crate) fn opened(&self, peer: &Name, target: &Target, grant: usize) {
        let to = self.shown(target);
        info!(target: "muses::audit", %peer, %to, grant, decision = "opened", "open");
    }

    /// An OPEN that failed.
    pub(crate) fn refused(&self, peer: &Name, target: &Target, failure: OpenFailure, now: Time) {
        let Some(suppressed) = self.may_log_refusal(*peer, now) else {
            return;
        };
        let to = self.shown(target);
        info!(target: "muses::audit", %peer, %to, decision = %failure, suppressed, "open");
    }

    /// An OPEN that its session did not wait for.
    pub(crate) fn abandoned(&self, peer: &Name, target: &Target, now: Time) {
        let Some(suppressed) = self.may_log_refusal(*peer, now) else {
            return;
        };
        let to = self.shown(target);
        info!(target: "muses::audit", %peer, %to, decision = "abandoned", suppressed, "open");
    }

    /// The end of a channel.
    pub(crate) fn closed(&self, closed: &Closed<'_>) {
        info!(
            target: "muses::audit",
            peer = %closed.peer,
            to = %self.shown(closed.target),
            bytes_to_service = closed.to_service,
            bytes_from_service = closed.from_service,
            seconds = closed.lasted.as_secs_f64(),
            reason = %closed.reason.escape_default(),
            "close"
        );
    }

    /// How many refusals were left out before this one, or none if this one is left out too.
    fn may_log_refusal(&self, peer: Name, now: Time) -> Option<u64> {
        let mut peers = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_KEPT && !peers.contains_key(&peer) {
            peers.retain(|_, refusals| refusals.logged.is_busy(now));
        }
        let refusals = peers.entry(peer).or_default();
        if refusals.logged.take(REFUSALS_PER_MINUTE, MINUTE, now) {
            Some(std::mem::take(&mut refusals.suppressed))
        } else {
            refusals.suppressed += 1;
            None
        }
    }

    fn shown<'a>(&self, target: &'a Target) -> Shown<'a> {
        let whole = self.destinations || enabled!(target: "muses::audit", Level::DEBUG);
        match target {
            Target::Service(_) => Shown::Whole(target),
            Target::Address(..) | Target::Loopback(_) if whole => Shown::Whole(target),
            Target::Address(..) => Shown::Kind("address"),
            Target::Loopback(_) => Shown::Kind("loopback"),
        }
    }
}

enum Shown<'a> {
    Whole(&'a Target),
    Kind(&'static str),
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(target) => target.fmt(f),
            Self::Kind(kind) => f.write_str(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    #[test]
    fn refusals_of_one_peer_are_limited_and_counted() {
        let audit = Audit::new(false);
        let name = |seed| Identity::from_seed(&[seed; 32]).name();
        let log = |seed, seconds| {
            audit.may_log_refusal(name(seed), Time::ZERO + Duration::from_secs(seconds))
        };
        for _ in 0..REFUSALS_PER_MINUTE {
            assert_eq!(log(1, 0), Some(0));
        }
        assert_eq!(log(1, 0), None);
        assert_eq!(log(1, 1), None);
        assert_eq!(log(2, 1), Some(0));
        assert_eq!(log(1, 2), Some(2));
        assert_eq!(log(1, 2), None);
    }
}
