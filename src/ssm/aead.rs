//! An AEAD key of ring that is erased when dropped.

use std::ops::Deref;

use ring::aead::{Algorithm, LessSafeKey, UnboundKey};

/// Bytes of a key of both algorithms that are used.
const LEN: usize = 32;

/// A key that lies in one place until it is erased there.
pub(crate) struct ErasedKey(Box<LessSafeKey>);

impl ErasedKey {
    /// A key of 32 bytes.
    pub(crate) fn new(algorithm: &'static Algorithm, key: &[u8]) -> Self {
        Self(Box::new(ready(algorithm, key)))
    }
}

impl Deref for ErasedKey {
    type Target = LessSafeKey;

    fn deref(&self) -> &LessSafeKey {
        &self.0
    }
}

impl Drop for ErasedKey {
    fn drop(&mut self) {
        // ring does not erase its keys. It lies in place, so a key of zeros overwrites it.
        *self.0 = ready(self.0.algorithm(), &[0; LEN]);
        std::hint::black_box(&mut self.0);
    }
}

fn ready(algorithm: &'static Algorithm, key: &[u8]) -> LessSafeKey {
    #[expect(
        clippy::expect_used,
        reason = "fails only for a key of another length than 32 bytes"
    )]
    let key = UnboundKey::new(algorithm, key).expect("the algorithms take 32 bytes");
    LessSafeKey::new(key)
}
