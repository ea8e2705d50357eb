//! Session Security Module: keys and sealed packets.

pub mod epoch;
