//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::system::Kind;
use crate::workload::Workload;

/// Measures muses against a plain two-hop relay with 64 KiB buffers in the same run.
///
/// The program measured is the one that cargo built, or the one that MUSES_BIN names.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// Small sizes and three rounds: an impression in less than a minute.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Only these systems.
    #[arg(long, value_delimiter = ',')]
    systems: Vec<Kind>,
    /// Rounds; the report shows medians [default: 5, quick: 3].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Idle connections to hold [default: 2000, quick: 1000]; the descriptor limit must allow twice as
    /// many.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    idle: Option<u32>,
    /// MiB of each bulk transfer [default: 1024, quick: 256].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    mib: Option<u64>,
    /// Cipher suite of the session, as in proxy.toml [default: what muses chooses].
    #[arg(long)]
    pub(crate) suite: Option<String>,
    /// Links between the two nodes: beyond 1 the session goes through that many relays less one. The
    /// reference has as many more plain relays.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) hops: u16,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// The systems asked for, in the order of the report.
    pub(crate) fn systems(&self) -> impl Iterator<Item = Kind> {
        let asked = |kind: &Kind| self.systems.is_empty() || self.systems.contains(kind);
        Kind::value_variants().iter().copied().filter(asked)
    }

    /// The workloads asked for, in the order of the report.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = Workload> {
        let asked = |workload: &Workload| self.only.is_empty() || self.only.contains(workload);
        Workload::value_variants().iter().copied().filter(asked)
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// Idle connections.
    pub(crate) fn idle(&self) -> u32 {
        self.idle.unwrap_or(if self.quick { 1000 } else { 2000 })
    }

    /// Bytes of a bulk transfer, all streams together.
    pub(crate) fn bulk(&self) -> u64 {
        self.mib.unwrap_or(if self.quick { 256 } else { 1024 }) << 20
    }

    /// How long one byte goes back and forth.
    pub(crate) const fn ping(&self) -> Duration {
        Duration::from_millis(if self.quick { 500 } else { 1500 })
    }

    /// The same beside a download.
    pub(crate) const fn beside(&self) -> Duration {
        Duration::from_millis(if self.quick { 1000 } else { 2500 })
    }

    /// Connections of the churn.
    pub(crate) const fn churn(&self) -> usize {
        if self.quick { 1500 } else { 4000 }
    }

    /// When something must hang: ten times what a slow machine takes.
    pub(crate) fn time_limit(&self) -> Duration {
        let per_round = Duration::from_secs(120) * self.rounds();
        let bulk = Duration::from_secs(self.bulk() >> 22) * self.rounds();
        Duration::from_secs(300) + per_round + bulk
    }
}
