//! Signatures checked once for all nodes of a run.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::cloak::tree::{Strict, Verify};
use crate::wire::tree::Key;

/// Right signatures that are remembered; the oldest goes.
const REMEMBERED: usize = 1 << 16;

/// A verifier that all nodes of a run share. What thousands of nodes check, such as each sign of life of the
/// root, is checked once: the runs are the same, in a fraction of the time.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Right>);

#[derive(Debug, Default)]
struct Right {
    known: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Verify for Memory {
    fn verify(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool {
        let mut hash = Sha256::new();
        hash.update(key);
        hash.update(signature);
        hash.update(message);
        let digest = hash.finalize().into();
        let mut right = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if right.known.contains(&digest) {
            return true;
        }
        if !Strict.verify(key, message, signature) {
            return false;
        }
        right.known.insert(digest);
        right.order.push_back(digest);
        if right.order.len() > REMEMBERED
            && let Some(oldest) = right.order.pop_front()
        {
            right.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    #[test]
    fn only_right_signatures_are_remembered() {
        let identity = Identity::from_seed(&[1; 32]);
        let key = *identity.name().as_bytes();
        let memory = Memory::default();
        let signature = identity.sign(b"yes");
        for _ in 0..2 {
            assert!(memory.verify(&key, b"yes", &signature));
            assert!(!memory.verify(&key, b"no", &signature));
        }
        let other = *Identity::from_seed(&[2; 32]).name().as_bytes();
        assert!(!memory.verify(&other, b"yes", &signature));
    }
}
