//! The bytes of `tests/vectors/directory.txt`, for other implementations.

use data_encoding::HEXLOWER;

use super::*;
use crate::cloak::compass::Hop;
use crate::cloak::directory::genuine::{Said, micros};
use crate::cloak::directory::store::Standing;
use crate::cloak::directory::tests::world::EPOCH;
use crate::cloak::tree::Strict;
use crate::name::Identity;
use crate::name::certificate::{Certificate, StaticKey, Terms};
use crate::wire::directory::{Answer, Digest, HASH_LEN, Listed, Outcome, Section, TOKEN_LEN};
use crate::wire::link::Route;

const VECTOR: &str = include_str!("../../../../tests/vectors/directory.txt");

fn records() -> (Genuine, Genuine) {
    let identity = Identity::from_seed(&[1; 32]);
    let overlay = OverlayId::of("test");
    let key = StaticKey::from_bytes([2; 32]).public();
    let terms = Terms {
        not_before: EPOCH,
        not_after: Calendar(EPOCH.0 + 100_000),
        serial: 3,
    };
    let place = Location::Tree {
        tree: 0x0102_0304_0506_0708,
        term: 2,
        path: vec![(3, 0x1234), (1, 5)],
    };
    let said = Said {
        locations: vec![place],
        endpoints: vec!["node.example:7000".into()],
        certificate: Certificate::sign(&identity, &overlay, key, terms),
    };
    let expiry = Calendar(EPOCH.0 + 7_200);
    let seq = micros(EPOCH);
    let there = Genuine::sign(&identity, &overlay, seq, expiry, Some(&said));
    let gone = Genuine::sign(&identity, &overlay, seq + 1, expiry, None);
    (there, gone)
}

/// Digest, its hash and list of a node that has one record.
fn compared(there: &Genuine) -> (Message<'static>, [u8; HASH_LEN], Message<'static>) {
    let key = sub_key(there.name().as_bytes(), 1);
    let mut store = Store::new();
    let standing = Standing::of(&Everything, key);
    let at = (Time::ZERO, EPOCH);
    store.put(there, (key, 1), standing, there.name(), at);
    let ranges = vec![(0, u64::MAX)];
    let hash = store.digest(&ranges, EPOCH);
    let listed = Listed {
        key,
        tag: there.name().tag(),
        seq: there.seq(),
    };
    let section = Section {
        first: 0,
        last: u64::MAX,
        entries: vec![listed],
    };
    let digest = Message::Digest(Digest { ranges, hash });
    (digest, hash, Message::List(vec![section]))
}

fn lines() -> Vec<(&'static str, Vec<u8>)> {
    let (there, gone) = records();
    let name = *there.name().as_bytes();
    let keys: Vec<u8> = sub_keys(&name)
        .flat_map(|(_, key)| key.to_be_bytes())
        .collect();
    let asker = Identity::from_seed(&[2; 32]).name().tag();
    let location = Location::Tree {
        tree: 0x0102_0304_0506_0708,
        term: 2,
        path: vec![(4, 6)],
    };
    let request = |ask| {
        Message::Request(Request {
            by_tree: false,
            up: false,
            exact: true,
            hops: 63,
            watermark: u128::from(u64::MAX),
            nonce: 9,
            name,
            index: 1,
            from: asker,
            from_location: location.clone(),
            ask,
        })
    };
    let token = [7; TOKEN_LEN];
    let put = Ask::Put {
        token,
        record: there.bytes(),
    };
    let answer = Message::Answer(Answer {
        by_tree: false,
        hops: 64,
        watermark: crate::wire::codec::VARINT_MAX,
        nonce: 9,
        index: 1,
        to: asker,
        to_location: location.clone(),
        outcome: Outcome::Found,
        token,
        record: there.bytes(),
    });
    let key = sub_key(&name, 1);
    let tag = there.name().tag();
    let (digest, hash, list) = compared(&there);
    let encoded = |message: Message<'_>| {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    };
    vec![
        ("record", there.bytes().to_vec()),
        ("tombstone", gone.bytes().to_vec()),
        ("sub-keys", keys),
        ("get", encoded(request(Ask::Get))),
        ("put", encoded(request(put))),
        ("answer", encoded(answer)),
        ("digest", encoded(digest)),
        ("differs", encoded(Message::Differs(hash))),
        ("list", encoded(list)),
        ("want", encoded(Message::Want(vec![(key, tag)]))),
        ("copies", encoded(Message::Copies(vec![(1, gone.bytes())]))),
    ]
}

/// A node that is responsible for every key.
struct Everything;

impl Compass for Everything {
    fn is_responsible(&self, _key: u64) -> bool {
        true
    }
    fn contains(&self, _key: u64) -> bool {
        true
    }
    fn below(&self, _key: u64) -> Option<(Name, (u64, u64))> {
        None
    }
    fn ranges(&self) -> Vec<(u64, u64)> {
        vec![(0, u64::MAX)]
    }
    fn toward(&self, _key: u64, _watermark: u128, _avoid: &[Name], _way: Way) -> Toward {
        Toward::Here
    }
    fn father(&self) -> Option<Name> {
        None
    }
    fn location(&self) -> Option<Location> {
        None
    }
    fn route(&self, _route: &Route, _ingress: Option<Name>) -> Hop {
        Hop::Nowhere
    }
}

#[test]
fn the_vectors_hold() {
    let line = |(name, bytes): (&str, Vec<u8>)| format!("{name} {}\n", HEXLOWER.encode(&bytes));
    let found: String = lines().into_iter().map(line).collect();
    let expected = VECTOR.lines().filter(|line| !line.starts_with('#'));
    let expected: String = expected.map(|line| format!("{line}\n")).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_records_of_the_vectors_are_genuine() {
    let (there, gone) = records();
    let overlay = OverlayId::of("test");
    for line in VECTOR.lines().filter(|line| !line.starts_with('#')) {
        let (name, hex) = line.split_once(' ').unwrap();
        let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
        match name {
            "record" => assert_eq!(Genuine::check(&bytes, &overlay, &Strict), Ok(there.clone())),
            "tombstone" => assert_eq!(Genuine::check(&bytes, &overlay, &Strict), Ok(gone.clone())),
            "sub-keys" => assert_eq!(bytes.len(), 24),
            _ => assert!(Message::decode(&bytes).is_ok(), "{name}"),
        }
    }
    assert!(there.read(&overlay, EPOCH).unwrap().is_some());
}
