//! One side's whole key state: both chains, the keys in use and the keys to come (R-K2, R-K6).
//!
//! It holds each chain exactly at its number and at most two key sets: of the pair in use, `live`, and
//! of the pair at which the chains stand, `next`. When to renew, erase and commit is the resume
//! exchange's to say; here it is made sure that numbers only rise, that a key set comes into being at
//! most once per pair, and that nothing derives an erased one.

use std::fmt;

use zeroize::Zeroizing;

use crate::random::Random;
use crate::ssm::VERSION;
use crate::ssm::established::Established;
use crate::ssm::key_set::{Exhausted, KeySet};
use crate::ssm::schedule::{Chain, Pair, ResumeNonce, Secret, Side, pair_material, resume_key};
use crate::ssm::suite::{MATERIAL_LEN, OpenKey, SealKey, Suite};

/// Longest sealed Re-Hello that is opened, in bytes.
pub const RESUME_SEALED_MAX: usize = 1024;
/// Bytes that sealing adds to a Re-Hello.
pub const RESUME_OVERHEAD: usize = RESUME_NONCE_LEN + RESUME_TAG_LEN;

const RESUME_NONCE_LEN: usize = 24;
const RESUME_TAG_LEN: usize = Suite::Chacha20Poly1305.tag_len();

/// The key state of one side of a session.
pub struct Epochs {
    side: Side,
    suite: Suite,
    sess_id: [u8; 32],
    context: [u8; 32],
    own: Chain,
    peer: Chain,
    live: Option<KeySet>,
    /// Keys of [`Self::next`] unless that pair is live.
    ahead: Option<KeySet>,
    resume_own: Secret,
    resume_peer: Secret,
}

impl Epochs {
    /// The state after a handshake: pair (0, 0) is live and next.
    pub fn new(established: &Established) -> Self {
        let side = established.side;
        let root = &established.root;
        let mut epochs = Self {
            side,
            suite: established.suite(),
            sess_id: established.sess_id(),
            context: established.agreement.context(),
            own: Chain::start(root, side),
            peer: Chain::start(root, side.other()),
            live: None,
            ahead: None,
            resume_own: resume_key(root, side),
            resume_peer: resume_key(root, side.other()),
        };
        epochs.live = Some(epochs.derive());
        epochs
    }

    /// My resume number and its nonce.
    pub const fn own(&self) -> (u32, ResumeNonce) {
        (self.own.number, self.own.nonce)
    }

    /// The peer's highest resume number that was accepted, and its nonce.
    pub const fn peer(&self) -> (u32, ResumeNonce) {
        (self.peer.number, self.peer.nonce)
    }

    /// The pair whose keys carry traffic; `None` while suspended.
    pub fn live(&self) -> Option<Pair> {
        self.live.as_ref().map(KeySet::pair)
    }

    /// The pair at which both chains stand; equal to `live` when nothing is going on.
    pub const fn next(&self) -> Pair {
        Pair::seen_by(self.side, self.own.number, self.peer.number)
    }

    /// Raises my number by one: steps my chain, forgets its old value, replaces the keys of `next`
    /// unless they are live.
    pub fn renew_own(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted> {
        self.own.step(nonce)?;
        self.ahead = Some(self.derive());
        Ok(())
    }

    /// Raises the peer's number by one, as the peer said with its nonce.
    pub fn renew_peer(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted> {
        self.peer.step(nonce)?;
        self.ahead = Some(self.derive());
        Ok(())
    }

    /// Erases the live keys: suspension.
    ///
    /// Renew first: keys of a pair at which the chains still stand are gone for this program, but
    /// not for a thief of the chains.
    pub fn erase_live(&mut self) {
        self.live = None;
    }

    /// Makes `next` live and erases the old live keys; does nothing when `next` is live already.
    pub fn commit(&mut self) {
        if let Some(keys) = self.ahead.take() {
            self.live = Some(keys);
        }
    }

    /// The keys that carry traffic.
    pub const fn live_keys(&mut self) -> Option<&mut KeySet> {
        self.live.as_mut()
    }

    /// The keys of `next`; `None` while `next` is live.
    pub const fn next_keys(&mut self) -> Option<&mut KeySet> {
        self.ahead.as_mut()
    }

    /// Seals a Re-Hello for the peer that chose `receiver_index`: nonce || ciphertext || tag.
    ///
    /// `plain` is at most [`RESUME_SEALED_MAX`] less [`RESUME_OVERHEAD`] bytes, else the peer drops it.
    pub fn seal_resume(&self, random: &mut Random, receiver_index: u64, plain: &[u8]) -> Vec<u8> {
        debug_assert!(
            plain.len() + RESUME_OVERHEAD <= RESUME_SEALED_MAX,
            "too long to be opened"
        );
        let nonce = random.bytes::<RESUME_NONCE_LEN>();
        let key = SealKey::new(
            Suite::Chacha20Poly1305,
            &message_key(&self.resume_own, &nonce),
        );
        let mut out = Vec::with_capacity(plain.len() + RESUME_OVERHEAD);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let mut tag = [0; RESUME_TAG_LEN];
        if let Some(body) = out.get_mut(RESUME_NONCE_LEN..) {
            key.seal(
                0,
                &self.resume_aad(self.side, receiver_index),
                body,
                &mut tag,
            );
        }
        out.extend_from_slice(&tag);
        out
    }

    /// Opens a Re-Hello that came for my `receiver_index`.
    pub fn open_resume(&self, receiver_index: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() > RESUME_SEALED_MAX {
            return None;
        }
        let (nonce, body) = sealed.split_first_chunk::<RESUME_NONCE_LEN>()?;
        let key = OpenKey::new(
            Suite::Chacha20Poly1305,
            &message_key(&self.resume_peer, nonce),
        );
        let mut body = body.to_vec();
        let aad = self.resume_aad(self.side.other(), receiver_index);
        let len = key.open(0, &aad, &mut body)?.len();
        body.truncate(len);
        Some(body)
    }

    /// Context digest || direction || version || receiver index.
    fn resume_aad(&self, sender: Side, receiver_index: u64) -> [u8; 42] {
        let mut out = [0; 42];
        out[..32].copy_from_slice(&self.context);
        out[32] = sender.direction();
        out[33] = VERSION;
        out[34..].copy_from_slice(&receiver_index.to_be_bytes());
        out
    }

    /// The keys of `next`. Called once per pair: after each step of a chain, and at the start.
    fn derive(&self) -> KeySet {
        let (a, b) = match self.side {
            Side::A => (&self.own, &self.peer),
            Side::B => (&self.peer, &self.own),
        };
        let material = pair_material(a, b, self.suite, &self.sess_id);
        KeySet::new(self.next(), self.side, self.suite, self.context, &material)
    }
}

impl fmt::Debug for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epochs")
            .field("side", &self.side)
            .field("suite", &self.suite)
            .field("live", &self.live())
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}

/// The key of one Re-Hello: used once, so that the cipher's nonce can be zero.
fn message_key(resume: &Secret, nonce: &[u8; RESUME_NONCE_LEN]) -> Zeroizing<[u8; MATERIAL_LEN]> {
    let key = resume.expand(&[b"muses h", nonce]);
    let mut out = Zeroizing::new([0; MATERIAL_LEN]);
    out[..32].copy_from_slice(key.as_bytes());
    out
}

#[cfg(test)]
mod tests;
