//! Building packets when a link has room, and Re-Hellos when they are due.

use crate::limits::{PACKET_PLAIN_MAX, PACKET_TAG_MAX};
use crate::session::Session;
use crate::session::channel::{Listed, Phase, Told};
use crate::session::event::EndReason;
use crate::srm::flight::{Item, Sent};
use crate::srm::resume::{HINTS_MAX, HelloTo, Reason, Sending, Which};
use crate::srm::window::Window;
use crate::ssm::key_set::KeySet;
use crate::ssm::schedule::Pair;
use crate::time::Time;
use crate::wire::frame::{Ack, ChannelId, DATA_FRONT_MAX, Frame, put_data_front};
use crate::wire::packet::{HEADER_LEN, Header, put_re_hello_front};

/// Room that the control frames of one packet may take before data, bytes.
const CONTROL_MAX: usize = 1_024;
/// Room below which no further DATA frame is begun, bytes.
const DATA_MIN: usize = 64;

/// A packet whose ciphertext and tag were appended to the buffer.
#[derive(Debug)]
pub struct Sealed {
    /// Its header.
    pub header: [u8; HEADER_LEN],
}

/// A message that travels outside packets.
#[derive(Debug)]
pub struct Signal {
    /// Its bytes.
    pub message: Vec<u8>,
    /// Where it goes.
    pub to: HelloTo,
}

/// Frames collected for one packet.
#[derive(Default)]
struct Content {
    items: Vec<Item>,
    eliciting: bool,
}

impl Session {
    /// The next Re-Hello to send. Call until it gives nothing.
    pub fn poll_signal(&mut self) -> Option<Signal> {
        if self.ended {
            return None;
        }
        let location = self.location.clone();
        let (mut hello, to) = self.resume.poll_hello(&self.epochs, &location)?;
        hello.hints = self.hints();
        let mut message = Vec::new();
        put_re_hello_front(&mut message, self.peer_index);
        message.extend(
            self.epochs
                .seal_resume(&mut self.random, self.peer_index, &hello.encode()),
        );
        Some(Signal { message, to })
    }

    /// What a few channels expect next, so that the peer frees and skips what arrived.
    fn hints(&self) -> Vec<(u64, u64)> {
        self.channels
            .iter()
            .filter(|(_, channel)| channel.phase == Phase::Open && channel.moved)
            .map(|(id, channel)| (id.0, channel.receive.next_expected()))
            .take(HINTS_MAX)
            .collect()
    }

    /// Packets take another path from now on, named by `path`; others use its queues when it leads through
    /// relays. What is under way on the one before holds nothing back, and a probe that left by that one
    /// leaves again.
    pub fn set_path(&mut self, path: u64, relayed: bool, now: Time) {
        if self.window.is_of(path, relayed) {
            return;
        }
        self.window = Window::new(path, relayed, now);
        self.paced_until = None;
        self.probe_due |= self.is_suspected();
    }

    /// Whether [`Self::poll_packet`] has something to send.
    pub fn wants_to_send(&self, now: Time) -> bool {
        if self.ended {
            return false;
        }
        let flight_has_room = match self.resume.send_under(&self.epochs) {
            Sending::Nothing => return false,
            Sending::Live(_) => self.has_room(self.epochs.live()),
            Sending::Next(_) | Sending::Early(_) => self.has_room(Some(self.epochs.next())),
        };
        let acks_due = self
            .pairs
            .iter()
            .any(|state| state.acks.due_at().is_some_and(|at| at <= now));
        let news = self.probe_due
            || self.goodbye.is_some()
            || self.finished == Told::Due
            || !self.news.is_empty()
            || !self.gone.is_empty();
        acks_due || (flight_has_room && self.is_confirmed() && (news || self.may_send_data(now)))
    }

    /// Whether bytes of channels wait and the path takes them.
    fn may_send_data(&self, now: Time) -> bool {
        !self.schedule.is_empty()
            && self.paced_until.is_none_or(|at| at <= now)
            && self.under_way() < self.window.limit(self.packet_len, now)
    }

    /// Bytes under way on the path of the window.
    fn under_way(&self) -> u64 {
        let path = self.window.path();
        self.pairs
            .iter()
            .map(|state| state.flight.bytes_on(path))
            .sum()
    }

    fn has_room(&self, pair: Option<Pair>) -> bool {
        let state = self.pairs.iter().find(|state| Some(state.pair) == pair);
        state.is_none_or(|state| state.flight.has_room())
    }

    /// Appends the ciphertext and tag of the next packet to `out`; `plain_max` is the size that suits
    /// the link. Nothing when there is nothing to send.
    pub fn poll_packet(
        &mut self,
        plain_max: usize,
        out: &mut Vec<u8>,
        now: Time,
    ) -> Option<Sealed> {
        if !self.wants_to_send(now) {
            return None;
        }
        let (which, pair) = match self.resume.send_under(&self.epochs) {
            Sending::Nothing => return None,
            Sending::Live(_) => (Which::Live, self.epochs.live()?),
            Sending::Next(_) | Sending::Early(_) => (Which::Next, self.epochs.next()),
        };
        if self.is_spent(which) {
            self.replace_spent(which, now);
            return None;
        }
        self.packet_len = self.window.packet_len(plain_max.min(PACKET_PLAIN_MAX));
        let start = out.len();
        let mut content = Content::default();
        self.put_acks(out, now);
        if self.has_room(Some(pair)) {
            self.put_control(start, &mut content, out);
            self.put_data(start, &mut content, out, now);
            self.put_request(&mut content, out);
        }
        if out.len() == start {
            return None;
        }
        let bytes = (out.len() - start) as u64;
        let header = self.seal(which, start, out);
        let Some((number, header)) = header else {
            out.truncate(start);
            self.end(EndReason::Exhausted);
            return None;
        };
        self.resume.sealed(which);
        self.sent_at = now;
        let Content { items, eliciting } = content;
        let under_way = self.under_way();
        let sent = Sent {
            path: self.window.path(),
            bytes,
            at: now,
            eliciting,
            stamp: self.window.stamp(under_way, bytes, now),
        };
        self.pair_state(pair).flight.sent(number, sent, items);
        let next = self.window.pace(bytes, self.packet_len, now);
        self.paced_until = Some(next).filter(|next| *next > now);
        if let Some(reason) = self.goodbye.take() {
            self.end(reason);
        }
        Some(Sealed { header })
    }

    const fn keys(&mut self, which: Which) -> Option<&mut KeySet> {
        match which {
            Which::Live => self.epochs.live_keys(),
            Which::Next => self.epochs.next_keys(),
        }
    }

    /// Whether nothing more may be sealed with these keys (R-K5).
    fn is_spent(&mut self, which: Which) -> bool {
        let max = self.options.key_use.packets_max;
        self.keys(which)
            .is_some_and(|keys| keys.packets_sealed() >= max)
    }

    /// The exchange of Re-Hellos has not come through for so long that keys are used up: whatever waits goes
    /// on with the next ones.
    fn replace_spent(&mut self, which: Which, now: Time) {
        match which {
            Which::Live => self.suspend(Reason::KeyUse, now),
            Which::Next => {
                let (epochs, random) = (&mut self.epochs, &mut self.random);
                if (self.resume)
                    .start(epochs, Reason::KeyUse, random, now)
                    .is_err()
                {
                    self.end(EndReason::Exhausted);
                }
            }
        }
    }

    fn seal(
        &mut self,
        which: Which,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Option<(u64, [u8; HEADER_LEN])> {
        let index = self.peer_index;
        let tag_len = self.suite.tag_len();
        let plain_end = out.len();
        out.extend_from_slice(&[0; PACKET_TAG_MAX][..tag_len]);
        let keys = self.keys(which)?;
        let selector = keys.pair().selector();
        let (plain, tag) = out
            .get_mut(start..)?
            .split_at_mut_checked(plain_end - start)?;
        let front = |number| {
            Header {
                index,
                selector,
                number,
            }
            .to_bytes()
        };
        let number = keys.seal(front, plain, tag).ok()?;
        Some((number, front(number)))
    }

    /// Acknowledgements that are due, and others that can ride along.
    fn put_acks(&mut self, out: &mut Vec<u8>, now: Time) {
        let mut told = false;
        for state in &mut self.pairs {
            if !state.acks.has_news() {
                continue;
            }
            if let Some(ack) = state.acks.tell(state.pair.selector(), now) {
                Frame::Ack(ack).encode(out);
                told = true;
            }
        }
        if !told {
            return;
        }
        for id in std::mem::take(&mut self.moved) {
            if let Some(channel) = self.channels.get_mut(&id) {
                channel.moved = false;
                channel.credit = Told::Due;
            }
            self.list(id);
        }
    }

    fn put_control(&mut self, start: usize, content: &mut Content, out: &mut Vec<u8>) {
        let location = self.location.clone();
        if let Some(here) = self.resume.here(&self.epochs, &location) {
            content.put(
                &Frame::Here {
                    seq: here.h_seq,
                    location,
                },
                Some(Item::Here(here.h_seq)),
                out,
            );
        }
        if self.finished.take() {
            content.put(&Frame::Finished, Some(Item::Finished), out);
        }
        let end = start + CONTROL_MAX + Ack::LEN_MAX;
        while out.len() < end {
            let Some(id) = self.gone.pop_front() else {
                break;
            };
            content.put(&Frame::Gone { channel: id }, Some(Item::Gone(id)), out);
        }
        while out.len() < end {
            let Some(id) = self.news.pop_front() else {
                break;
            };
            self.put_news(id, content, out);
        }
        if let Some(reason) = self.goodbye {
            let code = u8::from(reason != EndReason::Local);
            content.put(&Frame::Goodbye { code }, None, out);
        }
    }

    fn put_news(&mut self, id: ChannelId, content: &mut Content, out: &mut Vec<u8>) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.news_listed = false;
        let permitted = channel.receive.permitted();
        if channel.open.take() {
            let frame = Frame::Open {
                channel: id,
                permitted,
                target: channel.target.clone(),
            };
            content.put(&frame, Some(Item::Open(id)), out);
        }
        if channel.answer.take() {
            let frame = match channel.phase {
                Phase::Refused(failure) => Frame::OpenFailed {
                    channel: id,
                    code: failure.wire_code(),
                },
                Phase::Opening | Phase::Incoming | Phase::Open | Phase::Reset(_) => Frame::Opened {
                    channel: id,
                    permitted,
                },
            };
            content.put(&frame, Some(Item::Answer(id)), out);
        }
        if channel.reset.take() {
            let code = match channel.phase {
                Phase::Reset(code) => code.code(),
                Phase::Opening | Phase::Incoming | Phase::Open | Phase::Refused(_) => 0,
            };
            content.put(
                &Frame::Reset { channel: id, code },
                Some(Item::Reset(id)),
                out,
            );
        }
        if channel.credit.take() {
            let next = channel.receive.next_expected();
            channel.credit_said = (next, permitted);
            let item = Item::Credit(id, channel.credit_said);
            content.put(
                &Frame::Credit {
                    channel: id,
                    next,
                    permitted,
                },
                Some(item),
                out,
            );
        }
        self.schedule.list(id, channel);
    }

    fn put_data(&mut self, start: usize, content: &mut Content, out: &mut Vec<u8>, now: Time) {
        let (under_way, limit) = (self.under_way(), self.window.limit(self.packet_len, now));
        if under_way >= limit || self.paced_until.is_some_and(|at| at > now) {
            return;
        }
        let end = start + self.packet_len;
        while out.len() + DATA_FRONT_MAX + DATA_MIN <= end {
            let Some(id) = self.schedule.next() else {
                break;
            };
            let Some(channel) = self.channels.get_mut(&id) else {
                continue;
            };
            if self.schedule.defers(id, channel) {
                continue;
            }
            let room = end - out.len() - DATA_FRONT_MAX;
            let Some(chunk) = channel.send.next(room) else {
                channel.listed = Listed::No;
                continue;
            };
            let (first, second) = channel.send.bytes(chunk);
            put_data_front(out, id, chunk.offset, chunk.fin, first.len() + second.len());
            out.extend_from_slice(first);
            out.extend_from_slice(second);
            self.stats.bytes_sent += chunk.len as u64;
            content.items.push(Item::Data(id, chunk));
            content.eliciting = true;
            self.probe_due |= channel.send.is_held();
            self.schedule.sent(id, channel, chunk.len);
        }
        // The next packet has to wait for an acknowledgement.
        self.probe_due |= under_way + (out.len() - start) as u64 >= limit;
    }

    /// Asks for an acknowledgement when something waits for it (the paper's `flag_last`).
    fn put_request(&mut self, content: &mut Content, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.probe_due) {
            content.put(&Frame::Ask, None, out);
        }
    }
}

impl Content {
    fn put(&mut self, frame: &Frame<'_>, item: Option<Item>, out: &mut Vec<u8>) {
        frame.encode(out);
        self.eliciting = true;
        self.items.extend(item);
    }
}
