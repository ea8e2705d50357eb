//! Which of two ways frames take to a peer behind relays: the shortest one, or the one along the tree.
//!
//! A relay on the shortest way may drop what it carries and say nothing. On the way along the tree there are only
//! nodes on which one of both ends hangs, so it leads past everybody who can harm no more than what hangs on
//! him. Silence makes a node turn from one way to the other, and its peer answers on the way on which it hears it.

use crate::core::Core;
use crate::limits::{DETOUR, DETOUR_ECHO, DETOUR_TURN};
use crate::name::Name;
use crate::time::Time;
use crate::wire::location::Location;

/// The way that frames to one peer take.
#[derive(Debug, Default)]
pub(super) struct Detour {
    /// Along the tree until then, as this node chose.
    chosen: Option<Time>,
    /// Along the tree until then, as the peer does.
    echoed: Option<Time>,
    /// The peer may still echo what this node chose: it is not echoed in turn before.
    deaf_until: Time,
    /// When the way that is in use has had time to bring an answer.
    turn_from: Time,
}

impl Detour {
    /// Whether frames go along the tree.
    pub(super) const fn is_on(&self) -> bool {
        self.chosen.is_some() || self.echoed.is_some()
    }

    /// Nothing comes by the way in use: the other one is tried, if this one has had its time. Says so.
    pub(super) fn turn(&mut self, now: Time) -> bool {
        if now < self.turn_from {
            return false;
        }
        self.turn_from = now + DETOUR_TURN;
        if self.is_on() {
            self.end(now);
        } else {
            self.chosen = Some(now + DETOUR.1);
        }
        true
    }

    /// Somebody says that the shortest way is broken. Says whether the way changes.
    pub(super) fn begin(&mut self, now: Time) -> bool {
        let begins = !self.is_on();
        if begins {
            self.turn_from = now + DETOUR_TURN;
            self.chosen = Some(now + DETOUR.0);
        }
        begins
    }

    fn end(&mut self, now: Time) {
        (self.chosen, self.echoed) = (None, None);
        self.deaf_until = now + DETOUR_ECHO * 2;
    }

    /// A packet of the peer came along the tree: it may hear nothing else. Says whether the way changes.
    fn hear(&mut self, now: Time) -> bool {
        // Two ends that echoed each other would never stop.
        if self.chosen.is_some() || now < self.deaf_until {
            return false;
        }
        let was_on = self.is_on();
        self.echoed = Some(now + DETOUR_ECHO);
        !was_on
    }

    /// When the shortest way is to be taken again.
    pub(super) fn due_at(&self) -> Option<Time> {
        self.chosen.max(self.echoed)
    }

    /// Whether that is now; then it is.
    pub(super) fn is_over(&mut self, now: Time) -> bool {
        let over = self.due_at().is_some_and(|until| until <= now);
        if over {
            self.end(now);
        }
        over
    }
}

impl Core {
    /// The way of a session that waits in vain for a sign of its peer may lead over somebody who swallows what he
    /// should carry.
    pub(super) fn doubt_way(&mut self, number: u32, now: Time) {
        let Some(entry) = self.sessions.get(&number) else {
            return;
        };
        let waits = entry.session.is_suspected() || entry.session.is_suspended();
        let carrier = entry.carrier.as_ref().filter(|_| waits);
        let relayed = carrier.is_some_and(|by| by.route.to_location != Location::Neighbour);
        let peer = entry.session.peer();
        if relayed {
            self.overlay.suspect(now);
        }
        let known = self.peers.get_mut(&peer).filter(|_| relayed);
        if known.is_some_and(|known| known.detour.turn(now)) {
            self.reroute_all(Some(peer), now);
        }
    }

    /// A packet of a peer came along the tree.
    pub(super) fn echo_way(&mut self, peer: Name, now: Time) {
        let known = self.peers.get_mut(&peer);
        if known.is_some_and(|known| known.detour.hear(now)) {
            self.reroute_all(Some(peer), now);
        }
    }

    /// Goes back to the shortest ways where a detour has lasted long enough.
    pub(super) fn poll_detours(&mut self, now: Time) {
        let over = self.peers.iter_mut();
        let over = over.filter_map(|(name, known)| known.detour.is_over(now).then_some(*name));
        for peer in over.collect::<Vec<_>>() {
            self.reroute_all(Some(peer), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_turns_from_one_way_to_the_other_and_not_at_once_again() {
        let mut detour = Detour::default();
        let start = Time::ZERO;
        assert!(detour.turn(start) && detour.is_on());
        assert!(!detour.turn(start + DETOUR_TURN / 2));
        assert!(detour.turn(start + DETOUR_TURN) && !detour.is_on());
        assert!(detour.turn(start + DETOUR_TURN * 2) && detour.is_on());
        assert!(!detour.is_over(start + DETOUR.1));
        assert!(detour.is_over(start + DETOUR_TURN * 2 + DETOUR.1) && !detour.is_on());
    }

    /// Two ends that hear each other all the time by the way that each takes.
    #[test]
    fn two_ends_do_not_keep_each_other_on_the_detour() {
        let (mut one, mut two) = (Detour::default(), Detour::default());
        let mut now = Time::ZERO;
        one.turn(now);
        let end = now + DETOUR.1 + DETOUR_ECHO * 3;
        while now < end {
            let (first, second) = (one.is_on(), two.is_on());
            if first {
                two.hear(now);
            }
            if second {
                one.hear(now);
            }
            let over = [one.is_over(now), two.is_over(now)];
            assert!(over != [true; 2]);
            now += DETOUR_ECHO / 50;
        }
        assert!(!one.is_on() && !two.is_on());
    }

    #[test]
    fn what_relays_say_begins_a_short_detour_and_ends_none() {
        let mut detour = Detour::default();
        let now = Time::ZERO;
        assert!(detour.begin(now));
        assert_eq!(detour.due_at(), Some(now + DETOUR.0));
        assert!(!detour.begin(now + DETOUR.0 / 2));
        assert_eq!(detour.due_at(), Some(now + DETOUR.0));
    }
}
