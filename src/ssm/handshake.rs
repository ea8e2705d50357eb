//! The session handshake: HELLO-A and HELLO-B (paper, Figure 3; R-H1 to R-H12).
//!
//! Noise `IKpsk2` between two names. HELLO-A carries the initiator's certificate, its half of the
//! session id and what it offers; HELLO-B the responder's certificate, its half and its choice. Both
//! have one fixed size. Nothing of an application travels in them: the first packet under the new keys
//! confirms the session, and that packet is not made here.
//!
//! Reading a HELLO-A spends nothing but time. Whether to answer it, and how many may be under way, is
//! for the caller, who gets the verified name first.

use thiserror::Error;

use crate::name::certificate::{CERTIFICATE_LEN, CertificateError};
use crate::ssm::established::Known;
use crate::ssm::noise::{EPHEMERAL_LEN, NoiseError, STATIC_LEN, TAG_LEN};
use crate::ssm::suite::Suite;
use crate::wire::codec::DecodeError;

mod cookie;
mod initiator;
mod message;
mod responder;

pub use crate::ssm::handshake::cookie::{COOKIE_REPLY_LEN, Cookie, Cookies};
pub use crate::ssm::handshake::initiator::Initiator;
pub use crate::ssm::handshake::responder::{Received, Responder};

/// Type byte of HELLO-A.
pub const TYPE_HELLO_A: u8 = 0x01;
/// Type byte of HELLO-B.
pub const TYPE_HELLO_B: u8 = 0x02;
/// Type byte of a cookie reply.
pub const TYPE_COOKIE_REPLY: u8 = 0x05;

/// Bytes of both encrypted payloads, padded with zeros to hide what they say (R-P2).
const PAYLOAD_LEN: usize = 256;
/// Bytes of mac1 and mac2.
const MAC_LEN: usize = 16;
/// Bytes of HELLO-A: type, version, Noise message, mac1, mac2.
pub const HELLO_A_LEN: usize = 2 + EPHEMERAL_LEN + STATIC_LEN + PAYLOAD_LEN + TAG_LEN + 2 * MAC_LEN;
/// Bytes of HELLO-B: type, version, receiver index, Noise message, mac1.
pub const HELLO_B_LEN: usize = 2 + 8 + EPHEMERAL_LEN + PAYLOAD_LEN + TAG_LEN + MAC_LEN;
/// Suites that one offer names at most.
pub const SUITES_MAX: usize = 8;

const _: () = {
    assert!(
        HELLO_B_LEN <= HELLO_A_LEN,
        "an answer never amplifies (R-H8)"
    );
    assert!(CERTIFICATE_LEN + 8 + 16 + 2 + 4 + 1 + SUITES_MAX + 1 + 32 <= PAYLOAD_LEN);
};

/// Feature bits of this version: none yet defined.
const FEATURES: u32 = 0;

/// What the initiator offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Suites it accepts, at most [`SUITES_MAX`]; more are left out.
    pub suites: Vec<Suite>,
    /// The index by which the responder shall address it: random and unique here.
    pub index: u64,
    /// Source port of the application's connection, zero if none.
    pub port: u16,
    /// A session id of which the responder shall say what it still has (R-R10).
    pub asked: Option<[u8; 32]>,
}

/// What the responder chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// One of the offered suites.
    pub suite: Suite,
    /// The index by which the initiator shall address it: random and unique here.
    pub index: u64,
    /// Port of the responder's side, zero if none.
    pub port: u16,
    /// What it has of the session that was asked about; ignored when nothing was asked.
    pub known: Option<Known>,
}

/// Why a handshake message is refused. All but the first three prove that the peer made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// Not the length, type, version or index of the message expected.
    #[error("not a message of this handshake")]
    Shape,
    /// The first MAC does not fit: not meant for this name.
    #[error("mac1 does not fit")]
    Mac1,
    /// Forged, for another overlay or pre-shared key, or under a static key of no use.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// Its payload is not of the format.
    #[error(transparent)]
    Payload(#[from] DecodeError),
    /// Its certificate is refused.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate is not of the peer meant, or not for the key that was used.
    #[error("certificate of another name or key")]
    WrongPeer,
    /// The chosen suite was not offered.
    #[error("suite was not offered")]
    Suite,
    /// The peer is this node.
    #[error("peer is this node itself")]
    Oneself,
    /// This attempt has ended already.
    #[error("attempt is over")]
    Over,
}

#[cfg(test)]
mod tests;
