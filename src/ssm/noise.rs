//! Noise handshakes (R-H1, design 7) as sessions and links use them: our randomness, our curve, raw keys out.
//!
//! The patterns come from the crate `snow`. Ephemeral keys are drawn from the caller's generator, so
//! that a run repeats; a shared secret to which the peer contributed nothing is refused; and the
//! result is taken out at the end, since transport runs under keys of our own schedule.

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash};
use snow::{Builder, HandshakeState};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::name::certificate::StaticKey;
use crate::random::Random;

/// Bytes of an ephemeral key in a message.
pub(crate) const EPHEMERAL_LEN: usize = 32;
/// Bytes of an encrypted static key in a message.
pub(crate) const STATIC_LEN: usize = 32 + TAG_LEN;
/// Bytes that encryption adds to a payload.
pub(crate) const TAG_LEN: usize = 16;

/// A message does not open, or a key is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("message does not open")]
pub struct NoiseError;

impl From<snow::Error> for NoiseError {
    fn from(_: snow::Error) -> Self {
        Self
    }
}

/// The handshakes that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Between the ends of a session (R-H1).
    SessionIk,
    /// Between neighbours that may not know each other.
    LinkXx,
    /// From a neighbour to one it knows.
    LinkIk,
}

impl Pattern {
    const fn protocol(self) -> &'static str {
        match self {
            Self::SessionIk => "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
            Self::LinkXx => "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s",
            Self::LinkIk => "Noise_IKpsk1_25519_ChaChaPoly_BLAKE2s",
        }
    }

    /// Where in the pattern the pre-shared key is mixed in.
    const fn psk_place(self) -> u8 {
        match self {
            Self::LinkXx => 0,
            Self::LinkIk => 1,
            Self::SessionIk => 2,
        }
    }
}

/// What a handshake starts from.
pub(crate) struct Start<'a> {
    pub(crate) pattern: Pattern,
    pub(crate) prologue: &'a [u8],
    pub(crate) psk: &'a [u8; 32],
    pub(crate) local: &'a StaticKey,
}

impl Start<'_> {
    /// Begins as initiator; `remote` is the responder's static key, where the pattern needs it.
    pub(crate) fn initiator(
        &self,
        remote: Option<&[u8; 32]>,
        random: &mut Random,
    ) -> Result<Noise, NoiseError> {
        self.build(remote, random, true)
    }

    /// Begins as responder.
    pub(crate) fn responder(&self, random: &mut Random) -> Result<Noise, NoiseError> {
        self.build(None, random, false)
    }

    fn build(
        &self,
        remote: Option<&[u8; 32]>,
        random: &mut Random,
        initiator: bool,
    ) -> Result<Noise, NoiseError> {
        let params = self.pattern.protocol().parse().map_err(|_| NoiseError)?;
        let resolver = Resolver {
            seed: Zeroizing::new(random.bytes()),
        };
        let secret = self.local.secret();
        let mut builder = Builder::with_resolver(params, Box::new(resolver))
            .prologue(self.prologue)?
            .psk(self.pattern.psk_place(), self.psk)?
            .local_private_key(secret.as_slice())?;
        if let Some(remote) = remote {
            builder = builder.remote_public_key(remote)?;
        }
        let state = if initiator {
            builder.build_initiator()?
        } else {
            builder.build_responder()?
        };
        Ok(Noise(Box::new(state)))
    }
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Noise(Box<HandshakeState>);

impl Noise {
    /// Writes the next message around `payload`.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let mut out = vec![0; EPHEMERAL_LEN + STATIC_LEN + payload.len() + TAG_LEN];
        let len = self.0.write_message(payload, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    /// Opens the next message and gives its payload.
    ///
    /// A message of the session's pattern that does not open leaves the handshake as it was, since
    /// each of its messages sets the cipher's key anew (R-W7).
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, NoiseError> {
        let mut out = Zeroizing::new(vec![0; message.len()]);
        let len = self.0.read_message(message, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    /// The peer's static key, once it is known.
    pub(crate) fn remote_static(&self) -> Option<[u8; 32]> {
        self.0.get_remote_static()?.try_into().ok()
    }

    /// Takes the result of a handshake whose last message was written or read.
    pub(crate) fn finish(mut self) -> Result<Finished, NoiseError> {
        if !self.0.is_handshake_finished() {
            return Err(NoiseError);
        }
        let hash = self.0.get_handshake_hash().try_into();
        let (mut first, mut second) = self.0.dangerously_get_raw_split();
        let finished = Finished {
            hash: hash.map_err(|_| NoiseError)?,
            first: Zeroizing::new(first),
            second: Zeroizing::new(second),
        };
        first.zeroize();
        second.zeroize();
        Ok(finished)
    }
}

/// What a handshake leaves.
pub(crate) struct Finished {
    /// Hash of the transcript.
    pub(crate) hash: [u8; 32],
    /// First half of the split.
    pub(crate) first: Zeroizing<[u8; 32]>,
    /// Second half of the split.
    pub(crate) second: Zeroizing<[u8; 32]>,
}

/// Gives snow our randomness and curve; hash and cipher are its own.
struct Resolver {
    seed: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
        Some(Box::new(Generator(Random::from_seed(*self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(Curve::default())),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Our generator as snow wants it.
struct Generator(Random);

impl snow::types::Random for Generator {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        for piece in dest.chunks_mut(32) {
            let bytes = Zeroizing::new(self.0.bytes::<32>());
            for (to, from) in piece.iter_mut().zip(bytes.iter()) {
                *to = *from;
            }
        }
        Ok(())
    }
}

/// X25519 whose secret is erased and which refuses points of low order.
struct Curve {
    secret: StaticSecret,
    public: PublicKey,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            secret: StaticSecret::from([0; 32]),
            public: PublicKey::from([0; 32]),
        }
    }
}

impl Dh for Curve {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        let mut secret = Zeroizing::new([0; 32]);
        for (to, from) in secret.iter_mut().zip(privkey) {
            *to = *from;
        }
        self.secret = StaticSecret::from(*secret);
        self.public = PublicKey::from(&self.secret);
    }

    fn generate(&mut self, rng: &mut dyn snow::types::Random) -> Result<(), snow::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(secret.as_mut_slice())?;
        self.set(secret.as_slice());
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let (public, _) = pubkey.split_first_chunk::<32>().ok_or(snow::Error::Dh)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(*public));
        if !shared.was_contributory() {
            return Err(snow::Error::Dh);
        }
        let (out, _) = out.split_first_chunk_mut::<32>().ok_or(snow::Error::Dh)?;
        *out = *shared.as_bytes();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
