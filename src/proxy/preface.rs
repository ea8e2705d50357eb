//! The stream under a preface: everything read so far is kept, replies wait until a read must.
//!
//! SOCKS5 and HTTP readers take what they need from one bounded buffer; what is left in it when the
//! request is complete was sent early and belongs to the channel. Replies are collected and sent in
//! one go before the next wait for the client, so that a reply that turns out wrong can be replaced.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

/// Longest SOCKS5 preface in bytes: methods (2 + 255), login (3 + 255 + 255), request (7 + 255).
pub(crate) const SOCKS_BYTES_MAX: usize = 1032;

/// A client's stream with what it has said and what it is to be told.
pub(crate) struct Preface<S> {
    stream: S,
    /// Erased when dropped, because it holds passwords; it never moves while it grows.
    input: Zeroizing<Vec<u8>>,
    limit: usize,
    taken: usize,
    output: Vec<u8>,
}

impl<S> Preface<S> {
    /// Nothing read, with room for a SOCKS5 preface.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: Zeroizing::new(Vec::with_capacity(SOCKS_BYTES_MAX)),
            limit: SOCKS_BYTES_MAX,
            taken: 0,
            output: Vec::new(),
        }
    }

    /// Makes room for `limit` bytes in total.
    pub(crate) fn widen(&mut self, limit: usize) {
        let mut wider = Zeroizing::new(Vec::with_capacity(limit.max(self.input.len())));
        wider.extend_from_slice(&self.input);
        self.input = wider;
        self.limit = limit;
    }

    /// What has been read and not taken.
    pub(crate) fn unread(&self) -> &[u8] {
        self.input.get(self.taken..).unwrap_or_default()
    }

    /// Takes `len` bytes.
    pub(crate) fn take(&mut self, len: usize) {
        self.taken = self.taken.saturating_add(len).min(self.input.len());
    }

    /// Whether the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.input.len() >= self.limit
    }

    /// Adds to what the client is to be told.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Takes back what has not been sent.
    pub(crate) fn unsay(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The stream, and what the client sent behind its request.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        let early = self.unread().to_vec();
        (self.stream, early)
    }

    /// The stream alone.
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncWrite + Unpin> Preface<S> {
    /// Sends what the client is to be told.
    pub(crate) async fn send(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.drain(..sent.min(self.output.len()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Preface<S> {
    /// Reads once more; zero bytes mean that the client sends nothing else.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        if self.is_full() {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let start = self.input.len();
        self.input.resize(self.limit, 0);
        let mut free = ReadBuf::new(self.input.get_mut(start..).unwrap_or_default());
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut free);
        let read = free.filled().len();
        self.input.truncate(start.saturating_add(read));
        polled.map_ok(|()| read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Preface<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread().is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        let unread = self.unread();
        let len = unread.len().min(into.remaining());
        into.put_slice(unread.get(..len).unwrap_or_default());
        self.take(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Preface<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.say(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Does nothing: `send` and the next wait for the client send.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
