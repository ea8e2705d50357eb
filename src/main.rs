//! The `muses` program.

fn main() {}
