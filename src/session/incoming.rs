//! Packets and Re-Hellos of the peer.

use std::collections::VecDeque;

use crate::limits::OPENED_RANGES_MAX;
use crate::session::channel::{Phase, Told};
use crate::session::event::{EndReason, Event, Misbehaviour, ResetCode};
use crate::session::timers::Doubt;
use crate::session::{Delivery, PairState, Session};
use crate::srm::acks::Noted;
use crate::srm::flight::Item;
use crate::srm::receive::Arrival;
use crate::srm::resume::{Dropped, Hello, HelloOutcome, Here, Which};
use crate::srm::window::News;
use crate::ssm::key_set::Unopened;
use crate::ssm::schedule::{Pair, Side};
use crate::time::Time;
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::failure::OpenFailure;
use crate::wire::frame::{Ack, ChannelId, Frame};
use crate::wire::packet::{HEADER_LEN, Header};

/// A packet as it came off a link.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// Its header as it travelled: associated data.
    pub header: &'a [u8; HEADER_LEN],
    /// Ciphertext and tag, opened in place.
    pub body: &'a mut [u8],
    /// Whether a relay marked it.
    pub marked: bool,
    /// The path it came by.
    pub path: u64,
}

/// What the first pass over a packet's frames finds.
#[derive(Default)]
struct Survey {
    eliciting: bool,
    asked: bool,
    here: Option<Here>,
}

impl Session {
    /// Takes a packet. One that does not open changes nothing but a counter (R-W7); one that opens and
    /// breaks the protocol ends the session.
    pub fn handle_packet(&mut self, packet: Arrived<'_>, now: Time, to: &mut impl Delivery) {
        let Ok(header) = Header::decode(&mut Reader::new(packet.header)) else {
            return;
        };
        let Some((which, pair)) = self.which(header.selector) else {
            self.stats.packets_dropped += 1;
            return;
        };
        let keys = match which {
            Which::Live => self.epochs.live_keys(),
            Which::Next => self.epochs.next_keys(),
        };
        let Some(keys) = keys else {
            self.stats.packets_dropped += 1;
            return;
        };
        let plain = match keys.open(header.number, packet.header, packet.body) {
            Ok(plain) => plain,
            Err(why) => {
                self.stats.packets_dropped += 1;
                if why == Unopened::Forged {
                    self.forged(now);
                }
                return;
            }
        };
        let plain = &*plain;
        let survey = match survey(plain) {
            Ok(survey) => survey,
            Err(error) => return self.misbehaved(error.into()),
        };
        self.heard((which, pair), header.number, &survey, packet.path, now);
        match self.frames(plain, now, to) {
            Ok(true) => {
                let noted = Noted {
                    number: header.number,
                    bytes: plain.len(),
                    eliciting: survey.eliciting,
                    asked: survey.asked,
                    marked: packet.marked,
                };
                let policy = self.options.acks;
                self.pair_state(pair).acks.note(noted, policy, now);
            }
            // A frame found no room: the packet counts as not received, and comes again.
            Ok(false) => {}
            Err(what) => self.misbehaved(what),
        }
    }

    /// Which keys a selector means (a hint: the tag decides).
    fn which(&self, selector: [u8; 2]) -> Option<(Which, Pair)> {
        if let Some(live) = self
            .epochs
            .live()
            .filter(|pair| pair.selector() == selector)
        {
            return Some((Which::Live, live));
        }
        let next = self.epochs.next();
        (self.epochs.live() != Some(next) && next.selector() == selector)
            .then_some((Which::Next, next))
    }

    fn heard(&mut self, keys: (Which, Pair), number: u64, survey: &Survey, path: u64, now: Time) {
        let (which, pair) = keys;
        self.heard_at = now;
        self.doubt = Doubt::None;
        if !self.is_confirmed() {
            self.events.push_back(Event::Confirmed);
        }
        self.heard = true;
        let was_suspended = self.is_suspended();
        let state = self.pair_state(pair);
        let highest = state.highest.is_none_or(|high| number > high);
        if highest {
            state.highest = Some(number);
        }
        let before = self.epochs.live();
        let opened = self
            .resume
            .opened(&mut self.epochs, which, survey.here.as_ref(), highest);
        if opened.committed {
            self.committed(pair, before, path, now);
        }
        self.pause_over(was_suspended, now);
        self.probe_due |= opened.reply;
    }

    /// The next pair went live. What is under way under the old live pair on this first-in first-out path
    /// arrived before it and will be acknowledged; everything else goes again.
    fn committed(&mut self, pair: Pair, before: Option<Pair>, path: u64, now: Time) {
        let was_suspended = self.suspended_at.take().is_some();
        self.live_since = now;
        self.stats.resumes += 1;
        let on_path = |state: &PairState| state.flight.is_only_on(path);
        if was_suspended
            || !self
                .pairs
                .iter()
                .filter(|state| state.pair != pair)
                .all(on_path)
        {
            self.rewind();
        }
        // Acknowledgements name a pair by low bytes: one too far back cannot be told apart.
        let before = before.filter(|old| pair.a - old.a < 128 && pair.b - old.b < 128);
        // The peer may have been unable to open packets under a pair that never went live.
        self.give_up_others(|known| known == pair || Some(known) == before);
        if was_suspended {
            self.events.push_back(Event::Resumed);
            self.wake_all();
        }
    }

    /// Gives up on pairs that never went live and were left for a newer one: nobody will speak of them,
    /// and a hop that lets only Re-Hellos pass could heap them up.
    pub(super) fn give_up_abandoned(&mut self) {
        let live = self.epochs.live();
        self.give_up_others(|known| live.is_some_and(|live| known <= live));
    }

    /// Keeps some pairs; what was under way under others goes again.
    fn give_up_others(&mut self, keep: impl Fn(Pair) -> bool) {
        let (kept, gone): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition(|state| keep(state.pair));
        self.pairs = kept;
        for mut state in gone {
            for item in state.flight.take_items() {
                self.item_lost(&item);
            }
        }
    }

    /// Makes all that the peer may not have due again.
    pub(super) fn rewind(&mut self) {
        for state in &mut self.pairs {
            state.flight.forget();
        }
        self.finished.lost();
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            if let Some(channel) = self.channels.get_mut(&id) {
                self.stats.bytes_resent += channel.send.in_flight();
                channel.rewind();
            }
            self.list(id);
        }
    }

    pub(super) fn wake_all(&mut self) {
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            self.wake(id);
        }
    }

    /// Acts on the frames of a packet. False when one of them had to be refused for want of room.
    pub(super) fn frames(
        &mut self,
        plain: &[u8],
        now: Time,
        to: &mut impl Delivery,
    ) -> Result<bool, Misbehaviour> {
        let mut reader = Reader::new(plain);
        let mut taken = true;
        while !reader.is_empty() {
            match Frame::decode(&mut reader)? {
                Frame::Padding | Frame::Ask | Frame::Here { .. } | Frame::Finished => {}
                Frame::Ack(ack) => self.acknowledged(&ack, now)?,
                Frame::Open {
                    channel,
                    permitted,
                    target,
                } => {
                    taken &= self.incoming_open(channel, permitted, target, now)?;
                }
                Frame::Opened { channel, permitted } => self.opened(channel, permitted)?,
                Frame::OpenFailed { channel, code } => self.open_failed(channel, code, now),
                Frame::Data {
                    channel,
                    offset,
                    fin,
                    bytes,
                } => {
                    let data = Data {
                        channel,
                        offset,
                        fin,
                        bytes,
                    };
                    taken &= self.data(&data, now, to)?;
                }
                Frame::Credit {
                    channel,
                    next,
                    permitted,
                } => {
                    self.credit(channel, next, permitted, now)?;
                }
                Frame::Reset { channel, code } => {
                    // A RESET may overtake its OPEN; the OPEN must not revive the channel.
                    if self.is_foreign(channel) && self.note_opened(channel).is_none() {
                        taken = false;
                        continue;
                    }
                    self.peer_reset(channel, ResetCode::from_code(code), now);
                }
                Frame::Gone { channel } => self.peer_gone(channel, now),
                Frame::Goodbye { .. } => self.end(EndReason::Goodbye),
            }
            if self.ended {
                break;
            }
        }
        Ok(taken)
    }

    fn acknowledged(&mut self, ack: &Ack, now: Time) -> Result<(), Misbehaviour> {
        let rtt = self.rtt_or_default();
        let Some(state) = self
            .pairs
            .iter_mut()
            .find(|state| state.pair.selector() == ack.selector)
        else {
            return Ok(());
        };
        let pair = state.pair;
        let outcome = state
            .flight
            .acknowledge(ack, rtt, now)
            .ok_or(Misbehaviour::AckOfUnsent)?;
        if let Some((sent, delay)) = outcome.newest {
            let marked = state.told_marked(ack.marked);
            let span = now.since(sent.at);
            let span = span.checked_sub(delay).unwrap_or(span);
            self.rtt.sample(span);
            self.resume.set_rtt(self.rtt_or_default());
            if self.window.path() == sent.path {
                let lost = outcome.newest_lost;
                let news = News {
                    bytes: outcome.arrived_bytes,
                    packets: outcome.arrived_packets,
                    marked,
                    stamp: sent.stamp,
                    lost: lost
                        .filter(|lost| lost.path == sent.path)
                        .map(|lost| lost.stamp),
                };
                self.window.arrived(news, span, self.packet_len, now);
            }
        }
        for item in outcome.arrived {
            self.item_arrived(&item, pair, now);
        }
        for item in outcome.lost {
            self.item_lost(&item);
        }
        if outcome.progress && self.epochs.live() == Some(pair) {
            self.give_up_older(pair);
        }
        Ok(())
    }

    /// The peer acknowledges the live pair. What it has of older ones it acknowledged before, so the rest
    /// never opened there: the peer had been suspended and had erased those keys.
    fn give_up_older(&mut self, live: Pair) {
        let older = self
            .pairs
            .iter_mut()
            .filter(|state| state.pair != live && state.pair < live);
        let items: Vec<Item> = older.flat_map(|state| state.flight.take_items()).collect();
        for item in items {
            self.item_lost(&item);
        }
    }

    fn item_arrived(&mut self, item: &Item, pair: Pair, now: Time) {
        let id = match item {
            Item::Data(..) | Item::Gone(_) => return,
            Item::Here(seq) => return self.resume.here_acked(&self.epochs, pair, *seq),
            Item::Finished => return self.finished.arrived(),
            Item::Open(id) | Item::Answer(id) | Item::Credit(id, _) | Item::Reset(id) => *id,
        };
        if let Some(told) = self.told(id, item) {
            told.arrived();
            self.forget_if_done(id, now);
        }
    }

    /// The news that an item carried; none if newer news has taken its place.
    fn told(&mut self, id: ChannelId, item: &Item) -> Option<&mut Told> {
        let channel = self.channels.get_mut(&id)?;
        match item {
            Item::Open(_) => Some(&mut channel.open),
            Item::Answer(_) => Some(&mut channel.answer),
            Item::Credit(_, said) => (*said == channel.credit_said).then_some(&mut channel.credit),
            Item::Reset(_) => Some(&mut channel.reset),
            Item::Data(..) | Item::Here(_) | Item::Gone(_) | Item::Finished => None,
        }
    }

    /// A path is gone, and another one carries the session: what was under way on it goes again.
    pub fn path_lost(&mut self, path: u64) {
        let states = self.pairs.iter_mut();
        let items: Vec<Item> = states
            .flat_map(|state| state.flight.take_path(path))
            .collect();
        for item in items {
            self.item_lost(&item);
        }
    }

    fn item_lost(&mut self, item: &Item) {
        let id = match item {
            Item::Here(_) => return,
            Item::Finished => return self.finished.lost(),
            Item::Gone(id) => return self.tell_gone(*id),
            Item::Data(id, chunk) => {
                if let Some(channel) = self.channels.get_mut(id) {
                    self.stats.bytes_resent += chunk.len as u64;
                    channel.send.lost(*chunk);
                }
                *id
            }
            Item::Open(id) | Item::Answer(id) | Item::Credit(id, _) | Item::Reset(id) => {
                if let Some(told) = self.told(*id, item) {
                    told.lost();
                }
                *id
            }
        };
        self.list(id);
    }

    fn opened(&mut self, id: ChannelId, permitted: u64) -> Result<(), Misbehaviour> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        channel.send.credit(0, permitted)?;
        if channel.phase == Phase::Opening {
            channel.phase = Phase::Open;
            self.opening = self.opening.saturating_sub(1);
            channel.open = Told::Done;
            self.events.push_back(Event::Opened(id));
        }
        self.list(id);
        Ok(())
    }

    fn open_failed(&mut self, id: ChannelId, code: u8, now: Time) {
        if self
            .channels
            .get(&id)
            .is_some_and(|channel| channel.phase == Phase::Opening)
        {
            self.channels.remove(&id);
            self.opening = self.opening.saturating_sub(1);
            self.events
                .push_back(Event::OpenFailed(id, OpenFailure::from_wire_code(code)));
            self.note_idle(now);
        }
    }

    fn data(
        &mut self,
        data: &Data<'_>,
        now: Time,
        to: &mut impl Delivery,
    ) -> Result<bool, Misbehaviour> {
        let id = data.channel;
        let (rtt, live) = (self.rtt_or_default(), !self.is_suspended());
        let Some(channel) = self.channels.get_mut(&id) else {
            let ours = id.opened_by_responder() == (self.side == Side::B);
            if ours || self.opened_by_peer.contains(id.counter()) {
                self.tell_gone(id);
                return Ok(true);
            }
            // Its OPEN is still under way.
            return Ok(false);
        };
        if matches!(channel.phase, Phase::Refused(_) | Phase::Reset(_)) {
            return Ok(true);
        }
        let may_deliver = channel.phase == Phase::Open;
        let arrival = channel
            .receive
            .arrive(data.offset, data.bytes, data.fin, |bytes| {
                if may_deliver {
                    to.deliver(id, bytes)
                } else {
                    0
                }
            })?;
        match arrival {
            Arrival::Early => {}
            // Part of what is refused may have been taken.
            Arrival::Refused | Arrival::Stale | Arrival::Advanced => {
                if channel.receive.wants_grant() {
                    channel.receive.grant(rtt, live, now);
                    channel.credit = Told::Due;
                }
                let moved = !std::mem::replace(&mut channel.moved, true);
                if moved {
                    self.moved.push(id);
                }
                let look = channel.receive.waiting() > 0 || channel.receive.is_done();
                if look {
                    self.wake(id);
                }
                self.list(id);
            }
        }
        Ok(arrival != Arrival::Refused)
    }

    fn credit(
        &mut self,
        id: ChannelId,
        next: u64,
        permitted: u64,
        now: Time,
    ) -> Result<(), Misbehaviour> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        if matches!(channel.phase, Phase::Refused(_) | Phase::Reset(_)) {
            return Ok(());
        }
        let had_space = channel.send.has_space();
        if channel.send.credit(next, permitted)? {
            let look = (!had_space && channel.send.has_space()) || channel.send.is_acknowledged();
            if look {
                self.wake(id);
            }
            self.list(id);
            self.forget_if_done(id, now);
        }
        Ok(())
    }

    /// Whether only the peer may open a channel of this id.
    const fn is_foreign(&self, id: ChannelId) -> bool {
        id.opened_by_responder() != matches!(self.side, Side::B)
    }

    /// Notes that the peer has opened a channel: false when it was known. None, and nothing noted, when
    /// too many others are missing before it.
    pub(super) fn note_opened(&mut self, id: ChannelId) -> Option<bool> {
        let known = &mut self.opened_by_peer;
        let number = id.counter();
        (known.count() < OPENED_RANGES_MAX || known.touches(number)).then(|| known.insert(number))
    }

    /// Takes a Re-Hello addressed to this session (PROTOCOL 8, rules 5 to 10).
    pub fn handle_re_hello(&mut self, sealed: &[u8], now: Time) {
        let Some(plain) = self.epochs.open_resume(self.local_index, sealed) else {
            self.stats.packets_dropped += 1;
            self.forged(now);
            return;
        };
        let Ok(hello) = Hello::decode(&plain) else {
            self.stats.packets_dropped += 1;
            return;
        };
        match self
            .resume
            .handle_hello(&mut self.epochs, &hello, &mut self.random, now)
        {
            Ok(HelloOutcome::Accepted { send_now, .. }) => {
                self.heard_at = now;
                for (channel, next) in &hello.hints {
                    // Stale or exaggerated hints are worth nothing; a packet will tell.
                    if self.credit(ChannelId(*channel), *next, 0, now).is_err() {
                        self.stats.impossible_hellos += 1;
                    }
                }
                if send_now {
                    self.probe_due = true;
                    if self.is_suspended() {
                        self.rewind();
                    }
                }
            }
            Ok(HelloOutcome::Dropped(why)) => {
                if matches!(why, Dropped::Impossible(_)) {
                    self.stats.impossible_hellos += 1;
                }
            }
            Err(_) => self.end(EndReason::Exhausted),
        }
    }

    fn misbehaved(&mut self, what: Misbehaviour) {
        self.end(EndReason::Misbehaved(what));
    }

    /// Ends the session here: every channel is lost, visibly.
    pub fn end(&mut self, reason: EndReason) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.opening = 0;
        for (id, channel) in std::mem::take(&mut self.channels) {
            if !matches!(channel.phase, Phase::Refused(_) | Phase::Reset(_)) {
                self.events
                    .push_back(Event::Reset(id, ResetCode::SessionEnded(reason)));
            }
        }
        self.events.push_back(Event::Ended(reason));
    }
}

struct Data<'a> {
    channel: ChannelId,
    offset: u64,
    fin: bool,
    bytes: &'a [u8],
}

/// Checks that every frame decodes, before any of them acts.
fn survey(plain: &[u8]) -> Result<Survey, DecodeError> {
    let mut survey = Survey::default();
    let mut reader = Reader::new(plain);
    while !reader.is_empty() {
        let frame = Frame::decode(&mut reader)?;
        survey.eliciting |= frame.is_eliciting();
        match frame {
            Frame::Ask => survey.asked = true,
            Frame::Here { seq, location } => {
                survey.here = Some(Here {
                    h_seq: seq,
                    location,
                })
            }
            Frame::Padding
            | Frame::Ack(_)
            | Frame::Open { .. }
            | Frame::Opened { .. }
            | Frame::OpenFailed { .. }
            | Frame::Data { .. }
            | Frame::Credit { .. }
            | Frame::Reset { .. }
            | Frame::Gone { .. }
            | Frame::Finished
            | Frame::Goodbye { .. } => {}
        }
    }
    Ok(survey)
}
