use proptest::{collection::vec, prelude::*};

use super::*;
use crate::limits::FRAME_HEAD_MAX;
use crate::wire::codec::VARINT_MAX;
use crate::wire::link::HEAD_TAG_LEN;
use crate::wire::location::{PATH_MAX, STEP_MAX};

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn request(ask: Ask<'_>) -> Request<'_> {
    Request {
        by_tree: true,
        up: false,
        exact: false,
        hops: 9,
        watermark: u128::MAX - 1,
        nonce: 8,
        name: [7; 32],
        index: 2,
        from: Tag([6; 8]),
        from_location: Location::Neighbour,
        ask,
    }
}

fn deepest() -> Location {
    Location::Tree {
        tree: 0,
        term: VARINT_MAX,
        path: vec![(STEP_MAX, STEP_MAX); PATH_MAX],
    }
}

fn answer(outcome: Outcome, record: &[u8]) -> Answer<'_> {
    Answer {
        by_tree: true,
        hops: 9,
        watermark: VARINT_MAX,
        nonce: 8,
        index: 1,
        to: Tag([6; 8]),
        to_location: Location::Neighbour,
        outcome,
        token: [5; TOKEN_LEN],
        record,
    }
}

fn listed(key: u64) -> Listed {
    Listed {
        key,
        tag: Tag([1; 8]),
        seq: 4,
    }
}

#[test]
fn every_message_reads_back() {
    let section = Section {
        first: 3,
        last: 9,
        entries: vec![listed(3), listed(9)],
    };
    let put = Ask::Put {
        token: [1; TOKEN_LEN],
        record: b"record",
    };
    for message in [
        Message::Request(request(Ask::Get)),
        Message::Request(request(put)),
        Message::Answer(answer(Outcome::Found, b"record")),
        Message::Answer(answer(Outcome::Stored, b"")),
        Message::Digest(Digest {
            ranges: vec![(5, 5), (6, u64::MAX)],
            hash: [2; HASH_LEN],
        }),
        Message::Differs([3; HASH_LEN]),
        Message::List(vec![section]),
        Message::Want(vec![(1, Tag([2; 8]))]),
        Message::Copies(vec![(0, b"one"), (2, b"two")]),
    ] {
        let bytes = encoded(&message);
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
        let mut longer = bytes.clone();
        longer.push(1);
        assert!(Message::decode(&longer).is_err(), "{message:?}");
        for cut in 0..bytes.len() {
            assert!(Message::decode(&bytes[..cut]).is_err(), "{message:?} {cut}");
        }
    }
}

#[test]
fn an_answer_is_at_most_three_times_its_request() {
    let record = [0; RECORD_BYTES_MAX];
    for location in [Location::Neighbour, deepest()] {
        let mut request = request(Ask::Get);
        request.from_location = location.clone();
        let mut answer = answer(Outcome::Found, &record);
        answer.to_location = location;
        let request = encoded(&Message::Request(request));
        let answer = encoded(&Message::Answer(answer));
        assert!(
            answer.len() <= 3 * request.len(),
            "{} {}",
            answer.len(),
            request.len()
        );
    }
}

#[test]
fn the_longest_messages_fit_a_frame() {
    const { assert!(1 + MESSAGE_BYTES_MAX + HEAD_TAG_LEN <= FRAME_HEAD_MAX) };
    let section = |first: u64, last: u64, entries: usize| Section {
        first,
        last,
        entries: (first..).take(entries).map(listed).collect(),
    };
    let empty = (0..).map(|key| section(key, key, 0));
    let mut sections: Vec<_> = empty.take(SECTIONS_MAX - 1).collect();
    sections.push(section(100, u64::MAX, LISTED_MAX));
    let list = Message::List(sections);
    assert!(encoded(&list).len() <= MESSAGE_BYTES_MAX);
    assert!(Message::decode(&encoded(&list)).is_ok());
    let digest = Message::Digest(Digest {
        ranges: (0..).map(|key| (key, key)).take(RANGES_MAX).collect(),
        hash: [0; HASH_LEN],
    });
    assert!(encoded(&digest).len() <= MESSAGE_BYTES_MAX);
    assert!(Message::decode(&encoded(&digest)).is_ok());
    let mut put = request(Ask::Put {
        token: [0; TOKEN_LEN],
        record: &[0; RECORD_BYTES_MAX],
    });
    put.from_location = deepest();
    assert!(encoded(&Message::Request(put)).len() <= MESSAGE_BYTES_MAX);
}

#[test]
fn short_requests_and_unsorted_lists_are_refused() {
    let mut bytes = encoded(&Message::Request(request(Ask::Get)));
    bytes.pop();
    assert_eq!(
        Message::decode(&bytes),
        Err(DecodeError::Invalid("length of request"))
    );
    let list = Message::List(vec![Section {
        first: 0,
        last: 9,
        entries: vec![listed(2), listed(1)],
    }]);
    assert_eq!(
        Message::decode(&encoded(&list)),
        Err(DecodeError::Invalid("listed entry"))
    );
    for ranges in [
        vec![(2, 1)],
        vec![(1, 3), (3, 4)],
        vec![(0, u64::MAX), (0, 0)],
    ] {
        let hash = [0; HASH_LEN];
        let digest = Message::Digest(Digest { ranges, hash });
        let refused = Message::decode(&encoded(&digest)).map(|_| ());
        assert_eq!(refused, Err(DecodeError::Invalid("range of keys")));
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail(kind in 30u8..48, bytes in vec(any::<u8>(), 0..600)) {
        let mut bytes = bytes;
        bytes.insert(0, kind);
        // Long forms of numbers are accepted: what is written again need not be the same bytes.
        if let Ok(message) = Message::decode(&bytes) {
            let again = encoded(&message);
            prop_assert_eq!(Message::decode(&again), Ok(message));
        }
    }

    #[test]
    fn changed_requests_decode_or_fail(at in 0usize..384, byte: u8) {
        let mut bytes = encoded(&Message::Request(request(Ask::Get)));
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(message) = Message::decode(&bytes) {
            let again = encoded(&message);
            prop_assert_eq!(Message::decode(&again), Ok(message));
        }
    }
}
