//! The bytes of `tests/vectors/tree.txt`, for other implementations.

use std::sync::Arc;

use data_encoding::HEXLOWER;

use super::world::party;
use crate::cloak::geometry::{Geometry, Metric};
use crate::cloak::tree::proof::{Proofs, Speaker};
use crate::cloak::tree::{Range, Strict};
use crate::time::Time;
use crate::wire::tree::{Announce, Charter, Grant, Message, Part, Pulse, Signature};

const VECTOR: &str = include_str!("../../../../tests/vectors/tree.txt");

/// The root is the identity of 32 bytes 1, its child that of 32 bytes 2, the overlay is "test".
fn messages() -> [(&'static str, Message); 3] {
    let (root, child) = (party(0), party(1));
    let overlay = root.overlay().0;
    let sign = |message: &[u8]| Signature(root.identity().sign(message));
    let (tree, term, seq) = (0x0102_0304_0506_0708, 2, 300);
    let mut charter = Charter {
        tree,
        term,
        version: 3,
        founded: 1_800_000_000,
        class: 1,
        root: *root.name().as_bytes(),
        deputies: vec![*child.name().as_bytes()],
        signature: Signature([0; 64]),
        predecessor: None,
    };
    charter.signature = sign(&charter.signed(&overlay));
    let mut grant = Grant {
        child: *child.name().as_bytes(),
        number: 1,
        seat: true,
        slot: 3,
        lease: 0x1234,
        part: Part {
            offset: 0,
            length: 0x8000_0000,
        },
        signature: Signature([0; 64]),
    };
    grant.signature = sign(&grant.signed(&overlay));
    let pulse = Pulse {
        seq,
        signature: sign(&Pulse::signed(&overlay, tree, term, seq)),
    };
    let announce = Announce {
        tree,
        term,
        root: charter.root,
        pulse,
        relay: true,
        weight: 1,
        chain: vec![Arc::new(grant)],
    };
    let alive = Message::Pulse {
        tree,
        term,
        pulse,
        digest: crate::cloak::tree::proof::digest(&charter, &announce.chain),
    };
    [
        ("charter", Message::Charter(Arc::new(charter))),
        ("announce", Message::Announce(announce)),
        ("pulse", alive),
    ]
}

#[test]
fn the_vectors_hold() {
    let mut found = String::new();
    for (name, message) in messages() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        found += &format!("{name} {}\n", HEXLOWER.encode(&bytes));
    }
    let expected: String = VECTOR
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_announcement_of_the_vectors_proves_its_place() {
    let mut proofs = Proofs::new(party(0).overlay().0, Arc::new(Strict), [0; 16]);
    let geometry = Geometry::new(Metric::Tree, 16);
    let child = Speaker {
        name: party(1).name(),
        is_above: false,
        now: Time::ZERO,
    };
    for line in VECTOR.lines().filter(|line| !line.starts_with('#')) {
        let (_, hex) = line.split_once(' ').unwrap();
        match Message::decode(&HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap() {
            Message::Charter(charter) => assert_eq!(proofs.charter(child, &charter), Ok(())),
            Message::Announce(place) => {
                let proved = proofs.chain(&geometry, &place, child).unwrap();
                assert_eq!(*proved.path, [(3, 0x1234)]);
                let half = Range {
                    first: 0,
                    last: u64::MAX / 2,
                };
                assert_eq!(proved.range, Some(half));
                let reign = (place.tree, place.term);
                let pulse = proofs.pulse(child, &place.root, reign, &place.pulse);
                assert_eq!(pulse, Ok(()));
            }
            Message::Pulse { digest, .. } => assert_ne!(digest, 0),
            other => panic!("{other:?}"),
        }
    }
}
