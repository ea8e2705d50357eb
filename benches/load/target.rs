//! What connections lead to, the same for every system: the first byte says what is wanted.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Fault;
use crate::helper::{self, Helper};
use crate::pattern::{PIECE, Pattern};

/// Everything comes back, this byte too.
pub(crate) const ECHO: u8 = b'e';
/// So many bytes (8, big endian) of the pattern come, then the end.
pub(crate) const DOWN: u8 = b'd';
/// Bytes of the pattern are taken to their end; then comes how many (8) were right up to there.
pub(crate) const UP: u8 = b'u';

/// Starts the target's process.
pub(crate) fn start() -> Result<(Helper, SocketAddr), Fault> {
    let (helper, address) = Helper::start(&["target"])?;
    Ok((helper, address.parse()?))
}

/// Serves until the end of standard input.
#[tokio::main]
pub(crate) async fn serve() -> Result<(), Fault> {
    let listener = helper::listen()?;
    helper::end_with_parent();
    helper::ready(&listener.local_addr()?.to_string())?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match stream.read_u8().await? {
        ECHO => echo(stream).await,
        DOWN => down(stream).await,
        UP => up(stream).await,
        _ => Ok(()),
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    // Small: thousands of them are held.
    let mut buffer = [0; 64];
    let mut len = 1;
    buffer[0] = ECHO;
    while len > 0 {
        stream
            .write_all(buffer.get(..len).unwrap_or_default())
            .await?;
        len = stream.read(&mut buffer).await?;
    }
    Ok(())
}

async fn down(mut stream: TcpStream) -> io::Result<()> {
    let mut left = stream.read_u64().await?;
    let mut pattern = Pattern::new();
    while left > 0 {
        let count = stream.write(pattern.peek(left)).await?;
        pattern.advance(count);
        left -= count as u64;
    }
    stream.shutdown().await
}

async fn up(mut stream: TcpStream) -> io::Result<()> {
    let mut pattern = Pattern::new();
    let mut buffer = vec![0; PIECE];
    let mut right = 0;
    loop {
        let count = stream.read(&mut buffer).await?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if count == 0 || !pattern.check(bytes) {
            break;
        }
        right += count as u64;
    }
    stream.write_u64(right).await?;
    stream.shutdown().await
}
