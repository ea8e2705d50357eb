//! Distances between places of the tree: what decides where a packet goes.
//!
//! The tree is the edge graph of the tiling {∞,q} of the hyperbolic plane: every node has `q` directions,
//! the parent in direction 0, children in directions 1 to q−1 (the root has a child in direction 0, too).
//! An edge is as long as 2·arcosh(1/sin(π/q)): then the bisectors of the edges at a node meet only at
//! infinity, each edge cleanly parts the plane, and the next node of the tree is always strictly closer.
//!
//! Two metrics, one function, [`Geometry::distance`]:
//! - [`Metric::Tree`]: edges between the two places, the limit of long edges.
//! - [`Metric::Hyperbolic`]: log2 cosh²(d/2), which rises with the hyperbolic distance d, in units of 2^-24.
//!
//! Both are whole numbers, computed from the path between the places through their common ancestor, in
//! integers alone. So all nodes agree on them to the last bit, and equal means equal: a neighbour at the
//! same number is *not* closer. No coordinate and no float decides a route.
//!
//! How far the hyperbolic number is from the real one: the first row of the product of the isometries
//! along the path is carried in 60-bit numbers with a common exponent. A step adds a relative error of less
//! than 2^-56, which later steps blow up by no more than e^(L/2) times the number of edges n, since no
//! place of a path lies further than ln n from the straight line between its ends. For n ≤ 128 and
//! q ≤ 256 this stays below 2^-32, and cutting off logarithms below 2^-25: the number is right to one unit.
//! The smallest gap between two places next to each other on a path is that along a horocycle,
//! log2((1 + (n+1)²x) / (1 + n²x)) ≥ 1/n, which is more than 100,000 units: strictly closer stays strictly closer.

use crate::cloak::fixed::{self, LOG_BITS, ONE, mul};
use crate::limits::DEGREES;

/// Slot and lease of each step from the root to a place.
pub type Steps = [(u32, u32)];

/// Bits behind the point of the hyperbolic number.
const BITS: u32 = 24;

/// How distances are measured. All nodes of an overlay use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Edges of the tree between two places.
    Tree,
    /// A whole number that rises with the distance in the hyperbolic plane.
    Hyperbolic,
}

/// The metric of a tree of a given degree.
#[derive(Clone, Debug)]
pub struct Geometry {
    metric: Metric,
    /// Minus cosine and sine of the angle of each direction: at a node, turning by zero means back.
    turns: Vec<(i64, i64)>,
    /// cos(π/q) = tanh(L/2).
    lean: i64,
    /// −log2 sin²(π/q), which every edge adds, in units of 2^-32.
    edge: i64,
}

impl Geometry {
    /// The geometry of a tree in which each node has `degree` directions, or the nearest number within
    /// [`DEGREES`].
    pub fn new(metric: Metric, degree: u32) -> Self {
        let degree = degree.clamp(DEGREES.0, DEGREES.1);
        let turns = (0..degree).map(|slot| {
            let (cos, sin) = fixed::turn(slot, degree);
            (-cos, -sin)
        });
        let (lean, sine) = fixed::turn(1, 2 * degree);
        let square = i128::from(sine) * i128::from(sine);
        Self {
            metric,
            turns: turns.collect(),
            lean,
            edge: -fixed::log2(square.unsigned_abs()),
        }
    }

    /// Directions of a node.
    pub fn degree(&self) -> u32 {
        u32::try_from(self.turns.len()).unwrap_or(u32::MAX)
    }

    /// Bytes of memory that this takes on the heap.
    pub fn bytes(&self) -> usize {
        self.turns.capacity() * size_of::<(i64, i64)>()
    }

    /// Whether a path can exist in this tree: slots below the degree, and 0 only at the root.
    pub fn holds(&self, path: &Steps) -> bool {
        let degree = self.degree();
        let mut slots = path.iter().map(|(slot, _)| *slot);
        slots.next().is_none_or(|slot| slot < degree)
            && slots.all(|slot| (1..degree).contains(&slot))
    }

    /// How far two places are apart; zero only between equal ones, the same in both directions.
    ///
    /// A slot given out again with another lease counts as another branch, so nobody inherits packets.
    pub fn distance(&self, a: &Steps, b: &Steps) -> u64 {
        let common = common(a, b);
        let (a, b) = (a.get(common..), b.get(common..));
        let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
        match self.metric {
            Metric::Tree => u64::try_from(a.len() + b.len()).unwrap_or(u64::MAX),
            // One order for both directions: rounding must not tell them apart.
            Metric::Hyperbolic if (a.len(), a) <= (b.len(), b) => self.hyperbolic(a, b),
            Metric::Hyperbolic => self.hyperbolic(b, a),
        }
    }

    /// The number for the path up the branch `up` and down the branch `down`, both from their common
    /// ancestor downwards.
    fn hyperbolic(&self, up: &Steps, down: &Steps) -> u64 {
        let edges = up.len() + down.len();
        if edges == 0 {
            return 0;
        }
        let mut row = Row::edge(self.lean);
        for (slot, _) in up.iter().skip(1).rev() {
            let (cos, sin) = self.turn(*slot);
            row.step((cos, -sin), self.lean);
        }
        if let (Some((from, _)), Some((to, _))) = (up.first(), down.first()) {
            let turn = if from == to {
                // Two leases of one slot: as if the other branch lay straight ahead.
                (ONE, 0)
            } else {
                self.turn(self.degree() - from % self.degree() + to)
            };
            row.step(turn, self.lean);
        }
        for (slot, _) in down.iter().skip(1) {
            row.step(self.turn(*slot), self.lean);
        }
        let edges = i64::try_from(edges).unwrap_or(i64::MAX);
        let number = row.log2().saturating_add(self.edge.saturating_mul(edges));
        let half = 1 << (LOG_BITS - BITS - 1);
        u64::try_from(number.saturating_add(half) >> (LOG_BITS - BITS)).map_or(1, |n| n.max(1))
    }

    fn turn(&self, slot: u32) -> (i64, i64) {
        let at = usize::try_from(slot % self.degree()).unwrap_or_default();
        self.turns.get(at).copied().unwrap_or((ONE, 0))
    }
}

/// Steps that two paths share from the root on.
pub fn common(a: &Steps, b: &Steps) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// First row of a product of isometries in SU(1,1), every edge scaled by sin(π/q) and the row by a power of
/// two: the square of its first entry is cosh²(d/2).
struct Row {
    first: (i64, i64),
    second: (i64, i64),
    exponent: i64,
}

impl Row {
    fn edge(lean: i64) -> Self {
        let mut row = Self {
            first: (ONE, 0),
            second: (lean, 0),
            exponent: 0,
        };
        row.scale();
        row
    }

    /// Turns, then walks along an edge.
    fn step(&mut self, (cos, sin): (i64, i64), lean: i64) {
        let (x, y) = self.first;
        let turned = (mul(x, cos) - mul(y, sin), mul(x, sin) + mul(y, cos));
        let (u, v) = self.second;
        self.first = (turned.0 + mul(u, lean), turned.1 + mul(v, lean));
        self.second = (mul(turned.0, lean) + u, mul(turned.1, lean) + v);
        self.scale();
    }

    /// Brings the largest part between a half and one, so that nothing is lost or flows over.
    fn scale(&mut self) {
        let parts = [self.first.0, self.first.1, self.second.0, self.second.1];
        let largest = parts.iter().map(|part| part.unsigned_abs()).max();
        let zeros = largest.unwrap_or_default().leading_zeros();
        let fit = |part: i64| match zeros {
            64 => part,
            5.. => part << (zeros - 4),
            _ => part >> (4 - zeros),
        };
        self.first = (fit(self.first.0), fit(self.first.1));
        self.second = (fit(self.second.0), fit(self.second.1));
        self.exponent += 4 - i64::from(zeros);
    }

    /// log2 of the square of the first entry, in units of 2^-32.
    fn log2(&self) -> i64 {
        let square = |part: i64| u128::from(part.unsigned_abs()).pow(2);
        let norm = square(self.first.0) + square(self.first.1);
        fixed::log2(norm).saturating_add((2 * self.exponent) << LOG_BITS)
    }
}

#[cfg(test)]
mod tests;
