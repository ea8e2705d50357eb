//! The link handshake between neighbours (design 7, R-O4, R-P1).
//!
//! Two patterns. `XXpsk0` needs no knowledge of the other node, only of the network: three messages,
//! certificates in the second and third. `IKpsk1` re-dials a known neighbour in two, and its first
//! message may carry a Re-Hello. Both mix in a key from network key and network id, so that a first
//! message from outside does not open; the caller then closes without having sent a byte.
//!
//! On the wire each message stands behind its length in two bytes, big endian. What this module gives
//! out is ready to be written, length included; what it takes is one message without the length, which
//! [`body_len`] has checked before anything was read. Messages have fixed lengths, and the first one's
//! tells the pattern. Any error ends the attempt.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::name::Name;
use crate::name::certificate::{
    CERTIFICATE_LEN, Certificate, CertificateError, LocalParty, OverlayId, PeerKeys, Verified,
};
use crate::ssm::noise::{EPHEMERAL_LEN, Noise, NoiseError, STATIC_LEN, TAG_LEN};
use crate::ssm::schedule::Secret;
use crate::time::Calendar;
use crate::wire::codec::{DecodeError, Reader, Write};

mod dialer;
mod listener;

pub use crate::link::handshake::dialer::Dialer;
pub use crate::link::handshake::listener::Listener;

/// Longest message, in bytes without its length.
pub const MESSAGE_MAX: usize = 1024;
/// Longest early payload, in bytes.
pub const EARLY_MAX: usize = 512;

/// Bytes of what a node says about itself: certificate, boot id, features; padded.
const ABOUT_LEN: usize = 192;
/// Bytes of the padding in the first message of XX: as long as the second, so that answering never
/// amplifies (R-H8).
const XX1_PADDING: usize = STATIC_LEN + ABOUT_LEN;
/// Bytes of the payload in the first message of IK: about, length of the early payload, early payload.
const IK1_PAYLOAD: usize = ABOUT_LEN + 2 + EARLY_MAX;

const XX1_LEN: usize = EPHEMERAL_LEN + XX1_PADDING + TAG_LEN;
const XX2_LEN: usize = EPHEMERAL_LEN + STATIC_LEN + ABOUT_LEN + TAG_LEN;
const XX3_LEN: usize = STATIC_LEN + ABOUT_LEN + TAG_LEN;
const IK1_LEN: usize = EPHEMERAL_LEN + STATIC_LEN + IK1_PAYLOAD + TAG_LEN;
const IK2_LEN: usize = EPHEMERAL_LEN + ABOUT_LEN + TAG_LEN;

const _: () = {
    assert!(CERTIFICATE_LEN + 16 + 4 <= ABOUT_LEN);
    assert!(IK1_LEN <= MESSAGE_MAX && XX2_LEN <= XX1_LEN && XX1_LEN != IK1_LEN);
};

/// Feature bits of this version: none yet defined.
const FEATURES: u32 = 0;

/// Why a link does not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// Not the length of the message expected.
    #[error("not a message of this handshake")]
    Shape,
    /// Forged, of another network, or for a static key that this node does not have.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// Its payload is not of the format.
    #[error(transparent)]
    Payload(#[from] DecodeError),
    /// Its certificate is refused.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate is not of the neighbour meant, or not for the key that was used.
    #[error("certificate of another name or key")]
    WrongPeer,
    /// The neighbour is this node.
    #[error("neighbour is this node itself")]
    Oneself,
    /// The early payload is above [`EARLY_MAX`].
    #[error("early payload is too long")]
    EarlyTooLong,
    /// This attempt has ended already.
    #[error("attempt is over")]
    Over,
}

/// What to do after a message.
#[derive(Debug)]
pub struct Step {
    /// Bytes to write.
    pub reply: Option<Vec<u8>>,
    /// The link, when the handshake is complete. Write `reply` first.
    pub done: Option<LinkKeys>,
}

/// A link whose handshake is complete.
///
/// Whether the neighbour may be one is still to be decided, by its name.
#[derive(Debug)]
pub struct LinkKeys {
    /// The neighbour's certificate.
    pub certificate: Verified,
    /// The mark of the neighbour's present start.
    pub boot_id: [u8; 16],
    /// The neighbour's feature bits.
    pub features: u32,
    /// Whether the neighbour has proved that it is there at this moment. After the first message of IK
    /// it has not: that may be a replay, until a frame opens.
    pub confirmed: bool,
    /// Key of what this node sends.
    pub send_key: Secret,
    /// Key of what the neighbour sends.
    pub receive_key: Secret,
    /// What rode in the first message of IK; may be a replay, and has its own protection against that.
    pub early: Vec<u8>,
}

impl LinkKeys {
    /// The neighbour's name.
    pub const fn peer(&self) -> Name {
        self.certificate.name()
    }
}

/// The length that stands before a message; `None` when no message of a handshake has that length.
pub fn body_len(prefix: [u8; 2]) -> Option<usize> {
    let len = usize::from(u16::from_be_bytes(prefix));
    [XX1_LEN, XX2_LEN, XX3_LEN, IK1_LEN, IK2_LEN]
        .contains(&len)
        .then_some(len)
}

/// The message behind its length.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + message.len());
    // MESSAGE_MAX fits in two bytes.
    out.put_u16(u16::try_from(message.len()).unwrap_or(u16::MAX));
    out.put(message);
    out
}

/// `"muses link/1" || overlay id`.
fn prologue(overlay: &OverlayId) -> Vec<u8> {
    let mut out = Vec::with_capacity(12 + 32);
    out.put(b"muses link/1");
    out.put(&overlay.0);
    out
}

/// The pre-shared key of all links of a network; without a network key its id is the only gate.
fn link_psk(overlay: &OverlayId, network_key: Option<&[u8; 32]>) -> Zeroizing<[u8; 32]> {
    Secret::extract(&overlay.0, &[network_key.unwrap_or(&[0; 32])]).expand_to(&[b"muses link psk"])
}

/// What a node says about itself.
struct About {
    certificate: Certificate,
    boot_id: [u8; 16],
    features: u32,
}

impl About {
    /// The payload that says it for `me`, padded.
    fn encode(me: &LocalParty) -> Vec<u8> {
        let mut out = Vec::with_capacity(IK1_PAYLOAD);
        me.certificate().encode(&mut out);
        out.put(&me.boot_id());
        out.put_u32(FEATURES);
        out.resize(ABOUT_LEN, 0);
        out
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(reader.slice(ABOUT_LEN)?);
        Ok(Self {
            certificate: Certificate::decode(&mut reader)?,
            boot_id: reader.array()?,
            features: reader.u32()?,
        })
    }
}

/// What a node judges its neighbours by.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// This node.
    pub me: &'a LocalParty,
    /// The calendar's time.
    pub now: Calendar,
    /// The highest serial seen of a name's certificates.
    pub last_serial: &'a dyn Fn(&Name) -> Option<u64>,
}

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("me", &self.me.name())
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Judge<'_> {
    /// Verifies that the one at the other end of `noise` is who it says, and `expected` if anyone is.
    fn verify(
        &self,
        about: &About,
        noise: &Noise,
        expected: Option<&Name>,
    ) -> Result<Verified, LinkError> {
        let name = about.certificate.name;
        if expected.is_some_and(|expected| *expected != name) {
            return Err(LinkError::WrongPeer);
        }
        if name == self.me.name() {
            return Err(LinkError::Oneself);
        }
        let serial = (self.last_serial)(&name);
        let verified = about
            .certificate
            .verify(self.me.overlay(), self.now, serial)?;
        if noise.remote_static() != Some(verified.static_public()) {
            return Err(LinkError::WrongPeer);
        }
        Ok(verified)
    }
}

/// Which end of the link this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Dialer,
    Listener,
}

/// Derives the keys of a complete handshake.
fn link_keys(
    noise: Noise,
    role: Role,
    about: &About,
    certificate: Verified,
) -> Result<LinkKeys, LinkError> {
    let finished = noise.finish()?;
    let secret = Secret::extract(
        &finished.hash,
        &[finished.first.as_slice(), finished.second.as_slice()],
    );
    let from_dialer = secret.expand(&[b"muses link key", &[0]]);
    let from_listener = secret.expand(&[b"muses link key", &[1]]);
    let (send_key, receive_key) = match role {
        Role::Dialer => (from_dialer, from_listener),
        Role::Listener => (from_listener, from_dialer),
    };
    Ok(LinkKeys {
        certificate,
        boot_id: about.boot_id,
        features: about.features,
        confirmed: true,
        send_key,
        receive_key,
        early: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
