//! Links: authenticated TCP connections between overlay neighbours.
//!
//! [`handshake`] proves who the neighbour is, [`frames`] seals what crosses, [`liveness`] tells when it
//! is dead. Pure: `net` owns the sockets. A link knows neither sessions nor addresses.

pub mod frames;
pub mod handshake;
pub mod liveness;
pub mod pace;
