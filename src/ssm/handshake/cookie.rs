//! Cookies: a loaded responder makes the initiator show that it receives at the location it claims,
//! before it spends a public-key operation (R-H7, R-H8).
//!
//! The cookie reply is `type | version | mac1 of the HELLO-A | nonce(24) | sealed cookie(16 + 16)`, less
//! than half of a HELLO-A. The initiator opens it with the responder's name and stamps mac2 onto the
//! next HELLO-A.

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::name::Name;
use crate::random::Random;
use crate::ssm::VERSION;
use crate::ssm::handshake::message::{mac, named_key};
use crate::ssm::handshake::{HELLO_A_LEN, MAC_LEN, TYPE_COOKIE_REPLY};
use crate::ssm::schedule::Secret;
use crate::ssm::suite::{MATERIAL_LEN, OpenKey, SealKey, Suite};
use crate::time::Time;
use crate::wire::codec::Write;

/// Bytes of a cookie reply.
pub const COOKIE_REPLY_LEN: usize = 2 + MAC_LEN + NONCE_LEN + MAC_LEN + TAG_LEN;
/// How long a secret makes cookies; it is accepted once as long again (R-H7).
const SECRET_LIFE: Duration = Duration::from_secs(120);

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = Suite::Chacha20Poly1305.tag_len();

const _: () = assert!(2 * COOKIE_REPLY_LEN <= HELLO_A_LEN, "at most half (R-H8)");

/// The secrets behind a responder's cookies.
pub struct Cookies {
    current: Zeroizing<[u8; 32]>,
    previous: Option<Zeroizing<[u8; 32]>>,
    renew_at: Time,
}

impl Cookies {
    /// New secrets.
    pub fn new(random: &mut Random, now: Time) -> Self {
        Self {
            current: Zeroizing::new(random.bytes()),
            previous: None,
            renew_at: now + SECRET_LIFE,
        }
    }

    /// The cookie reply to a HELLO-A whose mac1 fits; `None` when it has not the length of one.
    ///
    /// `origin` is what the cookie is bound to: ingress link and claimed return location.
    pub fn reply(
        &mut self,
        me: &Name,
        hello_a: &[u8],
        origin: &[u8],
        random: &mut Random,
        now: Time,
    ) -> Option<Vec<u8>> {
        self.refresh(random, now);
        let (_, mac1, _) = split(hello_a)?;
        let nonce = random.bytes::<NONCE_LEN>();
        let mut cookie = mac(self.current.as_slice(), origin);
        let mut tag = [0; TAG_LEN];
        let key = SealKey::new(Suite::Chacha20Poly1305, &reply_key(me, &nonce));
        key.seal(0, mac1, &mut cookie, &mut tag);
        let mut out = Vec::with_capacity(COOKIE_REPLY_LEN);
        out.put_u8(TYPE_COOKIE_REPLY);
        out.put_u8(VERSION);
        out.put(mac1);
        out.put(&nonce);
        out.put(&cookie);
        out.put(&tag);
        Some(out)
    }

    /// Whether mac2 of a HELLO-A was made with a cookie for `origin` that is still good.
    pub fn accept(
        &mut self,
        hello_a: &[u8],
        origin: &[u8],
        random: &mut Random,
        now: Time,
    ) -> bool {
        self.refresh(random, now);
        let Some((covered, _, mac2)) = split(hello_a) else {
            return false;
        };
        let fits = |secret: &[u8; 32]| {
            let cookie = Zeroizing::new(mac(secret, origin));
            bool::from(mac(cookie.as_slice(), covered).ct_eq(mac2))
        };
        fits(&self.current) || self.previous.as_deref().is_some_and(fits)
    }

    /// Changes secrets whose time is over.
    fn refresh(&mut self, random: &mut Random, now: Time) {
        if now < self.renew_at {
            return;
        }
        let fresh = Zeroizing::new(random.bytes());
        let old = std::mem::replace(&mut self.current, fresh);
        // A secret from long ago, after a quiet time, is not kept for as long again.
        self.previous = (now.since(self.renew_at) < SECRET_LIFE).then_some(old);
        self.renew_at = now + SECRET_LIFE;
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(..)")
    }
}

/// A cookie that a responder gave, to be shown with every HELLO-A to it until it is too old.
pub struct Cookie(Zeroizing<[u8; MAC_LEN]>);

impl Cookie {
    /// Opens a cookie reply from `responder` to `hello_a`; `None` when it is not for it.
    pub fn open(hello_a: &[u8], cookie_reply: &[u8], responder: &Name) -> Option<Self> {
        if cookie_reply.len() != COOKIE_REPLY_LEN {
            return None;
        }
        let (_, mac1, _) = split(hello_a)?;
        let ([kind, version], rest) = cookie_reply.split_first_chunk::<2>()?;
        let (echo, rest) = rest.split_first_chunk::<MAC_LEN>()?;
        if (*kind, *version, echo) != (TYPE_COOKIE_REPLY, VERSION, mac1) {
            return None;
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let key = OpenKey::new(Suite::Chacha20Poly1305, &reply_key(responder, nonce));
        let opened = key.open(0, mac1, &mut sealed)?;
        (&*opened).try_into().ok().map(Zeroizing::new).map(Self)
    }

    /// Stamps mac2 onto a HELLO-A; false and no change when it has not the length of one.
    pub fn stamp(&self, hello_a: &mut [u8]) -> bool {
        if split(hello_a).is_none() {
            return false;
        }
        let Some((covered, mac2)) = hello_a.split_last_chunk_mut::<MAC_LEN>() else {
            return false;
        };
        *mac2 = mac(self.0.as_slice(), covered);
        true
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// What mac2 covers, mac1, and mac2 of a HELLO-A.
fn split(hello_a: &[u8]) -> Option<(&[u8], &[u8; MAC_LEN], &[u8; MAC_LEN])> {
    if hello_a.len() != HELLO_A_LEN {
        return None;
    }
    let (covered, mac2) = hello_a.split_last_chunk::<MAC_LEN>()?;
    let (_, mac1) = covered.split_last_chunk::<MAC_LEN>()?;
    Some((covered, mac1, mac2))
}

/// The key of one cookie reply of `responder`.
fn reply_key(responder: &Name, nonce: &[u8; NONCE_LEN]) -> Zeroizing<[u8; MATERIAL_LEN]> {
    let secret = Secret::from_bytes(Zeroizing::new(named_key(b"cookie", responder)));
    let key = secret.expand(&[b"muses cookie", nonce]);
    let mut out = Zeroizing::new([0; MATERIAL_LEN]);
    out[..32].copy_from_slice(key.as_bytes());
    out
}
