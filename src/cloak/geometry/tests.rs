use proptest::{collection::vec, prelude::*};

use super::*;
use crate::random::Random;

const DEPTH: usize = 60;

fn geometry(metric: Metric, degree: u32) -> Geometry {
    Geometry::new(metric, degree)
}

/// A path of valid slots; leases are a function of the slot, as in a settled tree.
fn path(degree: u32, numbers: &[u32]) -> Vec<(u32, u32)> {
    let slot = |(at, number): (usize, &u32)| match at {
        0 => number % degree,
        _ => 1 + number % (degree - 1),
    };
    numbers
        .iter()
        .enumerate()
        .map(slot)
        .map(|s| (s, s))
        .collect()
}

/// All places from `a` to `b` through the tree.
fn between(a: &Steps, b: &Steps) -> Vec<Vec<(u32, u32)>> {
    let common = common(a, b);
    let up = (common..=a.len()).rev().map(|end| a[..end].to_vec());
    let down = (common + 1..=b.len()).map(|end| b[..end].to_vec());
    up.chain(down).collect()
}

proptest! {
    #[test]
    fn the_next_place_of_the_tree_is_strictly_closer(
        degree in 3u32..=256, a in vec(any::<u32>(), 0..=DEPTH), b in vec(any::<u32>(), 0..=DEPTH), shared in 0..DEPTH,
    ) {
        let mut b = b;
        let shared = shared.min(a.len()).min(b.len());
        b[..shared].copy_from_slice(&a[..shared]);
        let (a, b) = (path(degree, &a), path(degree, &b));
        for metric in [Metric::Tree, Metric::Hyperbolic] {
            let geometry = geometry(metric, degree);
            prop_assert!(geometry.holds(&a));
            let walk = between(&a, &b);
            for pair in walk.windows(2) {
                prop_assert!(geometry.distance(&pair[1], &b) < geometry.distance(&pair[0], &b));
            }
            prop_assert_eq!(geometry.distance(&a, &b), geometry.distance(&b, &a));
            prop_assert_eq!(geometry.distance(&a, &b) == 0, a == b);
        }
    }

    #[test]
    fn degree_three_agrees_with_exact_fractions(
        a in vec(any::<u32>(), 40..=DEPTH), below in vec(any::<u32>(), 0..=35), rest in 0usize..=35,
    ) {
        // Deep places whose way is short enough for the fractions to fit into 128 bits.
        let mut b = a[..a.len() - rest].to_vec();
        b.extend(below.iter().take(DEPTH - b.len()));
        let (a, b) = (path(3, &a), path(3, &b));
        let real = forms::number(&a, &b);
        let ours = geometry(Metric::Hyperbolic, 3).distance(&a, &b);
        prop_assert!(ours.abs_diff(real) <= 1, "{} is not {}", ours, real);
    }

    #[test]
    fn a_slot_given_out_again_is_another_branch(
        degree in 3u32..=64, a in vec(any::<u32>(), 1..=20), at in 0usize..20,
    ) {
        let new = path(degree, &a);
        let at = at.min(new.len() - 1);
        let mut old = new.clone();
        old[at].1 += 1;
        for metric in [Metric::Tree, Metric::Hyperbolic] {
            let geometry = geometry(metric, degree);
            // The parent is closer to the old place than anybody below the new tenant.
            let parent = geometry.distance(&new[..at], &old);
            for end in at + 1..=new.len() {
                prop_assert!(geometry.distance(&new[..end], &old) > parent);
            }
        }
    }
}

/// The tree of degree three as forms (a, b, c) with b² − 4ac = −3: neighbours and distances without
/// rounding.
mod forms {
    use super::*;

    type Form = [i128; 3];

    /// Applies x ↦ x + t y and turns: the generators of PSL(2,Z) act on forms by substitution.
    fn substitute([a, b, c]: Form, [p, q, r, s]: [i128; 4]) -> Form {
        [
            a * p * p + b * p * r + c * r * r,
            2 * a * p * q + b * (p * s + q * r) + 2 * c * r * s,
            a * q * q + b * q * s + c * s * s,
        ]
    }

    /// cosh²(d/2) for a walk with these turns (in thirds of a circle from the way back), as our number.
    ///
    /// The form (1, 1, 1) belongs to the vertex ρ of the tiling; the rotation about it is U = [0, −1; 1, 1] and
    /// the half turn about the middle of an edge is S = [0, −1; 1, 0]. A walk is a product of S and powers of U.
    fn walk(turns: &[u32]) -> u64 {
        let mut form = [1, 1, 1];
        // The last step comes first: a substitution acts from the right.
        for turn in turns.iter().rev() {
            form = substitute(form, [0, -1, 1, 0]);
            for _ in 0..*turn {
                form = substitute(form, [0, -1, 1, 1]);
            }
        }
        form = substitute(form, [0, -1, 1, 0]);
        // cosh d = (2(a + c) − b) / 3, and cosh²(d/2) = (cosh d + 1) / 2.
        let sixths = 2 * (form[0] + form[2]) - form[1] + 3;
        number_of(sixths.unsigned_abs())
    }

    /// log2(sixths / 6) in units of 2^-24.
    fn number_of(sixths: u128) -> u64 {
        let shift = sixths.leading_zeros();
        let log = fixed::log2(sixths << shift) + ((120 - i64::from(shift)) << LOG_BITS);
        let number = log - (fixed::log2(6 << 120));
        u64::try_from((number + (1 << 7)) >> (LOG_BITS - BITS)).unwrap()
    }

    pub(super) fn number(a: &Steps, b: &Steps) -> u64 {
        let common = common(a, b);
        let (up, down) = (&a[common..], &b[common..]);
        let mut turns: Vec<u32> = up.iter().skip(1).rev().map(|s| 3 - s.0).collect();
        if let (Some(from), Some(to)) = (up.first(), down.first()) {
            turns.push((3 + to.0 - from.0) % 3);
        }
        turns.extend(down.iter().skip(1).map(|s| s.0));
        if up.is_empty() && down.is_empty() {
            return 0;
        }
        walk(&turns)
    }
}

#[test]
fn along_a_horocycle_the_gap_is_far_above_the_rounding() {
    for degree in [3, 4, 16, 256] {
        let geometry = geometry(Metric::Hyperbolic, degree);
        let far = vec![(1, 0); 2 * DEPTH];
        for depth in 0..far.len() - 1 {
            let gap =
                geometry.distance(&far[..depth], &far) - geometry.distance(&far[..=depth], &far);
            assert!(gap > 1 << 17, "{degree} {depth}: {gap}");
        }
    }
}

#[test]
fn no_short_walk_has_a_smaller_gap_than_the_horocycle() {
    for degree in 3..=5u32 {
        let geometry = geometry(Metric::Hyperbolic, degree);
        for length in 2..=6u32 {
            let ends = (0..(degree - 1).pow(length)).map(|mut code| {
                let mut digit = || {
                    let digit = code % (degree - 1);
                    code /= degree - 1;
                    (1 + digit, 0)
                };
                (0..length).map(|_| digit()).collect::<Vec<_>>()
            });
            let gap = |far: &Steps| geometry.distance(&[], far) - geometry.distance(&far[..1], far);
            let least = ends.map(|far| gap(&far)).min().unwrap();
            let horocycle = gap(&vec![(1, 0); usize::try_from(length).unwrap()]);
            assert!(
                least + 1 >= horocycle,
                "{degree} {length}: {least} {horocycle}"
            );
        }
    }
}

/// Distance for a walk with any length of an edge, in floats: good enough for ten levels.
fn float_distance(edge: f64, degree: u32, a: &Steps, b: &Steps) -> f64 {
    let common = common(a, b);
    let (up, down) = (&a[common..], &b[common..]);
    let mut turns: Vec<u32> = up.iter().skip(1).rev().map(|s| degree - s.0).collect();
    if let (Some(from), Some(to)) = (up.first(), down.first()) {
        turns.push(degree + to.0 - from.0);
    }
    turns.extend(down.iter().skip(1).map(|s| s.0));
    if up.is_empty() && down.is_empty() {
        return 0.0;
    }
    let (cosh, sinh) = ((edge / 2.0).cosh(), (edge / 2.0).sinh());
    let (mut first, mut second) = ((cosh, 0.0), (sinh, 0.0));
    for turn in turns {
        let angle = std::f64::consts::TAU * (0.5 + f64::from(turn) / f64::from(degree));
        let (sin, cos) = angle.sin_cos();
        let turned = (first.0 * cos - first.1 * sin, first.0 * sin + first.1 * cos);
        first = (
            turned.0 * cosh + second.0 * sinh,
            turned.1 * cosh + second.1 * sinh,
        );
        second = (
            turned.0 * sinh + second.0 * cosh,
            turned.1 * sinh + second.1 * cosh,
        );
    }
    2.0 * first.0.hypot(first.1).acosh()
}

/// Walks of 400 whose next place in the tree is not always strictly closer.
fn failures(degree: u32, distance: impl Fn(&Steps, &Steps) -> f64) -> usize {
    let mut random = Random::from_number(u64::from(degree));
    let mut leaf = || {
        let numbers: Vec<u32> = (0..10)
            .map(|_| u32::try_from(random.below(1 << 20)).unwrap())
            .collect();
        path(degree, &numbers)
    };
    let fails = |(a, b): &(Vec<_>, Vec<_>)| {
        let walk = between(a, b);
        walk.windows(2)
            .any(|pair| distance(&pair[1], b) >= distance(&pair[0], b))
    };
    (0..400).map(|_| (leaf(), leaf())).filter(fails).count()
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "compared with floats")]
fn greedy_fails_with_half_the_edge_and_never_with_ours() {
    for degree in [3, 4, 8] {
        let edge = crate::cloak::poincare::edge(degree);
        let half = failures(degree, |a, b| float_distance(edge / 2.0, degree, a, b));
        assert!(half > 350, "{degree}: {half}");
        let whole = failures(degree, |a, b| float_distance(edge, degree, a, b));
        assert_eq!(whole, 0, "{degree}");
        let ours = geometry(Metric::Hyperbolic, degree);
        assert_eq!(failures(degree, |a, b| ours.distance(a, b) as f64), 0);
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "compared with floats")]
fn the_number_is_that_of_the_points_in_the_disk() {
    use crate::cloak::poincare::point;
    for degree in [3, 4, 8, 16] {
        let geometry = geometry(Metric::Hyperbolic, degree);
        let mut random = Random::from_number(1);
        for _ in 0..50 {
            let mut draw = || {
                let length = random.below(4);
                let numbers: Vec<u32> = (0..length)
                    .map(|_| u32::try_from(random.below(1 << 20)).unwrap())
                    .collect();
                path(degree, &numbers)
            };
            let (a, b) = (draw(), draw());
            let d = point(degree, &a).distance(point(degree, &b));
            let expected = (d / 2.0).cosh().powi(2).log2() * 2f64.powi(24);
            let found = geometry.distance(&a, &b) as f64;
            assert!(
                (found - expected).abs() < 4.0 + expected / 1e5,
                "{degree}: {found} {expected}"
            );
        }
    }
}

#[test]
fn degrees_and_paths_outside_the_tiling_are_refused() {
    assert_eq!(Geometry::new(Metric::Tree, 2).degree(), 3);
    assert_eq!(Geometry::new(Metric::Tree, 257).degree(), 256);
    let geometry = geometry(Metric::Tree, 4);
    assert!(geometry.holds(&[(0, 9), (3, 9)]));
    assert!(!geometry.holds(&[(4, 9)]));
    assert!(!geometry.holds(&[(1, 9), (0, 9)]));
}
