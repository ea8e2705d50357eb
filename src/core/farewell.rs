//! The end of a node: goodbyes to its peers, a tombstone in the directory, and then the end of its links.

use crate::core::{Core, Event};
use crate::limits::FAREWELL;
use crate::session::EndReason;
use crate::time::Time;
use crate::wire::failure::OpenFailure;

impl Core {
    /// Says goodbye to every peer, and to the directory, before the node stops. Links end as soon as the
    /// directory has heard of it, after [`FAREWELL`] at the latest.
    pub fn close(&mut self, now: Time) {
        for (number, entry) in &mut self.sessions {
            entry.session.close(EndReason::Local);
            self.touched.insert(*number);
        }
        for ticket in std::mem::take(&mut self.requests).into_tickets() {
            self.events
                .push_back(Event::Unassigned(ticket, OpenFailure::Cut));
        }
        self.overlay.withdraw(now);
        let said = self.overlay.directory().stats().seq > 0;
        self.leave_at = if said { now + FAREWELL } else { now };
        self.settle_overlay(now);
        self.poll_farewell(now);
        self.settle(now);
    }

    /// The directory has this node's newest record: a node that stops has nothing else to wait for.
    pub(super) fn recorded(&mut self) {
        if self.leave_at < Time::NEVER {
            self.leave();
        }
    }

    pub(super) fn poll_farewell(&mut self, now: Time) {
        if self.leave_at <= now {
            self.leave();
        }
    }

    /// Says goodbye on every link behind the sessions' goodbyes: the neighbour reads nothing after it.
    fn leave(&mut self) {
        self.leave_at = Time::NEVER;
        for (number, link) in &mut self.links {
            link.leaving = true;
            self.hot.insert(*number);
        }
    }
}
