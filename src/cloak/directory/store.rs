//! The records that a node keeps for others (R-D6): bounded in all and per neighbour they came by.
//!
//! When there is no room, what is farthest from being this node's goes first, then what ends first, and
//! nothing goes for something farther.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cloak::compass::Compass;
use crate::cloak::directory::genuine::Genuine;
use crate::limits::{
    DIRECTORY_BYTES_MAX, DIRECTORY_DOUBT, DIRECTORY_ENTRY_BYTES, DIRECTORY_LIFE,
    DIRECTORY_PATIENCE, DIRECTORY_RECORDS_MAX, DIRECTORY_SHARES, DIRECTORY_UNCONFIRMED,
};
use crate::name::Name;
use crate::time::{Calendar, Time};
use crate::wire::directory::{HASH_LEN, Listed};
use crate::wire::tag::Tag;

/// Sub-key and name of an entry.
pub(super) type Place = (u64, [u8; 32]);

/// How far a record is from being this node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// This node is responsible.
    Own,
    /// Somebody below is.
    Below,
    /// Somebody elsewhere is.
    Elsewhere,
}

/// What a record is to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) rank: Rank,
    /// Mark of the child that has it below, and of that child's arc: when it changes, somebody else may
    /// be responsible.
    below: u64,
}

impl Standing {
    pub(super) fn of(compass: &dyn Compass, key: u64) -> Self {
        if compass.is_responsible(key) {
            return Self {
                rank: Rank::Own,
                below: 0,
            };
        }
        Self::of_others(compass, key)
    }

    fn of_others(compass: &dyn Compass, key: u64) -> Self {
        let rank = if compass.contains(key) {
            Rank::Below
        } else {
            Rank::Elsewhere
        };
        let below = compass.below(key).map_or(0, |(name, (first, last))| {
            let tag = u64::from_be_bytes(name.tag().0);
            tag ^ first.rotate_left(21) ^ last.rotate_left(42)
        });
        Self { rank, below }
    }
}

/// A record kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<[u8]>,
    pub(super) index: u8,
    pub(super) seq: u64,
    /// Kept until then, which is no later than its own end.
    pub(super) until: Calendar,
    standing: Standing,
    /// Charged to this neighbour.
    ingress: Name,
    /// When to see whether those who are responsible have it.
    check_at: Time,
}

impl Entry {
    fn cost(&self) -> usize {
        self.record.len() + DIRECTORY_ENTRY_BYTES
    }

    fn order(&self, (key, name): Place) -> Order {
        (Reverse(self.standing.rank), self.until, key, name)
    }
}

/// Who goes first.
type Order = (Reverse<Rank>, Calendar, u64, [u8; 32]);

#[derive(Debug, Default)]
struct Share {
    order: BTreeSet<Order>,
    bytes: usize,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is new here.
    New,
    /// It was there.
    Same,
    /// One of the same or a higher number is there (R-D2).
    Newer(Arc<[u8]>),
    /// There is no room for it.
    Full,
}

/// The table.
#[derive(Debug)]
pub(super) struct Store {
    entries: BTreeMap<Place, Entry>,
    shares: BTreeMap<Name, Share>,
    bytes: usize,
    records_max: usize,
    bytes_max: usize,
    /// Of these, for now.
    lent: usize,
    next_check: Time,
}

impl Store {
    pub(super) fn new() -> Self {
        Self::with_limits(DIRECTORY_RECORDS_MAX, DIRECTORY_BYTES_MAX)
    }

    pub(super) fn with_limits(records_max: usize, bytes_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            shares: BTreeMap::new(),
            bytes: 0,
            records_max,
            bytes_max,
            lent: 0,
            next_check: Time::NEVER,
        }
    }

    /// Keeps at most so many bytes.
    pub(super) const fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    /// Does with half of them until [`Self::take_back`], as far as that is enough for what this node is
    /// responsible for. Says how many bytes are free for others.
    pub(super) fn lend(&mut self) -> usize {
        while self.bytes > self.bytes_max / 2 {
            let first = self.first().filter(|(rank, ..)| rank.0 != Rank::Own);
            let Some((.., key, name)) = first else { break };
            self.remove((key, name));
        }
        self.lent = self.bytes_max - self.bytes.max(self.bytes_max / 2);
        self.lent
    }

    /// Has all its bytes again.
    pub(super) const fn take_back(&mut self) {
        self.lent = 0;
    }

    /// What goes first.
    fn first(&self) -> Option<Order> {
        let firsts = self.shares.values().filter_map(|share| share.order.first());
        firsts.min().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, place: Place, now: Calendar) -> Option<&Entry> {
        self.entries.get(&place).filter(|entry| entry.until > now)
    }

    /// Entries between two keys, those that are over left out.
    pub(super) fn between(
        &self,
        (first, last): (u64, u64),
        now: Calendar,
    ) -> impl Iterator<Item = (Place, &Entry)> {
        let range = (first, [0; 32])..=(last, [u8::MAX; 32]);
        let found = self.entries.range(range);
        let found = found.map(|(place, entry)| (*place, entry));
        found.filter(move |(_, entry)| entry.until > now)
    }

    /// Keeps a record that is genuine and timely, charged to `ingress`.
    pub(super) fn put(
        &mut self,
        record: &Genuine,
        (key, index): (u64, u8),
        standing: Standing,
        ingress: Name,
        (now, calendar): (Time, Calendar),
    ) -> Kept {
        let place = (key, *record.name().as_bytes());
        if let Some(old) = self.get(place, calendar) {
            if old.record == *record.bytes() {
                return Kept::Same;
            }
            if old.seq >= record.seq() {
                return Kept::Newer(Arc::clone(&old.record));
            }
        }
        self.remove(place);
        let life = Calendar(calendar.0.saturating_add(DIRECTORY_LIFE.as_secs()));
        let entry = Entry {
            record: Arc::clone(record.bytes()),
            index,
            seq: record.seq(),
            until: record.expiry().min(life),
            standing,
            ingress,
            check_at: now + DIRECTORY_UNCONFIRMED,
        };
        if !self.make_room(&entry) {
            return Kept::Full;
        }
        let share = self.shares.entry(ingress).or_default();
        share.order.insert(entry.order(place));
        share.bytes += entry.cost();
        self.bytes += entry.cost();
        self.next_check = self.next_check.min(entry.check_at);
        self.entries.insert(place, entry);
        Kept::New
    }

    fn make_room(&mut self, entry: &Entry) -> bool {
        loop {
            let share = self.shares.get(&entry.ingress);
            let used = share.map_or((0, 0), |share| (share.order.len(), share.bytes));
            let fits = |(records, bytes): (usize, usize), parts: usize| {
                records < self.records_max / parts && bytes + entry.cost() <= self.bytes_max / parts
            };
            let victim = if !fits(used, DIRECTORY_SHARES) {
                share.and_then(|share| share.order.first()).copied()
            } else if !fits((self.entries.len(), self.bytes + self.lent), 1) {
                self.first()
            } else {
                return true;
            };
            // Nothing goes for something farther, or as far and sooner over.
            let goes = victim.filter(|(rank, until, ..)| {
                (*rank, *until) < (Reverse(entry.standing.rank), entry.until)
            });
            let Some((.., key, name)) = goes else {
                return false;
            };
            self.remove((key, name));
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let Some(entry) = self.entries.remove(&place) else {
            return;
        };
        self.bytes -= entry.cost();
        if let Some(share) = self.shares.get_mut(&entry.ingress) {
            share.order.remove(&entry.order(place));
            share.bytes -= entry.cost();
            if share.order.is_empty() {
                self.shares.remove(&entry.ingress);
            }
        }
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Calendar) {
        let over = self.entries.iter().filter(|(_, entry)| entry.until <= now);
        let over: Vec<_> = over.map(|(place, _)| *place).collect();
        for place in over {
            self.remove(place);
        }
    }

    /// Arcs have changed. What is no longer this node's is to be brought to its place at once; what somebody
    /// else may be responsible for now is in doubt until it is compared.
    pub(super) fn rerank(&mut self, compass: &dyn Compass, now: Time) {
        for share in self.shares.values_mut() {
            share.order.clear();
        }
        let own = compass.ranges();
        let is_own = |key| {
            own.iter()
                .any(|(first, last)| (*first..=*last).contains(&key))
        };
        for (place, entry) in &mut self.entries {
            let standing = if is_own(place.0) {
                Standing {
                    rank: Rank::Own,
                    below: 0,
                }
            } else {
                Standing::of_others(compass, place.0)
            };
            if standing.rank == Rank::Own {
                entry.check_at = now + DIRECTORY_UNCONFIRMED;
            } else if entry.standing.rank == Rank::Own {
                entry.check_at = now;
            } else if entry.standing != standing {
                entry.check_at = entry.check_at.min(now + DIRECTORY_DOUBT);
            }
            entry.standing = standing;
            if standing.rank != Rank::Own {
                self.next_check = self.next_check.min(entry.check_at);
            }
            let share = self.shares.entry(entry.ingress).or_default();
            share.order.insert(entry.order(*place));
        }
    }

    /// Who is responsible for an entry has it.
    pub(super) fn confirm(&mut self, place: Place, now: Time) {
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.check_at = now + DIRECTORY_UNCONFIRMED;
        }
    }

    /// Who is responsible for an entry has it by now: it goes, unless it was compared meanwhile.
    pub(super) fn handed(&mut self, place: Place, now: Time) {
        let entry = self.entries.get(&place);
        let goes = entry.filter(|entry| {
            entry.standing.rank != Rank::Own && entry.check_at < now + DIRECTORY_UNCONFIRMED / 2
        });
        if goes.is_some() {
            self.remove(place);
        }
    }

    /// A child is not responsible for these keys, though it was for some around them.
    pub(super) fn doubt_between(&mut self, (first, last): (u64, u64), now: Time) {
        let range = (first, [0; 32])..=(last, [u8::MAX; 32]);
        for (_, entry) in self.entries.range_mut(range) {
            if entry.standing.rank == Rank::Below {
                entry.check_at = entry.check_at.min(now + DIRECTORY_DOUBT);
                self.next_check = self.next_check.min(entry.check_at);
            }
        }
    }

    /// There is a record with this number elsewhere: what is lower goes.
    pub(super) fn outdated(&mut self, place: Place, seq: u64) {
        if self
            .entries
            .get(&place)
            .is_some_and(|entry| entry.seq < seq)
        {
            self.remove(place);
        }
    }

    /// The same as [`Self::confirm`] for all entries in a range.
    pub(super) fn confirm_between(&mut self, (first, last): (u64, u64), now: Time) {
        for (_, entry) in self
            .entries
            .range_mut((first, [0; 32])..=(last, [u8::MAX; 32]))
        {
            entry.check_at = now + DIRECTORY_UNCONFIRMED;
        }
    }

    /// When [`Self::unconfirmed`] has something to say.
    pub(super) const fn next_check(&self) -> Time {
        self.next_check
    }

    /// Entries of others that nobody has confirmed for long, at most `max`; they come again after `again`.
    pub(super) fn unconfirmed(&mut self, max: usize, again: Duration, now: Time) -> Vec<Place> {
        let mut found = Vec::new();
        self.next_check = Time::NEVER;
        for (place, entry) in &mut self.entries {
            if entry.standing.rank == Rank::Own {
                continue;
            }
            let mut next = entry.check_at;
            if next <= now && found.len() < max {
                found.push(*place);
                entry.check_at = now + again;
                next = entry.check_at;
            }
            self.next_check = self.next_check.min(next.max(now + DIRECTORY_PATIENCE));
        }
        found
    }

    /// The hash over all entries in some ranges.
    pub(super) fn digest(&self, ranges: &[(u64, u64)], now: Calendar) -> [u8; HASH_LEN] {
        let mut hash = Sha256::new();
        hash.update(b"muses-directory-digest-v1");
        for (place, entry) in ranges.iter().flat_map(|range| self.between(*range, now)) {
            let listed = listed(place, entry);
            hash.update(listed.key.to_be_bytes());
            hash.update(listed.tag.0);
            hash.update(listed.seq.to_be_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// An entry as it stands in lists.
pub(super) fn listed((key, name): Place, entry: &Entry) -> Listed {
    Listed {
        key,
        tag: tag(&name),
        seq: entry.seq,
    }
}

/// The tag of a name's bytes.
pub(super) fn tag(name: &[u8; 32]) -> Tag {
    Tag(name.first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloak::directory::genuine::micros;
    use crate::name::Identity;
    use crate::name::certificate::OverlayId;

    const NOW: Calendar = Calendar(1_800_000_000);
    const AT: (Time, Calendar) = (Time::ZERO, NOW);

    fn identity(seed: u64) -> Identity {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Identity::from_seed(&bytes)
    }

    fn record(seed: u64, seq: u64, life: u64) -> Genuine {
        let overlay = OverlayId::of("test");
        let expiry = Calendar(NOW.0 + life);
        Genuine::sign(&identity(seed), &overlay, seq, expiry, None)
    }

    fn put(store: &mut Store, seed: u64, life: u64, rank: Rank, ingress: u64) -> Kept {
        let record = record(seed, micros(NOW), life);
        let ingress = identity(1_000 + ingress).name();
        let standing = Standing { rank, below: 0 };
        store.put(&record, (seed, 0), standing, ingress, AT)
    }

    #[test]
    fn the_highest_number_stays() {
        let mut store = Store::new();
        let me = identity(99).name();
        let own = Standing {
            rank: Rank::Own,
            below: 0,
        };
        let mut put = |record: &Genuine| store.put(record, (5, 0), own, me, AT);
        let first = record(1, 10, 100);
        assert_eq!(put(&first), Kept::New);
        assert_eq!(put(&first), Kept::Same);
        let different = record(1, 10, 200);
        assert_eq!(put(&different), Kept::Newer(Arc::clone(first.bytes())));
        assert_eq!(
            put(&record(1, 9, 100)),
            Kept::Newer(Arc::clone(first.bytes()))
        );
        assert_eq!(put(&record(1, 11, 100)), Kept::New);
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn half_of_the_memory_is_lent_but_for_what_is_of_this_node() {
        let one = record(0, micros(NOW), 100).bytes().len() + DIRECTORY_ENTRY_BYTES;
        let filled = |own: u64| {
            let mut store = Store::with_limits(1_000, 40 * one);
            for seed in 0..40 {
                let rank = if seed < own { Rank::Own } else { Rank::Below };
                assert_eq!(put(&mut store, seed, 100, rank, seed % 8), Kept::New);
            }
            store
        };
        let mut store = filled(5);
        assert_eq!(store.lend(), 20 * one);
        assert_eq!(store.len(), 20);
        let own = |store: &Store| {
            let entries = store.entries.values();
            entries
                .filter(|entry| entry.standing.rank == Rank::Own)
                .count()
        };
        assert_eq!(own(&store), 5);
        assert_eq!(put(&mut store, 50, 100, Rank::Elsewhere, 1), Kept::Full);
        assert_eq!(put(&mut store, 51, 100, Rank::Own, 1), Kept::New);
        assert_eq!((store.len(), own(&store)), (20, 6));
        store.take_back();
        assert_eq!(put(&mut store, 52, 100, Rank::Elsewhere, 1), Kept::New);
        assert_eq!(store.len(), 21);

        let mut store = filled(30);
        assert_eq!(store.lend(), 10 * one);
        assert_eq!((store.len(), own(&store)), (30, 30));
    }

    #[test]
    fn one_neighbour_fills_its_share_and_no_more() {
        let mut store = Store::with_limits(16, 1 << 20);
        for seed in 0..20 {
            put(&mut store, seed, 100 + seed, Rank::Own, 1);
        }
        assert_eq!(store.len(), 4);
        // The latest to end are left.
        assert!(
            store
                .get((19, *identity(19).name().as_bytes()), NOW)
                .is_some()
        );
        assert_eq!(put(&mut store, 30, 50, Rank::Own, 1), Kept::Full);
        assert_eq!(put(&mut store, 31, 50, Rank::Own, 2), Kept::New);
    }

    #[test]
    fn the_farthest_goes_first_and_own_ones_stay() {
        let mut store = Store::with_limits(8, 1 << 20);
        for seed in 0..8 {
            let rank = if seed < 6 { Rank::Own } else { Rank::Elsewhere };
            assert_eq!(put(&mut store, seed, 100, rank, seed / 2), Kept::New);
        }
        assert_eq!(put(&mut store, 20, 7_000, Rank::Elsewhere, 9), Kept::New);
        assert_eq!(put(&mut store, 21, 50, Rank::Below, 9), Kept::New);
        assert_eq!(put(&mut store, 22, 7_000, Rank::Elsewhere, 8), Kept::Full);
        assert_eq!(put(&mut store, 23, 90, Rank::Own, 8), Kept::New);
        assert_eq!(put(&mut store, 24, 90, Rank::Own, 8), Kept::New);
        assert_eq!(store.len(), 8);
        // All are own now, and none gives way to one that ends sooner.
        assert_eq!(put(&mut store, 25, 90, Rank::Own, 7), Kept::Full);
        assert_eq!(put(&mut store, 26, 7_000, Rank::Below, 7), Kept::Full);
    }

    #[test]
    fn bytes_are_counted_and_come_back() {
        let each = record(0, 0, 100).bytes().len() + DIRECTORY_ENTRY_BYTES;
        let mut store = Store::with_limits(1_000, 8 * each);
        for seed in 0..20 {
            put(&mut store, seed, 100 + seed, Rank::Own, seed);
        }
        assert_eq!((store.len(), store.bytes()), (8, 8 * each));
        store.expire(Calendar(NOW.0 + 115));
        assert_eq!((store.len(), store.bytes()), (4, 4 * each));
        store.expire(Calendar(NOW.0 + 200));
        assert_eq!((store.len(), store.bytes()), (0, 0));
        assert!(store.shares.is_empty());
    }
}
