//! Ways over the tree as this node sees it: of packets to places, and of requests to keys.

use crate::cloak::compass::{Compass, Hop, Near, Span, Toward, Way, measure, next};
use crate::cloak::forward::{self, Broken, Own, Verdict};
use crate::cloak::geometry::Geometry;
use crate::cloak::tree::{Range, Tree};
use crate::name::Name;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::tag::Tag;

/// The tree of one node, read only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bearings<'a> {
    pub(super) me: Name,
    pub(super) geometry: &'a Geometry,
    pub(super) tree: &'a Tree,
}

const fn span(range: Range) -> Span {
    (range.first, range.last)
}

impl Bearings<'_> {
    /// Decides on a packet; see [`forward::decide`].
    pub(super) fn decide(
        &self,
        route: &Route,
        ingress: Option<Tag>,
        avoid: Option<Tag>,
    ) -> Verdict {
        let me = self.me.tag();
        if route.to == me {
            return Verdict::Here;
        }
        let Location::Tree { tree, ref path, .. } = route.to_location else {
            return Verdict::Broken(Broken::Elsewhere);
        };
        let own = Own {
            tag: me,
            tree,
            place: self.tree.place_toward(tree, path),
        };
        // A neighbour is reached wherever it hangs, even in another tree.
        let end = self.tree.is_neighbour(route.to);
        let end = end.then_some((route.to, [].as_slice()));
        let neighbours = self.tree.relays_toward(tree, path).chain(end);
        let neighbours = neighbours.map(|(tag, place)| forward::Near {
            tag,
            place,
            in_tree: route.by_tree && self.tree.is_tied(tag),
        });
        forward::decide(self.geometry, own, neighbours, route, ingress, avoid)
    }

    /// This node's measure for a key.
    fn measure(&self, key: u64) -> Option<u128> {
        let own = self.tree.ranges();
        own.map(|(depth, range)| measure(span(range), depth, key))
            .min()
    }
}

impl Compass for Bearings<'_> {
    fn is_responsible(&self, key: u64) -> bool {
        self.contains(key) && self.tree.own_keys().iter().any(|range| range.contains(key))
    }

    fn contains(&self, key: u64) -> bool {
        self.tree.ranges().any(|(_, range)| range.contains(key))
    }

    fn below(&self, key: u64) -> Option<(Name, Span)> {
        let ranges = self.tree.neighbour_ranges();
        let mut below = ranges.filter(|(name, _, range)| {
            range.contains(key) && self.tree.parent() != Some(*name) && self.tree.is_beside(name)
        });
        below.next().map(|(name, _, range)| (name, span(range)))
    }

    fn ranges(&self) -> Vec<Span> {
        self.tree.own_keys().into_iter().map(span).collect()
    }

    fn toward(&self, key: u64, watermark: u128, avoid: &[Name], way: Way) -> Toward {
        if self.is_responsible(key) {
            return Toward::Here;
        }
        let near = self
            .tree
            .neighbour_ranges()
            .map(|(name, depth, range)| Near {
                name,
                arc: span(range),
                depth,
                in_tree: self.tree.is_beside(&name),
            });
        next(self.measure(key), near, key, watermark, avoid, way)
    }

    fn father(&self) -> Option<Name> {
        self.tree.parent().or_else(|| self.tree.heir())
    }

    fn location(&self) -> Option<Location> {
        Some(self.tree.location())
    }

    fn route(&self, route: &Route, ingress: Option<Name>) -> Hop {
        match self.decide(route, ingress.map(|name| name.tag()), None) {
            Verdict::Here => Hop::Here,
            Verdict::Next {
                neighbour,
                watermark,
                hops,
            } => match self.tree.neighbour(neighbour) {
                Some(neighbour) => Hop::Next {
                    neighbour,
                    watermark,
                    hops,
                },
                None => Hop::Nowhere,
            },
            Verdict::Broken(_) | Verdict::Drop => Hop::Nowhere,
        }
    }
}
