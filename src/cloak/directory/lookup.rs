//! Look-ups: all sub-keys of a name at once, over different first hops; the highest number wins (R-D4).
//!
//! A look-up ends when two places have shown the same record, when there is one and the others have been asked
//! again in vain a second later, or after three seconds. A place that has nothing or is silent is asked again by the links of the
//! tree, where the father of who is responsible answers. Late answers are still awaited, and places with older records get the newest one.
//! Who asks again for what it has found before asks by the links of the tree first: who shows old records to
//! everybody that asks by way of him is passed by there.

use std::collections::{BTreeMap, BTreeSet};

use crate::cloak::compass::Way;
use crate::cloak::directory::errand::Why;
use crate::cloak::directory::genuine::{Found, Genuine, sub_keys};
use crate::cloak::directory::{Absence, Context, Directory, Event, Waiter};
use crate::limits::{
    DIRECTORY_CACHE_LIFE, DIRECTORY_CACHE_MAX, DIRECTORY_FLOORS_MAX, DIRECTORY_LOOKUP,
    DIRECTORY_PATIENCE, DIRECTORY_QUERIES_MAX, DIRECTORY_WAITERS_MAX,
};
use crate::name::Name;
use crate::time::Time;
use crate::wire::directory::{Answer, Ask, Outcome, SUB_KEYS, TOKEN_LEN};
use crate::wire::record::RECORD_BYTES_MAX;

/// Tries per place, by the best hop and by the tree in turns; the second pair later than the first, since
/// arcs may be moving, and records with them.
const TRIES: u8 = 4;

/// One place of a look-up.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The request under way.
    nonce: Option<u64>,
    /// First hop of it.
    hop: Option<Name>,
    tries: u8,
    /// When it is asked, or asked again.
    deadline: Time,
    /// What it has shown: the number of its record, zero for none.
    shown: Option<u64>,
    token: [u8; TOKEN_LEN],
    /// Nothing more will be asked of it.
    done: bool,
}

#[derive(Debug)]
struct Lookup {
    queries: Vec<u64>,
    slots: [Slot; SUB_KEYS as usize],
    best: Option<(Genuine, Option<Found>)>,
    until: Time,
    told: bool,
    /// An earlier one found something that was of no use, or is old.
    again: bool,
}

/// All look-ups, what they found, and the floors.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    running: BTreeMap<Name, Lookup>,
    waiters: usize,
    last: u64,
    floors: BTreeMap<Name, (u64, Time)>,
    by_age: BTreeSet<(Time, Name)>,
    /// What was found, and how long it counts.
    cache: BTreeMap<Name, (Found, Time)>,
}

impl Lookups {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let record = RECORD_BYTES_MAX / 2;
        self.running.len() * (size_of::<Lookup>() + record)
            + self.floors.len() * 2 * (32 + 16)
            + self.cache.len() * (32 + size_of::<Found>() + record)
    }

    pub(super) fn forget(&mut self, name: Name) {
        if let Some((_, until)) = self.cache.get_mut(&name) {
            *until = Time::ZERO;
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.cache.clear();
    }

    pub(super) fn floor(&self, name: Name) -> Option<u64> {
        self.floors.get(&name).map(|(seq, _)| *seq)
    }

    pub(super) fn raise_floor(&mut self, name: Name, seq: u64, now: Time) {
        let old = self.floors.get(&name).copied();
        if let Some((_, at)) = old {
            self.by_age.remove(&(at, name));
        } else if self.floors.len() >= DIRECTORY_FLOORS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.floors.remove(&oldest);
        }
        let seq = old.map_or(seq, |(old, _)| old.max(seq));
        self.floors.insert(name, (seq, now));
        self.by_age.insert((now, name));
    }

    pub(super) fn next(&self) -> Time {
        let times = self.running.values().flat_map(|lookup| {
            let slots = lookup.slots.iter().filter(|slot| !slot.done);
            slots.map(|slot| slot.deadline).chain([lookup.until])
        });
        times.min().unwrap_or(Time::NEVER)
    }

    /// Requests that went by way of this neighbour are lost, or all.
    pub(super) fn hurry(&mut self, neighbour: Option<Name>, now: Time) {
        for slot in self
            .running
            .values_mut()
            .flat_map(|lookup| &mut lookup.slots)
        {
            let lost = neighbour.is_none() || slot.hop == neighbour;
            if lost && slot.nonce.is_some() {
                slot.deadline = now;
            }
        }
    }

    fn remember(&mut self, name: Name, found: Found, now: Time) {
        if self.cache.len() >= DIRECTORY_CACHE_MAX && !self.cache.contains_key(&name) {
            let first = self.cache.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(name) = first.map(|(name, _)| *name) {
                self.cache.remove(&name);
            }
        }
        let until = now + DIRECTORY_CACHE_LIFE;
        self.cache.insert(name, (found, until));
    }
}

impl Directory {
    pub(super) fn start_lookup(&mut self, name: Name, context: Context<'_>) -> u64 {
        self.lookups.last += 1;
        let query = self.lookups.last;
        let cached = self.lookups.cache.get(&name);
        let again = cached.is_some();
        if let Some((found, _)) = cached.filter(|(_, until)| *until > context.now) {
            let found = Box::new(found.clone());
            self.events.push_back(Event::Found { query, found });
            return query;
        }
        let running = self.lookups.running.get(&name);
        let is_new = running.is_none_or(|lookup| lookup.told);
        if self.lookups.waiters >= DIRECTORY_WAITERS_MAX
            || (is_new && self.lookups.running.len() >= DIRECTORY_QUERIES_MAX)
        {
            self.stats.limited += 1;
            let why = Absence::Unanswered;
            self.events.push_back(Event::NotFound { query, why });
            return query;
        }
        self.lookups.waiters += 1;
        if !is_new {
            if let Some(lookup) = self.lookups.running.get_mut(&name) {
                lookup.queries.push(query);
            }
            return query;
        }
        self.drop_lookup(name);
        let slot = Slot {
            deadline: context.now,
            ..Slot::default()
        };
        let lookup = Lookup {
            queries: vec![query],
            slots: [slot; SUB_KEYS as usize],
            best: None,
            until: context.now + DIRECTORY_LOOKUP,
            told: false,
            again,
        };
        self.lookups.running.insert(name, lookup);
        self.run_lookup(name, context);
        query
    }

    fn drop_lookup(&mut self, name: Name) -> Option<Lookup> {
        let lookup = self.lookups.running.remove(&name)?;
        for nonce in lookup.slots.iter().filter_map(|slot| slot.nonce) {
            self.waiting.remove(&nonce);
        }
        Some(lookup)
    }

    /// Asks what is due.
    fn run_lookup(&mut self, name: Name, context: Context<'_>) {
        for index in 0..SUB_KEYS {
            let Some(lookup) = self.lookups.running.get_mut(&name) else {
                return;
            };
            let again = lookup.again;
            let used: Vec<_> = lookup.slots.iter().filter_map(|slot| slot.hop).collect();
            let Some(slot) = lookup.slots.get_mut(usize::from(index)) else {
                return;
            };
            if slot.done || slot.deadline > context.now {
                continue;
            }
            let old = slot.nonce.take();
            slot.done = slot.tries >= TRIES;
            let way = if (slot.tries % 2 == 0) != again {
                Way::Any
            } else {
                Way::Tree
            };
            let done = slot.done;
            if let Some(old) = old {
                self.waiting.remove(&old);
            }
            if done {
                continue;
            }
            let waiter = Waiter::Lookup(name, index);
            let place = (*name.as_bytes(), index);
            let asked = self.ask(place, (Ask::Get, way), &used, waiter, context);
            let lookup = self.lookups.running.get_mut(&name);
            let Some(slot) = lookup.and_then(|l| l.slots.get_mut(usize::from(index))) else {
                return;
            };
            slot.deadline = context.now + DIRECTORY_PATIENCE;
            if let Some((nonce, hop)) = asked {
                slot.nonce = Some(nonce);
                slot.hop = hop;
                slot.tries += 1;
            } else {
                // No place yet: soon again.
                slot.deadline = context.now + DIRECTORY_PATIENCE / 4;
            }
        }
    }

    pub(super) fn lookup_answered(
        &mut self,
        (name, index): (Name, u8),
        answer: &Answer<'_>,
        context: Context<'_>,
    ) {
        let floor = self.lookups.floor(name).unwrap_or_default();
        let mut seen = None;
        if answer.outcome == Outcome::Found {
            let genuine = self.check(answer.record, context);
            let genuine = genuine.filter(|genuine| genuine.name() == name);
            seen = genuine.and_then(|genuine| {
                let found = genuine.read(&self.overlay, context.calendar).ok()?;
                Some((genuine, found))
            });
        }
        let Some(lookup) = self.lookups.running.get_mut(&name) else {
            return;
        };
        let Some(slot) = lookup.slots.get_mut(usize::from(index)) else {
            return;
        };
        slot.nonce = None;
        slot.token = answer.token;
        let Some((genuine, found)) = seen else {
            // Nothing, or nothing of worth: by the tree at once, and both ways later.
            slot.shown = Some(0);
            slot.done = slot.tries >= TRIES;
            slot.deadline = context.now;
            if slot.tries % 2 == 0 {
                slot.deadline += DIRECTORY_PATIENCE;
            }
            return;
        };
        slot.shown = Some(genuine.seq());
        slot.done = true;
        let best = lookup.best.as_ref().map_or(floor, |(best, _)| best.seq());
        // Never below what was seen before (R-D5).
        if genuine.seq() < best || (lookup.best.is_some() && genuine.seq() == best) {
            return;
        }
        let seq = genuine.seq();
        let late = lookup.told;
        lookup.best = Some((genuine, found.clone()));
        self.lookups.raise_floor(name, seq, context.now);
        match found {
            Some(found) if late => self.lookups.remember(name, found, context.now),
            None => self.lookups.forget(name),
            Some(_) => {}
        }
    }

    /// Asks again, tells what is certain and ends what is over.
    pub(super) fn advance_lookups(&mut self, context: Context<'_>) {
        let due = self.lookups.running.iter().filter(|(_, lookup)| {
            let due = |slot: &Slot| !slot.done && slot.deadline <= context.now;
            lookup.slots.iter().any(due)
        });
        let due: Vec<_> = due.map(|(name, _)| *name).collect();
        for name in due {
            self.run_lookup(name, context);
        }
        let names: Vec<_> = self.lookups.running.keys().copied().collect();
        for name in names {
            let Some(lookup) = self.lookups.running.get_mut(&name) else {
                continue;
            };
            let slots = &lookup.slots;
            let best = lookup.best.as_ref().map(|(best, _)| best.seq());
            let agree = slots.iter().filter(|slot| slot.shown == best).count();
            let over = slots.iter().all(|slot| slot.done) || lookup.until <= context.now;
            // A single one may be a leftover while arcs move: the others are asked once more later.
            let waits = slots.iter().any(|slot| {
                !slot.done && (slot.tries < 3 || (slot.tries == 3 && slot.nonce.is_some()))
            });
            let certain = best.is_some() && (agree >= 2 || !waits);
            if !lookup.told && (certain || over) {
                self.tell(name, context);
            }
            if over {
                self.repair(name, context);
            }
        }
    }

    fn tell(&mut self, name: Name, context: Context<'_>) {
        let Some(lookup) = self.lookups.running.get_mut(&name) else {
            return;
        };
        lookup.told = true;
        let queries = std::mem::take(&mut lookup.queries);
        let best = lookup.best.as_ref().map(|(_, found)| found.clone());
        let answered = lookup.slots.iter().all(|slot| slot.shown.is_some());
        let why = match best {
            Some(_) => Absence::Left,
            // Who has nobody above or below itself is asked by itself only.
            None if answered && context.compass.father().is_some() => Absence::Unknown,
            None => Absence::Unanswered,
        };
        self.lookups.waiters = self.lookups.waiters.saturating_sub(queries.len());
        if let Some(Some(found)) = &best {
            self.lookups.remember(name, found.clone(), context.now);
        }
        for query in queries {
            self.events.push_back(match &best {
                Some(Some(found)) => Event::Found {
                    query,
                    found: Box::new(found.clone()),
                },
                Some(None) | None => Event::NotFound { query, why },
            });
        }
    }

    /// Places that have shown less than the best get it; the look-up ends.
    fn repair(&mut self, name: Name, context: Context<'_>) {
        let Some(lookup) = self.drop_lookup(name) else {
            return;
        };
        let Some((best, _)) = lookup.best else {
            return;
        };
        for ((index, _), slot) in sub_keys(name.as_bytes()).zip(lookup.slots) {
            if slot.shown.is_some_and(|seq| seq < best.seq()) {
                let token = Some(slot.token);
                self.send_out(Why::Repair, best.clone(), index, token, context);
            }
        }
    }
}
