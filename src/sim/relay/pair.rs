//! A session through the relay: its two ends, what the application at the first one sends, and the oracle
//! that looks at every byte at the other.

use std::collections::VecDeque;
use std::time::Duration;

use crate::session::{Delivery, Event, Session};
use crate::time::Time;
use crate::wire::frame::ChannelId;
use crate::wire::target::Target;

/// What an application sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// As much as it can, so many bytes.
    Bulk(u64),
    /// A few bytes now and then, so many times.
    Keys(Duration, u64),
}

/// Bytes of one press of a key.
const KEY: usize = 40;
/// Bytes of a pattern that are made at once.
const PIECE: usize = 16 << 10;

/// A channel from the first end to the second.
#[derive(Debug)]
pub(super) struct Writer {
    load: Load,
    seed: u64,
    channel: Option<ChannelId>,
    open: bool,
    written: u64,
    finished: bool,
    /// Bytes that the second end got.
    pub(super) got: u64,
    /// It has seen the end.
    pub(super) ended: bool,
    next_key: Time,
    /// Where each press ends that did not arrive yet, and when it was pressed.
    pressed: VecDeque<(u64, Time)>,
    /// How long each press took.
    pub(super) took: Vec<(Time, Duration)>,
}

/// A session and its applications.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) sessions: [Session; 2],
    pub(super) writers: Vec<Writer>,
    /// The first rule that was broken.
    pub(super) broken: Option<String>,
}

/// The bytes of a writer from `place` on.
fn pattern(seed: u64, place: u64, out: &mut [u8]) {
    let mut at = place;
    let mut rest = out;
    while !rest.is_empty() {
        let mut word = (at / 8) ^ seed;
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ word >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bytes = (word ^ word >> 32).to_le_bytes();
        let skip = usize::try_from(at % 8).unwrap_or(0);
        let count = (8 - skip).min(rest.len());
        let (now, later) = rest.split_at_mut(count);
        now.copy_from_slice(&bytes[skip..skip + count]);
        rest = later;
        at += count as u64;
    }
}

impl Writer {
    pub(super) fn new(load: Load, seed: u64, now: Time) -> Self {
        Self {
            load,
            seed,
            channel: None,
            open: false,
            written: 0,
            finished: false,
            got: 0,
            ended: false,
            next_key: now,
            pressed: VecDeque::new(),
            took: Vec::new(),
        }
    }

    const fn wanted(&self) -> u64 {
        match self.load {
            Load::Bulk(bytes) => bytes,
            Load::Keys(_, times) => times.saturating_mul(KEY as u64),
        }
    }

    /// Writes what is due and fits.
    fn write(&mut self, session: &mut Session, now: Time) {
        let Some(channel) = self.channel.filter(|_| self.open && !self.finished) else {
            return;
        };
        match self.load {
            Load::Bulk(_) => self.write_bulk(session, channel, now),
            Load::Keys(every, _) => self.write_key(session, (channel, every), now),
        }
        if self.written == self.wanted() {
            session.finish(channel);
            self.finished = true;
        }
    }

    fn write_bulk(&mut self, session: &mut Session, channel: ChannelId, now: Time) {
        loop {
            let left = self.wanted() - self.written;
            let space = session.space(channel, now);
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(space.len());
            if count == 0 {
                return;
            }
            pattern(self.seed, self.written, &mut space[..count]);
            session.written(channel, count);
            self.written += count as u64;
        }
    }

    fn write_key(
        &mut self,
        session: &mut Session,
        (channel, every): (ChannelId, Duration),
        now: Time,
    ) {
        if now < self.next_key {
            return;
        }
        self.next_key = now + every;
        let left = usize::try_from(self.wanted() - self.written).unwrap_or(usize::MAX);
        let mut key = [0; KEY];
        let key = &mut key[..left.min(KEY)];
        pattern(self.seed, self.written, key);
        self.written += session.push(channel, key) as u64;
        self.pressed.push_back((self.written, now));
    }

    /// When it has something to write by itself.
    fn next(&self) -> Time {
        match self.load {
            Load::Keys(..) if self.open && !self.finished => self.next_key,
            _ => Time::NEVER,
        }
    }

    /// The second end got bytes; whether they are the right ones.
    fn got(&mut self, bytes: &[u8], now: Time) -> bool {
        let mut right = self.got + bytes.len() as u64 <= self.written;
        right &= !self.ended || bytes.is_empty();
        let mut expected = [0; PIECE];
        for piece in bytes.chunks(PIECE) {
            let expected = &mut expected[..piece.len()];
            pattern(self.seed, self.got, expected);
            right &= expected == piece;
            self.got += piece.len() as u64;
        }
        while let Some((_, at)) = self.pressed.pop_front_if(|(end, _)| *end <= self.got) {
            self.took.push((now, now.since(at)));
        }
        right
    }
}

/// Delivery at the second end: it takes everything.
pub(super) struct Reader<'a> {
    writers: &'a mut [Writer],
    broken: &'a mut Option<String>,
    now: Time,
}

impl Delivery for Reader<'_> {
    fn deliver(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        let mut writers = self.writers.iter_mut();
        if let Some(writer) = writers.find(|writer| writer.channel == Some(channel))
            && !writer.got(bytes, self.now)
        {
            let what = format!("wrong bytes of {channel:?} before {}", writer.got);
            self.broken.get_or_insert(what);
        }
        bytes.len()
    }
}

impl Pair {
    /// One end and where its bytes go.
    pub(super) fn end(&mut self, side: usize, now: Time) -> (&mut Session, Reader<'_>) {
        let reader = Reader {
            writers: &mut self.writers,
            broken: &mut self.broken,
            now,
        };
        (&mut self.sessions[side], reader)
    }

    /// Applications and ends do what is due.
    pub(super) fn act(&mut self, now: Time) {
        for writer in &mut self.writers {
            if writer.channel.is_none() && self.sessions[0].is_confirmed() {
                let opened = self.sessions[0].open(Target::Loopback(80), 7, now);
                writer.channel = opened.ok();
            }
        }
        for side in 0..2 {
            while let Some(event) = self.sessions[side].poll_event() {
                self.event(side, &event, now);
            }
        }
        for writer in &mut self.writers {
            writer.write(&mut self.sessions[0], now);
        }
    }

    fn event(&mut self, side: usize, event: &Event, now: Time) {
        match event {
            Event::Incoming { channel, .. } => self.sessions[side].accept(*channel),
            Event::Opened(channel) => {
                let mut writers = self.writers.iter_mut();
                if let Some(writer) = writers.find(|writer| writer.channel == Some(*channel)) {
                    writer.open = true;
                    writer.next_key = now;
                }
            }
            Event::Woken(channel) => {
                self.sessions[side].seen(*channel);
                if side == 1 {
                    self.read(*channel, now);
                }
            }
            Event::Confirmed
            | Event::Closed(_)
            | Event::Suspended(_)
            | Event::Resumed
            | Event::CheckState
            | Event::Unanswered
            | Event::Paused(..) => {}
            Event::OpenFailed(..) | Event::Reset(..) | Event::Ended(_) | Event::Forged(_) => {
                let what = format!("{event:?} at {side}");
                self.broken.get_or_insert(what);
            }
        }
    }

    /// The second end reads what waits, and sees the end.
    fn read(&mut self, channel: ChannelId, now: Time) {
        let (session, mut reader) = self.end(1, now);
        let (first, second) = session.waiting(channel);
        let bytes = [first, second].concat();
        reader.deliver(channel, &bytes);
        session.take(channel, bytes.len(), now);
        if session.is_read_out(channel) {
            session.finish(channel);
            self.see_end(channel);
        }
    }

    fn see_end(&mut self, channel: ChannelId) {
        let mut writers = self.writers.iter_mut();
        let writer = writers.find(|writer| writer.channel == Some(channel));
        if let Some(writer) = writer.filter(|writer| !writer.ended) {
            writer.ended = true;
            if writer.got != writer.wanted() {
                let what = format!("end of {channel:?} after {}", writer.got);
                self.broken.get_or_insert(what);
            }
        }
    }

    /// When it has something to do by itself.
    pub(super) fn next(&self) -> Time {
        let sessions = self.sessions.iter().map(Session::poll_timeout);
        let writers = self.writers.iter().map(Writer::next);
        sessions.chain(writers).fold(Time::NEVER, Time::min)
    }

    /// Whether every application has said all and was heard.
    pub(super) fn is_over(&self) -> bool {
        self.writers.iter().all(|writer| writer.ended)
    }
}
