//! What the kernel says about processes and the machine (`proc(5)`).

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Fault;

/// Units of processor time per second in `/proc/PID/stat`: `USER_HZ`, 100 on every common architecture.
const TICKS: f64 = 100.0;

/// Seconds of processor time that processes have used, user and system.
pub(crate) fn cpu_seconds(processes: &[u32]) -> Result<f64, Fault> {
    let mut ticks = 0;
    for process in processes {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        for field in fields.split_whitespace().skip(11).take(2) {
            ticks += field.parse::<u32>()?;
        }
    }
    Ok(f64::from(ticks) / TICKS)
}

/// Proportional set size of a process, KiB.
pub(crate) fn memory_kib(process: u32) -> Result<f64, Fault> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let field = line.and_then(|line| line.split_whitespace().next());
    Ok(field.ok_or("no Pss in smaps_rollup")?.parse()?)
}

/// As many descriptors as allowed, for this process and its children; says how many.
pub(crate) fn raise_descriptors() -> Result<u64, Fault> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// The machine in one line: processor, cores, kernel, congestion control.
pub(crate) fn describe() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control");
    format!(
        "{cores} cores of {model}, Linux {}, {}, loopback",
        kernel.trim(),
        congestion.trim()
    )
}
