//! CLOAK: the overlay. Who the neighbours are, where this node hangs in the tree, and where a packet goes next.
//!
//! Pure, and a sibling of `session` and `link`: it knows neither. It sees routing headers, never what
//! is behind them.

pub mod compass;
pub mod directory;
pub mod forward;
pub mod geometry;
pub mod neighbours;
pub mod overlay;
pub mod poincare;
pub mod queues;
pub mod relay;
pub mod tree;

mod bearings;
mod fixed;
mod notices;
mod probe;
mod rate;
