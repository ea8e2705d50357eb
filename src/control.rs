//! The local control socket: how `muses status`, `kill`, `connect` and the like talk to the running daemon.
//!
//! A Unix stream socket of mode 0600; a caller must be the daemon's user or root (peer credentials).
//! One request per connection, as one line of JSON, at most [`protocol::REQUEST_BYTES_MAX`] bytes,
//! within [`protocol::REQUEST_TIME`]. Every answer is one line of JSON.
//!
//! | request | answers |
//! |---|---|
//! | `{"status":{}}` | `{"status":{..}}`, see [`status::Status`] |
//! | `{"kill":{"session":3}}`, `{"kill":{"session":3,"channel":42}}` | `{"killed":true}`, or `false`: no such |
//! | `{"reload":{}}` | `{"reloaded":"what changed"}` |
//! | `{"lookup":{"name":".."}}` | `{"found":{..}}`, see [`overlay::FoundStatus`], or `failed` as below |
//! | `{"trace":{"name":".."}}` | `{"hop":{..}}` for each step, see [`overlay::HopStatus`], then `{"traced":true}`, or `false`: not reached; or `failed` as below |
//! | `{"connect":{"host":"..","port":22}}` | see below |
//! | anything else | `{"error":"why"}` |
//!
//! `connect` is answered by `{"failed":"refused","exit":111,"message":".."}`, or by `{"opened":true}`
//! together with a descriptor (SCM_RIGHTS): one end of a socket pair whose other end is the channel.
//! The connection then stays: the caller says `{"eof":true}` before or when it ends its side properly,
//! the daemon says `{"ended":"clean"}` or `{"ended":"cut"}` when the channel is over. A caller that
//! vanishes without `eof` has its channel reset instead of ended (see [`pipe`]).
//!
//! Nothing here interprets what flows through a channel, and nothing here decides who may go where.

pub mod client;
pub mod overlay;
pub mod pipe;
pub mod protocol;
pub mod server;
pub mod service;
pub mod socket;
pub mod status;
