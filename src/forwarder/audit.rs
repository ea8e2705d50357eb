//! Audit lines: one per OPEN and one per CLOSE, under the tracing target `muses::audit` (R-A9).
//!
//! What peers chose themselves is canonical and free of control characters before it comes here:
//! names of nodes are base32, destinations are [`Target`]s; the reason of a CLOSE is escaped.
//! Destinations are shown only where the operator asked for it or the target logs at debug level
//! (R-G3); services are the operator's own words. Refusals are limited per peer (R-X2); a line after
//! those that were held back says how many.

use std::{fmt, time::Duration};

use tracing::{Level, enabled, info};

use crate::name::Name;
use crate::net::seldom::{Pass, PerPeer};
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

/// Writes audit lines.
#[derive(Debug)]
pub(crate) struct Audit {
    destinations: bool,
    refusals: PerPeer,
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
    pub(crate) fn new(destinations: bool) -> Self {
        Self {
            destinations,
            refusals: PerPeer::default(),
        }
    }

    /// An OPEN that leads to a service, by the grant at this index.
    pub(crate) fn opened(&self, peer: &Name, target: &Target, grant: usize) {
        let to = self.shown(target);
        info!(target: "muses::audit", %peer, %to, grant, decision = "opened", "open");
    }

    /// An OPEN that failed.
    pub(crate) fn refused(&self, peer: &Name, target: &Target, failure: OpenFailure) {
        let Some(Pass { held_back }) = self.refusals.pass(*peer) else {
            return;
        };
        let to = self.shown(target);
        info!(target: "muses::audit", %peer, %to, decision = %failure, held_back, "open");
    }

    /// An OPEN that its session did not wait for.
    pub(crate) fn abandoned(&self, peer: &Name, target: &Target) {
        let Some(Pass { held_back }) = self.refusals.pass(*peer) else {
            return;
        };
        let to = self.shown(target);
        info!(target: "muses::audit", %peer, %to, decision = "abandoned", held_back, "open");
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
