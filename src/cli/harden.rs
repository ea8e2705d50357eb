//! What a process does to itself before it holds secrets or serves anyone (R-Z4).

use crate::cli::exit::Exit;
use std::panic::{self, PanicHookInfo};

use rustix::{
    fs::Mode,
    process::{
        DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
    },
};
use tracing::{error, warn};

/// No core dumps, no debugger of other processes, private files, log lines for panics.
pub(super) fn process() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!(%error, "cannot switch off core dumps");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "cannot shut out debuggers");
    }
    umask(Mode::from_raw_mode(0o077));
    panic::set_hook(Box::new(report));
}

/// As many descriptors as the system lets us have: each connection takes one.
pub(super) fn descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit of open files");
    }
}

/// Only a text that is a literal in the source is logged: a formatted one may hold a user's data.
fn report(panic: &PanicHookInfo<'_>) {
    let text = panic.payload().downcast_ref::<&'static str>().copied();
    let thread = std::thread::current();
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    error!(
        thread = thread.name().unwrap_or_default(),
        place,
        "a bug: panic: {}",
        text.unwrap_or("(text withheld)")
    );
    // What the core thread owns may be half changed: nothing of it is to be trusted.
    if thread.name().is_some_and(|name| name.starts_with("core ")) {
        std::process::exit(i32::from(Exit::Bug.code()));
    }
}
