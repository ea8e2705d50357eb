//! Whether this node is found where it says that it hangs (R-O5).
//!
//! A parent may be a model neighbour and yet drop whatever should come down to this node by it. So now and then a probe
//! goes out by another neighbour, and from there along the tree to this node's own place, as a packet of anybody else
//! could: it comes down by the parent. It is a BROKEN to and about nobody, so that no neighbour on the way hands it over
//! past the parent, and nobody answers it. When two in a row do not come home, this node leaves its parent for another
//! one, and does not come back to it for some minutes.
//!
//! The neighbour that carries a probe may be the one that drops it. So behind the first loss another neighbour is
//! taken where there is one, and it gets a second probe that it can only hand straight back: if that does not come home either,
//! nothing is said against the parent. While the tree is on the move nothing is probed, and what was under way is void.
//!
//! Nobody passes on what is to nobody below a node that takes no children: such a node sends no probes. And a parent that
//! lets them pass and drops everything else is not found so.

use std::time::Duration;

use crate::cloak::forward::WATERMARK_START;
use crate::cloak::overlay::Overlay;
use crate::limits::{
    HOPS_MAX, PROBE_AGAIN, PROBE_CLASS, PROBE_EVERY, PROBE_PATIENCE, PROBE_SOON, TREE_SHUNNED,
};
use crate::name::Name;
use crate::random::Random;
use crate::time::Time;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::notice::{Broken, Notice};
use crate::wire::tag::Tag;

/// Nobody but this node itself is closer to its place than this.
const STRAIGHT: u64 = 1;

/// A probe under way.
#[derive(Debug)]
struct Probe {
    /// Whom it is to and about; there is no such node.
    about: Tag,
    carrier: Name,
    /// What the one is about that the carrier was to hand straight back, until it has.
    straight: Option<Tag>,
    until: Time,
}

/// What a node keeps for probes.
#[derive(Debug)]
pub(in crate::cloak) struct Probes {
    random: Random,
    /// When the next one leaves.
    at: Time,
    sent: Time,
    under_way: Option<Probe>,
    /// Who carried the one that was lost last, if nothing has come home since.
    lost_by: Option<Name>,
    /// Parents that were left, in all.
    left: u64,
    left_until: Time,
}

impl Probes {
    pub(in crate::cloak) fn new(random: Random, now: Time) -> Self {
        let mut probes = Self {
            random,
            at: Time::NEVER,
            sent: now,
            under_way: None,
            lost_by: None,
            left: 0,
            left_until: now,
        };
        probes.restart(0, now);
        probes
    }

    /// All is well, or all is new: the next one has time. In a large tree, of this class, it has more, since most of them
    /// pass the root.
    pub(in crate::cloak) fn restart(&mut self, class: u8, now: Time) {
        (self.under_way, self.lost_by) = (None, None);
        let doublings = class.saturating_sub(PROBE_CLASS.0).min(PROBE_CLASS.1);
        let pause = PROBE_EVERY * (1 << doublings);
        let half = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX);
        let jitter = Duration::from_millis(self.random.below(half.max(1)));
        self.at = now + pause * 3 / 4 + jitter;
    }

    /// When something is due.
    pub(in crate::cloak) fn next(&self) -> Time {
        let until = self.under_way.as_ref().map(|probe| probe.until);
        until.unwrap_or(self.at)
    }

    /// Whether a notice is a probe that has come back to this node.
    fn is_home(&mut self, about: Tag) -> Option<Home> {
        let probe = self.under_way.as_mut()?;
        if probe.about == about {
            return Some(Home::ByTree);
        }
        if probe.straight == Some(about) {
            probe.straight = None;
            return Some(Home::Straight);
        }
        None
    }
}

/// How a probe came home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// Along the tree.
    ByTree,
    /// From the neighbour that carried it.
    Straight,
}

impl Overlay {
    /// Sessions wait in vain: a probe may tell why.
    pub fn suspect(&mut self, now: Time) {
        let probes = &mut self.probes;
        probes.at = probes.at.min(now.max(probes.sent + PROBE_SOON));
    }

    /// Parents that this node has left since its probes did not come home.
    pub const fn parents_left(&self) -> u64 {
        self.probes.left
    }

    pub(in crate::cloak) fn run_probes(&mut self, now: Time) {
        if let Some(probe) = self.probes.under_way.take() {
            self.lost(&probe, now);
        } else {
            self.probe(now);
        }
    }

    /// Whether a notice is a probe of this node that has come home; then it is dealt with.
    pub(in crate::cloak) fn is_probe(&mut self, route: &Route, notice: &Notice, now: Time) -> bool {
        let Notice::Broken(about, _) = notice else {
            return false;
        };
        let is_own = route.from == self.me.tag();
        if is_own && self.probes.is_home(*about) == Some(Home::ByTree) {
            self.restart_probes(now);
        }
        is_own
    }

    /// Nothing is said against the parent.
    pub(in crate::cloak) fn restart_probes(&mut self, now: Time) {
        self.probes.restart(self.tree.class(), now);
    }

    /// Sends a probe, if there is a parent that could be left for another one.
    fn probe(&mut self, now: Time) {
        let before = self.probes.lost_by;
        let mut spares: Vec<_> = self.tree.spares(now).collect();
        // Not the one that may have dropped the last one, if there is another.
        if spares.len() > 1 {
            spares.retain(|name| Some(*name) != before);
        }
        let probes = &mut self.probes;
        let count = u64::try_from(spares.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(probes.random.below(count.max(1)));
        let Some(carrier) = at.ok().and_then(|at| spares.get(at).copied()) else {
            return self.restart_probes(now);
        };
        let place = self.tree.location();
        let about = Tag(probes.random.bytes());
        let straight = before.map(|_| Tag(probes.random.bytes()));
        probes.sent = now;
        probes.under_way = Some(Probe {
            about,
            carrier,
            straight,
            until: now + PROBE_PATIENCE,
        });
        self.send_probe(carrier, (about, WATERMARK_START), &place, about);
        if let Some(straight) = straight {
            self.send_probe(carrier, (self.me.tag(), STRAIGHT), &place, straight);
        }
    }

    fn send_probe(&mut self, carrier: Name, to: (Tag, u64), place: &Location, about: Tag) {
        let (to, watermark) = to;
        let route = Route {
            by_tree: true,
            hops: HOPS_MAX,
            watermark,
            to_location: place.clone(),
            ..Route::neighbour(self.me.tag(), to)
        };
        let message = Notice::Broken(about, Broken::Moved).encode(&route);
        self.notices.send(carrier, message);
    }

    /// A probe did not come home.
    fn lost(&mut self, probe: &Probe, now: Time) {
        let is_second = self.probes.lost_by.is_some();
        if !is_second && self.tree.is_whole(now) {
            self.probes.lost_by = Some(probe.carrier);
            self.probes.at = now + PROBE_AGAIN;
            return;
        }
        self.restart_probes(now);
        // The carrier carries, and so nobody else is left.
        let is_proved = is_second && probe.straight.is_none();
        if is_proved && self.tree.is_whole(now) && now >= self.probes.left_until {
            self.probes.left += 1;
            self.probes.left_until = now + TREE_SHUNNED;
            self.tree.leave_parent(TREE_SHUNNED, now);
            self.tell_directory(now);
        }
    }
}
