//! An application's or a service's stream, TCP or Unix.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::lcm::local::LocalStream;
use crate::net::reading;

/// A stream that is registered with a runtime: a front end's, then the core thread's.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    /// Registers a stream with the runtime of the calling thread.
    pub fn register(local: LocalStream) -> io::Result<Self> {
        Ok(match local {
            LocalStream::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
            LocalStream::Unix(stream) => Self::Unix(UnixStream::from_std(stream)?),
        })
    }

    /// Takes the stream from its runtime.
    pub fn into_local(self) -> io::Result<LocalStream> {
        Ok(match self {
            Self::Tcp(stream) => LocalStream::Tcp(stream.into_std()?),
            Self::Unix(stream) => LocalStream::Unix(stream.into_std()?),
        })
    }

    /// The port at the other end; zero where there is none.
    pub fn port(&self) -> u16 {
        match self {
            // A connection that is gone has none, either.
            Self::Tcp(stream) => stream.peer_addr().map_or(0, |peer| peer.port()),
            Self::Unix(_) => 0,
        }
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

    /// Says the last words to an application whose request failed, and ends: a reset if they do not fit. A
    /// stream that was registered just now counts as not ready, whatever it is; so it is written to unasked.
    pub fn farewell(&self, words: &[u8]) {
        let said = self.socket().send(words);
        let whole = said.is_ok_and(|count| count == words.len());
        if !whole || self.shut_write().is_err() {
            self.reset_on_close();
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
            // It knows no reset. The kernel shows one when bytes of the application are left unread, but an
            // application that has said nothing, or was heard to the end, has none to leave.
            Self::Unix(_) => {}
        }
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_write())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn the_last_words_reach_the_application_however_new_its_stream_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut application = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let stream = Stream::register(LocalStream::Tcp(accepted)).unwrap();
        stream.farewell(b"refused");
        drop(stream);
        let mut words = Vec::new();
        application.read_to_end(&mut words).unwrap();
        assert_eq!(words, b"refused");
    }
}
