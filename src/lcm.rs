//! Local Connection Manager (LCM): applications' connections and the channels that carry them (paper,
//! section II-C-3).
//!
//! [`local`] is what front ends hand over, [`table`] maps channels to connections, [`pump`] moves bytes,
//! [`shell`] surrounds the core on its thread. Local sockets are closed by us only when the application
//! or the service closed, or the session is gone for good; a cut is shown as a reset.

pub mod local;
pub mod pump;
pub mod shell;
pub mod stream;
pub mod table;
