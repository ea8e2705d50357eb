//! Local Connection Manager: applications' connections and the channels that carry them.

pub mod local;
