//! Every state that two sides and a hostile network can reach, within small bounds.
//!
//! The network is the set of all messages ever sent; any of them may arrive at any time, any number
//! of times or never. Timers, starts, suspensions and moves happen at any moment. Time stands still:
//! a timer is forced to expire. An H's `seq` and a packet's number are abstracted to the version of
//! its sender's location, so that more may arrive than in reality.

use std::collections::{BTreeSet, VecDeque};

use super::mutations::Mutation;
use super::world::{Message, World, other, version_of};
use crate::random::Random;
use crate::srm::resume::Keys;
use crate::ssm::schedule::{Pair, Side};
use crate::time::Time;
use crate::wire::location::Location;

pub(super) type Found = &'static str;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How often A and B may renew in the hostile phase.
    pub(super) renewals: [u32; 2],
    pub(super) moves: [u64; 2],
    pub(super) early: bool,
    /// Forget messages that no rule can use again.
    pub(super) reduce: bool,
    /// Check the fair phase from every n-th state.
    pub(super) settle_every: usize,
    pub(super) rounds_max: usize,
    pub(super) states_max: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Start(Side),
    Suspend(Side),
    Ask(Side),
    Confirm(Side),
    Send(Side),
    Move(Side),
    Close(Side),
    Deliver(Message),
}

/// A message on its way in the fair phase: receiver, where it was sent, whether it wants an answer.
pub(super) struct Flight {
    pub(super) message: Message,
    pub(super) to: Option<Location>,
    pub(super) eliciting: bool,
}

pub(super) struct Explorer {
    pub(super) bounds: Bounds,
    pub(super) mutation: Option<Mutation>,
    pub(super) random: Random,
    /// Most rounds that a fair phase took.
    pub(super) rounds: usize,
    pub(super) states: usize,
    pub(super) sent: Vec<Flight>,
}

impl Explorer {
    pub(super) fn new(bounds: Bounds, mutation: Option<Mutation>) -> Self {
        Self {
            bounds,
            mutation,
            random: Random::from_number(1),
            rounds: 0,
            states: 0,
            sent: Vec::new(),
        }
    }

    pub(super) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Visits every state; the first violation, if there is one.
    pub(super) fn run(&mut self) -> Result<(), Found> {
        let first = World::new(self.bounds.early, false);
        let mut seen = BTreeSet::from([first.fingerprint()]);
        let mut queue = VecDeque::from([first]);
        while let Some(world) = queue.pop_front() {
            self.states += 1;
            if self.states > self.bounds.states_max {
                return Ok(());
            }
            self.check_old_messages(&world)?;
            self.check_late_teardown(&world)?;
            if self.states.is_multiple_of(self.bounds.settle_every) {
                self.check_settling(&world)?;
            }
            for act in self.acts(&world) {
                let mut next = world.clone();
                self.act(&mut next, act)?;
                if self.bounds.reduce {
                    next.reduce();
                }
                if seen.insert(next.fingerprint()) {
                    queue.push_back(next);
                }
            }
        }
        Ok(())
    }

    fn acts(&self, world: &World) -> Vec<Act> {
        let mut acts: Vec<_> = world.net.iter().copied().map(Act::Deliver).collect();
        for side in [Side::A, Side::B] {
            let end = &world.ends[side as usize];
            let renews = end.resume.answered && !self.is(Mutation::SuspendKeepsNumber);
            let may_renew = end.keys.own().0 < self.bounds.renewals[side as usize];
            if may_renew || !renews {
                acts.push(Act::Start(side));
                acts.push(Act::Close(side));
                if end.keys.live().is_some() {
                    acts.push(Act::Suspend(side));
                }
            }
            if end.resume.timers.ask_at.is_some() {
                acts.push(Act::Ask(side));
            }
            if end.resume.timers.confirm_at.is_some() && (may_renew || !end.resume.confirm_expired)
            {
                acts.push(Act::Confirm(side));
            }
            if end.version < self.bounds.moves[side as usize] && (may_renew || !end.settled()) {
                acts.push(Act::Move(side));
            }
            acts.push(Act::Send(side));
        }
        acts
    }

    /// Does one thing and checks what must hold across it and after it.
    fn act(&mut self, world: &mut World, act: Act) -> Result<(), Found> {
        let before: [_; 2] = [0, 1].map(|i: usize| {
            let end = &world.ends[i];
            (
                end.keys.next(),
                end.keys.live(),
                end.resume.live_loc.clone(),
            )
        });
        let packet = matches!(act, Act::Deliver(Message::Packet { .. }));
        self.perform(world, act)?;
        for flight in self.sent.drain(..) {
            world.net.insert(flight.message);
        }
        for (end, (next, live, live_loc)) in world.ends.iter().zip(before) {
            let grown = end.keys.next();
            if grown.a < next.a || grown.b < next.b {
                return Err("the next pair fell");
            }
            if let (Some(old), Some(new)) = (live, end.keys.live())
                && (new.a < old.a || new.b < old.b)
            {
                return Err("the live pair fell");
            }
            if !packet && end.resume.live_loc != live_loc {
                return Err("live traffic moved without a packet");
            }
        }
        world.check()
    }

    /// Invariant 7: no old message moves a settled session.
    fn check_old_messages(&mut self, world: &World) -> Result<(), Found> {
        if !world.settled() {
            return Ok(());
        }
        for message in &world.net {
            let mut copy = world.clone();
            self.deliver(&mut copy, *message, false)?;
            self.sent.clear();
            if !copy.settled() {
                // News from the other side are no old message; a settled world has none.
                return Err("an old message moved a settled session");
            }
        }
        Ok(())
    }

    /// Rule 17: a carrier of another pair than the live one closes without any effect.
    fn check_late_teardown(&mut self, world: &World) -> Result<(), Found> {
        let first = Pair { a: 0, b: 0 };
        for end in &world.ends {
            let mut copy = end.clone();
            let Some(live) = end.keys.live().filter(|live| *live != first) else {
                continue;
            };
            let pair = if self.is(Mutation::TeardownUnchecked) {
                live
            } else {
                first
            };
            copy.resume
                .carrier_closed(&mut copy.keys, pair, &mut self.random, Time::ZERO)
                .unwrap();
            if copy.resume != end.resume || copy.keys != end.keys {
                return Err("a late teardown had an effect");
            }
        }
        Ok(())
    }

    /// Invariant 10, in three orders of the timers.
    fn check_settling(&mut self, world: &World) -> Result<(), Found> {
        for order in [
            &[&[Side::A][..], &[Side::B]][..],
            &[&[Side::B], &[Side::A]],
            &[&[Side::A, Side::B]],
        ] {
            let mut copy = world.clone();
            copy.net.clear();
            let mut rounds = 0;
            while !copy.settled() {
                rounds += 1;
                if rounds > self.bounds.rounds_max {
                    return Err("the fair phase does not settle");
                }
                self.round(&mut copy, order)?;
            }
            self.rounds = self.rounds.max(rounds);
        }
        Ok(())
    }

    /// Both timers of both sides, then one packet from each, with all that they cause.
    fn round(&mut self, world: &mut World, order: &[&[Side]]) -> Result<(), Found> {
        for _ in 0..2 {
            for together in order {
                for side in *together {
                    if !world.end(*side).settled() {
                        if self.expire(world, *side) {
                            self.send(world, *side, true)?;
                        }
                        self.hellos(world, *side);
                    }
                }
                self.fly(world)?;
            }
        }
        for side in [Side::A, Side::B] {
            self.send(world, side, true)?;
            self.fly(world)?;
        }
        Ok(())
    }

    /// Delivers, in order, what was sent to where its receiver is, until nothing is on its way.
    fn fly(&mut self, world: &mut World) -> Result<(), Found> {
        let mut queue = VecDeque::from(std::mem::take(&mut self.sent));
        while let Some(flight) = queue.pop_front() {
            let (Message::Hello { from, .. } | Message::Packet { from, .. }) = flight.message;
            let to = other(from);
            let there = world.end(to).version;
            if flight.to.is_some_and(|place| version_of(&place) != there) {
                continue;
            }
            let opened = self.deliver(world, flight.message, true)?;
            if opened && flight.eliciting {
                self.send(world, to, false)?;
            }
            queue.extend(std::mem::take(&mut self.sent));
            world.check()?;
        }
        Ok(())
    }
}

const BOUNDS: Bounds = Bounds {
    renewals: [1, 1],
    moves: [0, 0],
    early: false,
    reduce: true,
    settle_every: 1,
    rounds_max: 1,
    states_max: usize::MAX,
};

/// Explores; at least `states` must have been there to see.
fn explore(bounds: Bounds, states: usize) {
    let mut explorer = Explorer::new(bounds, None);
    assert_eq!(explorer.run(), Ok(()), "{bounds:?}");
    assert!(explorer.states > states, "{} states", explorer.states);
    assert!(explorer.rounds > 0, "nothing had to settle");
}

#[test]
fn one_renewal_each_is_safe_and_settles_in_one_round_from_every_state() {
    explore(BOUNDS, 7_000);
}

#[test]
fn early_data_is_safe_and_settles_in_one_round() {
    let early = Bounds {
        early: true,
        settle_every: 3,
        ..BOUNDS
    };
    explore(early, 10_000);
}

#[test]
fn more_renewals_on_one_side_are_safe_and_settle_in_one_round() {
    let capped = Bounds {
        renewals: [2, 1],
        settle_every: 7,
        states_max: 8_000,
        ..BOUNDS
    };
    explore(capped, 7_999);
}

#[test]
fn a_move_is_safe_and_settles_in_two_rounds_with_no_message_ever_forgotten() {
    let moving = Bounds {
        renewals: [1, 0],
        moves: [1, 0],
        reduce: false,
        settle_every: 2,
        rounds_max: 2,
        ..BOUNDS
    };
    explore(moving, 5_000);
}

#[test]
fn moves_of_both_sides_are_safe_and_settle_in_two_rounds() {
    let capped = Bounds {
        moves: [1, 1],
        early: true,
        settle_every: 7,
        rounds_max: 2,
        states_max: 6_000,
        ..BOUNDS
    };
    explore(capped, 5_999);
}
