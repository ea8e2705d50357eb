//! Trees of a few nodes in virtual time.

mod hostile;
mod joining;
mod repair;
mod settled;
mod vector;
mod world;
