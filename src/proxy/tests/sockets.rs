//! Deadlines over in-memory streams, and whole front ends over loopback sockets.

use std::io::{ErrorKind, Read, Write};

use tokio::io::AsyncRead;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::*;
use crate::lcm::local::LocalStream;

async fn converse(front: &FrontEnd, stream: DuplexStream) -> bool {
    let deadline = Instant::now() + PREFACE_TIME;
    let silence = Silence::default();
    front.converse(stream, &silence, deadline).await.is_some()
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_for_the_whole_preface() {
    for bytes in [
        joined(&[GREETING, &named(b"www.example.org", 80)]),
        b"CONNECT www.example.org:80 HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        for (pause, expected) in [(9_000, true), (11_000, false)] {
            let (front, _connections) = front(1);
            let (mut client, stream) = duplex(4096);
            let each = Duration::from_millis(pause) / u32::try_from(bytes.len()).unwrap();
            let start = Instant::now();
            let (admitted, ()) = tokio::join!(converse(&front, stream), async {
                for byte in &bytes {
                    tokio::time::sleep(each).await;
                    if client.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
            });
            assert_eq!(admitted, expected, "{pause}");
            if !expected {
                let mut said = Vec::new();
                client.read_to_end(&mut said).await.unwrap();
                assert!(said.is_empty() || said == NO_LOGIN);
                assert!(Instant::now() - start >= PREFACE_TIME);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_at_the_deadline() {
    let (front, _connections) = front(1);
    let (_client, stream) = duplex(64);
    let start = Instant::now();
    assert!(!converse(&front, stream).await);
    assert_eq!(Instant::now() - start, PREFACE_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_dropped_in_time() {
    let (front, _connections) = front(1);
    let (mut client, stream) = duplex(1);
    let start = Instant::now();
    let (admitted, _) = tokio::join!(
        converse(&front, stream),
        client.write_all(&[5, 1, 0, 5, 2, 0, 1])
    );
    assert!(!admitted);
    assert!(Instant::now() - start <= Duration::from_secs(12));
}

/// What a client hears in the end, after it has sent `bytes`.
async fn told(front: &FrontEnd, bytes: &[u8]) -> Vec<u8> {
    let (mut client, stream) = duplex(4096);
    client.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let (admitted, read) = tokio::join!(converse(front, stream), client.read_to_end(&mut said));
    assert!(!admitted);
    read.unwrap();
    said
}

#[tokio::test(start_paused = true)]
async fn what_the_router_refuses_is_answered_at_once() {
    let (front, _connections) = front(1);
    for (name, code) in [("denied.example", 0x02), ("away.example", 0x01)] {
        let bytes = joined(&[GREETING, &named(name.as_bytes(), 80)]);
        assert_eq!(
            told(&front, &bytes).await,
            joined(&[NO_LOGIN, &reply(code)])
        );
    }
    let said = told(&front, b"CONNECT denied.example:80 HTTP/1.1\r\n\r\n").await;
    assert!(said.starts_with(b"HTTP/1.1 403 Forbidden\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_and_a_full_gate_are_answered() {
    let socks = joined(&[GREETING, &named(b"example.org", 80)]);
    let http = b"CONNECT example.org:80 HTTP/1.1\r\n\r\n";

    let (front, connections) = front(1);
    let held = front.gate.clone();
    let _permit = held.reserve().await.unwrap();
    assert_eq!(
        told(&front, &socks).await,
        joined(&[NO_LOGIN, &reply(0x01)])
    );
    let said = told(&front, http).await;
    assert!(said.starts_with(b"HTTP/1.1 503 "));

    drop(connections);
    assert_eq!(
        told(&front, &socks).await,
        joined(&[NO_LOGIN, &reply(0x01)])
    );
    let said = told(&front, http).await;
    assert!(said.starts_with(b"HTTP/1.1 502 "));
}

#[test]
fn the_failures_of_the_far_side_have_their_socks_code() {
    for (failure, code) in [
        (OpenFailure::Refused, 0x05),
        (OpenFailure::NetworkUnreachable, 0x03),
        (OpenFailure::HostUnreachable, 0x04),
        (OpenFailure::Denied, 0x02),
        (OpenFailure::TimedOut, 0x06),
        (OpenFailure::NoPath, 0x04),
    ] {
        assert_eq!(socks::failure(failure), reply(code));
    }
}

/// A front end on a loopback port.
struct Served {
    address: std::net::SocketAddr,
    connections: mpsc::Receiver<LocalConnection>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

async fn served(users: Option<Users>, prefaces_max: usize) -> Served {
    served_to(None, users, prefaces_max).await
}

/// The same for programs of these users.
async fn served_to(
    uids: Option<BTreeSet<u32>>,
    users: Option<Users>,
    prefaces_max: usize,
) -> Served {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mut front, connections) = front(8);
    front.users = users;
    front.prefaces_max = prefaces_max;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::new(front).serve(Door::tcp(listener, uids, None), stopped));
    Served {
        address,
        connections,
        stop,
        tasks,
    }
}

/// The stream of a client that has asked by SOCKS5 and said "hello" is whole, and its client listens.
async fn handed_over(
    stream: &mut (impl Read + Write),
    early: &[u8],
    client: &mut (impl AsyncRead + Unpin),
) {
    // What has not been read early is still in the stream, which does not block.
    let mut rest = Vec::new();
    let error = stream.read_to_end(&mut rest).err();
    assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    assert_eq!(joined(&[early, &rest]), b"hello");

    // The client has heard of the login only.
    stream.write_all(b"!").unwrap();
    let mut said = [0; 3];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(said, *b"\x05\x00!");
}

#[tokio::test]
async fn a_connection_is_handed_over_with_early_data_and_no_reply_yet() {
    let mut served = served(None, PREFACES_MAX).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let request = named(b"example.org", 443);
    client
        .write_all(&joined(&[GREETING, &request, b"hello"]))
        .await
        .unwrap();
    let connection = served.connections.recv().await.unwrap();
    assert_eq!(connection.port, client.local_addr().unwrap().port());
    assert_eq!(connection.via, [gateway()]);
    assert_eq!(connection.target, Target::Address(host("example.org"), 443));
    let LocalStream::Tcp(mut stream) = connection.stream else {
        panic!("not TCP")
    };
    assert!(stream.nodelay().unwrap());
    let Answer::Bytes { success, failure } = connection.answer else {
        panic!("not told in bytes")
    };
    assert_eq!(success, reply(0x00));
    assert_eq!(failure(OpenFailure::Refused), reply(0x05));

    handed_over(&mut stream, &connection.early, &mut client).await;
}

#[tokio::test]
async fn http_shares_the_port() {
    let mut served = served(Some(users()), PREFACES_MAX).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let head = b"CONNECT example.org:443 HTTP/1.1\r\nProxy-Authorization: Basic YW5uOnBhc3M6d29yZA==\r\n\r\n";
    client.write_all(head).await.unwrap();
    let connection = served.connections.recv().await.unwrap();
    assert_eq!(connection.target, Target::Address(host("example.org"), 443));
    let Answer::Bytes { success, .. } = connection.answer else {
        panic!("not told in bytes")
    };
    assert!(success.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_refusal_arrives_although_the_client_has_sent_more() {
    let served = served(None, PREFACES_MAX).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let bind = b"\x05\x02\x00\x01\xc0\x00\x02\x01\x00\x50";
    let bytes = joined(&[GREETING, bind, &[b'x'; 100_000]]);
    client.write_all(&bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, joined(&[NO_LOGIN, &reply(0x07)]));
}

#[tokio::test]
async fn a_stranger_is_closed_without_a_word() {
    let served = served(None, PREFACES_MAX).await;
    for bytes in [
        &b"\x04\x01\x00\x50\x7f\0\0\x01\0"[..],
        b"\x16\x03\x01",
        b"ssh",
    ] {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        // Closed or reset, as the system likes.
        let _ = client.read_to_end(&mut said).await;
        assert_eq!(said, b"");
    }
}

#[tokio::test]
async fn beyond_the_limit_whoever_was_silent_longest_goes() {
    let mut served = served(None, 1).await;
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first.write_all(GREETING).await.unwrap();
    let mut said = [0; 2];
    first.read_exact(&mut said).await.unwrap();
    let mut second = TcpStream::connect(served.address).await.unwrap();
    let request = named(b"second.example", 2);
    second
        .write_all(&joined(&[GREETING, &request]))
        .await
        .unwrap();
    let connection = served.connections.recv().await.unwrap();
    let target = Target::Address(host("second.example"), 2);
    assert_eq!(connection.target, target);
    // Closed or reset, as the system likes.
    assert!(matches!(first.read(&mut said).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_client_that_waits_for_the_gate_is_not_silent() {
    let mut served = served(None, 1).await;
    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        let request = named(format!("{number}.example").as_bytes(), 1);
        client
            .write_all(&joined(&[GREETING, &request]))
            .await
            .unwrap();
        clients.push(client);
    }
    // The gate holds eight; whoever waits for it keeps the only place, and the next one waits outside.
    for number in 0..10 {
        let connection = served.connections.recv().await.unwrap();
        let target = Target::Address(host(&format!("{number}.example")), 1);
        assert_eq!(connection.target, target);
    }
}

#[tokio::test]
async fn stopping_ends_prefaces_in_progress() {
    let mut served = served(None, PREFACES_MAX).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(GREETING).await.unwrap();
    let mut said = [0; 2];
    client.read_exact(&mut said).await.unwrap();
    served.stop.send(true).unwrap();
    served.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(client.read(&mut said).await.unwrap(), 0);
}

#[tokio::test]
async fn a_forward_leads_to_its_one_target_in_silence() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gate, mut connections) = mpsc::channel(1);
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let via = || vec![gateway()];
    tasks.spawn(serve_forward(
        Door::tcp(listener, None, None),
        via,
        Target::Loopback(22),
        gate,
        stopped,
    ));
    for _ in 0..3 {
        let client = TcpStream::connect(address).await.unwrap();
        let connection = connections.recv().await.unwrap();
        assert_eq!(connection.port, client.local_addr().unwrap().port());
        assert_eq!(connection.via, [gateway()]);
        assert_eq!(connection.target, Target::Loopback(22));
        assert!(connection.early.is_empty());
        assert!(matches!(connection.answer, Answer::Silent));
    }
    stop.send(true).unwrap();
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_forward_without_a_way_resets() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gate, _connections) = mpsc::channel(1);
    let (_stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_forward(
        Door::tcp(listener, None, None),
        Vec::new,
        Target::Loopback(22),
        gate,
        stopped,
    ));
    let mut client = TcpStream::connect(address).await.unwrap();
    let error = client.read(&mut [0; 1]).await.err();
    assert_eq!(
        error.map(|error| error.kind()),
        Some(ErrorKind::ConnectionReset)
    );
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[tokio::test]
async fn programs_of_the_listed_users_come_in_and_others_are_reset() {
    let mut open = served_to(Some([own_uid()].into()), None, PREFACES_MAX).await;
    let mut client = TcpStream::connect(open.address).await.unwrap();
    let request = joined(&[GREETING, &named(b"example.org", 443)]);
    client.write_all(&request).await.unwrap();
    assert!(open.connections.recv().await.is_some());

    let closed = served_to(Some([own_uid() ^ 1].into()), None, PREFACES_MAX).await;
    let mut client = TcpStream::connect(closed.address).await.unwrap();
    let error = client.read(&mut [0; 1]).await.err();
    assert_eq!(
        error.map(|error| error.kind()),
        Some(ErrorKind::ConnectionReset)
    );
}

#[tokio::test]
async fn a_unix_socket_is_a_front_end_for_its_users() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    for (uid, expected) in [(own_uid(), true), (own_uid() ^ 1, false)] {
        // The one before goes with its task.
        let _ = std::fs::remove_file(&path);
        let door = Door::unix(UnixListener::bind(&path).unwrap(), [uid].into());
        let (front, mut connections) = front(1);
        let (_stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::new(front).serve(door, stopped));
        let mut client = UnixStream::connect(&path).await.unwrap();
        let request = joined(&[GREETING, &named(b"example.org", 443), b"hello"]);
        // Who is turned away may notice at once.
        let _ = client.write_all(&request).await;
        if !expected {
            let mut said = Vec::new();
            let _ = client.read_to_end(&mut said).await;
            assert_eq!(said, b"");
            continue;
        }
        let connection = connections.recv().await.unwrap();
        assert_eq!(connection.port, 0);
        let LocalStream::Unix(mut stream) = connection.stream else {
            panic!("not a Unix socket")
        };
        handed_over(&mut stream, &connection.early, &mut client).await;
    }
}

#[tokio::test]
async fn a_forward_takes_a_unix_socket_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let door = Door::unix(UnixListener::bind(&path).unwrap(), [own_uid()].into());
    let (gate, mut connections) = mpsc::channel(1);
    let (_stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let via = || vec![gateway()];
    tasks.spawn(serve_forward(
        door,
        via,
        Target::Loopback(22),
        gate,
        stopped,
    ));
    let _client = UnixStream::connect(&path).await.unwrap();
    let connection = connections.recv().await.unwrap();
    assert!(matches!(connection.stream, LocalStream::Unix(_)));
    assert_eq!(
        (connection.port, connection.target),
        (0, Target::Loopback(22))
    );
}

#[test]
fn listeners_share_the_descriptors_that_silent_clients_may_use() {
    let held = |doors| {
        let (gate, _connections) = mpsc::channel(1);
        let front = FrontEnd::new(Arc::new(Straight), None, gate, doors);
        front.prefaces_max * doors
    };
    let half = usize::try_from(for_applications() / 2).unwrap();
    for doors in 1..5 {
        assert!(held(doors) <= half.min(PREFACES_MAX), "{doors}");
        assert!(held(doors) + doors > held(1), "{doors}");
    }
}
