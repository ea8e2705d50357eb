//! What runs through a scenario: transfers, idle connections and a typist, and what a failure does to them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::Ends;
use crate::sshd::Sshd;

/// Rate of the transfers in bytes per second, and as long as nothing moves.
const RATE: u64 = 7_200_000;
/// Connections that say nothing meanwhile.
const IDLE: &str = "500";
/// How long everything runs before the failure comes.
const BEFORE: Duration = Duration::from_secs(2);
/// What the paper's own implementation took to resume (its Figure 6), seconds.
const PAPER: f64 = 2.99;
/// Silences that begin this long after the path is back are none of the failure's, seconds.
const AFTERMATH: f64 = 1.5;

/// How long the transfers take when nothing comes between: 200 MB each way.
pub(crate) const USUAL: Duration = Duration::from_secs(28);

/// A failure: when it came, and when the path was back, in seconds on the machine's monotonic clock.
pub(crate) struct Failure {
    pub(crate) began: f64,
    pub(crate) over: f64,
}

/// What a scenario must show.
pub(crate) struct Expected {
    pub(crate) scenario: &'static str,
    /// Target of the stall beyond the failure, seconds.
    pub(crate) target: f64,
    /// The cause that the log gives for the pause of every failure; none when not all cause one.
    pub(crate) cause: Option<&'static str>,
}

/// The transfers, the idle connections and the typist.
pub(crate) struct Load {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    _sshd: Sshd,
}

pub(crate) fn now() -> f64 {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap();
    now.as_secs_f64()
}

/// Part of a scenario: how long a failure lasts, or what goes before.
pub(crate) fn last(duration: Duration) {
    thread::park_timeout(duration);
}

impl Load {
    /// Starts it and waits until all of it moves.
    pub(crate) fn start(ends: Ends<'_>, length: Duration) -> Self {
        let sshd = Sshd::start(ends);
        let (bytes, rate) = (RATE * length.as_secs(), RATE.to_string());
        let bytes = bytes.to_string();
        let load = [
            "python3",
            "tests/lab/load.py",
            "1080",
            crate::SERVER,
            &bytes,
            &rate,
            IDLE,
        ];
        let words = [&load[..], &sshd.ssh(&["-tt", "connect"])].concat();
        let mut child = ends.near.spawn(&words);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        if line.trim() != "moving" {
            let said = child.wait_with_output().unwrap();
            panic!("{}", String::from_utf8_lossy(&said.stderr));
        }
        last(BEFORE);
        Self {
            child,
            out,
            _sshd: sshd,
        }
    }

    /// Waits for its end; it fails if one byte was wrong or one connection broke.
    pub(crate) fn finish(mut self, ends: Ends<'_>, expected: &Expected, failures: &[Failure]) {
        let scenario = expected.scenario;
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        let said = self.child.wait_with_output().unwrap();
        let log = fs::read_to_string(ends.client.folder.join("log")).unwrap();
        assert!(
            said.status.success(),
            "{scenario}: {}\n{log}",
            String::from_utf8_lossy(&said.stderr)
        );
        let told: Value = serde_json::from_str(&line).unwrap();
        for flow in ["download", "upload", "typist"] {
            let (first, end) = (&told[flow]["first"], &told[flow]["last"]);
            let struck = failures.first().unwrap().began > first.as_f64().unwrap()
                && failures.last().unwrap().over < end.as_f64().unwrap();
            assert!(struck, "{scenario}: the {flow} was not under way");
        }
        print_times(expected, &told, failures);
        if let Some(cause) = expected.cause {
            check_pauses(expected.scenario, cause, &log, failures);
        }
        let status = ends.client.status();
        let sessions = status["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 1, "{scenario}: {sessions:?}");
        let session = &sessions[0];
        println!(
            "{scenario}: every byte right, {IDLE} idle connections alive, {} letters typed; \
             {} resumes, {} handshake",
            told["typist"]["letters"], session["resumes"], session["handshakes"]
        );
        assert_eq!(session["handshakes"], 1, "{scenario}: no new key agreement");
        if expected.cause.is_some() {
            let resumes = usize::try_from(session["resumes"].as_u64().unwrap()).unwrap();
            assert!(resumes >= failures.len(), "{scenario}: {session}");
        }
    }
}

/// How long after `failure` the first byte came; zero if it made no difference.
fn first_byte(flow: &Value, failure: &Failure) -> f64 {
    let silences = flow["silences"].as_array().unwrap();
    let ends = silences.iter().filter_map(|silence| {
        let (from, to) = (silence[0].as_f64()?, silence[1].as_f64()?);
        let caused = from < failure.over + AFTERMATH && to > failure.began;
        caused.then_some((to - from, to - failure.over))
    });
    let longest = ends.max_by(|a, b| a.0.total_cmp(&b.0));
    longest.map_or(0.0, |(_, end)| end.max(0.0))
}

/// A time for people; silences below the load's own rhythm are not seen.
fn seconds(time: f64) -> String {
    if time > 0.0 {
        format!("{time:.3} s")
    } else {
        "< 0.03 s".to_owned()
    }
}

/// Prints how soon the connections went on, beside the target.
fn print_times(expected: &Expected, told: &Value, failures: &[Failure]) {
    let mut worst = 0_f64;
    let mut shown = Vec::new();
    for flow in ["download", "upload", "typist"] {
        let mut times: Vec<f64> = failures
            .iter()
            .map(|failure| first_byte(&told[flow], failure))
            .collect();
        times.sort_by(f64::total_cmp);
        let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
        worst = worst.max(max);
        shown.push(if times.len() > 1 {
            format!(
                "{flow} {} (worst of {}: {})",
                seconds(median),
                times.len(),
                seconds(max)
            )
        } else {
            format!("{flow} {}", seconds(max))
        });
    }
    let Expected {
        scenario, target, ..
    } = expected;
    let verdict = if worst <= *target { "met" } else { "MISSED" };
    println!(
        "{scenario}: first byte on the old connections after the path is back: {}",
        shown.join(", ")
    );
    println!(
        "{scenario}: stall beyond the failure {} (target {target} s: {verdict}; the paper's resume: {PAPER} s)",
        seconds(worst)
    );
}

/// Every pause is one line of the log, with its real cause and at least the failure's length.
fn check_pauses(scenario: &str, cause: &str, log: &str, failures: &[Failure]) {
    let pauses: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(": a pause is over ").map(|(_, rest)| rest))
        .collect();
    for pause in &pauses {
        println!("{scenario}: log: {pause}");
    }
    let cause = format!("cause={cause}");
    let found = pauses.iter().filter(|pause| {
        let length: f64 = pause
            .split_once("pause_ms=")
            .unwrap_or_else(|| panic!("no duration: {pause}"))
            .1
            .parse()
            .unwrap();
        let failure = failures.first().unwrap();
        // A cut is noticed by what does not come: data under way when it came still arrived.
        pause.contains(&cause) && length / 1000.0 >= (failure.over - failure.began) * 0.9
    });
    assert_eq!(
        found.count(),
        failures.len(),
        "{scenario}: {pauses:?}\n{log}"
    );
}
