use super::*;
use crate::name::Identity;
use crate::name::certificate::{StaticKey, Terms};
use crate::random::Random;

const NOW: Calendar = Calendar(1_800_000_000);
const NETWORK_KEY: Option<&[u8; 32]> = Some(&[0x77; 32]);

fn party_in(seed: u8, network: &str, not_after: u64) -> LocalParty {
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(not_after),
        serial: 5,
    };
    LocalParty::new(
        Identity::from_seed(&[seed; 32]),
        StaticKey::from_bytes([seed + 100; 32]),
        terms,
        [seed; 16],
        OverlayId::of(network),
    )
}

fn party(seed: u8) -> LocalParty {
    party_in(seed, "test", NOW.0)
}

fn keys(party: &LocalParty) -> PeerKeys {
    PeerKeys {
        name: party.name(),
        static_public: party.static_key().public(),
    }
}

fn no_serial(_: &Name) -> Option<u64> {
    None
}

fn judge(me: &LocalParty) -> Judge<'_> {
    Judge {
        me,
        now: NOW,
        last_serial: &no_serial,
    }
}

fn random() -> Random {
    Random::from_number(1)
}

fn listener(me: &LocalParty) -> Listener {
    Listener::new(me, NETWORK_KEY, &mut Random::from_number(2))
}

fn xx(me: &LocalParty) -> (Dialer, Vec<u8>) {
    Dialer::xx(me, NETWORK_KEY, None, &mut random()).unwrap()
}

fn ik(me: &LocalParty, peer: &LocalParty, early: &[u8]) -> (Dialer, Vec<u8>) {
    Dialer::ik(me, NETWORK_KEY, &keys(peer), early, &mut random()).unwrap()
}

/// The message behind a length that fits it.
fn unframed(framed: &[u8]) -> &[u8] {
    let (prefix, body) = framed.split_first_chunk().unwrap();
    assert_eq!(body_len(*prefix), Some(body.len()));
    body
}

fn assert_joined(a: &LinkKeys, b: &LinkKeys) {
    assert_eq!(a.send_key.as_bytes(), b.receive_key.as_bytes());
    assert_eq!(a.receive_key.as_bytes(), b.send_key.as_bytes());
    assert_ne!(a.send_key.as_bytes(), a.receive_key.as_bytes());
}

#[test]
fn strangers_of_one_network_join_in_three_messages() {
    let (a, b) = (party(1), party(2));
    let (mut dialer, first) = xx(&a);
    let mut listener = listener(&b);
    let step = listener.read(&judge(&b), unframed(&first)).unwrap();
    assert!(step.done.is_none());
    let second = step.reply.unwrap();
    assert!(second.len() <= first.len());
    let step = dialer.read(&judge(&a), unframed(&second)).unwrap();
    let (third, at_a) = (step.reply.unwrap(), step.done.unwrap());
    let step = listener.read(&judge(&b), unframed(&third)).unwrap();
    assert!(step.reply.is_none());
    let at_b = step.done.unwrap();
    assert_joined(&at_a, &at_b);
    assert_eq!((at_a.peer(), at_b.peer()), (b.name(), a.name()));
    assert_eq!((at_a.boot_id, at_b.boot_id), ([2; 16], [1; 16]));
    assert!(at_a.confirmed && at_b.confirmed && at_b.early.is_empty());
    assert_eq!(
        listener.read(&judge(&b), unframed(&third)).err(),
        Some(LinkError::Over)
    );
    assert_eq!(
        dialer.read(&judge(&a), unframed(&second)).err(),
        Some(LinkError::Over)
    );
}

#[test]
fn a_known_neighbour_is_back_in_two_messages_with_its_early_payload() {
    let (a, b) = (party(1), party(2));
    for early in [vec![], vec![9; 100], vec![9; EARLY_MAX]] {
        let (mut dialer, first) = ik(&a, &b, &early);
        assert_eq!(first.len(), 2 + IK1_LEN);
        let step = listener(&b).read(&judge(&b), unframed(&first)).unwrap();
        let (second, at_b) = (step.reply.unwrap(), step.done.unwrap());
        let step = dialer.read(&judge(&a), unframed(&second)).unwrap();
        assert!(step.reply.is_none());
        let at_a = step.done.unwrap();
        assert_joined(&at_a, &at_b);
        assert_eq!((at_a.peer(), at_b.peer()), (b.name(), a.name()));
        assert_eq!(at_b.early, early);
        assert!(at_a.confirmed && !at_b.confirmed);
    }
    let too_long = Dialer::ik(
        &a,
        NETWORK_KEY,
        &keys(&b),
        &[0; EARLY_MAX + 1],
        &mut random(),
    );
    assert_eq!(too_long.err(), Some(LinkError::EarlyTooLong));
}

#[test]
fn whatever_byte_of_any_message_is_changed_there_is_no_link() {
    let (a, b) = (party(1), party(2));
    let changed = |framed: &[u8]| -> Vec<Vec<u8>> {
        let body = unframed(framed);
        let change = |place: usize| {
            let mut wrong = body.to_vec();
            wrong[place] ^= 1;
            wrong
        };
        (0..body.len()).map(change).collect()
    };
    let answered = |first: &[u8]| {
        let mut listener = listener(&b);
        let step = listener.read(&judge(&b), unframed(first)).unwrap();
        (listener, step.reply.unwrap())
    };
    for (_, first) in [xx(&a), ik(&a, &b, b"early")] {
        for wrong in changed(&first) {
            assert!(listener(&b).read(&judge(&b), &wrong).is_err());
        }
    }
    let (_, second) = answered(&xx(&a).1);
    for wrong in changed(&second) {
        assert!(xx(&a).0.read(&judge(&a), &wrong).is_err());
    }
    let third = xx(&a).0.read(&judge(&a), unframed(&second)).unwrap();
    for wrong in changed(&third.reply.unwrap()) {
        let (mut listener, _) = answered(&xx(&a).1);
        assert!(listener.read(&judge(&b), &wrong).is_err());
    }
    let (_, second) = answered(&ik(&a, &b, b"early").1);
    for wrong in changed(&second) {
        assert!(ik(&a, &b, b"early").0.read(&judge(&a), &wrong).is_err());
    }
}

#[test]
fn garbage_of_any_length_is_refused() {
    let b = party(2);
    for len in 0..MESSAGE_MAX {
        assert!(listener(&b).read(&judge(&b), &vec![0x16; len]).is_err());
    }
    assert_eq!(body_len([0x16, 0x03]), None);
    assert_eq!(body_len(*b"GE"), None);
    assert_eq!(body_len([0, 0]), None);
}

#[test]
fn a_first_message_of_another_network_does_not_open() {
    let (a, b) = (party(1), party(2));
    let elsewhere = party_in(1, "other", NOW.0);
    let refused = Some(LinkError::Noise(NoiseError));
    let firsts = [
        xx(&elsewhere).1,
        ik(&elsewhere, &b, b"").1,
        Dialer::xx(&a, None, None, &mut random()).unwrap().1,
        Dialer::xx(&a, Some(&[1; 32]), None, &mut random())
            .unwrap()
            .1,
        Dialer::ik(&a, None, &keys(&b), b"", &mut random())
            .unwrap()
            .1,
        ik(&a, &party(3), b"").1,
    ];
    for first in firsts {
        assert_eq!(
            listener(&b).read(&judge(&b), unframed(&first)).err(),
            refused
        );
    }
}

#[test]
fn without_a_network_key_the_id_is_enough() {
    let (a, b) = (party(1), party(2));
    let (_, first) = Dialer::xx(&a, None, None, &mut random()).unwrap();
    let mut listener = Listener::new(&b, None, &mut random());
    assert!(listener.read(&judge(&b), unframed(&first)).is_ok());
}

#[test]
fn a_dialler_keeps_its_name_from_one_that_it_did_not_expect() {
    let (a, b) = (party(1), party(2));
    let expected = Some(party(3).name());
    let (mut dialer, first) = Dialer::xx(&a, NETWORK_KEY, expected, &mut random()).unwrap();
    let step = listener(&b).read(&judge(&b), unframed(&first)).unwrap();
    let second = step.reply.unwrap();
    let refused = dialer.read(&judge(&a), unframed(&second)).err();
    assert_eq!(refused, Some(LinkError::WrongPeer));
}

#[test]
fn nobody_links_to_itself() {
    let a = party(1);
    let (mut dialer, first) = xx(&a);
    let step = listener(&a).read(&judge(&a), unframed(&first)).unwrap();
    let second = step.reply.unwrap();
    let refused = dialer.read(&judge(&a), unframed(&second)).err();
    assert_eq!(refused, Some(LinkError::Oneself));
    let refused = Dialer::ik(&a, NETWORK_KEY, &keys(&a), b"", &mut random()).err();
    assert_eq!(refused, Some(LinkError::Oneself));
}

#[test]
fn certificates_are_judged_at_both_ends() {
    let (a, old) = (party(1), party_in(2, "test", 1000));
    let expired = Some(LinkError::Certificate(CertificateError::Expired));
    let (mut dialer, first) = xx(&a);
    let step = listener(&old).read(&judge(&old), unframed(&first)).unwrap();
    let second = step.reply.unwrap();
    assert_eq!(dialer.read(&judge(&a), unframed(&second)).err(), expired);

    let (_, first) = ik(&old, &a, b"");
    assert_eq!(
        listener(&a).read(&judge(&a), unframed(&first)).err(),
        expired
    );

    let (mut dialer, first) = xx(&old);
    let mut listener_a = listener(&a);
    let step = listener_a.read(&judge(&a), unframed(&first)).unwrap();
    let second = step.reply.unwrap();
    let step = dialer.read(&judge(&old), unframed(&second)).unwrap();
    let third = step.reply.unwrap();
    assert_eq!(listener_a.read(&judge(&a), unframed(&third)).err(), expired);

    let (b, newer) = (party(2), |_: &Name| Some(6));
    let strict = Judge {
        last_serial: &newer,
        ..judge(&b)
    };
    let refused = listener(&b)
        .read(&strict, unframed(&ik(&a, &b, b"").1))
        .err();
    let seen = CertificateError::OldSerial { found: 5, seen: 6 };
    assert_eq!(refused, Some(LinkError::Certificate(seen)));
}

/// The certificate of one, the static key of another.
#[test]
fn a_certificate_for_another_key_than_the_one_used_is_refused() {
    let (a, b, thief) = (party(1), party(2), party(3));
    let psk = link_psk(a.overlay(), NETWORK_KEY);
    let start = crate::ssm::noise::Start {
        pattern: crate::ssm::noise::Pattern::LinkIk,
        prologue: &prologue(a.overlay()),
        psk: &psk,
        local: thief.static_key(),
    };
    let to = b.static_key().public();
    let mut noise = start.initiator(Some(&to), &mut random()).unwrap();
    let mut payload = About::encode(&a);
    payload.resize(IK1_PAYLOAD, 0);
    let first = noise.write(&payload).unwrap();
    let refused = listener(&b).read(&judge(&b), &first).err();
    assert_eq!(refused, Some(LinkError::WrongPeer));
}

#[test]
fn an_early_payload_longer_than_its_field_is_refused() {
    let (a, b) = (party(1), party(2));
    let psk = link_psk(a.overlay(), NETWORK_KEY);
    let start = crate::ssm::noise::Start {
        pattern: crate::ssm::noise::Pattern::LinkIk,
        prologue: &prologue(a.overlay()),
        psk: &psk,
        local: a.static_key(),
    };
    let to = b.static_key().public();
    let mut noise = start.initiator(Some(&to), &mut random()).unwrap();
    let mut payload = About::encode(&a);
    payload.resize(IK1_PAYLOAD, 0xff);
    let first = noise.write(&payload).unwrap();
    let refused = listener(&b).read(&judge(&b), &first).err();
    let too_long = DecodeError::TooLong("early payload");
    assert_eq!(refused, Some(LinkError::Payload(too_long)));
}
