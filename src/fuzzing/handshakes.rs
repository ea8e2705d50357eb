//! Handshake messages, as whoever stands between two nodes may change them.
//!
//! The input is a list of patches of three bytes, applied to a valid message: a place and what is XORed
//! there; a place behind the end cuts the message or makes it longer. What is changed must be refused.

use crate::link::handshake::{Dialer, Judge, LinkError, Listener, Step};
use crate::name::Identity;
use crate::name::certificate::{LocalParty, OverlayId, PeerKeys, StaticKey, Terms};
use crate::random::Random;
use crate::ssm::handshake::{Choice, Cookie, Cookies, Initiator, Offer, Responder};
use crate::ssm::suite::Suite;
use crate::time::{Calendar, Time};

const NOW: Calendar = Calendar(5);
const SUITE: Suite = Suite::Chacha20Poly1305;
/// Longer than any message.
const PATCHED_MAX: usize = 4096;

fn party(seed: u8) -> LocalParty {
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([seed ^ 0x55; 32]);
    let identity = Identity::from_seed(&[seed; 32]);
    LocalParty::new(identity, key, terms, [seed; 16], OverlayId::of("fuzz"))
}

fn keys(party: &LocalParty) -> PeerKeys {
    PeerKeys {
        name: party.name(),
        static_public: party.static_key().public(),
    }
}

/// `valid` with the patches of `data`.
fn patched(valid: &[u8], data: &[u8]) -> Vec<u8> {
    let mut message = valid.to_vec();
    for patch in data.as_chunks::<3>().0 {
        let place = usize::from(u16::from_le_bytes([patch[0], patch[1]]));
        match message.get_mut(place) {
            Some(byte) => *byte ^= patch[2],
            None => message.resize(place % PATCHED_MAX, patch[2]),
        }
    }
    message
}

/// An initiator and its HELLO-A; the same for the same number.
fn hello_a() -> Option<(Initiator, Vec<u8>)> {
    let offer = Offer {
        suites: vec![SUITE],
        index: 7,
        port: 80,
        asked: None,
    };
    let mut random = Random::from_number(1);
    Initiator::start(&party(1), keys(&party(2)), &[0; 32], offer, &mut random).ok()
}

/// A changed HELLO-B.
pub(super) fn hello_b(data: &[u8]) {
    let Some((mut initiator, hello)) = hello_a() else {
        return;
    };
    let (me, mut random) = (party(2), Random::from_number(2));
    let received = Responder::new(&me, &[0; 32]).read(&hello, NOW, &|_| None, &mut random);
    let choice = Choice {
        suite: SUITE,
        index: 9,
        port: 0,
        known: None,
    };
    let answered = received.and_then(|received| received.answer(&me, choice, &mut random));
    assert!(answered.is_ok(), "a valid HELLO-A is answered");
    let Ok((_, valid)) = answered else {
        return;
    };
    let message = patched(&valid, data);
    let finished = initiator.finish(&message, NOW, None);
    assert_eq!(finished.is_ok(), message == valid);
    // What was refused has changed nothing.
    assert!(finished.is_ok() || initiator.finish(&valid, NOW, None).is_ok());
}

/// A changed cookie reply.
pub(super) fn cookie_reply(data: &[u8]) {
    let Some((_, mut hello)) = hello_a() else {
        return;
    };
    let (me, mut random) = (party(2).name(), Random::from_number(3));
    let mut cookies = Cookies::new(&mut random, Time::ZERO);
    let valid = cookies.reply(&me, &hello, b"origin", &mut random, Time::ZERO);
    let valid = valid.unwrap_or_default();
    let message = patched(&valid, data);
    let before = hello.clone();
    let cookie = Cookie::open(&hello, &message, &me);
    let stamped = cookie.is_some_and(|cookie| cookie.stamp(&mut hello));
    assert_eq!(stamped, message == valid);
    assert_eq!(stamped, hello != before);
    let accepted = cookies.accept(&hello, b"origin", &mut random, Time::ZERO);
    assert_eq!(accepted, stamped);
}

fn judged(
    me: &LocalParty,
    read: impl FnOnce(&Judge<'_>) -> Result<Step, LinkError>,
) -> Option<Step> {
    let last_serial = |_: &crate::name::Name| None;
    read(&Judge {
        me,
        now: NOW,
        last_serial: &last_serial,
    })
    .ok()
}

/// A dialled link of either pattern, the listener, and its answer.
fn answered(ik: bool) -> Option<(Dialer, Listener, Vec<u8>)> {
    let (near, far) = (party(1), party(2));
    let mut random = Random::from_number(4);
    let (dialer, first) = if ik {
        Dialer::ik(&near, None, &keys(&far), b"early", &mut random)
    } else {
        Dialer::xx(&near, None, Some(far.name()), &mut random)
    }
    .ok()?;
    let mut listener = Listener::new(&far, None, &mut random);
    let body = first.get(2..).unwrap_or_default();
    let step = judged(&far, |judge| listener.read(judge, body))?;
    Some((dialer, listener, step.reply?.split_off(2)))
}

/// A changed answer of a listener; the first byte chooses the pattern.
pub(super) fn link_answer(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let pair = answered(first % 2 == 1);
    assert!(pair.is_some(), "a valid first message is answered");
    if let Some((mut dialer, _, valid)) = pair {
        let message = patched(&valid, data);
        let step = judged(&party(1), |judge| dialer.read(judge, &message));
        assert_eq!(
            step.is_some_and(|step| step.done.is_some()),
            message == valid
        );
    }
}

/// A changed third message of XX.
pub(super) fn link_third_message(data: &[u8]) {
    let third = answered(false).and_then(|(mut dialer, listener, second)| {
        let step = judged(&party(1), |judge| dialer.read(judge, &second))?;
        Some((listener, step.reply?.split_off(2)))
    });
    assert!(third.is_some(), "a valid answer is accepted");
    if let Some((mut listener, valid)) = third {
        let message = patched(&valid, data);
        let step = judged(&party(2), |judge| listener.read(judge, &message));
        assert_eq!(
            step.is_some_and(|step| step.done.is_some()),
            message == valid
        );
    }
}
