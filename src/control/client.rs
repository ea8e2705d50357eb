//! The caller's side of the control socket: blocking, one request per connection.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use thiserror::Error;

use crate::control::overlay::HopStatus;
use crate::control::protocol::{REQUEST_TIME, Request, Response, line};

/// Longest answer read, in bytes: a status of a hundred thousand channels.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How long `status`, `kill` and `reload` wait for the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no usable answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody listens at any of the places.
    #[error("no muses daemon answers at {0}; start one with: muses run")]
    NoDaemon(String),
    /// Somebody is there, but the system does not let us talk.
    #[error("cannot talk to the daemon at {0}: {1}")]
    Io(PathBuf, io::Error),
    /// The daemon refused the request.
    #[error("the daemon says: {0}")]
    Refused(String),
    /// The answer makes no sense: another version, or no daemon of ours.
    #[error("the daemon's answer is not understood: {0}")]
    Nonsense(String),
    /// The channel could not be opened, or the node could not be found.
    #[error("{message}")]
    Failed {
        /// What the calling command shall exit with.
        exit: u8,
        /// For a person.
        message: String,
    },
}

/// An open channel.
#[derive(Debug)]
pub struct Pipe {
    /// Its bytes; blocking.
    pub stream: UnixStream,
    /// The control connection, which tells how it ended; blocking.
    pub control: UnixStream,
    /// Bytes of the control connection that were read already.
    pub rest: Vec<u8>,
}

/// Sends a request to the first place where a daemon answers; an [`Response::Error`] becomes an
/// error. Blocks for half a minute at most.
pub fn request(places: &[PathBuf], request: &Request) -> Result<Response, CallError> {
    let (path, mut stream) = call(places, request, Some(PATIENCE))?;
    let mut text = Vec::new();
    let read = Read::by_ref(&mut stream)
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut text);
    read.map_err(|e| CallError::Io(path, e))?;
    parse(&text)
}

/// Asks for the way to a node and hands out each step as it comes; says whether it reached the node.
/// Blocks for half a minute at most between two steps.
pub fn trace(
    places: &[PathBuf],
    name: &str,
    mut hop: impl FnMut(HopStatus),
) -> Result<bool, CallError> {
    let name = name.to_owned();
    let (path, stream) = call(places, &Request::Trace { name }, Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    loop {
        let mut text = Vec::new();
        let read = reader.read_until(b'\n', &mut text);
        read.map_err(|e| CallError::Io(path.clone(), e))?;
        match parse(&text)? {
            Response::Hop(step) => hop(step),
            Response::Traced(reached) => return Ok(reached),
            Response::Failed { exit, message, .. } => {
                return Err(CallError::Failed { exit, message });
            }
            other => return Err(CallError::Nonsense(format!("{other:?}"))),
        }
    }
}

/// Asks for a channel and waits for it as long as the daemon does. Blocks.
pub fn connect(places: &[PathBuf], host: &str, port: u16) -> Result<Pipe, CallError> {
    let request = Request::Connect {
        host: host.to_owned(),
        port,
    };
    let (path, control) = call(places, &request, None)?;
    let io = |e| CallError::Io(path.clone(), e);
    let mut text = Vec::new();
    let mut stream = None;
    let end = loop {
        if let Some(end) = text.iter().position(|b| *b == b'\n') {
            break end + 1;
        }
        let received = receive(&control, &mut text, &mut stream).map_err(io)?;
        if received == 0 {
            return Err(io(ErrorKind::UnexpectedEof.into()));
        }
        if text.len() > 1 << 16 {
            return Err(CallError::Nonsense("it does not end".to_owned()));
        }
    };
    let rest = text.split_off(end);
    match (parse(&text)?, stream) {
        (Response::Opened(true), Some(fd)) => Ok(Pipe {
            stream: fd.into(),
            control,
            rest,
        }),
        (Response::Failed { exit, message, .. }, _) => Err(CallError::Failed { exit, message }),
        _ => Err(CallError::Nonsense("no channel came with it".to_owned())),
    }
}

fn call(
    places: &[PathBuf],
    request: &Request,
    patience: Option<Duration>,
) -> Result<(PathBuf, UnixStream), CallError> {
    for path in places {
        let io = |e| CallError::Io(path.clone(), e);
        let mut stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                continue;
            }
            Err(e) => return Err(io(e)),
        };
        stream.set_read_timeout(patience).map_err(io)?;
        stream.set_write_timeout(Some(REQUEST_TIME)).map_err(io)?;
        stream.write_all(&line(request)).map_err(io)?;
        return Ok((path.clone(), stream));
    }
    let tried: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
    Err(CallError::NoDaemon(tried.join(" or ")))
}

fn parse(text: &[u8]) -> Result<Response, CallError> {
    match serde_json::from_slice(text) {
        Ok(Response::Error(text)) => Err(CallError::Refused(text)),
        Ok(response) => Ok(response),
        Err(error) => Err(CallError::Nonsense(error.to_string())),
    }
}

/// Reads once, keeping the first descriptor that comes along; zero is the end.
fn receive(
    control: &UnixStream,
    text: &mut Vec<u8>,
    stream: &mut Option<OwnedFd>,
) -> io::Result<usize> {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(
            control,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            flags,
        )
    })?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            for fd in fds {
                stream.get_or_insert(fd);
            }
        }
    }
    text.extend_from_slice(bytes.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}
