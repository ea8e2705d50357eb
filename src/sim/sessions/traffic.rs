//! Messages between two sessions: what an end sends, and what a copy does where it arrives.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::session::{Arrived, HelloTo, Session};
use crate::sim::hop::{Message, What};
use crate::sim::journal::{Content, Fate};
use crate::sim::sessions::{Happening, World, end};
use crate::ssm::schedule::Pair;
use crate::time::Time;

/// Bytes that an end sends before others get their turn.
const TURN: usize = 24_000;

impl World {
    /// A copy of a message arrives at the end that it is for, if any path leads there.
    pub(super) fn arrives(&mut self, side: usize, message: &Message, spoilt: bool, marked: bool) {
        let end = &mut self.ends[side];
        let now = self.now + end.skew;
        let Some(path) = end.up.last().copied() else {
            return;
        };
        let Some(audit) = end.audit() else { return };
        let (Some(session), applications) = (&mut end.session, &end.applications) else {
            return;
        };
        let dropped = session.stats().packets_dropped;
        match &message.what {
            What::Packet {
                header,
                body,
                pair,
                number,
            } => {
                let mut body = body.clone();
                if spoilt {
                    let at = usize::try_from(self.random.below(body.len() as u64)).unwrap_or(0);
                    body[at] ^= 1 << self.random.below(8);
                }
                let mut to = end::Reader {
                    applications,
                    generation: end.generation,
                    oracle: &mut self.oracle,
                };
                let arrived = Arrived {
                    header,
                    body: &mut body,
                    marked,
                    path,
                };
                session.handle_packet(arrived, now, &mut to);
                let opened = session.stats().packets_dropped == dropped;
                let own = message.generation == end.generation;
                let fits = own && (audit.live == Some(*pair) || audit.next == *pair);
                self.judge(message, (*pair, *number), (fits && !spoilt, opened));
            }
            What::Hello(bytes) => {
                let mut bytes = bytes.clone();
                if spoilt {
                    let at = 9 + self.random.below(bytes.len() as u64 - 9);
                    bytes[usize::try_from(at).unwrap_or(9)] ^= 1 << self.random.below(8);
                }
                // Type and index in front are the router's.
                session.handle_re_hello(bytes.get(9..).unwrap_or_default(), now);
                let opened = session.stats().packets_dropped == dropped;
                if opened && (spoilt || message.generation != end.generation) {
                    self.oracle.fault("a foreign Re-Hello opened".to_owned());
                }
                let again = message.opened.replace(opened || message.opened.get());
                if opened && again && end.audit() != Some(audit) {
                    self.oracle
                        .fault("an old Re-Hello moved a session".to_owned());
                }
            }
        }
    }

    /// What may open must open, once; nothing else may (I4, invariants 3 and 7).
    fn judge(&mut self, message: &Message, named: (Pair, u64), found: (bool, bool)) {
        let (fits, opened) = found;
        let again = message.opened.replace(opened || message.opened.get());
        #[cfg(test)]
        let opened = self.spoil_judgement(fits, again, opened);
        let what = match (fits, again, opened) {
            (true, false, true) | (_, true, false) | (false, false, false) => return,
            (true, false, false) => "a good packet did not open",
            (_, true, true) => "a packet opened twice",
            (false, false, true) => "a packet of other keys opened",
        };
        self.oracle.fault(format!("{what}: {named:?}"));
    }

    #[cfg(test)]
    fn spoil_judgement(&self, fits: bool, again: bool, opened: bool) -> bool {
        use crate::sim::application::Sabotage;
        opened
            || (again && self.oracle.is(Sabotage::OpensTwice))
            || (!fits && !again && self.oracle.is(Sabotage::OpensForeign))
    }

    /// An end sends what it has.
    pub(super) fn flush(&mut self, side: usize) {
        if self.now < self.ends[side].frozen_until {
            return;
        }
        self.ends[side].more_at = Time::NEVER;
        while let Some(signal) = self.ends[side]
            .session
            .as_mut()
            .and_then(Session::poll_signal)
        {
            let up = &self.ends[side].up;
            let everywhere = matches!(signal.to, HelloTo::Everywhere(_));
            let from = if everywhere {
                0
            } else {
                up.len().saturating_sub(1)
            };
            for path in up.get(from..).unwrap_or_default().to_vec() {
                self.send(side, path, What::Hello(signal.message.clone()));
            }
        }
        let mut sent = 0;
        while let Some((path, what, len)) = self.ends[side].packet(self.now) {
            sent += len;
            self.send(side, path, what);
            if sent >= TURN {
                self.ends[side].more_at = self.now + Duration::from_millis(1);
                break;
            }
        }
        self.events(side);
    }

    /// A message enters the network.
    fn send(&mut self, side: usize, path: u64, what: What) {
        let content = content(&what);
        if let Content::Packet(pair, number, _) = content {
            #[cfg(test)]
            let number = if self
                .oracle
                .is(crate::sim::application::Sabotage::NumberTwice)
            {
                number.min(5)
            } else {
                number
            };
            if let Err(what) = self.watch.sealed(side, pair, number) {
                self.oracle.fault(what);
            }
        }
        let message = Rc::new(Message {
            from: side,
            generation: self.generation,
            what,
            opened: Cell::new(false),
        });
        let verdict = self.hop.takes(path, &message, &mut self.random, self.now);
        let fate = match (verdict.arrivals.len(), verdict.held, verdict.spoilt) {
            (0, true, _) => Fate::Held,
            (0, false, _) => Fate::Lost,
            (_, _, true) => Fate::Spoilt,
            (1, ..) => Fate::Sent,
            _ => Fate::Doubled,
        };
        self.journal.message(self.now, side, content, fate);
        for at in verdict.arrivals {
            let copy = Happening::Arrives(Rc::clone(&message), verdict.spoilt, verdict.marked);
            self.at(at, 1 - side, copy);
        }
    }
}

/// What the journal says of a message.
pub(super) const fn content(what: &What) -> Content {
    match what {
        What::Packet {
            pair, number, body, ..
        } => Content::Packet(*pair, *number, body.len()),
        What::Hello(_) => Content::Hello,
    }
}
