//! Session Reliability Module (SRM): what makes a session's channels exact and its outages harmless.
//!
//! Reliability is per channel and by absolute byte offset (design 5). [`send`] and [`receive`] are the
//! two halves of one direction, [`acks`] and [`flight`] tell which packets arrived, [`window`] and
//! [`congestion`] how much may be under way, [`budget`] is the memory that all of it may use.
//!
//! Invariant: acknowledged ≤ delivered or kept ≤ sent ≤ permitted, per direction and channel.

pub mod acks;
pub mod budget;
pub mod congestion;
pub mod flight;
pub mod ranges;
pub mod receive;
pub mod resume;
pub mod ring;
pub mod rtt;
pub mod send;
pub mod window;
