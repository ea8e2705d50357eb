//! Cipher suites: what seals and opens a packet (R-C1 to R-C3, R-W2).
//!
//! Three suites, all with the packet number as nonce: ChaCha20-Poly1305 (RFC 8439), AES-256-GCM (NIST SP
//! 800-38D), and the paper's AES-CTR with HMAC-SHA1, encrypt then MAC. Sealing and opening happen in
//! place and allocate nothing.

use std::{fmt, str::FromStr};

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, Nonce};
use thiserror::Error;
use zeroize::Zeroize;

use crate::ssm::aead::ErasedKey;
use crate::ssm::ledger::Witness;
use crate::ssm::suite::paper::PaperKey;

mod paper;

/// Bytes of key material that every suite is made from; a suite uses the first
/// [`Suite::material_len`] of them.
pub const MATERIAL_LEN: usize = 44;
/// Bytes of the longest tag.
pub const TAG_LEN_MAX: usize = 20;
/// Longest plaintext that is sealed: 2^16 blocks of 16 bytes (R-C3).
pub const PLAIN_LEN_MAX: usize = 1 << 20;

/// Bytes of an AEAD key.
const AEAD_KEY_LEN: usize = 32;
/// Bytes of the value that the packet number is mixed into.
const IV_LEN: usize = 12;
/// Bytes of the tag of both AEADs.
const AEAD_TAG_LEN: usize = 16;

/// A cipher suite, by its code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Suite {
    /// ChaCha20-Poly1305, the faster one without AES instructions.
    Chacha20Poly1305 = 1,
    /// AES-256-GCM, the faster one with AES instructions.
    Aes256Gcm = 2,
    /// The paper's AES-128-CTR with HMAC-SHA1, encrypt then MAC, whole tag.
    PaperAes128CtrHmacSha1 = 240,
}

/// A text that names no cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown cipher suite; known are chacha20-poly1305, aes-256-gcm and aes128-ctr-hmac-sha1")]
pub struct UnknownSuite;

impl Suite {
    /// All suites, by code.
    pub const ALL: [Self; 3] = [
        Self::Chacha20Poly1305,
        Self::Aes256Gcm,
        Self::PaperAes128CtrHmacSha1,
    ];

    /// The code on the wire and in key labels (R-C1).
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The suite of a code, if this program knows it.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    /// The name in `proxy.toml` and in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Chacha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::PaperAes128CtrHmacSha1 => "aes128-ctr-hmac-sha1",
        }
    }

    /// Bytes that sealing adds to a packet.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::Chacha20Poly1305 | Self::Aes256Gcm => AEAD_TAG_LEN,
            Self::PaperAes128CtrHmacSha1 => paper::TAG_LEN,
        }
    }

    /// Bytes of key material that one direction takes: keys and the nonce's fixed part.
    pub const fn material_len(self) -> usize {
        match self {
            Self::Chacha20Poly1305 | Self::Aes256Gcm => AEAD_KEY_LEN + IV_LEN,
            Self::PaperAes128CtrHmacSha1 => paper::MATERIAL_LEN,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, UnknownSuite> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.label() == text)
            .ok_or(UnknownSuite)
    }
}

/// The first of `offered` by my own order of preference, if any is allowed here (R-C2).
pub fn choose_suite(offered: &[Suite], allowed_in_my_order: &[Suite]) -> Option<Suite> {
    allowed_in_my_order
        .iter()
        .copied()
        .find(|suite| offered.contains(suite))
}

/// Seals the packets of one direction of one epoch.
pub struct SealKey {
    key: Key,
    witness: Witness,
}

/// Opens the packets of one direction of one epoch.
pub struct OpenKey(Key);

/// The same key either way; [`SealKey`] and [`OpenKey`] keep the directions apart.
enum Key {
    Aead(AeadKey),
    Paper(Box<PaperKey>),
}

impl Key {
    fn new(suite: Suite, material: &[u8; MATERIAL_LEN]) -> Self {
        match suite {
            Suite::Chacha20Poly1305 | Suite::Aes256Gcm => Self::Aead(AeadKey::new(suite, material)),
            Suite::PaperAes128CtrHmacSha1 => Self::Paper(Box::new(PaperKey::new(material))),
        }
    }
}

impl SealKey {
    /// The key of `material`, which the caller derived for this direction and epoch alone.
    pub fn new(suite: Suite, material: &[u8; MATERIAL_LEN]) -> Self {
        Self {
            key: Key::new(suite, material),
            witness: Witness::new(suite, material),
        }
    }

    /// Seals `plain` in place under packet number `number` and writes the tag.
    ///
    /// The caller never gives the same number twice (R-W2), and puts it into `aad`, where the paper's
    /// suite authenticates it. `tag` has [`Suite::tag_len`] bytes and `plain` at most
    /// [`PLAIN_LEN_MAX`]; otherwise both are zeroed, so that clear text never leaves.
    pub fn seal(&self, number: u64, aad: &[u8], plain: &mut [u8], tag: &mut [u8]) {
        self.witness.sealed(number);
        let sealed = plain.len() <= PLAIN_LEN_MAX
            && match &self.key {
                Key::Aead(key) => key.seal(number, aad, plain, tag),
                Key::Paper(key) => key.seal(number, aad, plain, tag),
            };
        debug_assert!(sealed, "lengths are the caller's to keep");
        if !sealed {
            plain.zeroize();
            tag.zeroize();
        }
    }
}

impl OpenKey {
    /// The key of `material`, which the caller derived for this direction and epoch alone.
    pub fn new(suite: Suite, material: &[u8; MATERIAL_LEN]) -> Self {
        Self(Key::new(suite, material))
    }

    /// Opens ciphertext and tag in place and gives the plaintext.
    ///
    /// Nothing of the plaintext is in the buffer when it does not open.
    pub fn open<'b>(
        &self,
        number: u64,
        aad: &[u8],
        cipher_then_tag: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        if cipher_then_tag.len() > PLAIN_LEN_MAX + TAG_LEN_MAX {
            return None;
        }
        match &self.0 {
            Key::Aead(key) => key.open(number, aad, cipher_then_tag),
            Key::Paper(key) => key.open(number, aad, cipher_then_tag),
        }
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenKey(..)")
    }
}

/// Key and fixed part of the nonce of an AEAD.
struct AeadKey {
    key: ErasedKey,
    iv: [u8; IV_LEN],
}

impl AeadKey {
    fn new(suite: Suite, material: &[u8; MATERIAL_LEN]) -> Self {
        let algorithm = if suite == Suite::Aes256Gcm {
            &AES_256_GCM
        } else {
            &CHACHA20_POLY1305
        };
        let (key, iv) = material.split_at(AEAD_KEY_LEN);
        let mut out = [0; IV_LEN];
        out.copy_from_slice(iv);
        Self {
            key: ErasedKey::new(algorithm, key),
            iv: out,
        }
    }

    /// iv XOR packet number (R-W2).
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, part) in nonce[IV_LEN - 8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, number: u64, aad: &[u8], plain: &mut [u8], tag: &mut [u8]) -> bool {
        let sealed = self
            .key
            .seal_in_place_separate_tag(self.nonce(number), Aad::from(aad), plain);
        match sealed {
            Ok(made) if made.as_ref().len() == tag.len() => {
                tag.copy_from_slice(made.as_ref());
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn open<'b>(
        &self,
        number: u64,
        aad: &[u8],
        cipher_then_tag: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        self.key
            .open_in_place(self.nonce(number), Aad::from(aad), cipher_then_tag)
            .ok()
    }
}

impl Drop for AeadKey {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}

#[cfg(test)]
mod tests;
