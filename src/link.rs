//! Links: authenticated TCP connections between overlay neighbours.

pub mod handshake;
