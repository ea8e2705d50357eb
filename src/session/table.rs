//! The table of channels: opening, answering, the application's side of both directions, ends.

use crate::limits::{CHANNEL_FLOOR, CHANNELS_MAX, OPENS_PENDING_MAX};
use crate::session::Session;
use crate::session::channel::{Channel, Phase, Told};
use crate::session::event::{Event, Misbehaviour, ResetCode};
use crate::srm::receive::ReceiveHalf;
use crate::srm::send::SendHalf;
use crate::ssm::schedule::Side;
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::target::Target;

impl Session {
    /// Opens a channel; its first bytes may be written at once. `port` is the application's source
    /// port. Fails with [`OpenFailure::Limit`] when memory or channels are used up.
    pub fn open(&mut self, target: Target, port: u16, now: Time) -> Result<ChannelId, OpenFailure> {
        if self.ended
            || self.channels.len() >= CHANNELS_MAX
            || self.next_counter > ChannelId::COUNTER_MAX
        {
            return Err(OpenFailure::Limit);
        }
        let id = ChannelId::new(self.side == Side::B, self.next_counter, port);
        let (send, receive) = self
            .halves(CHANNEL_FLOOR as u64, now)
            .ok_or(OpenFailure::Limit)?;
        self.next_counter += 1;
        self.opening += 1;
        self.insert(
            id,
            Channel::new(Phase::Opening, target, send, receive, now),
            now,
        );
        Ok(id)
    }

    fn halves(&self, permitted: u64, now: Time) -> Option<(SendHalf, ReceiveHalf)> {
        let budget = &self.options.budget;
        let window = budget.open()?;
        let send = SendHalf::new(budget.clone(), window, permitted, now);
        Some((send, ReceiveHalf::new(budget.clone(), window, now)))
    }

    pub(super) fn insert(&mut self, id: ChannelId, channel: Channel, now: Time) {
        if self.channels.is_empty() {
            self.idle_since = None;
            self.resume.set_channels_open(true, now);
        }
        self.channels.insert(id, channel);
        self.list(id);
    }

    /// The peer opens a channel. False when there is no room even to refuse it.
    pub(super) fn incoming_open(
        &mut self,
        id: ChannelId,
        permitted: u64,
        target: Target,
        now: Time,
    ) -> Result<bool, Misbehaviour> {
        if id.opened_by_responder() == (self.side == Side::B) {
            return Err(Misbehaviour::ForeignId);
        }
        if let Some(channel) = self.channels.get_mut(&id) {
            // The peer asks again: it has not heard the answer.
            if channel.answer == Told::Done {
                channel.answer = Told::Due;
                self.list(id);
            }
            return Ok(true);
        }
        if self.stubs >= OPENS_PENDING_MAX {
            // The peer does not hear that it is refused; it has to ask again.
            return Ok(self.opened_by_peer.contains(id.counter()));
        }
        match self.note_opened(id) {
            Some(true) => {}
            Some(false) => {
                self.tell_gone(id);
                return Ok(true);
            }
            None => return Ok(false),
        }
        let full = self.channels.len() >= CHANNELS_MAX || self.opens_pending >= OPENS_PENDING_MAX;
        let halves = if full {
            None
        } else {
            self.halves(permitted, now)
        };
        let refused = halves.is_none();
        let budget = self.options.budget.clone();
        let (send, receive) = halves.unwrap_or_else(|| {
            (
                SendHalf::new(budget.clone(), 0, 0, now),
                ReceiveHalf::new(budget, 0, now),
            )
        });
        self.opens_pending += 1;
        let channel = Channel::new(Phase::Incoming, target.clone(), send, receive, now);
        self.insert(id, channel, now);
        if refused {
            self.refuse(id, OpenFailure::Limit);
        } else {
            self.events.push_back(Event::Incoming {
                channel: id,
                target,
            });
        }
        Ok(true)
    }

    /// Says that the service behind an incoming channel answered.
    pub fn accept(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if channel.phase == Phase::Incoming {
            channel.phase = Phase::Open;
            channel.answer = Told::Due;
            self.opens_pending = self.opens_pending.saturating_sub(1);
            self.list(id);
        }
    }

    /// Says that an incoming channel could not be opened.
    pub fn refuse(&mut self, id: ChannelId, failure: OpenFailure) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if channel.phase == Phase::Incoming {
            channel.phase = Phase::Refused(failure);
            self.stubs += 1;
            channel.answer = Told::Due;
            channel.send.discard();
            channel.receive.discard();
            self.opens_pending = self.opens_pending.saturating_sub(1);
            self.list(id);
        }
    }

    /// A channel, while it exists.
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(&id)
    }

    /// Room for the application's next bytes; empty while the channel must not read, as in a
    /// suspension.
    pub fn space(&mut self, id: ChannelId, now: Time) -> &mut [u8] {
        let rtt = self.rtt_or_default();
        let live = !self.is_suspended();
        match self.channels.get_mut(&id) {
            Some(channel) if live => channel.send.space(rtt, live, now),
            _ => &mut [],
        }
    }

    /// Says that `count` bytes were written into [`Self::space`].
    pub fn written(&mut self, id: ChannelId, count: usize) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.send.written(count);
            self.list(id);
        }
    }

    /// Appends bytes that are already in memory, whatever the session's state; says how many fitted.
    pub fn push(&mut self, id: ChannelId, bytes: &[u8]) -> usize {
        let Some(channel) = self.channels.get_mut(&id) else {
            return 0;
        };
        let count = channel.send.push(bytes);
        self.list(id);
        count
    }

    /// The application has ended its direction.
    pub fn finish(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.send.finish();
            self.list(id);
        }
    }

    /// Whether the application has ended its direction.
    pub fn is_finished(&self, id: ChannelId) -> bool {
        self.channels
            .get(&id)
            .is_none_or(|channel| channel.send.is_finished())
    }

    /// Bytes that wait for the application, in up to two pieces.
    pub fn waiting(&self, id: ChannelId) -> (&[u8], &[u8]) {
        self.channels
            .get(&id)
            .map_or((&[], &[]), |channel| channel.receive.pieces())
    }

    /// Whether the peer's direction has ended and the application has all of it.
    pub fn is_read_out(&self, id: ChannelId) -> bool {
        self.channels
            .get(&id)
            .is_some_and(|channel| channel.receive.is_done())
    }

    /// The application took `count` of the waiting bytes.
    pub fn take(&mut self, id: ChannelId, count: usize, now: Time) {
        let (rtt, live) = (self.rtt_or_default(), !self.is_suspended());
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.receive.take(count);
        if channel.receive.wants_grant() {
            channel.receive.grant(rtt, live, now);
            channel.credit = Told::Due;
            self.list(id);
        }
        self.forget_if_done(id, now);
    }

    /// Ends a channel without a clean end: the application reset it, or it was killed. An answer that has
    /// not left yet still goes first: the peer hears that the channel was open.
    pub fn reset(&mut self, id: ChannelId, code: ResetCode) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if matches!(channel.phase, Phase::Refused(_) | Phase::Reset(_)) {
            return;
        }
        match channel.phase {
            Phase::Incoming => self.opens_pending = self.opens_pending.saturating_sub(1),
            Phase::Opening => self.opening = self.opening.saturating_sub(1),
            Phase::Open | Phase::Refused(_) | Phase::Reset(_) => {}
        }
        channel.phase = Phase::Reset(code);
        channel.reset = Told::Due;
        channel.credit = Told::Nothing;
        channel.send.discard();
        channel.receive.discard();
        self.list(id);
    }

    /// The peer reset a channel, or has no state of it though it should.
    pub(super) fn peer_reset(&mut self, id: ChannelId, code: ResetCode, now: Time) {
        let Some(channel) = self.channels.remove(&id) else {
            return;
        };
        match channel.phase {
            Phase::Incoming => self.opens_pending = self.opens_pending.saturating_sub(1),
            Phase::Opening => self.opening = self.opening.saturating_sub(1),
            Phase::Open => {}
            Phase::Refused(_) => {
                self.stubs = self.stubs.saturating_sub(1);
                self.note_idle(now);
                return;
            }
            Phase::Reset(_) => {
                self.note_idle(now);
                return;
            }
        }
        self.events.push_back(Event::Reset(id, code));
        self.note_idle(now);
    }

    /// The peer has no state of a channel: all of it was done, or it never opened. It may say so while
    /// our application still reads, when an old packet of ours reached it late.
    pub(super) fn peer_gone(&mut self, id: ChannelId, now: Time) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let done = channel.phase == Phase::Open
            && channel.receive.is_complete()
            && channel.send.is_acknowledged();
        if !done {
            return self.peer_reset(id, ResetCode::SessionLost, now);
        }
        channel.answer = Told::Done;
        channel.credit = Told::Done;
        channel.credit_said.0 = channel.receive.next_expected();
        self.forget_if_done(id, now);
    }

    /// Removes a channel that has nothing left to do.
    pub(super) fn forget_if_done(&mut self, id: ChannelId, now: Time) {
        if !self.channels.get(&id).is_some_and(Channel::is_done) {
            return;
        }
        if let Some(channel) = self.channels.remove(&id) {
            match channel.phase {
                Phase::Open => self.events.push_back(Event::Closed(id)),
                Phase::Refused(_) => self.stubs = self.stubs.saturating_sub(1),
                Phase::Opening | Phase::Incoming | Phase::Reset(_) => {}
            }
            self.note_idle(now);
        }
    }

    pub(super) fn note_idle(&mut self, now: Time) {
        if self.channels.is_empty() && self.idle_since.is_none() {
            self.idle_since = Some(now);
            self.resume.set_channels_open(false, now);
        }
    }

    /// Puts a channel on the lists that its state calls for.
    pub(super) fn list(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if channel.has_news() && !channel.news_listed {
            channel.news_listed = true;
            self.news.push_back(id);
        }
        self.schedule.list(id, channel);
    }

    /// Tells the peer that a channel it speaks of is gone.
    pub(super) fn tell_gone(&mut self, id: ChannelId) {
        if self.gone.len() < OPENS_PENDING_MAX && !self.gone.contains(&id) {
            self.gone.push_back(id);
        }
    }

    /// Tells the owner to look at a channel again.
    pub(super) fn wake(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && !channel.woken
        {
            channel.woken = true;
            self.events.push_back(Event::Woken(id));
        }
    }

    /// The owner has looked at a channel after [`Event::Woken`].
    pub fn seen(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.woken = false;
        }
    }
}
