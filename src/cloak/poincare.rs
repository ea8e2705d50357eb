//! Where a place lies in the Poincaré disk, as published: for maps and for people.
//!
//! In floating point, so good for about 37/L levels (20 for q = 4, 8 for q = 16); beyond, neighbours fall
//! onto the same point. Routes are decided by [`geometry`](crate::cloak::geometry) and never by these.

use std::f64::consts::TAU;

use crate::cloak::geometry::Steps;

/// A point of the unit disk.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Point {
    /// Real part.
    pub x: f64,
    /// Imaginary part.
    pub y: f64,
}

impl Point {
    /// The middle of the disk, where the root is.
    pub const ORIGIN: Self = Self { x: 0.0, y: 0.0 };

    const ONE: Self = Self { x: 1.0, y: 0.0 };

    fn polar(radius: f64, angle: f64) -> Self {
        let (sin, cos) = angle.sin_cos();
        Self {
            x: radius * cos,
            y: radius * sin,
        }
    }

    fn conjugate(self) -> Self {
        Self {
            x: self.x,
            y: -self.y,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            x: self.x + other.x,
            y: self.y + other.y,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            x: self.x - other.x,
            y: self.y - other.y,
        }
    }

    fn times(self, other: Self) -> Self {
        Self {
            x: self.x * other.x - self.y * other.y,
            y: self.x * other.y + self.y * other.x,
        }
    }

    fn over(self, other: Self) -> Self {
        let norm = other.norm();
        let product = self.times(other.conjugate());
        Self {
            x: product.x / norm,
            y: product.y / norm,
        }
    }

    fn norm(self) -> f64 {
        self.x * self.x + self.y * self.y
    }

    /// Hyperbolic distance, arcosh(1 + 2|u−v|² / ((1−|u|²)(1−|v|²))).
    pub fn distance(self, other: Self) -> f64 {
        let apart = self.minus(other).norm();
        (1.0 + 2.0 * apart / ((1.0 - self.norm()) * (1.0 - other.norm()))).acosh()
    }
}

/// Hyperbolic length of an edge of the tiling {∞,q}: 2·arcosh(1/sin(π/q)).
pub fn edge(degree: u32) -> f64 {
    2.0 * (1.0 / (TAU / 2.0 / f64::from(degree)).sin()).acosh()
}

/// The child in direction `slot` of the node at `place`, whose parent is at `parent` (none at the root): all
/// that a node needs to place its children.
pub fn child(degree: u32, place: Point, parent: Option<Point>, slot: u32) -> Point {
    child_at(edge(degree), degree, place, parent, slot)
}

fn child_at(edge: f64, degree: u32, place: Point, parent: Option<Point>, slot: u32) -> Point {
    let back = parent.map_or(0.0, |parent| {
        let seen = parent
            .minus(place)
            .over(Point::ONE.minus(place.conjugate().times(parent)));
        seen.y.atan2(seen.x)
    });
    let angle = back + TAU * f64::from(slot) / f64::from(degree);
    let ahead = Point::polar((edge / 2.0).tanh(), angle);
    ahead
        .plus(place)
        .over(Point::ONE.plus(place.conjugate().times(ahead)))
}

/// The point of the place with this path.
pub fn point(degree: u32, path: &Steps) -> Point {
    let mut parent = None;
    let mut place = Point::ORIGIN;
    for (slot, _) in path {
        let next = child(degree, place, parent, *slot);
        parent = Some(place);
        place = next;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_one_edge_away_and_the_identities_hold() {
        for degree in [3, 4, 8, 16] {
            let half = TAU / 2.0 / f64::from(degree);
            assert!(((edge(degree) / 2.0).tanh() - half.cos()).abs() < 1e-12);
            assert!((edge(degree).cosh() - (2.0 / half.sin().powi(2) - 1.0)).abs() < 1e-6);
            let path = [(0, 0), (2, 0), (1, 0)];
            for depth in 0..path.len() {
                let (a, b) = (
                    point(degree, &path[..depth]),
                    point(degree, &path[..=depth]),
                );
                assert!(
                    (a.distance(b) - edge(degree)).abs() < 1e-6,
                    "{degree} {depth}"
                );
            }
        }
    }

    /// Least distance of two cousins that walk towards each other for twelve steps.
    fn gap(edge: f64, degree: u32) -> f64 {
        let root = (Point::ORIGIN, None);
        let walk = |first: u32, turn: u32| {
            let start = child_at(edge, degree, root.0, root.1, first);
            let next = move |(place, parent): &(Point, Point)| {
                Some((child_at(edge, degree, *place, Some(*parent), turn), *place))
            };
            std::iter::successors(Some((start, Point::ORIGIN)), next).take(12)
        };
        let pairs = walk(0, degree - 1).zip(walk(1, 1));
        let apart = pairs.map(|(a, b)| a.0.distance(b.0));
        apart.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn half_the_edge_makes_cousins_overlap_and_the_whole_one_does_not() {
        for degree in [3, 4, 8] {
            let whole = edge(degree);
            assert!(gap(whole, degree) >= whole, "{degree}");
            assert!(gap(whole / 2.0, degree) < whole / 2.0, "{degree}");
        }
    }

    #[test]
    fn floats_tell_places_apart_only_so_deep() {
        let path = |depth| vec![(2, 0); depth];
        let apart =
            |depth: usize| point(4, &path(depth)).distance(point(4, &path(depth + 1))) - edge(4);
        assert!(apart(10).abs() < 1e-3);
        // NaN or far off: this is why routes are not decided here.
        let deep = apart(40);
        assert!(deep.is_nan() || deep.abs() > 0.1);
    }
}
