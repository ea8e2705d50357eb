//! What a hostile node says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cloak::compass::WATERMARK_START;
use crate::limits::{DIRECTORY_RELAYED, HOPS_MAX, TREE_MESSAGES_PER_SECOND};
use crate::name::Identity;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::sim::overlay::figures::count;
use crate::sim::overlay::hostile::Malice;
use crate::wire::directory::{
    Answer, Ask, Message as Directory, Outcome, Request, SUB_KEYS, TOKEN_LEN,
};
use crate::wire::location::{Location, PATH_MAX};
use crate::wire::tree::{Announce, Charter, Grant, Message, Part, Pulse, Signature, WEIGHT_MAX};

/// Pause between two bouts.
pub(in crate::sim::overlay) const BOUT: Duration = Duration::from_millis(100);
/// First kind of the messages of the directory.
const DIRECTORY: u8 = 32;
/// Places of its own making that a hostile node proves in turn.
const PROOFS: u32 = 32;
/// Messages that a hostile node remembers.
const HEARD_MAX: usize = 4_096;

/// Old records that a hostile node remembers, by name.
type Old = BTreeMap<[u8; 32], Arc<[u8]>>;

/// A hostile node's mind.
#[derive(Debug)]
pub(in crate::sim::overlay) struct Mind {
    pub(in crate::sim::overlay) malice: Malice,
    me: Arc<LocalParty>,
    random: Random,
    heard: Vec<Vec<u8>>,
    old: Old,
    place: Option<Location>,
    own: Option<Announce>,
    slot: Option<(u32, u32)>,
    trees: u64,
    /// Charter, and places, each proved by statements of its own.
    proofs: Vec<Vec<u8>>,
}

impl Mind {
    pub(in crate::sim::overlay) fn new(
        malice: Malice,
        me: Arc<LocalParty>,
        random: Random,
        old: Old,
    ) -> Self {
        Self {
            malice,
            me,
            random,
            heard: Vec::new(),
            old,
            place: None,
            own: None,
            slot: None,
            trees: 0,
            proofs: Vec::new(),
        }
    }

    /// A neighbour said something.
    pub(in crate::sim::overlay) fn hear(&mut self, bytes: &[u8]) {
        if self.heard.len() < HEARD_MAX {
            self.heard.push(bytes.to_vec());
        }
    }

    /// What it says instead of what it should.
    pub(in crate::sim::overlay) fn say(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        self.hear(&bytes);
        if let Ok(Message::Announce(announce)) = Message::decode(&bytes) {
            self.own = Some(announce);
        }
        match self.malice {
            Malice::Mute => Vec::new(),
            Malice::Swallow | Malice::Weight
                if bytes.first().is_some_and(|kind| *kind >= DIRECTORY) =>
            {
                Vec::new()
            }
            Malice::OneSlot => vec![self.same_slot(&bytes).unwrap_or(bytes)],
            _ => vec![bytes],
        }
    }

    /// What it says by itself to each neighbour, every [`BOUT`].
    pub(in crate::sim::overlay) fn bout(&mut self, place: Option<Location>) -> Vec<Vec<u8>> {
        self.place = place;
        let (rate, _) = TREE_MESSAGES_PER_SECOND;
        let tolerated = usize::try_from(rate / 10).unwrap_or(1).max(1);
        match self.malice {
            Malice::Swallow | Malice::Mute | Malice::OneSlot | Malice::Stale | Malice::Name => {
                Vec::new()
            }
            Malice::Requests => self.requests(),
            Malice::Replay => (0..tolerated - 1)
                .filter_map(|_| self.any_heard())
                .collect(),
            Malice::Flood => {
                let own = self.own.clone().map(|own| encoded(&Message::Announce(own)));
                let own = own.into_iter();
                own.flat_map(|own| std::iter::repeat_n(own, tolerated * 10))
                    .collect()
            }
            Malice::Nonsense => {
                let mut bytes = self.random.bytes::<64>().to_vec();
                if let Some(kind) = bytes.first_mut() {
                    *kind = *kind % 12 + 1;
                }
                vec![bytes]
            }
            Malice::Near => self.near(),
            Malice::Weight => vec![encoded(&Message::Weight(WEIGHT_MAX))],
            Malice::Claim => self.claim(),
            Malice::Trees => self.found(),
            Malice::Proofs => self.prove(tolerated - 1),
        }
    }

    /// What it answers at once instead of passing a request on, if that is what it does.
    pub(in crate::sim::overlay) fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Ok(Directory::Request(request)) = Directory::decode(bytes) else {
            return None;
        };
        let old = self
            .old
            .get(&request.name)
            .filter(|_| request.ask == Ask::Get)?;
        let mut record = old.to_vec();
        match self.malice {
            Malice::Stale => {}
            // Nobody but the name can sign it.
            Malice::Name => *record.last_mut()? ^= 1,
            _ => return None,
        }
        let found = Outcome::Found;
        let answer = Directory::Answer(Answer::to(&request, found, [0; TOKEN_LEN], &record));
        let mut out = Vec::new();
        answer.encode(&mut out);
        Some(out)
    }

    /// More questions than are tolerated.
    fn requests(&mut self) -> Vec<Vec<u8>> {
        let Some(from_location) = self.place.clone() else {
            return Vec::new();
        };
        let (rate, _) = DIRECTORY_RELAYED;
        let request = |_| {
            let request = Directory::Request(Request {
                by_tree: false,
                up: false,
                exact: false,
                hops: HOPS_MAX,
                watermark: WATERMARK_START,
                nonce: self.random.number(),
                name: self.random.bytes(),
                index: u8::try_from(self.random.below(SUB_KEYS.into())).unwrap_or(0),
                from: self.me.name().tag(),
                from_location: from_location.clone(),
                ask: Ask::Get,
            });
            let mut out = Vec::new();
            request.encode(&mut out);
            out
        };
        (0..rate / 10 * 6 / 5).map(request).collect()
    }

    fn any_heard(&mut self) -> Option<Vec<u8>> {
        let at = self.random.below(count(self.heard.len()));
        self.heard.get(usize::try_from(at).ok()?).cloned()
    }

    /// Its own chain without the grants in the middle: the first one, and its own, signed by itself as if
    /// it hung there; then that of the node above; then none at all.
    fn near(&mut self) -> Vec<Vec<u8>> {
        let Some(own) = self.own.clone() else {
            return Vec::new();
        };
        let mut lies = Vec::new();
        if let Some(last) = own.chain.last() {
            let mut grant = Grant {
                seat: true,
                slot: 1,
                ..Grant::clone(last)
            };
            self.sign(&mut grant);
            lies.push(Announce {
                chain: vec![Arc::new(grant)],
                ..own.clone()
            });
        }
        for keep in 0..own.chain.len() {
            let chain = own.chain.iter().take(keep).cloned().collect();
            lies.push(Announce {
                chain,
                ..own.clone()
            });
        }
        let at = self.random.below(count(lies.len()).max(1));
        let lie = usize::try_from(at)
            .ok()
            .and_then(|at| lies.get(at).cloned());
        lie.map(|lie| encoded(&Message::Announce(lie)))
            .into_iter()
            .collect()
    }

    /// What another node announced, with the same name and with its own name in the place.
    fn claim(&mut self) -> Vec<Vec<u8>> {
        let Some(Ok(Message::Announce(mut other))) =
            self.any_heard().map(|bytes| Message::decode(&bytes))
        else {
            return Vec::new();
        };
        if self.random.below(2) == 0
            && let Some(last) = other.chain.pop()
        {
            let mut grant = Grant {
                child: *self.me.name().as_bytes(),
                ..Grant::clone(&last)
            };
            self.sign(&mut grant);
            other.chain.push(Arc::new(grant));
        }
        vec![encoded(&Message::Announce(other))]
    }

    /// A tree of its own that no honest one is senior to, and a place at its root.
    fn found(&mut self) -> Vec<Vec<u8>> {
        self.trees += 1;
        let (tree, term) = (self.random.number() >> 16, self.trees);
        let (charter, announce) = self.tree_of(self.me.identity(), tree, (term, 0, 60));
        let said = [
            Message::Charter(Arc::new(charter)),
            Message::Announce(announce),
        ];
        said.iter().map(encoded).collect()
    }

    /// A tree of term, founding and class, and the place at its root.
    fn tree_of(
        &self,
        root: &Identity,
        tree: u64,
        (term, founded, class): (u64, u64, u8),
    ) -> (Charter, Announce) {
        let overlay = self.me.overlay().0;
        let key = *root.name().as_bytes();
        let mut charter = Charter {
            tree,
            term,
            version: 1,
            founded,
            class,
            root: key,
            deputies: Vec::new(),
            signature: Signature([0; 64]),
            predecessor: None,
        };
        charter.signature = Signature(root.sign(&charter.signed(&overlay)));
        let signature = root.sign(&Pulse::signed(&overlay, tree, term, 1));
        let pulse = Pulse {
            seq: 1,
            signature: Signature(signature),
        };
        let announce = Announce {
            tree,
            term,
            root: key,
            pulse,
            relay: true,
            weight: 1 << 30,
            chain: Vec::new(),
        };
        (charter, announce)
    }

    /// The next ones of a few places at the end of long chains, in turn: more statements than anybody remembers.
    fn prove(&mut self, places: usize) -> Vec<Vec<u8>> {
        if self.proofs.is_empty() {
            let founder = Identity::from_seed(&self.random.bytes());
            let founded = u64::from(u32::MAX);
            let (charter, announce) = self.tree_of(&founder, 1, (1, founded, 0));
            self.proofs
                .push(encoded(&Message::Charter(Arc::new(charter))));
            for lease in 0..PROOFS {
                let chain = self.chain(&founder, lease);
                let place = Announce {
                    chain,
                    ..announce.clone()
                };
                self.proofs.push(encoded(&Message::Announce(place)));
            }
        }
        let (charter, chains) = self.proofs.split_at_mut(1);
        let said = charter
            .iter()
            .chain(chains.iter().take(places))
            .cloned()
            .collect();
        chains.rotate_left(places);
        said
    }

    /// As many grants as a chain can have, from a root down to this node.
    fn chain(&mut self, root: &Identity, lease: u32) -> Vec<Arc<Grant>> {
        let overlay = self.me.overlay().0;
        let mut parent = Identity::from_seed(&root.seed());
        (0..PATH_MAX)
            .map(|depth| {
                let below = Identity::from_seed(&self.random.bytes());
                let is_last = depth + 1 == PATH_MAX;
                let child = if is_last {
                    self.me.name()
                } else {
                    below.name()
                };
                let mut grant = Grant {
                    child: *child.as_bytes(),
                    number: 1,
                    seat: depth == 0,
                    slot: 1,
                    lease,
                    part: Part::default(),
                    signature: Signature([0; 64]),
                };
                grant.signature = Signature(parent.sign(&grant.signed(&overlay)));
                parent = below;
                Arc::new(grant)
            })
            .collect()
    }

    /// A grant, with the slot of the first one.
    fn same_slot(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Ok(Message::Grant { mut grant, place }) = Message::decode(bytes) else {
            return None;
        };
        let (slot, lease) = *self.slot.get_or_insert((grant.slot, grant.lease));
        (grant.slot, grant.lease) = (slot, lease);
        self.sign(&mut grant);
        Some(encoded(&Message::Grant { grant, place }))
    }

    fn sign(&self, grant: &mut Grant) {
        let signed = grant.signed(&self.me.overlay().0);
        grant.signature = Signature(self.me.identity().sign(&signed));
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}
