//! Whole sessions in memory: two cores, joined by buffers, in virtual time. What it costs to seal, frame,
//! acknowledge, open and deliver, without the kernel.

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use muses::cloak::neighbours::Link;
use muses::core::{ChannelKey, Cloak, Core, Deliver, Event, Joined, Settings};
use muses::limits::{ACK_DELAY, ACK_EVERY, PACKET_PLAIN_MAX};
use muses::name::Identity;
use muses::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
use muses::random::Random;
use muses::session::{KeyUse, Options};
use muses::srm::acks::AckPolicy;
use muses::srm::budget::Budget;
use muses::ssm::schedule::Secret;
use muses::ssm::suite::Suite;
use muses::time::{Calendar, Time};
use muses::wire::target::Target;
use zeroize::Zeroizing;

/// Bytes of one bulk transfer.
const BULK: u64 = 4 << 20;
/// Bytes that go there and back as a keystroke would.
const SMALL: u64 = 64;
/// Bytes that a link takes at once.
const TURN: usize = 128 << 10;
/// Virtual time that bytes take from one core to the other.
const LATENCY: Duration = Duration::from_micros(50);
/// Steps after which a world that has not done its work is broken.
const STEPS_MAX: u32 = 1_000_000;

/// Counts what arrives.
#[derive(Default)]
struct Application {
    got: u64,
}

impl Deliver for Application {
    fn deliver(&mut self, _: ChannelKey, bytes: &[u8]) -> usize {
        self.got += bytes.len() as u64;
        bytes.len()
    }
}

/// A core, its only link and its only channel.
struct Node {
    core: Core,
    link: Option<Link>,
    channel: Option<ChannelKey>,
    application: Application,
    arriving: Vec<u8>,
}

/// Two nodes with a link between them.
struct World {
    nodes: [Node; 2],
    now: Time,
}

fn party(seed: u16) -> Arc<LocalParty> {
    let [low, high] = seed.to_le_bytes();
    let bytes = |salt: u8| {
        let mut bytes = [low ^ salt; 32];
        bytes[1] = high;
        bytes
    };
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes(bytes(0x55));
    let identity = Identity::from_seed(&bytes(0));
    let overlay = OverlayId::of("bench");
    Arc::new(LocalParty::new(identity, key, terms, [low; 16], overlay))
}

fn node(party: &Arc<LocalParty>, number: u64, suite: Suite) -> Node {
    let settings = Settings {
        suites: vec![suite],
        session: Options {
            acks: AckPolicy {
                every: ACK_EVERY,
                delay: ACK_DELAY,
            },
            budget: Budget::new(512 << 20),
            max_suspend: None,
            max_j: None,
            key_use: KeyUse::default(),
        },
        open_timeout: Duration::from_secs(30),
        psk: Zeroizing::new([0; 32]),
        cloak: Cloak::default(),
    };
    let random = Random::from_number(number);
    Node {
        core: Core::new(Arc::clone(party), settings, random, Calendar(1_000_000)),
        link: None,
        channel: None,
        application: Application::default(),
        arriving: Vec::new(),
    }
}

impl World {
    /// Two nodes with an open channel.
    fn new(suite: Suite) -> Self {
        let far = party(2);
        let node = node(&far, 2, suite);
        Self::with(1, suite, node, &far, Time::ZERO)
    }

    /// The same, after so many others have opened a session to the far one, each by a link of its own.
    fn in_a_crowd(others: u16) -> Self {
        let (suite, party) = (Suite::Aes256Gcm, party(2));
        let mut far = node(&party, 2, suite);
        let mut now = Time::ZERO;
        for other in 0..others {
            let world = Self::with(3 + other, suite, far, &party, now);
            now = world.now;
            [_, far] = world.nodes;
            far.channel = None;
        }
        Self::with(1, suite, far, &party, now)
    }

    /// A new node with an open channel to this one.
    fn with(seed: u16, suite: Suite, far: Node, far_party: &Arc<LocalParty>, now: Time) -> Self {
        let near_party = party(seed);
        let (near, far_party) = (&near_party, far_party);
        let mut world = Self {
            nodes: [node(near, u64::from(seed), suite), far],
            now,
        };
        let far = far_party;
        for (side, (own, other)) in [(near, far), (far, near)].into_iter().enumerate() {
            let keys = [[1; 32], [2; 32]];
            let joined = Joined {
                peer: other.name(),
                static_public: other.static_key().public(),
                serial: other.certificate().terms.serial,
                boot: other.boot_id(),
                send_key: Secret::from_bytes(keys[side].into()),
                receive_key: Secret::from_bytes(keys[1 - side].into()),
                dialled: side == 0,
                endpoint: "bench".to_owned(),
                shortcut: false,
                taken: true,
            };
            assert_ne!(own.name(), other.name());
            world.nodes[side].link = world.nodes[side].core.link_up(joined, world.now);
        }
        let target = Target::Loopback(80);
        let now = world.now;
        world.nodes[0]
            .core
            .request(vec![far.name()], target, 4242, now);
        world.run(|world| world.nodes.iter().all(|node| node.channel.is_some()));
        world
    }

    /// Steps until `done`.
    fn run(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("the session stands still");
    }

    /// Moves what there is from each side to the other, once.
    fn step(&mut self) {
        let now = self.now;
        let [near, far] = &mut self.nodes;
        near.pull(&mut far.arriving, now);
        far.pull(&mut near.arriving, now);
        self.now += LATENCY;
        let now = self.now;
        for node in &mut self.nodes {
            let link = node.link.expect("the link is up");
            let used = node
                .core
                .receive(link, &mut node.arriving, &mut node.application, now)
                .expect("the link is whole");
            node.arriving.drain(..used);
            if node.core.poll_timeout() <= now {
                node.core.handle_timeout(now);
            }
            node.act(now);
        }
    }

    /// Sends `count` bytes from one side; steps until the other has them.
    fn send(&mut self, side: usize, count: u64) {
        let goal = self.nodes[1 - side].application.got + count;
        let mut left = count;
        for _ in 0..STEPS_MAX {
            if self.nodes[1 - side].application.got >= goal {
                return;
            }
            let now = self.now;
            left -= self.nodes[side].write(left, now);
            self.step();
        }
        panic!("the session stands still");
    }
}

impl Node {
    /// Gives the link what this side has to say.
    fn pull(&mut self, to: &mut Vec<u8>, now: Time) {
        let link = self.link.expect("the link is up");
        self.core
            .pull(link, to, TURN, PACKET_PLAIN_MAX, now)
            .expect("the link is up");
    }

    /// Does what a driver would do about the core's events.
    fn act(&mut self, now: Time) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Incoming(key, ..) => {
                    self.channel = Some(key);
                    self.core.answer(key, Ok(()), now);
                }
                Event::Assigned(_, key) => self.channel = Some(key),
                Event::Suspended(..) | Event::Reset(..) | Event::LinkDead(_) => {
                    panic!("{event:?}")
                }
                _ => {}
            }
        }
    }

    /// Writes up to `count` bytes as far as there is room; says how many.
    fn write(&mut self, count: u64, now: Time) -> u64 {
        let key = self.channel.expect("the channel is open");
        let session = self.core.session(key.session).expect("the session is up");
        let mut left = count;
        while left > 0 {
            let room = session.space(key.channel, now);
            let len = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if len == 0 {
                break;
            }
            // As a read from a socket would.
            room[..len].fill(0x5a);
            session.written(key.channel, len);
            left -= len as u64;
        }
        self.core.flush(now);
        count - left
    }
}

/// Suites, by name.
const SUITES: [Suite; 3] = [
    Suite::Aes256Gcm,
    Suite::Chacha20Poly1305,
    Suite::PaperAes128CtrHmacSha1,
];

#[divan::bench(args = SUITES)]
fn bulk(bencher: Bencher<'_, '_>, suite: Suite) {
    let mut world = World::new(suite);
    // The window has grown and the round trip is known.
    world.send(0, 8 * BULK);
    bencher
        .counter(BytesCount::new(BULK))
        .bench_local(|| world.send(0, BULK));
}

#[divan::bench(args = SUITES)]
fn there_and_back(bencher: Bencher<'_, '_>, suite: Suite) {
    let mut world = World::new(suite);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        world.send(0, SMALL);
        world.send(1, SMALL);
    });
}

/// A keystroke to a node that has sessions with so many others.
#[divan::bench(args = [0, 100, 1_000])]
fn there_and_back_in_a_crowd(bencher: Bencher<'_, '_>, others: u16) {
    let mut world = World::in_a_crowd(others);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        world.send(0, SMALL);
        world.send(1, SMALL);
    });
}

#[divan::bench]
fn handshake_and_first_channel() {
    World::new(Suite::Aes256Gcm);
}
