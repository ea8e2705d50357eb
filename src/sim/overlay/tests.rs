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
            healing.after.is_some_and(|after| after <= within),
            "{healing:?}"
        );
    }
}

#[test]
fn a_hostile_node_harms_no_more_than_what_hangs_below_it() {
    let plan = plan(100, Graph::Random, 8, 1);
    for malice in Malice::ALL {
        let harm = attack(&plan, malice);
        assert!(harm.below > 5, "{malice:?}: {harm:?}");
        assert_eq!(harm.innocent, 0, "{malice:?}: {harm:?}");
        // A packet whose both tries lead over a node that drops it is lost, until the sender's session
        // looks for another way.
        let all = if malice == Malice::Swallow { 0.98 } else { 1.0 };
        assert!(
            harm.outside_late.share() >= Some(all),
            "{malice:?}: {harm:?}"
        );
        assert!(
            malice == Malice::Weight || harm.lookups.share() >= Some(0.98),
            "{malice:?}: {harm:?}"
        );
        assert!(
            malice == Malice::Swallow || harm.newcomers_late.share() >= Some(0.95),
            "{malice:?}: {harm:?}"
        );
        // What a liar is given of its parent's keys is bounded.
        let keys = if malice == Malice::Weight { 0.75 } else { 0.5 };
        assert!(harm.keys < keys, "{malice:?}: {harm:?}");
        // Some queue for it, within their bounds.
        let (before, after) = harm.state;
        assert!(after < before + 65_536, "{malice:?}: {harm:?}");
        let is_seen = matches!(
            malice,
            Malice::Flood | Malice::Nonsense | Malice::Near | Malice::Claim
        );
        assert!(!is_seen || harm.closed > 0, "{malice:?}: {harm:?}");
    }
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
