//! Many connections: opened and closed, or opened and held.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Fault;
use crate::machine::memory_kib;
use crate::report::Metric;
use crate::system::System;
use crate::target::ECHO;
use crate::workload::PATIENCE;

/// Connections under way at once.
const AT_ONCE: usize = 200;
/// How long an idle system may come to rest before its memory is read.
const REST: Duration = Duration::from_secs(2);

/// Connections per second, of `count`: connect, one byte there and back, close. With `target`, `entry`
/// is a SOCKS5 port.
#[tokio::main]
pub(crate) async fn rate(
    entry: SocketAddr,
    target: Option<SocketAddr>,
    count: usize,
) -> Result<f64, Fault> {
    // The first connection of all may have to wait for a session.
    open(entry, target).await?;
    let begun = Instant::now();
    drop(many(entry, target, count, false).await?);
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// KiB of memory per idle connection, of each end.
#[tokio::main]
pub(crate) async fn idle(system: &System, count: u32) -> Result<Vec<(Metric, f64)>, Fault> {
    let Some([near, far]) = system.ends else {
        return Ok(Vec::new());
    };
    let first = open(system.entry, None).await?;
    tokio::time::sleep(REST).await;
    let before = (memory_kib(near)?, memory_kib(far)?);
    let held = many(system.entry, None, usize::try_from(count)?, true).await?;
    tokio::time::sleep(REST).await;
    let after = (memory_kib(near)?, memory_kib(far)?);
    drop((first, held));
    Ok(vec![
        (Metric::IdleNear, (after.0 - before.0) / f64::from(count)),
        (Metric::IdleFar, (after.1 - before.1) / f64::from(count)),
    ])
}

/// Opens `count` connections, [`AT_ONCE`] at a time; closes each at once or gives them all.
async fn many(
    entry: SocketAddr,
    target: Option<SocketAddr>,
    count: usize,
    hold: bool,
) -> Result<Vec<TcpStream>, Fault> {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE.min(count) {
        let begun = Arc::clone(&begun);
        workers.spawn(async move {
            let mut held = Vec::new();
            while begun.fetch_add(1, Ordering::Relaxed) < count {
                let stream = open(entry, target).await?;
                if hold {
                    held.push(stream);
                }
            }
            io::Result::Ok(held)
        });
    }
    let mut all = Vec::new();
    while let Some(one) = workers.join_next().await {
        all.extend(one??);
    }
    Ok(all)
}

/// A connection that has carried one byte there and back.
async fn open(entry: SocketAddr, target: Option<SocketAddr>) -> io::Result<TcpStream> {
    let conversation = async {
        let mut stream = TcpStream::connect(entry).await?;
        stream.set_nodelay(true)?;
        if let Some(target) = target {
            socks(&mut stream, target).await?;
        }
        stream.write_all(&[ECHO]).await?;
        match stream.read_u8().await? {
            ECHO => Ok(stream),
            other => Err(io::Error::other(format!("{other} came back"))),
        }
    };
    timeout(PATIENCE, conversation).await?
}

/// Asks a SOCKS5 proxy for a connection (RFC 1928).
async fn socks(stream: &mut TcpStream, target: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(target) = target else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    stream.write_all(&[5, 1, 0]).await?;
    if stream.read_u16().await? != 0x0500 {
        return Err(io::Error::other("the proxy wants a password"));
    }
    let mut request = vec![5, 1, 0, 1];
    request.extend_from_slice(&target.ip().octets());
    request.extend_from_slice(&target.port().to_be_bytes());
    stream.write_all(&request).await?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await?;
    let bound = match reply {
        [5, 0, _, 1] => 6,
        [5, 0, _, 4] => 18,
        _ => return Err(io::Error::other(format!("SOCKS5 reply {reply:?}"))),
    };
    stream.read_exact(&mut vec![0; bound]).await?;
    Ok(())
}
