//! Certificates: an identity vouches for the X25519 static key that its node uses in handshakes
//! (R-I3, R-H11).
//!
//! The signature covers `"muses-static-v1" || overlay id || static key || not_before || not_after ||
//! serial`; the name is the key that verifies it. A [`Verified`] can only come out of
//! [`Certificate::verify`], so a function that takes one need not ask again.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::name::{Identity, Name};
use crate::random::Random;
use crate::time::Calendar;
use crate::wire::codec::{DecodeError, Reader, Write};

/// Bytes of an encoded certificate: name, static key, two moments, serial, signature.
pub const CERTIFICATE_LEN: usize = 32 + 32 + 8 + 8 + 8 + 64;
/// How far two clocks may be apart, in seconds (R-H11).
pub const SKEW_SECONDS: u64 = 24 * 60 * 60;

/// Domain label of the signature.
const LABEL: &[u8] = b"muses-static-v1";

/// An overlay, by the hash of its network id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverlayId(pub [u8; 32]);

impl OverlayId {
    /// The id of the overlay whose `network` is this text in `proxy.toml`.
    pub fn of(network: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"muses overlay");
        hash.update(network);
        Self(hash.finalize().into())
    }
}

/// The secret X25519 key of a node's handshakes; apart from the identity, so that it can change.
pub struct StaticKey(StaticSecret);

impl StaticKey {
    /// A new key.
    pub fn generate(random: &mut Random) -> Self {
        Self::from_bytes(random.bytes())
    }

    /// The key of 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(StaticSecret::from(bytes))
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// The secret half, for the handshake and the key file only.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey(..)")
    }
}

/// What a certificate says beside whose it is and for which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// First second in which it holds.
    pub not_before: Calendar,
    /// Last second in which it holds.
    pub not_after: Calendar,
    /// Rises with every certificate of the name; a lower one than already seen is refused.
    pub serial: u64,
}

impl Terms {
    /// Whether a new certificate should take its place: half of its time is over, or the clock was set
    /// to before it.
    pub const fn is_due(&self, now: Calendar) -> bool {
        let life = self.not_after.0.saturating_sub(self.not_before.0);
        now.0 < self.not_before.0 || now.0.saturating_sub(self.not_before.0) >= life / 2
    }
}

/// The statement of a name that a static key is its own, for one overlay. Not yet checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Who says so.
    pub name: Name,
    /// The X25519 public key of the name's handshakes.
    pub static_public: [u8; 32],
    /// Validity and serial.
    pub terms: Terms,
    signature: [u8; 64],
}

/// Why a certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Every static of low order gives the same shared secret with everyone.
    #[error("weak static key")]
    WeakStatic,
    /// Not signed by the name, or for another overlay.
    #[error("signature does not fit name and overlay")]
    Signature,
    /// Its time has not come, by more than the tolerance.
    #[error("not valid yet; compare the clocks of both nodes")]
    NotYet,
    /// Its time is over, by more than the tolerance.
    #[error("expired; compare the clocks of both nodes")]
    Expired,
    /// A newer one of this name was seen before.
    #[error("serial {found} is below {seen}, which was seen before")]
    OldSerial {
        /// Serial of this certificate.
        found: u64,
        /// Highest serial seen.
        seen: u64,
    },
}

impl Certificate {
    /// Certifies `static_public` for `identity` in `overlay`.
    pub fn sign(
        identity: &Identity,
        overlay: &OverlayId,
        static_public: [u8; 32],
        terms: Terms,
    ) -> Self {
        let signature = identity.sign(&signed(overlay, &static_public, &terms));
        Self {
            name: identity.name(),
            static_public,
            terms,
            signature,
        }
    }

    /// Appends the [`CERTIFICATE_LEN`] bytes of its encoding.
    pub fn encode(&self, out: &mut impl Write) {
        out.put(self.name.as_bytes());
        out.put(&self.static_public);
        put_terms(out, &self.terms);
        out.put(&self.signature);
    }

    /// Reads a certificate; what it says is to be judged by [`Self::verify`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = Name::from_bytes(reader.array()?)
            .map_err(|_| DecodeError::Invalid("certificate name"))?;
        Ok(Self {
            name,
            static_public: reader.array()?,
            terms: Terms {
                not_before: Calendar(reader.u64()?),
                not_after: Calendar(reader.u64()?),
                serial: reader.u64()?,
            },
            signature: reader.array()?,
        })
    }

    /// Judges it for `overlay` at `now`; `last_serial` is the highest serial seen of this name.
    pub fn verify(
        &self,
        overlay: &OverlayId,
        now: Calendar,
        last_serial: Option<u64>,
    ) -> Result<Verified, CertificateError> {
        let Terms {
            not_before,
            not_after,
            serial,
        } = self.terms;
        if now.0.saturating_add(SKEW_SECONDS) < not_before.0 {
            return Err(CertificateError::NotYet);
        }
        if now.0.saturating_sub(SKEW_SECONDS) > not_after.0 {
            return Err(CertificateError::Expired);
        }
        if let Some(seen) = last_serial.filter(|seen| *seen > serial) {
            return Err(CertificateError::OldSerial {
                found: serial,
                seen,
            });
        }
        let message = signed(overlay, &self.static_public, &self.terms);
        if !self.name.verify(&message, &self.signature) {
            return Err(CertificateError::Signature);
        }
        if is_low_order(self.static_public) {
            return Err(CertificateError::WeakStatic);
        }
        Ok(Verified(*self))
    }
}

/// The bytes under the signature.
fn signed(overlay: &OverlayId, static_public: &[u8; 32], terms: &Terms) -> Vec<u8> {
    let mut out = Vec::with_capacity(LABEL.len() + 32 + 32 + 24);
    out.put(LABEL);
    out.put(&overlay.0);
    out.put(static_public);
    put_terms(&mut out, terms);
    out
}

fn put_terms(out: &mut impl Write, terms: &Terms) {
    out.put_u64(terms.not_before.0);
    out.put_u64(terms.not_after.0);
    out.put_u64(terms.serial);
}

/// Whether every secret gives the same shared secret with this key: X25519 secrets are multiples of
/// the cofactor, so one try decides.
fn is_low_order(static_public: [u8; 32]) -> bool {
    !StaticSecret::from([0x42; 32])
        .diffie_hellman(&PublicKey::from(static_public))
        .was_contributory()
}

/// A certificate that [`Certificate::verify`] accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified(Certificate);

impl Verified {
    /// The certificate, for storing and passing on.
    pub const fn certificate(&self) -> &Certificate {
        &self.0
    }

    /// Whose it is.
    pub const fn name(&self) -> Name {
        self.0.name
    }

    /// The certified X25519 key.
    pub const fn static_public(&self) -> [u8; 32] {
        self.0.static_public
    }
}

/// What one must know of a peer to begin a handshake that only it can answer: from a record of the
/// directory, or from an earlier handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerKeys {
    /// The peer's name.
    pub name: Name,
    /// The X25519 key that the name certified.
    pub static_public: [u8; 32],
}

impl From<&Verified> for PeerKeys {
    fn from(verified: &Verified) -> Self {
        Self {
            name: verified.name(),
            static_public: verified.static_public(),
        }
    }
}

/// What a node brings into every handshake.
#[derive(Debug)]
pub struct LocalParty {
    identity: Identity,
    static_key: StaticKey,
    /// Replaced while others hold the party: what it says holds for any moment.
    certificate: RwLock<Certificate>,
    boot_id: [u8; 16],
    overlay: OverlayId,
}

impl LocalParty {
    /// A party that certifies its own static key. `boot_id` is random and new with every start, so
    /// that peers notice that sessions are gone (R-R10).
    pub fn new(
        identity: Identity,
        static_key: StaticKey,
        terms: Terms,
        boot_id: [u8; 16],
        overlay: OverlayId,
    ) -> Self {
        let certificate = Certificate::sign(&identity, &overlay, static_key.public(), terms);
        Self {
            identity,
            static_key,
            certificate: RwLock::new(certificate),
            boot_id,
            overlay,
        }
    }

    /// Certifies the same static key anew, before the old terms end: every handshake from here on shows
    /// the new certificate, and what is established stays.
    pub fn renew(&self, terms: Terms) {
        let fresh = Certificate::sign(
            &self.identity,
            &self.overlay,
            self.static_key.public(),
            terms,
        );
        *self
            .certificate
            .write()
            .unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// The node's name.
    pub const fn name(&self) -> Name {
        self.identity.name()
    }

    /// The node's identity, for signing records.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The key of the node's handshakes.
    pub const fn static_key(&self) -> &StaticKey {
        &self.static_key
    }

    /// The node's certificate.
    pub fn certificate(&self) -> Certificate {
        *self
            .certificate
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark of this start of the node.
    pub const fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// The overlay it takes part in.
    pub const fn overlay(&self) -> &OverlayId {
        &self.overlay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Calendar = Calendar(1_800_000_000);
    const TERMS: Terms = Terms {
        not_before: Calendar(NOW.0 - 100),
        not_after: Calendar(NOW.0 + 100),
        serial: 5,
    };

    fn overlay() -> OverlayId {
        OverlayId::of("test")
    }

    fn certificate(static_public: [u8; 32]) -> Certificate {
        Certificate::sign(
            &Identity::from_seed(&[7; 32]),
            &overlay(),
            static_public,
            TERMS,
        )
    }

    fn encoded(certificate: &Certificate) -> Vec<u8> {
        let mut out = Vec::new();
        certificate.encode(&mut out);
        out
    }

    #[test]
    fn a_certificate_reads_back_and_verifies() {
        let key = StaticKey::generate(&mut Random::from_number(1));
        let certificate = certificate(key.public());
        let bytes = encoded(&certificate);
        assert_eq!(bytes.len(), CERTIFICATE_LEN);
        let read = Certificate::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, certificate);
        let verified = read.verify(&overlay(), NOW, None).unwrap();
        assert_eq!(verified.static_public(), key.public());
        assert_eq!(verified.name(), Identity::from_seed(&[7; 32]).name());
    }

    #[test]
    fn whatever_byte_is_changed_it_is_refused() {
        let bytes = encoded(&certificate(StaticKey::from_bytes([3; 32]).public()));
        for place in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= 1;
            let verified = Certificate::decode(&mut Reader::new(&wrong))
                .map(|certificate| certificate.verify(&overlay(), NOW, None));
            assert!(!matches!(verified, Ok(Ok(_))), "byte {place}");
        }
        for len in 0..bytes.len() {
            assert!(Certificate::decode(&mut Reader::new(&bytes[..len])).is_err());
        }
    }

    #[test]
    fn it_holds_in_its_time_with_a_day_of_tolerance_and_in_its_overlay() {
        let certificate = certificate(StaticKey::from_bytes([3; 32]).public());
        let at = |seconds| certificate.verify(&overlay(), Calendar(seconds), None);
        assert!(at(TERMS.not_before.0 - SKEW_SECONDS).is_ok());
        assert!(at(TERMS.not_after.0 + SKEW_SECONDS).is_ok());
        let early = at(TERMS.not_before.0 - SKEW_SECONDS - 1);
        assert_eq!(early, Err(CertificateError::NotYet));
        let late = at(TERMS.not_after.0 + SKEW_SECONDS + 1);
        assert_eq!(late, Err(CertificateError::Expired));
        assert_eq!(at(0), Err(CertificateError::NotYet));
        assert_eq!(at(u64::MAX), Err(CertificateError::Expired));
        let other = certificate.verify(&OverlayId::of("other"), NOW, None);
        assert_eq!(other, Err(CertificateError::Signature));
    }

    #[test]
    fn a_lower_serial_than_seen_is_refused() {
        let certificate = certificate(StaticKey::from_bytes([3; 32]).public());
        assert!(certificate.verify(&overlay(), NOW, Some(5)).is_ok());
        assert_eq!(
            certificate.verify(&overlay(), NOW, Some(6)),
            Err(CertificateError::OldSerial { found: 5, seen: 6 })
        );
    }

    #[test]
    fn a_certificate_is_renewed_in_time_and_the_new_one_outranks_the_old() {
        let due = |seconds| TERMS.is_due(Calendar(seconds));
        assert!(!due(TERMS.not_before.0) && !due(NOW.0 - 1));
        assert!(due(NOW.0) && due(u64::MAX) && due(TERMS.not_before.0 - 1));
        let me = LocalParty::new(
            Identity::from_seed(&[7; 32]),
            StaticKey::from_bytes([3; 32]),
            TERMS,
            [0; 16],
            overlay(),
        );
        let old = me.certificate();
        me.renew(Terms {
            not_before: NOW,
            not_after: Calendar(NOW.0 + 1_000_000),
            serial: 6,
        });
        let later = Calendar(NOW.0 + 500_000);
        assert!(old.verify(&overlay(), later, None).is_err());
        let verified = me.certificate().verify(&overlay(), later, Some(5)).unwrap();
        assert_eq!(verified.static_public(), old.static_public);
        assert!(old.verify(&overlay(), NOW, Some(6)).is_err());
    }

    #[test]
    fn a_static_of_low_order_is_refused_even_when_signed() {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        let order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
        let order_8 = data_encoding::HEXLOWER.decode(order_8.as_bytes()).unwrap();
        let mut one = [0; 32];
        one[0] = 1;
        for weak in [[0; 32], one, minus_one, order_8.try_into().unwrap()] {
            assert_eq!(
                certificate(weak).verify(&overlay(), NOW, None),
                Err(CertificateError::WeakStatic)
            );
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let key = StaticKey::from_bytes([3; 32]);
        assert_eq!(format!("{key:?}"), "StaticKey(..)");
    }
}
