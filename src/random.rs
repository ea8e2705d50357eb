//! The pure rooms' only source of randomness: a generator handed to them, seeded by the operating
//! system in a node and by the seed of the run in the simulator.
//!
//! It keeps a seed and nothing else, and every draw replaces the seed first (fast key erasure). So whoever
//! takes the memory of a node learns nothing that was drawn before, such as the ephemeral keys of
//! handshakes.

use std::fmt;

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use zeroize::Zeroizing;

/// A cryptographic generator; equal seeds give equal sequences.
pub struct Random {
    seed: Zeroizing<[u8; 32]>,
}

impl Random {
    /// A generator that repeats with `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            seed: Zeroizing::new(seed),
        }
    }

    /// A generator for a numbered run of the simulator or of a test.
    pub fn from_number(number: u64) -> Self {
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(number.to_le_bytes()) {
            *to = from;
        }
        Self::from_seed(seed)
    }

    /// A new generator, independent of what this one gives later.
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.bytes())
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.draw(&mut out);
        out
    }

    /// A random 64-bit number.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A number below `bound`, which must not be zero; the bias is below 2^-32 for small bounds.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// Replaces the seed before anything is given out. The stream of the old seed, with its buffer, is
    /// erased at the end.
    fn draw(&mut self, out: &mut [u8]) {
        let mut stream = ChaCha20Rng::from_seed(*self.seed);
        stream.fill_bytes(self.seed.as_mut_slice());
        stream.fill_bytes(out);
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What whoever has the seed that is kept can compute.
    fn rewound(random: &Random) -> Vec<u8> {
        let mut stream = vec![0; 4_096];
        ChaCha20Rng::from_seed(*random.seed).fill_bytes(&mut stream);
        stream
    }

    #[test]
    fn what_is_kept_does_not_give_what_was_drawn() {
        let mut random = Random::from_number(7);
        let drawn: [u8; 32] = random.bytes();
        let number = random.number().to_le_bytes();
        let fork = random.fork();
        let stream = rewound(&random);
        let is_in = |secret: &[u8]| stream.windows(secret.len()).any(|part| part == secret);
        assert!(!is_in(&drawn) && !is_in(&number) && !is_in(fork.seed.as_slice()));
    }

    #[test]
    fn nothing_is_kept_but_a_seed_that_is_erased() {
        fn erased<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let random = Random::from_number(7);
        erased(&random.seed);
        erased(&ChaCha20Rng::from_seed(*random.seed));
        assert_eq!(size_of::<Random>(), 32);
    }

    #[test]
    fn equal_seeds_give_equal_sequences() {
        let (mut one, mut same) = (Random::from_number(7), Random::from_number(7));
        for _ in 0..3 {
            assert_eq!(one.bytes::<100>(), same.bytes());
            assert_eq!(one.fork().number(), same.fork().number());
        }
        assert_ne!(one.number(), Random::from_number(8).number());
    }
}
