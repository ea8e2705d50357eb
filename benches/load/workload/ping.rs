//! One byte there and back, alone and beside a download.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Fault;
use crate::target::ECHO;
use crate::workload::{PATIENCE, bulk::Download, connect};

/// Round trips before the first one that counts.
const WARM_UP: usize = 100;
/// Bytes of a download that must have arrived before it counts as running.
const RUNNING: u64 = 4 << 20;
/// More than any download reaches.
const ENDLESS: u64 = 1 << 50;

/// The median and the 99th percentile, microseconds, of round trips during `span`.
pub(crate) fn alone(entry: SocketAddr, span: Duration) -> Result<[f64; 2], Fault> {
    let mut stream = connect(entry)?;
    let mut byte = [ECHO];
    let mut trip = || -> io::Result<Duration> {
        let begun = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        Ok(begun.elapsed())
    };
    for _ in 0..WARM_UP {
        trip()?;
    }
    let mut trips = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < span {
        trips.push(trip()?);
    }
    trips.sort_unstable();
    let at = |percent: usize| {
        let found = trips.get(trips.len() * percent / 100);
        found.map_or(f64::NAN, |trip| trip.as_secs_f64() * 1e6)
    };
    Ok([at(50), at(99)])
}

/// The same beside a download at full speed, and the download's Gbit/s.
pub(crate) fn beside_download(entry: SocketAddr, span: Duration) -> Result<([f64; 2], f64), Fault> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (running, runs) = mpsc::channel();
    let download = thread::spawn(move || -> io::Result<f64> {
        let mut download = Download::start(entry, ENDLESS)?;
        let mut got = 0;
        while got < RUNNING {
            got += download.step()?;
        }
        // The other side only waits for it.
        let _gone = running.send(());
        let begun = Instant::now();
        let mut got = 0;
        while !stopped.load(Ordering::Relaxed) {
            got += download.step()?;
        }
        Ok(got as f64 * 8e-9 / begun.elapsed().as_secs_f64())
    });
    // If it fails instead, joining tells why.
    let pings = match runs.recv_timeout(PATIENCE) {
        Ok(()) => alone(entry, span),
        Err(_) => Err("the download does not start".into()),
    };
    stop.store(true, Ordering::Relaxed);
    let speed = download.join().map_err(|_| "the download panicked")??;
    Ok((pings?, speed))
}
