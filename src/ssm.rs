//! Session Security Module: cipher suites, packet protection, key schedule, epochs and the session
//! handshake (paper, section on the SSM; `docs/PROTOCOL.md`).
//!
//! It turns a handshake into keys and keys into sealed packets. It does not know what the packets
//! carry, when to resume, or how packets travel: those are decided above it. Everything here is a
//! pure function of its inputs; randomness comes from the caller's generator.
//!
//! Invariants: a packet number is used once under a key; a key set exists at most once per pair; from
//! what is kept no erased pair can be derived; a message that does not open changes nothing.

pub(crate) mod aead;
pub mod epoch;
pub mod established;
pub mod handshake;
pub mod key_set;
pub mod ledger;
pub mod noise;
pub mod replay;
pub mod schedule;
pub mod suite;

/// Version of the session protocol, on the wire and in every key (R-H12).
pub const VERSION: u8 = 1;
