//! Pauses: since when nothing could move, and why.

use std::time::Duration;

use crate::limits::PAUSE_TOLD;
use crate::session::Session;
use crate::session::event::Event;
use crate::srm::resume::Reason;
use crate::time::Time;

/// A pause that is not over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    since: Time,
    pub(super) cause: Reason,
    /// What the machine slept in it, which the clock does not count.
    slept: Duration,
}

impl Session {
    /// Nothing has moved since `since`. A pause under way keeps its beginning; its cause becomes the one that
    /// is known now, except that a sleep explains what follows from it.
    pub(super) fn pause(&mut self, since: Time, cause: Reason) {
        let pause = self.pause.get_or_insert(Pause {
            since,
            cause,
            slept: Duration::ZERO,
        });
        if pause.cause != Reason::WakeUp {
            pause.cause = cause;
        }
    }

    /// The machine has slept for `slept`, up to now.
    pub fn woke_up(&mut self, slept: Duration, now: Time) {
        self.pause(now, Reason::WakeUp);
        if let Some(pause) = &mut self.pause {
            pause.cause = Reason::WakeUp;
            pause.slept += slept;
        }
    }

    /// A packet of the peer opened: a pause is over. It is told unless it was too short to be noticed.
    pub(super) fn pause_over(&mut self, suspended: bool, now: Time) {
        if self.is_suspended() {
            return;
        }
        let Some(pause) = self.pause.take() else {
            return;
        };
        let lasted = now.since(pause.since) + pause.slept;
        if suspended || lasted >= PAUSE_TOLD {
            self.paused_for = pause.cause;
            self.events.push_back(Event::Paused(pause.cause, lasted));
        }
    }
}
