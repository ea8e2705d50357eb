//! One node of a world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cloak::overlay::{Overlay, Settings};
use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
use crate::name::{Identity, Name};
use crate::random::Random;
use crate::sim::overlay::Plan;
use crate::sim::overlay::hostile::{Malice, Mind};
use crate::sim::overlay::memory::Memory;
use crate::time::{Calendar, Time};
use crate::wire::link::Route;
use crate::wire::location::Location;

/// Calendar time at the start of a run.
const START: Calendar = Calendar(1_800_000_000);

/// Calendar time in a run.
pub(super) fn calendar(now: Time) -> Calendar {
    Calendar(START.0 + now.since(Time::ZERO).as_secs())
}

/// One end of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    /// Which link it is: two nodes may be linked again later.
    pub(super) link: u64,
    /// One way.
    pub(super) latency: Duration,
    /// The handshake is done.
    pub(super) up: bool,
}

/// A node whose machine sleeps: others take it for dead.
#[derive(Debug)]
pub(super) struct Asleep {
    pub(super) overlay: Overlay,
    /// Its neighbours when it fell asleep.
    pub(super) neighbours: Vec<Name>,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Name,
    /// None once it is dead.
    pub(super) overlay: Option<Overlay>,
    pub(super) born: Time,
    pub(super) died: Option<Time>,
    pub(super) links: BTreeMap<usize, Wire>,
    /// When it will be woken.
    pub(super) timer: Time,
    /// When it dialled last.
    pub(super) dialled: Time,
    /// It has had a place.
    pub(super) was_placed: bool,
    /// Those whom it dialled first had no place for it.
    pub(super) refused: bool,
    /// It has told the directory where it is to be found.
    pub(super) publishes: bool,
    pub(super) me: Arc<LocalParty>,
    /// While its machine sleeps.
    pub(super) asleep: Option<Asleep>,
    /// How long it has slept in all; its time stood still meanwhile.
    pub(super) slept: Duration,
    /// None while it is honest.
    pub(super) mind: Option<Mind>,
}

impl Node {
    /// A node without links; its identity comes out of `random`.
    pub(super) fn new(plan: &Plan, verifier: Arc<Memory>, now: Time, random: &mut Random) -> Self {
        let identity = Identity::from_seed(&random.bytes());
        let terms = Terms {
            not_before: Calendar(0),
            not_after: Calendar(1 << 40),
            serial: 1,
        };
        let key = StaticKey::generate(random);
        let me = LocalParty::new(identity, key, terms, random.bytes(), OverlayId::of("sim"));
        let (name, me) = (me.name(), Arc::new(me));
        let settings = Settings {
            degree: plan.degree,
            metric: plan.metric,
            verifier,
            ..Settings::new(Arc::clone(&me))
        };
        let calendar = calendar(now);
        Self {
            name,
            overlay: Some(Overlay::new(settings, random.fork(), now, calendar)),
            born: now,
            died: None,
            links: BTreeMap::new(),
            timer: Time::NEVER,
            dialled: now,
            was_placed: false,
            refused: false,
            publishes: false,
            me,
            asleep: None,
            slept: Duration::ZERO,
            mind: None,
        }
    }

    /// Its own time.
    pub(super) fn time(&self, now: Time) -> Time {
        Time::ZERO + now.since(Time::ZERO + self.slept)
    }

    /// Where it hangs.
    pub(super) fn place(&self) -> Option<Location> {
        self.overlay.as_ref()?.location()
    }

    /// Steps from the root.
    pub(super) fn depth(&self) -> Option<usize> {
        match self.place()? {
            Location::Tree { path, .. } => Some(path.len()),
            Location::Neighbour => None,
        }
    }

    /// It hangs below another node.
    pub(super) fn has_parent(&self) -> bool {
        let overlay = self.overlay.as_ref();
        overlay.is_some_and(|overlay| overlay.tree().parent().is_some())
    }

    /// Others hang below it, and it below nobody.
    pub(super) fn is_root(&self) -> bool {
        let overlay = self.overlay.as_ref();
        overlay.is_some_and(|overlay| {
            let tree = overlay.tree();
            tree.parent().is_none() && tree.children().next().is_some()
        })
    }

    /// It is hostile, and this packet is not for it.
    pub(super) fn swallows(&self, route: &Route) -> bool {
        let mind = self.mind.as_ref();
        mind.is_some_and(|mind| mind.malice == Malice::Swallow)
            && ![route.to, route.from].contains(&self.name.tag())
    }

    /// It lives, and has no place beside others.
    pub(super) fn is_homeless(&self) -> bool {
        self.overlay.is_some() && !self.has_parent() && !self.is_root()
    }
}
