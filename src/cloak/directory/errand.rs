//! Errands: bringing a record to the node that is responsible for one of its sub-keys.
//!
//! First it is asked what it has, which gives the token, then the record is put, if it is needed. Publishers
//! do so with their own records until all places have them, readers with what they found to be missing, and
//! nodes with records that are no longer theirs.

use std::collections::BTreeMap;

use crate::cloak::compass::Way;
use crate::cloak::directory::genuine::{Genuine, sub_key};
use crate::cloak::directory::{Context, Directory, Waiter};
use crate::limits::{DIRECTORY_ERRANDS_MAX, DIRECTORY_PATIENCE, DIRECTORY_RETRY_MAX};
use crate::name::Name;
use crate::time::Time;
use crate::wire::directory::{Answer, Ask, Outcome, TOKEN_LEN};
use crate::wire::record::RECORD_BYTES_MAX;

/// Rounds of an errand for another's record.
const ROUNDS: u32 = 4;
/// Requests in one round at most: get, put, and once more with a token of the right way.
const REQUESTS: u32 = 4;

/// Why a record is brought somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is our own, and goes until it has arrived.
    Publish,
    /// A reader found it missing.
    Repair,
    /// It is no longer ours to keep.
    HandOver,
}

#[derive(Debug)]
struct Errand {
    why: Why,
    record: Genuine,
    index: u8,
    token: Option<[u8; TOKEN_LEN]>,
    nonce: Option<u64>,
    hop: Option<Name>,
    /// First hop of the round before, which has brought nothing.
    failed: Option<Name>,
    /// Time-outs.
    rounds: u32,
    /// Requests in this round.
    sent: u32,
    deadline: Time,
}

/// All errands.
#[derive(Debug, Default)]
pub(super) struct Errands {
    running: BTreeMap<u64, Errand>,
    last: u64,
}

impl Errands {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let each = 8 + size_of::<Errand>() + RECORD_BYTES_MAX;
        self.running.len() * each
    }

    /// How many more errands for others may begin.
    pub(super) fn room(&self) -> usize {
        DIRECTORY_ERRANDS_MAX.saturating_sub(self.running.len())
    }

    pub(super) fn next(&self) -> Time {
        let deadlines = self.running.values().map(|errand| errand.deadline);
        deadlines.min().unwrap_or(Time::NEVER)
    }

    /// Requests that went by way of this neighbour are lost.
    pub(super) fn hurry(&mut self, neighbour: Name, now: Time) {
        for errand in self.running.values_mut() {
            if errand.hop == Some(neighbour) && errand.nonce.is_some() {
                errand.deadline = now;
            }
        }
    }
}

impl Directory {
    /// Brings a record to its sub-key `index`; nothing happens when too many are under way.
    pub(super) fn send_out(
        &mut self,
        why: Why,
        record: Genuine,
        index: u8,
        token: Option<[u8; TOKEN_LEN]>,
        context: Context<'_>,
    ) {
        if why != Why::Publish && self.errands.room() == 0 {
            self.stats.limited += 1;
            return;
        }
        self.errands.last += 1;
        let id = self.errands.last;
        let errand = Errand {
            why,
            record,
            index,
            token,
            nonce: None,
            hop: None,
            failed: None,
            rounds: 0,
            sent: 0,
            deadline: context.now,
        };
        self.errands.running.insert(id, errand);
        self.run_errand(id, context);
    }

    /// A newer record of ours takes the place of this one.
    pub(super) fn drop_publications(&mut self) {
        let publications = self.errands.running.iter();
        let publications = publications.filter(|(_, errand)| errand.why == Why::Publish);
        let ids: Vec<_> = publications.map(|(id, _)| *id).collect();
        for id in ids {
            self.drop_errand(id);
        }
    }

    fn drop_errand(&mut self, id: u64) -> Option<Errand> {
        let errand = self.errands.running.remove(&id)?;
        if let Some(nonce) = errand.nonce {
            self.waiting.remove(&nonce);
        }
        Some(errand)
    }

    /// Asks again where no answer came.
    pub(super) fn run_errands(&mut self, context: Context<'_>) {
        let due = self.errands.running.iter();
        let due = due.filter(|(_, errand)| errand.deadline <= context.now);
        let due: Vec<_> = due.map(|(id, _)| *id).collect();
        for id in due {
            let Some(errand) = self.errands.running.get_mut(&id) else {
                continue;
            };
            errand.rounds += 1;
            errand.sent = 0;
            // A token is of the way it came by, and the next way is another.
            errand.token = None;
            errand.failed = errand.hop.take();
            if errand.why != Why::Publish && errand.rounds >= ROUNDS {
                self.drop_errand(id);
            } else {
                self.run_errand(id, context);
            }
        }
    }

    fn run_errand(&mut self, id: u64, context: Context<'_>) {
        let Some(errand) = self.errands.running.get_mut(&id) else {
            return;
        };
        if let Some(nonce) = errand.nonce.take() {
            self.waiting.remove(&nonce);
        }
        // Every other round keeps to the tree, past whatever is stale beside it.
        let way = if errand.rounds % 2 == 0 {
            Way::Any
        } else {
            Way::Tree
        };
        let wait = DIRECTORY_PATIENCE * (1 << errand.rounds.min(4));
        errand.deadline = context.now + wait.min(DIRECTORY_RETRY_MAX);
        errand.sent += 1;
        let avoid: Vec<_> = errand.failed.into_iter().collect();
        let record = errand.record.clone();
        let place = (*record.name().as_bytes(), errand.index);
        let ask = match errand.token {
            None => Ask::Get,
            Some(token) => Ask::Put {
                token,
                record: record.bytes(),
            },
        };
        let asked = self.ask(place, (ask, way), &avoid, Waiter::Errand(id), context);
        if let (Some(errand), Some((nonce, hop))) = (self.errands.running.get_mut(&id), asked) {
            errand.nonce = Some(nonce);
            errand.hop = hop;
        }
    }

    pub(super) fn errand_answered(&mut self, id: u64, answer: &Answer<'_>, context: Context<'_>) {
        let Some(errand) = self.errands.running.get_mut(&id) else {
            return;
        };
        errand.nonce = None;
        errand.token = Some(answer.token);
        let (why, record) = (errand.why, errand.record.clone());
        match answer.outcome {
            Outcome::Stored => self.errand_done(id, context),
            Outcome::Found | Outcome::TooLow => {
                if answer.record == &**record.bytes() {
                    return self.errand_done(id, context);
                }
                let other = self.check(answer.record, context);
                let other = other
                    .filter(|other| other.name() == record.name() && other.seq() >= record.seq());
                match other {
                    Some(newer) if why == Why::Publish => {
                        self.drop_errand(id);
                        self.publisher.adopt(newer.seq(), context.now);
                    }
                    Some(newer) if newer.seq() > record.seq() => {
                        // Ours is outdated: nobody may get it.
                        self.drop_errand(id);
                        let name = *record.name().as_bytes();
                        let place = (sub_key(&name, answer.index), name);
                        self.store.outdated(place, newer.seq());
                    }
                    Some(_) => self.errand_done(id, context),
                    None => self.put_now(id, context),
                }
            }
            Outcome::Nothing | Outcome::Token => self.put_now(id, context),
            Outcome::Refused if why != Why::Publish => {
                self.drop_errand(id);
            }
            // Later.
            Outcome::Refused | Outcome::Busy => {}
        }
    }

    /// Puts the record with the token that has just come, unless that has failed a few times already.
    fn put_now(&mut self, id: u64, context: Context<'_>) {
        let errand = self.errands.running.get(&id);
        if errand.is_some_and(|errand| errand.sent < REQUESTS) {
            self.run_errand(id, context);
        }
    }

    fn errand_done(&mut self, id: u64, context: Context<'_>) {
        let Some(Errand {
            why, record, index, ..
        }) = self.drop_errand(id)
        else {
            return;
        };
        match why {
            Why::Publish => self.published_one(record.seq()),
            Why::Repair => {}
            Why::HandOver => {
                let place = (
                    sub_key(record.name().as_bytes(), index),
                    *record.name().as_bytes(),
                );
                self.store.handed(place, context.now);
            }
        }
    }
}
