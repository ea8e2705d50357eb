//! The core thread by itself: what it logs, what ends it, what it tells of an ending.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;
use zeroize::Zeroizing;

use super::*;
use crate::core::{Cloak, Settings};
use crate::lcm::local::{Answer, LocalStream};
use crate::lcm::pump::{Pump, Why};
use crate::lcm::stream::Stream;
use crate::lcm::table::Connection;
use crate::link::frames::FrameSealer;
use crate::name::Identity;
use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
use crate::random::Random;
use crate::session::{EndReason, KeyUse, Options};
use crate::srm::acks::AckPolicy;
use crate::srm::budget::Budget;
use crate::ssm::schedule::Secret;
use crate::ssm::suite::Suite;
use crate::time::Calendar;
use crate::wire::frame::ChannelId;
use crate::wire::link::Head;

fn party(seed: u8) -> LocalParty {
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([seed ^ 0x55; 32]);
    let identity = Identity::from_seed(&[seed; 32]);
    LocalParty::new(identity, key, terms, [1; 16], OverlayId::of("test"))
}

fn core() -> Core {
    let settings = Settings {
        suites: vec![Suite::Chacha20Poly1305],
        session: Options {
            acks: AckPolicy {
                every: 16,
                delay: Duration::from_millis(5),
            },
            budget: Budget::new(1 << 20),
            max_suspend: None,
            max_j: None,
            key_use: KeyUse::default(),
        },
        open_timeout: Duration::from_secs(30),
        psk: Zeroizing::new([0; 32]),
        cloak: Cloak::default(),
    };
    let random = Random::from_number(1);
    Core::new(Arc::new(party(1)), settings, random, Calendar(1_000_000))
}

fn surroundings() -> Surroundings {
    Surroundings {
        serve: Box::new(|_, _, _| {}),
        want: Box::new(|_| {}),
        dial: Box::new(|_, _, _| {}),
        resumed: Box::new(|| {}),
        woken: Box::new(|| {}),
        published: Box::new(|_| {}),
        seen: Box::new(|_, _| {}),
        show: Box::new(|name| name.short()),
    }
}

fn shell() -> Rc<Shell> {
    Rc::new(Shell::new(core(), Clock::start(), Table::default()))
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn joined(seed: u8, key: u8) -> Joined {
    let peer = party(seed);
    Joined {
        peer: peer.name(),
        static_public: peer.static_key().public(),
        serial: 1,
        boot: peer.boot_id(),
        send_key: Secret::from_bytes([key; 32].into()),
        receive_key: Secret::from_bytes([key ^ 0x80; 32].into()),
        dialled: false,
        endpoint: "test".to_owned(),
        shortcut: false,
        taken: true,
    }
}

/// Two ends of a connection, both non-blocking.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_nonblocking(true).unwrap();
    }
    (near, far)
}

/// A link whose other end has shown that it takes it.
async fn linked(own: &Rc<Loop>, seed: u8, key: u8) -> (Link, TcpStream) {
    let (near, mut far) = connection();
    own.link(joined(seed, key), near, None, None);
    let mut frame = Vec::new();
    let secret = Secret::from_bytes([key ^ 0x80; 32].into());
    FrameSealer::new(secret)
        .seal(&Head::Ping(1), &mut frame)
        .unwrap();
    far.write_all(&frame).unwrap();
    let link = *own.links.borrow().keys().last().unwrap();
    while !own.links.borrow()[&link].heard.get() {
        tokio::task::yield_now().await;
    }
    (link, far)
}

#[tokio::test]
async fn a_peer_that_links_again_and_again_gets_thirty_lines() {
    let log = Log::default();
    let writer = tracing_subscriber::fmt().with_writer(log.clone());
    let _logging = tracing::subscriber::set_default(writer.finish());
    LocalSet::new()
        .run_until(async {
            let own = Loop::new(shell(), surroundings());
            for key in 0..50 {
                let (link, _far) = linked(&own, 2, key).await;
                own.end_link(link, "test", Reason::CarrierClosed);
            }
            linked(&own, 3, 60).await;
        })
        .await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = |name: Name| {
        text.lines()
            .filter(|line| line.contains(&name.short()))
            .count()
    };
    assert_eq!(lines(party(2).name()), 30, "{text}");
    assert_eq!(lines(party(3).name()), 1, "{text}");
}

#[tokio::test]
async fn dialers_hear_that_the_machine_woke_up() {
    let (sender, mut woken) = mpsc::channel(1);
    let surroundings = Surroundings {
        woken: Box::new(move || sender.try_send(()).unwrap()),
        ..surroundings()
    };
    Loop::new(shell(), surroundings).woke_up(Duration::from_secs(6));
    assert_eq!(woken.recv().await, Some(()));
}

#[tokio::test]
async fn the_core_thread_ends_when_a_part_of_it_does() {
    let (inlets, queues) = inlets();
    let surroundings = Surroundings {
        published: Box::new(|_| panic!("on purpose")),
        ..surroundings()
    };
    let clock = Clock::start();
    let mut core = core();
    // What it says of itself makes the callback panic, in the task that handles events.
    core.publish(Vec::new(), clock.now());
    let engine = Engine::start(core, clock, inlets, queues, surroundings).unwrap();
    let ended = async {
        while !engine.has_ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, ended).await.unwrap();
}

/// What a pump tells of a connection whose channel was in one state, and is cut.
async fn cut(fate: Fate, code: ResetCode, answer: Answer) -> Why {
    let key = ChannelKey {
        session: 1,
        channel: ChannelId(1),
    };
    let (ours, _application) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let stream = Stream::register(LocalStream::Unix(ours)).unwrap();
    let connection = Arc::new(Connection::new(stream, fate));
    let shell = shell();
    shell.table().insert(key, Arc::clone(&connection));
    connection.decide(Fate::Cut(code));
    let pump = Pump::new(shell, connection, key, Vec::new());
    pump.run(answer).await.why
}

#[tokio::test]
async fn who_asked_hears_why_a_channel_was_cut_before_it_was_open() {
    for (code, failure) in [
        (ResetCode::Forbidden, OpenFailure::Denied),
        (ResetCode::Connection, OpenFailure::Cut),
        (ResetCode::Killed, OpenFailure::Cut),
        (
            ResetCode::SessionEnded(EndReason::PeerLostState),
            OpenFailure::Cut,
        ),
    ] {
        let (opened, mut told) = oneshot::channel();
        let (ended, _ending) = oneshot::channel();
        let answer = Answer::Report { opened, ended };
        let local = LocalSet::new();
        let why = local.run_until(cut(Fate::Opening, code, answer)).await;
        assert_eq!(why, Why::Failed(failure));
        assert_eq!(told.try_recv(), Ok(Err(failure)));
    }
}

#[tokio::test]
async fn the_end_of_a_connection_tells_what_cut_it() {
    let codes = [
        (ResetCode::Connection, "connection reset"),
        (ResetCode::Killed, "ended by the operator"),
        (ResetCode::Forbidden, "no longer allowed"),
        (
            ResetCode::SessionEnded(EndReason::PeerLostState),
            "session lost: the peer restarted",
        ),
        (
            ResetCode::SessionEnded(EndReason::GivenUp),
            "session lost: suspended for longer than max_suspend",
        ),
        (
            ResetCode::SessionEnded(EndReason::MemoryPressure),
            "session lost: memory is used up, and it was suspended for longest (on_memory_pressure)",
        ),
    ];
    for (code, text) in codes {
        let local = LocalSet::new();
        let why = local.run_until(cut(Fate::Open, code, Answer::Silent)).await;
        assert_eq!(why.to_string(), text);
    }
}
