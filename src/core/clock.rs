//! What the machine does to a node: it sleeps, its clock is set, its network is another one.

use std::time::Duration;

use crate::core::Core;
use crate::session::LinkEvent;
use crate::time::{Almanac, Calendar, Time};

impl Core {
    pub(super) const fn calendar(&self, now: Time) -> Calendar {
        self.almanac.calendar(now)
    }

    /// The machine woke up or its addresses changed: every link is asked, every pause of a retry ends.
    pub fn network_changed(&mut self, now: Time) {
        for (number, link) in &mut self.links {
            link.suspect(now);
            self.hot.insert(*number);
        }
        for (number, entry) in &mut self.sessions {
            if entry.session.is_suspended() {
                entry.session.link_event(LinkEvent::Up, now);
            } else {
                entry.session.probe();
            }
            self.touched.insert(*number);
        }
        for known in self.peers.values_mut() {
            known.seek.hurry(now);
            if let Some(attempt) = &mut known.attempt {
                attempt.hurry(now);
            }
        }
        self.overlay.network_changed(now);
        self.settle(now);
    }

    /// What the calendar says now: the clock of the machine may be set, and time stands still while it sleeps.
    pub fn set_calendar(&mut self, calendar: Calendar, now: Time) {
        self.almanac = Almanac::new(calendar, now);
        self.overlay.set_calendar(calendar, now);
    }

    /// The machine has slept for `slept`, up to now: whatever it knew of the network may be over.
    pub fn woke_up(&mut self, slept: Duration, now: Time) {
        for entry in self.sessions.values_mut() {
            entry.session.woke_up(slept, now);
        }
        self.network_changed(now);
    }
}
