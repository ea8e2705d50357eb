//! The load program: `muses` against a plain two-hop relay in the same run.
//!
//! `cargo bench --bench load` measures, interleaved and round by round, the shipped program (a client and
//! a gateway as two processes on loopback), a plain two-hop tokio relay with 64 KiB buffers (two
//! processes as well), and TCP without anything between. It prints medians and ratios;
//! `docs/BENCHMARKS.md` says what each row means. The same executable plays the relays and the target,
//! and holds the nodes; each helper ends when its standard input does, however this program ends.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program of its own: it prints, reads the clock, and its tasks end with it"
)]

mod helper;
mod machine;
mod node;
mod options;
mod pattern;
mod relay;
mod report;
mod system;
mod target;
mod workload;

use std::process::ExitCode;
use std::thread;

use clap::Parser;

use options::Options;
use report::Report;
use system::{Kind, System};
use workload::Workload;

/// What went wrong, for people.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["target"] => target::serve(),
        ["relay", to] => relay::serve(to),
        ["node", program, folder] => node::hold(program, folder),
        // `cargo test --all-targets` starts benches too.
        _ if cfg!(debug_assertions) => {
            println!("not optimised, nothing measured; run `cargo bench --bench load`");
            Ok(())
        }
        _ => measure(&Options::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("load: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all rounds and prints the report.
fn measure(options: &Options) -> Result<(), Fault> {
    give_up_after(options);
    machine::raise_descriptors()?;
    let mut report = Report::new(options)?;
    let (target, address) = target::start()?;
    let mut systems = Vec::new();
    for kind in options.systems() {
        let system = System::start(kind, address, options)?;
        eprintln!("{}: {}", kind.label(), system.processes());
        systems.push(system);
    }
    for round in 0..options.rounds() {
        eprintln!("round {} of {}", round + 1, options.rounds());
        // Whoever comes second finds a warmer machine: take turns.
        systems.reverse();
        for workload in options.workloads().filter(|w| *w != Workload::Idle) {
            for system in &systems {
                for (metric, value) in workload.run(system, options)? {
                    report.add(metric, system.kind, value);
                }
            }
        }
    }
    drop(systems);
    if options.workloads().any(|w| w == Workload::Idle) {
        for kind in options.systems().filter(|kind| *kind != Kind::Raw) {
            eprintln!("idle: {}", kind.label());
            // Without memory left over from the rounds.
            let system = System::start(kind, address, options)?;
            for (metric, value) in Workload::Idle.run(&system, options)? {
                report.add(metric, kind, value);
            }
        }
    }
    drop(target);
    report.print(options.json)
}

/// Ends the process, and so its helpers, if something hangs.
fn give_up_after(options: &Options) {
    let limit = options.time_limit();
    thread::spawn(move || {
        // Spurious wake-ups must not shorten it.
        let end = std::time::Instant::now() + limit;
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
            thread::park_timeout(left);
        }
        eprintln!("load: not done after {} s, giving up", limit.as_secs());
        std::process::exit(1);
    });
}
