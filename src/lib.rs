//! muses: secure TCP connections that outlive the network.
//!
//! One node is client, relay and forwarder at once. Applications reach it over SOCKS5, HTTP CONNECT
//! or fixed forwards; the Local Connection Manager ([`lcm`]) multiplexes their connections onto
//! sessions, sealed by the Session Security Module ([`ssm`]), made reliable and resumable by the
//! Session Reliability Module ([`srm`]), and carried over the CLOAK overlay ([`cloak`], [`link`]).
//!
//! Rooms look down only; `docs/ARCHITECTURE.md` lists them, `tests/tidy.rs` checks it. Everything up
//! to `core` and `sim` is pure: no sockets, clock, task or global randomness.

pub mod acl;
pub mod cli;
pub mod cloak;
pub mod config;
pub mod control;
pub mod core;
pub mod engine;
pub mod forwarder;
pub mod fuzzing;
pub mod keyfile;
pub mod lcm;
pub mod limits;
pub mod link;
pub mod name;
pub mod net;
pub mod node;
pub mod peering;
pub mod proxy;
pub mod random;
pub mod session;
pub mod sim;
pub mod srm;
pub mod ssm;
pub mod time;
pub mod wire;
