//! What a root does: it lives, it knows the size of its tree, and it has deputies.

use std::sync::Arc;

use crate::cloak::tree::children::{Child, Children, State};
use crate::cloak::tree::state::Own;
use crate::cloak::tree::{Event, Settings, Tree, rank};
use crate::limits::{
    TREE_ANSWER, TREE_CHARTER_PAUSE, TREE_DEPUTIES_MAX, TREE_GRACE, TREE_PULSE, TREE_REFUSED,
};
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::time::{Calendar, Time};
use crate::wire::codec::VARINT_MAX;
use crate::wire::tree::{Charter, Grant, Key, Message, Part, Pulse, Signature};

/// The office of a root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Office {
    pub(super) pulse_at: Time,
    pub(super) charter_from: Time,
    /// Children of the former root may claim their slots on the seat until then; others get none.
    pub(super) claims_until: Time,
    /// From then on children of the own place are raised to the seat where deputies are missing.
    raise_from: Time,
}

fn signed(me: &LocalParty, mut charter: Charter) -> Arc<Charter> {
    let message = charter.signed(&me.overlay().0);
    charter.signature = Signature(me.identity().sign(&message));
    Arc::new(charter)
}

fn pulse(me: &LocalParty, charter: &Charter, seq: u64) -> Pulse {
    let message = Pulse::signed(&me.overlay().0, charter.tree, charter.term, seq);
    Pulse {
        seq,
        signature: Signature(me.identity().sign(&message)),
    }
}

/// The charter of a new tree. One that nobody can join is younger than any other.
fn founded(me: &LocalParty, tree: u64, class: u8, calendar: Calendar, relay: bool) -> Arc<Charter> {
    let charter = Charter {
        tree,
        term: 1,
        version: 1,
        founded: if relay { calendar.0 } else { VARINT_MAX },
        class,
        root: *me.name().as_bytes(),
        deputies: Vec::new(),
        signature: Signature([0; 64]),
        predecessor: None,
    };
    signed(me, charter)
}

/// The root of a tree of one.
pub(super) fn alone(
    settings: &Settings,
    tree: u64,
    now: Time,
    calendar: Calendar,
) -> (Own, Office) {
    let me = &settings.me;
    let charter = founded(me, tree, 0, calendar, settings.relay);
    let pulse = pulse(me, &charter, 1);
    (Own::new(charter, pulse, Vec::new(), now), office(now, now))
}

fn office(now: Time, claims_until: Time) -> Office {
    Office {
        pulse_at: now + TREE_PULSE,
        charter_from: now,
        claims_until,
        raise_from: now + TREE_CHARTER_PAUSE,
    }
}

impl Tree {
    fn calendar(&self, now: Time) -> Calendar {
        self.almanac.calendar(now)
    }

    /// A random lease.
    pub(super) fn lease(&mut self) -> u32 {
        u32::try_from(self.random.below(1 << 30)).unwrap_or_default()
    }

    /// Signs a grant of this node.
    pub(super) fn sign_grant(&self, mut grant: Grant) -> Grant {
        let me = &self.settings.me;
        let message = grant.signed(&me.overlay().0);
        grant.signature = Signature(me.identity().sign(&message));
        grant
    }

    /// Founds a tree, with this node and all that hangs on it.
    pub(super) fn found(&mut self, now: Time) {
        // In need whoever was left will do.
        for neighbour in self.neighbours.values_mut() {
            neighbour.refused_until = neighbour.refused_until.min(now + TREE_REFUSED);
        }
        self.home = Some(self.own.charter.tree);
        let class = rank::class(self.children.weight(), 0);
        let tree = self.random.number();
        let may = self.settings.relay;
        let charter = founded(&self.settings.me, tree, class, self.calendar(now), may);
        let mut chain = Vec::new();
        if self.children.is_empty() {
            // No slots are kept below a place that is no more.
            self.children = Children::default();
        } else {
            // They hang on this node's own place, and that on the seat.
            let lease = self.lease();
            let whole = Part {
                offset: 0,
                length: u32::MAX,
            };
            chain.push(Arc::new(self.own_grant(0, lease, whole)));
        }
        self.reign(charter, chain, now, now);
    }

    fn own_grant(&self, slot: u32, lease: u32, part: Part) -> Grant {
        self.sign_grant(Grant {
            child: *self.me.as_bytes(),
            number: 0,
            seat: true,
            slot,
            lease,
            part,
            signature: Signature([0; 64]),
        })
    }

    /// Which deputy of the root this node is, if it is one and hangs on the seat.
    pub(super) fn deputy(&self) -> Option<usize> {
        let deputies = self.own.charter.deputies.iter();
        let at = deputies.clone().position(|key| key == self.me.as_bytes())?;
        (self.own.chain.len() == 1 && self.settings.relay).then_some(at)
    }

    /// Sits down in the seat of a root that is gone, and stays where it hangs.
    pub(super) fn succeed(&mut self, at: usize, now: Time) {
        let Some(grant) = self.own.chain.first().cloned() else {
            return;
        };
        let before = &self.own.charter;
        // The first deputy has the highest term: it wins over the others.
        let ahead = TREE_DEPUTIES_MAX.saturating_sub(at.min(TREE_DEPUTIES_MAX - 1));
        let ahead = u64::try_from(ahead).unwrap_or(1);
        let charter = Charter {
            term: before.term.saturating_add(ahead),
            version: 1,
            root: *self.me.as_bytes(),
            deputies: Vec::new(),
            predecessor: Some(Arc::new(Charter {
                predecessor: None,
                ..(**before).clone()
            })),
            ..(**before).clone()
        };
        let charter = signed(&self.settings.me, charter);
        let own = self.own_grant(grant.slot, grant.lease, grant.part);
        self.reign(charter, vec![Arc::new(own)], now + TREE_GRACE, now);
    }

    fn reign(
        &mut self,
        charter: Arc<Charter>,
        chain: Vec<Arc<Grant>>,
        claims_until: Time,
        now: Time,
    ) {
        let pulse = pulse(&self.settings.me, &charter, 1);
        self.asked = None;
        self.office = Some(office(now, claims_until));
        let own = Own::new(charter, pulse, chain, now);
        self.settle(own, now);
        self.tell_charter();
        self.children.weighed(now);
    }

    /// Another root wins: the children on the seat come to hang on this node's own place, as far as slots go.
    /// Says who got another slot.
    pub(super) fn step_down(&mut self, now: Time) -> Vec<Name> {
        let mut moved = Vec::new();
        if self.office.take().is_none() {
            return moved;
        }
        let degree = self.geometry.degree();
        let seated: Vec<_> = self
            .children
            .live()
            .filter(|(_, child)| child.seat)
            .collect();
        let seated: Vec<_> = seated
            .into_iter()
            .map(|(name, child)| (*name, *child))
            .collect();
        for (name, child) in seated {
            let same = child.slot > 0 && self.children.is_free(false, child.slot);
            let slot = Some(child.slot).filter(|_| same);
            let slot = slot.or_else(|| self.children.free(false, 1, degree, None));
            if let Some(slot) = slot
                && let Some(child) = self.children.get_mut(&name)
            {
                (child.seat, child.slot, child.part) = (false, slot, Part::default());
                moved.push(name);
            } else {
                self.children.remove(&name);
                self.send(name, &Message::Leave);
            }
        }
        self.children.forget_seats();
        self.children.weighed(now);
        moved
    }

    /// A root's own place on the seat has another part of the keys.
    pub(super) fn recut_own(&mut self, part: Part, now: Time) {
        let Some(grant) = self.own.chain.first() else {
            return;
        };
        if grant.part != part {
            let grant = self.own_grant(grant.slot, grant.lease, part);
            let charter = Arc::clone(&self.own.charter);
            let own = Own::new(charter, self.own.pulse, vec![Arc::new(grant)], now);
            self.settle(own, now);
        }
    }

    /// The root's regular duties.
    pub(super) fn rule(&mut self, now: Time) {
        let Some(mut office) = self.office else {
            return;
        };
        if now >= office.charter_from
            && let Some(charter) = self.amended()
        {
            office.charter_from = now + TREE_CHARTER_PAUSE;
            self.own.charter = signed(&self.settings.me, charter);
            self.share_charter();
            self.tell_charter();
        }
        if now >= office.raise_from {
            self.raise(now);
        }
        if now >= office.pulse_at {
            office.pulse_at = now + TREE_PULSE;
            let seq = self.own.pulse.seq.saturating_add(1);
            self.own.pulse = pulse(&self.settings.me, &self.own.charter, seq);
            self.own.pulse_at = now;
            self.note_feasible();
            self.pass_pulse(now);
        }
        self.office = Some(office);
    }

    /// The charter as it should be, when it should be another.
    fn amended(&self) -> Option<Charter> {
        let charter = &self.own.charter;
        let class = rank::class(self.children.weight(), charter.class);
        let deputies = self.deputies();
        (class != charter.class || deputies != charter.deputies).then(|| Charter {
            version: charter.version.saturating_add(1),
            class,
            deputies,
            ..(**charter).clone()
        })
    }

    /// Children that could be root.
    fn able(&self) -> impl Iterator<Item = (&Name, &Child)> {
        self.children.live().filter(|(name, child)| {
            let may = self.settings.roots.is_empty() || self.settings.roots.contains(*name);
            child.relay && may
        })
    }

    /// Gives the oldest children of the own place a slot on the seat while there are too few deputies: whoever
    /// hangs elsewhere cannot take the seat, so that the death of this root would break the tree. The last slots,
    /// since children of the former root may still claim the first.
    fn raise(&mut self, now: Time) {
        let seated = self.able().filter(|(_, child)| child.seat).count();
        let missing = TREE_DEPUTIES_MAX.saturating_sub(seated);
        let mut below: Vec<_> = self
            .able()
            .filter(|(_, child)| !child.seat && child.state == State::Here)
            .map(|(name, child)| (child.since, *name, *child))
            .collect();
        below.sort_unstable_by_key(|(since, name, _)| (*since, *name));
        let grant = self.own.chain.first().cloned();
        for (_, name, child) in below.into_iter().take(missing) {
            let own = grant.as_ref().map(|grant| grant.slot);
            let mut slots = (0..self.geometry.degree()).rev();
            let free = |slot: &u32| own != Some(*slot) && self.children.is_free(true, *slot);
            let Some(slot) = slots.find(free) else {
                return;
            };
            let raised = Child {
                seat: true,
                slot,
                lease: self.lease(),
                state: State::Given(now + TREE_ANSWER * 3),
                ..child
            };
            let part = grant.as_ref().map(|grant| grant.part);
            let raised = self.children.add(name, raised, part);
            self.children.weighed(now);
            self.expire_at = now;
            self.events.push_back(Event::Keys);
            self.send_grant(name, &raised);
        }
    }

    /// Those who are deputies stay so; the oldest children on the seat fill up.
    fn deputies(&self) -> Vec<Key> {
        let able: Vec<_> = self
            .able()
            .filter(|(_, child)| child.seat && child.state == State::Here)
            .map(|(name, child)| (child.since, *name.as_bytes()))
            .collect();
        let old = self.own.charter.deputies.iter();
        let mut deputies: Vec<Key> = old
            .filter(|key| able.iter().any(|(_, able)| able == *key))
            .copied()
            .collect();
        let mut rest = able;
        rest.retain(|(_, key)| !deputies.contains(key));
        rest.sort_unstable();
        deputies.extend(rest.into_iter().map(|(_, key)| key));
        deputies.truncate(TREE_DEPUTIES_MAX);
        deputies
    }

    /// Children of the root should know the deputies, so that a change of root changes nothing for them.
    pub(super) fn want_deputies(&mut self) {
        if self.office.is_some() || self.own.chain.len() != 1 {
            return;
        }
        for key in &self.own.charter.deputies {
            if let Ok(name) = Name::from_bytes(*key)
                && name != self.me
                && !self.neighbours.contains_key(&name)
            {
                self.events.push_back(Event::WantLink(name));
            }
        }
    }
}
