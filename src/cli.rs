//! The command line: reads arguments, calls the room that does the work, and turns the result into
//! text and an exit code. What scripts may rely on stands in the help texts below and in [`exit`].

pub mod args;
pub mod exit;

mod connect;
mod harden;
mod keys;
mod map;
mod notify;
mod pump;
mod run;
mod seen;
mod setup;
mod show;
pub mod simulate;
mod telemetry;

use std::{
    ffi::OsString,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::cli::args::{Args, Command};
use crate::cli::exit::{Exit, Failure};

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let failure = match perform(args) {
        Ok(exit) => return exit.into(),
        Err(failure) => failure,
    };
    // Nothing can be done when stderr is gone.
    let _ = writeln!(io::stderr(), "muses: {}", failure.message);
    failure.exit.into()
}

fn perform(args: Args) -> Result<Exit, Failure> {
    let command = args.command.unwrap_or(Command::Run);
    let is_pipe = matches!(command, Command::Connect { .. });
    let level = if is_pipe { "warn" } else { "info" };
    telemetry::start(args.log.as_deref(), level)?;
    let config = args.config.as_deref();
    match command {
        Command::Keygen {
            keep,
            name_file,
            network: false,
            file,
        } => print(&keys::identity(&file, keep, name_file.as_deref())?),
        Command::Keygen { keep, file, .. } => print(&keys::network(&file, keep)?),
        Command::Name { file } => print(&keys::name(&file)?),
        Command::Run => run::run(config),
        Command::Check => print(&setup::check(config)?),
        Command::Connect { host, port } => connect::connect(config, &host, port),
        Command::Status { json } => print(&show::status(config, json)?),
        Command::Map { file } => print(&seen::map(config, &file)?),
        Command::Lookup { json, name } => print(&seen::lookup(config, json, &name)?),
        Command::Trace { json, name } => seen::trace(config, json, &name),
        Command::Kill { what } => print(&show::kill(config, what)?),
        Command::Sim(options) => simulate::simulate(&options),
    }
}

/// Help and version are no error; everything else is a mistake of the caller.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done when the terminal is gone.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Clean.into()
    }
}

/// Writes a result to stdout; a reader that has seen enough is no failure.
fn print(text: &str) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failed,
            format!("cannot write to stdout: {e}"),
        )),
        _ => Ok(Exit::Clean),
    }
}
