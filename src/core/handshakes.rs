//! Session handshakes: attempts of our own, and Hellos of peers (security 2.2).

use std::time::Duration;

use crate::cloak::neighbours::Link as LinkNumber;
use crate::core::event::{Event, NoHandshake};
use crate::core::gate::{Answer, GateStats};
use crate::core::{Core, Entry};
use crate::limits::{
    COOKIE_LIFE, HANDSHAKE_RETRY, HANDSHAKE_RETRY_IDLE, HANDSHAKES_PER_SECOND, SUSPEND_AFTER,
};
use crate::name::Name;
use crate::name::certificate::PeerKeys;
use crate::session::{EndReason, Places, Session};
use crate::ssm::established::{Established, Known};
use crate::ssm::handshake::{Choice, Cookie, Initiator, Offer, Received, Responder};
use crate::ssm::suite::choose_suite;
use crate::time::Time;
use crate::wire::codec::Reader;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::packet::Kind;

/// A handshake that we began.
#[derive(Debug)]
pub(super) struct Attempt {
    state: Option<Initiator>,
    /// Sessions whose state the peer shall confirm (R-R10), one with each Hello.
    asked: Vec<u32>,
    /// The one that the Hello which is out asks for.
    asking: Option<u32>,
    index: u64,
    /// The Hello that is out.
    hello: Vec<u8>,
    /// It has been sent once more, with a cookie.
    stamped: bool,
    pause: Duration,
    due_at: Time,
    began_at: Time,
    /// That nothing answers has been told.
    told: bool,
}

impl Attempt {
    fn new(asked: Option<u32>, due_at: Time, now: Time) -> Self {
        Self {
            state: None,
            asked: Vec::from_iter(asked),
            asking: None,
            index: 0,
            hello: Vec::new(),
            stamped: false,
            pause: HANDSHAKE_RETRY.0,
            due_at,
            began_at: now,
            told: false,
        }
    }

    /// The peer has begun as well, and its attempt goes first; ours goes on unless that one is
    /// confirmed within a retry, since it may be a replay (R-H6).
    fn give_way(&mut self, now: Time) {
        self.state = None;
        self.hello.clear();
        self.due_at = now + HANDSHAKE_RETRY.1;
    }

    /// Whether the peer owes an answer for as long as would suspend a session.
    pub(super) fn is_unanswered(&self, now: Time) -> bool {
        now.since(self.began_at) >= SUSPEND_AFTER
    }

    /// When the next try goes out.
    pub(super) const fn due_at(&self) -> Time {
        self.due_at
    }

    /// The path has just come up: try at once.
    pub(super) const fn hurry(&mut self, now: Time) {
        self.due_at = now;
        self.pause = HANDSHAKE_RETRY.0;
    }
}

impl Core {
    /// Begins a handshake with a peer unless one is under way; `asked` names a session whose state it
    /// shall confirm.
    pub(super) fn start_handshake(&mut self, peer: Name, asked: Option<u32>, now: Time) {
        if self.denied.contains(&peer) {
            return;
        }
        self.stirred = true;
        let known = self.peers.entry(peer).or_default();
        if let Some(attempt) = &mut known.attempt {
            let more = asked.filter(|number| !attempt.asked.contains(number));
            attempt.asked.extend(more);
            return;
        }
        let due_at = self.turn(peer, now);
        self.peers.entry(peer).or_default().attempt = Some(Attempt::new(asked, due_at, now));
        if due_at <= now {
            self.try_handshake(peer, now);
        }
    }

    /// Asks the peer of a session whether it still has its state (rule 19 of PROTOCOL 8).
    pub(super) fn check_state(&mut self, number: u32, now: Time) {
        let Some(peer) = self.sessions.get(&number).map(|entry| entry.session.peer()) else {
            return;
        };
        if self.is_reachable(peer) {
            self.start_handshake(peer, Some(number), now);
        }
    }

    pub(super) fn poll_handshakes(&mut self, now: Time) {
        let due: Vec<Name> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                peer.attempt
                    .as_ref()
                    .is_some_and(|attempt| attempt.due_at <= now)
            })
            .map(|(name, _)| *name)
            .collect();
        for peer in due {
            let asks = self.asks_for_state(peer);
            let reachable = self.is_reachable(peer);
            if reachable && (asks || self.is_wanted(peer)) {
                self.try_handshake(peer, now);
            } else if let Some(known) = self.peers.get_mut(&peer) {
                known.attempt = None;
            }
        }
        self.drop_half_open(now);
    }

    /// Whether the handshake with a peer is about the state of a session that is still there.
    fn asks_for_state(&mut self, peer: Name) -> bool {
        let known = self.peers.get_mut(&peer);
        let attempt = known.and_then(|known| known.attempt.as_mut());
        attempt.is_some_and(|attempt| {
            let there = |number: &u32| self.sessions.contains_key(number);
            attempt.asked.retain(there);
            !attempt.asked.is_empty()
        })
    }

    /// Sends a Hello with fresh ephemerals (R-H9).
    fn try_handshake(&mut self, peer: Name, now: Time) {
        let longest = if self.is_wanted(peer) {
            HANDSHAKE_RETRY.1
        } else {
            HANDSHAKE_RETRY_IDLE
        };
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let (Some(attempt), Some(static_public)) = (&mut known.attempt, known.static_public) else {
            // It would be due for ever.
            known.attempt = None;
            return;
        };
        // The Hello before was not answered.
        if attempt.state.is_some() {
            known.detour.turn(now);
        }
        let index = self.random.number();
        let mut asked = attempt.asked.iter();
        let asked = asked.find_map(|number| Some((*number, self.sessions.get(number)?)));
        attempt.asking = asked.map(|(number, _)| number);
        let offer = Offer {
            suites: self.settings.suites.clone(),
            index,
            port: 0,
            asked: asked.map(|(_, entry)| entry.session.sess_id()),
        };
        let keys = PeerKeys {
            name: peer,
            static_public,
        };
        if attempt.state.is_some() {
            // The first try was not answered: is anybody there?
            for number in self.neighbours.all(peer.tag()) {
                if let Some(link) = self.links.get_mut(number) {
                    link.suspect(now);
                    self.hot.insert(*number);
                }
            }
        }
        if attempt.is_unanswered(now) && !std::mem::replace(&mut attempt.told, true) {
            self.events
                .push_back(Event::NoHandshake(peer, NoHandshake::Unanswered));
        }
        let jitter = Duration::from_millis(self.random.below(50));
        attempt.due_at = now + attempt.pause + jitter;
        attempt.pause = (attempt.pause * 2).min(longest);
        attempt.index = index;
        match Initiator::start(&self.me, keys, &self.settings.psk, offer, &mut self.random) {
            Ok((state, mut hello)) => {
                attempt.state = Some(state);
                attempt.stamped = false;
                if let Some((cookie, at)) = &known.cookie
                    && now.since(*at) < COOKIE_LIFE
                {
                    cookie.stamp(&mut hello);
                }
                attempt.hello.clone_from(&hello);
                self.send_hello(peer, &hello);
            }
            Err(_) => attempt.state = None,
        }
    }

    /// Takes a message that travels outside packets.
    pub(super) fn signal(&mut self, link: LinkNumber, route: &Route, message: &[u8], now: Time) {
        let Some(kind) = message.first().copied().and_then(Kind::from_code) else {
            return;
        };
        match kind {
            Kind::HelloA => self.hello_a(link, route, message, now),
            Kind::HelloB => self.hello_b(route, message, now),
            Kind::ReHello => {
                self.re_hello(message, now);
            }
            Kind::Cookie => self.cookie(message, now),
            Kind::Data => {}
        }
    }

    /// A loaded responder wants to see a cookie: the Hello that is out goes once more, with it.
    fn cookie(&mut self, message: &[u8], now: Time) {
        let found = self.peers.iter_mut().find_map(|(name, known)| {
            let attempt = known.attempt.as_mut()?;
            // Once per Hello: whoever answers with cookies only does not make us send without end.
            if attempt.state.is_none() || attempt.stamped {
                return None;
            }
            let cookie = Cookie::open(&attempt.hello, message, name)?;
            attempt.stamped = cookie.stamp(&mut attempt.hello);
            known.cookie = Some((cookie, now));
            Some((*name, attempt.hello.clone()))
        });
        if let Some((peer, hello)) = found {
            self.send_hello(peer, &hello);
        }
    }

    fn send_hello(&mut self, peer: Name, hello: &[u8]) {
        let way = self.way_by_record(peer);
        self.send_signal(Vec::from_iter(way), hello);
    }

    /// Takes a Re-Hello; tells which session it names, whether it opened or not.
    pub(super) fn re_hello(&mut self, message: &[u8], now: Time) -> Option<u32> {
        let mut reader = Reader::new(message);
        let (kind, index) = (reader.u8().ok()?, reader.u64().ok()?);
        if kind != Kind::ReHello.code() {
            return None;
        }
        let number = *self.by_index.get(&index)?;
        let entry = self.sessions.get_mut(&number)?;
        entry.session.handle_re_hello(reader.rest(), now);
        self.touched.insert(number);
        Some(number)
    }

    /// What the gate in front of the handshakes has done.
    pub const fn gate_stats(&self) -> GateStats {
        self.gate.stats
    }

    /// Whether a Hello may cost public-key work now; answers it with a cookie if it must show one
    /// first. One whose first MAC does not fit gets nothing (R-H7).
    fn passes_gate(&mut self, link: LinkNumber, route: &Route, message: &[u8], now: Time) -> bool {
        let Some(neighbour) = self.links.get(&link).map(|link| link.peer) else {
            return false;
        };
        let responder = Responder::new(&self.me, &self.settings.psk);
        if responder.check(message).is_err() {
            return false;
        }
        let crowded = self.is_crowded();
        let Some(known) = self.peers.get_mut(&neighbour) else {
            return false;
        };
        let loaded = known.arrivals.hit(HANDSHAKES_PER_SECOND, now) || crowded;
        let origin = (link, route);
        let answer = self
            .gate
            .judge(message, origin, loaded, &mut self.random, now);
        match answer {
            Answer::Cookie(cookie) => {
                self.answer_signal(link, route, &cookie);
                false
            }
            Answer::Read => {
                let passes = known.bucket.pass(HANDSHAKES_PER_SECOND, now);
                let stats = &mut self.gate.stats;
                *(if passes {
                    &mut stats.hellos_read
                } else {
                    &mut stats.over_rate
                }) += 1;
                passes
            }
        }
    }

    fn hello_a(&mut self, link: LinkNumber, route: &Route, message: &[u8], now: Time) {
        if !self.passes_gate(link, route, message, now) {
            return;
        }
        let calendar = self.calendar(now);
        let serial = |name: &Name| self.peers.get(name).and_then(|known| known.serial);
        let responder = Responder::new(&self.me, &self.settings.psk);
        let received = responder.read(message, calendar, &serial, &mut self.random);
        let Ok(received) = received else { return };
        let peer = received.peer();
        if self.denied.contains(&peer) {
            return;
        }
        if route.from != peer.tag() || self.loses_crossing(peer) || self.is_replay(peer, &received)
        {
            return;
        }
        if !self.room_for_peer(&peer) {
            return;
        }
        self.note_stranger(peer, now);
        let known = self.peers.entry(peer).or_default();
        if let Some(attempt) = &mut known.attempt {
            attempt.give_way(now);
        }
        self.note_certificate(received.certificate());
        let Some(suite) = choose_suite(received.suites(), &self.settings.suites) else {
            let known = self.peers.entry(peer).or_default();
            let lately = |at: Time| now.since(at) < Duration::from_secs(600);
            if !known.no_suite_at.is_some_and(lately) {
                known.no_suite_at = Some(now);
                self.events
                    .push_back(Event::NoHandshake(peer, NoHandshake::NoSuite));
            }
            return;
        };
        if !self.room_for_half_open(peer, link, now) {
            return;
        }
        let asked_known = received.asked().map(|asked| self.state_of(peer, asked));
        let choice = Choice {
            suite,
            index: self.random.number(),
            port: 0,
            known: asked_known,
        };
        let answered = received.answer(&self.me, choice, &mut self.random);
        let Ok((established, hello)) = answered else {
            return;
        };
        let boot = self
            .links
            .get(&link)
            .filter(|link| link.peer == peer)
            .map(|link| link.boot);
        let number = self.insert_session(&established, boot, route.from_location.clone(), now);
        if let Some(entry) = self.sessions.get_mut(&number) {
            entry.spare = asked_known == Some(Known::Yes);
            entry.ingress = Some(link);
        }
        self.answer_signal(link, route, &hello);
    }

    /// Whether our own handshake with this peer stands against its: both began at once, and the lower
    /// name's is kept (R-H10).
    fn loses_crossing(&self, peer: Name) -> bool {
        let attempt = self
            .peers
            .get(&peer)
            .and_then(|known| known.attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.state.is_some()) && self.me.name() < peer
    }

    /// Whether this Hello has been answered already (R-H6).
    fn is_replay(&self, peer: Name, received: &Received) -> bool {
        self.sessions.values().any(|entry| {
            entry.session.peer() == peer && entry.session.peer_index() == received.peer_index()
        })
    }

    fn hello_b(&mut self, route: &Route, message: &[u8], now: Time) {
        let mut reader = Reader::new(message);
        let (Ok(_), Ok(_), Ok(index)) = (reader.u8(), reader.u8(), reader.u64()) else {
            return;
        };
        let calendar = self.calendar(now);
        let found = self.peers.iter_mut().find(|(_, known)| {
            known
                .attempt
                .as_ref()
                .is_some_and(|attempt| attempt.index == index)
        });
        let Some((peer, known)) = found else { return };
        let peer = *peer;
        let Some(state) = known
            .attempt
            .as_mut()
            .and_then(|attempt| attempt.state.as_mut())
        else {
            return;
        };
        // A message that does not open leaves the attempt as it was (R-W7).
        let Ok(established) = state.finish(message, calendar, known.serial) else {
            return;
        };
        let Some(attempt) = known.attempt.take() else {
            return;
        };
        self.note_certificate(&established.certificate);
        self.established(peer, attempt.asking, &established, route, now);
        let others = attempt.asked.into_iter();
        for other in others.filter(|number| Some(*number) != attempt.asking) {
            self.check_state(other, now);
        }
    }

    /// A handshake of ours is done, in which the state of the session `asked` was asked for.
    fn established(
        &mut self,
        peer: Name,
        asked: Option<u32>,
        established: &Established,
        route: &Route,
        now: Time,
    ) {
        let (boot, answer) = (established.peer_boot_id, established.asked_known);
        if let Some(asked) = asked.filter(|_| answer == Some(Known::Never))
            && self.begin_anew(asked, established, route.from_location.clone(), now)
        {
            return self.confirmed(asked, peer, now);
        }
        let number = self.insert_session(established, boot, route.from_location.clone(), now);
        if !asked.is_some_and(|asked| self.state_checked(asked, answer, number)) {
            self.confirmed(number, peer, now);
        }
    }

    /// The peer has said, sealed, what it still has of a session (R-R10). True when that one goes on and the
    /// one that asked has done its work.
    fn state_checked(&mut self, asked: u32, answer: Option<Known>, fresh: u32) -> bool {
        let Some(entry) = self.sessions.get_mut(&asked) else {
            return false;
        };
        self.touched.insert(asked);
        if matches!(answer, Some(Known::No | Known::Never)) {
            entry.session.end(EndReason::PeerLostState);
            return false;
        }
        if let Some(entry) = self.sessions.get_mut(&fresh) {
            entry.spare = true;
            entry.session.close(EndReason::Local);
            self.touched.insert(fresh);
        }
        true
    }

    /// A session of which the peer has never opened a packet goes on with the keys of another handshake.
    fn begin_anew(
        &mut self,
        number: u32,
        established: &Established,
        peer_location: Location,
        now: Time,
    ) -> bool {
        let places = Places {
            own: self.own_location(),
            peer: peer_location,
        };
        let Some(entry) = self.sessions.get_mut(&number) else {
            return false;
        };
        let before = entry.session.local_index();
        if !entry.session.begin_anew(established, places, now) {
            return false;
        }
        entry.boot = established.peer_boot_id;
        entry.handshakes += 1;
        entry.hops = None;
        self.by_index.remove(&before);
        self.by_index.insert(established.local_index, number);
        self.reroute(number, None, now);
        true
    }

    fn insert_session(
        &mut self,
        established: &Established,
        boot: Option<[u8; 16]>,
        peer_location: Location,
        now: Time,
    ) -> u32 {
        self.next_session += 1;
        let number = self.next_session;
        let peer = established.peer();
        let mut options = self.settings.session.clone();
        let known = self.peers.entry(peer).or_default();
        let share = known
            .memory
            .get_or_insert_with(|| options.budget.for_another());
        options.budget = share.clone();
        let places = Places {
            own: self.own_location(),
            peer: peer_location,
        };
        let session = Session::new(established, places, options, &mut self.random, now);
        self.by_index.insert(session.local_index(), number);
        let entry = Entry {
            session,
            boot,
            handshakes: 1,
            made_at: now,
            spare: false,
            ingress: None,
            carrier: None,
            in_line: false,
            aim: None,
            hops: None,
        };
        self.sessions.insert(number, entry);
        self.peers.entry(peer).or_default().sessions.push(number);
        self.reroute(number, None, now);
        number
    }

    /// A session can carry channels.
    pub(super) fn confirmed(&mut self, number: u32, peer: Name, now: Time) {
        // Ours that gave way is not needed any more, unless it asks for another session's state.
        if let Some(known) = self.peers.get_mut(&peer) {
            known.met = true;
            known.attempt.take_if(|attempt| attempt.asked.is_empty());
        }
        self.events.push_back(Event::SessionUp(number, peer));
        self.poll_requests(now);
    }
}
