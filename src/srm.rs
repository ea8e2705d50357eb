//! Session Reliability Module: what makes a session outlive its paths.

pub mod resume;
