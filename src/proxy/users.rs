//! Who may use the front ends, when not everyone may (R-F6).

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Names and secrets of those who may use the front ends.
///
/// Only a digest over name and secret together is kept. A login is compared with all of them in
/// constant time, so that neither the answer nor its time tells which part was wrong.
#[derive(Clone)]
pub struct Users {
    digests: Vec<[u8; 32]>,
}

impl Users {
    /// Takes names with their secrets. Without any, nobody gets in.
    pub fn new<I, N, S>(users: I) -> Self
    where
        I: IntoIterator<Item = (N, S)>,
        N: AsRef<[u8]>,
        S: AsRef<[u8]>,
    {
        Self {
            digests: users
                .into_iter()
                .map(|(name, secret)| digest(name.as_ref(), secret.as_ref()))
                .collect(),
        }
    }

    /// Whether `name` may enter with `secret`.
    pub fn admit(&self, name: &[u8], secret: &[u8]) -> bool {
        let given = digest(name, secret);
        self.digests
            .iter()
            .fold(Choice::from(0), |found, known| {
                found | known.as_slice().ct_eq(given.as_slice())
            })
            .into()
    }
}

fn digest(name: &[u8], secret: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hash.update(u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(name);
    hash.update(secret);
    hash.finalize().into()
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.digests.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_with_its_own_secret_enters() {
        let users = Users::new([("ann", "one"), ("bob", "two")]);
        assert!(users.admit(b"ann", b"one"));
        assert!(users.admit(b"bob", b"two"));
        for (name, secret) in [
            ("ann", "two"),
            ("bob", "one"),
            ("annb", "one"),
            ("an", "none"),
            ("", ""),
            ("ann", ""),
            ("ann", "one "),
            ("Ann", "one"),
        ] {
            assert!(
                !users.admit(name.as_bytes(), secret.as_bytes()),
                "{name} {secret}"
            );
        }
    }

    #[test]
    fn without_users_nobody_enters() {
        let none: [(&str, &str); 0] = [];
        assert!(!Users::new(none).admit(b"", b""));
    }

    #[test]
    fn no_secret_is_printed() {
        let shown = format!("{:?}", Users::new([("ann", "one")]));
        assert_eq!(shown, "Users(1)");
    }
}
