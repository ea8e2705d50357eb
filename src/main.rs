//! The `muses` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    muses::cli::main(std::env::args_os())
}
