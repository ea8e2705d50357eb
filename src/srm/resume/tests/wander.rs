//! Long random runs with real counters, nonces, encodings and timers, then a fair network.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::world::{World, other, place, version_of};
use crate::random::Random;
use crate::srm::resume::{Hello, HelloOutcome, HelloTo, Here, Keys, Reason, Sending, Which};
use crate::ssm::schedule::{Pair, ResumeNonce, Side};
use crate::time::Time;
use crate::wire::location::Location;

#[derive(Clone, Debug)]
enum Body {
    Hello(Vec<u8>),
    Packet(Packet),
}

#[derive(Clone, Debug)]
struct Packet {
    pair: Pair,
    nonces: (ResumeNonce, ResumeNonce),
    number: u64,
    here: Option<Here>,
    ack: Option<(Pair, u64)>,
    eliciting: bool,
}

#[derive(Clone, Debug)]
struct Message {
    from: Side,
    /// None: wherever the receiver is.
    to: Option<Location>,
    body: Body,
}

struct Run {
    world: World,
    random: Random,
    now: Time,
    /// All messages ever sent.
    sent: Vec<Message>,
    /// Sender, nonces and number of every packet ever sealed, and opened.
    sealed: BTreeSet<(Side, Pair, (ResumeNonce, ResumeNonce), u64)>,
    opened: BTreeSet<(Side, Pair, (ResumeNonce, ResumeNonce), u64)>,
    heres: BTreeMap<(Side, Pair, u64), u64>,
    last_opened: [Option<(Pair, u64)>; 2],
    commits: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let mut world = World::new(random.below(2) == 0, true);
        for end in &mut world.ends {
            let open = random.below(2) == 0;
            end.resume.set_channels_open(open, Time::ZERO);
            let rtt = Duration::from_millis(random.below(400));
            end.resume.set_rtt(rtt);
        }
        Self {
            world,
            random,
            now: Time::ZERO,
            sent: Vec::new(),
            sealed: BTreeSet::new(),
            opened: BTreeSet::new(),
            heres: BTreeMap::new(),
            last_opened: [None; 2],
            commits: 0,
        }
    }

    fn hellos(&mut self, side: Side) {
        let end = self.world.end(side);
        let here = place(end.version);
        while let Some((hello, to)) = end.resume.poll_hello(&end.keys, &here) {
            let to = match to {
                HelloTo::Everywhere(_) => None,
                HelloTo::At(location) => Some(location),
            };
            let body = Body::Hello(hello.encode());
            self.sent.push(Message {
                from: side,
                to,
                body,
            });
        }
    }

    fn send(&mut self, side: Side, eliciting: bool) {
        let ack = self.last_opened[side as usize];
        let end = self.world.end(side);
        let (which, to) = match end.resume.send_under(&end.keys) {
            Sending::Nothing => return,
            Sending::Live(to) => (Which::Live, to),
            Sending::Next(to) | Sending::Early(to) => (Which::Next, to),
        };
        let here = end.resume.here(&end.keys, &place(end.version));
        let set = match which {
            Which::Live => end.keys.live.as_mut(),
            Which::Next => end.keys.next.as_mut(),
        };
        let set = set.expect("keys to send under");
        let (pair, nonces, number) = (set.pair, set.nonces, set.sealed);
        set.sealed += 1;
        end.resume.sealed(which);
        end.sealed_max = end.sealed_max.max(Some(pair));
        let fresh = self.sealed.insert((side, pair, nonces, number));
        assert!(fresh, "packet number used twice");
        if let Some(here) = &here {
            self.heres.insert((side, pair, number), here.h_seq);
        }
        self.sent.push(Message {
            from: side,
            to: Some(to),
            body: Body::Packet(Packet {
                pair,
                nonces,
                number,
                here,
                ack,
                eliciting,
            }),
        });
    }

    fn deliver(&mut self, message: &Message, prompt: bool) {
        let to = other(message.from);
        match &message.body {
            Body::Hello(bytes) => {
                let hello = Hello::decode(bytes).expect("own encoding");
                let end = self.world.end(to);
                let outcome = end
                    .resume
                    .handle_hello(&mut end.keys, &hello, &mut self.random, self.now)
                    .expect("numbers left");
                self.hellos(to);
                let now = matches!(outcome, HelloOutcome::Accepted { send_now: true, .. });
                if now && prompt {
                    self.send(to, true);
                }
            }
            Body::Packet(packet) => self.open(to, packet, prompt),
        }
    }

    fn open(&mut self, to: Side, packet: &Packet, prompt: bool) {
        let end = self.world.end(to);
        let fits = |pair, nonces| (pair, nonces) == (packet.pair, packet.nonces);
        let keys = &mut end.keys;
        let live = keys.live.as_mut().filter(|set| fits(set.pair, set.nonces));
        let next = keys.next.as_mut().filter(|set| fits(set.pair, set.nonces));
        let (which, set) = match (live, next) {
            (Some(set), _) => (Which::Live, set),
            (None, Some(set)) => (Which::Next, set),
            (None, None) => return,
        };
        if !self
            .opened
            .insert((to, packet.pair, packet.nonces, packet.number))
        {
            return;
        }
        let highest = set.highest.is_none_or(|highest| packet.number > highest);
        set.highest = set.highest.max(Some(packet.number));
        self.last_opened[to as usize] = Some((packet.pair, packet.number));
        let opened = end
            .resume
            .opened(&mut end.keys, which, packet.here.as_ref(), highest);
        assert!(
            !opened.committed || packet.here.is_some(),
            "commit without HERE"
        );
        self.commits += usize::from(opened.committed);
        if let Some((pair, number)) = packet.ack
            && let Some(h_seq) = self.heres.get(&(to, pair, number))
        {
            end.resume.here_acked(&end.keys, pair, *h_seq);
        }
        if prompt && (packet.eliciting || opened.reply) {
            self.send(to, opened.reply);
        }
    }

    fn expire(&mut self, side: Side) {
        let now = self.now;
        let end = self.world.end(side);
        let outcome = end
            .resume
            .handle_timeout(&mut end.keys, &mut self.random, now)
            .expect("numbers left");
        if outcome.probe {
            self.send(side, true);
        }
        self.hellos(side);
    }

    /// Anything that can happen, at random.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.below(700));
        let side = if self.random.below(2) == 0 {
            Side::A
        } else {
            Side::B
        };
        let now = self.now;
        let choice = self.random.below(40);
        let random = &mut self.random;
        let end = self.world.end(side);
        let (resume, keys) = (&mut end.resume, &mut end.keys);
        let done = match choice {
            0 => resume.start(keys, Reason::Suspicion, random, now),
            1 => resume.suspend(keys, Reason::Suspicion, random, now),
            2 => {
                end.version = random.number();
                resume.event(keys, Reason::AddressChange, random, now)
            }
            3 => resume.event(keys, Reason::LinkUp, random, now),
            4 => {
                let pair = keys
                    .created
                    .iter()
                    .nth(usize::try_from(random.below(4)).unwrap())
                    .copied();
                let pair = pair.unwrap_or_else(|| keys.next());
                resume.carrier_closed(keys, pair, random, now).map(drop)
            }
            5..10 => {
                self.expire(side);
                Ok(())
            }
            10..16 => {
                self.send(side, true);
                Ok(())
            }
            _ => {
                self.deliver_any();
                Ok(())
            }
        };
        done.expect("numbers left");
        self.hellos(side);
        assert_eq!(self.world.check(), Ok(()));
    }

    /// Any message ever sent; mostly a young one.
    fn deliver_any(&mut self) {
        let count = self.sent.len() as u64;
        if count == 0 {
            return;
        }
        let back = match self.random.below(4) {
            0 => self.random.below(count),
            _ => self.random.below(count.min(4)),
        };
        let message = self.sent[usize::try_from(count - 1 - back).unwrap()].clone();
        self.deliver(&message, false);
    }

    /// A fair network with real timers and a packet a second each way; `replay` sets old messages
    /// free now and then.
    fn settle(&mut self, replay: bool) {
        let deadline = self.now + Duration::from_secs(600);
        let mut arrived = self.sent.len();
        let mut traffic_at = self.now;
        while !self.world.settled() {
            assert!(self.now < deadline, "does not settle");
            while arrived < self.sent.len() {
                let message = self.sent[arrived].clone();
                arrived += 1;
                self.now += Duration::from_millis(5);
                let there = self.world.end(other(message.from)).version;
                if message.to.as_ref().is_none_or(|to| version_of(to) == there) {
                    self.deliver(&message, true);
                }
                if replay && self.random.below(8) == 0 {
                    self.deliver_any();
                }
                assert_eq!(self.world.check(), Ok(()));
            }
            let timers = self.world.ends.iter();
            let due = timers.filter_map(|end| end.resume.poll_timeout()).min();
            let at = due.map_or(traffic_at, |(at, _)| at.min(traffic_at));
            self.now = self.now.max(at);
            for side in [Side::A, Side::B] {
                self.expire(side);
                if self.now >= traffic_at {
                    self.send(side, true);
                }
            }
            if self.now >= traffic_at {
                traffic_at = self.now + Duration::from_secs(1);
            }
        }
    }

    /// Every message ever sent comes once more.
    fn replay_all(&mut self) {
        for message in self.sent.clone() {
            self.deliver(&message, false);
            assert!(self.world.settled(), "moved by {message:?}");
        }
    }
}

#[test]
fn random_runs_stay_safe_settle_and_stay_settled() {
    let mut commits = 0;
    for seed in 0..150 {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..3 {
            for _ in 0..120 {
                run.step();
            }
            run.settle(seed % 2 == 0);
            run.replay_all();
        }
        commits += run.commits;
    }
    assert!(commits > 1_000, "{commits}");
}
