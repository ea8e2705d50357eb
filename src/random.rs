//! The pure rooms' only source of randomness: a generator handed to them, seeded by the operating
//! system in a node and by the seed of the run in the simulator.

use std::fmt;

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// A cryptographic generator; equal seeds give equal sequences.
pub struct Random(ChaCha20Rng);

impl Random {
    /// A generator that repeats with `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// A generator for a numbered run of the simulator or of a test.
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// A new generator, independent of what this one gives later.
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.bytes())
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }

    /// A random 64-bit number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which must not be zero; the bias is below 2^-32 for small bounds.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}
