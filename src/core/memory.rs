//! What a node may hold, and who gives way when all of it is used up (R-X1, R-X3).

use crate::cloak::relay::{Bounds, Relay};
use crate::core::Core;
use crate::limits::MEMORY_TIGHT;
use crate::session::EndReason;

/// What channels have of the directory's memory.
#[derive(Debug)]
pub(super) enum Loan {
    /// Nothing is kept for it: it keeps nothing for others, or its bound is not part of the node's.
    Impossible,
    /// Nothing now.
    Possible,
    /// So many bytes.
    Taken(u64),
}

impl Core {
    /// When memory is used up, ends suspended sessions instead of making everybody wait: first the one
    /// that was suspended first, whose bytes have waited longest (R-X3).
    #[must_use]
    pub fn with_reset_oldest(mut self) -> Self {
        self.reset_oldest = true;
        self
    }

    /// Holds at most so many bytes of frames for others, and of the directory (R-X1). Neither is part of the memory
    /// of channels, which may have some of the latter while the directory can do without.
    #[must_use]
    pub fn with_overlay_memory(mut self, relay: usize, directory: usize) -> Self {
        self.relay = Relay::new(Bounds::within(relay));
        self.overlay.bound_directory(directory);
        if self.settings.cloak.relay {
            self.loan = Loan::Possible;
        }
        self
    }

    /// When channels have used up most of their memory, they have some of the directory's, too, until they need it
    /// no more (R-X3).
    pub(super) fn balance(&mut self) {
        let budget = &self.settings.session.budget;
        let own = match self.loan {
            Loan::Impossible => return,
            Loan::Possible => budget.limit(),
            Loan::Taken(bytes) => budget.limit() - bytes,
        };
        let (tight, easy) = MEMORY_TIGHT;
        let used = budget.used();
        let directory = self.overlay.directory_mut();
        match self.loan {
            Loan::Possible if used >= own / 100 * tight => {
                let bytes = directory.lend() as u64;
                budget.set_limit(own + bytes);
                self.loan = Loan::Taken(bytes);
            }
            Loan::Taken(_) if used < own / 100 * easy => {
                directory.take_back();
                budget.set_limit(own);
                self.loan = Loan::Possible;
            }
            Loan::Impossible | Loan::Possible | Loan::Taken(_) => {}
        }
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
