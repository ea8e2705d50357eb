//! Messages outside packets: Re-Hellos and handshakes, by every way or as an answer.

use crate::cloak::neighbours::Link as LinkNumber;
use crate::core::Core;
use crate::core::links::Message;
use crate::core::paths::Carrier;
use crate::limits::ASKS_PER_SECOND;
use crate::link::handshake::EARLY_MAX;
use crate::name::Name;
use crate::session::{HelloTo, LinkEvent};
use crate::time::Time;
use crate::wire::link::Route;
use crate::wire::location::Location;

impl Core {
    /// Sends the Re-Hellos of a session: questions everywhere, answers to where the question came from, by
    /// a link to the peer and through relays.
    pub(super) fn send_signals(&mut self, number: u32, peer: Name, now: Time) {
        while let Some(signal) = self
            .sessions
            .get_mut(&number)
            .and_then(|entry| entry.session.poll_signal())
        {
            if matches!(signal.to, HelloTo::Everywhere(_))
                && let Some(known) = self.peers.get_mut(&peer)
                && !known.asks.pass(ASKS_PER_SECOND, now)
            {
                // It is as if it had been lost: the session asks again.
                continue;
            }
            let places: Vec<&Location> = match &signal.to {
                HelloTo::Everywhere(places) => places.iter().collect(),
                HelloTo::At(place) => vec![place],
            };
            let ways = self.all_ways(peer, &places);
            self.send_signal(ways, &signal.message);
        }
    }

    /// Takes a Re-Hello that rode in the first message of a link, and answers by that link alone.
    pub(super) fn early_hello(&mut self, number: LinkNumber, early: &[u8], now: Time) {
        let Some(peer) = self.links.get(&number).map(|link| link.peer) else {
            return;
        };
        let Some(session) = self.re_hello(early, now) else {
            return;
        };
        let route = Route::neighbour(self.name().tag(), peer.tag());
        while let Some(signal) = self
            .sessions
            .get_mut(&session)
            .and_then(|entry| entry.session.poll_signal())
        {
            if matches!(signal.to, HelloTo::Everywhere(_)) {
                self.send_signal(self.all_ways(peer, &[]), &signal.message);
            }
            if let Some(link) = self.links.get_mut(&number) {
                link.outbox
                    .push(Message::Signal(route.clone(), signal.message));
                self.hot.insert(number);
            }
        }
    }

    /// The Re-Hello that may ride in the first message of a link to `peer`: that of a session which
    /// waits for it. Empty if none does.
    pub fn early(&mut self, peer: Name, now: Time) -> Vec<u8> {
        let sessions = self.peers.get(&peer).map(|known| known.sessions.clone());
        let waits = |number: &u32| {
            self.sessions.get(number).is_some_and(|entry| {
                let session = &entry.session;
                session.is_confirmed() && (session.is_suspended() || session.is_suspected())
            })
        };
        let has_channels = |number: &u32| {
            let entry = self.sessions.get(number);
            entry.is_some_and(|entry| entry.session.channels().next().is_some())
        };
        let waiting = sessions.unwrap_or_default().into_iter().filter(waits);
        let Some(number) = waiting.max_by_key(has_channels) else {
            return Vec::new();
        };
        let Some(entry) = self.sessions.get_mut(&number) else {
            return Vec::new();
        };
        entry.session.link_event(LinkEvent::Up, now);
        let mut early = Vec::new();
        while let Some(signal) = entry.session.poll_signal() {
            if matches!(signal.to, HelloTo::Everywhere(_)) && signal.message.len() <= EARLY_MAX {
                early = signal.message;
            }
        }
        self.touched.insert(number);
        self.settle(now);
        early
    }

    /// Sends a message outside packets by these ways.
    pub(super) fn send_signal(&mut self, ways: Vec<Carrier>, message: &[u8]) {
        for Carrier { link, route } in ways {
            if let Some(to) = self.links.get_mut(&link) {
                to.outbox.push(Message::Signal(route, message.to_vec()));
                self.hot.insert(link);
            }
        }
    }

    /// Answers a message outside packets: by the link on which a neighbour's came, else by relays to where
    /// its sender claims to be.
    pub(super) fn answer_signal(&mut self, number: LinkNumber, route: &Route, message: &[u8]) {
        let way = match route.from_location {
            Location::Neighbour => Some(self.direct(route.from, number)),
            Location::Tree { .. } => self.way_to(route.from, &route.from_location, route.by_tree),
        };
        self.send_signal(Vec::from_iter(way), message);
    }
}
