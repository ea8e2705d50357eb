//! The applications of a simulation and the oracle that watches what they get.

use std::collections::{BTreeMap, VecDeque};

use crate::core::{ChannelKey, Core, Deliver};
use crate::random::Random;
use crate::session::{ResetCode, Session};
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;

/// Channels that the applications of a run open at most.
const CHANNELS_MAX: usize = 24;

/// A channel, the same at both ends: SessID and channel id.
pub(super) type Flow = ([u8; 32], ChannelId);

/// One direction of a flow.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Bytes that the application wants to send.
    pub(super) wanted: u64,
    pub(super) written: u64,
    /// Its end was told to the session.
    pub(super) finished: bool,
    /// Bytes that the far application got.
    pub(super) got: u64,
    /// The far application saw the end.
    pub(super) ended: bool,
    /// Somebody had reason to cut it: an application, a restart, want of memory.
    pub(super) cut: bool,
}

/// The byte of a flow's direction at a place: different for every flow, direction and place.
fn byte(flow: &Flow, sender: usize, place: u64) -> u8 {
    let ([a, b, ..], channel) = flow;
    let mut mixed = channel.0 ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (sender as u64) << 56;
    mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed.to_le_bytes()[4] ^ a ^ b
}

/// A fault that a test puts between the sessions and the oracle, which has to find it.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// A byte never reaches the application.
    LoseByte,
    /// A byte reaches it twice.
    DoubleByte,
    /// A byte arrives changed.
    ChangeByte,
    /// A cut looks like a clean end.
    CutLooksClean,
    /// The end shows before the last byte.
    EndTooEarly,
    /// Memory of a channel is not given back.
    Leak,
    /// A packet number is used twice.
    NumberTwice,
    /// A session falls back to an older pair of keys.
    PairFalls,
    /// A packet that was opened opens again.
    OpensTwice,
    /// A packet of other keys opens.
    OpensForeign,
    /// A node forgets its session and the peer does not learn it.
    SilentRestart,
    /// The network never comes back.
    NeverCalm,
}

/// What the applications of both nodes have sent and got.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Directions by flow and sender.
    directions: BTreeMap<(Flow, usize), Direction>,
    /// Sessions that began anew: the SessID under which their flows are known.
    renewed: BTreeMap<[u8; 32], [u8; 32]>,
    /// The first rule that was broken.
    pub(super) broken: Option<String>,
    #[cfg(test)]
    pub(super) sabotage: Option<Sabotage>,
}

impl Oracle {
    fn direction(&mut self, flow: Flow, sender: usize) -> &mut Direction {
        self.directions.entry((flow, sender)).or_default()
    }

    /// The flow of a channel.
    fn flow(&self, sess_id: [u8; 32], channel: ChannelId) -> Flow {
        let first = self.renewed.get(&sess_id).copied();
        (first.unwrap_or(sess_id), channel)
    }

    pub(super) fn fault(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    #[cfg(test)]
    pub(super) fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// The application at the far side of `sender` got bytes.
    fn got(&mut self, flow: Flow, sender: usize, bytes: &[u8]) {
        #[cfg(test)]
        let spoilt = self.spoil(bytes);
        #[cfg(test)]
        let bytes = spoilt.as_slice();
        let direction = self.direction(flow, sender);
        let (from, written) = (direction.got, direction.written);
        direction.got += bytes.len() as u64;
        let over = direction.got > written || (direction.ended && !bytes.is_empty());
        let wrong = (from..)
            .zip(bytes)
            .find(|(at, got)| byte(&flow, sender, *at) != **got);
        if let Some((at, _)) = wrong {
            self.fault(format!("wrong byte {at} of {:?} from {sender}", flow.1));
        } else if over {
            self.fault(format!(
                "bytes of {:?} from {sender} that were never sent",
                flow.1
            ));
        }
    }

    #[cfg(test)]
    fn spoil(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        match self.sabotage {
            Some(Sabotage::LoseByte) if bytes.len() > 1 => drop(bytes.remove(middle)),
            Some(Sabotage::DoubleByte) if bytes.len() > 1 => bytes.insert(middle, bytes[middle]),
            Some(Sabotage::ChangeByte) if bytes.len() > 1 => bytes[middle] ^= 1,
            _ => {}
        }
        bytes
    }

    /// The application at the far side of `sender` saw a clean end.
    fn ended(&mut self, flow: Flow, sender: usize) {
        let direction = self.direction(flow, sender);
        direction.ended = true;
        if !direction.finished || direction.got != direction.written {
            let (got, written) = (direction.got, direction.written);
            self.fault(format!(
                "clean end of {:?} from {sender} after {got} of {written}",
                flow.1
            ));
        }
    }

    /// Somebody has reason to cut a flow.
    pub(super) fn may_be_cut(&mut self, flow: Flow) {
        self.direction(flow, 0).cut = true;
        self.direction(flow, 1).cut = true;
    }

    /// Directions that ended with every byte.
    pub(super) fn clean_ends(&self) -> usize {
        self.directions.values().filter(|d| d.ended).count()
    }

    /// A direction that nobody cut and that did not end with every byte.
    pub(super) fn lost(&self) -> Option<String> {
        let lost = self
            .directions
            .iter()
            .find(|(_, d)| !d.cut && (!d.ended || d.got != d.wanted));
        lost.map(|((flow, sender), direction)| {
            format!("{:?} from {sender} never ended: {direction:?}", flow.1)
        })
    }
}

/// What the applications of a node stand on.
pub(super) trait Host {
    /// The session that carries a channel.
    fn session(&mut self, key: ChannelKey) -> Option<&mut Session>;
    /// Answers an incoming channel.
    fn answer(&mut self, key: ChannelKey, answer: Result<(), OpenFailure>, now: Time);
    /// The application resets its connection.
    fn kill(&mut self, key: ChannelKey, now: Time);
}

impl Host for Core {
    fn session(&mut self, key: ChannelKey) -> Option<&mut Session> {
        self.session(key.session)
    }

    fn answer(&mut self, key: ChannelKey, answer: Result<(), OpenFailure>, now: Time) {
        self.answer(key, answer, now);
    }

    fn kill(&mut self, key: ChannelKey, now: Time) {
        self.kill_channel(key, ResetCode::Connection, now);
    }
}

/// One application's connection. It looks at its channel only when it was told to, as a node does.
#[derive(Debug)]
struct Application {
    flow: Flow,
    /// It reads nothing before the network is calm: its ring stays full.
    asleep: bool,
    /// It keeps its direction open for a while after the last byte.
    lingers: bool,
    may_read: bool,
    may_write: bool,
}

/// How the run feels to the applications.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    /// Nothing breaks any more, and nobody is slow or impatient.
    pub(super) calm: bool,
    pub(super) now: Time,
}

/// The applications of one node.
#[derive(Debug)]
pub(super) struct Applications {
    side: usize,
    all: BTreeMap<ChannelKey, Application>,
    incoming: VecDeque<ChannelKey>,
    /// Channels that appeared here.
    pub(super) entered: usize,
}

impl Applications {
    pub(super) const fn new(side: usize) -> Self {
        Self {
            side,
            all: BTreeMap::new(),
            incoming: VecDeque::new(),
            entered: 0,
        }
    }

    /// Whether another channel may be opened.
    pub(super) const fn want_more(&self) -> bool {
        self.entered < CHANNELS_MAX
    }

    pub(super) fn is_over(&self) -> bool {
        self.all.is_empty() && self.incoming.is_empty()
    }

    /// A channel appears at this end.
    pub(super) fn enter(
        &mut self,
        key: ChannelKey,
        sess_id: [u8; 32],
        oracle: &mut Oracle,
        random: &mut Random,
    ) {
        let flow = oracle.flow(sess_id, key.channel);
        let application = Application {
            flow,
            asleep: random.below(6) == 0,
            lingers: random.below(4) == 0,
            may_read: true,
            may_write: true,
        };
        self.all.insert(key, application);
        let wanted = match random.below(8) {
            0 => random.below(150_000),
            1 | 2 => 0,
            _ => random.below(3_000),
        };
        oracle.direction(flow, self.side).wanted = wanted;
        self.entered += 1;
    }

    /// A session is there; with channels if it began anew, which go on under its new SessID.
    pub(super) fn session_up(&self, session: u32, sess_id: [u8; 32], oracle: &mut Oracle) {
        let mut all = self.all.iter();
        let going_on = all.find(|(key, _)| key.session == session);
        if let Some((_, application)) = going_on {
            oracle.renewed.insert(sess_id, application.flow.0);
        }
    }

    /// The peer asks for a channel.
    pub(super) fn asked(&mut self, key: ChannelKey) {
        self.incoming.push_back(key);
    }

    /// Something about the channel changed: the application looks again.
    pub(super) fn wake(&mut self, key: ChannelKey) {
        if let Some(application) = self.all.get_mut(&key) {
            application.may_read = true;
            application.may_write = true;
        }
    }

    /// A channel was cut, for which somebody must have had reason.
    pub(super) fn was_cut(&mut self, key: ChannelKey, oracle: &mut Oracle) {
        let Some(application) = self.all.remove(&key) else {
            return;
        };
        #[cfg(test)]
        if oracle.is(Sabotage::CutLooksClean) {
            oracle.ended(application.flow, 1 - self.side);
        }
        let flow = application.flow;
        if !oracle.direction(flow, self.side).cut {
            let side = self.side;
            oracle.fault(format!("{:?} was cut at {side}, and nobody did it", flow.1));
        }
    }

    /// A channel could not be opened: the peer refused it, or one end has no memory for it.
    pub(super) fn not_opened(
        &mut self,
        key: ChannelKey,
        failure: OpenFailure,
        oracle: &mut Oracle,
    ) {
        if failure == OpenFailure::Limit {
            self.may_be_cut(key, oracle);
        }
        self.was_cut(key, oracle);
    }

    /// Somebody has reason to cut a channel.
    pub(super) fn may_be_cut(&self, key: ChannelKey, oracle: &mut Oracle) {
        if let Some(application) = self.all.get(&key) {
            oracle.may_be_cut(application.flow);
        }
    }

    /// The state of this end, or of its peer, is gone: every connection may be cut.
    pub(super) fn may_all_be_cut(&self, oracle: &mut Oracle) {
        for application in self.all.values() {
            oracle.may_be_cut(application.flow);
        }
    }

    /// This end's process has ended, and its applications' connections with it.
    pub(super) fn forget_all(&mut self, oracle: &mut Oracle) {
        self.may_all_be_cut(oracle);
        self.all.clear();
        self.incoming.clear();
    }

    /// A channel is over at this end: it must have given everything and got everything.
    pub(super) fn closed(&mut self, key: ChannelKey, oracle: &mut Oracle) {
        let Some(application) = self.all.remove(&key) else {
            return;
        };
        let (flow, side) = (application.flow, self.side);
        let sent = oracle.direction(flow, side);
        let all_sent = sent.finished && sent.written == sent.wanted;
        let got = oracle.direction(flow, 1 - side);
        let all_got = got.got == got.written && got.finished;
        got.ended = true;
        if !all_sent || !all_got {
            oracle.fault(format!("closed {:?} at {side} too early", flow.1));
        }
    }

    /// The applications do something: answer, write, read, reset.
    pub(super) fn act(
        &mut self,
        host: &mut impl Host,
        oracle: &mut Oracle,
        random: &mut Random,
        mood: Mood,
    ) {
        if let Some(key) = self.incoming.pop_front() {
            let refused = random.below(10) == 0;
            if refused {
                self.cut(key, oracle);
            }
            let answer = if refused {
                Err(OpenFailure::Refused)
            } else {
                Ok(())
            };
            host.answer(key, answer, mood.now);
        }
        let keys: Vec<ChannelKey> = self.all.keys().copied().collect();
        for key in keys {
            let Some(session) = host.session(key) else {
                continue;
            };
            // People lose patience while nothing moves.
            let patience = if session.is_suspended() { 150 } else { 2_000 };
            if !mood.calm && random.below(patience) == 0 {
                self.cut(key, oracle);
                host.kill(key, mood.now);
                continue;
            }
            self.write(key, session, oracle, random, mood);
            self.read(key, session, oracle, random, mood);
        }
    }

    /// An application cuts its own channel.
    fn cut(&mut self, key: ChannelKey, oracle: &mut Oracle) {
        if let Some(application) = self.all.remove(&key) {
            oracle.may_be_cut(application.flow);
        }
    }

    fn write(
        &mut self,
        key: ChannelKey,
        session: &mut Session,
        oracle: &mut Oracle,
        random: &mut Random,
        mood: Mood,
    ) {
        let Some(application) = self.all.get_mut(&key) else {
            return;
        };
        let (flow, side) = (application.flow, self.side);
        let burst = random.below(20_000);
        let direction = oracle.direction(flow, side);
        let left = direction.wanted - direction.written;
        if left > 0 && application.may_write {
            let space = session.space(key.channel, mood.now);
            application.may_write = !space.is_empty();
            let count = usize::try_from(left.min(burst)).unwrap_or(0);
            let count = count.min(space.len());
            for (at, room) in (direction.written..).zip(space.iter_mut().take(count)) {
                *room = byte(&flow, side, at);
            }
            session.written(key.channel, count);
            direction.written += count as u64;
        }
        let lingers = application.lingers && !mood.calm && random.below(20) > 0;
        if direction.written == direction.wanted && !direction.finished && !lingers {
            direction.finished = true;
            session.finish(key.channel);
        }
    }

    fn read(
        &mut self,
        key: ChannelKey,
        session: &mut Session,
        oracle: &mut Oracle,
        random: &mut Random,
        mood: Mood,
    ) {
        let Some(application) = self.all.get_mut(&key) else {
            return;
        };
        if !application.may_read || (application.asleep && !mood.calm) {
            return;
        }
        let (flow, sender) = (application.flow, 1 - self.side);
        let (first, second) = session.waiting(key.channel);
        let bytes = [first, second].concat();
        let patient = mood.calm || random.below(4) > 0;
        let taken = if patient {
            bytes.len()
        } else {
            appetite(key.channel, bytes.len())
        };
        application.may_read = taken < bytes.len();
        oracle.got(flow, sender, bytes.get(..taken).unwrap_or_default());
        session.take(key.channel, taken, mood.now);
        let done = session.is_read_out(key.channel);
        #[cfg(test)]
        let done = done || (oracle.is(Sabotage::EndTooEarly) && taken > 0);
        if done && !oracle.direction(flow, sender).ended {
            oracle.ended(flow, sender);
        }
    }

    /// What keeps the run from being over, for the report of a failure.
    pub(super) fn unfinished(&self, oracle: &Oracle) -> Vec<String> {
        let tell = |application: &Application| {
            let flow = application.flow;
            let direction = |sender| oracle.directions.get(&(flow, sender));
            format!(
                "{:?} at {}: {:?} {:?} {application:?}",
                flow.1,
                self.side,
                direction(0),
                direction(1)
            )
        };
        self.all.values().map(tell).take(3).collect()
    }
}

/// Delivery at one node: some applications take everything at once, others nothing.
pub(super) struct Reader<'a> {
    pub(super) applications: &'a Applications,
    pub(super) oracle: &'a mut Oracle,
}

/// How much an application takes of what is offered: by its channel, so that runs repeat.
const fn appetite(channel: ChannelId, offered: usize) -> usize {
    match channel.counter() % 3 {
        0 => offered,
        1 => offered / 2,
        _ => 0,
    }
}

impl Deliver for Reader<'_> {
    fn deliver(&mut self, key: ChannelKey, bytes: &[u8]) -> usize {
        let Some(application) = self.applications.all.get(&key) else {
            return 0;
        };
        if application.asleep {
            return 0;
        }
        let taken = appetite(key.channel, bytes.len());
        let sender = 1 - self.applications.side;
        self.oracle.got(
            application.flow,
            sender,
            bytes.get(..taken).unwrap_or_default(),
        );
        taken
    }
}
