mod burst;
mod clock;
mod cookies;
mod denied;
mod doubt;
mod hostile;
mod links;
mod memory;
mod relays;
mod relink;
mod root;
mod shortcuts;
mod strangers;
mod suspension;
mod wander;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::name::Identity;
use crate::name::certificate::{OverlayId, StaticKey, Terms};
use crate::session::{EndReason, ResetCode};
use crate::srm::acks::AckPolicy;
use crate::srm::budget::Budget;
use crate::srm::resume::Reason;
use crate::ssm::ledger;
use crate::ssm::schedule::Secret;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

const RTT: Duration = Duration::from_millis(20);
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes whatever comes, as an application that reads.
#[derive(Default)]
struct Application(BTreeMap<ChannelKey, Vec<u8>>);

impl Deliver for Application {
    fn deliver(&mut self, key: ChannelKey, bytes: &[u8]) -> usize {
        self.0.entry(key).or_default().extend_from_slice(bytes);
        bytes.len()
    }
}

struct Node {
    core: Core,
    application: Application,
    link: Option<LinkNumber>,
    arriving: Vec<u8>,
    events: VecDeque<Event>,
    budget: Budget,
    /// How long its machine has slept: its time stood still meanwhile.
    slept: Duration,
}

/// Two nodes and at most one link between them, in virtual time.
struct World {
    nodes: [Node; 2],
    now: Time,
    /// Bytes vanish on the link.
    silent: bool,
    keys: u8,
}

/// Whatever a test is about, no packet number may have been used twice (I3).
impl Drop for World {
    fn drop(&mut self) {
        let sealed = ledger::end();
        if !std::thread::panicking() {
            sealed.unwrap();
        }
    }
}

fn party(seed: u8, boot: u8) -> LocalParty {
    let identity = Identity::from_seed(&[seed; 32]);
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([seed ^ 0x55; 32]);
    LocalParty::new(identity, key, terms, [boot; 16], OverlayId::of("test"))
}

fn node(seed: u8, boot: u8) -> Node {
    node_with(seed, boot, 64 << 20)
}

fn node_of(seed: u8, boot: u8, cloak: Cloak) -> Node {
    node_made(seed, boot, 64 << 20, cloak)
}

fn node_with(seed: u8, boot: u8, memory: u64) -> Node {
    node_made(seed, boot, memory, Cloak::default())
}

fn node_made(seed: u8, boot: u8, memory: u64, cloak: Cloak) -> Node {
    let budget = Budget::new(memory);
    let settings = Settings {
        suites: vec![Suite::Chacha20Poly1305],
        session: Options {
            acks: AckPolicy {
                every: 16,
                delay: Duration::from_millis(5),
            },
            budget: budget.clone(),
            max_suspend: None,
            max_j: None,
            key_use: crate::session::KeyUse::default(),
        },
        open_timeout: OPEN_TIMEOUT,
        psk: Zeroizing::new([0; 32]),
        cloak,
    };
    let random = Random::from_number(u64::from(seed) << 8 | u64::from(boot));
    Node {
        core: Core::new(
            Arc::new(party(seed, boot)),
            settings,
            random,
            Calendar(1_000_000),
        ),
        application: Application::default(),
        link: None,
        arriving: Vec::new(),
        events: VecDeque::new(),
        budget,
        slept: Duration::ZERO,
    }
}

impl Node {
    /// Its own time.
    fn time(&self, now: Time) -> Time {
        Time::ZERO + now.since(Time::ZERO + self.slept)
    }

    /// Does what a driver would do about the core's events.
    fn act(&mut self, now: Time) {
        while let Some(event) = self.core.poll_event() {
            match &event {
                Event::LinkDead(link) => {
                    self.core.link_down(*link, now);
                    self.link.take_if(|own| own == link);
                }
                Event::Incoming(key, ..) => self.core.answer(*key, Ok(()), now),
                _ => {}
            }
            self.events.push_back(event);
        }
    }

    /// Writes as much of `bytes` as the channel takes now.
    fn write(&mut self, key: ChannelKey, bytes: &[u8], now: Time) -> usize {
        let session = self.core.session(key.session).unwrap();
        let room = session.space(key.channel, now);
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        session.written(key.channel, count);
        self.core.flush(now);
        count
    }
}

impl World {
    fn new() -> Self {
        ledger::begin();
        Self {
            nodes: [node(1, 1), node(2, 1)],
            now: Time::ZERO,
            silent: false,
            keys: 0,
        }
    }

    fn connect(&mut self) {
        self.keys += 1;
        let parties = [0, 1].map(|side: usize| Arc::clone(&self.nodes[side].core.me));
        for side in 0..2 {
            let other = 1 - side;
            let keys = [[self.keys; 32], [self.keys ^ 0x80; 32]];
            let joined = Joined {
                peer: parties[other].name(),
                static_public: parties[other].static_key().public(),
                serial: parties[other].certificate().terms.serial,
                boot: parties[other].boot_id(),
                send_key: Secret::from_bytes(keys[side].into()),
                receive_key: Secret::from_bytes(keys[other].into()),
                dialled: side == 0,
                endpoint: "test".to_owned(),
                shortcut: false,
                taken: true,
            };
            let node = &mut self.nodes[side];
            node.arriving.clear();
            node.link = node.core.link_up(joined, self.now);
        }
        self.silent = false;
    }

    fn disconnect(&mut self) {
        for node in &mut self.nodes {
            if let Some(link) = node.link.take() {
                node.core.link_down(link, self.now);
            }
        }
    }

    /// Moves bytes, timers and events until `span` has passed.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            for side in 0..2 {
                let mut out = Vec::new();
                let node = &mut self.nodes[side];
                if let Some(link) = node.link {
                    node.core
                        .pull(link, &mut out, 1 << 16, 4_000, self.now)
                        .unwrap();
                }
                if !self.silent {
                    self.nodes[1 - side].arriving.extend(out);
                }
            }
            self.now += RTT / 2;
            for node in &mut self.nodes {
                if let Some(link) = node.link {
                    let used = node
                        .core
                        .receive(link, &mut node.arriving, &mut node.application, self.now)
                        .unwrap();
                    node.arriving.drain(..used);
                }
                node.core.handle_timeout(self.now);
                node.act(self.now);
            }
        }
    }

    /// A long time in which nothing happens.
    fn leap(&mut self, span: Duration) {
        self.disconnect();
        self.now += span;
        self.connect();
    }

    fn open(&mut self) -> (ChannelKey, ChannelKey) {
        let now = self.now;
        let peer = self.nodes[1].core.name();
        self.nodes[0]
            .core
            .request(vec![peer], Target::Loopback(80), 4242, now);
        self.run(RTT * 5);
        let opened = self.nodes[0].events.iter().find_map(|event| match event {
            Event::Assigned(_, key) => Some(*key),
            _ => None,
        });
        let incoming = self.nodes[1]
            .events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Incoming(key, ..) => Some(*key),
                _ => None,
            });
        (opened.expect("assigned"), incoming.expect("incoming"))
    }

    /// Writes as much of `bytes` as the channel takes now.
    fn write(&mut self, side: usize, key: ChannelKey, bytes: &[u8]) -> usize {
        self.nodes[side].write(key, bytes, self.now)
    }

    fn finish(&mut self, side: usize, key: ChannelKey) {
        let now = self.now;
        self.nodes[side]
            .core
            .session(key.session)
            .unwrap()
            .finish(key.channel);
        self.nodes[side].core.flush(now);
    }

    fn got(&self, side: usize, key: ChannelKey) -> &[u8] {
        self.nodes[side]
            .application
            .0
            .get(&key)
            .map_or(&[], Vec::as_slice)
    }

    fn saw(&self, side: usize, what: impl Fn(&Event) -> bool) -> bool {
        self.nodes[side].events.iter().any(what)
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

#[test]
fn a_channel_carries_bytes_both_ways_and_closes_cleanly() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    assert_eq!(
        near.channel.port(),
        4242,
        "the paper's key travels in the id"
    );
    world.write(0, near, b"question");
    world.finish(0, near);
    world.run(RTT * 2);
    assert_eq!(world.got(1, far), b"question");
    assert!(
        world.nodes[1]
            .core
            .session(far.session)
            .unwrap()
            .is_read_out(far.channel)
    );
    world.write(1, far, b"answer after the end of the question");
    world.finish(1, far);
    world.run(RTT * 5);
    assert_eq!(world.got(0, near), b"answer after the end of the question");
    assert!(world.saw(
        0,
        |event| matches!(event, Event::Closed(key) if *key == near)
    ));
    assert!(world.saw(
        1,
        |event| matches!(event, Event::Closed(key) if *key == far)
    ));
    assert_eq!(
        world.nodes[0].budget.used() + world.nodes[1].budget.used(),
        0
    );
}

#[test]
fn a_transfer_goes_on_at_the_exact_byte_after_cuts_of_either_kind() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    let bytes = pattern(600_000);
    let mut written = 0;
    for round in 0..400_u32 {
        if !world.nodes[0]
            .core
            .session(near.session)
            .unwrap()
            .is_suspended()
        {
            written += world.write(0, near, &bytes[written..]);
        }
        match round % 20 {
            7 => world.disconnect(),
            9 if world.nodes[0].link.is_none() => world.connect(),
            15 if round > 200 => {
                world.silent = true;
                world.run(Duration::from_secs(5));
                world.disconnect();
                world.connect();
            }
            _ => {}
        }
        world.run(RTT);
    }
    while written < bytes.len() {
        written += world.write(0, near, &bytes[written..]);
        world.run(RTT);
    }
    world.finish(0, near);
    world.run(Duration::from_secs(2));
    assert!(world.got(1, far) == bytes, "bytes differ");
    assert!(world.saw(0, |event| matches!(event, Event::Suspended(..))));
    assert!(world.saw(0, |event| matches!(event, Event::Resumed(..))));
    let views = world.nodes[0].core.session_views(world.now);
    assert_eq!((views.len(), views[0].handshakes), (1, 1));
    assert!(views[0].resumes > 10);
}

#[test]
fn without_faults_no_byte_goes_twice() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    let bytes = pattern(300_000);
    let mut written = 0;
    while written < bytes.len() {
        written += world.write(0, near, &bytes[written..]);
        world.run(RTT);
    }
    world.run(RTT * 4);
    assert!(world.got(1, far) == bytes);
    let stats = world.nodes[0].core.session(near.session).unwrap().stats();
    assert_eq!(
        (stats.bytes_resent, stats.bytes_sent),
        (0, bytes.len() as u64)
    );
}

#[test]
fn a_peer_that_restarted_shows_as_a_reset_and_new_channels_work() {
    let mut world = World::new();
    world.connect();
    let (near, _) = world.open();
    world.write(0, near, b"lost");
    world.disconnect();
    world.nodes[1] = node(2, 9);
    world.nodes[0].events.clear();
    world.connect();
    world.run(Duration::from_secs(5));
    assert!(world.saw(
        0,
        |event| matches!(event, Event::Reset(key, _) if *key == near)
    ));
    assert!(!world.saw(0, |event| matches!(event, Event::Closed(_))));
    let (again, far) = world.open();
    world.write(0, again, b"anew");
    world.run(RTT * 2);
    assert_eq!(world.got(1, far), b"anew");
}

#[test]
fn a_request_without_a_path_waits_and_then_fails_honestly() {
    let mut world = World::new();
    let peer = world.nodes[1].core.name();
    let now = world.now;
    let ticket = world.nodes[0]
        .core
        .request(vec![peer], Target::Loopback(80), 1, now);
    world.run(Duration::from_secs(29));
    assert!(!world.saw(0, |event| matches!(event, Event::Unassigned(..))));
    world.run(Duration::from_secs(2));
    assert!(world.saw(0, |event| {
        matches!(event, Event::Unassigned(t, OpenFailure::NoPath) if *t == ticket)
    }));
}

#[test]
fn crossed_handshakes_leave_one_session_for_both() {
    let mut world = World::new();
    world.connect();
    let names = [0, 1].map(|side: usize| world.nodes[side].core.name());
    let now = world.now;
    for side in 0..2 {
        let peer = names[1 - side];
        world.nodes[side]
            .core
            .request(vec![peer], Target::Loopback(80), 7, now);
    }
    world.run(Duration::from_secs(2));
    for side in 0..2 {
        assert!(
            world.saw(side, |event| matches!(event, Event::Opened(_))),
            "side {side}"
        );
        assert_eq!(world.nodes[side].core.session_views(world.now).len(), 1);
    }
}

#[test]
fn keys_wear_out_without_a_pause_or_a_byte_sent_twice() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    for _ in 0..70 {
        world.write(0, near, b"tick");
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.got(1, far).len(), 280);
    let views = world.nodes[0].core.session_views(world.now);
    assert!(
        views[0].resumes >= 1,
        "ten minutes of activity bring a new pair"
    );
    assert!(!world.saw(0, |event| matches!(event, Event::Suspended(..))));
    let stats = world.nodes[0].core.session(near.session).unwrap().stats();
    assert_eq!(stats.bytes_resent, 0);
}

#[test]
fn a_session_outlives_a_renewed_certificate_and_ends_with_an_expired_one() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    let day = Duration::from_secs(24 * 3600);
    let until = 1_000_000 + 10 * 24 * 3600;
    // The near end knows a certificate of ten days; its peer has a newer one.
    let peer = world.nodes[1].core.name();
    let known = world.nodes[0].core.peers.get_mut(&peer).unwrap();
    known.not_after = Some(Calendar(until));
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 41),
        serial: 2,
    };
    world.nodes[1].core.me.renew(terms);
    world.leap(day * 10);
    world.run(Duration::from_secs(90));
    let known = &world.nodes[0].core.peers[&peer];
    assert_eq!(
        (known.serial, known.not_after),
        (Some(2), Some(terms.not_after))
    );
    world.write(0, near, b"goes on");
    world.run(RTT * 4);
    assert_eq!(world.got(1, far), b"goes on");
    assert!(!world.saw(0, |event| matches!(event, Event::Reset(..))));

    // One that shows no newer one in time is gone.
    let known = world.nodes[0].core.peers.get_mut(&peer).unwrap();
    known.not_after = Some(Calendar(until));
    world.leap(day * 2);
    world.run(Duration::from_secs(2));
    assert!(world.saw(0, |event| {
        matches!(event, Event::SessionDown(_, _, EndReason::Expired))
    }));
}

#[test]
fn who_may_not_take_part_any_more_loses_its_channels() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    let peer = world.nodes[0].core.name();
    let now = world.now;
    let links = world.nodes[1].core.expel(&BTreeSet::from([peer]), now);
    assert_eq!(links, world.nodes[1].link.into_iter().collect::<Vec<_>>());
    assert!(world.nodes[1].core.expel(&BTreeSet::new(), now).is_empty());
    let link = world.nodes[1].link.unwrap();
    let mut out = Vec::new();
    let core = &mut world.nodes[1].core;
    core.pull(link, &mut out, 1 << 16, 4_000, now).unwrap();
    world.nodes[1].act(now);
    assert!(world.saw(1, |event| {
        matches!(event, Event::Reset(key, ResetCode::Forbidden) if *key == far)
    }));
    // The peer hears of it before the link ends.
    let node = &mut world.nodes[0];
    let link = node.link.unwrap();
    node.core
        .receive(link, &mut out, &mut node.application, now)
        .unwrap();
    node.act(now);
    assert!(world.saw(
        0,
        |event| matches!(event, Event::Reset(key, _) if *key == near)
    ));
}

#[test]
fn a_node_that_stops_says_goodbye_for_its_sessions_before_its_links() {
    let mut world = World::new();
    world.connect();
    let (near, far) = world.open();
    let now = world.now;
    let core = &mut world.nodes[0].core;
    core.close(now);
    let (link, mut out) = (world.nodes[0].link.unwrap(), Vec::new());
    while world.nodes[0].core.link_wants_to_send(link, now) {
        let core = &mut world.nodes[0].core;
        core.pull(link, &mut out, 1 << 16, 4_000, now).unwrap();
        core.flush(now);
    }
    world.nodes[0].act(now);
    assert!(!world.nodes[0].core.has_channel(near));
    let node = &mut world.nodes[1];
    let link = node.link.unwrap();
    let end = node
        .core
        .receive(link, &mut out, &mut node.application, now);
    assert_eq!(end, Err(LinkEnd::Goodbye));
    node.core.link_down(link, now);
    node.act(now);
    assert!(world.saw(1, |event| {
        matches!(event, Event::SessionDown(_, _, EndReason::Goodbye))
    }));
    assert!(world.saw(
        1,
        |event| matches!(event, Event::Reset(key, _) if *key == far)
    ));
}
