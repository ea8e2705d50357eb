//! The directory: names to places, link ports and keys, kept by the nodes of the overlay for each other
//! (R-D). It is the PKI of the overlay: a record carries the certificate of its name.
//!
//! A record lies at three keys, each at the node that is responsible for it and at that node's father.
//! Everything here is soft state: publishers refresh ([`publisher`]), who is responsible and its father
//! compare what they have ([`sync`]), what is no longer a node's is brought to its place ([`errand`]), and
//! readers repair what they find outdated ([`lookup`]). Records are checked by who stores and by who reads
//! them ([`genuine`]), never by those in between.
//!
//! One message in leads to at most one answer (R-O9); whatever a node does beyond that comes from its own
//! timers, at its own pace.

pub mod genuine;

mod errand;
mod lookup;
mod publisher;
mod serve;
mod store;
mod sync;
mod token;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use crate::cloak::compass::{Compass, Toward, WATERMARK_START, Way};
use crate::cloak::directory::errand::Errands;
use crate::cloak::directory::genuine::{Genuine, sub_key};
use crate::cloak::directory::lookup::Lookups;
use crate::cloak::directory::publisher::Publisher;
use crate::cloak::directory::store::Store;
use crate::cloak::directory::sync::Sync;
use crate::cloak::directory::token::Tokens;
use crate::cloak::rate::Bucket;
use crate::cloak::tree::Verify;
use crate::limits::{
    DIRECTORY_CHECKS, DIRECTORY_DIGESTS, DIRECTORY_OUTBOX_MAX, DIRECTORY_PUTS, DIRECTORY_RATES_MAX,
    DIRECTORY_RELAYED, DIRECTORY_SYNCS, HOPS_MAX,
};
use crate::name::Name;
use crate::name::certificate::{LocalParty, OverlayId};
use crate::random::Random;
use crate::time::{Almanac, Calendar, Time};
use crate::wire::codec::DecodeError;
use crate::wire::directory::{Ask, Message, Request};
use crate::wire::location::Location;

pub use crate::cloak::directory::genuine::Found;

/// What a neighbour did that ends its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misbehaviour {
    /// Bytes that are no message.
    #[error("malformed directory message: {0}")]
    Malformed(#[from] DecodeError),
    /// It vouched for a copy that nobody has signed.
    #[error("forged copy of a record")]
    Forged,
}

/// Settings of the directory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node; it signs its records.
    pub me: Arc<LocalParty>,
    /// Checks signatures.
    pub verifier: Arc<dyn Verify>,
    /// The calendar.
    pub almanac: Almanac,
    /// Highest number of a record of ours that is known from earlier runs (R-D2); 0 if none is.
    pub last_seq: u64,
}

/// Why a look-up found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The node itself says that it has left.
    Left,
    /// All of its places have answered that they know nothing of it.
    Unknown,
    /// A place has not answered, or this node is the whole directory: the node may be there all the same.
    Unanswered,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A look-up found a node.
    Found {
        /// Which look-up.
        query: u64,
        /// What the directory says, checked.
        found: Box<Found>,
    },
    /// A look-up found nothing.
    NotFound {
        /// Which look-up.
        query: u64,
        /// Why.
        why: Absence,
    },
    /// Our record of this number lies at two of its places at least.
    Published(u64),
    /// The number of our latest record, to be written down: no later one may be lower (R-D2).
    Sequence(u64),
}

/// Figures for status and simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records kept for others and oneself.
    pub records: usize,
    /// Bytes of memory they take.
    pub bytes: usize,
    /// Look-ups under way.
    pub lookups: usize,
    /// Records under way to their places.
    pub errands: usize,
    /// Number of our latest record; 0 if there is none.
    pub seq: u64,
    /// Hops that answers and requests of others took through this node, in all.
    pub relayed: u64,
    /// Messages that were dropped or refused at a limit, in all.
    pub limited: u64,
}

/// What each call is told.
#[derive(Clone, Copy)]
struct Context<'a> {
    compass: &'a dyn Compass,
    now: Time,
    calendar: Calendar,
}

impl Context<'_> {
    const fn at(&self) -> (Time, Calendar) {
        (self.now, self.calendar)
    }
}

/// Rates of one neighbour.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    puts: Bucket,
    relayed: Bucket,
    digests: Bucket,
    syncs: Bucket,
    seen: Time,
}

/// What is limited per neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rate {
    Puts,
    Relayed,
    Digests,
    Syncs,
}

/// Where a record comes from whose signature is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// It answers a request of ours.
    Answer,
    /// A neighbour compares copies with us.
    Copy,
    /// Somebody wants it kept.
    Put,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    /// Sub-key `index` of a look-up.
    Lookup(Name, u8),
    /// An errand.
    Errand(u64),
}

/// One node's part of the directory.
///
/// One input, then drain [`Self::poll_message`] and [`Self::poll_event`], then ask [`Self::poll_timeout`].
#[derive(Debug)]
pub struct Directory {
    me: Arc<LocalParty>,
    verifier: Arc<dyn Verify>,
    name: Name,
    overlay: OverlayId,
    almanac: Almanac,
    random: Random,
    store: Store,
    tokens: Tokens,
    rates: BTreeMap<Name, Rates>,
    checks: Bucket,
    lookups: Lookups,
    errands: Errands,
    waiting: BTreeMap<u64, Waiter>,
    publisher: Publisher,
    sync: Sync,
    /// Messages to oneself.
    local: VecDeque<Vec<u8>>,
    outbox: VecDeque<(Name, Vec<u8>)>,
    events: VecDeque<Event>,
    stats: Stats,
}

impl Directory {
    /// The part of a node that keeps nothing and publishes nothing yet.
    pub fn new(settings: Settings, mut random: Random, now: Time) -> Self {
        let tokens = Tokens::new(&mut random);
        Self {
            name: settings.me.name(),
            overlay: *settings.me.overlay(),
            me: settings.me,
            verifier: settings.verifier,
            almanac: settings.almanac,
            store: Store::new(),
            tokens,
            rates: BTreeMap::new(),
            checks: Bucket::default(),
            lookups: Lookups::default(),
            errands: Errands::default(),
            waiting: BTreeMap::new(),
            publisher: Publisher::new(settings.last_seq),
            sync: Sync::new(now, &mut random),
            random,
            local: VecDeque::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Keeps at most so many bytes of others' records.
    pub const fn bound(&mut self, bytes: usize) {
        self.store.set_bytes_max(bytes);
    }

    /// Forgets what it found for others, and does with half of these bytes where that is enough for what this
    /// node is responsible for. Says how many are free until [`Self::take_back`].
    pub fn lend(&mut self) -> usize {
        self.lookups.forget_all();
        self.store.lend()
    }

    /// Has all its bytes again.
    pub const fn take_back(&mut self) {
        self.store.take_back();
    }

    fn context<'a>(&self, compass: &'a dyn Compass, now: Time) -> Context<'a> {
        Context {
            compass,
            now,
            calendar: self.almanac.calendar(now),
        }
    }

    /// The calendar is set, be it to what it said before. A record of ours that is old by it, or young, or has not
    /// the newest certificate, is followed by another one.
    pub fn set_almanac(&mut self, almanac: Almanac, now: Time) {
        self.almanac = almanac;
        let serial = self.me.certificate().terms.serial;
        self.publisher.dated(almanac.calendar(now), serial, now);
    }

    /// A message of a neighbour. After an error its link is closed.
    pub fn handle(
        &mut self,
        from: Name,
        message: &[u8],
        compass: &dyn Compass,
        now: Time,
    ) -> Result<(), Misbehaviour> {
        let context = self.context(compass, now);
        let result = self.dispatch(from, message, context);
        self.settle(context);
        result
    }

    fn dispatch(
        &mut self,
        from: Name,
        bytes: &[u8],
        context: Context<'_>,
    ) -> Result<(), Misbehaviour> {
        let message = Message::decode(bytes)?;
        let rate = match message {
            Message::Request(_) | Message::Answer(_) => Rate::Relayed,
            Message::Digest(_) => Rate::Digests,
            _ => Rate::Syncs,
        };
        if !self.pass(from, rate, context.now) {
            return Ok(());
        }
        match message {
            Message::Request(request) => self.on_request(from, request, context),
            Message::Answer(answer) => self.on_answer(from, answer, context),
            Message::Digest(digest) => self.on_digest(from, &digest, context),
            Message::Differs(hash) => self.on_differs(from, hash, context),
            Message::List(sections) => self.on_list(from, &sections, context),
            Message::Want(wanted) => self.on_want(from, &wanted, context),
            Message::Copies(copies) => self.on_copies(from, &copies, context)?,
        }
        Ok(())
    }

    /// Deals with what the node has said to itself, and with what that led to.
    fn settle(&mut self, context: Context<'_>) {
        loop {
            while let Some(message) = self.local.pop_front() {
                // Written by ourselves: it reads.
                let _ = self.dispatch(self.name, &message, context);
            }
            self.advance_lookups(context);
            // Tries are counted, so this ends.
            if self.local.is_empty() {
                return;
            }
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Time {
        let lookups = self.lookups.next();
        let publisher = self.publisher.next();
        let sync = self.sync.next();
        let parts = [
            lookups,
            publisher,
            sync,
            self.errands.next(),
            self.store.next_check(),
        ];
        parts.into_iter().min().unwrap_or(Time::NEVER)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, compass: &dyn Compass, now: Time) {
        let context = self.context(compass, now);
        self.run_publisher(context);
        self.run_errands(context);
        self.run_sync(context);
        self.settle(context);
    }

    /// Arcs, father, neighbours or the place of this node have changed.
    pub fn changed(&mut self, compass: &dyn Compass, now: Time) {
        self.sync.hurry(now);
        let context = self.context(compass, now);
        self.run_publisher(context);
        self.settle(context);
    }

    /// Another root: what was asked may be lost, and is asked again at once.
    pub fn other_root(&mut self, compass: &dyn Compass, now: Time) {
        self.lookups.hurry(None, now);
        self.settle(self.context(compass, now));
    }

    /// The last link to a neighbour is gone: what was asked by way of it is asked again at once.
    pub fn neighbour_down(&mut self, name: Name, compass: &dyn Compass, now: Time) {
        self.sync.forget(name);
        self.lookups.hurry(Some(name), now);
        self.errands.hurry(name, now);
        self.changed(compass, now);
    }

    /// Looks a name up. [`Event::Found`] or [`Event::NotFound`] with the returned number follows within
    /// [`DIRECTORY_LOOKUP`](crate::limits::DIRECTORY_LOOKUP).
    pub fn lookup(&mut self, name: Name, compass: &dyn Compass, now: Time) -> u64 {
        let context = self.context(compass, now);
        let query = self.start_lookup(name, context);
        self.settle(context);
        query
    }

    /// What was found of a name is out of date: the next look-up asks again.
    pub fn forget(&mut self, name: Name) {
        self.lookups.forget(name);
    }

    /// The same of all names.
    pub fn forget_all(&mut self) {
        self.lookups.forget_all();
    }

    /// The highest number seen of a name (R-D5).
    pub fn floor(&self, name: Name) -> Option<u64> {
        self.lookups.floor(name)
    }

    /// Takes over the highest number seen of a name in an earlier run (R-D5).
    pub fn set_floor(&mut self, name: Name, seq: u64, now: Time) {
        self.lookups.raise_floor(name, seq, now);
    }

    /// Publishes where this node is, from now on until [`Self::withdraw`]: at once, but every
    /// five seconds in the mean, and every ten minutes. The first four of its `locations`, the best one first, are said, and
    /// the first four of its link `endpoints` that are visible ASCII of at most 255 bytes.
    pub fn publish(
        &mut self,
        locations: Vec<Location>,
        endpoints: Vec<String>,
        compass: &dyn Compass,
        now: Time,
    ) {
        self.publisher.say(locations, endpoints, now);
        let context = self.context(compass, now);
        self.run_publisher(context);
        self.settle(context);
    }

    /// The node has moved: what it publishes, if it does, says so from now on.
    pub fn moved(&mut self, locations: Vec<Location>, compass: &dyn Compass, now: Time) {
        self.publisher.moved(locations, now);
        self.changed(compass, now);
    }

    /// Tells the directory that this node leaves: a tombstone takes the record's place.
    pub fn withdraw(&mut self, compass: &dyn Compass, now: Time) {
        let context = self.context(compass, now);
        self.bury(context);
        self.settle(context);
    }

    /// The next message to a neighbour.
    pub fn poll_message(&mut self) -> Option<(Name, Vec<u8>)> {
        let next = self.outbox.pop_front();
        if next.is_none() && self.outbox.capacity() > 64 {
            self.outbox = VecDeque::new();
        }
        next
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        Stats {
            records: self.store.len(),
            bytes: self.store.bytes(),
            lookups: self.lookups.len(),
            errands: self.errands.len(),
            seq: self.publisher.last(),
            ..self.stats
        }
    }

    /// Bytes of memory that this takes, the records it keeps for others apart.
    pub fn bytes(&self) -> usize {
        let rates = self.rates.len() * (32 + size_of::<Rates>());
        let messages = self.outbox.iter().map(|(_, bytes)| 56 + bytes.len());
        let waiting = self.waiting.len() * (8 + size_of::<Waiter>());
        size_of::<Self>()
            + rates
            + messages.sum::<usize>()
            + waiting
            + self.lookups.bytes()
            + self.errands.bytes()
            + self.sync.bytes()
    }

    /// Whether a neighbour may do one more of something now; oneself always may.
    fn pass(&mut self, from: Name, rate: Rate, now: Time) -> bool {
        if from == self.name {
            return true;
        }
        if self.rates.len() >= DIRECTORY_RATES_MAX && !self.rates.contains_key(&from) {
            let oldest = self.rates.iter().min_by_key(|(_, rates)| rates.seen);
            if let Some(name) = oldest.map(|(name, _)| *name) {
                self.rates.remove(&name);
            }
        }
        let rates = self.rates.entry(from).or_default();
        rates.seen = now;
        let pass = match rate {
            Rate::Puts => rates.puts.pass(DIRECTORY_PUTS, now),
            Rate::Relayed => rates.relayed.pass(DIRECTORY_RELAYED, now),
            Rate::Digests => rates.digests.pass(DIRECTORY_DIGESTS, now),
            Rate::Syncs => rates.syncs.pass(DIRECTORY_SYNCS, now),
        };
        self.stats.limited += u64::from(!pass);
        pass
    }

    /// Whether a signature may be checked now; puts come last (R-D6), and answers first: others send copies and puts
    /// as they like, but answer only what this node asks.
    fn may_check(&mut self, check: Check, now: Time) -> bool {
        let (_, burst) = DIRECTORY_CHECKS;
        let kept = match check {
            Check::Answer => 0,
            Check::Copy => burst / 4,
            Check::Put => burst / 2,
        };
        let pass = self.checks.pass_above(kept, DIRECTORY_CHECKS, now);
        self.stats.limited += u64::from(!pass);
        pass
    }

    fn send(&mut self, to: Name, message: &Message<'_>) {
        if self.outbox.len() >= DIRECTORY_OUTBOX_MAX {
            self.stats.limited += 1;
            return;
        }
        let mut out = Vec::new();
        message.encode(&mut out);
        self.outbox.push_back((to, out));
    }

    /// Sends a request of our own; first hops in `avoid` only in need. None without a place: there is nowhere
    /// for an answer to go. Else its number and first hop, which is none when it is for this node.
    fn ask(
        &mut self,
        (name, index): ([u8; 32], u8),
        (ask, way): (Ask<'_>, Way),
        avoid: &[Name],
        waiter: Waiter,
        context: Context<'_>,
    ) -> Option<(u64, Option<Name>)> {
        let nonce = self.random.number();
        let mut request = Request {
            by_tree: way == Way::Tree,
            up: false,
            exact: matches!(waiter, Waiter::Errand(_)),
            hops: HOPS_MAX,
            watermark: WATERMARK_START,
            nonce,
            name,
            index,
            from: self.name.tag(),
            from_location: context.compass.location()?,
            ask,
        };
        self.waiting.insert(nonce, waiter);
        let key = sub_key(&name, index);
        let toward = context.compass.toward(key, WATERMARK_START, avoid, way);
        if let Toward::Next(neighbour, watermark) = toward {
            request.watermark = watermark;
            self.send(neighbour, &Message::Request(request));
            return Some((nonce, Some(neighbour)));
        }
        let mut out = Vec::new();
        Message::Request(request).encode(&mut out);
        self.local.push_back(out);
        Some((nonce, None))
    }

    /// Checks a record that an answer brought; the budget is that of readers.
    fn check(&mut self, bytes: &[u8], context: Context<'_>) -> Option<Genuine> {
        if !self.may_check(Check::Answer, context.now) {
            return None;
        }
        Genuine::check(bytes, &self.overlay, &*self.verifier).ok()
    }
}

#[cfg(test)]
mod tests;
