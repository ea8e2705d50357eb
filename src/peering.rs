//! Making links: dialling and accepting TCP connections, and proving who is at either end.
//!
//! [`join`] runs the link handshake over a socket and judges who may link, [`dialer`] keeps a link to a
//! configured endpoint, [`finder`] dials nodes that the
//! overlay has found, [`greeter`] accepts. Finished links go to the engine.

pub mod dialer;
pub mod finder;
mod firsts;
pub mod greeter;
pub mod join;
mod options;
pub mod report;
