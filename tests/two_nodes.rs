//! Two real nodes on loopback: a client with a proxy and a gateway with a forwarder, as child processes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers fail the test"
)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use rustix::process::Signal;

#[path = "two_nodes/local.rs"]
mod local;
#[path = "support/node.rs"]
mod node;
#[path = "support/pair.rs"]
mod pair;
#[path = "two_nodes/ports.rs"]
mod ports;
#[path = "two_nodes/seen.rs"]
mod seen;
#[path = "two_nodes/suspended.rs"]
mod suspended;

use node::{DEADLINE, GRANTS, Node, client_config, gateway_config, keygen, wait_until};
use pair::{
    Pair, answered, ask, by_name, echo, exchange, pattern, ping, reset, serve, socks, stream, v4,
};

/// Memory that channels hold: all but what is kept for others.
fn channel_memory(node: &Node) -> u64 {
    let status = node.status();
    let bytes = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
    let overlay = &status["overlay"];
    bytes(&status["memory"]["used"])
        - bytes(&overlay["directory"]["bytes"])
        - bytes(&overlay["relay"]["waiting"])
}

#[test]
fn every_reply_tells_the_truth() {
    let pair = Pair::with(
        r#"
        [forwarder]
        [[forwarder.service]]
        name = "none"
        to = "127.0.0.1:1"
        [[forwarder.grant]]
        peer = ["*"]
        service = ["none"]
        to = ["127.0.0.1:1-65535", "*.invalid:*"]
        "#,
        "",
    );
    let port = serve(echo);
    let proxy = pair.proxy();
    let code = |address: &[u8]| socks(proxy, address).map(drop);
    assert_eq!(code(&v4(port)), Ok(()));
    assert_eq!(
        code(&by_name("127.0.0.1", port)),
        Ok(()),
        "an address sent as a name"
    );
    assert_eq!(
        code(&by_name("GW.muses", port)),
        Ok(()),
        "the far side's loopback"
    );
    assert_eq!(code(&v4(1)), Err(5), "refused");
    assert_eq!(
        code(&by_name("none.gw.muses", 9)),
        Err(5),
        "refused by the service"
    );
    assert_eq!(
        code(&by_name("other.gw.muses", 9)),
        Err(2),
        "no such service is not told apart"
    );
    assert_eq!(code(&[1, 127, 0, 0, 2, 0, 80]), Err(2), "not granted");
    assert_eq!(code(&by_name("x.invalid", 80)), Err(4), "does not resolve");
    assert_eq!(
        code(&by_name("x.unknown.muses", 80)),
        Err(4),
        "no such node"
    );
    assert_eq!(code(&by_name("bad name", 80)), Err(1), "not a name");
    assert_eq!(code(&[9, 0, 0]), Err(8), "no such address type");
    for command in [2, 3] {
        let mut stream = stream(proxy);
        stream
            .write_all(&[&[5, 1, 0, 5, command, 0][..], &v4(port)].concat())
            .unwrap();
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[3], 7, "command {command}");
    }
}

#[test]
fn http_connect_tells_the_truth_too() {
    let pair = Pair::with(
        "[forwarder]\n[[forwarder.grant]]\npeer = [\"*\"]\nto = [\"127.0.0.1:*\"]",
        "",
    );
    let port = serve(echo);
    for (target, wanted) in [
        (format!("127.0.0.1:{port}"), "HTTP/1.1 200"),
        ("127.0.0.1:1".to_owned(), "HTTP/1.1 502"),
        ("127.0.0.2:80".to_owned(), "HTTP/1.1 403"),
    ] {
        let mut stream = stream(pair.proxy());
        write!(
            stream,
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
        )
        .unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(String::from_utf8_lossy(&start), wanted, "{target}");
    }
}

#[test]
fn a_request_may_come_byte_by_byte_or_with_early_data() {
    let pair = Pair::new();
    let port = serve(echo);
    let whole = [&[5, 1, 0, 5, 1, 0][..], &v4(port), b"early"].concat();
    for step in [1, whole.len()] {
        let mut stream = stream(pair.proxy());
        stream.set_nodelay(true).unwrap();
        for piece in whole.chunks(step) {
            stream.write_all(piece).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(&all[12..], b"early", "{step} bytes at a time");
    }
}

#[test]
fn half_close_works_in_both_directions() {
    let pair = Pair::new();
    let port = serve(|mut stream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        assert_eq!(question, b"question");
        stream.write_all(&pattern(0, 300_000)).unwrap();
    });
    let mut asker = pair.connect(port);
    asker.write_all(b"question").unwrap();
    asker.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    asker.read_to_end(&mut answer).unwrap();
    assert!(answer == pattern(0, 300_000));

    let (got, result) = mpsc::channel();
    let port = serve(move |mut stream| {
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        got.send(all).unwrap();
    });
    let mut talker = pair.connect(port);
    let mut greeting = Vec::new();
    talker.read_to_end(&mut greeting).unwrap();
    assert_eq!(greeting, b"hello");
    talker.write_all(&pattern(3, 300_000)).unwrap();
    drop(talker);
    assert!(result.recv_timeout(DEADLINE).unwrap() == pattern(3, 300_000));
}

#[test]
fn a_reset_at_either_end_is_a_reset_at_the_other() {
    let pair = Pair::new();
    let port = serve(move |mut stream| {
        stream.read_exact(&mut [0; 1]).unwrap();
        reset(stream);
    });
    let mut application = pair.connect(port);
    application.write_all(b"x").unwrap();
    let error = application.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let (got, result) = mpsc::channel();
    let port = serve(move |mut stream| {
        stream.write_all(b"x").unwrap();
        got.send(stream.read(&mut [0; 1]).map_err(|error| error.kind()))
            .unwrap();
    });
    let mut application = pair.connect(port);
    application.read_exact(&mut [0; 1]).unwrap();
    reset(application);
    assert_eq!(
        result.recv_timeout(DEADLINE).unwrap(),
        Err(io::ErrorKind::ConnectionReset)
    );
}

#[test]
fn a_reader_that_is_gone_stops_who_writes_to_it() {
    // At first it looks as if it had ended its own direction only.
    fn write_on(mut stream: &TcpStream) -> io::ErrorKind {
        stream.write_all(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        let block = pattern(0, 1 << 16);
        loop {
            if let Err(error) = stream.write_all(&block) {
                return error.kind();
            }
        }
    }
    let stopped = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    let pair = Pair::new();
    let (got, result) = mpsc::channel();
    let port = serve(move |stream| got.send(write_on(&stream)).unwrap());
    let mut application = pair.connect(port);
    application.read_exact(&mut [0; 1]).unwrap();
    drop(application);
    assert!(stopped.contains(&result.recv_timeout(DEADLINE).unwrap()));

    let port = serve(|mut stream| stream.read_exact(&mut [0; 1]).unwrap());
    assert!(stopped.contains(&write_on(&pair.connect(port))));
    wait_until("all channels are gone", || {
        pair.client.status()["sessions"][0]["channels"]
            .as_array()
            .is_some_and(Vec::is_empty)
    });
    assert_eq!(channel_memory(&pair.client), 0);
}

#[test]
fn two_hundred_connections_at_once_keep_their_bytes_apart() {
    let pair = Pair::new();
    let port = serve(echo);
    let threads: Vec<_> = (0..200_u8)
        .map(|seed| {
            let proxy = pair.proxy();
            thread::spawn(move || exchange(socks(proxy, &v4(port)).unwrap(), seed, 40_000))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    wait_until("all channels are gone", || {
        pair.client.status()["sessions"][0]["channels"]
            .as_array()
            .is_some_and(Vec::is_empty)
    });
    assert_eq!(channel_memory(&pair.client), 0);
}

#[test]
fn a_reader_that_does_not_read_stalls_nobody_else() {
    let pair = Pair::new();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let flood = serve(move |mut stream| {
        let block = pattern(0, 1 << 16);
        while stream.write_all(&block).is_ok() {
            counter.fetch_add(1 << 16, Ordering::Relaxed);
        }
    });
    let port = serve(echo);
    let sleeper = pair.connect(flood);
    let mut before = 0;
    wait_until("many megabytes are stuck", || {
        let count = sent.load(Ordering::Relaxed);
        let stuck = count > 4 << 20 && count == before;
        before = count;
        stuck
    });
    let beside = pair.connect(port);
    for _ in 0..200 {
        ping(&beside, b"keystroke");
    }
    for seed in 0..5 {
        exchange(pair.connect(port), seed, 200_000);
    }
    drop(sleeper);
}

#[test]
fn a_stopped_gateway_pauses_a_transfer_and_a_new_connection() {
    let pair = Pair::new();
    let port = serve(echo);
    let mut stream = pair.connect(port);
    stream.write_all(b"before").unwrap();
    stream.read_exact(&mut [0; 6]).unwrap();
    pair.gateway.signal(Signal::STOP);
    wait_until("the session is suspended", || {
        pair.client.status()["sessions"][0]["state"] == "suspended"
    });
    let proxy = pair.proxy();
    let waiting = thread::spawn(move || exchange(socks(proxy, &v4(port)).unwrap(), 9, 10_000));
    stream.write_all(b"meanwhile").unwrap();
    pair.gateway.signal(Signal::CONT);
    let mut back = [0; 9];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"meanwhile");
    waiting.join().unwrap();
    let session = &pair.client.status()["sessions"][0];
    assert_eq!(session["handshakes"], 1);
    assert!(session["resumes"].as_u64() >= Some(1));
}

#[test]
fn a_gateway_that_was_killed_shows_as_a_reset_and_its_successor_works() {
    let mut pair = Pair::new();
    let port = serve(echo);
    let mut old = pair.connect(port);
    old.write_all(b"x").unwrap();
    old.read_exact(&mut [0; 1]).unwrap();
    let link = pair.gateway.address("link");
    let folder = pair.gateway.folder.clone();
    let config = fs::read_to_string(folder.join("proxy.toml")).unwrap();
    fs::write(
        folder.join("proxy.toml"),
        config.replace("127.0.0.1:0", &link.to_string()),
    )
    .unwrap();
    pair.gateway.child.kill().unwrap();
    pair.gateway.child.wait().unwrap();
    pair.gateway = Node::restart(&folder, &[]);
    let error = old.read(&mut [0; 1]).unwrap_err();
    assert_eq!(
        error.kind(),
        io::ErrorKind::ConnectionReset,
        "never a clean end"
    );
    exchange(pair.connect(port), 1, 10_000);
}

#[test]
fn a_reload_ends_what_is_no_longer_granted() {
    let pair = Pair::new();
    let port = serve(echo);
    let mut open = pair.connect(port);
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0; 1]).unwrap();
    let file = pair.gateway.folder.join("proxy.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("127.0.0.0/8:*", "127.0.0.0/8:1")).unwrap();
    pair.gateway.signal(Signal::HUP);
    let error = open.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(socks(pair.proxy(), &v4(port)).map(drop), Err(2));
}

#[test]
fn a_reload_that_takes_a_name_out_ends_its_links_and_a_missing_link_says_why() {
    let mut pair = Pair::new();
    let port = serve(echo);
    let mut open = pair.connect(port);
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0; 1]).unwrap();
    let up = pair.client.status()["links"][0].clone();
    assert_eq!(
        (up["state"].as_str(), up["error"].is_null()),
        (Some("up"), true)
    );
    let file = pair.gateway.folder.join("proxy.toml");
    let config = fs::read_to_string(&file).unwrap();
    let (client, gateway) = (pair.client.status(), pair.gateway.status());
    let (client, gateway) = (client["name"].as_str(), gateway["name"].as_str());
    fs::write(&file, config.replace(client.unwrap(), gateway.unwrap())).unwrap();
    pair.gateway.signal(Signal::HUP);
    let error = open.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    wait_until("no link is left", || {
        pair.gateway.status()["links"].as_array().map(Vec::len) == Some(0)
    });
    // Let in again, it comes back by itself.
    fs::write(&file, config).unwrap();
    pair.gateway.signal(Signal::HUP);
    wait_until("the link is back", || {
        pair.client.status()["links"][0]["state"] == "up"
    });
    exchange(pair.connect(port), 3, 10_000);

    pair.gateway.child.kill().unwrap();
    wait_until("the client sees why it has no link", || {
        let link = pair.client.status()["links"][0].clone();
        link["state"] == "dialling" && link["error"].is_string() && link["error_age"].is_f64()
    });
}

#[test]
fn a_name_that_a_reload_denies_loses_links_and_sessions_at_once_and_gets_no_others() {
    for at_client in [false, true] {
        let pair = Pair::new();
        let port = serve(echo);
        let mut open = pair.connect(port);
        open.write_all(b"x").unwrap();
        open.read_exact(&mut [0; 1]).unwrap();
        let (node, other) = if at_client {
            (&pair.client, &pair.gateway)
        } else {
            (&pair.gateway, &pair.client)
        };
        let name = other.status()["name"].as_str().unwrap().to_owned();
        let file = node.folder.join("proxy.toml");
        let config = fs::read_to_string(&file).unwrap();
        // The client pins the gateway, the gateway allows the client: neither helps.
        let denied = if at_client {
            format!("[network]\ndeny = [\"{name}\"]\n{config}")
        } else {
            config.replace("[network]", &format!("[network]\ndeny = [\"{name}\"]"))
        };
        fs::write(&file, denied).unwrap();
        node.signal(Signal::HUP);
        let error = open.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        wait_until("neither link nor session is left", || {
            let (near, far) = (node.status(), other.status());
            let none = |list: &serde_json::Value| list.as_array().map(Vec::len) == Some(0);
            let up = near["links"].as_array().unwrap().iter();
            let up = up.filter(|link| link["state"] == "up").count();
            up == 0 && none(&near["sessions"]) && none(&far["sessions"])
        });
        let log = fs::read_to_string(node.folder.join("log")).unwrap();
        assert!(log.contains("its node may not take part any more"), "{log}");
        if at_client {
            assert_eq!(socks(pair.proxy(), &v4(port)).err(), Some(2));
            wait_until("status says why", || {
                let link = node.status()["links"][0].clone();
                let error = link["error"].as_str().unwrap_or_default().to_owned();
                error.contains("[network] deny")
            });
        }
        fs::write(&file, config).unwrap();
        node.signal(Signal::HUP);
        wait_until("the link is back", || {
            pair.client.status()["links"][0]["state"] == "up"
        });
        exchange(pair.connect(port), 3, 10_000);
    }
}

/// Stands between a node and its neighbour, tells how long the first message of each link is, and can cut
/// them all.
struct Relay {
    address: SocketAddr,
    firsts: mpsc::Receiver<u16>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn to(link: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, firsts) = mpsc::channel();
        let open = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&open);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(link).unwrap();
                all.lock().unwrap().push(near.try_clone().unwrap());
                let (tell, [mut from, mut to]) = (tell.clone(), [&near, &far].map(copy_of));
                thread::spawn(move || {
                    pass_on(&mut from, &mut to, &tell);
                    let _cut = to.shutdown(Shutdown::Both);
                });
                thread::spawn(move || {
                    let _cut = io::copy(&mut &far, &mut &near);
                    let _cut = near.shutdown(Shutdown::Both);
                });
            }
        });
        Self {
            address,
            firsts,
            open,
        }
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Passes bytes on until either end closes, which is how every link here ends.
fn pass_on(from: &mut TcpStream, to: &mut TcpStream, tell: &mpsc::Sender<u16>) {
    let mut length = [0; 2];
    if from.read_exact(&mut length).is_ok() {
        // The test may have ended.
        let _gone = tell.send(u16::from_be_bytes(length));
        let _cut = to.write_all(&length);
        let _cut = io::copy(from, to);
    }
}

fn copy_of(stream: &TcpStream) -> TcpStream {
    stream.try_clone().unwrap()
}

#[test]
fn a_known_neighbour_is_dialled_by_its_key_and_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("client"), folder.path().join("gateway"));
    let (client, gateway) = (keygen(&near), keygen(&far));
    let node = Node::start(&far, &gateway_config(&client, 0, GRANTS), &[]);
    let relay = Relay::to(node.address("link"));
    let config = client_config(&gateway, relay.address, "");
    let client = Node::start(&near, &config, &[]);
    let port = serve(echo);
    let mut stream = socks(client.address("proxy"), &v4(port)).unwrap();
    let mut echoed = |text: &[u8]| {
        stream.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    };
    echoed(b"before");
    // Lengths of the first messages of XX and IK: docs/PROTOCOL.md, section 3.
    assert_eq!(relay.firsts.recv_timeout(DEADLINE), Ok(288));
    for _ in 0..3 {
        relay.cut();
        echoed(b"after a cut");
        // A second dial of the same kind may have begun before the first was answered.
        while relay.firsts.recv_timeout(DEADLINE).unwrap() != 802 {}
    }
    let session = &client.status()["sessions"][0];
    assert_eq!(session["handshakes"], 1);
    assert!(session["resumes"].as_u64() >= Some(3));
}

#[test]
fn connect_carries_stdio_and_tells_how_it_went() {
    let pair = Pair::with(
        "[forwarder]\n[[forwarder.grant]]\npeer = [\"*\"]\n\
         to = [\"127.0.0.1:*\", \"255.255.255.255:*\", \"*.invalid:*\"]",
        "",
    );
    let port = serve(echo).to_string();
    let run = |host: &str, port: &str| {
        let mut child = pair
            .client
            .command(&["connect", host, port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A refused one does not read.
        let _refused = child.stdin.take().unwrap().write_all(&pattern(5, 200_000));
        let out = child.wait_with_output().unwrap();
        (out.status.code(), out.stdout)
    };
    let (code, out) = run("127.0.0.1", &port);
    assert!(code == Some(0) && out == pattern(5, 200_000));
    assert_eq!(run("127.0.0.1", "1").0, Some(111));
    assert_eq!(run("127.0.0.2", "1").0, Some(77));
    assert_eq!(run("x.invalid", "1").0, Some(68));
    // There is no way to everybody by TCP.
    assert_eq!(run("255.255.255.255", "1").0, Some(113));
    let cut = serve(|mut stream| {
        stream.read_exact(&mut [0; 1]).unwrap();
        reset(stream);
    });
    assert_eq!(run("127.0.0.1", &cut.to_string()).0, Some(76));
}

#[test]
fn a_service_that_resets_what_it_accepts_did_answer() {
    let pair = Pair::new();
    let port = serve(reset).to_string();
    for attempt in 0..60 {
        let out = pair
            .client
            .command(&["connect", "127.0.0.1", &port])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(
            out.status.code(),
            Some(76),
            "try {attempt}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}

#[test]
fn three_thousand_connections_at_once_are_held_and_given_back() {
    let pair = Pair::new();
    let (kept, holding) = mpsc::channel();
    let port = serve(move |mut stream| {
        stream.write_all(b"!").unwrap();
        // The test may have ended.
        let _gone = kept.send(stream);
    });
    let mut applications = Vec::new();
    // A peer may have a few hundred OPENs under way at once (R-A8).
    for _ in 0..15 {
        let more = (0..200).map(|_| {
            let application = stream(pair.proxy());
            ask(&application, &v4(port));
            application
        });
        let more: Vec<TcpStream> = more.collect();
        for mut application in &more {
            assert_eq!(answered(application), 0);
            application.read_exact(&mut [0; 1]).unwrap();
        }
        applications.extend(more);
    }
    let channels = |node: &Node| {
        node.status()["sessions"][0]["channels"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(channels(&pair.client), 3_000);
    ping(&pair.connect(serve(echo)), b"one more");
    drop(applications);
    let services: Vec<_> = holding.try_iter().collect();
    assert_eq!(services.len(), 3_000);
    for mut service in services {
        assert_eq!(service.read(&mut [0; 1]).unwrap(), 0);
    }
    wait_until("all channels are gone", || {
        channels(&pair.client) + channels(&pair.gateway) == 0
    });
    assert_eq!(channel_memory(&pair.client), 0);
}

#[test]
fn addresses_of_both_families_and_the_longest_names_reach_the_forwarder() {
    let pair = Pair::new();
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let v6 = |ip: Ipv6Addr| [&[4][..], &ip.octets(), &port.to_be_bytes()].concat();
    assert!(socks(pair.proxy(), &v6(Ipv6Addr::LOCALHOST)).is_ok());
    assert!(socks(pair.proxy(), &by_name("::1", port)).is_ok());
    let label = "a".repeat(63);
    let longest = [&*label; 4].join(".");
    assert_eq!(longest.len(), 255);
    let code = |name: &str| socks(pair.proxy(), &by_name(name, port)).map(drop);
    assert_eq!(code(&longest), Err(4), "it does not resolve");
    assert_eq!(code(&"a".repeat(64)), Err(1), "a label is too long");
}

#[test]
fn a_killed_channel_is_reset_and_a_fixed_forward_works() {
    let port = serve(echo);
    let forward =
        format!("[[forward]]\nlisten = \"127.0.0.1:0\"\nto = \"127.0.0.1:{port}\"\nvia = \"gw\"");
    let pair = Pair::with(GRANTS, &forward);
    exchange(stream(pair.client.address("forward")), 7, 100_000);
    let mut open = stream(pair.client.address("forward"));
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0; 1]).unwrap();
    let status = pair.client.status();
    let channels = status["sessions"][0]["channels"].as_array().unwrap();
    let id = channels.last().unwrap()["id"].as_str().unwrap();
    assert!(
        pair.client
            .command(&["kill", id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        open.read(&mut [0; 1]).unwrap_err().kind(),
        io::ErrorKind::ConnectionReset
    );
}

#[test]
fn every_suite_carries_a_transfer() {
    for session in [
        "[session]\nprofile = \"paper\"",
        "[session]\nsuites = [\"chacha20-poly1305\"]",
        "[session]\nsuites = [\"aes-256-gcm\"]",
    ] {
        let pair = Pair::with(&format!("{GRANTS}\n{session}"), session);
        exchange(pair.connect(serve(echo)), 2, 1 << 20);
    }
}

#[test]
fn a_stranger_on_the_link_port_hears_nothing() {
    let pair = Pair::new();
    let garbage = [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 2, 0],
        &[1, 32],
        &[0; 600],
    ];
    let strangers = garbage.map(|garbage| {
        let mut stranger = stream(pair.gateway.address("link"));
        stranger.write_all(garbage).unwrap();
        stranger
    });
    for mut stranger in strangers {
        let mut heard = Vec::new();
        // It ends, in one way or another, without a byte.
        let _ended = stranger.read_to_end(&mut heard);
        assert_eq!(heard, b"");
    }
    exchange(pair.connect(serve(echo)), 2, 1_000);
}

#[test]
fn a_node_that_may_not_link_opens_no_channel() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("client"), folder.path().join("gateway"));
    let (_, gateway) = (keygen(&near), keygen(&far));
    let node = Node::start(&far, &gateway_config(&gateway, 0, GRANTS), &[]);
    let more = "[session]\nopen_timeout = \"1s\"";
    let client = Node::start(
        &near,
        &client_config(&gateway, node.address("link"), more),
        &[],
    );
    assert_eq!(socks(client.address("proxy"), &v4(80)).map(drop), Err(4));
    let links = node.status()["links"].as_array().map(Vec::len);
    assert_eq!(links, Some(0));
}

#[test]
fn sigterm_ends_both_cleanly_with_open_connections() {
    let mut pair = Pair::new();
    let mut open = pair.connect(serve(echo));
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0; 1]).unwrap();
    pair.client.signal(Signal::TERM);
    pair.gateway.signal(Signal::TERM);
    assert_eq!(pair.client.child.wait().unwrap().code(), Some(0));
    assert_eq!(pair.gateway.child.wait().unwrap().code(), Some(0));
    assert!(
        open.read(&mut [0; 1]).is_err(),
        "a cut never looks like a clean end"
    );
}

#[test]
fn the_shipped_file_works_as_it_is_and_has_no_second_node_without_its_table() {
    let shipped = fs::read_to_string("proxy.toml")
        .unwrap()
        .replace("127.0.0.1:1080", "127.0.0.1:0");
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &shipped, &[]);
    let proxy = node.address("proxy");
    exchange(socks(proxy, &v4(serve(echo))).unwrap(), 8, 1 << 20);
    drop(node);
    let (kept, _) = shipped.split_once("\n[[route]]\n").unwrap();
    let node = Node::start(folder.path(), kept, &[]);
    assert!(!node.listeners.contains("embedded"));
    assert_eq!(
        socks(node.address("proxy"), &v4(80)).map(drop),
        Err(2),
        "no route is a refusal"
    );
}
