use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream as Blocking,
    path::PathBuf,
    sync::Mutex,
};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::*;
use crate::control::client::{self, CallError};
use crate::control::overlay::{FoundStatus, HopStatus};
use crate::control::protocol::{Notice, Outcome};
use crate::control::service::{Kill, Unanswered};
use crate::control::socket::Access;
use crate::control::status::{SessionStatus, Status};
use crate::lcm::local::{Answer, Ending, LocalConnection, LocalStream};
use crate::name::{Identity, Name};
use crate::wire::failure::OpenFailure;
use crate::wire::target::{Host, Target};

/// A node that records what it is asked.
struct Fake {
    gate: mpsc::Sender<LocalConnection>,
    killed: Mutex<Vec<Kill>>,
}

impl Service for Fake {
    async fn status(&self) -> Status {
        let session = SessionStatus {
            peer: "gw".to_owned(),
            ..SessionStatus::default()
        };
        Status {
            sessions: vec![session; 5000],
            ..Status::default()
        }
    }

    async fn kill(&self, what: Kill) -> bool {
        self.killed.lock().unwrap().push(what);
        what == Kill::Session(1)
    }

    async fn reload(&self) -> Result<String, String> {
        Err("proxy.toml:3: no".to_owned())
    }

    fn choose(&self, host: &Host, port: u16) -> Result<(Vec<Name>, Target), OpenFailure> {
        if host.to_string() == "denied.example" {
            return Err(OpenFailure::Denied);
        }
        let via = Identity::from_seed(&[1; 32]).name();
        Ok((vec![via], Target::Address(host.clone(), port)))
    }

    async fn open(&self, connection: LocalConnection) -> bool {
        self.gate.send(connection).await.is_ok()
    }

    async fn lookup(&self, node: &str) -> Result<FoundStatus, Unanswered> {
        if node == "nobody" {
            return Err(nobody());
        }
        Ok(FoundStatus {
            name: node.to_owned(),
            ..FoundStatus::default()
        })
    }

    async fn trace(&self, node: &str, hops: mpsc::Sender<HopStatus>) -> Result<bool, Unanswered> {
        let steps = match node {
            "nobody" => return Err(nobody()),
            "gw" => 3,
            _ => 1,
        };
        for hop in 1..=steps {
            let hop = HopStatus {
                hop,
                ..HopStatus::default()
            };
            hops.send(hop).await.unwrap();
        }
        Ok(node == "gw")
    }
}

fn nobody() -> Unanswered {
    Unanswered {
        why: OpenFailure::UnknownName,
        message: "unknown".to_owned(),
    }
}

struct Room {
    _dir: tempfile::TempDir,
    places: Vec<PathBuf>,
    service: Arc<Fake>,
    gate: mpsc::Receiver<LocalConnection>,
    _server: JoinSet<io::Result<()>>,
}

fn room() -> Room {
    room_for(CONNECTIONS_MAX)
}

/// The same for so many callers at a time.
fn room_for(connections_max: usize) -> Room {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.sock");
    let (sender, gate) = mpsc::channel(8);
    let service = Arc::new(Fake {
        gate: sender,
        killed: Mutex::default(),
    });
    let socket = Socket::bind(&path, Access::Own).unwrap();
    let mut server = JoinSet::new();
    let served = Arc::clone(&service);
    server.spawn(async move { serve_up_to(connections_max, &socket, served).await });
    Room {
        _dir: dir,
        places: vec![PathBuf::from("/nonexistent/x.sock"), path],
        service,
        gate,
        _server: server,
    }
}

impl Room {
    async fn ask(&self, request: Request) -> Result<Response, CallError> {
        let places = self.places.clone();
        blocking(move || client::request(&places, &request)).await
    }

    /// Sends bytes, ends the input, and gives all of the answer.
    async fn raw(&self, bytes: Vec<u8>) -> String {
        let path = self.places[1].clone();
        blocking(move || {
            let mut stream = Blocking::connect(path).unwrap();
            // A refused caller is cut off while it still talks.
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text);
            String::from_utf8(text).unwrap()
        })
        .await
    }

    /// Opens a channel as `muses connect` does and as the far side agrees.
    async fn pipe(&mut self) -> (client::Pipe, Channel) {
        let places = self.places.clone();
        let caller = blocking(move || client::connect(&places, "db.example", 5432));
        let (caller, channel) = tokio::join!(caller, async {
            let (opened, channel) = Channel::take(self.gate.recv().await.unwrap());
            opened.send(Ok(())).unwrap();
            channel
        });
        (caller.unwrap(), channel)
    }
}

/// The LCM's view of a channel.
struct Channel {
    stream: Blocking,
    ended: oneshot::Sender<Ending>,
}

impl Channel {
    fn take(connection: LocalConnection) -> (oneshot::Sender<Result<(), OpenFailure>>, Self) {
        assert_eq!(connection.target.to_string(), "db.example:5432");
        let LocalStream::Unix(stream) = connection.stream else {
            panic!("a Unix stream was expected");
        };
        let Answer::Report { opened, ended } = connection.answer else {
            panic!("a report was expected");
        };
        stream.set_nonblocking(false).unwrap();
        (opened, Self { stream, ended })
    }
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(f).await.unwrap()
}

/// A line, or everything before the end. What follows a line may be a reset, if the daemon closed
/// before it read the last notice.
fn read_line(stream: &mut Blocking) -> String {
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_large_status_arrives_whole_from_the_second_place() {
    let room = room();
    let Ok(Response::Status(status)) = room.ask(Request::Status {}).await else {
        panic!("a status was expected");
    };
    assert_eq!(status.sessions.len(), 5000);
}

#[tokio::test]
async fn kill_and_reload_reach_the_node_and_its_answer_comes_back() {
    let room = room();
    let kill = |what| room.ask(Request::Kill(what));
    let channel = Kill::Channel {
        session: 1,
        channel: 9,
    };
    assert_eq!(
        kill(Kill::Session(1)).await.unwrap(),
        Response::Killed(true)
    );
    assert_eq!(kill(channel).await.unwrap(), Response::Killed(false));
    assert_eq!(
        *room.service.killed.lock().unwrap(),
        [Kill::Session(1), channel]
    );
    let refused = room.ask(Request::Reload {}).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(text) if text.contains("proxy.toml:3")));
}

#[tokio::test]
async fn without_a_daemon_the_caller_is_told_where_none_is() {
    let places = vec![
        PathBuf::from("/nonexistent/a"),
        PathBuf::from("/nonexistent/b"),
    ];
    let error = client::request(&places, &Request::Status {}).unwrap_err();
    assert!(matches!(&error, CallError::NoDaemon(_)));
    assert!(
        error
            .to_string()
            .contains("/nonexistent/a or /nonexistent/b")
    );
}

#[tokio::test]
async fn a_channel_is_handed_over_and_both_directions_end_on_their_own() {
    let mut room = room();
    let (mut caller, mut channel) = room.pipe().await;
    blocking(move || {
        caller.stream.write_all(b"\0question\xff").unwrap();
        caller.stream.shutdown(std::net::Shutdown::Write).unwrap();
        caller.control.write_all(&line(&Notice::Eof(true))).unwrap();
        let mut question = Vec::new();
        channel.stream.read_to_end(&mut question).unwrap();
        assert_eq!(question, b"\0question\xff");
        assert!(!channel.ended.is_closed());
        channel.stream.write_all(b"answer").unwrap();
        channel.ended.send(Ending::Clean).unwrap();
        drop(channel.stream);
        assert_eq!(read_line(&mut caller.stream), "answer");
        assert_eq!(read_line(&mut caller.control), "{\"ended\":\"clean\"}\n");
        assert!(caller.rest.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_cut_channel_and_a_dropped_one_are_reported_as_cut() {
    let mut room = room();
    for told in [true, false] {
        let (mut caller, channel) = room.pipe().await;
        blocking(move || {
            drop(channel.stream);
            if told {
                channel.ended.send(Ending::Cut).unwrap();
            } else {
                drop(channel.ended);
            }
            assert_eq!(read_line(&mut caller.control), "{\"ended\":\"cut\"}\n");
        })
        .await;
    }
}

#[tokio::test]
async fn a_killed_caller_is_known_before_its_stream_ends() {
    let mut room = room();
    let (caller, mut channel) = room.pipe().await;
    blocking(move || {
        drop(caller);
        let mut rest = Vec::new();
        channel.stream.read_to_end(&mut rest).unwrap();
        assert!(channel.ended.is_closed(), "so the LCM resets the channel");
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_leaves_after_the_end_of_its_input_is_no_abort() {
    let mut room = room();
    let (mut caller, mut channel) = room.pipe().await;
    blocking(move || {
        caller.stream.write_all(b"last words").unwrap();
        caller.control.write_all(&line(&Notice::Eof(true))).unwrap();
        drop(caller);
        let mut words = Vec::new();
        channel.stream.read_to_end(&mut words).unwrap();
        assert_eq!(words, b"last words");
        assert!(channel.ended.send(Ending::Clean).is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_failure_to_open_comes_with_its_exit_code() {
    let mut room = room();
    let connect = |host: &'static str, port| {
        let places = room.places.clone();
        blocking(move || client::connect(&places, host, port))
    };
    let exit = |result: Result<client::Pipe, CallError>| match result {
        Err(CallError::Failed { exit, .. }) => exit,
        other => panic!("{other:?}"),
    };
    assert_eq!(exit(connect("denied.example", 1).await), 77);
    assert_eq!(exit(connect("-evil host", 1).await), 64);
    assert_eq!(exit(connect("a.example", 0).await), 64);
    let far_side = async {
        let (opened, channel) = Channel::take(room.gate.recv().await.unwrap());
        opened.send(Err(OpenFailure::Refused)).unwrap();
        let (vanished, _channel) = Channel::take(room.gate.recv().await.unwrap());
        drop((vanished, channel));
    };
    let callers = async {
        let refused = connect("db.example", 5432).await;
        (refused, connect("db.example", 5432).await)
    };
    let ((refused, vanished), ()) = tokio::join!(callers, far_side);
    assert_eq!((exit(refused), exit(vanished)), (111, 76));
}

#[tokio::test]
async fn a_caller_that_leaves_while_waiting_frees_the_channel() {
    let mut room = room();
    let mut caller = Blocking::connect(&room.places[1]).unwrap();
    let request = Request::Connect {
        host: "db.example".into(),
        port: 5432,
    };
    caller.write_all(&line(&request)).unwrap();
    let (mut opened, _channel) = Channel::take(room.gate.recv().await.unwrap());
    drop(caller);
    opened.closed().await;
}

#[tokio::test]
async fn a_node_that_stops_says_so() {
    let mut room = room();
    room.gate.close();
    let places = room.places.clone();
    let refused = blocking(move || client::connect(&places, "db.example", 1)).await;
    assert!(matches!(
        refused,
        Err(CallError::Failed { exit: 69, message }) if message.contains("stopping")
    ));
}

#[tokio::test]
async fn garbage_is_answered_or_dropped_and_the_next_caller_is_served() {
    let room = room();
    let mut random = crate::random::Random::from_number(7);
    for text in [
        &b"\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"{\"status\":{}\n",
        b"{\"kill\":{\"session\":99999999999}}\n",
        b"\xff\xfe\n",
        b"[[[[[[[[[[[[[[[[[[[[[[[[\n",
    ] {
        let answer = room.raw(text.to_vec()).await;
        assert!(answer.starts_with("{\"error\":"), "{text:?}: {answer}");
    }
    let deep = [&vec![b'['; 4000][..], b"\n"].concat();
    assert!(room.raw(deep).await.starts_with("{\"error\":"));
    room.raw(vec![b'x'; 1 << 20]).await;
    assert_eq!(
        room.raw(b"{\"status\"".to_vec()).await,
        "",
        "a caller that leaves half-way"
    );
    for _ in 0..50 {
        let mut noise = random.bytes::<64>().to_vec();
        noise.push(b'\n');
        room.raw(noise).await;
    }
    assert!(room.ask(Request::Status {}).await.is_ok());
}

#[tokio::test]
async fn a_request_in_single_bytes_is_understood() {
    let room = room();
    let path = room.places[1].clone();
    let answer = blocking(move || {
        let mut stream = Blocking::connect(path).unwrap();
        for byte in b"{\"kill\":{\"session\":1}}\n" {
            stream.write_all(&[*byte]).unwrap();
        }
        read_line(&mut stream)
    });
    assert_eq!(answer.await, "{\"killed\":true}\n");
}

#[tokio::test]
async fn a_silent_caller_is_dropped_at_the_deadline() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (gate, _kept) = mpsc::channel(1);
    let service = Fake {
        gate,
        killed: Mutex::default(),
    };
    let mut caller = Caller::new(ours, Silence::default());
    let none = Duration::ZERO;
    answer(&mut caller, &service, &Semaphore::new(1), none)
        .await
        .unwrap();
    drop(caller);
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut theirs, &mut text)
        .await
        .unwrap();
    assert_eq!(text, "{\"error\":\"no request in time\"}\n");
}

#[tokio::test]
async fn a_line_above_the_limit_is_an_error_and_never_buffered() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut caller = Caller::new(ours, Silence::default());
    theirs
        .write_all(&[b'x'; REQUEST_BYTES_MAX + 1])
        .await
        .unwrap();
    assert!(caller.line().await.is_err());
    assert!(caller.buffer.len() <= REQUEST_BYTES_MAX);
}

#[tokio::test]
async fn without_a_free_place_a_channel_is_refused_with_the_limit() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (gate, _kept) = mpsc::channel(1);
    let service = Fake {
        gate,
        killed: Mutex::default(),
    };
    let mut caller = Caller::new(ours, Silence::default());
    let none = Semaphore::new(0);
    pipe::serve(&mut caller, &service, &none, ("a.example", 1))
        .await
        .unwrap();
    drop(caller);
    let mut theirs = theirs.into_std().unwrap();
    theirs.set_nonblocking(false).unwrap();
    assert!(read_line(&mut theirs).contains("\"exit\":75"));
}

#[test]
fn outcomes_follow_endings() {
    assert_eq!(Outcome::from(Ending::Clean), Outcome::Clean);
    assert_eq!(Outcome::from(Ending::Cut), Outcome::Cut);
}

#[tokio::test]
async fn what_is_asked_about_a_node_is_answered_or_fails_with_a_code() {
    let room = room();
    let ask = |name: &str| {
        let name = name.to_owned();
        room.ask(Request::Lookup { name })
    };
    let Ok(Response::Found(found)) = ask("gw").await else {
        panic!("a record was expected");
    };
    assert_eq!(found.name, "gw");
    let Ok(Response::Failed { exit: 68, .. }) = ask("nobody").await else {
        panic!("a failure was expected");
    };
}

#[tokio::test]
async fn the_steps_of_a_trace_come_one_by_one_and_its_end_behind_them() {
    let room = room();
    let trace = |name: &'static str| {
        let places = room.places.clone();
        blocking(move || {
            let mut hops = Vec::new();
            let end = client::trace(&places, name, |hop| hops.push(hop.hop));
            (hops, end)
        })
    };
    let (hops, end) = trace("gw").await;
    assert_eq!((hops, end.unwrap()), (vec![1, 2, 3], true));
    let (hops, end) = trace("far").await;
    assert_eq!((hops, end.unwrap()), (vec![1], false));
    let (hops, end) = trace("nobody").await;
    assert!(hops.is_empty());
    assert!(matches!(end, Err(CallError::Failed { exit: 68, .. })));
    // A caller that ends its side behind the request gets all of the answer.
    let text = room.raw(b"{\"trace\":{\"name\":\"gw\"}}\n".to_vec()).await;
    assert_eq!(text.lines().count(), 4, "{text}");
    assert_eq!(text.lines().last(), Some("{\"traced\":true}"));
}

#[tokio::test]
async fn silent_callers_go_before_others_are_kept_out() {
    let mut room = room_for(2);
    let connect = || Blocking::connect(&room.places[1]).unwrap();
    let (mut first, _second) = (connect(), connect());
    assert_eq!(
        room.ask(Request::Kill(Kill::Session(1))).await.unwrap(),
        Response::Killed(true)
    );
    let ended = blocking(move || matches!(first.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(ended.await, "the one that was there first");

    // Who has a channel open is not silent.
    let places = room.places.clone();
    let asked = tokio::task::spawn_blocking(move || client::connect(&places, "a.example", 1));
    let connection = room.gate.recv().await.unwrap();
    let Answer::Report { opened, ended } = connection.answer else {
        panic!("not a pipe")
    };
    opened.send(Ok(())).unwrap();
    let pipe = asked.await.unwrap().unwrap();
    let _silent: Vec<_> = (0..5)
        .map(|_| Blocking::connect(&room.places[1]).unwrap())
        .collect();
    assert_eq!(
        room.ask(Request::Kill(Kill::Session(1))).await.unwrap(),
        Response::Killed(true)
    );
    ended.send(Ending::Clean).unwrap();
    let mut told = pipe.rest;
    let mut control = pipe.control;
    let told = blocking(move || {
        control.read_to_end(&mut told).unwrap();
        told
    });
    assert_eq!(told.await, line(&Response::Ended(Outcome::Clean)));
}
