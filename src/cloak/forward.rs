//! Greedy forwarding: the next hop of a packet for a place in the tree.
//!
//! A packet only ever goes to a neighbour that is strictly closer to its place than its watermark says, and
//! the watermark falls to that neighbour's distance. Distances are whole numbers, so no packet goes on for
//! ever, however wrong the tables on its way are. In a settled tree the next node of the tree is always
//! strictly closer, so every packet arrives.

use crate::cloak::geometry::{Geometry, Steps};
use crate::wire::codec::VARINT_MAX;
use crate::wire::link::Route;
use crate::wire::location::Location;
pub use crate::wire::notice::Broken;
use crate::wire::tag::Tag;

/// Watermark of a packet that leaves its sender: any neighbour closer than the sender itself will do.
pub const WATERMARK_START: u64 = VARINT_MAX;

/// This node, as far as forwarding needs it.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// Its tag.
    pub tag: Tag,
    /// Its overlay.
    pub tree: u64,
    /// Its place; none while it has none, when it still passes on what it can.
    pub place: Option<&'a Steps>,
}

/// A place of a neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Near<'a> {
    /// Its tag.
    pub tag: Tag,
    /// The place.
    pub place: &'a Steps,
    /// It is the father or a child; nobody asks unless the packet goes by the tree.
    pub in_tree: bool,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is for this node.
    Here,
    /// It goes to a neighbour, with these in its header.
    Next {
        /// The neighbour.
        neighbour: Tag,
        /// Distance of the neighbour, which the hop behind it must undercut.
        watermark: u64,
        /// Hops left.
        hops: u8,
    },
    /// Its sender is told that the path is broken.
    Broken(Broken),
    /// Its hops are used up: it is dropped without a word (R-O1).
    Drop,
}

/// Decides on a packet that came from `ingress` (none: from this node itself).
///
/// `neighbours` has one item for each place of each neighbour, former ones included; `avoid` is a
/// neighbour over which an earlier try failed. The ingress and the avoided one are taken only when no other
/// is strictly closer (R-O1), and if the packet goes by the tree, who is neither father nor child nor its end
/// only when none of these is. Ties go to the lowest tag.
pub fn decide<'a>(
    geometry: &Geometry,
    own: Own<'_>,
    neighbours: impl IntoIterator<Item = Near<'a>>,
    route: &Route,
    ingress: Option<Tag>,
    avoid: Option<Tag>,
) -> Verdict {
    if route.to == own.tag {
        return Verdict::Here;
    }
    let Location::Tree { tree, path, .. } = &route.to_location else {
        return Verdict::Broken(Broken::Elsewhere);
    };
    if *tree != own.tree {
        return Verdict::Broken(Broken::Elsewhere);
    }
    let Some(hops) = route.hops.checked_sub(1) else {
        return Verdict::Drop;
    };
    let here = own.place.map(|place| geometry.distance(place, path));
    let bound = route.watermark.min(here.unwrap_or(WATERMARK_START));
    let closer = neighbours.into_iter().filter_map(|near| {
        let tag = near.tag;
        // The end itself is at distance zero wherever it hangs, and passes nothing on.
        let is_end = tag == route.to;
        let distance = if is_end {
            0
        } else {
            geometry.distance(near.place, path)
        };
        let unwanted = Some(tag) == ingress || Some(tag) == avoid;
        let beside = route.by_tree && !near.in_tree && !is_end;
        (distance < bound).then_some((unwanted, beside, distance, tag))
    });
    match closer.min() {
        Some((.., watermark, neighbour)) => Verdict::Next {
            neighbour,
            watermark,
            hops,
        },
        None if here == Some(0) => Verdict::Broken(Broken::Moved),
        None => Verdict::Broken(Broken::Stuck),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::cloak::geometry::Metric;
    use crate::limits::HOPS_MAX;

    const TREE: u64 = 7;

    fn tag(number: usize) -> Tag {
        Tag(u64::try_from(number).unwrap().to_be_bytes())
    }

    fn route(to: usize, path: &Steps) -> Route {
        let mut route = Route::neighbour(tag(999), tag(to));
        route.watermark = WATERMARK_START;
        route.to_location = Location::Tree {
            tree: TREE,
            term: 1,
            path: path.to_vec(),
        };
        route
    }

    fn near(number: usize, place: &Steps, in_tree: bool) -> Near<'_> {
        Near {
            tag: tag(number),
            place,
            in_tree,
        }
    }

    fn own(number: usize, place: &Steps) -> Own<'_> {
        Own {
            tag: tag(number),
            tree: TREE,
            place: Some(place),
        }
    }

    #[test]
    fn the_strictly_closest_is_taken_and_the_ingress_only_in_need() {
        let geometry = Geometry::new(Metric::Tree, 4);
        let far = [(1, 1), (1, 1), (1, 1)];
        let (root, near): (&Steps, &Steps) = (&[], &far[..2]);
        let table = [
            self::near(1, root, true),
            self::near(2, near, false),
            self::near(3, &far[..1], false),
        ];
        let place = [(2, 2)];
        let me = own(0, &place);
        let decide = |ingress, avoid| decide(&geometry, me, table, &route(9, &far), ingress, avoid);
        let next = |neighbour: usize, watermark| Verdict::Next {
            neighbour: tag(neighbour),
            watermark,
            hops: HOPS_MAX - 1,
        };
        assert_eq!(decide(None, None), next(2, 1));
        assert_eq!(decide(Some(tag(2)), None), next(3, 2));
        assert_eq!(decide(Some(tag(3)), Some(tag(2))), next(1, 3));
    }

    #[test]
    fn what_goes_by_the_tree_leaves_it_only_in_need_or_to_its_end() {
        let geometry = Geometry::new(Metric::Tree, 4);
        let far = [(1, 1), (1, 1), (1, 1)];
        let table = [near(1, &[], true), near(2, &far[..2], false)];
        let place = [(2, 2)];
        let go = |to: usize, table: &[Near<'_>]| {
            let route = Route {
                by_tree: true,
                ..route(to, &far)
            };
            let table = table.iter().copied();
            decide(&geometry, own(0, &place), table, &route, None, None)
        };
        let by = |verdict| match verdict {
            Verdict::Next { neighbour, .. } => neighbour,
            other => panic!("{other:?}"),
        };
        assert_eq!(by(go(9, &table)), tag(1));
        assert_eq!(by(go(9, &table[1..])), tag(2));
        assert_eq!(by(go(2, &table)), tag(2));
    }

    #[test]
    fn what_goes_nowhere_says_why() {
        let geometry = Geometry::new(Metric::Tree, 4);
        let place = [(2, 2)];
        let me = own(0, &place);
        let root: &Steps = &[];
        let decide =
            |route: &Route| decide(&geometry, me, [near(1, root, true)], route, None, None);
        assert_eq!(decide(&route(0, &[(3, 3)])), Verdict::Here);
        assert_eq!(decide(&route(5, &place)), Verdict::Broken(Broken::Moved));
        assert_eq!(
            decide(&route(5, &[(2, 2), (1, 1)])),
            Verdict::Broken(Broken::Stuck)
        );
        // The old lease of our own slot: the parent is closer, and knows.
        assert!(matches!(decide(&route(5, &[(2, 1)])), Verdict::Next { .. }));
        let mut foreign = route(5, &[(3, 3)]);
        foreign.hops = 0;
        assert_eq!(decide(&foreign), Verdict::Drop);
        foreign.to_location = Location::Neighbour;
        assert_eq!(decide(&foreign), Verdict::Broken(Broken::Elsewhere));
    }

    #[test]
    fn a_neighbour_that_is_the_end_gets_it_wherever_it_hangs() {
        let geometry = Geometry::new(Metric::Tree, 4);
        let (place, moved) = ([(2, 2)], [(3, 3), (1, 1)]);
        let table = [near(5, &moved, false)];
        let verdict = decide(
            &geometry,
            own(0, &place),
            table,
            &route(5, &[(1, 1)]),
            None,
            None,
        );
        assert!(matches!(verdict, Verdict::Next { watermark: 0, .. }));
        // With a used-up watermark it could be a loop.
        let mut used = route(5, &[(1, 1)]);
        used.watermark = 0;
        let verdict = decide(&geometry, own(0, &place), table, &used, None, None);
        assert_eq!(verdict, Verdict::Broken(Broken::Stuck));
    }

    fn steps() -> impl Strategy<Value = Vec<(u32, u32)>> {
        vec((1u32..4, 0u32..2), 0..6)
    }

    proptest! {
        /// Ten nodes, each believing whatever it likes about where the others are.
        #[test]
        fn stale_tables_make_no_loop(
            beliefs in vec(vec((steps(), any::<bool>()), 10), 10), target in steps(), start in 0usize..10, to in 0usize..12,
            hyperbolic: bool, by_tree: bool,
        ) {
            let metric = if hyperbolic { Metric::Hyperbolic } else { Metric::Tree };
            let geometry = Geometry::new(metric, 4);
            let mut route = Route { by_tree, ..route(to, &target) };
            let mut at = start;
            let mut ingress = None;
            let mut seen = Vec::new();
            loop {
                let table = beliefs[at].iter().enumerate().filter(|(n, _)| *n != at);
                let table = table.map(|(n, (place, in_tree))| near(n, place, *in_tree));
                match decide(&geometry, own(at, &beliefs[at][at].0), table, &route, ingress, None) {
                    Verdict::Next { neighbour, watermark, hops } => {
                        prop_assert!(watermark < route.watermark);
                        prop_assert!(hops < route.hops);
                        (route.watermark, route.hops) = (watermark, hops);
                        ingress = Some(tag(at));
                        at = (0..10).find(|n| tag(*n) == neighbour).unwrap();
                        seen.push(watermark);
                    }
                    Verdict::Here => { prop_assert_eq!(at, to); break }
                    Verdict::Drop | Verdict::Broken(_) => break,
                }
            }
            if metric == Metric::Tree {
                // No more hops than the first distance has edges.
                prop_assert!(seen.len() <= 11);
            }
        }
    }
}
