//! CLOAK: the overlay. Who the neighbours are and where a packet goes next.
//!
//! Pure, and a sibling of `session` and `link`: it knows neither. It sees routing headers, never what
//! is behind them.

pub mod neighbours;
