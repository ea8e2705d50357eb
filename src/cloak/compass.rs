//! What the directory needs of the tree: who is responsible for a key, and the way there.
//!
//! Keys lie on a circle of 2^64. The root owns all of it; each node keeps a part of its arc and gives each
//! child one, so that everybody agrees on who is responsible for a key: the node whose arc contains it,
//! while no child's does. Neighbours announce their whole arc. The [`measure`] of a node for a key falls
//! strictly along every path that [`next`] takes, so there is no loop; in a settled tree father or
//! child is always a step, so every path ends at the same node.

use crate::name::Name;
use crate::wire::link::Route;
use crate::wire::location::Location;

/// First and last key of an arc.
pub type Span = (u64, u64);

/// Watermark of a request that leaves its sender.
pub const WATERMARK_START: u128 = u128::MAX;

/// How far a node is from being responsible for a key: its arc's length if the arc contains the key, else
/// more than any length, by its depth.
pub fn measure(arc: Span, depth: usize, key: u64) -> u128 {
    let (first, last) = arc;
    if (first..=last).contains(&key) {
        u128::from(last - first)
    } else {
        (1 << 64) | u128::try_from(depth).unwrap_or(u128::MAX)
    }
}

/// Where a request goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// This node is responsible.
    Here,
    /// To a neighbour, with its measure as watermark.
    Next(Name, u128),
    /// No neighbour is closer.
    Stuck,
}

/// Which links a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All.
    Any,
    /// Those of the tree: the way then passes the father of who is responsible.
    Tree,
}

/// Where an answer goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// It is for this node.
    Here,
    /// To a neighbour, with these in its header.
    Next {
        /// The neighbour.
        neighbour: Name,
        /// What the hop behind it must undercut.
        watermark: u64,
        /// Hops left.
        hops: u8,
    },
    /// Nowhere: it is dropped.
    Nowhere,
}

/// The tree, as far as the directory knows it.
pub trait Compass {
    /// Whether this node is responsible for a key: its arc contains it and no child's does.
    fn is_responsible(&self, key: u64) -> bool;

    /// Whether this node's whole arc contains a key.
    fn contains(&self, key: u64) -> bool;

    /// The child whose whole arc contains a key, and that arc.
    fn below(&self, key: u64) -> Option<(Name, Span)>;

    /// The parts of the circle that this node is responsible for, rising and apart.
    fn ranges(&self) -> Vec<Span>;

    /// The next hop of a request for a key; neighbours in `avoid` are taken only in need (R-O1).
    fn toward(&self, key: u64, watermark: u128, avoid: &[Name], way: Way) -> Toward;

    /// Who keeps copies of what this node is responsible for: its father; for the root, the child that
    /// would take its place.
    fn father(&self) -> Option<Name>;

    /// The place of this node, which answers travel to; none while it has none.
    fn location(&self) -> Option<Location>;

    /// The next hop of an answer with this header.
    fn route(&self, route: &Route, ingress: Option<Name>) -> Hop;
}

/// A neighbour, as far as requests need it.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// Its name.
    pub name: Name,
    /// Its whole arc.
    pub arc: Span,
    /// Its depth in the tree.
    pub depth: usize,
    /// Whether it is the father or a child.
    pub in_tree: bool,
}

/// The neighbour with the smallest measure below both the watermark and `own`, the measure of this node if
/// it has a place; those in `avoid` only when there is no other. Ties go to the lowest name.
pub fn next(
    own: Option<u128>,
    neighbours: impl IntoIterator<Item = Near>,
    key: u64,
    watermark: u128,
    avoid: &[Name],
    way: Way,
) -> Toward {
    let bound = watermark.min(own.unwrap_or(WATERMARK_START));
    let closer = neighbours.into_iter().filter_map(|near| {
        let measure = measure(near.arc, near.depth, key);
        let fits = measure < bound && (near.in_tree || way == Way::Any);
        fits.then_some((avoid.contains(&near.name), measure, near.name))
    });
    let found = closer.min();
    found.map_or(Toward::Stuck, |(_, measure, name)| {
        Toward::Next(name, measure)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    fn near(seed: u8, arc: Span, depth: usize, in_tree: bool) -> Near {
        Near {
            name: Identity::from_seed(&[seed; 32]).name(),
            arc,
            depth,
            in_tree,
        }
    }

    #[test]
    fn the_smallest_arc_with_the_key_is_taken_and_else_the_shallowest() {
        let root = near(1, (0, u64::MAX), 0, true);
        let child = near(2, (100, 199), 2, true);
        let shortcut = near(3, (120, 129), 5, false);
        let all = [root, child, shortcut];
        let go = |key, avoid: &[Name], way| {
            let own = Some(measure((50, 299), 1, key));
            next(own, all, key, WATERMARK_START, avoid, way)
        };
        assert_eq!(go(125, &[], Way::Any), Toward::Next(shortcut.name, 9));
        assert_eq!(go(125, &[], Way::Tree), Toward::Next(child.name, 99));
        assert_eq!(
            go(125, &[shortcut.name], Way::Any),
            Toward::Next(child.name, 99)
        );
        assert_eq!(
            go(7, &[], Way::Any),
            Toward::Next(root.name, u128::from(u64::MAX))
        );
        // In need the avoided one is taken, too.
        assert_eq!(
            go(7, &[root.name], Way::Any),
            Toward::Next(root.name, u128::from(u64::MAX))
        );
        // Responsible, or stuck: nobody is closer.
        assert_eq!(go(60, &[], Way::Any), Toward::Stuck);
    }

    #[test]
    fn the_watermark_bounds_the_next_hop() {
        let child = near(2, (100, 199), 2, true);
        let go = |watermark| next(None, [child], 150, watermark, &[], Way::Any);
        assert_eq!(go(100), Toward::Next(child.name, 99));
        assert_eq!(go(99), Toward::Stuck);
    }
}
