//! Tokens: who puts a record has asked for it before, by the same last link (R-D7).
//!
//! A token is a keyed hash over the minute, the neighbour by which the request came, the tag that asked,
//! and the record's name and sub-key. Nothing is stored for it. Only who gets answers at the place it names
//! gets one, so nobody can make storers work in another's name, or without being reachable.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::limits::DIRECTORY_TOKEN;
use crate::name::Name;
use crate::random::Random;
use crate::time::Time;
use crate::wire::directory::{Request, TOKEN_LEN};

/// Maker and judge of the tokens of one node.
pub(super) struct Tokens {
    key: [u8; 32],
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            key: random.bytes(),
        }
    }

    /// The token for who sent this request by way of `ingress`.
    pub(super) fn make(&self, ingress: Name, request: &Request<'_>, now: Time) -> [u8; TOKEN_LEN] {
        self.of(ingress, request, epoch(now))
    }

    /// Whether a token was made for such a request within the last [`DIRECTORY_TOKEN`], or twice that.
    pub(super) fn holds(
        &self,
        token: &[u8; TOKEN_LEN],
        ingress: Name,
        request: &Request<'_>,
        now: Time,
    ) -> bool {
        let last = epoch(now);
        [last, last.saturating_sub(1)].iter().any(|epoch| {
            let good = self.of(ingress, request, *epoch);
            bool::from(good.ct_eq(token))
        })
    }

    fn of(&self, ingress: Name, request: &Request<'_>, epoch: u64) -> [u8; TOKEN_LEN] {
        // Any length of key will do for HMAC, so there is always one.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return [0; TOKEN_LEN];
        };
        mac.update(&epoch.to_be_bytes());
        mac.update(ingress.as_bytes());
        mac.update(&request.from.0);
        mac.update(&request.name);
        mac.update(&[request.index]);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        whole.first_chunk().copied().unwrap_or_default()
    }
}

fn epoch(now: Time) -> u64 {
    now.since(Time::ZERO).as_secs() / DIRECTORY_TOKEN.as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;
    use crate::wire::directory::Ask;
    use crate::wire::location::Location;
    use crate::wire::tag::Tag;

    #[test]
    fn a_token_is_for_one_record_asker_way_and_minute() {
        let name = |seed: u8| Identity::from_seed(&[seed; 32]).name();
        let tokens = Tokens::new(&mut Random::from_number(1));
        let request = Request {
            by_tree: false,
            up: false,
            exact: false,
            hops: 1,
            watermark: 0,
            nonce: 0,
            name: [1; 32],
            index: 0,
            from: Tag([2; 8]),
            from_location: Location::Neighbour,
            ask: Ask::Get,
        };
        let now = Time::ZERO + DIRECTORY_TOKEN * 10;
        let token = tokens.make(name(1), &request, now);
        let holds =
            |ingress, request: &Request<'_>, now| tokens.holds(&token, ingress, request, now);
        assert!(holds(name(1), &request, now + DIRECTORY_TOKEN));
        assert!(!holds(name(1), &request, now + DIRECTORY_TOKEN * 2));
        assert!(!holds(name(2), &request, now));
        for change in [
            Request {
                name: [2; 32],
                ..request.clone()
            },
            Request {
                index: 1,
                ..request.clone()
            },
            Request {
                from: Tag([3; 8]),
                ..request.clone()
            },
        ] {
            assert!(!holds(name(1), &change, now));
        }
        let other = Tokens::new(&mut Random::from_number(2));
        assert!(!other.holds(&token, name(1), &request, now));
    }
}
