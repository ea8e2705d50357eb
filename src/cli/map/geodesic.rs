//! Straight lines of the hyperbolic plane, as they are drawn in the Poincaré disk: arcs of circles that meet the
//! rim at right angles.

use crate::cloak::poincare::Point;

/// Largest radius, in radii of the disk, that is told from a straight line: the arc leaves its chord by less
/// than a thousandth of a pixel.
const RADIUS_MAX: f64 = 1e5;

/// The line between two points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Geodesic {
    /// Both lie on a diameter.
    Straight,
    /// The shorter part of this circle.
    Arc {
        /// Its centre, outside the disk.
        centre: Point,
        /// In radii of the disk.
        radius: f64,
        /// Whether it goes clockwise around the centre, when the imaginary axis points up.
        clockwise: bool,
    },
}

impl Geodesic {
    /// The line from `a` to `b`.
    ///
    /// A circle meets the unit circle at right angles if |c|² = 1 + r²; so a point z is on it if
    /// 2 z·c = 1 + |z|²: two linear equations for the centre.
    pub(super) fn between(a: Point, b: Point) -> Self {
        let cross = a.x * b.y - a.y * b.x;
        let half = |z: Point| f64::midpoint(1.0, z.x * z.x + z.y * z.y);
        let (p, q) = (half(a), half(b));
        let centre = Point {
            x: (p * b.y - q * a.y) / cross,
            y: (q * a.x - p * b.x) / cross,
        };
        let (from, to) = (apart(a, centre), apart(b, centre));
        let radius = from.x.hypot(from.y);
        // Not a number, too, when they are one point or lie on a diameter.
        if radius.is_nan() || radius > RADIUS_MAX {
            return Self::Straight;
        }
        Self::Arc {
            centre,
            radius,
            clockwise: from.x * to.y - from.y * to.x < 0.0,
        }
    }
}

const fn apart(a: Point, b: Point) -> Point {
    Point {
        x: a.x - b.x,
        y: a.y - b.y,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn norm(z: Point) -> f64 {
        z.x * z.x + z.y * z.y
    }

    /// The point in the middle of the drawn arc.
    fn middle(a: Point, b: Point, geodesic: Geodesic) -> Point {
        let Geodesic::Arc {
            centre,
            radius,
            clockwise,
        } = geodesic
        else {
            return Point {
                x: f64::midpoint(a.x, b.x),
                y: f64::midpoint(a.y, b.y),
            };
        };
        let angle = |z: Point| (z.y - centre.y).atan2(z.x - centre.x);
        let mut turn = angle(b) - angle(a);
        if clockwise && turn > 0.0 {
            turn -= std::f64::consts::TAU;
        } else if !clockwise && turn < 0.0 {
            turn += std::f64::consts::TAU;
        }
        assert!(turn.abs() < std::f64::consts::PI, "the shorter part");
        let (sin, cos) = (angle(a) + turn / 2.0).sin_cos();
        Point {
            x: centre.x + radius * cos,
            y: centre.y + radius * sin,
        }
    }

    proptest! {
        #[test]
        fn arcs_go_through_both_points_at_right_angles_to_the_rim_and_nothing_is_shorter(
            (r1, r2) in (0.0..0.97, 0.0..0.97),
            (t1, t2) in (0.0..6.2, 0.0..6.2),
        ) {
            let point = |r: f64, t: f64| Point { x: r * t.cos(), y: r * t.sin() };
            let (a, b) = (point(r1, t1), point(r2, t2));
            prop_assume!(a.distance(b) > 0.01);
            let geodesic = Geodesic::between(a, b);
            if let Geodesic::Arc { centre, radius, .. } = geodesic {
                let right = norm(centre) - 1.0 - radius * radius;
                prop_assert!(right.abs() < 1e-6 * norm(centre), "{right}");
                for z in [a, b] {
                    let off = apart(z, centre);
                    prop_assert!((off.x.hypot(off.y) - radius).abs() < 1e-7 * radius);
                }
            }
            let middle = middle(a, b, geodesic);
            prop_assert!(norm(middle) < 1.0);
            let around = a.distance(middle) + middle.distance(b);
            prop_assert!((around - a.distance(b)).abs() < 1e-4, "{around}");
        }
    }

    #[test]
    fn diameters_are_straight_and_a_known_arc_is_itself() {
        let point = |x, y| Point { x, y };
        for (a, b) in [
            (point(0.0, 0.0), point(0.3, 0.9)),
            (point(-0.3, -0.6), point(0.2, 0.4)),
            (point(0.5, 0.1), point(0.5, 0.1)),
        ] {
            assert_eq!(Geodesic::between(a, b), Geodesic::Straight);
        }
        // The circle around (1, 1) with radius 1 touches both axes at the rim.
        let (a, b) = (point(1.0, 0.0), point(0.0, 1.0));
        let Geodesic::Arc {
            centre,
            radius,
            clockwise,
        } = Geodesic::between(a, b)
        else {
            panic!("an arc was expected");
        };
        assert_eq!((centre, radius), (point(1.0, 1.0), 1.0));
        assert!(clockwise);
        let back = Geodesic::between(b, a);
        assert!(matches!(
            back,
            Geodesic::Arc {
                clockwise: false,
                ..
            }
        ));
    }
}
