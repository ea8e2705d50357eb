//! The key schedule: from the handshake's output to the keys of each pair of resume numbers
//! (R-H3, R-K2; RFC 5869 with SHA-256).
//!
//! ```text
//! root    = Expand(Extract(h, split_k1 || split_k2), "muses/1 root" || SHA-256(agreement))
//! C_A[0]  = Expand(root, "resume chain a")        C_A[k+1] = Expand(C_A[k], "next")       same for B
//! RK_dir  = Expand(root, "muses resume" || dir)
//! S(a,b)  = Extract(nonce_A(a) || nonce_B(b), C_A[a] || C_B[b])
//! keys    = Expand(S(a,b), "muses keys" || dir || suite || a || b || SessID)
//! ```

use std::fmt;

use hkdf::{Hkdf, HkdfExtract};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::name::Name;
use crate::random::Random;
use crate::ssm::VERSION;
use crate::ssm::key_set::Exhausted;
use crate::ssm::suite::{MATERIAL_LEN, Suite};

/// Which end of a session one is, by who began its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The initiator.
    A,
    /// The responder.
    B,
}

impl Side {
    /// The other end.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The direction byte of what this side sends.
    pub const fn direction(self) -> u8 {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// An epoch: the resume numbers of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The number of side A.
    pub a: u32,
    /// The number of side B.
    pub b: u32,
}

impl Pair {
    /// The pair that side `side` sees when its own number is `own` and the peer's is `peer`.
    pub const fn seen_by(side: Side, own: u32, peer: u32) -> Self {
        match side {
            Side::A => Self { a: own, b: peer },
            Side::B => Self { a: peer, b: own },
        }
    }

    /// The low bytes of both numbers, by which a packet hints at its pair (R-W1).
    pub const fn selector(self) -> [u8; 2] {
        let [.., a] = self.a.to_be_bytes();
        let [.., b] = self.b.to_be_bytes();
        [a, b]
    }
}

/// The random value that goes with a resume number. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResumeNonce(pub [u8; 16]);

impl ResumeNonce {
    /// A new one.
    pub fn generate(random: &mut Random) -> Self {
        Self(random.bytes())
    }
}

/// Thirty-two secret bytes, erased when dropped and never shown.
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Takes bytes that are already secret and uniform.
    pub const fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HKDF-Extract over the concatenation of `ikm`.
    pub fn extract(salt: &[u8], ikm: &[&[u8]]) -> Self {
        let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
        for part in ikm {
            extract.input_ikm(part);
        }
        let (mut secret, _) = extract.finalize();
        let mut out = Zeroizing::new([0; 32]);
        out.copy_from_slice(&secret);
        secret.as_mut_slice().zeroize();
        Self(out)
    }

    /// HKDF-Expand to one secret; `info` is concatenated.
    pub fn expand(&self, info: &[&[u8]]) -> Self {
        Self(self.expand_to(info))
    }

    /// HKDF-Expand to `N` bytes, at most 255 times 32; `info` is concatenated.
    pub fn expand_to<const N: usize>(&self, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
        const { assert!(N <= 255 * 32, "HKDF gives no more") };
        let mut out = Zeroizing::new([0; N]);
        let filled = Hkdf::<Sha256>::from_prk(self.as_bytes())
            .is_ok_and(|hkdf| hkdf.expand_multi_info(info, out.as_mut_slice()).is_ok());
        debug_assert!(filled, "the secret has the length of the hash");
        out
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Everything both sides must agree on to get the same keys (R-H3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The chosen cipher suite.
    pub suite: Suite,
    /// Name of the initiator.
    pub name_a: Name,
    /// Name of the responder.
    pub name_b: Name,
    /// The initiator's half of the session id.
    pub half_a: [u8; 16],
    /// The responder's half of the session id.
    pub half_b: [u8; 16],
}

impl Agreement {
    /// SessID = pSessID-a || pSessID-b (R-H5).
    pub fn sess_id(&self) -> [u8; 32] {
        let mut out = [0; 32];
        let (a, b) = out.split_at_mut(16);
        a.copy_from_slice(&self.half_a);
        b.copy_from_slice(&self.half_b);
        out
    }

    /// The root of all keys of the session, from what the Noise handshake gave.
    pub fn root(&self, hash: &[u8; 32], split: (&[u8; 32], &[u8; 32])) -> Secret {
        let mut labels = Sha256::new();
        labels.update([VERSION, self.suite.code()]);
        labels.update(self.name_a.as_bytes());
        labels.update(self.name_b.as_bytes());
        labels.update(self.half_a);
        labels.update(self.half_b);
        Secret::extract(hash, &[split.0, split.1])
            .expand(&[b"muses/1 root", labels.finalize().as_slice()])
    }

    /// What is bound into every packet without travelling: version, SessID and both names (R-W1).
    pub fn context(&self) -> [u8; 32] {
        let mut context = Sha256::new();
        context.update(b"muses/1 context");
        context.update([VERSION]);
        context.update(self.sess_id());
        context.update(self.name_a.as_bytes());
        context.update(self.name_b.as_bytes());
        context.finalize().into()
    }
}

/// One side's one-way chain, exactly at its resume number, with the nonce of that number.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) number: u32,
    pub(super) nonce: ResumeNonce,
    value: Secret,
}

impl Chain {
    /// The chain of `side` at number 0, whose nonce comes from the handshake.
    pub(super) fn start(root: &Secret, side: Side) -> Self {
        let (chain, nonce): (&[u8], &[u8]) = match side {
            Side::A => (b"resume chain a", b"resume nonce a"),
            Side::B => (b"resume chain b", b"resume nonce b"),
        };
        Self {
            number: 0,
            nonce: ResumeNonce(*root.expand_to(&[nonce])),
            value: root.expand(&[chain]),
        }
    }

    /// Goes to the next number and forgets the value of the old one.
    pub(super) fn step(&mut self, nonce: ResumeNonce) -> Result<(), Exhausted> {
        self.number = self.number.checked_add(1).ok_or(Exhausted)?;
        self.nonce = nonce;
        self.value = self.value.expand(&[b"next"]);
        Ok(())
    }

    /// A chain at an arbitrary number.
    #[cfg(test)]
    pub(super) fn at(number: u32, value: [u8; 32]) -> Self {
        Self {
            number,
            nonce: ResumeNonce([0; 16]),
            value: Secret::from_bytes(Zeroizing::new(value)),
        }
    }
}

/// The key that seals Re-Hellos sent by `side`.
pub(super) fn resume_key(root: &Secret, side: Side) -> Secret {
    root.expand(&[b"muses resume", &[side.direction()]])
}

/// Key material of both directions of a pair.
pub(super) struct PairMaterial {
    /// What A seals with.
    pub(super) from_a: Zeroizing<[u8; MATERIAL_LEN]>,
    /// What B seals with.
    pub(super) from_b: Zeroizing<[u8; MATERIAL_LEN]>,
}

/// Derives the material of the pair at which both chains stand.
pub(super) fn pair_material(
    a: &Chain,
    b: &Chain,
    suite: Suite,
    sess_id: &[u8; 32],
) -> PairMaterial {
    let mut salt = [0; 32];
    let (salt_a, salt_b) = salt.split_at_mut(16);
    salt_a.copy_from_slice(&a.nonce.0);
    salt_b.copy_from_slice(&b.nonce.0);
    let secret = Secret::extract(&salt, &[a.value.as_bytes(), b.value.as_bytes()]);
    let material = |sender: Side| {
        secret.expand_to(&[
            b"muses keys",
            &[sender.direction(), suite.code()],
            &a.number.to_be_bytes(),
            &b.number.to_be_bytes(),
            sess_id,
        ])
    };
    PairMaterial {
        from_a: material(Side::A),
        from_b: material(Side::B),
    }
}

#[cfg(test)]
mod tests;
