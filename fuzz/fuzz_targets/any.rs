//! Runs one of the targets of `muses::fuzzing`; `MUSES_FUZZ` names it, which is also its corpus folder:
//!
//! ```sh
//! MUSES_FUZZ=frame cargo +nightly fuzz run any fuzz/corpus/frame
//! ```
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use muses::fuzzing::{FuzzTarget, TARGETS};

static TARGET: LazyLock<FuzzTarget> = LazyLock::new(|| {
    let wanted = std::env::var("MUSES_FUZZ").expect("MUSES_FUZZ names a target");
    *TARGETS.iter().find(|(name, _)| *name == wanted).expect("a target of muses::fuzzing")
});

fuzz_target!(|data: &[u8]| (TARGET.1)(data));
