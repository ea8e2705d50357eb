//! Copies above: who is responsible for records and its father compare what they have (R-D3).
//!
//! Every 30 s, and when arcs or neighbours change, a node sends its father a digest of all it is responsible
//! for. If the father's differs, it says so, and the node lists what it has, page by page; the father wants what
//! it lacks and sends what the node lacks. So either restores the other, and a node that has just been given
//! an arc gets the records in it from the father that gave it. Copies go out at this node's own pace.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cloak::compass::{Compass, Span, Toward, WATERMARK_START, Way};
use crate::cloak::directory::errand::Why;
use crate::cloak::directory::genuine::{Genuine, sub_key};
use crate::cloak::directory::store::{Place, Rank, Standing, listed, tag};
use crate::cloak::directory::{Check, Context, Directory, Misbehaviour};
use crate::limits::{
    DIRECTORY_DIGEST, DIRECTORY_PACE, DIRECTORY_PUSHES_MAX, DIRECTORY_SETTLE, DIRECTORY_UNCONFIRMED,
};
use crate::name::Name;
use crate::random::Random;
use crate::time::Time;
use crate::wire::codec::varint_len;
use crate::wire::directory::{
    Digest, HASH_LEN, LISTED_MAX, Listed, MESSAGE_BYTES_MAX, Message, RANGES_MAX, SECTIONS_MAX,
    SUB_KEYS, Section,
};
use crate::wire::tag::Tag;

/// Bytes of a message of copies that are no records.
const COPIES_HEAD: usize = 2;

/// What is being listed for the father.
#[derive(Debug)]
struct Listing {
    /// Ranges that are left, the next one last.
    ranges: Vec<Span>,
    to: Name,
}

/// State of the comparison.
#[derive(Debug)]
pub(super) struct Sync {
    digest_at: Time,
    sent: Option<(Name, [u8; HASH_LEN])>,
    rounds: usize,
    listing: Option<Listing>,
    pushes: BTreeSet<(Name, Place)>,
    pace_at: Time,
    /// When to see what is whose after a change of arcs.
    rank_at: Time,
}

impl Sync {
    pub(super) fn new(now: Time, random: &mut Random) -> Self {
        Self {
            digest_at: now + jittered(random),
            sent: None,
            rounds: 0,
            listing: None,
            pushes: BTreeSet::new(),
            pace_at: now,
            rank_at: Time::NEVER,
        }
    }

    pub(super) fn next(&self) -> Time {
        let pace = if self.pushes.is_empty() && self.listing.is_none() {
            Time::NEVER
        } else {
            self.pace_at
        };
        self.digest_at.min(self.rank_at).min(pace)
    }

    /// Something has changed: it is seen to soon.
    pub(super) fn hurry(&mut self, now: Time) {
        let (rank, digest) = DIRECTORY_SETTLE;
        self.rank_at = self.rank_at.min(now + rank);
        self.digest_at = self.digest_at.min(now + digest);
    }

    pub(super) fn bytes(&self) -> usize {
        let ranges = self
            .listing
            .as_ref()
            .map_or(0, |listing| listing.ranges.len());
        self.pushes.len() * size_of::<(Name, Place)>() + ranges * size_of::<Span>()
    }

    /// A neighbour is gone.
    pub(super) fn forget(&mut self, neighbour: Name) {
        self.pushes.retain(|(to, _)| *to != neighbour);
        if self
            .listing
            .as_ref()
            .is_some_and(|listing| listing.to == neighbour)
        {
            self.listing = None;
        }
    }

    /// A copy is to go to a neighbour; false when too many wait.
    pub(super) fn push(&mut self, to: Name, place: Place, now: Time) -> bool {
        if self.pushes.len() >= DIRECTORY_PUSHES_MAX {
            return false;
        }
        if self.pushes.is_empty() && self.listing.is_none() {
            self.pace_at = now + DIRECTORY_PACE;
        }
        self.pushes.insert((to, place))
    }
}

fn jittered(random: &mut Random) -> Duration {
    let tenth = u64::try_from(DIRECTORY_DIGEST.as_nanos() / 10).unwrap_or(u64::MAX);
    DIRECTORY_DIGEST.saturating_sub(Duration::from_nanos(random.below(tenth)))
}

/// Whether a neighbour compares with this node: its father, or the child whose keys these are.
fn compares(compass: &dyn Compass, neighbour: Name, key: u64) -> bool {
    let below = compass.toward(key, WATERMARK_START, &[], Way::Tree);
    compass.father() == Some(neighbour)
        || matches!(below, Toward::Next(name, _) if name == neighbour)
}

impl Directory {
    pub(super) fn run_sync(&mut self, context: Context<'_>) {
        if self.sync.rank_at <= context.now {
            self.sync.rank_at = Time::NEVER;
            self.store.rerank(context.compass, context.now);
        }
        if self.sync.digest_at <= context.now {
            self.sync.digest_at = context.now + jittered(&mut self.random);
            self.store.expire(context.calendar);
            self.send_digest(context);
        }
        if self.store.next_check() <= context.now {
            self.hand_over(context);
        }
        let waits = !self.sync.pushes.is_empty() || self.sync.listing.is_some();
        if waits && self.sync.pace_at <= context.now {
            self.sync.pace_at = context.now + DIRECTORY_PACE;
            self.send_page(context);
            self.send_copies(context);
        }
    }

    fn send_digest(&mut self, context: Context<'_>) {
        let Some(father) = context.compass.father() else {
            return;
        };
        let mut ranges = context.compass.ranges();
        if ranges.is_empty() {
            return;
        }
        let rounds = ranges.len().div_ceil(RANGES_MAX).max(1);
        let skipped = self.sync.rounds % rounds * RANGES_MAX;
        self.sync.rounds = self.sync.rounds.wrapping_add(1);
        ranges.drain(..skipped.min(ranges.len()));
        ranges.truncate(RANGES_MAX);
        let hash = self.store.digest(&ranges, context.calendar);
        self.sync.sent = Some((father, hash));
        self.send(father, &Message::Digest(Digest { ranges, hash }));
    }

    pub(super) fn on_digest(&mut self, from: Name, digest: &Digest, context: Context<'_>) {
        let first = digest.ranges.first().map_or(0, |(first, _)| *first);
        if !compares(context.compass, from, first) {
            return;
        }
        // What lies between belongs to nodes below the sender, which have another father.
        for pair in digest.ranges.windows(2) {
            if let [(_, before), (after, _)] = pair
                && context.compass.father() != Some(from)
            {
                let hole = (before.saturating_add(1), after.saturating_sub(1));
                self.store.doubt_between(hole, context.now);
            }
        }
        if self.store.digest(&digest.ranges, context.calendar) != digest.hash {
            self.send(from, &Message::Differs(digest.hash));
            return;
        }
        for range in &digest.ranges {
            self.store.confirm_between(*range, context.now);
        }
    }

    pub(super) fn on_differs(&mut self, from: Name, hash: [u8; HASH_LEN], context: Context<'_>) {
        if self.sync.sent != Some((from, hash)) {
            return;
        }
        self.sync.sent = None;
        let mut ranges = context.compass.ranges();
        ranges.reverse();
        self.sync.listing = Some(Listing { ranges, to: from });
        self.sync.pace_at = self.sync.pace_at.max(context.now);
    }

    /// Sends the next page of the list.
    fn send_page(&mut self, context: Context<'_>) {
        let Some(listing) = &mut self.sync.listing else {
            return;
        };
        let to = listing.to;
        let mut sections = Vec::new();
        let mut left = LISTED_MAX;
        while left > 0
            && sections.len() < SECTIONS_MAX
            && let Some((first, last)) = listing.ranges.pop()
        {
            let all = self.store.between((first, last), context.calendar);
            let all = all.map(|(place, entry)| listed(place, entry));
            let mut entries: Vec<Listed> = all.take(left + 1).collect();
            let mut end = last;
            if entries.len() > left {
                // The rest begins with the first key that does not fit; keys are not torn apart.
                let next = entries.pop().map_or(last, |entry| entry.key);
                entries.retain(|entry| entry.key < next);
                listing.ranges.push((next, last));
                let Some(before) = next.checked_sub(1).filter(|before| *before >= first) else {
                    break;
                };
                end = before;
            }
            left -= entries.len();
            let cut = end < last;
            sections.push(Section {
                first,
                last: end,
                entries,
            });
            if cut {
                break;
            }
        }
        if listing.ranges.is_empty() || sections.is_empty() {
            self.sync.listing = None;
        }
        self.send(to, &Message::List(sections));
    }

    pub(super) fn on_list(&mut self, from: Name, sections: &[Section], context: Context<'_>) {
        let mut wanted: Vec<(u64, Tag)> = Vec::new();
        for section in sections {
            if !compares(context.compass, from, section.first) {
                continue;
            }
            let mut theirs = section.entries.iter().peekable();
            let mut confirmed = Vec::new();
            let range = (section.first, section.last);
            for (place, entry) in self.store.between(range, context.calendar) {
                let mine = listed(place, entry);
                let id = |listed: &Listed| (listed.key, listed.tag);
                while let Some(other) = theirs.next_if(|other| id(other) < id(&mine)) {
                    wanted.push(id(other));
                }
                let other = theirs.next_if(|other| id(other) == id(&mine));
                let seq = other.map_or(0, |other| other.seq);
                if seq > mine.seq {
                    wanted.push(id(&mine));
                } else if seq == mine.seq {
                    confirmed.push(place);
                } else if !self.sync.push(from, place, context.now)
                    && self.sync.pushes.len() >= DIRECTORY_PUSHES_MAX
                {
                    break;
                }
            }
            wanted.extend(theirs.map(|other| (other.key, other.tag)));
            for place in confirmed {
                self.store.confirm(place, context.now);
            }
        }
        if !wanted.is_empty() {
            self.send(from, &Message::Want(wanted));
        }
    }

    pub(super) fn on_want(&mut self, from: Name, wanted: &[(u64, Tag)], context: Context<'_>) {
        if context.compass.father() != Some(from) {
            return;
        }
        for (key, name) in wanted {
            let found = self.store.between((*key, *key), context.calendar);
            let found = found.map(|(place, _)| place);
            let places: Vec<_> = found.filter(|(_, bytes)| tag(bytes) == *name).collect();
            for place in places {
                self.sync.push(from, place, context.now);
            }
        }
    }

    /// Sends what waits for the first neighbour that something waits for, as much as fits.
    fn send_copies(&mut self, context: Context<'_>) {
        let Some((to, _)) = self.sync.pushes.first().copied() else {
            return;
        };
        let mut copies = Vec::new();
        let mut left = MESSAGE_BYTES_MAX - COPIES_HEAD;
        while let Some((_, place)) = self
            .sync
            .pushes
            .first()
            .copied()
            .filter(|(name, _)| *name == to)
        {
            if let Some(entry) = self.store.get(place, context.calendar) {
                let size = 1 + varint_len(entry.record.len() as u64) + entry.record.len();
                if size > left || copies.len() >= usize::from(u8::MAX) {
                    break;
                }
                left -= size;
                copies.push((entry.index, std::sync::Arc::clone(&entry.record)));
            }
            self.sync.pushes.pop_first();
        }
        if !copies.is_empty() {
            let copies = copies.iter().map(|(index, record)| (*index, &**record));
            self.send(to, &Message::Copies(copies.collect()));
        }
    }

    /// Takes copies of a neighbour: of what this node is responsible for, of what somebody below is, and of
    /// whatever its father keeps here.
    pub(super) fn on_copies(
        &mut self,
        from: Name,
        copies: &[(u8, &[u8])],
        context: Context<'_>,
    ) -> Result<(), Misbehaviour> {
        for (index, bytes) in copies {
            let Some(name) = bytes.get(1..33).and_then(|name| name.first_chunk::<32>()) else {
                return Err(Misbehaviour::Forged);
            };
            let place = (sub_key(name, *index), *name);
            let rank = Standing::of(context.compass, place.0).rank;
            if rank == Rank::Elsewhere && context.compass.father() != Some(from) {
                continue;
            }
            let stored = self.store.get(place, context.calendar);
            if stored.is_some_and(|entry| *entry.record == **bytes) {
                self.store.confirm(place, context.now);
                continue;
            }
            // The next digest brings what is left.
            if !self.may_check(Check::Copy, context.now) {
                break;
            }
            let genuine = Genuine::check(bytes, &self.overlay, &*self.verifier);
            let genuine = genuine.map_err(|_| Misbehaviour::Forged)?;
            if genuine.is_timely(context.calendar).is_ok() {
                self.keep(&genuine, *index, from, context);
                if rank == Rank::Own && context.compass.father() != Some(from) {
                    self.copy_up(place, context);
                }
            }
        }
        Ok(())
    }

    /// Brings records that are another's, and that nobody has confirmed, to their places.
    fn hand_over(&mut self, context: Context<'_>) {
        let room = self.errands.room();
        let places =
            self.store
                .unconfirmed(room, DIRECTORY_UNCONFIRMED / SUB_KEYS.into(), context.now);
        for place in places {
            let Some(entry) = self.store.get(place, context.calendar) else {
                self.store.remove(place);
                continue;
            };
            let index = entry.index;
            let bytes = std::sync::Arc::clone(&entry.record);
            // It was genuine when it came, and is checked where it goes.
            if let Ok(genuine) = Genuine::check(&bytes, &self.overlay, &*self.verifier) {
                self.send_out(Why::HandOver, genuine, index, None, context);
            }
        }
    }
}
