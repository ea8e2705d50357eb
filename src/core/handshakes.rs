//! Session handshakes: attempts of our own, and Hellos of peers (security 2.2).

use std::time::Duration;

use crate::cloak::neighbours::Link as LinkNumber;
use crate::core::event::Event;
use crate::core::{Core, Entry};
use crate::limits::{
    HALF_OPEN_LIFE, HALF_OPEN_MAX, HANDSHAKE_RETRY, HANDSHAKES_PER_SECOND, SESSIONS_PER_PEER,
};
use crate::name::Name;
use crate::name::certificate::PeerKeys;
use crate::session::{EndReason, Session};
use crate::ssm::established::Established;
use crate::ssm::handshake::{Choice, Initiator, Offer, Received, Responder};
use crate::ssm::suite::choose_suite;
use crate::time::Time;
use crate::wire::codec::Reader;
use crate::wire::link::Route;
use crate::wire::packet::Kind;

/// A handshake that we began.
#[derive(Debug)]
pub(super) struct Attempt {
    state: Option<Initiator>,
    /// The session whose state the peer shall confirm (R-R10).
    asked: Option<u32>,
    index: u64,
    pause: Duration,
    due_at: Time,
}

impl Attempt {
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

/// Tokens for handshakes of one neighbour (R-H7).
#[derive(Debug, Default)]
pub(super) struct Bucket {
    spent: f64,
    at: Time,
}

impl Bucket {
    fn pass(&mut self, now: Time) -> bool {
        let (rate, burst) = HANDSHAKES_PER_SECOND;
        let back = now.since(self.at).as_secs_f64() * f64::from(rate);
        self.spent = (self.spent - back).max(0.0);
        self.at = now;
        let pass = self.spent + 1.0 <= f64::from(burst);
        if pass {
            self.spent += 1.0;
        }
        pass
    }
}

impl Core {
    /// Begins a handshake with a peer unless one is under way; `asked` names a session whose state it
    /// shall confirm.
    pub(super) fn start_handshake(&mut self, peer: Name, asked: Option<u32>, now: Time) {
        let known = self.peers.entry(peer).or_default();
        if let Some(attempt) = &mut known.attempt {
            if attempt.asked.is_none() {
                attempt.asked = asked;
            }
            return;
        }
        known.attempt = Some(Attempt {
            state: None,
            asked,
            index: 0,
            pause: HANDSHAKE_RETRY.0,
            due_at: now,
        });
        self.try_handshake(peer, now);
    }

    /// Asks the peer of a session whether it still has its state (rule 19 of `resume.md`).
    pub(super) fn check_state(&mut self, number: u32, now: Time) {
        let Some(peer) = self.sessions.get(&number).map(|entry| entry.session.peer()) else {
            return;
        };
        if self.neighbours.preferred(peer.tag()).is_some() {
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
            let asked = self
                .peers
                .get(&peer)
                .and_then(|known| known.attempt.as_ref()?.asked);
            let linked = self.neighbours.preferred(peer.tag()).is_some();
            if linked && (asked.is_some() || self.is_wanted(peer)) {
                self.try_handshake(peer, now);
            } else if let Some(known) = self.peers.get_mut(&peer) {
                known.attempt = None;
            }
        }
        self.drop_half_open(now);
    }

    /// Sends a Hello with fresh ephemerals (R-H9).
    fn try_handshake(&mut self, peer: Name, now: Time) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let (Some(attempt), Some(static_public)) = (&mut known.attempt, known.static_public) else {
            return;
        };
        let index = self.random.number();
        let asked = attempt.asked.and_then(|number| self.sessions.get(&number));
        let offer = Offer {
            suites: self.settings.suites.clone(),
            index,
            port: 0,
            asked: asked.map(|entry| entry.session.sess_id()),
        };
        let keys = PeerKeys {
            name: peer,
            static_public,
        };
        let jitter = Duration::from_millis(self.random.below(50));
        attempt.due_at = now + attempt.pause + jitter;
        attempt.pause = (attempt.pause * 2).min(HANDSHAKE_RETRY.1);
        attempt.index = index;
        match Initiator::start(&self.me, keys, &self.settings.psk, offer, &mut self.random) {
            Ok((state, hello)) => {
                attempt.state = Some(state);
                self.send_signal(peer, &hello, false);
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
            Kind::HelloB => self.hello_b(message, now),
            Kind::ReHello => self.re_hello(message, now),
            Kind::Data | Kind::Cookie => {}
        }
    }

    fn re_hello(&mut self, message: &[u8], now: Time) {
        let mut reader = Reader::new(message);
        let (Ok(_), Ok(index)) = (reader.u8(), reader.u64()) else {
            return;
        };
        let Some(number) = self.by_index.get(&index).copied() else {
            return;
        };
        if let Some(entry) = self.sessions.get_mut(&number) {
            entry.session.handle_re_hello(reader.rest(), now);
            self.touched.insert(number);
        }
    }

    fn hello_a(&mut self, link: LinkNumber, route: &Route, message: &[u8], now: Time) {
        let Some(neighbour) = self.links.get(&link).map(|link| link.peer) else {
            return;
        };
        let passes = self
            .peers
            .get_mut(&neighbour)
            .is_some_and(|known| known.bucket.pass(now));
        if !passes {
            return;
        }
        let calendar = self.calendar(now);
        let serial = |name: &Name| self.peers.get(name).and_then(|known| known.serial);
        let responder = Responder::new(&self.me, &self.settings.psk);
        let received = responder.read(message, calendar, &serial, &mut self.random);
        let Ok(received) = received else { return };
        let peer = received.peer();
        if route.from != peer.tag() || self.loses_crossing(peer) || self.is_replay(peer, &received)
        {
            return;
        }
        let known = self.peers.entry(peer).or_default();
        known.attempt = None;
        known.serial = Some(received.certificate().certificate().terms.serial);
        let asked_known = received.asked().map(|asked| {
            self.sessions
                .values()
                .any(|entry| entry.session.peer() == peer && entry.session.sess_id() == asked)
        });
        let Some(suite) = choose_suite(received.suites(), &self.settings.suites) else {
            return;
        };
        if !self.room_for_half_open(peer, now) {
            return;
        }
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
        let number = self.insert_session(&established, boot, now);
        if let Some(entry) = self.sessions.get_mut(&number) {
            entry.spare = asked_known == Some(true);
        }
        self.send_signal(peer, &hello, false);
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

    fn hello_b(&mut self, message: &[u8], now: Time) {
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
        known.serial = Some(established.certificate.certificate().terms.serial);
        let asked = known.attempt.take().and_then(|attempt| attempt.asked);
        let (boot, answer) = (established.peer_boot_id, established.asked_known);
        let number = self.insert_session(&established, boot, now);
        if !asked.is_some_and(|asked| self.state_checked(asked, answer, number)) {
            self.confirmed(number, peer, now);
        }
    }

    /// The peer has said, sealed, whether it still has a session (R-R10). True when that one goes on and
    /// the one that asked has done its work.
    fn state_checked(&mut self, asked: u32, answer: Option<bool>, fresh: u32) -> bool {
        let Some(entry) = self.sessions.get_mut(&asked) else {
            return false;
        };
        self.touched.insert(asked);
        if answer == Some(false) {
            entry.session.end(EndReason::PeerLostState);
            return false;
        }
        if let Some(entry) = self.sessions.get_mut(&fresh) {
            entry.spare = true;
            entry.session.close();
            self.touched.insert(fresh);
        }
        true
    }

    fn insert_session(
        &mut self,
        established: &Established,
        boot: Option<[u8; 16]>,
        now: Time,
    ) -> u32 {
        self.next_session += 1;
        let number = self.next_session;
        let peer = established.peer();
        let options = self.settings.session.clone();
        let session = Session::new(established, options, &mut self.random, now);
        self.by_index.insert(session.local_index(), number);
        let entry = Entry {
            session,
            boot,
            handshakes: 1,
            made_at: now,
            spare: false,
        };
        self.sessions.insert(number, entry);
        self.peers.entry(peer).or_default().sessions.push(number);
        self.touched.insert(number);
        number
    }

    /// A session can carry channels.
    pub(super) fn confirmed(&mut self, number: u32, peer: Name, now: Time) {
        self.events.push_back(Event::SessionUp(number, peer));
        self.poll_requests(now);
    }

    /// Whether another half-open session fits; makes room by dropping the oldest of its class (R-H6).
    fn room_for_half_open(&mut self, peer: Name, now: Time) -> bool {
        self.drop_half_open(now);
        let count = self
            .peers
            .get(&peer)
            .map_or(0, |known| known.sessions.len());
        let half_open = |entry: &&Entry| !entry.session.is_confirmed();
        let all = self.sessions.values().filter(half_open).count();
        let mine: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, entry)| !entry.session.is_confirmed() && entry.session.peer() == peer)
            .map(|(number, _)| *number)
            .collect();
        if mine.len() >= HALF_OPEN_MAX.1 {
            if let Some(oldest) = mine.first() {
                self.forget_session(*oldest);
            }
            return true;
        }
        all < HALF_OPEN_MAX.0 && count < SESSIONS_PER_PEER
    }

    fn drop_half_open(&mut self, now: Time) {
        let old: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, entry)| {
                !entry.session.is_confirmed() && now.since(entry.made_at) >= HALF_OPEN_LIFE
            })
            .map(|(number, _)| *number)
            .collect();
        for number in old {
            self.forget_session(number);
        }
    }

    pub(super) fn half_open_due_at(&self) -> Time {
        self.sessions
            .values()
            .filter(|entry| !entry.session.is_confirmed())
            .map(|entry| entry.made_at + HALF_OPEN_LIFE)
            .min()
            .unwrap_or(Time::NEVER)
    }
}
