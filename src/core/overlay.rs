//! The node's part in the overlay: its messages, frames of others that pass, and what it learns.

use crate::cloak::forward::{Broken, Verdict, WATERMARK_START};
use crate::cloak::neighbours::Link as LinkNumber;
use crate::cloak::overlay::{Event as OverlayEvent, is_of_tree};
use crate::cloak::queues::Waiting;
use crate::core::Core;
use crate::core::event::{Event, LinkEnd};
use crate::name::Name;
use crate::time::Time;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::tag::Tag;

/// Where a frame goes that came by a link.
#[derive(Debug)]
pub(super) enum Onward {
    /// It is for this node.
    Here(Route),
    /// On by this link, with this header.
    By(LinkNumber, Route),
    /// Nowhere.
    Nowhere,
}

impl Core {
    /// Where a frame with this header goes.
    pub(super) fn onward(&mut self, ingress: LinkNumber, mut route: Route, now: Time) -> Onward {
        if route.to == self.name().tag() {
            return Onward::Here(route);
        }
        let Some(from) = self.links.get(&ingress).filter(|link| !link.shortcut) else {
            return Onward::Nowhere;
        };
        let from = from.peer.tag();
        if !self.settings.cloak.relay {
            self.path_broken(ingress, &route, Broken::Stuck, now);
            return Onward::Nowhere;
        }
        match self.past_doubt(&route, from) {
            Verdict::Here => Onward::Here(route),
            Verdict::Next {
                neighbour,
                watermark,
                hops,
            } => {
                (route.watermark, route.hops) = (watermark, hops);
                let link = self.neighbours.preferred(neighbour);
                link.map_or(Onward::Nowhere, |link| Onward::By(link, route))
            }
            Verdict::Broken(why) => {
                self.path_broken(ingress, &route, why, now);
                Onward::Nowhere
            }
            Verdict::Drop => Onward::Nowhere,
        }
    }

    /// Decides on a frame of a neighbour. One whose link owes an answer may be dead: another one that is strictly closer to
    /// the frame's place than this node, too, is taken before it.
    fn past_doubt(&self, route: &Route, ingress: Tag) -> Verdict {
        let first = self.overlay.decide(route, Some(ingress), None);
        let Verdict::Next { neighbour, .. } = first else {
            return first;
        };
        let link = self.neighbours.preferred(neighbour);
        let link = link.and_then(|link| self.links.get(&link));
        if !link.is_some_and(|link| link.life.is_doubted()) {
            return first;
        }
        let other = self.overlay.decide(route, Some(ingress), Some(neighbour));
        let is_back = matches!(other, Verdict::Next { neighbour, .. } if neighbour == ingress);
        if is_back { first } else { other }
    }

    /// The sender of a frame is told that it goes no further, unless it is a neighbour's own mistake.
    fn path_broken(&mut self, ingress: LinkNumber, route: &Route, why: Broken, now: Time) {
        let Some(from) = self.link_peer(ingress) else {
            return;
        };
        if route.to_location != Location::Neighbour {
            self.overlay.tell_broken(from.tag(), route, why, now);
            self.settle_overlay(now);
        }
    }

    /// Takes a message of a neighbour's overlay. An error ends the link.
    pub(super) fn overlay_message(
        &mut self,
        number: LinkNumber,
        message: &[u8],
        now: Time,
    ) -> Result<(), LinkEnd> {
        let Some(link) = self.links.get(&number) else {
            return Err(LinkEnd::Unknown);
        };
        // The other end takes a shortcut for a link like others, and sends what is for us by it.
        if link.shortcut && is_of_tree(message) {
            return Ok(());
        }
        self.overlay.handle(link.peer, message, now)?;
        self.settle_overlay(now);
        Ok(())
    }

    /// Drains what the overlay has to say.
    pub(super) fn settle_overlay(&mut self, now: Time) {
        let (mut changed, mut root) = (false, false);
        while let Some(event) = self.overlay.poll_event() {
            self.stirred = true;
            // Others concern one peer at most, and remote nodes cause them as they like.
            changed |= matches!(
                event,
                OverlayEvent::Moved | OverlayEvent::Keys | OverlayEvent::Ways | OverlayEvent::Root
            );
            match event {
                OverlayEvent::Moved => self.moved(now),
                OverlayEvent::Keys | OverlayEvent::Ways => {}
                OverlayEvent::Root => root = true,
                OverlayEvent::WantLink(peer) => self.want_tie(peer, now),
                OverlayEvent::NoPlace(peer) => self.events.push_back(Event::NoPlace(peer)),
                OverlayEvent::Found { query, found } => {
                    self.note_seen(query);
                    self.found(query, found, now);
                }
                OverlayEvent::NotFound { query, why } => {
                    self.note_seen(query);
                    self.not_found(query, why);
                }
                OverlayEvent::Published(_) => self.recorded(),
                OverlayEvent::Sequence(seq) => self.events.push_back(Event::Published(seq)),
                OverlayEvent::PathBroken(tag) => self.seek_broken(tag, now),
                OverlayEvent::Traced(traced) => self.events.push_back(Event::Traced(traced)),
            }
        }
        while let Some((to, message)) = self.overlay.poll_message() {
            self.send_overlay(to, message);
        }
        if changed {
            self.reroute_all(None, now);
        }
        if root {
            self.seek_again(now);
        }
    }

    /// This node hangs at another place: the peers of its sessions are told.
    fn moved(&mut self, now: Time) {
        let location = self.own_location();
        for (number, entry) in &mut self.sessions {
            entry.session.set_location(&location, now);
            self.touched.insert(*number);
        }
    }

    /// Neighbours whose death the tree must notice soon: frames of others depend on them.
    pub(super) fn overlay_ties(&self) -> Vec<Name> {
        if !self.settings.cloak.relay {
            return Vec::new();
        }
        let tree = self.overlay.tree();
        tree.children().chain(tree.parent()).collect()
    }

    /// A neighbour is gone: what waited for it goes another way, or its senders are told.
    pub(super) fn pass_by(&mut self, gone: Name, now: Time) {
        for (ingress, frame) in self.relay.neighbour_gone(gone.tag()) {
            let Waiting { mut route, content } = frame;
            // It counts from here again; once per death is no loop.
            route.watermark = WATERMARK_START;
            match self.overlay.decide(&route, Some(ingress), None) {
                Verdict::Next {
                    neighbour,
                    watermark,
                    hops,
                } => {
                    (route.watermark, route.hops) = (watermark, hops);
                    let frame = Waiting { route, content };
                    self.relay.push(neighbour, ingress, frame, now);
                    self.hot.extend(self.neighbours.preferred(neighbour));
                }
                Verdict::Broken(why) => self.overlay.tell_broken(ingress, &route, why, now),
                Verdict::Here | Verdict::Drop => {}
            }
        }
    }

    /// Tells the directory where this node can be dialled, `HOST:PORT` each; where it hangs, it tells by itself.
    pub fn publish(&mut self, endpoints: Vec<String>, now: Time) {
        self.overlay.publish(endpoints, now);
        self.settle_overlay(now);
    }

    /// A look-up has ended: how old a record may be is told.
    fn note_seen(&mut self, query: u64) {
        let name = self.lookups.get(&query).copied();
        let floor = |name| Some(Event::Seen(name, self.overlay.directory().floor(name)?));
        self.events.extend(name.and_then(floor));
    }

    /// Takes over from an earlier run how old a record of a node may be (R-D5).
    pub fn set_floor(&mut self, name: Name, number: u64, now: Time) {
        self.overlay.directory_mut().set_floor(name, number, now);
    }

    /// Looks a node up in the directory, for somebody who wants to know its newest record. The answer is an
    /// event.
    pub fn look_up(&mut self, name: Name, now: Time) {
        self.overlay.forget(name);
        let query = self.overlay.lookup(name, now);
        self.lookups.insert(query, name);
        self.settle_overlay(now);
        self.settle(now);
    }

    /// Asks who is `left` nodes further on, the next one zero, on the way to a peer; gives the number of
    /// the answer's event. The peer is sought where it said itself to hang, else at these places. None when
    /// no neighbour is closer to any of them.
    pub fn trace(&mut self, peer: Name, places: &[Location], left: u8, now: Time) -> Option<u64> {
        let known = self.peers.get(&peer);
        let sessions = known
            .into_iter()
            .flat_map(|known| known.sessions.iter().rev());
        let told = sessions.filter_map(|number| self.sessions.get(number)?.session.destination());
        let recorded = known.into_iter().flat_map(|known| &known.places);
        let place = told
            .chain(recorded)
            .chain(places)
            .find(|place| self.routed(peer.tag(), place, false, None).is_some())?
            .clone();
        let id = self.random.number();
        self.overlay.trace(peer.tag(), &place, (left, id), now);
        self.settle_overlay(now);
        self.settle(now);
        Some(id)
    }
}
