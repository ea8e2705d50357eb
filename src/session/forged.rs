//! Packets and Re-Hellos that do not open: counted per session, told seldom, and never a reason to end a
//! session early, since every hop can inject garbage (R-K5).

use crate::limits::{FORGED_MAX, FORGED_TOLD};
use crate::session::Session;
use crate::session::event::{EndReason, Event};
use crate::time::Time;

/// When it was told last, and how many there were by then.
#[derive(Debug, Default)]
pub(super) struct Told {
    at: Option<Time>,
    count: u64,
}

impl Session {
    /// Something claimed to be of this session and did not open.
    pub(super) fn forged(&mut self, now: Time) {
        self.stats.forged = self.stats.forged.saturating_add(1);
        let count = self.stats.forged;
        if count >= FORGED_MAX {
            return self.end(EndReason::Forged);
        }
        let told = &mut self.forged_told;
        if told.at.is_none_or(|at| now.since(at) >= FORGED_TOLD) {
            self.events.push_back(Event::Forged(count - told.count));
            *told = Told {
                at: Some(now),
                count,
            };
        }
    }
}
