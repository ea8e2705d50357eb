//! Faults that the simulator must find: each is put between the sessions and the oracle.

use crate::sim::application::Sabotage;
use crate::sim::sessions::World;

/// The first of a few seeds whose run breaks the rule.
fn found(sabotage: Sabotage, rule: &str) {
    let mut said = Vec::new();
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.oracle.sabotage = Some(sabotage);
        if let Err(failure) = world.finish(seed) {
            if failure.what.contains(rule) {
                assert!(failure.what.contains(&format!("SEED={seed} ")));
                assert!(failure.diagram.starts_with("sequenceDiagram\n"));
                return;
            }
            said.push(failure.what);
        }
    }
    panic!("{sabotage:?} was not found: {said:?}");
}

#[test]
fn a_lost_byte_is_found() {
    found(Sabotage::LoseByte, "wrong byte");
}

#[test]
fn a_doubled_byte_is_found() {
    found(Sabotage::DoubleByte, "wrong byte");
}

#[test]
fn a_changed_byte_is_found() {
    found(Sabotage::ChangeByte, "wrong byte");
}

#[test]
fn a_cut_that_looks_clean_is_found() {
    found(Sabotage::CutLooksClean, "clean end of");
}

#[test]
fn an_end_before_the_last_byte_is_found() {
    found(Sabotage::EndTooEarly, "clean end of");
}

#[test]
fn memory_that_is_not_given_back_is_found() {
    found(Sabotage::Leak, "memory not given back");
}

#[test]
fn a_packet_number_used_twice_is_found() {
    found(Sabotage::NumberTwice, "sealed no.");
}

#[test]
fn a_pair_that_falls_is_found() {
    found(Sabotage::PairFalls, "the next pair");
}

#[test]
fn a_packet_that_opens_twice_is_found() {
    found(Sabotage::OpensTwice, "opened twice");
}

#[test]
fn a_packet_of_other_keys_that_opens_is_found() {
    found(Sabotage::OpensForeign, "of other keys opened");
}

#[test]
fn connections_that_a_restart_leaves_hanging_are_found() {
    found(Sabotage::SilentRestart, "never finished");
}

#[test]
fn a_session_that_does_not_go_on_is_found() {
    found(Sabotage::NeverCalm, "never finished");
}
