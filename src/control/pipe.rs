//! The daemon's side of `muses connect`: a channel whose stream is handed to another process.
//!
//! The LCM gets one end of a socket pair, the caller the other; the bytes never pass through the
//! control connection, which only tells when the channel is open and how it ended. A second handle
//! of the caller's end stays here: when the caller is killed, the LCM must not take the closing of
//! its end for a proper end of input. Then, first the receiver of `ended` is dropped and after that
//! the handle, so that an LCM that reads the end of a stream whose `ended` is closed knows that it
//! has to reset the channel.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::net::UnixStream},
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{
    io::Interest,
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::control::protocol::{ANSWER_TIME, Notice, Outcome, Response, line};
use crate::control::server::Caller;
use crate::control::service::Service;
use crate::lcm::local::{Answer, Ending, LocalConnection, LocalStream};
use crate::net::descriptors::is_kept_back;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Host;

/// A channel being opened or open.
struct Pipe {
    theirs: UnixStream,
    opened: oneshot::Receiver<Result<(), OpenFailure>>,
    ended: oneshot::Receiver<Ending>,
}

/// Opens a channel, hands it over, and stays until it has ended.
pub(super) async fn serve<S: Service>(
    caller: &mut Caller,
    service: &S,
    pipes: &Semaphore,
    (host, port): (&str, u16),
) -> io::Result<()> {
    let Ok(_slot) = pipes.try_acquire() else {
        return caller.say(&Response::from(OpenFailure::Limit)).await;
    };
    let mut pipe = match open(service, host, port).await {
        Ok(pipe) => pipe,
        Err(response) => return caller.say(&response).await,
    };
    let opened = tokio::select! {
        opened = &mut pipe.opened => opened,
        // It left, or it speaks before its turn.
        _ = caller.line() => return Ok(()),
    };
    match opened.unwrap_or(Err(OpenFailure::Cut)) {
        Ok(()) => {}
        Err(failure) => return caller.say(&Response::from(failure)).await,
    }
    timeout(ANSWER_TIME, hand_over(caller, &pipe.theirs)).await??;
    watch(caller, pipe).await
}

async fn open<S: Service>(service: &S, host: &str, port: u16) -> Result<Pipe, Response> {
    let malformed = |message: String| Response::Failed {
        failed: "malformed".to_owned(),
        exit: 64,
        message,
    };
    let host: Host = host.parse().map_err(|e| malformed(format!("{e}")))?;
    if port == 0 {
        return Err(malformed("a port is a number from 1 to 65535".to_owned()));
    }
    let (via, target) = service.choose(&host, port)?;
    let pair = UnixStream::pair().and_then(|(ours, theirs)| {
        ours.set_nonblocking(true)?;
        Ok((ours, theirs))
    });
    let (ours, theirs) = pair.map_err(|_| OpenFailure::Limit)?;
    if is_kept_back(&ours) || is_kept_back(&theirs) {
        return Err(OpenFailure::Limit.into());
    }
    let (opened_tx, opened) = oneshot::channel();
    let (ended_tx, ended) = oneshot::channel();
    let connection = LocalConnection {
        stream: LocalStream::Unix(ours),
        early: Vec::new(),
        port: 0,
        via,
        target,
        answer: Answer::Report {
            opened: opened_tx,
            ended: ended_tx,
        },
    };
    if !service.open(connection).await {
        return Err(Response::Failed {
            failed: "stopping".to_owned(),
            exit: 69,
            message: "the daemon is stopping".to_owned(),
        });
    }
    Ok(Pipe {
        theirs,
        opened,
        ended,
    })
}

/// Sends the good news and the descriptor in one message.
async fn hand_over(caller: &Caller, theirs: &UnixStream) -> io::Result<()> {
    let text = line(&Response::Opened(true));
    let stream = caller.stream();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let fds = [theirs.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
                return Err(io::Error::other("no room for a descriptor"));
            }
            let flags = SendFlags::NOSIGNAL;
            Ok(sendmsg(
                stream,
                &[IoSlice::new(&text)],
                &mut control,
                flags,
            )?)
        })
        .await?;
    // The buffer of a fresh connection takes sixteen bytes at once.
    if sent < text.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

async fn watch(caller: &mut Caller, pipe: Pipe) -> io::Result<()> {
    let Pipe {
        theirs, mut ended, ..
    } = pipe;
    let mut input_ended = false;
    loop {
        tokio::select! {
            ending = &mut ended => {
                let outcome = ending.map_or(Outcome::Cut, Outcome::from);
                return caller.say(&Response::Ended(outcome)).await;
            }
            text = caller.line() => match text {
                Ok(Some(text)) if !input_ended && is_eof(&text) => input_ended = true,
                _ => break,
            },
        }
    }
    if !input_ended {
        drop(ended);
        drop(theirs);
        return Ok(());
    }
    // It left after a proper end; what the LCM has not read yet is still to be sent, so the channel
    // must not look aborted.
    drop(theirs);
    let _ = ended.await;
    Ok(())
}

fn is_eof(text: &[u8]) -> bool {
    matches!(serde_json::from_slice(text), Ok(Notice::Eof(true)))
}
