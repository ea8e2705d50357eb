//! What whole runs of the simulator found, each in its smallest form.

use std::time::Duration;

use super::*;
use crate::name::Identity;
use crate::name::certificate::{LocalParty, OverlayId, PeerKeys, StaticKey, Terms};
use crate::ssm::handshake::{Choice, Initiator, Offer, Responder};
use crate::time::Calendar;
use crate::wire::frame::Frame;
use crate::wire::target::Target;

mod keys;
mod resets;

struct Sink;

impl Delivery for Sink {
    fn deliver(&mut self, _: ChannelId, _: &[u8]) -> usize {
        0
    }
}

type Packet = ([u8; 19], Vec<u8>);

/// The only way between the two.
const PATH: u64 = 1;

struct Pairing {
    ends: [Session; 2],
    now: Time,
}

fn party(seed: u8) -> LocalParty {
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([seed ^ 0x55; 32]);
    let identity = Identity::from_seed(&[seed; 32]);
    LocalParty::new(identity, key, terms, [seed; 16], OverlayId::of("test"))
}

/// What a handshake gives to its two ends.
fn handshake(random: &mut Random) -> [Established; 2] {
    let (a, b) = (party(1), party(2));
    let keys = PeerKeys {
        name: b.name(),
        static_public: b.static_key().public(),
    };
    let offer = Offer {
        suites: vec![Suite::Chacha20Poly1305],
        index: 1,
        port: 0,
        asked: None,
    };
    let (mut initiator, hello) = Initiator::start(&a, keys, &[0; 32], offer, random).unwrap();
    let received = Responder::new(&b, &[0; 32])
        .read(&hello, Calendar(5), &|_| None, random)
        .unwrap();
    let choice = Choice {
        suite: Suite::Chacha20Poly1305,
        index: 2,
        port: 0,
        known: None,
    };
    let (theirs, answer) = received.answer(&b, choice, random).unwrap();
    let ours = initiator.finish(&answer, Calendar(5), None).unwrap();
    [ours, theirs]
}

/// Two sessions that have not spoken yet.
fn fresh() -> Pairing {
    with_memory(1 << 20)
}

/// The same with so many bytes for their channels.
fn with_memory(bytes: u64) -> Pairing {
    let random = &mut Random::from_number(1);
    let ends = handshake(random);
    let options = Options {
        acks: AckPolicy {
            every: 1,
            delay: Duration::from_millis(1),
        },
        budget: Budget::new(bytes),
        max_suspend: None,
        max_j: None,
        key_use: KeyUse::default(),
    };
    let session = |established: &Established| {
        let (places, options) = (Places::NEIGHBOURS, options.clone());
        let mut session = Session::new(established, places, options, random, Time::ZERO);
        session.set_path(PATH, false, Time::ZERO);
        session
    };
    Pairing {
        ends: ends.each_ref().map(session),
        now: Time::ZERO,
    }
}

fn pairing() -> Pairing {
    let mut pairing = fresh();
    pairing.settle();
    pairing
}

impl Pairing {
    fn packet(&mut self, from: usize) -> Option<Packet> {
        let mut body = Vec::new();
        let sealed = self.ends[from].poll_packet(4_000, &mut body, self.now)?;
        Some((sealed.header, body))
    }

    fn arrives(&mut self, to: usize, packet: &Packet) {
        let arrived = Arrived {
            header: &packet.0,
            body: &mut packet.1.clone(),
            marked: false,
            path: PATH,
        };
        self.ends[to].handle_packet(arrived, self.now, &mut Sink);
    }

    /// Delivers packets until nobody has any.
    fn settle(&mut self) {
        loop {
            self.now += Duration::from_millis(2);
            let mut quiet = true;
            for from in 0..2 {
                self.ends[from].handle_timeout(self.now);
                while let Some(packet) = self.packet(from) {
                    self.arrives(1 - from, &packet);
                    quiet = false;
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn hellos(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for from in 0..2 {
                while let Some(signal) = self.ends[from].poll_signal() {
                    self.ends[1 - from].handle_re_hello(&signal.message[9..], self.now);
                    quiet = false;
                }
            }
        }
    }

    /// A channel that A opened and B accepted.
    fn opened(&mut self) -> ChannelId {
        let now = self.now;
        let id = self.ends[0].open(Target::Loopback(80), 7, now).unwrap();
        self.settle();
        self.ends[1].accept(id);
        self.settle();
        id
    }

    fn events(&mut self, side: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.ends[side].poll_event()).collect()
    }
}

#[test]
fn an_old_packet_behind_the_end_does_not_cut_a_reader_off() {
    let mut pairing = pairing();
    let id = pairing.opened();
    // The first copy is held on its way, and what was in it goes again.
    assert_eq!(pairing.ends[0].push(id, b"question"), 8);
    let held = pairing.packet(0).unwrap();
    pairing.ends[0].path_lost(PATH);
    pairing.ends[0].finish(id);
    assert_eq!(pairing.ends[1].push(id, b"answer"), 6);
    pairing.ends[1].finish(id);
    pairing.settle();
    let now = pairing.now;
    pairing.ends[1].take(id, 8, now);
    pairing.settle();
    assert!(pairing.ends[1].channel(id).is_none(), "B has done its part");
    pairing.events(0);
    // It arrives after all; B says that the channel is gone. A's application has not read yet.
    pairing.arrives(1, &held);
    pairing.settle();
    let cut = |event: &Event| matches!(event, Event::Reset(..));
    assert!(!pairing.events(0).iter().any(cut));
    assert_eq!(pairing.ends[0].waiting(id).0, b"answer");
    let now = pairing.now;
    pairing.ends[0].take(id, 6, now);
    assert_eq!(pairing.events(0).last(), Some(&Event::Closed(id)));
}

#[test]
fn a_channel_whose_peer_lost_it_half_way_is_cut() {
    let mut pairing = pairing();
    let id = pairing.opened();
    let now = pairing.now;
    pairing.ends[0].finish(id);
    pairing.ends[0].peer_gone(id, now);
    let lost = Event::Reset(id, ResetCode::SessionLost);
    assert!(pairing.events(0).contains(&lost));
}

#[test]
fn pairs_that_never_go_live_are_not_heaped_up() {
    let mut pairing = pairing();
    let id = pairing.opened();
    assert_eq!(pairing.ends[0].push(id, b"question"), 8);
    // A hop lets Re-Hellos pass and drops every packet.
    for _ in 0..400 {
        pairing.now = pairing.ends[0]
            .poll_timeout()
            .min(pairing.ends[1].poll_timeout())
            .max(pairing.now);
        for side in 0..2 {
            pairing.ends[side].handle_timeout(pairing.now);
        }
        pairing.hellos();
        for side in 0..2 {
            while pairing.packet(side).is_some() {}
        }
    }
    assert!(pairing.ends[0].epochs.own().0 > 20, "it tried");
    for end in &pairing.ends {
        assert!(end.pairs.len() <= 3, "{} pairs", end.pairs.len());
    }
}

#[test]
fn a_peer_that_leaves_gaps_between_its_channels_fills_nothing() {
    let mut pairing = pairing();
    let mut plain = Vec::new();
    let taken = |session: &mut Session, plain: &[u8]| session.frames(plain, Time::ZERO, &mut Sink);
    let session = &mut pairing.ends[1];
    let reset = |plain: &mut Vec<u8>, counter| {
        let channel = ChannelId::new(false, counter, 0);
        plain.clear();
        Frame::Reset { channel, code: 1 }.encode(plain);
    };
    let mut refused = 0;
    for counter in 1..5_000 {
        reset(&mut plain, 2 * counter);
        refused += usize::from(taken(session, &plain) == Ok(false));
    }
    assert!(refused > 3_000, "{refused} RESETs count as not received");
    assert!(session.opened_by_peer.count() <= crate::limits::OPENED_RANGES_MAX);
    // What closes a gap is taken, and makes room.
    reset(&mut plain, 3);
    assert_eq!(taken(session, &plain), Ok(true));
    assert_eq!(
        session.opened_by_peer.count(),
        crate::limits::OPENED_RANGES_MAX - 1
    );
}

#[test]
fn an_unconfirmed_session_has_no_timer_that_is_due_for_ever() {
    let mut pairing = pairing();
    let session = &mut pairing.ends[1];
    session.heard = false;
    let late = Time::ZERO + crate::limits::SESSION_IDLE * 2;
    session.handle_timeout(late);
    assert!(session.poll_timeout() > late);
}

#[test]
fn what_reached_nobody_goes_again_under_the_keys_of_the_next_handshake() {
    let mut pairing = fresh();
    let now = pairing.now;
    let target = Target::Loopback(80);
    let [first, second, given_up] =
        [7, 8, 9].map(|port| pairing.ends[0].open(target.clone(), port, now).unwrap());
    assert_eq!(pairing.ends[0].push(first, b"question"), 8);
    pairing.ends[0].finish(first);
    while pairing.packet(0).is_some() {}
    pairing.ends[0].reset(given_up, ResetCode::Connection);
    pairing.now += Duration::from_secs(20);
    pairing.ends[0].handle_timeout(pairing.now);
    assert!(pairing.ends[0].is_suspended());

    let [ours, theirs] = handshake(&mut Random::from_number(2));
    let now = pairing.now;
    assert!(!pairing.ends[1].begin_anew(&theirs, Places::NEIGHBOURS, now));
    assert!(!pairing.ends[0].begin_anew(&theirs, Places::NEIGHBOURS, now));
    assert!(pairing.ends[0].begin_anew(&ours, Places::NEIGHBOURS, now));
    assert_eq!(pairing.ends[0].sess_id(), ours.sess_id());
    let options = pairing.ends[1].options.clone();
    let random = &mut Random::from_number(3);
    pairing.ends[1] = Session::new(&theirs, Places::NEIGHBOURS, options, random, now);
    pairing.settle();
    let incoming = |event: Event| match event {
        Event::Incoming { channel, .. } => Some(channel),
        _ => None,
    };
    let opened: Vec<_> = pairing.events(1).into_iter().filter_map(incoming).collect();
    assert_eq!(opened, [first, second]);
    assert_eq!(pairing.ends[1].waiting(first).0, b"question");
    for id in opened {
        pairing.ends[1].accept(id);
    }
    pairing.settle();
    let events = pairing.events(0);
    let at = |wanted: &Event| events.iter().position(|event| event == wanted).unwrap();
    assert!(at(&Event::Suspended(Reason::Suspicion)) < at(&Event::Resumed));
    assert!(at(&Event::Resumed) < at(&Event::Opened(first)));
    assert!(!events.iter().any(|event| matches!(event, Event::Reset(..))));
    let next = pairing.ends[0].open(target, 10, now).unwrap();
    assert!(next.counter() > given_up.counter(), "an id is used once");

    // Who has been heard cannot say so any more.
    let [ours, _] = handshake(&mut Random::from_number(4));
    assert!(!pairing.ends[0].begin_anew(&ours, Places::NEIGHBOURS, now));
    assert!(pairing.ends[0].channel(first).is_some());
}
