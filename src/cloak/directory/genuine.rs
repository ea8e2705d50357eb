//! Records that their name has signed, and sub-keys of names.
//!
//! A [`Genuine`] can only come out of [`Genuine::check`] and [`Genuine::sign`], so nothing is stored, shown
//! or passed on to a neighbour as a copy that its name did not say.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::cloak::tree::Verify;
use crate::limits::{DIRECTORY_AHEAD, DIRECTORY_EXPIRY_MAX};
use crate::name::certificate::{
    CERTIFICATE_LEN, Certificate, CertificateError, OverlayId, Verified,
};
use crate::name::{Identity, Name};
use crate::time::Calendar;
use crate::wire::codec::{DecodeError, Reader, Write};
use crate::wire::directory::SUB_KEYS;
use crate::wire::location::Location;
use crate::wire::record::{
    CERTIFICATE_REST, Content, ENDPOINTS_MAX, LOCATIONS_MAX, RECORD_BYTES_MAX, Record,
    SIGNATURE_LEN, is_endpoint,
};

/// Domain label of a record's signature.
const LABEL: &[u8] = b"muses-record-v1";
/// Domain label of sub-keys.
const KEY_LABEL: &[u8] = b"muses-directory-key-v1";
/// Microseconds in a second.
const MICROS: u64 = 1_000_000;

/// How far the sub-keys of a name lie apart: evenly around the circle, so that whoever is given less than this
/// holds one of them at most, and whoever is given less than twice as much never all.
const APART: u64 = u64::MAX / SUB_KEYS as u64;

/// Where a name's record is kept: sub-key `index` of the name.
pub fn sub_key(name: &[u8; 32], index: u8) -> u64 {
    let mut hash = Sha256::new();
    hash.update(KEY_LABEL);
    hash.update(name);
    let digest: [u8; 32] = hash.finalize().into();
    let first = digest.first_chunk().map(|first| u64::from_be_bytes(*first));
    let turn = APART.wrapping_mul(index.into());
    first.unwrap_or_default().wrapping_add(turn)
}

/// The sub-keys of a name.
pub fn sub_keys(name: &[u8; 32]) -> impl Iterator<Item = (u8, u64)> {
    (0..SUB_KEYS).map(|index| (index, sub_key(name, index)))
}

/// Why a record is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// No record at all.
    #[error("{0}")]
    Form(#[from] DecodeError),
    /// No key could have signed it.
    #[error("the name is no key")]
    Name,
    /// Not signed by its name, or for another overlay.
    #[error("signature does not fit name and overlay")]
    Signature,
    /// Its number lies too far in the future (R-D2).
    #[error("number too far in the future")]
    Future,
    /// It is over, or lives longer than allowed (R-D2).
    #[error("expired, or expires too late")]
    Expiry,
    /// It vouches for a key in vain.
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
}

/// A record that its name has signed for this overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genuine {
    name: Name,
    record: Record,
    bytes: Arc<[u8]>,
}

impl Genuine {
    /// Checks form and signature.
    pub fn check(bytes: &[u8], overlay: &OverlayId, verifier: &dyn Verify) -> Result<Self, Flaw> {
        let record = Record::decode(bytes)?;
        let name = Name::from_bytes(record.name).map_err(|_| Flaw::Name)?;
        let signed = signed(&record, overlay);
        if !verifier.verify(&record.name, &signed, &record.signature) {
            return Err(Flaw::Signature);
        }
        Ok(Self {
            name,
            record,
            bytes: bytes.into(),
        })
    }

    /// Signs a record; no `said` makes a tombstone. What does not fit [`RECORD_BYTES_MAX`] is left out:
    /// aliases first, then endpoints, from the last one on.
    pub fn sign(
        identity: &Identity,
        overlay: &OverlayId,
        seq: u64,
        expiry: Calendar,
        said: Option<&Said>,
    ) -> Self {
        let name = identity.name();
        let mut record = Record {
            name: *name.as_bytes(),
            seq,
            expiry,
            content: said.map(Said::content),
            signature: [0; SIGNATURE_LEN],
        };
        while encoded(&record).len() > RECORD_BYTES_MAX {
            let Some(content) = &mut record.content else {
                break;
            };
            if content.locations.len() > 1 {
                content.locations.pop();
            } else if content.endpoints.pop().is_none() {
                break;
            }
        }
        record.signature = identity.sign(&signed(&record, overlay));
        let bytes = encoded(&record).into();
        Self {
            name,
            record,
            bytes,
        }
    }

    /// Whose it is.
    pub const fn name(&self) -> Name {
        self.name
    }

    /// Its number.
    pub const fn seq(&self) -> u64 {
        self.record.seq
    }

    /// Its end.
    pub const fn expiry(&self) -> Calendar {
        self.record.expiry
    }

    /// Its wire form.
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Checks number and end against the calendar (R-D2).
    pub fn is_timely(&self, now: Calendar) -> Result<(), Flaw> {
        if self.seq() > micros(now).saturating_add(DIRECTORY_AHEAD.as_secs() * MICROS) {
            return Err(Flaw::Future);
        }
        let latest = now.0.saturating_add(DIRECTORY_EXPIRY_MAX.as_secs());
        if self.expiry() <= now || self.expiry().0 > latest {
            return Err(Flaw::Expiry);
        }
        Ok(())
    }

    /// What it says, its certificate checked; none in a tombstone.
    pub fn read(&self, overlay: &OverlayId, now: Calendar) -> Result<Option<Found>, Flaw> {
        self.is_timely(now)?;
        let Some(content) = &self.record.content else {
            return Ok(None);
        };
        let mut whole = [0; CERTIFICATE_LEN];
        let (name, rest) = whole.split_at_mut(CERTIFICATE_LEN - CERTIFICATE_REST);
        name.copy_from_slice(self.name.as_bytes());
        rest.copy_from_slice(&content.certificate);
        let certificate = Certificate::decode(&mut Reader::new(&whole))?;
        Ok(Some(Found {
            seq: self.seq(),
            locations: content.locations.clone(),
            endpoints: content.endpoints.clone(),
            certificate: certificate.verify(overlay, now, None)?,
        }))
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Own place and live aliases, the best one first; the first four are published.
    pub locations: Vec<Location>,
    /// `host:port` of the link ports to be published; the first four that are visible ASCII of at most 255
    /// bytes are.
    pub endpoints: Vec<String>,
    /// The certificate of the handshake key.
    pub certificate: Certificate,
}

impl Said {
    fn content(&self) -> Content {
        let mut whole = Vec::with_capacity(CERTIFICATE_LEN);
        self.certificate.encode(&mut whole);
        let places = self.locations.iter();
        let places = places.filter(|place| matches!(place, Location::Tree { .. }));
        let endpoints = self.endpoints.iter().filter(|text| is_endpoint(text));
        Content {
            certificate: whole
                .last_chunk()
                .map_or([0; CERTIFICATE_REST], |rest| *rest),
            locations: places.take(LOCATIONS_MAX).cloned().collect(),
            endpoints: endpoints.take(ENDPOINTS_MAX).cloned().collect(),
        }
    }
}

/// What the directory says of a name, all of it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of the record.
    pub seq: u64,
    /// Places of the node, the best one first.
    pub locations: Vec<Location>,
    /// Link ports, if published.
    pub endpoints: Vec<String>,
    /// The key of its handshakes.
    pub certificate: Verified,
}

/// Microseconds since 1970: the least number of a new record.
pub const fn micros(now: Calendar) -> u64 {
    now.0.saturating_mul(MICROS)
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_BYTES_MAX);
    record.encode(&mut out);
    out
}

/// The bytes under the signature.
fn signed(record: &Record, overlay: &OverlayId) -> Vec<u8> {
    let mut out = Vec::with_capacity(LABEL.len() + 32 + RECORD_BYTES_MAX);
    out.put(LABEL);
    out.put(&overlay.0);
    record.encode_unsigned(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloak::tree::Strict;
    use crate::name::certificate::Terms;
    use crate::wire::location::{PATH_MAX, STEP_MAX};

    const NOW: Calendar = Calendar(1_800_000_000);

    fn overlay() -> OverlayId {
        OverlayId::of("test")
    }

    fn identity() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    fn said(identity: &Identity) -> Said {
        let terms = Terms {
            not_before: Calendar(NOW.0 - 100),
            not_after: Calendar(NOW.0 + 100_000),
            serial: 5,
        };
        Said {
            locations: vec![Location::Tree {
                tree: 1,
                term: 2,
                path: vec![(3, 4)],
            }],
            endpoints: vec!["10.0.0.1:7000".into()],
            certificate: Certificate::sign(identity, &overlay(), [9; 32], terms),
        }
    }

    fn record(seq: u64, expiry: u64) -> Genuine {
        let identity = identity();
        let said = said(&identity);
        Genuine::sign(&identity, &overlay(), seq, Calendar(expiry), Some(&said))
    }

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let made = record(micros(NOW), NOW.0 + 7200);
        let checked = Genuine::check(made.bytes(), &overlay(), &Strict).unwrap();
        assert_eq!(checked, made);
        let found = checked.read(&overlay(), NOW).unwrap().unwrap();
        assert_eq!(found.certificate.name(), identity().name());
        assert_eq!(found.endpoints, ["10.0.0.1:7000"]);
        assert_eq!(
            Genuine::check(made.bytes(), &OverlayId::of("other"), &Strict),
            Err(Flaw::Signature)
        );
        for at in 0..made.bytes().len() {
            let mut forged = made.bytes().to_vec();
            forged[at] ^= 1;
            assert!(
                Genuine::check(&forged, &overlay(), &Strict).is_err(),
                "{at}"
            );
        }
    }

    #[test]
    fn a_certificate_of_another_name_is_no_use() {
        let stranger = Identity::from_seed(&[8; 32]);
        let said = said(&stranger);
        let seq = micros(NOW);
        let made = Genuine::sign(
            &identity(),
            &overlay(),
            seq,
            Calendar(NOW.0 + 9),
            Some(&said),
        );
        assert_eq!(
            made.read(&overlay(), NOW),
            Err(Flaw::Certificate(CertificateError::Signature))
        );
    }

    #[test]
    fn far_numbers_and_ends_are_refused() {
        let timely = |seq, expiry| record(seq, expiry).is_timely(NOW);
        let ahead = micros(NOW) + 600 * MICROS;
        assert_eq!(timely(ahead, NOW.0 + 1), Ok(()));
        assert_eq!(timely(ahead + 1, NOW.0 + 1), Err(Flaw::Future));
        assert_eq!(timely(0, NOW.0), Err(Flaw::Expiry));
        assert_eq!(timely(0, NOW.0 + 86_400), Ok(()));
        assert_eq!(timely(0, NOW.0 + 86_401), Err(Flaw::Expiry));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let identity = identity();
        let mut said = said(&identity);
        let deep = Location::Tree {
            tree: 1,
            term: 2,
            path: vec![(STEP_MAX, STEP_MAX); PATH_MAX],
        };
        said.locations = vec![deep; 6];
        said.endpoints = vec!["x".repeat(255); 6];
        let made = Genuine::sign(&identity, &overlay(), 1, Calendar(NOW.0 + 9), Some(&said));
        let checked = Genuine::check(made.bytes(), &overlay(), &Strict).unwrap();
        let found = checked.read(&overlay(), NOW).unwrap().unwrap();
        assert_eq!((found.locations.len(), found.endpoints.len()), (1, 2));
    }

    #[test]
    fn an_arc_of_a_third_of_the_circle_holds_one_sub_key_at_most() {
        for seed in 0..100 {
            let mut keys: Vec<_> = sub_keys(&[seed; 32]).map(|(_, key)| key).collect();
            keys.sort_unstable();
            let gaps = keys.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.min() >= Some(u64::MAX / 3));
            // Round the end of the circle, too.
            assert!(keys[0].wrapping_sub(keys[2]) >= u64::MAX / 3);
        }
        assert_ne!(sub_key(&[1; 32], 0), sub_key(&[2; 32], 0));
    }
}
