//! Reading from a socket without asking it twice.

use std::io;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Reads what is there, like [`TcpStream::try_read`], and takes the socket's readiness back when the read did
/// not fill `into`: then it is empty, and epoll tells of whatever comes later. That saves the read which
/// would only say so, before every answer.
///
/// Only for sockets on a runtime of one thread: its driver does not run between the two steps, so no news
/// can be lost there. An end that has been told stays told.
pub fn try_read(stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    let count = stream.try_read(into)?;
    if (1..into.len()).contains(&count) {
        let empty: io::Result<()> =
            stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        debug_assert!(empty.is_err());
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_and_the_end_after_a_short_read_are_told() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (dialled, accepted) = tokio::join!(
            TcpStream::connect(listener.local_addr()?),
            listener.accept()
        );
        let (mut writer, reader) = (dialled?, accepted?.0);
        let mut buffer = [0; 64];
        for round in 0..100_u8 {
            writer.write_all(&[round, round]).await?;
            reader.readable().await?;
            assert_eq!(try_read(&reader, &mut buffer)?, 2);
            assert_eq!(buffer.first(), Some(&round));
            let nothing = try_read(&reader, &mut buffer).map_err(|error| error.kind());
            assert_eq!(nothing, Err(io::ErrorKind::WouldBlock));
        }
        // Bytes and the end arrive together: the short read must not hide the end.
        writer.write_all(b"last").await?;
        writer.shutdown().await?;
        let mut seen = Vec::new();
        loop {
            reader.readable().await?;
            match try_read(&reader, &mut buffer) {
                Ok(0) => break,
                Ok(count) => seen.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(seen, b"last");
        Ok(())
    }
}
