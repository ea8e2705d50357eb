//! The daemon's side of the control socket: accepting callers and answering them.

use std::{io, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tracing::{debug, info, warn};

use crate::control::pipe;
use crate::control::protocol::{
    ANSWER_TIME, CONNECTIONS_MAX, PIPES_MAX, REQUEST_BYTES_MAX, REQUEST_TIME, Request, Response,
    line,
};
use crate::control::service::Service;
use crate::control::socket::Socket;
use crate::net::accept::accept;
use crate::net::guests::{Guests, PATIENCE, Silence};

/// Serves callers for ever; dropping the future drops them all. Fails only at the start.
pub async fn serve<S: Service>(socket: &Socket, service: Arc<S>) -> io::Result<()> {
    serve_up_to(CONNECTIONS_MAX, socket, service).await
}

async fn serve_up_to<S: Service>(
    connections_max: usize,
    socket: &Socket,
    service: Arc<S>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener()?)?;
    let pipes = Arc::new(Semaphore::new(PIPES_MAX));
    let mut callers = Guests::new(connections_max, PATIENCE);
    loop {
        callers.room().await;
        let stream = accept(&listener).await;
        let (service, pipes) = (Arc::clone(&service), Arc::clone(&pipes));
        callers.admit(|silence| async move {
            let mut caller = Caller::new(stream, silence);
            if let Err(error) = answer(&mut caller, &*service, &pipes, REQUEST_TIME).await {
                debug!(%error, "control connection ended early");
            }
        });
    }
}

async fn answer<S: Service>(
    caller: &mut Caller,
    service: &S,
    pipes: &Semaphore,
    patience: Duration,
) -> io::Result<()> {
    if !caller.is_trusted()? {
        warn!("refused a caller of another user on the control socket");
        return caller.error("not your daemon").await;
    }
    let text = match timeout(patience, caller.line()).await {
        Ok(Ok(Some(text))) => text,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return caller.error(&error.to_string()).await,
        Err(_) => return caller.error("no request in time").await,
    };
    caller.silence.end();
    let request = match serde_json::from_slice(&text) {
        Ok(request) => request,
        Err(error) => return caller.error(&format!("not a request: {error}")).await,
    };
    let response = match request {
        Request::Status {} => Response::Status(Box::new(service.status().await)),
        Request::Kill(what) => {
            info!(%what, "kill asked for on the control socket");
            Response::Killed(service.kill(what).await)
        }
        Request::Reload {} => match service.reload().await {
            Ok(text) => Response::Reloaded(text),
            Err(text) => Response::Error(text),
        },
        Request::Lookup { name } => match service.lookup(&name).await {
            Ok(found) => Response::Found(found),
            Err(unanswered) => unanswered.into(),
        },
        Request::Trace { name } => return trace(caller, service, &name).await,
        Request::Connect { host, port } => {
            return pipe::serve(caller, service, pipes, (&host, port)).await;
        }
    };
    caller.say(&response).await
}

/// Tells every step of a way as it is known. A caller that is gone is noticed at the next one.
async fn trace<S: Service>(caller: &mut Caller, service: &S, name: &str) -> io::Result<()> {
    let (sender, mut hops) = mpsc::channel(1);
    let trace = async { Ok(service.trace(name, sender).await) };
    let tell = async {
        while let Some(hop) = hops.recv().await {
            caller.say(&Response::Hop(hop)).await?;
        }
        Ok::<_, io::Error>(())
    };
    let (reached, ()) = tokio::try_join!(trace, tell)?;
    let end = reached.map_or_else(Response::from, Response::Traced);
    caller.say(&end).await
}

/// One caller's connection.
#[derive(Debug)]
pub(super) struct Caller {
    stream: UnixStream,
    silence: Silence,
    /// Bytes behind the last line; at most [`REQUEST_BYTES_MAX`].
    buffer: Vec<u8>,
}

impl Caller {
    const fn new(stream: UnixStream, silence: Silence) -> Self {
        Self {
            stream,
            silence,
            buffer: Vec::new(),
        }
    }

    pub(super) const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether the other process runs as our user or as root.
    fn is_trusted(&self) -> io::Result<bool> {
        let uid = self.stream.peer_cred()?.uid();
        Ok(uid == 0 || uid == rustix::process::geteuid().as_raw())
    }

    /// The next line without its end; `None` when the caller closed its side. May be dropped
    /// half-way: nothing is lost.
    pub(super) async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(end);
                return Ok(Some(line));
            }
            let space = REQUEST_BYTES_MAX.saturating_sub(self.buffer.len());
            if space == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the line is too long",
                ));
            }
            self.stream.readable().await?;
            let mut piece = [0; REQUEST_BYTES_MAX];
            let room = piece.get_mut(..space).unwrap_or_default();
            match self.stream.try_read(room) {
                Ok(0) => return Ok(None),
                Ok(n) => self
                    .buffer
                    .extend_from_slice(room.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends one line, within [`ANSWER_TIME`].
    pub(super) async fn say(&mut self, value: &(impl Serialize + Sync)) -> io::Result<()> {
        let bytes = line(value);
        timeout(ANSWER_TIME, self.stream.write_all(&bytes)).await?
    }

    async fn error(&mut self, text: &str) -> io::Result<()> {
        self.say(&Response::Error(text.to_owned())).await
    }
}

#[cfg(test)]
mod tests;
