//! The preface readers without sockets, for fuzzing and property tests.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::preface::Preface;
use crate::proxy::request;
use crate::proxy::users::Users;
use crate::wire::target::Host;

/// What came of a preface.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The destination, if there was a complete and valid request.
    pub request: Option<(Host, u16)>,
    /// What the client hears once the far side has answered.
    pub success: Vec<u8>,
    /// What followed the request in the chunks that were read.
    pub early: Vec<u8>,
    /// What the client heard before, or is about to hear if it was refused.
    pub said: Vec<u8>,
    /// Bytes of the client that were not read.
    pub left: usize,
}

/// Lets a client that sends `bytes`, cut at the places `cuts`, and then ends, go through the preface.
pub fn preface(bytes: &[u8], cuts: &[usize], users: Option<&Users>) -> Outcome {
    let mut preface = Preface::new(Script::new(bytes, cuts));
    let read = {
        let reading = pin!(request::read(&mut preface, users));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => read,
            // A script always has an answer, so there is nothing to wait for.
            Poll::Pending => return Outcome::default(),
        }
    };
    let unsent = preface.unsay();
    let (script, early) = preface.into_parts();
    let mut said = script.said;
    said.extend_from_slice(&unsent);
    let left = script.chunks.iter().map(Vec::len).sum();
    match read {
        Ok(request) => Outcome {
            request: Some((request.host, request.port)),
            success: request.success,
            early,
            said,
            left,
        },
        Err(_) => Outcome {
            said,
            left,
            ..Outcome::default()
        },
    }
}

/// A client that says its chunks one read at a time, then ends, and listens to everything.
struct Script {
    chunks: VecDeque<Vec<u8>>,
    said: Vec<u8>,
}

impl Script {
    fn new(bytes: &[u8], cuts: &[usize]) -> Self {
        let mut places: Vec<usize> = cuts.iter().map(|cut| (*cut).min(bytes.len())).collect();
        places.push(bytes.len());
        places.sort_unstable();
        let mut chunks = VecDeque::new();
        let mut start = 0;
        for end in places {
            let chunk = bytes.get(start..end).unwrap_or_default();
            if !chunk.is_empty() {
                chunks.push_back(chunk.to_vec());
            }
            start = end;
        }
        Self {
            chunks,
            said: Vec::new(),
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut chunk) = self.chunks.pop_front() {
            let rest = chunk.split_off(chunk.len().min(into.remaining()));
            into.put_slice(&chunk);
            if !rest.is_empty() {
                self.chunks.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.said.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
