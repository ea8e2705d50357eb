//! Accepting connections without ever spinning or giving up (R-F10).

use std::{future::Future, io, net::SocketAddr, time::Duration};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

use crate::limits::ACCEPT_QUEUE;
use crate::net::seldom::Seldom;

/// First pause when descriptors or memory are short (R-F10: 50 to 500 ms).
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause when descriptors or memory are short (R-F10: 50 to 500 ms).
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Errors in a row that are retried at once. Chosen: a burst of aborted connections is far shorter,
/// and an error that never ends must not cost a processor.
const AT_ONCE_MAX: u32 = 64;

/// One line per ten seconds about trouble with accepting.
static TROUBLE: Seldom = Seldom::new(Duration::from_secs(10));

/// Opens a listener with a queue that a burst does not overflow (R-F10).
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restarted node gets its port back while connections of the old one linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}

/// What connections are accepted from.
pub trait Listener: Sync {
    /// An accepted connection, with its address where it has one.
    type Accepted: Send;

    /// Accepts one connection; it may be dropped half-way without losing one.
    fn accept_one(&self) -> impl Future<Output = io::Result<Self::Accepted>> + Send;
}

impl Listener for TcpListener {
    type Accepted = (TcpStream, SocketAddr);

    /// TCP_NODELAY is set on what is accepted.
    async fn accept_one(&self) -> io::Result<Self::Accepted> {
        let (stream, address) = self.accept().await?;
        // It fails only on a connection that is gone; reading will tell.
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }
}

impl Listener for UnixListener {
    type Accepted = UnixStream;

    async fn accept_one(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Waits for the next connection, however often accepting fails: it pauses while descriptors or
/// memory are short and retries at once after an error of a single connection.
///
/// It may be dropped half-way without losing a connection; the pause is then forgotten.
pub async fn accept<L: Listener>(listener: &L) -> L::Accepted {
    let mut pause = PAUSE_MIN;
    let mut in_a_row = 0_u32;
    loop {
        let error = match listener.accept_one().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        in_a_row = in_a_row.saturating_add(1);
        if let Some(held_back) = TROUBLE.due() {
            tracing::warn!(%error, held_back, "a connection could not be accepted");
        }
        if is_shortage(&error) || in_a_row > AT_ONCE_MAX {
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }
}

/// Whether the system lacks descriptors or memory, so that retrying at once cannot help.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    /// Fails with the given errors, last one first, then accepts.
    struct Failing(Mutex<Vec<Errno>>);

    impl Failing {
        fn with(error: Errno, times: usize) -> Self {
            Self(Mutex::new(vec![error; times]))
        }
    }

    impl Listener for Failing {
        type Accepted = ();

        async fn accept_one(&self) -> io::Result<()> {
            let next = self.0.lock().unwrap().pop();
            next.map_or_else(
                || std::future::ready(Ok(())),
                |error| std::future::ready(Err(error.into())),
            )
            .await
        }
    }

    async fn waited(listener: Failing) -> Duration {
        let start = Instant::now();
        accept(&listener).await;
        Instant::now() - start
    }

    #[tokio::test(start_paused = true)]
    async fn a_shortage_is_waited_out_with_growing_pauses() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let waited = waited(Failing::with(error, 7)).await;
            let expected = 50 + 100 + 200 + 400 + 500 + 500 + 500;
            assert_eq!(waited, Duration::from_millis(expected), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_aborted_connection_is_passed_over_at_once() {
        let waited = waited(Failing::with(Errno::CONNABORTED, 20)).await;
        assert_eq!(waited, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_does_not_end_is_slowed_down() {
        let waited = waited(Failing::with(Errno::INVAL, 66)).await;
        assert_eq!(waited, Duration::from_millis(50 + 100));
    }

    #[tokio::test]
    async fn an_accepted_connection_does_not_wait_to_fill_segments() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, address) = accept(&listener).await;
        assert_eq!(address, client.local_addr().unwrap());
        assert!(stream.nodelay().unwrap());
    }
}
