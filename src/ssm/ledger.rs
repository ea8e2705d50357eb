//! The nonce ledger: proves, where it is asked to, that no packet number is used twice under a key and
//! that nothing is sealed after a key was erased (R-W2, R-W4, invariant I3).
//!
//! It exists in builds with debug assertions only, and records only between [`begin`] and [`end`], for
//! the thread that called them; elsewhere it costs nothing. The rule is stricter than needed: a number
//! that is used twice is a breach even when both inputs are the same.

#[cfg(debug_assertions)]
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use thiserror::Error;

use crate::ssm::suite::{MATERIAL_LEN, Suite};

/// How the rule was broken. Keys are told by a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Breach {
    /// A packet number sealed twice under one key.
    #[error("packet number {number} was used twice under key {key:016x}")]
    Reused {
        /// The key.
        key: u64,
        /// The packet number.
        number: u64,
    },
    /// A key that was erased came into being again and sealed.
    #[error("key {key:016x} sealed after it was erased")]
    Erased {
        /// The key.
        key: u64,
    },
    /// Two sealers hold the same key.
    #[error("key {key:016x} seals in two places")]
    Twofold {
        /// The key.
        key: u64,
    },
}

/// Begins a new ledger for this thread; an older one is forgotten.
pub fn begin() {
    #[cfg(debug_assertions)]
    LEDGER.with_borrow_mut(|ledger| {
        ledger.generation += 1;
        ledger.running = true;
        ledger.seals = 0;
        ledger.breach = None;
        ledger.living.clear();
        ledger.erased.clear();
    });
}

/// Ends the ledger of this thread: tells how many seals it saw, or the first breach. Zero where none
/// was begun, and in builds without debug assertions.
pub fn end() -> Result<u64, Breach> {
    #[cfg(debug_assertions)]
    {
        LEDGER.with_borrow_mut(|ledger| {
            ledger.running = false;
            ledger.breach.take().map_or(Ok(ledger.seals), Err)
        })
    }
    #[cfg(not(debug_assertions))]
    {
        Ok(0)
    }
}

#[cfg(debug_assertions)]
#[derive(Default)]
struct Ledger {
    /// Counts the ledgers of this thread: a key of an earlier one is not ours to judge.
    generation: u64,
    running: bool,
    seals: u64,
    breach: Option<Breach>,
    /// Numbers used under each key that a sealer holds.
    living: BTreeMap<u64, BTreeSet<u64>>,
    /// Keys that were erased after they had sealed.
    erased: BTreeSet<u64>,
}

#[cfg(debug_assertions)]
thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

#[cfg(debug_assertions)]
impl Ledger {
    fn breach(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }
}

/// Lives and dies with a sealing key, and tells the ledger what the key does.
pub(super) struct Witness {
    /// Fingerprint of the key and the ledger it belongs to; `None` while no ledger runs.
    #[cfg(debug_assertions)]
    key: Option<(u64, u64)>,
}

impl Witness {
    /// A sealer holds this key from here on.
    pub(super) fn new(suite: Suite, material: &[u8; MATERIAL_LEN]) -> Self {
        #[cfg(not(debug_assertions))]
        {
            let _ = (suite, material);
            Self {}
        }
        #[cfg(debug_assertions)]
        LEDGER.with_borrow_mut(|ledger| {
            if !ledger.running {
                return Self { key: None };
            }
            let key = fingerprint(suite, material);
            if ledger.living.insert(key, BTreeSet::new()).is_some() {
                ledger.breach(Breach::Twofold { key });
            }
            Self {
                key: Some((key, ledger.generation)),
            }
        })
    }

    /// The key sealed something under `number`.
    pub(super) fn sealed(&self, number: u64) {
        #[cfg(not(debug_assertions))]
        let _ = number;
        #[cfg(debug_assertions)]
        self.tell(|ledger, key| {
            ledger.seals += 1;
            if ledger.erased.contains(&key) {
                ledger.breach(Breach::Erased { key });
            }
            if !ledger.living.entry(key).or_default().insert(number) {
                ledger.breach(Breach::Reused { key, number });
            }
        });
    }

    #[cfg(debug_assertions)]
    fn tell(&self, what: impl FnOnce(&mut Ledger, u64)) {
        let Some((key, generation)) = self.key else {
            return;
        };
        LEDGER.with_borrow_mut(|ledger| {
            if ledger.running && ledger.generation == generation {
                what(ledger, key);
            }
        });
    }
}

#[cfg(debug_assertions)]
impl Drop for Witness {
    fn drop(&mut self) {
        self.tell(|ledger, key| {
            if ledger
                .living
                .remove(&key)
                .is_some_and(|used| !used.is_empty())
            {
                ledger.erased.insert(key);
            }
        });
    }
}

/// What tells keys apart without showing them.
#[cfg(debug_assertions)]
fn fingerprint(suite: Suite, material: &[u8; MATERIAL_LEN]) -> u64 {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update([suite.code()]);
    hash.update(material);
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssm::suite::SealKey;

    fn key(seed: u8) -> SealKey {
        SealKey::new(Suite::Chacha20Poly1305, &[seed; MATERIAL_LEN])
    }

    fn seal(key: &SealKey, number: u64) {
        key.seal(number, b"", &mut [1; 3], &mut [0; 16]);
    }

    #[test]
    fn a_number_used_twice_is_told() {
        begin();
        let (one, other) = (key(1), key(2));
        seal(&one, 7);
        seal(&one, 8);
        seal(&other, 7);
        assert_eq!(end(), Ok(3));
        begin();
        let one = key(1);
        seal(&one, 7);
        seal(&one, 7);
        assert!(matches!(end(), Err(Breach::Reused { number: 7, .. })));
    }

    #[test]
    fn a_key_that_comes_back_is_told() {
        begin();
        seal(&key(1), 0);
        let again = key(1);
        seal(&again, 1);
        assert!(matches!(end(), Err(Breach::Erased { .. })));
        begin();
        let _two = [key(1), key(1)];
        assert!(matches!(end(), Err(Breach::Twofold { .. })));
    }

    #[test]
    fn a_key_of_another_ledger_is_not_judged() {
        let before = key(1);
        begin();
        seal(&before, 0);
        let inside = key(1);
        begin();
        seal(&inside, 0);
        drop(inside);
        assert_eq!(end(), Ok(0));
    }
}
