//! What stands before a handshake's public-key work: how often a neighbour may cause it, and the cookie
//! that a loaded node asks for first (R-H6 to R-H8).

use crate::cloak::neighbours::Link as LinkNumber;
use crate::limits::HANDSHAKES_UNDER_LOAD;
use crate::name::Name;
use crate::random::Random;
use crate::ssm::handshake::Cookies;
use crate::time::Time;
use crate::wire::codec::Write;
use crate::wire::link::Route;

/// Tokens for what costs much, such as handshakes of one neighbour (R-H7).
#[derive(Debug, Default)]
pub(super) struct Bucket {
    spent: f64,
    at: Time,
}

impl Bucket {
    /// Takes a token, if there is one: `rate` come back per second, at most `burst`.
    pub(super) fn pass(&mut self, (rate, burst): (u32, u32), now: Time) -> bool {
        self.refill(rate, now);
        let pass = self.spent + 1.0 <= f64::from(burst);
        if pass {
            self.spent += 1.0;
        }
        pass
    }

    fn refill(&mut self, rate: u32, now: Time) {
        let back = now.since(self.at).as_secs_f64() * f64::from(rate);
        self.spent = (self.spent - back).max(0.0);
        self.at = now;
    }
}

/// Counts arrivals and tells when they come faster than they should, for as long as they do.
#[derive(Debug, Default)]
pub(super) struct Meter(Bucket);

impl Meter {
    /// Counts one arrival; whether there are more than `rate` per second, `burst` at once apart.
    pub(super) fn hit(&mut self, (rate, burst): (u32, u32), now: Time) -> bool {
        self.0.refill(rate, now);
        // Forgotten within a second once the flood ends.
        self.0.spent = (self.0.spent + 1.0).min(f64::from(burst + rate));
        self.0.spent > f64::from(burst)
    }
}

/// Counters of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateStats {
    /// Hellos that cost public-key work.
    pub hellos_read: u64,
    /// Cookies sent instead of it.
    pub cookies_sent: u64,
    /// Hellos of a neighbour that had none of its tokens left.
    pub over_rate: u64,
}

/// The gate of one node.
#[derive(Debug)]
pub(super) struct Gate {
    me: Name,
    cookies: Cookies,
    arrivals: Meter,
    pub(super) stats: GateStats,
}

/// What the gate says to a Hello.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Read it.
    Read,
    /// Answer with this cookie instead.
    Cookie(Vec<u8>),
}

impl Gate {
    pub(super) fn new(me: Name, random: &mut Random) -> Self {
        Self {
            me,
            cookies: Cookies::new(random, Time::ZERO),
            arrivals: Meter::default(),
            stats: GateStats::default(),
        }
    }

    /// Judges a Hello whose first MAC fits. `loaded` tells of other signs of load than the rate of
    /// all Hellos; the cookie is bound to link and return location.
    pub(super) fn judge(
        &mut self,
        hello: &[u8],
        (link, route): (LinkNumber, &Route),
        loaded: bool,
        random: &mut Random,
        now: Time,
    ) -> Answer {
        let rate = (HANDSHAKES_UNDER_LOAD, HANDSHAKES_UNDER_LOAD);
        if !self.arrivals.hit(rate, now) && !loaded {
            return Answer::Read;
        }
        let origin = origin(link, route);
        if self.cookies.accept(hello, &origin, random, now) {
            return Answer::Read;
        }
        match self.cookies.reply(&self.me, hello, &origin, random, now) {
            Some(cookie) => {
                self.stats.cookies_sent += 1;
                Answer::Cookie(cookie)
            }
            None => Answer::Read,
        }
    }
}

/// Ingress link ‖ tag ‖ location that the sender claims.
fn origin(link: LinkNumber, route: &Route) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.put_u64(link);
    out.put(&route.from.0);
    route.from_location.encode(&mut out);
    out
}
