//! What stands in HELLO-A and HELLO-B.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::name::Name;
use crate::name::certificate::{Certificate, OverlayId};
use crate::ssm::established::Known;
use crate::ssm::handshake::{HandshakeError, MAC_LEN, PAYLOAD_LEN, SUITES_MAX};
use crate::ssm::suite::Suite;
use crate::wire::codec::{DecodeError, Reader, Write};

/// The encrypted part of HELLO-A.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PayloadA {
    pub(super) certificate: Certificate,
    pub(super) index: u64,
    pub(super) half: [u8; 16],
    pub(super) port: u16,
    pub(super) features: u32,
    /// Unknown codes are left out: the peer may know more suites.
    pub(super) suites: Vec<Suite>,
    pub(super) asked: Option<[u8; 32]>,
}

impl PayloadA {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PAYLOAD_LEN);
        self.certificate.encode(&mut out);
        out.put_u64(self.index);
        out.put(&self.half);
        out.put_u16(self.port);
        out.put_u32(self.features);
        let mut codes = [0; SUITES_MAX];
        for (code, suite) in codes.iter_mut().zip(&self.suites) {
            *code = suite.code();
        }
        out.put(&codes);
        out.put_u8(u8::from(self.asked.is_some()));
        out.put(&self.asked.unwrap_or_default());
        out.resize(PAYLOAD_LEN, 0);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let certificate = Certificate::decode(&mut reader)?;
        let index = reader.u64()?;
        let half = reader.array()?;
        let port = reader.u16()?;
        let features = reader.u32()?;
        let codes = reader.array::<SUITES_MAX>()?;
        let asked = (reader.u8()?, reader.array()?);
        Ok(Self {
            certificate,
            index,
            half,
            port,
            features,
            suites: codes.into_iter().filter_map(Suite::from_code).collect(),
            asked: match asked {
                (0, _) => None,
                (1, sess_id) => Some(sess_id),
                _ => return Err(DecodeError::Invalid("asked")),
            },
        })
    }
}

/// The encrypted part of HELLO-B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PayloadB {
    pub(super) certificate: Certificate,
    pub(super) index: u64,
    pub(super) half: [u8; 16],
    pub(super) port: u16,
    pub(super) features: u32,
    pub(super) suite: Suite,
    pub(super) boot_id: [u8; 16],
    pub(super) known: Option<Known>,
}

impl PayloadB {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PAYLOAD_LEN);
        self.certificate.encode(&mut out);
        out.put_u64(self.index);
        out.put(&self.half);
        out.put_u16(self.port);
        out.put_u32(self.features);
        out.put_u8(self.suite.code());
        out.put(&self.boot_id);
        out.put_u8(match self.known {
            None => 0,
            Some(Known::No) => 1,
            Some(Known::Yes) => 2,
            Some(Known::Never) => 3,
        });
        out.resize(PAYLOAD_LEN, 0);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            certificate: Certificate::decode(&mut reader)?,
            index: reader.u64()?,
            half: reader.array()?,
            port: reader.u16()?,
            features: reader.u32()?,
            suite: Suite::from_code(reader.u8()?).ok_or(DecodeError::Invalid("suite"))?,
            boot_id: reader.array()?,
            known: match reader.u8()? {
                0 => None,
                1 => Some(Known::No),
                2 => Some(Known::Yes),
                3 => Some(Known::Never),
                _ => return Err(DecodeError::Invalid("known")),
            },
        })
    }
}

/// `"muses/1" || overlay id || responder name` (R-H2).
pub(super) fn prologue(overlay: &OverlayId, responder: &Name) -> Vec<u8> {
    let mut out = Vec::with_capacity(7 + 32 + 32);
    out.put(b"muses/1");
    out.put(&overlay.0);
    out.put(responder.as_bytes());
    out
}

/// HMAC-SHA256, cut to 16 bytes.
pub(super) fn mac(key: &[u8], bytes: &[u8]) -> [u8; MAC_LEN] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(bytes);
    let whole = mac.finalize().into_bytes();
    let mut out = [0; MAC_LEN];
    for (to, from) in out.iter_mut().zip(whole) {
        *to = from;
    }
    out
}

/// Key of the first MAC: only who knows the name of the receiver can make one (R-H7).
pub(super) fn named_key(label: &[u8], receiver: &Name) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label);
    hash.update(receiver.as_bytes());
    hash.finalize().into()
}

/// Appends mac1 for `receiver` over all that is in `message`.
pub(super) fn put_mac1(message: &mut Vec<u8>, receiver: &Name) {
    let mac1 = mac(&named_key(b"mac1", receiver), message);
    message.put(&mac1);
}

/// Checks, in constant time, that `mac1` is over `covered` and for `receiver`.
pub(super) fn check_mac1(
    covered: &[u8],
    mac1: &[u8; MAC_LEN],
    receiver: &Name,
) -> Result<(), HandshakeError> {
    let expected = mac(&named_key(b"mac1", receiver), covered);
    if bool::from(expected.ct_eq(mac1)) {
        Ok(())
    } else {
        Err(HandshakeError::Mac1)
    }
}
