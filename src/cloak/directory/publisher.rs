//! What this node says of itself, and when it says so again (R-D2, R-D3).

use crate::cloak::directory::errand::Why;
use crate::cloak::directory::genuine::{Genuine, Said, micros};
use crate::cloak::directory::{Context, Directory, Event};
use crate::limits::{DIRECTORY_LIFE, DIRECTORY_MOVE, DIRECTORY_MOVES, DIRECTORY_REFRESH};
use crate::time::{Calendar, Time};
use crate::wire::directory::SUB_KEYS;
use crate::wire::location::Location;

/// Places that must have a record before it counts as published.
const ENOUGH: u8 = 2;

/// The publisher of one node.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Locations and endpoints.
    said: Option<(Vec<Location>, Vec<String>)>,
    last: u64,
    /// What the calendar said at the latest record, and the serial of the certificate in it.
    made: Option<(Calendar, u64)>,
    /// When the next record is due.
    due: Time,
    /// When [`DIRECTORY_MOVES`] records may follow each other again.
    rested: Time,
    /// Places that have the latest record.
    stored: u8,
}

impl Publisher {
    pub(super) const fn new(last: u64) -> Self {
        Self {
            said: None,
            last,
            made: None,
            due: Time::NEVER,
            rested: Time::ZERO,
            stored: 0,
        }
    }

    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) const fn next(&self) -> Time {
        self.due
    }

    /// When the next record may be.
    fn earliest(&self, now: Time) -> Time {
        let spent = self.rested.since(now);
        now + spent.saturating_sub(DIRECTORY_MOVE * (DIRECTORY_MOVES - 1))
    }

    pub(super) fn say(&mut self, locations: Vec<Location>, endpoints: Vec<String>, now: Time) {
        let said = Some((locations, endpoints));
        if self.said != said {
            self.said = said;
            self.due = self.due.min(self.earliest(now));
        }
    }

    pub(super) fn moved(&mut self, locations: Vec<Location>, now: Time) {
        if let Some((_, endpoints)) = self.said.clone() {
            self.say(locations, endpoints, now);
        }
    }

    /// The calendar says this now, and this is the serial of the certificate. Since the latest record time may have
    /// stood still, the clock may have been set, and the certificate may have been renewed.
    pub(super) fn dated(&mut self, calendar: Calendar, serial: u64, now: Time) {
        let stale = self.made.is_some_and(|(made, old)| {
            old != serial || calendar.0.abs_diff(made.0) > DIRECTORY_REFRESH.as_secs()
        });
        if stale && self.said.is_some() {
            self.due = self.due.min(self.earliest(now));
        }
    }

    /// The directory has a record of ours with a higher number: the next one is above it (R-D2).
    pub(super) fn adopt(&mut self, seq: u64, now: Time) {
        if seq >= self.last {
            self.last = seq;
            self.due = self.due.min(self.earliest(now));
        }
    }
}

impl Directory {
    /// Makes the next record when it is due and there is a place to be found at.
    pub(super) fn run_publisher(&mut self, context: Context<'_>) {
        if self.publisher.due > context.now {
            return;
        }
        let Some((locations, endpoints)) = self.publisher.said.clone() else {
            self.publisher.due = Time::NEVER;
            return;
        };
        if context.compass.location().is_none() {
            // A change of place comes back here, and else the wait is short.
            self.publisher.due = context.now + DIRECTORY_MOVE;
            return;
        }
        let tenth = u64::try_from(DIRECTORY_REFRESH.as_nanos() / 10).unwrap_or(u64::MAX);
        let jitter = std::time::Duration::from_nanos(self.random.below(tenth));
        self.publisher.rested = self.publisher.rested.max(context.now) + DIRECTORY_MOVE;
        self.publisher.due = context.now + DIRECTORY_REFRESH.saturating_sub(jitter);
        // The certificate may have been renewed since.
        let said = Said {
            locations,
            endpoints,
            certificate: self.me.certificate(),
        };
        self.make(Some(&said), context);
    }

    /// Says that the node leaves.
    pub(super) fn bury(&mut self, context: Context<'_>) {
        self.publisher.said = None;
        self.publisher.due = Time::NEVER;
        if self.publisher.last > 0 {
            self.make(None, context);
        }
    }

    fn make(&mut self, said: Option<&Said>, context: Context<'_>) {
        let next = self.publisher.last.saturating_add(1);
        let seq = next.max(micros(context.calendar));
        let expiry = Calendar(context.calendar.0.saturating_add(DIRECTORY_LIFE.as_secs()));
        self.publisher.last = seq;
        let serial = said.map(|said| said.certificate.terms.serial);
        self.publisher.made = serial.map(|serial| (context.calendar, serial));
        self.publisher.stored = 0;
        self.events.push_back(Event::Sequence(seq));
        let record = Genuine::sign(self.me.identity(), &self.overlay, seq, expiry, said);
        self.drop_publications();
        for index in 0..SUB_KEYS {
            self.send_out(Why::Publish, record.clone(), index, None, context);
        }
    }

    pub(super) fn published_one(&mut self, seq: u64) {
        if seq == self.publisher.last {
            self.publisher.stored += 1;
            if self.publisher.stored == ENOUGH {
                self.events.push_back(Event::Published(seq));
            }
        }
    }
}
