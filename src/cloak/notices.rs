//! Notices about ways through the overlay: broken ones, and who is on one.
//!
//! A frame that gets stuck tells its sender; a trace asks the nodes of a way one after the other. Both are
//! handed on greedily by the routing header in them, each neighbour may cause only so many, and a notice
//! never causes another one of its kind, nor one that is longer than what it came of (R-O9). Nothing here is
//! proved: whoever gets one only looks again.

use std::collections::{BTreeMap, VecDeque};

use crate::cloak::forward::{Verdict, WATERMARK_START};
use crate::cloak::overlay::{Event, Misbehaviour, Overlay};
use crate::limits::{HOPS_MAX, NOTICES_BURST, NOTICES_PAUSE};
use crate::name::Name;
use crate::time::Time;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::notice::{Broken, Notice};
use crate::wire::tag::Tag;

/// The answer of a node on a traced way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// What the TRACE was numbered.
    pub id: u64,
    /// How many nodes further on it is, the first one zero; the end answers to all that reach it.
    pub left: u8,
    /// Who it is.
    pub name: Name,
    /// Where it hangs.
    pub place: Location,
}

/// What a node keeps for notices.
#[derive(Debug, Default)]
pub(in crate::cloak) struct Notices {
    neighbours: BTreeMap<Tag, Neighbour>,
    messages: VecDeque<(Name, Vec<u8>)>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Neighbour {
    name: Name,
    /// When the claim to [`NOTICES_BURST`] notices is whole again.
    full_at: Time,
}

impl Notices {
    pub(in crate::cloak) fn neighbour_up(&mut self, name: Name) {
        let full_at = Time::ZERO;
        self.neighbours
            .entry(name.tag())
            .or_insert(Neighbour { name, full_at });
    }

    pub(in crate::cloak) fn neighbour_down(&mut self, name: Name) {
        self.neighbours.remove(&name.tag());
    }

    pub(in crate::cloak) fn poll_message(&mut self) -> Option<(Name, Vec<u8>)> {
        self.messages.pop_front()
    }

    pub(in crate::cloak) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Sends a notice to a neighbour, with a routing header of its own.
    pub(in crate::cloak) fn send(&mut self, to: Name, message: Vec<u8>) {
        self.messages.push_back((to, message));
    }

    /// Whether a neighbour may cause one more notice now.
    fn may(&mut self, neighbour: Tag, now: Time) -> bool {
        let Some(neighbour) = self.neighbours.get_mut(&neighbour) else {
            return false;
        };
        let full_at = neighbour.full_at.max(now) + NOTICES_PAUSE;
        let may = full_at.since(now) <= NOTICES_PAUSE * NOTICES_BURST;
        if may {
            neighbour.full_at = full_at;
        }
        may
    }
}

impl Overlay {
    /// A frame that came from `ingress` got stuck here: its sender is told.
    pub fn tell_broken(&mut self, ingress: Tag, route: &Route, why: Broken, now: Time) {
        if route.from == self.me.tag() || !self.notices.may(ingress, now) {
            return;
        }
        let notice = Notice::Broken(route.to, why);
        let back = self.route_to(route.from, &route.from_location);
        self.hand_on(back, None, &notice, now);
    }

    /// Asks who is `left` nodes further on, the next one zero, on the way to a node at a place; the answer
    /// comes as [`Event::Traced`] with the same `id`.
    pub fn trace(&mut self, to: Tag, place: &Location, (left, id): (u8, u64), now: Time) {
        self.send_from_here(to, place, &Notice::Trace(left, id), now);
    }

    /// Takes a notice that a neighbour handed on.
    pub(in crate::cloak) fn notice(
        &mut self,
        from: Name,
        message: &[u8],
        now: Time,
    ) -> Result<(), Misbehaviour> {
        let Ok((route, notice)) = Notice::decode(message) else {
            return Err(Misbehaviour::Malformed);
        };
        if self.is_probe(&route, &notice, now) || !self.notices.may(from.tag(), now) {
            return Ok(());
        }
        let here = route.to == self.me.tag();
        match notice {
            Notice::Trace(left, id) if here || left == 0 => {
                let answer = Notice::Traced(left, id, *self.me.as_bytes());
                self.send_from_here(route.from, &route.from_location, &answer, now);
            }
            Notice::Trace(left, id) => {
                let further = Notice::Trace(left.saturating_sub(1), id);
                self.hand_on(route, Some(from.tag()), &further, now);
            }
            Notice::Broken(about, _) if here => {
                self.notices.events.push_back(Event::PathBroken(about));
            }
            Notice::Traced(left, id, name) if here => {
                // Whoever made it up need not be the neighbour that handed it on.
                let Ok(name) = Name::from_bytes(name) else {
                    return Ok(());
                };
                let place = route.from_location;
                let traced = Traced {
                    id,
                    left,
                    name,
                    place,
                };
                self.notices.events.push_back(Event::Traced(traced));
            }
            Notice::Broken(..) | Notice::Traced(..) => {
                self.hand_on(route, Some(from.tag()), &notice, now);
            }
        }
        Ok(())
    }

    /// The header of a notice that leaves here. Its sender's place is not told: that may be longer than all of
    /// what it answers.
    fn route_to(&self, to: Tag, place: &Location) -> Route {
        Route {
            hops: HOPS_MAX,
            watermark: WATERMARK_START,
            to_location: place.clone(),
            ..Route::neighbour(self.me.tag(), to)
        }
    }

    /// Sends a notice whose receiver is to know this node's place.
    fn send_from_here(&mut self, to: Tag, place: &Location, notice: &Notice, now: Time) {
        let route = Route {
            from_location: self.location().unwrap_or(Location::Neighbour),
            ..self.route_to(to, place)
        };
        self.hand_on(route, None, notice, now);
    }

    /// Sends a notice to the next neighbour on its way, or drops it.
    fn hand_on(&mut self, mut route: Route, ingress: Option<Tag>, notice: &Notice, now: Time) {
        let next = match self.decide(&route, ingress, None) {
            Verdict::Next {
                neighbour,
                watermark,
                hops,
            } => {
                (route.watermark, route.hops) = (watermark, hops);
                neighbour
            }
            Verdict::Broken(why) if matches!(notice, Notice::Trace(..)) => {
                if let Some(ingress) = ingress {
                    self.tell_broken(ingress, &route, why, now);
                }
                return;
            }
            Verdict::Here | Verdict::Broken(_) | Verdict::Drop => return,
        };
        if let Some(neighbour) = self.notices.neighbours.get(&next) {
            let message = notice.encode(&route);
            self.notices.messages.push_back((neighbour.name, message));
        }
    }
}
