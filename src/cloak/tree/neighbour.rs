//! What this node knows of one neighbour.

use std::sync::Arc;

use crate::cloak::geometry::Steps;
use crate::cloak::rate::Bucket;
use crate::cloak::tree::{Range, rank};
use crate::limits::{
    TREE_ALIASES_MAX, TREE_GRACE, TREE_MESSAGES_PER_SECOND, TREE_REFUSED, TREE_ROOTS_PER_SECOND,
};
use crate::time::Time;
use crate::wire::location::PATH_MAX;
use crate::wire::tree::Charter;

/// A former place.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    pub(super) tree: u64,
    pub(super) path: Box<[(u32, u32)]>,
    pub(super) until: Time,
}

/// Former places, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases(Vec<Alias>);

impl Aliases {
    /// Keeps a place for a while; not a seat, where another sits now.
    pub(super) fn keep(&mut self, tree: u64, path: Box<[(u32, u32)]>, now: Time) {
        if path.is_empty() {
            return;
        }
        self.drop(tree, &path);
        if self.0.len() >= TREE_ALIASES_MAX {
            self.0.remove(0);
        }
        self.0.push(Alias {
            tree,
            path,
            until: now + TREE_GRACE,
        });
    }

    /// Forgets a place, since it is the present one again.
    pub(super) fn drop(&mut self, tree: u64, path: &Steps) {
        self.0
            .retain(|alias| alias.tree != tree || *alias.path != *path);
    }

    /// Forgets what is too old; says when the next one is.
    pub(super) fn expire(&mut self, now: Time) -> Time {
        self.0.retain(|alias| alias.until > now);
        self.0.shrink_to_fit();
        self.0.first().map_or(Time::NEVER, |alias| alias.until)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Alias> {
        self.0.iter()
    }

    pub(super) fn bytes(&self) -> usize {
        let paths = self.0.iter().map(|alias| alias.path.len() * 8);
        self.0.capacity() * size_of::<Alias>() + paths.sum::<usize>()
    }
}

/// Where a neighbour hangs, as it proved.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) charter: Arc<Charter>,
    pub(super) path: Box<[(u32, u32)]>,
    pub(super) range: Option<Range>,
    /// Latest sign of life of the root that came by it.
    pub(super) seq: u64,
    /// Digest of its chain.
    pub(super) digest: u32,
    /// It is the root.
    pub(super) root: bool,
    /// It accepts children.
    pub(super) relay: bool,
    /// It hangs on this node, directly or not.
    pub(super) below: bool,
    /// It says that this node is its parent.
    pub(super) child: bool,
    /// Number of the grant by which it hangs there.
    pub(super) number: u64,
    /// Above so many steps of its path the way up is broken.
    pub(super) cut: Option<u8>,
}

impl Place {
    /// Whether others can hang on it as far as it says, this node among them.
    pub(super) fn is_open(&self) -> bool {
        self.relay && !self.below && self.cut.is_none() && self.depth() < PATH_MAX
    }

    /// Depth at which a child would look for it: that of a root is its seat's.
    pub(super) fn depth(&self) -> usize {
        if self.root { 0 } else { self.path.len() }
    }
}

/// Whether a place that is cut off above `cut` steps can be on a way to `to`.
pub(super) fn leads(place: &Steps, cut: Option<u8>, to: &Steps) -> bool {
    cut.is_none_or(|steps| {
        let kept = place.get(..usize::from(steps));
        to.starts_with(kept.unwrap_or(place))
    })
}

/// How an announcement differs from the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Another place, or other keys.
    pub(super) moved: bool,
    /// Another root.
    pub(super) crowned: bool,
    /// It was cut off, and no longer is.
    pub(super) mended: bool,
}

/// A neighbour.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// Where it hangs; none until it says.
    pub(super) place: Option<Box<Place>>,
    /// The charter it told last.
    pub(super) charter: Option<Arc<Charter>>,
    /// Mark of the charter that it was told last.
    pub(super) told: u32,
    /// Where it hung.
    pub(super) former: Aliases,
    /// It wants pulses until then.
    pub(super) news_until: Time,
    /// When it was asked for news.
    pub(super) queried: Option<Time>,
    /// It is not asked for a slot until then.
    pub(super) refused_until: Time,
    /// No refusal is forgotten early until then.
    forgiven_until: Time,
    /// When it first had a charter that wins over ours.
    pub(super) senior_since: Option<Time>,
    /// When it first was much closer to the root.
    pub(super) better_since: Option<Time>,
    /// When a pulse of its tree came that was newer than one that came by it before.
    pub(super) fresh: Option<Time>,
    messages: Bucket,
    roots: Bucket,
}

impl Neighbour {
    pub(super) fn new() -> Self {
        Self {
            place: None,
            charter: None,
            told: 0,
            former: Aliases::default(),
            news_until: Time::ZERO,
            queried: None,
            refused_until: Time::ZERO,
            forgiven_until: Time::ZERO,
            senior_since: None,
            better_since: None,
            fresh: None,
            messages: Bucket::default(),
            roots: Bucket::default(),
        }
    }

    /// It says where it hangs.
    pub(super) fn arrive(&mut self, mut fresh: Place, now: Time) -> Arrival {
        let mut arrival = Arrival {
            moved: true,
            crowned: false,
            mended: false,
        };
        let tree = fresh.charter.tree;
        self.former.drop(tree, &fresh.path);
        if let Some(before) = self.place.take() {
            let moved = (before.charter.tree, &before.path) != (tree, &fresh.path);
            arrival.mended = before.cut.is_some();
            arrival.moved = moved || before.range != fresh.range;
            if rank::same(&before.charter, &fresh.charter) {
                if fresh.seq > before.seq {
                    self.fresh = Some(now);
                }
                // One link after another may bring things out of order.
                fresh.seq = fresh.seq.max(before.seq);
            } else {
                (self.fresh, self.senior_since, self.better_since) = (None, None, None);
                arrival.crowned = true;
            }
            if arrival.crowned || moved {
                self.forgive(now);
            }
            if moved {
                self.former.keep(before.charter.tree, before.path, now);
            }
        }
        self.place = Some(Box::new(fresh));
        arrival
    }

    /// What it refused at another place, or as part of another tree, it may give now; not again and again,
    /// or whoever refuses and moves would be asked before all others for ever.
    pub(super) fn forgive(&mut self, now: Time) {
        let refused = self.refused_until > now && self.refused_until <= now + TREE_REFUSED;
        if refused && now >= self.forgiven_until {
            self.refused_until = now;
            self.forgiven_until = now + TREE_REFUSED * 2;
        }
    }

    /// Whether another message is within its rate.
    pub(super) fn admit(&mut self, now: Time) -> bool {
        self.messages.pass(TREE_MESSAGES_PER_SECOND, now)
    }

    /// Whether another root is within its rate.
    pub(super) fn crown(&mut self, now: Time) -> bool {
        self.roots.pass(TREE_ROOTS_PER_SECOND, now)
    }

    /// Its places in a tree that help on the way to `path`: a root's seat beside its own place, and those
    /// former ones below which the path leads. A former place is no way to what is above it, nor a place that is
    /// cut off.
    /// Nothing hangs on a leaf, and it passes nothing on.
    pub(super) fn is_leaf(&self) -> bool {
        self.place.as_deref().is_some_and(|place| !place.relay)
    }

    pub(super) fn places_toward<'a>(
        &'a self,
        tree: u64,
        path: &'a Steps,
    ) -> impl Iterator<Item = &'a Steps> {
        let place = self.place.as_deref().filter(|p| p.charter.tree == tree);
        let place = place.filter(|place| leads(&place.path, place.cut, path));
        let seat = place.filter(|place| place.root && !place.path.is_empty());
        let former = self.former.iter();
        let former = former.filter(move |a| a.tree == tree && path.starts_with(&a.path));
        place
            .map(|place| &*place.path)
            .into_iter()
            .chain(seat.map(|_| [].as_slice()))
            .chain(former.map(|alias| &*alias.path))
    }

    pub(super) fn bytes(&self) -> usize {
        let place = self.place.as_ref();
        let place = place.map_or(0, |p| size_of::<Place>() + p.path.len() * 8);
        size_of::<Self>() + place + self.former.bytes()
    }
}
