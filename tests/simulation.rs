//! Sessions and whole nodes under faults, thousands of seeds; see `muses::sim`.
//!
//! A failure names its seed and the command that repeats it, and leaves the last messages as a diagram.
//! `MUSES_SEED=N` repeats one seed; `MUSES_SEEDS=N` plays as many. `tests/seeds.txt` holds seeds that once
//! failed: they are played always.
#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "a run tells what it did, and which seed failed"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muses::sim::{Failure, Report, outage, run_nodes, run_relay, run_sessions};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Seeds of each world in an ordinary run.
const SEEDS: u64 = 2_000;

/// A world: its name and how it plays a seed.
type World = (&'static str, fn(u64) -> Result<Report, Failure>);

const NODES: World = ("nodes", run_nodes);
const SESSIONS: World = ("sessions", run_sessions);
const RELAY: World = ("relay", run_relay);

static ERRORS: AtomicUsize = AtomicUsize::new(0);

/// Counts what is logged as an error: none may be.
struct Errors;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Errors {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::ERROR {
            ERRORS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn watch_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::registry().with(Errors).init());
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Plays a seed; a failure or a panic ends the test and says how to repeat it.
fn play(world: World, seed: u64) -> Report {
    watch_logs();
    let (name, run) = world;
    let repeat =
        format!("repeat: MUSES_SEED={seed} cargo test --test simulation {name} -- --nocapture");
    let played = catch_unwind(AssertUnwindSafe(|| run(seed)));
    assert_eq!(
        ERRORS.load(Ordering::Relaxed),
        0,
        "SEED={seed} {name}, or one beside it, logged an error\n{repeat}"
    );
    match played {
        Ok(Ok(report)) => report,
        Ok(Err(failure)) => {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{seed}.mmd"));
            let wrote = std::fs::write(&file, &failure.diagram);
            panic!(
                "{failure}\n{repeat}\nlast messages: {} ({wrote:?})",
                file.display()
            );
        }
        Err(_) => panic!("SEED={seed} {name} panicked\n{repeat}"),
    }
}

/// Every second seed from `first` on.
fn seeds(world: World, first: u64) {
    if let Some(seed) = number("MUSES_SEED") {
        println!("{:?}", play(world, seed));
        return;
    }
    let mut sum = Report::default();
    let count = number("MUSES_SEEDS").unwrap_or(SEEDS);
    for seed in (first..count).step_by(2) {
        let report = play(world, seed);
        sum.channels += report.channels;
        sum.ended += report.ended;
        sum.suspensions += report.suspensions;
        sum.resumes += report.resumes;
        sum.restarts += report.restarts;
    }
    println!("{} {first}: {sum:?}", world.0);
    let runs = usize::try_from(count / 2).unwrap_or(usize::MAX);
    assert!(
        sum.ended > 2 * runs && sum.resumes > runs / 2 && sum.restarts > runs / 20,
        "the simulation does too little to prove anything: {sum:?}"
    );
}

#[test]
fn nodes_keep_their_promises_even_seeds() {
    seeds(NODES, 0);
}

#[test]
fn nodes_keep_their_promises_odd_seeds() {
    seeds(NODES, 1);
}

#[test]
fn sessions_keep_their_promises_even_seeds() {
    seeds(SESSIONS, 0);
}

#[test]
fn sessions_keep_their_promises_odd_seeds() {
    seeds(SESSIONS, 1);
}

/// A run takes ten times as long as one of the others: a tenth as many.
#[test]
fn a_relay_loses_and_doubles_nothing_for_good() {
    if let Some(seed) = number("MUSES_SEED") {
        println!("{:?}", play(RELAY, seed));
        return;
    }
    for seed in 0..number("MUSES_SEEDS").unwrap_or(SEEDS) / 10 {
        let report = play(RELAY, seed);
        assert!(report.channels > 0 && report.ended == report.channels);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for world in [NODES, SESSIONS] {
        let mut traces = Vec::new();
        for seed in [3, 8, 21, 30] {
            let report = play(world, seed);
            assert_eq!(report, play(world, seed), "{} {seed}", world.0);
            traces.push(report.trace);
        }
        traces.dedup();
        assert_eq!(traces.len(), 4, "other seeds give other runs");
    }
}

#[test]
fn seeds_that_once_failed_pass() {
    let list = include_str!("seeds.txt");
    let lines = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut played = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        let world = match words.next() {
            Some("nodes") => NODES,
            Some("sessions") => SESSIONS,
            Some("relay") => RELAY,
            other => panic!("tests/seeds.txt: no world {other:?}"),
        };
        let Some(seed) = words.next().and_then(|word| word.parse().ok()) else {
            panic!("tests/seeds.txt: no seed in {line:?}");
        };
        play(world, seed);
        played += 1;
    }
    assert!(played > 0, "tests/seeds.txt holds no seed");
}

#[test]
fn a_day_without_network_costs_no_byte_and_no_time() {
    for seed in [2, 7] {
        let after = |span| match outage(seed, span) {
            Ok(took) => took,
            Err(failure) => panic!("{failure}"),
        };
        let short = after(Duration::from_secs(15));
        let long = after(Duration::from_secs(24 * 3_600));
        println!("seed {seed}: on again after {short:?} and {long:?} of virtual time");
        let limit = short + Duration::from_millis(300);
        assert!(long <= limit, "{short:?} after 15 s, {long:?} after 24 h");
    }
}
