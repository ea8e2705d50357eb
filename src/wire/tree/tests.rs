use proptest::prelude::*;

use super::*;

fn grant(child: u8) -> Grant {
    Grant {
        child: [child; 32],
        number: 5,
        seat: child == 1,
        slot: 3,
        lease: 0x1234,
        part: Part {
            offset: 1 << 30,
            length: 1 << 31,
        },
        signature: Signature([child; 64]),
    }
}

fn announce(depth: u8) -> Announce {
    Announce {
        tree: 0x0102_0304_0506_0708,
        term: 2,
        root: [9; 32],
        pulse: Pulse {
            seq: 77,
            signature: Signature([8; 64]),
        },
        relay: true,
        weight: 12,
        chain: (1..=depth).map(|child| Arc::new(grant(child))).collect(),
    }
}

fn charter() -> Charter {
    Charter {
        tree: 1,
        term: 2,
        version: 3,
        founded: 1_800_000_000,
        class: 4,
        root: [5; 32],
        deputies: vec![[6; 32], [7; 32]],
        signature: Signature([8; 64]),
        predecessor: None,
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

#[test]
fn every_message_reads_back() {
    let successor = Charter {
        predecessor: Some(Arc::new(charter())),
        ..charter()
    };
    for message in [
        Message::Announce(announce(0)),
        Message::Announce(announce(32)),
        Message::Charter(Arc::new(charter())),
        Message::Charter(Arc::new(successor)),
        Message::Pulse {
            tree: 1,
            term: 2,
            pulse: announce(0).pulse,
            digest: 7,
        },
        Message::Join {
            tree: 5,
            weight: 1,
            former: None,
        },
        Message::Join {
            tree: 5,
            weight: 1,
            former: Some(grant(1)),
        },
        Message::Grant {
            grant: grant(4),
            place: announce(3),
        },
        Message::Refuse(None),
        Message::Refuse(Some([3; 32])),
        Message::Cut(32),
        Message::Leave,
        Message::Weight(WEIGHT_MAX),
        Message::Query,
    ] {
        let bytes = encoded(&message);
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
        for end in 0..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_err(), "{message:?} {end}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Message::decode(&longer), Err(DecodeError::Trailing));
    }
}

#[test]
fn the_longest_messages_fit_a_frame() {
    let deepest = |depth: u8| {
        let mut place = announce(depth);
        place.term = u64::MAX;
        place.pulse.seq = u64::MAX;
        place.weight = WEIGHT_MAX;
        for grant in &mut place.chain {
            let grant = Arc::make_mut(grant);
            (grant.number, grant.slot, grant.lease) = (u64::MAX, 255, STEP_MAX);
        }
        place
    };
    let room = crate::limits::FRAME_HEAD_MAX - 64;
    assert!(encoded(&Message::Announce(deepest(32))).len() <= room);
    let place = deepest(31);
    let grant = (*place.chain[0]).clone();
    assert!(encoded(&Message::Grant { grant, place }).len() <= room);
}

#[test]
fn what_no_honest_node_says_is_refused() {
    let mut bytes = encoded(&Message::Announce(announce(0)));
    let count = bytes.len() - 1;
    bytes[count] = 33;
    assert_eq!(
        Message::decode(&bytes),
        Err(DecodeError::TooLong("chain of grants"))
    );
    assert_eq!(
        Message::decode(&[WEIGHT, 0]),
        Err(DecodeError::Invalid("weight"))
    );
    let mut wide = grant(1);
    wide.part.length = u32::MAX;
    let wide = encoded(&Message::Join {
        tree: 0,
        weight: 1,
        former: Some(wide),
    });
    assert_eq!(Message::decode(&wide), Err(DecodeError::Invalid("part")));
    assert_eq!(
        Message::decode(&[31]),
        Err(DecodeError::Invalid("kind of a tree message"))
    );
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail(mut bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0u8..12) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&encoded(&message)), Ok(message));
        }
    }
}
