//! Proofs: what the tree believes of others is signed, and each statement is checked once.
//!
//! A check costs more than all else that a neighbour can cause here, so checks have a budget, for each neighbour and for
//! all (R-X4). What comes beyond it is not looked at, as if it had been lost on the way, and is asked for again as
//! what is lost is.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::cloak::geometry::Geometry;
use crate::cloak::rate::Bucket;
use crate::cloak::tree::{Misbehaviour, Range};
use crate::limits::{TREE_CHECKED_MAX, TREE_CHECKS, TREE_CHECKS_EACH};
use crate::name::Name;
use crate::time::Time;
use crate::wire::tree::{Announce, Charter, Grant, Key, Pulse, Signature};

/// Checks signatures.
pub trait Verify: Send + Sync + fmt::Debug {
    /// Whether `signature` is that of `key` under `message`.
    fn verify(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// Checks every signature by the strict rule (R-I2). A simulation of many nodes may hand in one that
/// remembers what it saw.
#[derive(Clone, Copy, Debug)]
pub struct Strict;

impl Verify for Strict {
    fn verify(&self, key: &Key, message: &[u8], signature: &[u8; 64]) -> bool {
        Name::from_bytes(*key).is_ok_and(|name| name.verify(message, signature))
    }
}

/// Who has made this node check something, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker {
    pub(super) name: Name,
    /// It is the parent, or was asked to be: others leave it half of the budget of all.
    pub(super) is_above: bool,
    pub(super) now: Time,
}

/// Why a statement is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It proves nothing.
    Forged,
    /// It was not looked at: the budget is used up.
    Unchecked,
}

/// What to do about a statement: nobody passes on what he has not checked, so a forgery ends the link; without a value
/// it is as if it had not come.
pub(super) fn believed<T>(checked: Result<T, Doubt>) -> Result<Option<T>, Misbehaviour> {
    match checked {
        Ok(proved) => Ok(Some(proved)),
        Err(Doubt::Unchecked) => Ok(None),
        Err(Doubt::Forged) => Err(Misbehaviour::Forged),
    }
}

/// Checks statements for one overlay and remembers which were right.
#[derive(Debug)]
pub(super) struct Proofs {
    overlay: [u8; 32],
    verifier: Arc<dyn Verify>,
    /// Nobody can look for two statements with the same mark.
    salt: [u8; 16],
    seen: VecDeque<u64>,
    limit: usize,
    /// The pulse that was checked last: it comes by many neighbours, and once.
    pulse: u64,
    /// What is left of the budget of each neighbour.
    each: BTreeMap<Name, Bucket>,
    /// And of that of all.
    all: Bucket,
    unchecked: u64,
}

/// What a chain of grants proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proved {
    /// Slots and leases from the root.
    pub(super) path: Box<[(u32, u32)]>,
    /// Keys of the place.
    pub(super) range: Option<Range>,
}

impl Proofs {
    pub(super) fn new(overlay: [u8; 32], verifier: Arc<dyn Verify>, salt: [u8; 16]) -> Self {
        Self {
            overlay,
            verifier,
            salt,
            seen: VecDeque::new(),
            limit: TREE_CHECKED_MAX.0,
            pulse: 0,
            each: BTreeMap::new(),
            all: Bucket::default(),
            unchecked: 0,
        }
    }

    /// Makes room for so many neighbours.
    pub(super) fn resize(&mut self, neighbours: usize) {
        self.limit = TREE_CHECKED_MAX.0 + TREE_CHECKED_MAX.1.saturating_mul(neighbours);
    }

    /// Nothing more comes of a neighbour.
    pub(super) fn forget(&mut self, name: &Name) {
        self.each.remove(name);
    }

    /// Statements that were not looked at, in all.
    pub(super) const fn unchecked(&self) -> u64 {
        self.unchecked
    }

    pub(super) fn bytes(&self) -> usize {
        self.seen.capacity() * size_of::<u64>() + self.each.len() * size_of::<(Name, Bucket)>()
    }

    fn mark(&self, key: &Key, message: &[u8], signature: &Signature) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.salt);
        hash.update(key);
        hash.update(signature.0);
        hash.update(message);
        let digest: [u8; 32] = hash.finalize().into();
        first_eight(&digest)
    }

    fn pays(&mut self, speaker: Speaker) -> bool {
        let (_, burst) = TREE_CHECKS;
        let kept = if speaker.is_above { 0 } else { burst / 2 };
        let own = self.each.entry(speaker.name).or_default();
        own.pass(TREE_CHECKS_EACH, speaker.now)
            && self.all.pass_above(kept, TREE_CHECKS, speaker.now)
    }

    fn verify(
        &mut self,
        speaker: Speaker,
        key: &Key,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), Doubt> {
        if !self.pays(speaker) {
            self.unchecked += 1;
            return Err(Doubt::Unchecked);
        }
        let right = self.verifier.verify(key, message, &signature.0);
        right.then_some(()).ok_or(Doubt::Forged)
    }

    fn check(
        &mut self,
        speaker: Speaker,
        key: &Key,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), Doubt> {
        let mark = self.mark(key, message, signature);
        if self.seen.contains(&mark) {
            return Ok(());
        }
        self.verify(speaker, key, message, signature)?;
        while self.seen.len() >= self.limit {
            self.seen.pop_front();
        }
        self.seen.push_back(mark);
        Ok(())
    }

    /// Checks that a charter is its root's, and that its predecessor, if it has one, names it.
    pub(super) fn charter(&mut self, speaker: Speaker, charter: &Charter) -> Result<(), Doubt> {
        let signed = charter.signed(&self.overlay);
        self.check(speaker, &charter.root, &signed, &charter.signature)?;
        let Some(before) = &charter.predecessor else {
            return Ok(());
        };
        let follows = before.tree == charter.tree
            && before.term < charter.term
            && before.deputies.contains(&charter.root);
        if !follows {
            return Err(Doubt::Forged);
        }
        let signed = before.signed(&self.overlay);
        self.check(speaker, &before.root, &signed, &before.signature)
    }

    /// Checks that a pulse is the root's.
    pub(super) fn pulse(
        &mut self,
        speaker: Speaker,
        root: &Key,
        (tree, term): (u64, u64),
        pulse: &Pulse,
    ) -> Result<(), Doubt> {
        let signed = Pulse::signed(&self.overlay, tree, term, pulse.seq);
        let mark = self.mark(root, &signed, &pulse.signature);
        if mark != self.pulse {
            self.verify(speaker, root, &signed, &pulse.signature)?;
            self.pulse = mark;
        }
        Ok(())
    }

    /// Checks that a grant is its parent's.
    pub(super) fn grant(
        &mut self,
        speaker: Speaker,
        parent: &Key,
        grant: &Grant,
    ) -> Result<(), Doubt> {
        let signed = grant.signed(&self.overlay);
        self.check(speaker, parent, &signed, &grant.signature)
    }

    /// What the chain of an announcement by `sender` proves.
    pub(super) fn chain(
        &mut self,
        geometry: &Geometry,
        announce: &Announce,
        sender: Speaker,
    ) -> Result<Proved, Doubt> {
        let chain = &announce.chain;
        let last = chain.last().map_or(&announce.root, |grant| &grant.child);
        if last != sender.name.as_bytes() || !is_simple(&announce.root, chain) {
            return Err(Doubt::Forged);
        }
        let proved = prove(chain);
        if !geometry.holds(&proved.path) {
            return Err(Doubt::Forged);
        }
        let mut parent = &announce.root;
        for grant in chain {
            self.grant(sender, parent, grant)?;
            parent = &grant.child;
        }
        Ok(proved)
    }
}

/// Whether a chain names nobody twice, but for a root that hangs on its own seat, and only its first
/// grant is one on the seat.
fn is_simple(root: &Key, chain: &[Arc<Grant>]) -> bool {
    chain.iter().enumerate().all(|(at, grant)| {
        let above = chain.iter().take(at);
        grant.seat == (at == 0)
            && (at == 0 || grant.child != *root)
            && above.clone().all(|other| other.child != grant.child)
    })
}

/// Path and keys of a chain that was checked, or is one's own.
pub(super) fn prove(chain: &[Arc<Grant>]) -> Proved {
    let range = chain
        .iter()
        .try_fold(Range::ALL, |range, grant| range.part(grant.part));
    Proved {
        path: chain
            .iter()
            .map(|grant| (grant.slot, grant.lease))
            .collect(),
        range,
    }
}

/// A short mark of a chain, by which neighbours notice that an announcement was lost.
pub(super) fn digest(charter: &Charter, chain: &[Arc<Grant>]) -> u32 {
    let mut hash = Sha256::new();
    hash.update(charter.tree.to_be_bytes());
    hash.update(charter.term.to_be_bytes());
    hash.update(charter.root);
    for grant in chain {
        hash.update(grant.signature.0);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}

fn first_eight(digest: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    /// Believes everything.
    #[derive(Debug)]
    struct Credulous;

    impl Verify for Credulous {
        fn verify(&self, _: &Key, _: &[u8], _: &[u8; 64]) -> bool {
            true
        }
    }

    fn speaker(number: u8, is_above: bool) -> Speaker {
        Speaker {
            name: Identity::from_seed(&[number; 32]).name(),
            is_above,
            now: Time::ZERO,
        }
    }

    /// How many pulses of a row a neighbour is believed.
    fn checked(proofs: &mut Proofs, speaker: Speaker) -> u32 {
        let signature = Signature([0; 64]);
        let pulses = (0..5_000).map(|seq| Pulse { seq, signature });
        let mut checked = 0;
        for pulse in pulses {
            let key = speaker.name.as_bytes();
            checked += u32::from(proofs.pulse(speaker, key, (1, 1), &pulse).is_ok());
        }
        checked
    }

    #[test]
    fn however_many_neighbours_use_up_the_budget_the_way_up_has_half() {
        let mut proofs = Proofs::new([0; 32], Arc::new(Credulous), [0; 16]);
        let (each, all) = (TREE_CHECKS_EACH.1, TREE_CHECKS.1);
        let counts: Vec<_> = (1..20)
            .map(|number| checked(&mut proofs, speaker(number, false)))
            .collect();
        assert_eq!(counts.first(), Some(&each));
        assert_eq!(counts.iter().sum::<u32>(), all - all / 2);
        assert_eq!(checked(&mut proofs, speaker(0, true)), each);
        assert_eq!(proofs.unchecked(), 20 * 5_000 - u64::from(all / 2 + each));
    }

    #[test]
    fn what_was_checked_costs_nothing_again() {
        let mut proofs = Proofs::new([0; 32], Arc::new(Credulous), [0; 16]);
        let one = speaker(1, false);
        let pulse = Pulse {
            seq: 1,
            signature: Signature([0; 64]),
        };
        for _ in 0..10_000 {
            let key = one.name.as_bytes();
            assert_eq!(proofs.pulse(one, key, (1, 1), &pulse), Ok(()));
        }
        assert_eq!(proofs.unchecked(), 0);
    }
}
