//! By which link, and with which routing header, what a session has to say reaches its peer.
//!
//! A direct link goes first; else the overlay is asked for the next hop towards the places where the peer may
//! be: the one it told itself, sealed, and those of its record in the directory.

use crate::cloak::forward::{Verdict, WATERMARK_START};
use crate::cloak::neighbours::Link as LinkNumber;
use crate::core::Core;
use crate::name::Name;
use crate::session::LinkEvent;
use crate::srm::resume::Reason;
use crate::time::Time;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::tag::Tag;

/// The link that carries a session, and the routing header of its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carrier {
    pub(super) link: LinkNumber,
    pub(super) route: Route,
}

impl Core {
    /// Where this node hangs, as it is told to peers.
    pub(super) fn own_location(&self) -> Location {
        self.overlay.location().unwrap_or(Location::Neighbour)
    }

    /// By a link to the peer itself.
    pub(super) fn direct(&self, to: Tag, link: LinkNumber) -> Carrier {
        let route = Route::neighbour(self.name().tag(), to);
        Carrier { link, route }
    }

    /// The link towards `to` at `place`, and the header with which a frame leaves by it.
    pub(super) fn way_to(&self, to: Tag, place: &Location, by_tree: bool) -> Option<Carrier> {
        let direct = self.neighbours.preferred(to);
        let direct = direct.map(|link| self.direct(to, link));
        direct.or_else(|| self.routed(to, place, by_tree, None))
    }

    /// The same through relays, not by the neighbour `avoid` if another one is closer too.
    pub(super) fn routed(
        &self,
        to: Tag,
        place: &Location,
        by_tree: bool,
        avoid: Option<Tag>,
    ) -> Option<Carrier> {
        let mut route = Route {
            by_tree,
            watermark: WATERMARK_START,
            to_location: place.clone(),
            from_location: self.overlay.location()?,
            ..Route::neighbour(self.name().tag(), to)
        };
        let Verdict::Next {
            neighbour,
            watermark,
            hops,
        } = self.overlay.decide(&route, None, avoid)
        else {
            return None;
        };
        (route.watermark, route.hops) = (watermark, hops);
        let link = self.neighbours.preferred(neighbour)?;
        Some(Carrier { link, route })
    }

    /// Whether something can be sent towards a peer now.
    pub(super) fn is_reachable(&self, peer: Name) -> bool {
        self.way_by_record(peer).is_some()
    }

    /// The way to a peer with which there is no session: by a link, or by its record in the directory.
    pub(super) fn way_by_record(&self, peer: Name) -> Option<Carrier> {
        let known = self.peers.get(&peer)?;
        if let Some(link) = self.neighbours.preferred(peer.tag()) {
            return Some(self.direct(peer.tag(), link));
        }
        let mut places = known.places.iter();
        places.find_map(|place| self.routed(peer.tag(), place, known.detour.is_on(), None))
    }

    fn is_doubted(&self, link: LinkNumber) -> bool {
        let link = self.links.get(&link);
        link.is_some_and(|link| link.life.is_doubted())
    }

    /// The way that the packets of a session take now.
    fn carrier_of(&self, session: u32) -> Option<Carrier> {
        let session = &self.sessions.get(&session)?.session;
        let peer = session.peer();
        let direct = self.neighbours.preferred(peer.tag());
        let by = |link| self.direct(peer.tag(), link);
        if let Some(link) = direct.filter(|link| !self.is_doubted(*link)) {
            return Some(by(link));
        }
        let known = self.peers.get(&peer);
        let by_tree = known.is_some_and(|known| known.detour.is_on());
        let avoid = direct.map(|_| peer.tag());
        let told = session.destination().into_iter();
        let mut places = told.chain(known.into_iter().flat_map(|known| &known.places));
        let around = places.find_map(|place| self.routed(peer.tag(), place, by_tree, avoid));
        around.or_else(|| direct.map(by))
    }

    /// Finds the way of a session anew; the link that carried it has gone when `lost` says why.
    pub(super) fn reroute(&mut self, number: u32, lost: Option<Reason>, now: Time) {
        let carrier = self.carrier_of(number);
        let before = self.sessions.get(&number);
        let before = before.and_then(|entry| Some(entry.carrier.as_ref()?.link));
        let silent = before.is_some_and(|before| self.is_doubted(before));
        let Some(entry) = self.sessions.get_mut(&number) else {
            return;
        };
        let after = carrier.as_ref().map(|carrier| carrier.link);
        if let Some(carrier) = &carrier {
            let relayed = carrier.route.to_location != Location::Neighbour;
            entry.session.set_path(carrier.link, relayed, now);
        }
        entry.carrier = carrier;
        entry.aim = entry.session.destination().cloned();
        if before != after {
            if let Some(link) = before.and_then(|before| self.links.get_mut(&before)) {
                link.riders.retain(|rider| *rider != number);
                link.line.retain(|rider| *rider != number);
            }
            entry.in_line = false;
            if let Some(before) = before.filter(|_| silent) {
                entry.session.path_lost(before);
            }
            if let Some(link) = after.and_then(|after| self.links.get_mut(&after)) {
                link.riders.push(number);
            }
        }
        let event = match (before, after, lost) {
            (_, Some(_), Some(_)) => Some(LinkEvent::Changed),
            // Nothing would be sent, so no silence would ever be noticed.
            (_, None, cause) => Some(LinkEvent::Lost(cause.unwrap_or(Reason::NoWay))),
            (None, Some(_), None)
                if entry.session.is_suspended() || entry.session.is_suspected() =>
            {
                Some(LinkEvent::Up)
            }
            _ => None,
        };
        let peer = entry.session.peer();
        if let Some(event) = event {
            entry.session.link_event(event, now);
        }
        self.touched.insert(number);
        self.stirred = true;
        if before.is_some() && after.is_none() {
            self.seek(peer, now);
        }
    }

    /// Finds the ways of all sessions with these peers anew, or of all that go through relays.
    pub(super) fn reroute_all(&mut self, peer: Option<Name>, now: Time) {
        let numbers: Vec<u32> = match peer {
            Some(peer) => self
                .peers
                .get(&peer)
                .map(|known| known.sessions.clone())
                .unwrap_or_default(),
            None => self
                .sessions
                .iter()
                .filter(|(_, entry)| {
                    let direct = self.neighbours.preferred(entry.session.peer().tag());
                    direct.is_none()
                })
                .map(|(number, _)| *number)
                .collect(),
        };
        for number in numbers {
            self.reroute(number, None, now);
        }
    }

    /// Every way by which a Re-Hello may find the peer: all its links, and through relays to each of these
    /// places and those of its record, the shortest way and along the tree.
    pub(super) fn all_ways(&self, peer: Name, places: &[&Location]) -> Vec<Carrier> {
        let links = self.neighbours.all(peer.tag()).iter();
        let mut ways: Vec<Carrier> = links.map(|link| self.direct(peer.tag(), *link)).collect();
        let known = self.peers.get(&peer);
        let recorded = known.into_iter().flat_map(|known| &known.places);
        for place in places.iter().copied().chain(recorded) {
            for by_tree in [false, true] {
                let way = self.routed(peer.tag(), place, by_tree, None);
                ways.extend(way.filter(|way| !ways.contains(way)));
            }
        }
        ways
    }
}
