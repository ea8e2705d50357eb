//! Sockets and clocks: what every part that accepts, dials or waits needs.

pub mod accept;
pub mod clock;
pub mod clones;
pub mod descriptors;
pub mod guests;
mod netlink;
pub mod owner;
pub mod reading;
pub mod seldom;
pub mod tasks;
pub mod watch;
