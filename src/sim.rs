//! Deterministic simulation: two whole nodes without sockets, in virtual time, under faults (design 5,
//! security 3.3).
//!
//! [`run`] plays one seed: applications open channels, write, read slowly or not at all, end and reset them,
//! while links are cut silently, reset, doubled, and nodes freeze. An oracle watches every delivered byte and
//! every end. The same seed gives the same run, byte for byte, and the same [`Report::trace`].

mod application;
mod wire;
mod world;

pub use world::{Report, run};
