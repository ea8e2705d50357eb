//! What one step of the explorer does, with the mutations.

use super::explorer::{Act, Explorer, Flight, Found};
use super::model::Set;
use super::mutations::Mutation;
use super::world::{End, Message, World, other, place};
use crate::srm::resume::timers::Limiter;
use crate::srm::resume::{
    Dropped, Hello, HelloOutcome, HelloTo, Here, Keys, Opened, Reason, Sending, Which,
};
use crate::ssm::schedule::{Pair, ResumeNonce, Side};
use crate::time::Time;

impl Explorer {
    pub(super) fn perform(&mut self, world: &mut World, act: Act) -> Result<(), Found> {
        let now = Time::ZERO;
        match act {
            Act::Start(side) => {
                let end = world.end(side);
                end.resume
                    .start(&mut end.keys, Reason::Suspicion, &mut self.random, now)
                    .unwrap();
                self.hellos(world, side);
            }
            Act::Suspend(side) => {
                self.suspend(world.end(side));
                self.hellos(world, side);
            }
            Act::Ask(side) => {
                self.expire(world, side);
                self.hellos(world, side);
            }
            Act::Confirm(side) => {
                if self.expire(world, side) {
                    self.send(world, side, true)?;
                }
                self.hellos(world, side);
            }
            Act::Send(side) => self.send(world, side, true)?,
            Act::Move(side) => {
                let end = world.end(side);
                end.version += 1;
                end.resume
                    .event(&mut end.keys, Reason::AddressChange, &mut self.random, now)
                    .unwrap();
                self.hellos(world, side);
            }
            Act::Close(side) => {
                let end = world.end(side);
                if let Some(live) = end.keys.live() {
                    end.resume
                        .carrier_closed(&mut end.keys, live, &mut self.random, now)
                        .unwrap();
                    self.hellos(world, side);
                }
            }
            Act::Deliver(message) => {
                self.deliver(world, message, false)?;
            }
        }
        Ok(())
    }

    /// Forces the running timer to expire; whether a probe shall go.
    pub(super) fn expire(&mut self, world: &mut World, side: Side) -> bool {
        let retry_renews = self.is(Mutation::NewNumberOnRetry);
        let gives_up = self.is(Mutation::GiveUpAnswered);
        let end = world.end(side);
        let timers = &mut end.resume.timers;
        let asking = timers.ask_at.is_some();
        for at in [&mut timers.ask_at, &mut timers.confirm_at] {
            *at = at.map(|_| Time::ZERO);
        }
        if asking && retry_renews {
            end.resume.answered = true;
            end.resume
                .start(&mut end.keys, Reason::Other, &mut self.random, Time::ZERO)
                .unwrap();
            return false;
        }
        if gives_up && end.resume.sealed_next && end.keys.live().is_some() {
            end.resume.sealed_next = false;
            end.sealed_max = None;
        }
        end.resume
            .handle_timeout(&mut end.keys, &mut self.random, Time::ZERO)
            .unwrap()
            .probe
    }

    fn suspend(&mut self, end: &mut End) {
        if self.is(Mutation::SuspendKeepsNumber) {
            end.keys.erase_live();
            end.keys.own.1.0[1] += 1;
            end.keys.make_next();
            end.resume.answered = false;
            end.resume.next_changed();
            end.resume.arm(&end.keys, &mut self.random, Time::ZERO);
            end.resume.ask_due = true;
            return;
        }
        end.resume
            .suspend(
                &mut end.keys,
                Reason::Suspicion,
                &mut self.random,
                Time::ZERO,
            )
            .unwrap();
    }

    /// Puts every H that is due on the network.
    pub(super) fn hellos(&mut self, world: &mut World, side: Side) {
        let end = world.end(side);
        let here = place(end.version);
        while let Some((hello, to)) = end.resume.poll_hello(&end.keys, &here) {
            let message = Message::Hello {
                from: side,
                own: (hello.own, hello.own_nonce),
                seen: (hello.seen, hello.seen_nonce),
                ask: hello.ask,
                version: end.version,
            };
            let to = match to {
                HelloTo::Everywhere(_) => None,
                HelloTo::At(location) => Some(location),
            };
            self.sent.push(Flight {
                message,
                to,
                eliciting: false,
            });
        }
    }

    /// Seals one packet, if the rules let it go.
    pub(super) fn send(
        &mut self,
        world: &mut World,
        side: Side,
        eliciting: bool,
    ) -> Result<(), Found> {
        let hasty = self.is(Mutation::SwitchBeforeAnswer);
        let gives_up = self.is(Mutation::GiveUpAnswered);
        let known = world.end(other(side)).keys.peer().0;
        let end = world.end(side);
        let mut sending = end.resume.send_under(&end.keys);
        let attached = matches!(sending, Sending::Live(_));
        if hasty && attached && !end.settled() {
            sending = Sending::Next(end.resume.answer_loc.clone());
        }
        if gives_up && end.resume.confirm_expired && end.keys.live().is_some() {
            sending = Sending::Live(end.resume.live_loc.clone());
        }
        let (which, to) = match sending {
            Sending::Nothing => return Ok(()),
            Sending::Live(to) => (Which::Live, to),
            Sending::Next(to) => {
                if known < end.keys.own().0 {
                    return Err("sealed under a pair that the peer cannot know");
                }
                (Which::Next, to)
            }
            Sending::Early(to) => (Which::Next, to),
        };
        let set = match which {
            Which::Live => end.keys.live,
            Which::Next => end.keys.next,
        };
        let set = set.ok_or("sealed without keys")?;
        end.resume.sealed(which);
        end.sealed_max = end.sealed_max.max(Some(set.pair));
        self.sent.push(Flight {
            message: Message::Packet {
                from: side,
                pair: set.pair,
                nonces: set.nonces,
                version: end.version,
            },
            to: Some(to),
            eliciting,
        });
        Ok(())
    }

    /// Hands a message to its receiver; `prompt` also sends what should follow at once.
    pub(super) fn deliver(
        &mut self,
        world: &mut World,
        message: Message,
        prompt: bool,
    ) -> Result<bool, Found> {
        match message {
            Message::Hello { from, .. } => {
                let to = other(from);
                let send_now = self.deliver_hello(world, message);
                self.hellos(world, to);
                if prompt && send_now {
                    self.send(world, to, true)?;
                }
                Ok(false)
            }
            Message::Packet {
                from,
                pair,
                nonces,
                version,
            } => {
                let to = other(from);
                let opened = self.open(world.end(to), pair, nonces, version)?;
                if prompt && opened.is_some_and(|opened| opened.reply) {
                    self.send(world, to, true)?;
                }
                Ok(opened.is_some())
            }
        }
    }

    fn deliver_hello(&mut self, world: &mut World, message: Message) -> bool {
        let Message::Hello {
            from,
            own,
            seen,
            ask,
            version,
        } = message
        else {
            return false;
        };
        let end = world.end(other(from));
        let mut hello = Hello {
            seq: version + 1,
            own: own.0,
            own_nonce: own.1,
            seen: seen.0,
            seen_nonce: seen.1,
            ask,
            location: place(version),
            reason: Reason::Other,
            hints: Vec::new(),
        };
        if self.ignores(end) {
            return false;
        }
        if self.is(Mutation::AnyHelloAnswers) {
            (hello.seen, hello.seen_nonce) = end.keys.own();
        }
        let known = end.resume.seq_in;
        // An H of the same location version may be any younger one.
        end.resume.seq_in = known.saturating_sub(1);
        end.resume.limiter = Limiter::new(Time::ZERO);
        let outcome = end
            .resume
            .handle_hello(&mut end.keys, &hello, &mut self.random, Time::ZERO)
            .unwrap();
        match outcome {
            HelloOutcome::Dropped(why) => {
                end.resume.seq_in = known;
                if why == Dropped::Old && self.is(Mutation::AcceptLowerNumber) {
                    end.keys.peer = own;
                    end.keys.make_next();
                }
                false
            }
            HelloOutcome::Accepted { send_now, renewed } => {
                if self.is(Mutation::HelloRedirects) {
                    end.resume.live_loc = hello.location;
                }
                if renewed && self.is(Mutation::CommitOnHello) {
                    end.resume.opened(&mut end.keys, Which::Next, None, false);
                }
                send_now
            }
        }
    }

    fn ignores(&self, end: &End) -> bool {
        let open = !end.settled() && !end.resume.answered;
        (self.is(Mutation::WinnerRule) && end.keys.side == Side::A && open)
            || (self.is(Mutation::AnswerOnlySuspended) && end.keys.live().is_some())
    }

    fn open(
        &mut self,
        end: &mut End,
        pair: Pair,
        nonces: (ResumeNonce, ResumeNonce),
        version: u64,
    ) -> Result<Option<Opened>, Found> {
        let fits = |set: &Set| set.pair == pair && set.nonces == nonces;
        if end.keys.stale.as_ref().is_some_and(fits) {
            return Err("a packet of an erased pair was opened");
        }
        let which = if end.keys.live.as_ref().is_some_and(fits) {
            Which::Live
        } else if end.keys.next.as_ref().is_some_and(fits) {
            Which::Next
        } else {
            return Ok(None);
        };
        let old = end.keys.live;
        let mut here = Here {
            h_seq: version + 1,
            location: place(version),
        };
        let set = match which {
            Which::Live => end.keys.live.as_mut(),
            Which::Next => end.keys.next.as_mut(),
        };
        let set = set.ok_or("opened without keys")?;
        let mut highest = set.highest.is_none_or(|highest| version >= highest);
        set.highest = set.highest.max(Some(version));
        if self.is(Mutation::OlderLocation) {
            highest = true;
            here.h_seq = u64::MAX;
            end.resume.live_loc_seq = 0;
        }
        let opened = end
            .resume
            .opened(&mut end.keys, which, Some(&here), highest);
        if opened.committed && self.is(Mutation::OldKeysStay) {
            end.keys.stale = old;
        }
        Ok(Some(opened))
    }
}
