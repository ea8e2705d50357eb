//! An application's or a service's stream, TCP or Unix.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::lcm::local::LocalStream;
use crate::net::reading;

/// A stream that is registered with the core thread's runtime.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    /// Registers a stream. Must run on the core thread.
    pub fn register(local: LocalStream) -> io::Result<Self> {
        Ok(match local {
            LocalStream::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
            LocalStream::Unix(stream) => Self::Unix(UnixStream::from_std(stream)?),
        })
    }

    /// Reads what is there. Must run on the core thread.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => reading::try_read(stream, into),
            Self::Unix(stream) => stream.try_read(into),
        }
    }

    /// Writes what fits.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Waits until [`Self::try_read`] has something.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Waits until [`Self::try_write`] has room.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Waits until the other end has reset the stream. A mere end is no reset.
    pub async fn failed(&self) {
        loop {
            let ready = match self {
                Self::Tcp(stream) => stream.ready(Interest::ERROR).await,
                Self::Unix(stream) => stream.ready(Interest::ERROR).await,
            };
            if ready.is_err()
                || self
                    .socket()
                    .take_error()
                    .map_or(true, |error| error.is_some())
            {
                return;
            }
            // Readiness without an error stays set; nothing more will be told.
            std::future::pending::<()>().await;
        }
    }

    /// Ends our direction towards the application.
    pub fn shut_write(&self) -> io::Result<()> {
        self.socket().shutdown(std::net::Shutdown::Write)
    }

    /// Makes the coming close a reset: the application must see that bytes may be missing (R-S1).
    pub fn reset_on_close(&self) {
        match self {
            Self::Tcp(stream) => {
                // It fails only on a socket that is already dead.
                let _dead = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            Self::Unix(_) => {}
        }
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }
}
