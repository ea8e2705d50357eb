//! Sockets: what every part that accepts or dials needs.

pub mod accept;
pub mod seldom;
