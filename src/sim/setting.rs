//! How the nodes of a run are set up, and what a run gives back.

use std::fmt;
use std::time::Duration;

use crate::name::Identity;
use crate::name::certificate::{LocalParty, OverlayId, PeerKeys, StaticKey, Terms};
use crate::random::Random;
use crate::session::{KeyUse, Options};
use crate::srm::acks::AckPolicy;
use crate::srm::budget::Budget;
use crate::ssm::established::Established;
use crate::ssm::handshake::{Choice, Initiator, Offer, Responder};
use crate::ssm::suite::Suite;
use crate::time::Calendar;

const CALENDAR: Calendar = Calendar(1_000_000);

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hash of every message and every event with its time.
    pub trace: [u8; 32],
    /// Channels that were opened, counted at both ends.
    pub channels: usize,
    /// Directions that ended cleanly with every byte.
    pub ended: usize,
    /// Times a session was suspended.
    pub suspensions: usize,
    /// Times a suspended session went on.
    pub resumes: usize,
    /// Nodes that lost their state.
    pub restarts: usize,
}

/// A run that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Seed, time and rule.
    pub what: String,
    /// The last messages as a mermaid sequence diagram.
    pub diagram: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// How one node of a run is set up.
pub(super) struct Setting {
    memory: u64,
    acks: AckPolicy,
    key_use: KeyUse,
    pub(super) packet_max: usize,
}

impl Setting {
    /// The setting of one node of the run of `seed`: memory and keys are scarce in some.
    pub(super) fn of(seed: u64, random: &mut Random) -> Self {
        let memory = match seed % 5 {
            0 => 20_000 + random.below(40_000),
            1 => 200_000,
            _ => 8 << 20,
        };
        let acks = match random.below(3) {
            0 => AckPolicy {
                every: 1,
                delay: Duration::from_millis(1),
            },
            _ => AckPolicy {
                every: 16,
                delay: Duration::from_millis(5),
            },
        };
        let key_use = if seed.is_multiple_of(3) {
            let packets = 10 + random.below(150);
            KeyUse {
                packets,
                // Used up before the next pair is agreed, in some runs.
                packets_max: packets + 1 + random.below(400),
                bytes: 5_000 + random.below(200_000),
                age: Duration::from_millis(500 + random.below(5_000)),
            }
        } else {
            KeyUse::default()
        };
        let packet_max = [1_200, 3_000, 16_000];
        let pick = usize::try_from(random.below(3)).unwrap_or(0);
        Self {
            memory,
            acks,
            key_use,
            packet_max: packet_max[pick],
        }
    }

    /// Options with a budget of their own.
    pub(super) fn options(&self) -> Options {
        Options {
            acks: self.acks,
            budget: Budget::new(self.memory),
            max_suspend: None,
            max_j: None,
            key_use: self.key_use,
        }
    }

    pub(super) const fn suite(seed: u64) -> Suite {
        match seed % 8 {
            0 => Suite::PaperAes128CtrHmacSha1,
            1 => Suite::Aes256Gcm,
            _ => Suite::Chacha20Poly1305,
        }
    }
}

/// A node's identity, in its `boot`th life.
pub(super) fn party(seed: u8, boot: u8) -> LocalParty {
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([seed ^ 0x55; 32]);
    let identity = Identity::from_seed(&[seed; 32]);
    LocalParty::new(identity, key, terms, [boot; 16], OverlayId::of("sim"))
}

/// Both sides of a session, from a handshake of two nodes.
pub(super) fn established(
    [a, b]: [&LocalParty; 2],
    suite: Suite,
    random: &mut Random,
) -> Option<[Established; 2]> {
    let keys = PeerKeys {
        name: b.name(),
        static_public: b.static_key().public(),
    };
    let offer = Offer {
        suites: vec![suite],
        index: random.number(),
        port: 0,
        asked: None,
    };
    let (mut initiator, hello) = Initiator::start(a, keys, &[0; 32], offer, random).ok()?;
    let received = Responder::new(b, &[0; 32]);
    let received = received.read(&hello, CALENDAR, &|_| None, random).ok()?;
    let choice = Choice {
        suite,
        index: random.number(),
        port: 0,
        known: None,
    };
    let (theirs, answer) = received.answer(b, choice, random).ok()?;
    let ours = initiator.finish(&answer, CALENDAR, None).ok()?;
    Some([ours, theirs])
}
