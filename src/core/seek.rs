//! Looking peers up in the directory of the overlay: where they hang, where they can be dialled, and their
//! certified keys.

use crate::cloak::overlay::{Absence, Found};
use crate::core::{Core, Event, Peer};
use crate::limits::{BROKEN_PAUSE, SEEK_PAUSE, SEEK_PAUSE_MAX};
use crate::name::Name;
use crate::session::LinkEvent;
use crate::time::Time;
use crate::wire::tag::Tag;

/// What this node does to find one peer.
#[derive(Debug, Default)]
pub(super) struct Seek {
    /// A look-up is under way.
    asking: bool,
    /// When the next may begin.
    next_at: Time,
    /// Since when it has been looked for; none once it was met.
    since: Option<Time>,
    /// Another one is wanted as soon as it may begin.
    wanted: bool,
    /// When somebody who says that the way is broken is heeded again.
    heed_at: Time,
}

impl Seek {
    /// Whether it is looked up, or may be again.
    pub(super) const fn is_on(&self) -> bool {
        self.asking || self.wanted
    }

    /// The network may be another one: the pause ends.
    pub(super) const fn hurry(&mut self, now: Time) {
        self.next_at = now;
        if self.since.is_some() {
            self.since = Some(now);
        }
    }
}

impl Core {
    /// Looks a peer up that no link leads to; at most one look-up at a time, and not too often.
    pub(super) fn seek(&mut self, peer: Name, now: Time) {
        if self.neighbours.preferred(peer.tag()).is_some() {
            return self.seek_done(peer);
        }
        if !self.room_for_peer(&peer) {
            return;
        }
        let seek = &mut self.peers.entry(peer).or_default().seek;
        if seek.asking || now < seek.next_at {
            seek.wanted = true;
            return;
        }
        seek.asking = true;
        seek.wanted = false;
        let lasted = now.since(*seek.since.get_or_insert(now));
        seek.next_at = now + (lasted / 8).clamp(SEEK_PAUSE, SEEK_PAUSE_MAX);
        let query = self.overlay.lookup(peer, now);
        self.lookups.insert(query, peer);
    }

    /// A link to this node would help the tree: it is looked up, and dialled if it tells where.
    pub(super) fn want_tie(&mut self, peer: Name, now: Time) {
        let wanted = self.settings.cloak.shortcuts && self.room_for_peer(&peer);
        if wanted && self.neighbours.preferred(peer.tag()).is_none() {
            self.peers.entry(peer).or_default().tie_wanted = true;
            self.seek(peer, now);
        }
    }

    /// A look-up found the peer's record.
    pub(super) fn found(&mut self, query: u64, found: Box<Found>, now: Time) {
        let Some(peer) = self.lookups.remove(&query) else {
            return;
        };
        let event = Event::Found(found.clone());
        self.events.push_back(event);
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.seek.asking = false;
        // Until it answers, what was found may be out of date.
        known.seek.wanted = true;
        known.places.clone_from(&found.locations);
        known.endpoints.clone_from(&found.endpoints);
        if std::mem::take(&mut known.tie_wanted) && !known.endpoints.is_empty() {
            let endpoints = known.endpoints.clone();
            self.events.push_back(Event::Dial(peer, endpoints, false));
        }
        let certificate = found.certificate.certificate();
        if known
            .serial
            .is_none_or(|serial| serial <= certificate.terms.serial)
        {
            self.note_certificate(&found.certificate);
        }
        self.reroute_all(Some(peer), now);
        if self.is_reachable(peer) {
            self.meet(peer, now);
        } else {
            // It hangs elsewhere by now: the next look-up asks for a newer record.
            self.overlay.forget(peer);
        }
    }

    /// There is a way to the places of a peer's record: sessions take it that have none, or whose peer hangs
    /// elsewhere than they know.
    fn meet(&mut self, peer: Name, now: Time) {
        let Some(known) = self.peers.get(&peer) else {
            return;
        };
        for number in known.sessions.clone() {
            let Some(entry) = self.sessions.get_mut(&number) else {
                continue;
            };
            // The first place of a record is the present one.
            let recorded = self.peers.get(&peer).and_then(|known| known.places.first());
            let told = entry.session.destination();
            let elsewhere = told
                .zip(recorded)
                .is_some_and(|(told, place)| !told.is(place));
            if entry.session.is_suspended() || elsewhere {
                entry.session.link_event(LinkEvent::Up, now);
                self.touched.insert(number);
            }
        }
        self.hurry(peer, now);
    }

    /// A look-up found nothing: the next one follows while somebody waits.
    pub(super) fn not_found(&mut self, query: u64, why: Absence) {
        let Some(peer) = self.lookups.remove(&query) else {
            return;
        };
        self.events.push_back(Event::NotFound(peer, why));
        if let Some(known) = self.peers.get_mut(&peer) {
            known.seek.asking = false;
            known.seek.wanted = true;
        }
    }

    /// A session with the peer carries traffic: it need not be looked for.
    pub(super) fn seek_done(&mut self, peer: Name) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.seek.wanted = false;
            known.seek.since = None;
        }
    }

    /// The peer of a live session does not answer: it may hang elsewhere and be unable to tell.
    pub(super) fn seek_silent(&mut self, peer: Name, now: Time) {
        self.overlay.forget(peer);
        self.seek(peer, now);
    }

    /// Another root: whoever could not be reached may be again, and records are where they can be found.
    pub(super) fn seek_again(&mut self, now: Time) {
        for known in self.peers.values_mut().filter(|known| known.seek.wanted) {
            known.seek.next_at = now;
        }
        for (number, entry) in &mut self.sessions {
            let session = &mut entry.session;
            let waits = session.is_suspended() || session.is_suspected();
            if waits && self.neighbours.preferred(session.peer().tag()).is_none() {
                session.link_event(LinkEvent::Up, now);
                self.touched.insert(*number);
            }
        }
    }

    /// Whether somebody waits for a peer, and no session with it goes well.
    fn is_sought(&self, peer: Name) -> bool {
        let live = self.live_session(peer);
        let live = live.and_then(|number| self.sessions.get(&number));
        live.is_none_or(|live| live.session.is_suspected()) && self.is_wanted(peer)
    }

    /// A relay says that the way to this one is broken. It proves nothing, so the session only asks for a
    /// sign of life, along the tree, and the directory is asked again; more of the same soon changes nothing.
    pub(super) fn seek_broken(&mut self, to: Tag, now: Time) {
        let mut peers = self.peers.iter_mut();
        let Some((peer, known)) = peers.find(|(name, _)| name.tag() == to) else {
            return;
        };
        if now < known.seek.heed_at {
            return;
        }
        known.seek.heed_at = now + BROKEN_PAUSE;
        let peer = *peer;
        for number in &known.sessions {
            if let Some(entry) = self.sessions.get_mut(number) {
                entry.session.probe();
                self.touched.insert(*number);
            }
        }
        if known.detour.begin(now) {
            self.reroute_all(Some(peer), now);
        }
        self.stirred = true;
        self.overlay.forget(peer);
        self.seek(peer, now);
    }

    pub(super) fn seeks_due_at(&self) -> Time {
        let due = |known: &Peer| {
            let seek = &known.seek;
            let look_up = (seek.wanted && !seek.asking).then_some(seek.next_at);
            look_up.into_iter().chain(known.detour.due_at()).min()
        };
        let due = self.peers.values().filter_map(due).min();
        due.unwrap_or(Time::NEVER)
    }

    /// Begins the look-ups whose turn it is.
    pub(super) fn poll_seeks(&mut self, now: Time) {
        self.poll_detours(now);
        let due: Vec<Name> = self
            .peers
            .iter()
            .filter(|(_, known)| {
                known.seek.wanted && !known.seek.asking && known.seek.next_at <= now
            })
            .map(|(name, _)| *name)
            .collect();
        for peer in due {
            if self.is_sought(peer) {
                self.seek(peer, now);
            } else {
                self.seek_done(peer);
            }
        }
        self.settle_overlay(now);
    }
}
