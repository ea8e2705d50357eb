//! Bulk transfers; every byte is compared where it arrives.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Instant;

use crate::Fault;
use crate::pattern::{PIECE, Pattern};
use crate::target::{DOWN, UP};
use crate::workload::{Transfer, connect};

/// Runs `streams` transfers at once that carry `bytes` together; gives the seconds from the first
/// connect to the last byte verified.
pub(crate) fn run(
    transfer: Transfer,
    entry: SocketAddr,
    bytes: u64,
    streams: u64,
) -> Result<f64, Fault> {
    let begun = Instant::now();
    let share = bytes / streams;
    let all: Vec<_> = (0..streams)
        .map(|_| thread::spawn(move || transfer(entry, share)))
        .collect();
    for one in all {
        one.join().map_err(|_| "a transfer panicked")??;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Fetches `bytes` of the pattern and then the end.
pub(crate) fn download(entry: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut reader = Download::start(entry, bytes)?;
    let mut got = 0;
    loop {
        match reader.step()? {
            0 => break,
            count => got += count,
        }
    }
    complete(got, bytes)
}

/// Sends `bytes` of the pattern and the end; waits for the far side's count of right ones.
pub(crate) fn upload(entry: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut stream = connect(entry)?;
    stream.write_all(&[UP])?;
    let mut pattern = Pattern::new();
    let mut left = bytes;
    while left > 0 {
        let count = stream.write(pattern.peek(left))?;
        pattern.advance(count);
        left -= count as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut right = [0; 8];
    stream.read_exact(&mut right)?;
    complete(u64::from_be_bytes(right), bytes)
}

fn complete(got: u64, wanted: u64) -> io::Result<()> {
    if got == wanted {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{got} right bytes of {wanted} arrived"
        )))
    }
}

/// A download under way.
pub(crate) struct Download {
    stream: std::net::TcpStream,
    pattern: Pattern,
    buffer: Vec<u8>,
    at: u64,
}

impl Download {
    pub(crate) fn start(entry: SocketAddr, bytes: u64) -> io::Result<Self> {
        let mut stream = connect(entry)?;
        let mut wish = vec![DOWN];
        wish.extend_from_slice(&bytes.to_be_bytes());
        stream.write_all(&wish)?;
        Ok(Self {
            stream,
            pattern: Pattern::new(),
            buffer: vec![0; PIECE],
            at: 0,
        })
    }

    /// Reads and compares some bytes; says how many, zero at the end.
    pub(crate) fn step(&mut self) -> io::Result<u64> {
        let count = self.stream.read(&mut self.buffer)?;
        if !self
            .pattern
            .check(self.buffer.get(..count).unwrap_or_default())
        {
            return Err(io::Error::other(format!(
                "wrong byte within {count} behind byte {}",
                self.at
            )));
        }
        self.at += count as u64;
        Ok(count as u64)
    }
}
