//! A simulated TCP connection between two nodes: in order, with latency, and with ways to break.

use std::collections::VecDeque;
use std::time::Duration;

use crate::cloak::neighbours::Link;
use crate::time::Time;

/// A link's wire.
#[derive(Debug)]
pub(super) struct Wire {
    /// The link's number at each end, while that end holds it.
    pub(super) ends: [Option<Link>; 2],
    latency: Duration,
    /// Bytes on their way to each end.
    travelling: [VecDeque<(Time, Vec<u8>)>; 2],
    /// Bytes that each end has read and not used up.
    pub(super) arrived: [Vec<u8>; 2],
    /// When each end hears that the other has closed.
    pub(super) closing: [Option<Time>; 2],
    /// Whether bytes vanish.
    pub(super) silent: bool,
}

impl Wire {
    pub(super) fn new(ends: [Option<Link>; 2], latency: Duration) -> Self {
        Self {
            ends,
            latency,
            travelling: Default::default(),
            arrived: Default::default(),
            closing: [None; 2],
            silent: false,
        }
    }

    /// Sends bytes to the end `to`.
    pub(super) fn send(&mut self, to: usize, bytes: Vec<u8>, now: Time) {
        if !self.silent
            && let Some(queue) = self.travelling.get_mut(to)
        {
            queue.push_back((now + self.latency, bytes));
        }
    }

    /// All bytes vanish from here on, those under way too.
    pub(super) fn cut(&mut self) {
        self.silent = true;
        self.travelling = Default::default();
    }

    /// One end closes; the other hears of it, unless the wire is cut.
    pub(super) fn close(&mut self, end: usize, now: Time) -> Option<Link> {
        let other = 1 - end;
        if !self.silent
            && let Some(closing) = self.closing.get_mut(other)
        {
            *closing = Some(now + self.latency);
        }
        self.ends.get_mut(end)?.take()
    }

    /// Moves what has arrived at `end` into its buffer; whether there was anything.
    pub(super) fn deliver(&mut self, end: usize, now: Time) -> bool {
        let (Some(queue), Some(buffer)) = (self.travelling.get_mut(end), self.arrived.get_mut(end))
        else {
            return false;
        };
        let before = buffer.len();
        while let Some((_, bytes)) = queue.pop_front_if(|(at, _)| *at <= now) {
            buffer.extend(bytes);
        }
        buffer.len() > before
    }

    /// When something arrives at `end` next.
    pub(super) fn next(&self, end: usize) -> Time {
        let held = self.ends.get(end).is_some_and(Option::is_some);
        let bytes = self
            .travelling
            .get(end)
            .and_then(|queue| queue.front().map(|(at, _)| *at));
        let closing = self.closing.get(end).copied().flatten();
        let first = [bytes, closing].into_iter().flatten().min();
        first.filter(|_| held).unwrap_or(Time::NEVER)
    }
}
