//! Medians and ratios, as a table or as JSON.

use serde_json::json;

use crate::Fault;
use crate::machine;
use crate::options::Options;
use crate::system::{self, Kind};

/// A row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    Down,
    DownCpu,
    Up,
    UpCpu,
    Down8,
    Down8Cpu,
    PingP50,
    PingP99,
    BesideP50,
    BesideP99,
    BesideSpeed,
    Churn,
    ChurnSocks,
    IdleNear,
    IdleFar,
}

/// What a row should reach.
#[derive(Clone, Copy, Debug)]
enum Goal {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtMost(f64),
}

impl Metric {
    const ALL: [Self; 15] = [
        Self::Down,
        Self::DownCpu,
        Self::Up,
        Self::UpCpu,
        Self::Down8,
        Self::Down8Cpu,
        Self::PingP50,
        Self::PingP99,
        Self::BesideP50,
        Self::BesideP99,
        Self::BesideSpeed,
        Self::Churn,
        Self::ChurnSocks,
        Self::IdleNear,
        Self::IdleFar,
    ];

    /// Name and unit, as printed.
    const fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Down => ("bulk, 1 stream down", "Gbit/s"),
            Self::DownCpu => ("  CPU, both ends", "s/GB"),
            Self::Up => ("bulk, 1 stream up", "Gbit/s"),
            Self::UpCpu => ("  CPU, both ends", "s/GB"),
            Self::Down8 => ("bulk, 8 streams down", "Gbit/s"),
            Self::Down8Cpu => ("  CPU, both ends", "s/GB"),
            Self::PingP50 => ("ping p50", "us"),
            Self::PingP99 => ("ping p99", "us"),
            Self::BesideP50 => ("ping beside a download p50", "us"),
            Self::BesideP99 => ("ping beside a download p99", "us"),
            Self::BesideSpeed => ("  that download", "Gbit/s"),
            Self::Churn => ("churn, 200 at a time", "1/s"),
            Self::ChurnSocks => ("  through SOCKS5", "1/s"),
            Self::IdleNear => ("idle connection, client end", "KiB"),
            Self::IdleFar => ("idle connection, gateway end", "KiB"),
        }
    }

    /// The key in JSON.
    const fn key(self) -> &'static str {
        match self {
            Self::Down => "bulk_down_gbit_s",
            Self::DownCpu => "bulk_down_cpu_s_per_gb",
            Self::Up => "bulk_up_gbit_s",
            Self::UpCpu => "bulk_up_cpu_s_per_gb",
            Self::Down8 => "bulk_8_down_gbit_s",
            Self::Down8Cpu => "bulk_8_down_cpu_s_per_gb",
            Self::PingP50 => "ping_p50_us",
            Self::PingP99 => "ping_p99_us",
            Self::BesideP50 => "ping_beside_download_p50_us",
            Self::BesideP99 => "ping_beside_download_p99_us",
            Self::BesideSpeed => "download_beside_ping_gbit_s",
            Self::Churn => "churn_per_s",
            Self::ChurnSocks => "churn_socks5_per_s",
            Self::IdleNear => "idle_client_kib",
            Self::IdleFar => "idle_gateway_kib",
        }
    }

    const fn goal(self) -> Option<Goal> {
        match self {
            Self::Down | Self::Up => Some(Goal::RatioAtLeast(0.8)),
            Self::PingP50 => Some(Goal::RatioAtMost(1.3)),
            Self::BesideP99 => Some(Goal::RatioAtMost(1.0)),
            Self::Churn => Some(Goal::RatioAtLeast(1.0)),
            Self::IdleNear | Self::IdleFar => Some(Goal::AtMost(8.0)),
            _ => None,
        }
    }
}

impl Goal {
    fn is_met(self, figure: f64, ratio: f64) -> bool {
        match self {
            Self::RatioAtLeast(goal) => ratio >= goal,
            Self::RatioAtMost(goal) => ratio <= goal,
            Self::AtMost(goal) => figure <= goal,
        }
    }

    fn show(self) -> String {
        match self {
            Self::RatioAtLeast(goal) => format!(">= {goal:.1} x"),
            Self::RatioAtMost(goal) => format!("<= {goal:.1} x"),
            Self::AtMost(goal) => format!("<= {goal:.0}"),
        }
    }
}

/// All values of a run.
pub(crate) struct Report {
    machine: String,
    program: String,
    run: String,
    values: Vec<(Metric, Kind, f64)>,
}

/// One row, ready to print.
struct Row {
    metric: Metric,
    medians: [Option<f64>; 3],
    /// Median, lowest and highest ratio of a round's muses to its reference.
    ratio: Option<[f64; 3]>,
    met: Option<bool>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Result<Self, Fault> {
        let program = system::program();
        let version = std::process::Command::new(&program)
            .arg("--version")
            .output()
            .map_err(|e| format!("cannot run {program}: {e}; build it or set MUSES_BIN"))?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        Ok(Self {
            machine: machine::describe(),
            program: version,
            run: format!(
                "{} hops, {} rounds, {} MiB, {} churned, {} idle, suite {}",
                options.hops,
                options.rounds(),
                options.bulk() >> 20,
                options.churn(),
                options.idle(),
                options.suite.as_deref().unwrap_or("auto")
            ),
            values: Vec::new(),
        })
    }

    pub(crate) fn add(&mut self, metric: Metric, kind: Kind, value: f64) {
        self.values.push((metric, kind, value));
    }

    fn values(&self, metric: Metric, kind: Kind) -> Vec<f64> {
        let found = self.values.iter().filter(|v| (v.0, v.1) == (metric, kind));
        found.map(|(_, _, value)| *value).collect()
    }

    fn rows(&self) -> Vec<Row> {
        let present = Metric::ALL.into_iter();
        let present = present.filter(|metric| self.values.iter().any(|value| value.0 == *metric));
        present.map(|metric| self.row(metric)).collect()
    }

    fn row(&self, metric: Metric) -> Row {
        let [raw, reference, muses] =
            [Kind::Raw, Kind::Reference, Kind::Muses].map(|kind| self.values(metric, kind));
        let mut ratios: Vec<f64> = muses.iter().zip(&reference).map(|(m, r)| m / r).collect();
        ratios.sort_by(f64::total_cmp);
        let ends = ratios.first().zip(ratios.last()).map(|(l, h)| (*l, *h));
        let ratio = median(&ratios)
            .zip(ends)
            .map(|(middle, (low, high))| [middle, low, high]);
        let medians = [median(&raw), median(&reference), median(&muses)];
        let met = metric.goal().zip(medians[2]).zip(ratio);
        let met = met.map(|((goal, figure), [ratio, ..])| goal.is_met(figure, ratio));
        Row {
            metric,
            medians,
            ratio,
            met,
        }
    }

    pub(crate) fn print(&self, json: bool) -> Result<(), Fault> {
        if json {
            println!("{}", serde_json::to_string_pretty(&self.to_json())?);
        } else {
            self.print_table();
        }
        Ok(())
    }

    fn print_table(&self) {
        println!("{}\n{}; {}\n", self.program, self.machine, self.run);
        println!(
            "| {:<29} | {:<6} | {:>8} | {:>9} | {:>8} | {:>5} | {:>11} | {:<15} |",
            "median", "unit", "raw", "reference", "muses", "ratio", "low - high", "goal"
        );
        println!("|---|---|---:|---:|---:|---:|---:|---|");
        for row in self.rows() {
            let (name, unit) = row.metric.label();
            let [raw, reference, muses] = row.medians.map(figure);
            let (ratio, range) = row.ratio.map_or_else(
                || ("-".to_owned(), "-".to_owned()),
                |[middle, low, high]| (format!("{middle:.2}"), format!("{low:.2} - {high:.2}")),
            );
            let goal = row.metric.goal().map_or_else(String::new, |goal| {
                let met = match row.met {
                    Some(true) => "met",
                    Some(false) => "missed",
                    None => "",
                };
                format!("{} {met}", goal.show())
            });
            println!(
                "| {name:<29} | {unit:<6} | {raw:>8} | {reference:>9} | {muses:>8} | {ratio:>5} | {range:>11} | {goal:<15} |"
            );
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let rows = self.rows().into_iter().map(|row| {
            let [raw, reference, muses] = row.medians;
            let all = |kind| self.values(row.metric, kind);
            let value = json!({
                "raw": raw,
                "reference": reference,
                "muses": muses,
                "ratio": row.ratio.map(|[middle, ..]| middle),
                "goal": row.metric.goal().map(Goal::show),
                "met": row.met,
                "rounds": {
                    "raw": all(Kind::Raw),
                    "reference": all(Kind::Reference),
                    "muses": all(Kind::Muses),
                },
            });
            (row.metric.key().to_owned(), value)
        });
        let rows: serde_json::Map<_, _> = rows.collect();
        json!({
            "program": self.program,
            "machine": self.machine,
            "run": self.run,
            "rows": rows,
        })
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*upper, *lower))
}

/// A figure with three digits that count.
fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}
