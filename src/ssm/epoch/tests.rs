use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::limits::PAIR_PACKETS_MAX;
use crate::name::Identity;
use crate::name::certificate::{Certificate, OverlayId, StaticKey, Terms, Verified};
use crate::ssm::key_set::{HEADER_LEN, Unopened};
use crate::ssm::ledger::{self, Breach};
use crate::ssm::schedule::Agreement;
use crate::time::Calendar;

const TAG: usize = 20;

fn verified(identity: &Identity) -> Verified {
    let overlay = OverlayId::of("test");
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(100),
        serial: 1,
    };
    Certificate::sign(
        identity,
        &overlay,
        StaticKey::from_bytes([9; 32]).public(),
        terms,
    )
    .verify(&overlay, Calendar(50), None)
    .unwrap()
}

fn established(side: Side, suite: Suite) -> Established {
    let [a, b] = [[1; 32], [2; 32]].map(|seed| Identity::from_seed(&seed));
    let agreement = Agreement {
        suite,
        name_a: a.name(),
        name_b: b.name(),
        half_a: [3; 16],
        half_b: [4; 16],
    };
    Established {
        side,
        agreement,
        certificate: verified(if side == Side::A { &b } else { &a }),
        hash: [5; 32],
        local_index: 1,
        peer_index: 2,
        peer_port: 0,
        peer_features: 0,
        peer_boot_id: None,
        asked_known: None,
        root: agreement.root(&[5; 32], (&[6; 32], &[7; 32])),
    }
}

fn ends(suite: Suite) -> (Epochs, Epochs) {
    (
        Epochs::new(&established(Side::A, suite)),
        Epochs::new(&established(Side::B, suite)),
    )
}

fn header(number: u64) -> [u8; HEADER_LEN] {
    let mut out = [0x10; HEADER_LEN];
    out[HEADER_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    out
}

fn seal(keys: &mut KeySet, suite: Suite, text: &[u8]) -> (u64, Vec<u8>) {
    let mut body = text.to_vec();
    let mut tag = [0; TAG];
    let tag = &mut tag[..suite.tag_len()];
    let number = keys.seal(header, &mut body, tag).unwrap();
    body.extend_from_slice(tag);
    (number, body)
}

/// Whether what `from` seals opens at `to`.
fn reaches(from: &mut KeySet, to: &mut KeySet, suite: Suite) -> bool {
    let (number, mut body) = seal(from, suite, b"text");
    to.open(number, &header(number), &mut body)
        .is_ok_and(|text| text == b"text")
}

fn nonce(seed: u8) -> ResumeNonce {
    ResumeNonce([seed; 16])
}

#[test]
fn after_the_handshake_both_directions_work_under_every_suite() {
    for suite in Suite::ALL {
        let (mut a, mut b) = ends(suite);
        assert_eq!(
            (a.live(), a.next()),
            (Some(Pair { a: 0, b: 0 }), Pair { a: 0, b: 0 })
        );
        assert_eq!((a.own(), a.peer()), (b.peer(), b.own()));
        assert_ne!(a.own().1, a.peer().1);
        assert!(a.next_keys().is_none());
        let (a, b) = (a.live_keys().unwrap(), b.live_keys().unwrap());
        assert!(reaches(a, b, suite) && reaches(b, a, suite));
        assert_eq!((a.packets_sealed(), a.bytes_sealed()), (1, 4));
    }
}

#[test]
fn what_a_side_sealed_does_not_open_at_itself() {
    for suite in Suite::ALL {
        let (mut a, mut b) = ends(suite);
        let keys = a.live_keys().unwrap();
        let (number, body) = seal(keys, suite, b"text");
        let mut own = body.clone();
        assert_eq!(
            keys.open(number, &header(number), &mut own),
            Err(Unopened::Forged)
        );
        let (_, other) = seal(b.live_keys().unwrap(), suite, b"text");
        assert_ne!(body, other);
    }
}

#[test]
fn a_packet_opens_once_and_garbage_changes_nothing() {
    let suite = Suite::Aes256Gcm;
    let (mut a, mut b) = ends(suite);
    let (number, body) = seal(a.live_keys().unwrap(), suite, b"text");
    let keys = b.live_keys().unwrap();
    for place in 0..body.len() {
        let mut wrong = body.clone();
        wrong[place] ^= 1;
        assert_eq!(
            keys.open(number, &header(number), &mut wrong),
            Err(Unopened::Forged)
        );
    }
    for place in 0..HEADER_LEN {
        let mut wrong = header(number);
        wrong[place] ^= 1;
        assert_eq!(
            keys.open(number, &wrong, &mut body.clone()),
            Err(Unopened::Forged)
        );
    }
    for (number, why) in [
        (9, Unopened::Forged),
        (PAIR_PACKETS_MAX - 1, Unopened::Forged),
        (PAIR_PACKETS_MAX, Unopened::Old),
        (u64::MAX, Unopened::Old),
    ] {
        assert_eq!(
            keys.open(number, &header(number), &mut body.clone()),
            Err(why)
        );
    }
    assert!(
        keys.open(number, &header(number), &mut body.clone())
            .is_ok()
    );
    let mut again = body;
    assert_eq!(
        keys.open(number, &header(number), &mut again),
        Err(Unopened::Old)
    );
}

#[test]
fn the_last_packet_number_is_never_passed() {
    let (mut a, _) = ends(Suite::Chacha20Poly1305);
    let keys = a.live_keys().unwrap();
    keys.skip_to(PAIR_PACKETS_MAX - 1);
    let mut tag = [0; 16];
    assert_eq!(
        keys.seal(header, &mut [1], &mut tag),
        Ok(PAIR_PACKETS_MAX - 1)
    );
    let mut plain = *b"stays";
    assert_eq!(keys.seal(header, &mut plain, &mut tag), Err(Exhausted));
    assert_eq!(&plain, b"stays");
}

#[test]
fn the_last_resume_number_is_never_passed() {
    let (mut a, _) = ends(Suite::Chacha20Poly1305);
    a.own = Chain::at(u32::MAX, [1; 32]);
    a.peer = Chain::at(u32::MAX, [2; 32]);
    assert_eq!(a.renew_own(nonce(1)), Err(Exhausted));
    assert_eq!(a.renew_peer(nonce(1)), Err(Exhausted));
    assert_eq!(a.own().0, u32::MAX);
    assert!(a.next_keys().is_none());
}

#[test]
fn a_resume_moves_both_sides_to_the_same_new_keys_and_the_old_ones_are_gone() {
    for suite in Suite::ALL {
        let (mut a, mut b) = ends(suite);
        let (number, late) = seal(a.live_keys().unwrap(), suite, b"late");
        a.renew_own(nonce(1)).unwrap();
        a.erase_live();
        assert_eq!((a.live(), a.next()), (None, Pair { a: 1, b: 0 }));
        assert!(a.live_keys().is_none());
        b.renew_peer(nonce(1)).unwrap();
        assert!(reaches(
            a.next_keys().unwrap(),
            b.next_keys().unwrap(),
            suite
        ));
        b.commit();
        assert_eq!(b.live(), Some(Pair { a: 1, b: 0 }));
        assert!(b.next_keys().is_none());
        let keys = b.live_keys().unwrap();
        assert!(
            keys.open(number, &header(number), &mut late.clone())
                .is_err()
        );
        assert!(reaches(keys, a.next_keys().unwrap(), suite));
        a.commit();
        assert_eq!(a.live(), b.live());
    }
}

#[test]
fn commit_without_newer_keys_changes_nothing_and_erased_keys_stay_erased() {
    let (mut a, _) = ends(Suite::Aes256Gcm);
    a.commit();
    assert_eq!(a.live(), Some(Pair { a: 0, b: 0 }));
    a.erase_live();
    a.commit();
    assert!(a.live().is_none() && a.live_keys().is_none() && a.next_keys().is_none());
    a.renew_own(nonce(1)).unwrap();
    assert_eq!(a.next_keys().unwrap().pair(), Pair { a: 1, b: 0 });
}

#[test]
fn another_nonce_or_another_order_of_numbers_gives_other_keys() {
    let suite = Suite::Aes256Gcm;
    let (mut a, mut b) = ends(suite);
    a.renew_own(nonce(1)).unwrap();
    b.renew_peer(nonce(2)).unwrap();
    assert!(!reaches(
        a.next_keys().unwrap(),
        b.next_keys().unwrap(),
        suite
    ));
    let (mut a, mut b) = ends(suite);
    a.renew_own(nonce(1)).unwrap();
    b.renew_own(nonce(1)).unwrap();
    assert!(!reaches(
        a.next_keys().unwrap(),
        b.next_keys().unwrap(),
        suite
    ));
}

#[test]
fn a_re_hello_opens_at_the_peer_alone_and_for_its_index_alone() {
    let (a, b) = ends(Suite::Aes256Gcm);
    let random = &mut Random::from_number(1);
    let sealed = a.seal_resume(random, 77, b"own 1, seen 0");
    assert_eq!(sealed.len(), 13 + RESUME_OVERHEAD);
    assert_eq!(b.open_resume(77, &sealed), Some(b"own 1, seen 0".to_vec()));
    assert_eq!(b.open_resume(78, &sealed), None);
    assert_eq!(a.open_resume(77, &sealed), None);
    for place in 0..sealed.len() {
        let mut wrong = sealed.clone();
        wrong[place] ^= 1;
        assert_eq!(b.open_resume(77, &wrong), None);
        assert_eq!(b.open_resume(77, &sealed[..place]), None);
    }
    assert_ne!(a.seal_resume(random, 77, b"own 1, seen 0"), sealed);
}

#[test]
fn a_re_hello_has_a_longest_length_and_outlives_every_renewal() {
    let (mut a, mut b) = ends(Suite::Aes256Gcm);
    let random = &mut Random::from_number(1);
    let longest = vec![1; RESUME_SEALED_MAX - RESUME_OVERHEAD];
    a.renew_own(nonce(1)).unwrap();
    a.erase_live();
    b.renew_own(nonce(2)).unwrap();
    let sealed = a.seal_resume(random, 1, &longest);
    assert_eq!(b.open_resume(1, &sealed), Some(longest));
    assert_eq!(b.open_resume(1, &vec![0; RESUME_SEALED_MAX + 1]), None);
}

#[test]
fn debug_output_shows_no_key() {
    let (a, _) = ends(Suite::Aes256Gcm);
    let text = format!("{a:?} {:?}", established(Side::A, Suite::Aes256Gcm));
    assert!(text.contains("root: Secret(..)") && !text.contains("resume_own"));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    RenewA,
    RenewB,
    /// B learns of A's newest number, and A of B's.
    Tell,
    EraseA,
    EraseB,
    CommitA,
    CommitB,
    SealA,
    SealB,
}

fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(vec![
        Step::RenewA,
        Step::RenewB,
        Step::Tell,
        Step::EraseA,
        Step::EraseB,
        Step::CommitA,
        Step::CommitB,
        Step::SealA,
        Step::SealB,
    ])
}

/// Brings `to`'s view of `from`'s number up to date; it can be behind by more than one here.
fn tell(from: &Epochs, nonces: &[ResumeNonce], to: &mut Epochs) {
    while to.peer().0 < from.own().0 {
        let index = usize::try_from(to.peer().0).unwrap();
        to.renew_peer(nonces[index]).unwrap();
    }
}

/// Seals under every key set of a side; each (pair, number) must be new.
fn seal_all(epochs: &mut Epochs, ledger: &mut BTreeSet<(Side, Pair, u64)>) {
    let side = epochs.side;
    for keys in [epochs.live.as_mut(), epochs.ahead.as_mut()]
        .into_iter()
        .flatten()
    {
        let pair = keys.pair();
        let (number, _) = seal(keys, Suite::Chacha20Poly1305, b"x");
        assert!(
            ledger.insert((side, pair, number)),
            "{pair:?} {number} twice"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_interleaving_gives_equal_keys_and_no_number_seals_twice(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let suite = Suite::Chacha20Poly1305;
        let (mut a, mut b) = ends(suite);
        let (mut nonces_a, mut nonces_b) = (Vec::new(), Vec::new());
        let mut ledger = BTreeSet::new();
        let random = &mut Random::from_number(7);
        for step in steps {
            let before = (a.own().0, a.peer().0, b.own().0, b.peer().0);
            match step {
                Step::RenewA => {
                    nonces_a.push(ResumeNonce::generate(random));
                    a.renew_own(*nonces_a.last().unwrap()).unwrap();
                }
                Step::RenewB => {
                    nonces_b.push(ResumeNonce::generate(random));
                    b.renew_own(*nonces_b.last().unwrap()).unwrap();
                }
                Step::Tell => {
                    tell(&a, &nonces_a, &mut b);
                    tell(&b, &nonces_b, &mut a);
                }
                Step::EraseA => a.erase_live(),
                Step::EraseB => b.erase_live(),
                Step::CommitA => a.commit(),
                Step::CommitB => b.commit(),
                Step::SealA => seal_all(&mut a, &mut ledger),
                Step::SealB => seal_all(&mut b, &mut ledger),
            }
            let after = (a.own().0, a.peer().0, b.own().0, b.peer().0);
            prop_assert!(after.0 >= before.0 && after.1 >= before.1);
            prop_assert!(after.2 >= before.2 && after.3 >= before.3);
            for side in [&a, &b] {
                let next = side.next();
                let grown = side.live().is_none_or(|live| live.a <= next.a && live.b <= next.b);
                prop_assert!(grown);
                prop_assert!(side.ahead.as_ref().is_none_or(|keys| keys.pair() == side.next()));
            }
        }
        nonces_a.push(ResumeNonce::generate(random));
        a.renew_own(*nonces_a.last().unwrap()).unwrap();
        tell(&a, &nonces_a, &mut b);
        tell(&b, &nonces_b, &mut a);
        prop_assert_eq!(a.next(), b.next());
        let (a, b) = (a.next_keys().unwrap(), b.next_keys().unwrap());
        prop_assert!(reaches(a, b, suite) && reaches(b, a, suite));
    }
}

/// The ledger would notice what must never happen: it sees through whole key sets.
#[test]
fn the_ledger_sees_a_number_used_twice_and_keys_that_come_back() {
    let suite = Suite::Chacha20Poly1305;
    ledger::begin();
    let mut a = Epochs::new(&established(Side::A, suite));
    seal(a.live_keys().unwrap(), suite, b"one");
    seal(a.live_keys().unwrap(), suite, b"two");
    a.renew_own(nonce(1)).unwrap();
    a.erase_live();
    seal(a.next_keys().unwrap(), suite, b"three");
    assert_eq!(ledger::end(), Ok(3));

    ledger::begin();
    let mut a = Epochs::new(&established(Side::A, suite));
    seal(a.live_keys().unwrap(), suite, b"one");
    a.live_keys().unwrap().skip_to(0);
    seal(a.live_keys().unwrap(), suite, b"another");
    assert!(matches!(
        ledger::end(),
        Err(Breach::Reused { number: 0, .. })
    ));

    // The same pair derived again after it was erased (counterexample C15 of the resume exchange).
    ledger::begin();
    let mut a = Epochs::new(&established(Side::A, suite));
    seal(a.live_keys().unwrap(), suite, b"one");
    a.erase_live();
    a.live = Some(a.derive());
    seal(a.live_keys().unwrap(), suite, b"two");
    assert!(matches!(ledger::end(), Err(Breach::Erased { .. })));
}
