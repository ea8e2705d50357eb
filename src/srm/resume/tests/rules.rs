//! The state table, rule by rule.

use std::time::Duration;

use super::model::ModelKeys;
use super::world::place;
use crate::random::Random;
use crate::srm::resume::timers::Limiter;
use crate::srm::resume::{
    Deadline, Dropped, Exhausted, Hello, HelloOutcome, HelloTo, Here, Impossible, Keys, Opened,
    Reason, Resume, Sending, Setup, TimeoutOutcome, Which,
};
use crate::ssm::schedule::{Pair, ResumeNonce, Side};
use crate::time::Time;

struct End {
    resume: Resume,
    keys: ModelKeys,
    random: Random,
    now: Time,
    version: u64,
}

fn pair(a: u32, b: u32) -> Pair {
    Pair { a, b }
}

/// Side A at place 10, side B at place 20.
fn ends() -> (End, End) {
    let end = |side, peer, version| {
        let setup = Setup {
            side,
            peer_location: place(peer),
            rtt: Duration::from_millis(40),
            early_data: true,
            unanswered_max: Some(3),
        };
        End {
            resume: Resume::new(setup, Time::ZERO),
            keys: ModelKeys::new(side, true),
            random: Random::from_number(peer),
            now: Time::ZERO,
            version,
        }
    };
    (end(Side::A, 20, 10), end(Side::B, 10, 20))
}

impl End {
    fn start(&mut self, cause: Reason) {
        self.resume
            .start(&mut self.keys, cause, &mut self.random, self.now)
            .unwrap();
    }

    fn suspend(&mut self) {
        self.resume
            .suspend(
                &mut self.keys,
                Reason::Suspicion,
                &mut self.random,
                self.now,
            )
            .unwrap();
    }

    fn event(&mut self, cause: Reason) {
        self.resume
            .event(&mut self.keys, cause, &mut self.random, self.now)
            .unwrap();
    }

    fn close(&mut self, pair: Pair) -> bool {
        self.resume
            .carrier_closed(&mut self.keys, pair, &mut self.random, self.now)
            .unwrap()
    }

    fn poll(&mut self) -> Option<(Hello, HelloTo)> {
        self.resume.poll_hello(&self.keys, &place(self.version))
    }

    /// The only H that is due.
    fn hello(&mut self) -> Hello {
        let (hello, _) = self.poll().unwrap();
        assert_eq!(self.poll(), None);
        hello
    }

    fn take(&mut self, hello: &Hello) -> HelloOutcome {
        self.resume
            .handle_hello(&mut self.keys, hello, &mut self.random, self.now)
            .unwrap()
    }

    /// Checks that an H is dropped and changes nothing.
    fn drops(&mut self, hello: &Hello, why: Dropped) {
        let (resume, keys) = (self.resume.clone(), self.keys.clone());
        assert_eq!(self.take(hello), HelloOutcome::Dropped(why));
        assert_eq!((&self.resume, &self.keys), (&resume, &keys));
    }

    fn sending(&self) -> Sending {
        self.resume.send_under(&self.keys)
    }

    fn here(&mut self) -> Option<Here> {
        self.resume.here(&self.keys, &place(self.version))
    }

    fn opens(&mut self, which: Which, here: &Here) -> Opened {
        self.resume.opened(&mut self.keys, which, Some(here), true)
    }

    fn expire(&mut self, expected: Deadline) -> TimeoutOutcome {
        let (at, deadline) = self.resume.poll_timeout().unwrap();
        assert_eq!(deadline, expected);
        self.now = at;
        self.resume
            .handle_timeout(&mut self.keys, &mut self.random, at)
            .unwrap()
    }
}

const ACCEPTED: HelloOutcome = HelloOutcome::Accepted {
    renewed: true,
    send_now: false,
};

/// A has started and was answered; B has not committed.
fn answered() -> (End, End) {
    let (mut a, mut b) = ends();
    a.start(Reason::LinkUp);
    let question = a.hello();
    assert_eq!(b.take(&question), ACCEPTED);
    let answer = b.hello();
    let outcome = a.take(&answer);
    assert!(matches!(
        outcome,
        HelloOutcome::Accepted { send_now: true, .. }
    ));
    (a, b)
}

/// Both sides on pair (1, 0).
fn resumed() -> (End, End) {
    let (mut a, mut b) = answered();
    let here = a.here().unwrap();
    a.resume.sealed(Which::Next);
    assert!(b.opens(Which::Next, &here).committed);
    let here = b.here().unwrap();
    assert!(a.opens(Which::Next, &here).committed);
    (a, b)
}

#[test]
fn rule_1_a_start_renews_and_keeps_the_live_pair_in_use() {
    let (mut a, _) = ends();
    a.start(Reason::KeyUse);
    assert_eq!(
        (a.keys.next(), a.keys.live()),
        (pair(1, 0), Some(pair(0, 0)))
    );
    assert_eq!(a.sending(), Sending::Live(place(20)));
    assert!(matches!(a.resume.poll_timeout(), Some((_, Deadline::Ask))));
    let (hello, to) = a.poll().unwrap();
    assert_eq!(to, HelloTo::Everywhere([place(20), place(20)]));
    assert!(hello.ask);
    assert_eq!(
        (hello.own, hello.seen, hello.location, hello.reason),
        (1, 0, place(10), Reason::KeyUse)
    );
}

#[test]
fn an_unanswered_number_is_used_again_with_the_same_nonce() {
    let (mut a, _) = ends();
    a.start(Reason::Suspicion);
    let first = a.hello();
    a.start(Reason::Suspicion);
    a.suspend();
    let second = a.hello();
    assert_eq!((first.own, first.own_nonce), (second.own, second.own_nonce));
    assert!(second.seq > first.seq);
}

#[test]
fn rule_2_a_suspension_erases_the_live_keys_and_renews() {
    let (mut a, _) = ends();
    a.suspend();
    assert!(a.resume.is_suspended(&a.keys));
    assert_eq!((a.keys.next(), a.keys.live()), (pair(1, 0), None));
    assert!(!a.keys.past_is_readable());
    assert_eq!(a.sending(), Sending::Nothing);
    assert!(a.hello().ask);
    a.suspend();
    assert_eq!(a.poll(), None);
}

#[test]
fn rule_3_an_unanswered_question_is_asked_again_from_the_present_location() {
    let (mut a, _) = ends();
    a.start(Reason::Suspicion);
    let first = a.hello();
    a.version = 11;
    assert_eq!(a.expire(Deadline::Ask), TimeoutOutcome::default());
    let second = a.hello();
    assert_eq!((first.own, first.own_nonce), (second.own, second.own_nonce));
    assert_eq!((second.ask, second.location), (true, place(11)));
    assert!(second.seq > first.seq);
}

#[test]
fn a_timer_that_is_not_due_does_nothing() {
    let (mut a, _) = ends();
    a.start(Reason::Suspicion);
    a.hello();
    let before = a.resume.clone();
    let outcome = a
        .resume
        .handle_timeout(&mut a.keys, &mut a.random, Time::ZERO);
    assert_eq!(outcome, Ok(TimeoutOutcome::default()));
    assert_eq!(a.resume, before);
}

#[test]
fn rule_4_an_unconfirmed_attempt_is_probed_then_superseded() {
    let (mut a, _) = answered();
    assert!(a.expire(Deadline::Confirm).probe);
    assert!(a.hello().ask);
    assert_eq!(a.keys.own().0, 1);
    assert!(!a.expire(Deadline::Confirm).probe);
    assert_eq!(a.keys.own().0, 2);
    assert_eq!(a.hello().reason, Reason::Unconfirmed);
    assert!(matches!(a.resume.poll_timeout(), Some((_, Deadline::Ask))));
}

#[test]
fn rule_4_an_attached_answerer_asks_but_does_not_probe() {
    let (_, mut b) = answered();
    assert!(!b.expire(Deadline::Confirm).probe);
    assert!(b.hello().ask);
}

#[test]
fn rule_4_with_its_carrier_gone_an_attempt_is_superseded_at_the_first_expiry() {
    let (mut a, _) = answered();
    assert!(!a.close(pair(1, 0)));
    assert_eq!(a.keys.own().0, 1);
    a.expire(Deadline::Confirm);
    assert_eq!(a.keys.own().0, 2);
}

#[test]
fn rule_5_an_h_that_is_not_newer_is_dropped() {
    let (mut a, mut b) = ends();
    a.start(Reason::Suspicion);
    let first = a.hello();
    a.expire(Deadline::Ask);
    let second = a.hello();
    b.take(&second);
    b.hello();
    b.drops(&second, Dropped::Replayed);
    b.drops(&first, Dropped::Replayed);
}

#[test]
fn rule_6_an_older_number_is_dropped() {
    let (mut a, mut b) = resumed();
    a.start(Reason::Suspicion);
    let mut old = a.hello();
    b.take(&old);
    (old.own, old.seq) = (1, 100);
    b.drops(&old, Dropped::Old);
}

#[test]
fn rule_7_what_no_honest_peer_sends_is_dropped() {
    let (mut a, mut b) = ends();
    a.start(Reason::Suspicion);
    let good = a.hello();
    let other = ResumeNonce([9; 16]);
    let impossible = |change: fn(&mut Hello, ResumeNonce)| {
        let mut hello = good.clone();
        change(&mut hello, other);
        hello
    };
    let jump = impossible(|hello, _| hello.own = 2);
    b.drops(&jump, Dropped::Impossible(Impossible::Jump));
    let far = impossible(|hello, _| hello.own = u32::MAX);
    b.drops(&far, Dropped::Impossible(Impossible::Jump));
    let unsent = impossible(|hello, _| hello.seen = 1);
    b.drops(&unsent, Dropped::Impossible(Impossible::Unsent));
    let seen = impossible(|hello, nonce| hello.seen_nonce = nonce);
    b.drops(&seen, Dropped::Impossible(Impossible::Nonce));
    b.take(&good);
    let own = impossible(|hello, nonce| (hello.own_nonce, hello.seq) = (nonce, 100));
    b.drops(&own, Dropped::Impossible(Impossible::Nonce));
}

#[test]
fn rule_8_a_new_number_of_the_peer_makes_new_next_keys_and_drops_the_sealed_ones() {
    let (mut a, mut b) = answered();
    a.resume.sealed(Which::Next);
    let old = a.keys.next;
    b.start(Reason::LinkUp);
    let hello = b.hello();
    let outcome = a.take(&hello);
    let expected = HelloOutcome::Accepted {
        renewed: true,
        send_now: true,
    };
    assert_eq!(outcome, expected);
    assert_eq!(a.keys.next(), pair(1, 1));
    assert_ne!(a.keys.next, old);
    assert!(!a.resume.sealed_next);
}

#[test]
fn rule_8_a_crossed_start_is_answered_by_either_h() {
    let (mut a, mut b) = ends();
    a.start(Reason::Suspicion);
    b.start(Reason::Suspicion);
    let (from_a, from_b) = (a.hello(), b.hello());
    assert_eq!(a.take(&from_b), ACCEPTED);
    assert_eq!(b.take(&from_a), ACCEPTED);
    assert!(!a.resume.answered && !b.resume.answered);
    let answer = a.hello();
    assert!(answer.ask);
    b.take(&answer);
    assert!(b.resume.answered);
    assert_eq!(b.sending(), Sending::Next(place(10)));
    assert_eq!((a.keys.next(), b.keys.next()), (pair(1, 1), pair(1, 1)));
}

#[test]
fn rule_9_an_h_that_has_not_seen_the_own_number_is_no_answer() {
    let (mut a, mut b) = ends();
    b.event(Reason::LinkUp);
    let early = b.hello();
    a.take(&early);
    a.hello();
    a.start(Reason::Suspicion);
    b.expire(Deadline::Ask);
    let still_early = b.hello();
    a.take(&still_early);
    assert_eq!(still_early.seen, 0);
    assert!(!a.resume.answered);
}

#[test]
fn rule_10_an_h_moves_the_answer_but_not_the_live_traffic() {
    let (mut a, mut b) = ends();
    a.version = 15;
    a.start(Reason::AddressChange);
    let question = a.hello();
    b.take(&question);
    let (answer, to) = b.poll().unwrap();
    assert_eq!(to, HelloTo::At(place(15)));
    assert!(!answer.ask);
    assert_eq!((answer.own, answer.seen), (0, 1));
    assert_eq!(b.sending(), Sending::Live(place(10)));
    assert_eq!(b.keys.live(), Some(pair(0, 0)));
    assert_eq!(b.resume.reason(), Reason::PeerAsked);
}

#[test]
fn repeated_questions_are_answered_twenty_times_a_second_and_news_always() {
    let (mut a, mut b) = answered();
    let mut answers = 0;
    for _ in 0..60 {
        a.event(Reason::LinkUp);
        let question = a.hello();
        b.take(&question);
        answers += u32::from(b.poll().is_some());
    }
    assert_eq!(answers, Limiter::PER_SECOND);
    a.start(Reason::LinkUp);
    let news = a.hello();
    assert_eq!(b.take(&news), ACCEPTED);
    assert!(b.poll().is_some());
}

#[test]
fn rule_11_an_answered_asker_sends_under_the_next_pair() {
    let (a, _) = answered();
    assert_eq!(a.sending(), Sending::Next(place(20)));
}

#[test]
fn rule_11_a_suspended_answerer_sends_under_the_next_pair_once_answered() {
    let (mut a, mut b) = ends();
    b.suspend();
    b.hello();
    a.start(Reason::Suspicion);
    let question = a.hello();
    b.take(&question);
    assert!(matches!(b.sending(), Sending::Nothing));
    let answer = b.hello();
    assert!(answer.ask);
    a.take(&answer);
    let confirm = a.hello();
    assert!(!confirm.ask);
    b.take(&confirm);
    assert_eq!(b.sending(), Sending::Next(place(10)));
}

#[test]
fn rule_12_one_early_packet_follows_each_h() {
    let (mut a, _) = ends();
    a.suspend();
    a.hello();
    assert_eq!(a.sending(), Sending::Early(place(20)));
    assert!(a.here().is_some());
    a.resume.sealed(Which::Next);
    assert_eq!(a.sending(), Sending::Nothing);
    a.expire(Deadline::Ask);
    a.hello();
    assert_eq!(a.sending(), Sending::Early(place(20)));
}

#[test]
fn rule_13_an_attached_answerer_stays_on_the_old_path() {
    let (_, b) = answered();
    assert_eq!(b.sending(), Sending::Live(place(10)));
}

#[test]
fn rule_14_only_the_highest_packet_and_the_newest_location_move_live_traffic() {
    let (mut a, _) = ends();
    let here = |h_seq, version| Here {
        h_seq,
        location: place(version),
    };
    let nothing = Opened {
        committed: false,
        reply: false,
    };
    assert_eq!(a.opens(Which::Live, &here(5, 21)), nothing);
    assert_eq!(a.sending(), Sending::Live(place(21)));
    a.resume
        .opened(&mut a.keys, Which::Live, Some(&here(6, 22)), false);
    assert_eq!(a.sending(), Sending::Live(place(21)));
    a.opens(Which::Live, &here(4, 23));
    assert_eq!(a.sending(), Sending::Live(place(21)));
}

#[test]
fn rule_15_the_first_packet_under_the_next_pair_commits_it() {
    let (mut a, mut b) = answered();
    a.version = 12;
    let here = a.here().unwrap();
    a.resume.sealed(Which::Next);
    let opened = b.opens(Which::Next, &here);
    assert!(opened.committed && opened.reply);
    assert_eq!(b.keys.live(), Some(pair(1, 0)));
    assert_eq!(b.resume.poll_timeout(), None);
    assert_eq!(b.sending(), Sending::Live(place(12)));
    assert!(b.resume.is_settled(&b.keys));
}

#[test]
fn here_is_repeated_until_acknowledged_under_its_pair_and_location() {
    let (mut a, _) = resumed();
    let here = a.here().unwrap();
    a.resume.here_acked(&a.keys, pair(0, 0), here.h_seq);
    assert!(a.here().is_some());
    a.resume.here_acked(&a.keys, pair(1, 0), here.h_seq);
    assert_eq!(a.here(), None);
    a.version = 13;
    let moved = a.here().unwrap();
    assert!(moved.h_seq > here.h_seq);
    a.resume.here_acked(&a.keys, pair(1, 0), here.h_seq);
    assert!(a.here().is_some());
    a.resume.here_acked(&a.keys, pair(1, 0), moved.h_seq);
    assert_eq!(a.here(), None);
}

#[test]
fn rule_17_a_late_teardown_is_ignored() {
    let (mut a, _) = resumed();
    let before = a.resume.clone();
    assert!(!a.close(pair(0, 0)));
    assert_eq!(a.resume, before);
}

#[test]
fn rule_18_the_end_of_the_live_carrier_is_a_suspicion() {
    let (mut a, _) = resumed();
    assert!(a.close(pair(1, 0)));
    assert_eq!(a.keys.live(), Some(pair(1, 0)));
    assert_eq!(a.keys.next(), pair(2, 0));
    assert!(a.hello().ask);
}

#[test]
fn rule_19_two_unanswered_h_call_for_a_state_check() {
    let (mut a, mut b) = ends();
    a.start(Reason::Suspicion);
    let first = a.hello();
    assert!(!a.expire(Deadline::Ask).check_state);
    a.hello();
    assert!(a.expire(Deadline::Ask).check_state);
    a.hello();
    let third = a.expire(Deadline::Ask);
    assert!(third.limit_reached && !third.check_state);
    b.take(&first);
    let answer = b.hello();
    a.take(&answer);
    assert!(!a.expire(Deadline::Confirm).check_state);
}

#[test]
fn rule_19_counts_from_when_a_way_came_up() {
    let (mut a, _) = ends();
    a.start(Reason::Suspicion);
    for _ in 0..5 {
        a.hello();
        a.expire(Deadline::Ask);
    }
    a.event(Reason::LinkUp);
    a.hello();
    assert!(!a.expire(Deadline::Ask).check_state);
    a.hello();
    assert!(a.expire(Deadline::Ask).check_state);
}

#[test]
fn events_reset_the_question_but_not_the_confirmation() {
    let (mut a, _) = ends();
    a.start(Reason::Suspicion);
    for _ in 0..9 {
        a.expire(Deadline::Ask);
    }
    a.hello();
    a.event(Reason::LinkUp);
    a.hello();
    let (at, _) = a.resume.poll_timeout().unwrap();
    assert!(at.since(a.now) <= Duration::from_millis(250));

    let (mut a, _) = answered();
    let before = a.resume.poll_timeout();
    a.event(Reason::AddressChange);
    assert!(a.hello().ask);
    assert_eq!(a.resume.poll_timeout(), before);
    assert_eq!(a.keys.own().0, 1);
}

#[test]
fn an_exhausted_number_ends_the_exchange_and_changes_nothing() {
    let (mut a, _) = ends();
    a.keys.own.0 = u32::MAX;
    let before = a.resume.clone();
    let result = a
        .resume
        .start(&mut a.keys, Reason::KeyUse, &mut a.random, a.now);
    assert_eq!(result, Err(Exhausted));
    assert_eq!(a.resume, before);
}
