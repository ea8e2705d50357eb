//! Rules changed for the worse: the explorer must find what each breaks.

use super::explorer::{Bounds, Explorer};

/// One rule changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    AcceptLowerNumber,
    SuspendKeepsNumber,
    CommitOnHello,
    TeardownUnchecked,
    OldKeysStay,
    NewNumberOnRetry,
    AnyHelloAnswers,
    SwitchBeforeAnswer,
    WinnerRule,
    AnswerOnlySuspended,
    GiveUpAnswered,
    OlderLocation,
    HelloRedirects,
}

const BOUNDS: Bounds = Bounds {
    renewals: [2, 1],
    moves: [0, 0],
    early: false,
    reduce: false,
    settle_every: 1,
    rounds_max: 6,
    states_max: 5_000,
};

const MOVING: Bounds = Bounds {
    renewals: [1, 0],
    moves: [1, 0],
    ..BOUNDS
};

fn assert_found(mutation: Mutation, bounds: Bounds, violation: &str) {
    let mut explorer = Explorer::new(bounds, Some(mutation));
    assert_eq!(explorer.run(), Err(violation), "{mutation:?}");
}

#[test]
fn accepting_a_lower_number_lets_the_pair_fall() {
    let violation = "the next pair fell";
    assert_found(Mutation::AcceptLowerNumber, BOUNDS, violation);
}

#[test]
fn a_suspension_that_keeps_its_number_uses_packet_numbers_twice() {
    let violation = "a pair's keys were made twice";
    assert_found(Mutation::SuspendKeepsNumber, BOUNDS, violation);
}

#[test]
fn a_commit_on_an_h_cuts_the_live_side() {
    assert_found(Mutation::CommitOnHello, BOUNDS, "live side cut");
}

#[test]
fn a_teardown_without_pair_check_reaches_the_new_carrier() {
    let violation = "a late teardown had an effect";
    assert_found(Mutation::TeardownUnchecked, BOUNDS, violation);
}

#[test]
fn old_keys_that_stay_open_old_packets() {
    let violation = "a packet of an erased pair was opened";
    assert_found(Mutation::OldKeysStay, BOUNDS, violation);
}

#[test]
fn a_new_number_on_every_retry_drives_the_numbers_apart() {
    let violation = "numbers more than one apart";
    assert_found(Mutation::NewNumberOnRetry, BOUNDS, violation);
}

#[test]
fn taking_any_h_for_an_answer_seals_what_the_peer_cannot_open() {
    let violation = "sealed under a pair that the peer cannot know";
    assert_found(Mutation::AnyHelloAnswers, BOUNDS, violation);
}

#[test]
fn switching_before_the_answer_seals_what_the_peer_cannot_open() {
    let violation = "sealed under a pair that the peer cannot know";
    assert_found(Mutation::SwitchBeforeAnswer, BOUNDS, violation);
}

#[test]
fn the_winner_rule_never_settles() {
    let violation = "the fair phase does not settle";
    assert_found(Mutation::WinnerRule, BOUNDS, violation);
}

#[test]
fn answering_only_while_suspended_never_settles() {
    let violation = "the fair phase does not settle";
    assert_found(Mutation::AnswerOnlySuspended, BOUNDS, violation);
}

#[test]
fn giving_up_an_answered_attempt_lets_a_held_packet_cut_the_live_side() {
    assert_found(Mutation::GiveUpAnswered, BOUNDS, "live side cut");
}

#[test]
fn an_older_location_that_overwrites_a_newer_one_moves_a_settled_session() {
    let violation = "an old message moved a settled session";
    assert_found(Mutation::OlderLocation, MOVING, violation);
}

#[test]
fn an_h_that_redirects_live_traffic_moves_it_unconfirmed() {
    let violation = "live traffic moved without a packet";
    assert_found(Mutation::HelloRedirects, MOVING, violation);
}
