//! A password that is never shown and is erased when dropped.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password from the file (R-Z3).
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps `text` as a secret.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text, for whoever checks log-ins.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares with what somebody sent, in a time that tells neither length nor content (R-Z7).
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let own = Sha256::digest(self.0.as_bytes());
        let theirs = Sha256::digest(candidate);
        own.as_slice().ct_eq(theirs.as_slice()).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_never_shown() {
        let secret = Secret::new("open sesame");
        assert!(secret.matches(b"open sesame"));
        assert!(!secret.matches(b"open sesam"));
        assert!(!secret.matches(b""));
        assert!(!format!("{secret:?}").contains("sesame"));
    }
}
