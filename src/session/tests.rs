//! What whole runs of the simulator found, each in its smallest form.

use std::time::Duration;

use super::*;
use crate::name::Identity;
use crate::name::certificate::{LocalParty, OverlayId, PeerKeys, StaticKey, Terms};
use crate::ssm::handshake::{Choice, Initiator, Offer, Responder};
use crate::time::Calendar;
use crate::wire::frame::Frame;
use crate::wire::target::Target;

struct Sink;

impl Delivery for Sink {
    fn deliver(&mut self, _: ChannelId, _: &[u8]) -> usize {
        0
    }
}

type Packet = ([u8; 19], Vec<u8>);

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

fn pairing() -> Pairing {
    let random = &mut Random::from_number(1);
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
    let options = Options {
        acks: AckPolicy {
            every: 1,
            delay: Duration::from_millis(1),
        },
        budget: Budget::new(1 << 20),
        max_suspend: None,
        max_j: None,
        key_use: KeyUse::default(),
    };
    let mut session = |established| {
        Session::new(
            established,
            Places::NEIGHBOURS,
            options.clone(),
            random,
            Time::ZERO,
        )
    };
    let mut pairing = Pairing {
        ends: [session(&ours), session(&theirs)],
        now: Time::ZERO,
    };
    pairing.settle();
    pairing
}

impl Pairing {
    fn packet(&mut self, from: usize) -> Option<Packet> {
        let mut body = Vec::new();
        let sealed = self.ends[from].poll_packet(4_000, 1, &mut body, self.now)?;
        Some((sealed.header, body))
    }

    fn arrives(&mut self, to: usize, packet: &Packet) {
        let arrived = Arrived {
            header: &packet.0,
            body: &mut packet.1.clone(),
            marked: false,
            path: 1,
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

    fn events(&mut self, side: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.ends[side].poll_event()).collect()
    }
}

#[test]
fn an_old_packet_behind_the_end_does_not_cut_a_reader_off() {
    let mut pairing = pairing();
    let now = pairing.now;
    let id = pairing.ends[0].open(Target::Loopback(80), 7, now).unwrap();
    pairing.settle();
    pairing.ends[1].accept(id);
    pairing.settle();
    // The first copy is held on its way, and what was in it goes again.
    assert_eq!(pairing.ends[0].push(id, b"question"), 8);
    let held = pairing.packet(0).unwrap();
    pairing.ends[0].path_lost(1);
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
    let now = pairing.now;
    let id = pairing.ends[0].open(Target::Loopback(80), 7, now).unwrap();
    pairing.settle();
    pairing.ends[1].accept(id);
    pairing.settle();
    pairing.ends[0].finish(id);
    pairing.ends[0].peer_gone(id, now);
    let lost = Event::Reset(id, ResetCode::SessionLost);
    assert!(pairing.events(0).contains(&lost));
}

#[test]
fn pairs_that_never_go_live_are_not_heaped_up() {
    let mut pairing = pairing();
    let now = pairing.now;
    let id = pairing.ends[0].open(Target::Loopback(80), 7, now).unwrap();
    pairing.settle();
    pairing.ends[1].accept(id);
    pairing.settle();
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
    session.confirmed = false;
    let late = Time::ZERO + crate::limits::SESSION_IDLE * 2;
    session.handle_timeout(late);
    assert!(session.poll_timeout() > late);
}

#[test]
fn keys_that_are_used_up_pause_the_session_and_the_next_ones_carry_it_on() {
    let mut pairing = pairing();
    let now = pairing.now;
    let id = pairing.ends[0].open(Target::Loopback(80), 7, now).unwrap();
    pairing.settle();
    pairing.ends[1].accept(id);
    pairing.settle();
    for end in &mut pairing.ends {
        (end.options.key_use.packets, end.options.key_use.packets_max) = (10, 20);
    }
    // A hop lets packets pass and drops every Re-Hello.
    let mut sent = 0;
    while !pairing.ends[0].is_suspended() {
        sent += pairing.ends[0].push(id, b"x");
        assert!(sent < 100, "they are used for ever");
        pairing.settle();
    }
    assert!(
        pairing
            .events(0)
            .contains(&Event::Suspended(Reason::KeyUse))
    );
    assert!(!pairing.ends[0].is_ended());
    assert!(pairing.packet(0).is_none());
    let used = pairing.ends[0].epochs.next();

    pairing.hellos();
    pairing.settle();
    assert!(pairing.events(0).contains(&Event::Resumed));
    assert!(pairing.ends[0].epochs.live() >= Some(used));
    assert_eq!(pairing.ends[1].waiting(id).0.len(), sent);
    assert_eq!(pairing.ends[0].push(id, b"y"), 1);
    pairing.settle();
    assert_eq!(pairing.ends[1].waiting(id).0.len(), sent + 1);
}

#[test]
fn keys_that_are_used_up_before_they_go_live_are_replaced() {
    let mut pairing = pairing();
    let now = pairing.now;
    let id = pairing.ends[0].open(Target::Loopback(80), 7, now).unwrap();
    pairing.settle();
    pairing.ends[1].accept(id);
    pairing.settle();
    pairing.ends[0].options.key_use.packets_max = 20;
    pairing.ends[0].link_event(LinkEvent::Changed, pairing.now);
    pairing.hellos();
    let first = pairing.ends[0].epochs.next();
    // What A sends with them is lost; what B says arrives, so A goes on.
    for round in 0.. {
        assert!(round < 100, "they are used for ever");
        pairing.ends[1].push(id, b"x");
        pairing.now += Duration::from_millis(2);
        for side in [1, 0] {
            pairing.ends[side].handle_timeout(pairing.now);
        }
        while let Some(packet) = pairing.packet(1) {
            pairing.arrives(0, &packet);
        }
        while pairing.packet(0).is_some() {}
        if pairing.ends[0].epochs.next() != first {
            break;
        }
    }
    pairing.hellos();
    pairing.settle();
    assert!(pairing.ends[0].epochs.live() > Some(first));
    assert!(pairing.ends.iter().all(|end| !end.is_ended()));
}

#[test]
fn forged_packets_are_counted_and_told_once_a_minute_and_end_nothing_before_the_bound() {
    let mut pairing = pairing();
    pairing.ends[0].probe();
    let (header, body) = pairing.packet(0).unwrap();
    let mut spoilt = body.clone();
    spoilt[0] ^= 1;
    let mut told = Vec::new();
    for second in 0..130 {
        pairing.arrives(1, &(header, spoilt.clone()));
        pairing.ends[1].handle_re_hello(&[0; 100], pairing.now);
        told.extend(
            pairing
                .events(1)
                .into_iter()
                .filter_map(|event| match event {
                    Event::Forged(count) => Some((second, count)),
                    _ => None,
                }),
        );
        pairing.now += Duration::from_secs(1);
    }
    assert_eq!(told, [(0, 1), (60, 120), (120, 120)]);
    assert_eq!(pairing.ends[1].stats().forged, 260);
    // A replay is no forgery.
    pairing.arrives(1, &(header, body.clone()));
    pairing.arrives(1, &(header, body));
    assert_eq!(pairing.ends[1].stats().forged, 260);
    assert!(!pairing.ends[1].is_ended());

    pairing.ends[1].stats.forged = crate::limits::FORGED_MAX - 1;
    pairing.ends[1].handle_re_hello(&[0; 100], pairing.now);
    assert_eq!(
        pairing.events(1).last(),
        Some(&Event::Ended(EndReason::Forged))
    );
}
