//! Two whole nodes under faults, 2,000 seeds; see `muses::sim`.
//!
//! `MUSES_SEED=N cargo test --test simulation` repeats one seed; `MUSES_SEEDS=N` runs as many.
#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "a run tells what it did, and which seed failed"
)]

use muses::sim::run;

/// Every fourth seed from `first` on.
fn seeds(first: u64) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("MUSES_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let (mut channels, mut ended, mut suspensions) = (0, 0, 0);
    for seed in (first..number("MUSES_SEEDS").unwrap_or(2_000)).step_by(4) {
        match run(seed) {
            Ok(report) => {
                channels += report.channels;
                ended += report.ended;
                suspensions += report.suspensions;
            }
            Err(what) => panic!("{what}\nrepeat: MUSES_SEED={seed} cargo test --test simulation"),
        }
    }
    println!("{channels} channels, {ended} clean ends, {suspensions} suspensions");
    assert!(
        ended > 1_000 && suspensions > 100,
        "the simulation does too little to prove anything"
    );
}

#[test]
fn seeds_from_0() {
    seeds(0);
}

#[test]
fn seeds_from_1() {
    seeds(1);
}

#[test]
fn seeds_from_2() {
    seeds(2);
}

#[test]
fn seeds_from_3() {
    seeds(3);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 8, 21] {
        assert_eq!(run(seed), run(seed));
    }
}
