//! Small overlays: they settle, everything arrives, and a seed repeats.

use super::*;

fn plan(nodes: usize, graph: Graph, degree: u32, seed: u64) -> Plan {
    Plan {
        nodes,
        links: 3,
        degree,
        graph,
        metric: Metric::Tree,
        churn: None,
        seed,
    }
}

#[test]
fn small_overlays_settle_and_deliver_everything() {
    for (graph, degree, nodes) in [
        (Graph::Random, 16, 150),
        (Graph::Preferential, 16, 150),
        (Graph::Random, 4, 80),
        (Graph::Preferential, 4, 80),
    ] {
        let metrics: &[Metric] = if degree == 4 {
            &[Metric::Tree, Metric::Hyperbolic]
        } else {
            &[Metric::Tree]
        };
        for metric in metrics.iter().copied() {
            let plan = Plan {
                metric,
                ..plan(nodes, graph, degree, 1)
            };
            let figures = run(&plan);
            assert_eq!(figures.homeless, 0, "{plan:?}");
            assert_eq!(figures.misbehaviour, 0, "{plan:?}");
            assert_eq!(figures.unchecked, 0, "{plan:?}");
            assert_eq!(figures.parents_left, 0, "{plan:?}");
            assert_eq!(figures.delivery.made, 600, "{plan:?}");
            assert_eq!(figures.delivery.good, 600, "{plan:?}");
        }
    }
}

#[test]
fn a_seed_repeats_and_another_one_differs() {
    let churn = Churn {
        span: Duration::from_secs(60),
        packets: 300,
        roots: 1,
        ..Churn::new(400.0, Duration::from_secs(1))
    };
    let plan = Plan {
        churn: Some(churn),
        ..plan(60, Graph::Random, 8, 1)
    };
    let figures = run(&plan);
    assert_eq!(run(&plan), figures);
    assert_ne!(run(&Plan { seed: 2, ..plan }), figures);
}

#[test]
fn any_single_failure_heals_in_time() {
    let plan = plan(30, Graph::Random, 4, 1);
    let detect = Duration::from_secs(1);
    for victim in 0..plan.nodes {
        let healing = heal(&plan, victim, detect, Duration::from_secs(8));
        let within = if healing.was_root {
            Duration::from_secs(5)
        } else {
            Duration::from_secs(3) + healing.diameters
        };
        assert!(
            healing.unchecked == 0 && healing.after.is_some_and(|after| after <= within),
            "{healing:?}"
        );
    }
}

/// Lets one node of a hundred be hostile, and checks what all others still reach: whoever does not hang below it
/// reaches everybody else who does not, and finds everybody in the directory.
fn besiege(malice: Malice) -> Harm {
    let harm = attack(&plan(100, Graph::Random, 8, 1), malice);
    assert!(harm.below > 5, "{malice:?}: {harm:?}");
    assert_eq!(harm.innocent, 0, "{malice:?}: {harm:?}");
    for reached in [harm.outside, harm.outside_late, harm.newcomers_late] {
        assert!(reached.made > 0, "{malice:?}: {harm:?}");
        assert_eq!(reached.good, reached.made, "{malice:?}: {harm:?}");
    }
    // Who asks for more than he may uses up what relays pass on for each other.
    let found = if malice == Malice::Requests {
        0.995
    } else {
        1.0
    };
    assert!(harm.lookups.share() >= Some(found), "{malice:?}: {harm:?}");
    // Less than a third: one of a name's keys.
    assert!(harm.keys < 0.33, "{malice:?}: {harm:?}");
    // Some queue for it, within their bounds.
    let (before, after) = harm.state;
    assert!(after < before + 65_536, "{malice:?}: {harm:?}");
    harm
}

#[test]
fn who_drops_what_he_should_carry_harms_what_hangs_below_him() {
    let harm = besiege(Malice::Swallow);
    assert!(harm.below_late.share() < Some(1.0), "{harm:?}");
    // Who can go elsewhere does, and is reached again.
    assert!(harm.left.made > 1, "{harm:?}");
    for tries in [harm.left, harm.left_late] {
        assert_eq!(tries.good, tries.made, "{harm:?}");
    }
    besiege(Malice::Mute);
}

#[test]
fn who_lies_about_distances_and_weights_harms_what_hangs_below_him() {
    let harm = besiege(Malice::Near);
    assert!(harm.closed > 0, "{harm:?}");
    besiege(Malice::Weight);
}

#[test]
fn who_claims_places_and_names_of_others_harms_what_hangs_below_him() {
    let harm = besiege(Malice::Claim);
    assert!(harm.closed > 0, "{harm:?}");
    besiege(Malice::Name);
}

#[test]
fn who_repeats_what_was_true_once_harms_what_hangs_below_him() {
    besiege(Malice::Replay);
    besiege(Malice::Stale);
}

#[test]
fn who_floods_harms_what_hangs_below_him() {
    for malice in [Malice::Flood, Malice::Nonsense] {
        let harm = besiege(malice);
        assert!(harm.closed > 0, "{harm:?}");
    }
    besiege(Malice::Requests);
}

#[test]
fn who_founds_trees_and_gives_one_slot_to_all_harms_what_hangs_below_him() {
    besiege(Malice::Trees);
    besiege(Malice::OneSlot);
}

#[test]
fn who_has_everybody_check_his_proofs_harms_what_hangs_below_him() {
    let harm = besiege(Malice::Proofs);
    assert!(harm.unchecked > 0, "{harm:?}");
}

#[test]
fn who_slept_finds_others_and_is_found() {
    for sleeper in [0, 7] {
        let awake = sleep(
            &plan(12, Graph::Random, 16, 1),
            sleeper,
            Duration::from_secs(3 * 3600),
        );
        for tries in [awake.of_it, awake.by_it] {
            assert_eq!((tries.good, tries.made), (11, 11), "{awake:?}");
        }
    }
}
