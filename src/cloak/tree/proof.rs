//! Proofs: what the tree believes of others is signed, and each statement is checked once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::cloak::geometry::Geometry;
use crate::cloak::tree::{Misbehaviour, Range};
use crate::limits::TREE_CHECKED_MAX;
use crate::name::Name;
use crate::wire::tree::{Announce, Charter, Grant, Key, Pulse, Signature};

/// Checks signatures.
pub trait Verify: Send + Sync + fmt::Debug {
    /// Whether `signature` is that of `key` under `message`.
    fn verify(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// Checks every signature by the strict rule (R-I2). A simulation of many nodes may hand in one that
/// remembers what it saw.
#[derive(Clone, Copy, Debug)]
pub struct Strict;

impl Verify for Strict {
    fn verify(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool {
        Name::from_bytes(*key).is_ok_and(|name| name.verify(message, signature))
    }
}

/// Checks statements for one overlay and remembers which were right.
#[derive(Debug)]
pub(super) struct Proofs {
    overlay: [u8; 32],
    verifier: Arc<dyn Verify>,
    /// Nobody can look for two statements with the same mark.
    salt: [u8; 16],
    seen: VecDeque<u64>,
    limit: usize,
}

/// What a chain of grants proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proved {
    /// Slots and leases from the root.
    pub(super) path: Box<[(u32, u32)]>,
    /// Keys of the place.
    pub(super) range: Option<Range>,
}

impl Proofs {
    pub(super) const fn new(overlay: [u8; 32], verifier: Arc<dyn Verify>, salt: [u8; 16]) -> Self {
        Self {
            overlay,
            verifier,
            salt,
            seen: VecDeque::new(),
            limit: TREE_CHECKED_MAX.0,
        }
    }

    /// Makes room for so many neighbours.
    pub(super) fn resize(&mut self, neighbours: usize) {
        self.limit = TREE_CHECKED_MAX.0 + TREE_CHECKED_MAX.1.saturating_mul(neighbours);
    }

    pub(super) fn bytes(&self) -> usize {
        self.seen.capacity() * size_of::<u64>()
    }

    fn check(&mut self, key: &Key, message: &[u8], signature: &Signature) -> bool {
        let mut hash = Sha256::new();
        hash.update(self.salt);
        hash.update(key);
        hash.update(signature.0);
        hash.update(message);
        let digest: [u8; 32] = hash.finalize().into();
        let mark = first_eight(&digest);
        if self.seen.contains(&mark) {
            return true;
        }
        if !self.verifier.verify(key, message, &signature.0) {
            return false;
        }
        while self.seen.len() >= self.limit {
            self.seen.pop_front();
        }
        self.seen.push_back(mark);
        true
    }

    /// Whether a charter is its root's, and its predecessor, if it has one, names it.
    pub(super) fn charter(&mut self, charter: &Charter) -> bool {
        let signed = charter.signed(&self.overlay);
        self.check(&charter.root, &signed, &charter.signature)
            && charter.predecessor.as_ref().is_none_or(|before| {
                let signed = before.signed(&self.overlay);
                before.tree == charter.tree
                    && before.term < charter.term
                    && before.deputies.contains(&charter.root)
                    && self.check(&before.root, &signed, &before.signature)
            })
    }

    /// Whether a pulse is the root's. It is not remembered: each is new.
    pub(super) fn pulse(&self, root: &Key, tree: u64, term: u64, pulse: &Pulse) -> bool {
        let signed = Pulse::signed(&self.overlay, tree, term, pulse.seq);
        self.verifier.verify(root, &signed, &pulse.signature.0)
    }

    /// Whether a grant is its parent's.
    pub(super) fn grant(&mut self, parent: &Key, grant: &Grant) -> bool {
        let signed = grant.signed(&self.overlay);
        self.check(parent, &signed, &grant.signature)
    }

    /// What the chain of an announcement by `sender` proves.
    pub(super) fn chain(
        &mut self,
        geometry: &Geometry,
        announce: &Announce,
        sender: &Key,
    ) -> Result<Proved, Misbehaviour> {
        let chain = &announce.chain;
        let last = chain.last().map_or(&announce.root, |grant| &grant.child);
        if last != sender || !is_simple(&announce.root, chain) {
            return Err(Misbehaviour::Forged);
        }
        let proved = prove(chain);
        if !geometry.holds(&proved.path) {
            return Err(Misbehaviour::Forged);
        }
        let mut parent = &announce.root;
        for grant in chain {
            if !self.grant(parent, grant) {
                return Err(Misbehaviour::Forged);
            }
            parent = &grant.child;
        }
        Ok(proved)
    }
}

/// Whether a chain names nobody twice, but for a root that hangs on its own seat, and only its first
/// grant is one on the seat.
fn is_simple(root: &Key, chain: &[Arc<Grant>]) -> bool {
    chain.iter().enumerate().all(|(at, grant)| {
        let above = chain.iter().take(at);
        grant.seat == (at == 0)
            && (at == 0 || grant.child != *root)
            && above.clone().all(|other| other.child != grant.child)
    })
}

/// Path and keys of a chain that was checked, or is one's own.
pub(super) fn prove(chain: &[Arc<Grant>]) -> Proved {
    let range = chain
        .iter()
        .try_fold(Range::ALL, |range, grant| range.part(grant.part));
    Proved {
        path: chain
            .iter()
            .map(|grant| (grant.slot, grant.lease))
            .collect(),
        range,
    }
}

/// A short mark of a chain, by which neighbours notice that an announcement was lost.
pub(super) fn digest(charter: &Charter, chain: &[Arc<Grant>]) -> u32 {
    let mut hash = Sha256::new();
    hash.update(charter.tree.to_be_bytes());
    hash.update(charter.term.to_be_bytes());
    hash.update(charter.root);
    for grant in chain {
        hash.update(grant.signature.0);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}

fn first_eight(digest: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
