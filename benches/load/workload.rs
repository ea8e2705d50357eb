//! The workloads; each runs once against one system.

mod bulk;
mod churn;
mod ping;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::ValueEnum;

use crate::Fault;
use crate::machine::cpu_seconds;
use crate::options::Options;
use crate::report::Metric;
use crate::system::System;

/// Longest wait for a byte.
const PATIENCE: Duration = Duration::from_secs(60);
/// Streams of the parallel download.
const STREAMS: u64 = 8;

/// Moves so many bytes over one connection.
type Transfer = fn(SocketAddr, u64) -> io::Result<()>;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Bulk transfers with every byte compared: one stream each way, eight streams down.
    Bulk,
    /// One byte there and back, again and again.
    Ping,
    /// The same beside a download at full speed.
    Beside,
    /// Connect, one byte there and back, close; 200 at a time.
    Churn,
    /// Memory per connection that is open and idle.
    Idle,
}

impl Workload {
    pub(crate) fn run(
        self,
        system: &System,
        options: &Options,
    ) -> Result<Vec<(Metric, f64)>, Fault> {
        match self {
            Self::Bulk => bulks(system, options.bulk()),
            Self::Ping => {
                let [p50, p99] = ping::alone(system.entry, options.ping())?;
                Ok(vec![(Metric::PingP50, p50), (Metric::PingP99, p99)])
            }
            Self::Beside => {
                let ([p50, p99], speed) = ping::beside_download(system.entry, options.beside())?;
                Ok(vec![
                    (Metric::BesideP50, p50),
                    (Metric::BesideP99, p99),
                    (Metric::BesideSpeed, speed),
                ])
            }
            Self::Churn => {
                let plain = churn::rate(system.entry, None, options.churn())?;
                let socks = system.socks.map_or(Ok(plain), |socks| {
                    churn::rate(socks, Some(system.target), options.churn())
                })?;
                Ok(vec![(Metric::Churn, plain), (Metric::ChurnSocks, socks)])
            }
            Self::Idle => churn::idle(system, options.idle()),
        }
    }
}

fn bulks(system: &System, bytes: u64) -> Result<Vec<(Metric, f64)>, Fault> {
    let kinds: [(Metric, Metric, Transfer, u64); 3] = [
        (Metric::Down, Metric::DownCpu, bulk::download, 1),
        (Metric::Up, Metric::UpCpu, bulk::upload, 1),
        (Metric::Down8, Metric::Down8Cpu, bulk::download, STREAMS),
    ];
    let mut out = Vec::new();
    for (speed, cpu, transfer, streams) in kinds {
        let before = system.ends.map(|ends| cpu_seconds(&ends)).transpose()?;
        let seconds = bulk::run(transfer, system.entry, bytes, streams)?;
        let after = system.ends.map(|ends| cpu_seconds(&ends)).transpose()?;
        let giga = (bytes / streams * streams) as f64 / 1e9;
        out.push((speed, giga * 8.0 / seconds));
        if let (Some(before), Some(after)) = (before, after) {
            out.push((cpu, (after - before) / giga));
        }
    }
    Ok(out)
}

/// A connection that does not wait for ever.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
