//! What a node may hold, and who gives way when all of it is used up (R-X1, R-X3).

use crate::cloak::relay::{Bounds, Relay};
use crate::core::Core;
use crate::session::EndReason;

impl Core {
    /// When memory is used up, ends suspended sessions instead of making everybody wait: first the one
    /// that was suspended first, whose bytes have waited longest (R-X3).
    #[must_use]
    pub fn with_reset_oldest(mut self) -> Self {
        self.reset_oldest = true;
        self
    }

    /// Holds at most so many bytes of frames for others, and of the directory (R-X1).
    #[must_use]
    pub fn with_overlay_memory(mut self, relay: usize, directory: usize) -> Self {
        self.relay = Relay::new(Bounds::within(relay));
        self.overlay.bound_directory(directory);
        self
    }

    /// While memory is used up, ends the session that was suspended first, of those that hold any.
    pub(super) fn relieve(&mut self) {
        let budget = self.settings.session.budget.clone();
        let mut starved = budget.take_starved();
        while starved || budget.is_exhausted() {
            starved = false;
            let oldest = self
                .sessions
                .iter()
                .filter(|(_, entry)| entry.session.is_suspended() && entry.session.holds_memory())
                .min_by_key(|(_, entry)| entry.session.since())
                .map(|(number, _)| *number);
            let Some(entry) = oldest.and_then(|number| self.sessions.get_mut(&number)) else {
                return;
            };
            entry.session.end(EndReason::MemoryPressure);
            self.touched.extend(oldest);
        }
    }
}
