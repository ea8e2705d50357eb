//! Deterministic simulation: sessions and whole nodes without sockets, in virtual time, under faults
//! (design 5, security 3.3).
//!
//! [`run_nodes`] plays one seed with two whole nodes on simulated TCP connections that are cut, reset and
//! doubled, while nodes freeze and restart. [`run_sessions`] plays one with two sessions on a hostile path
//! that loses, doubles, reorders, spoils, holds and replays single messages. In both, applications open
//! channels, write, read slowly or not at all, half-close, and reset them; an oracle watches every delivered
//! byte and every end, and the invariants of the Re-Hello exchange are checked after each step. The same
//! seed gives the same run, byte for byte, and the same [`Report::trace`].
//!
//! [`overlay`] plays thousands of nodes of the overlay, to measure it.

mod application;
mod hop;
mod journal;
mod nodes;
pub mod overlay;
mod relay;
mod sessions;
mod setting;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

pub use nodes::run as run_nodes;
pub use relay::run as run_relay;
pub use sessions::{outage, run as run_sessions};
pub use setting::{Failure, Report};
