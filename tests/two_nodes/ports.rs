//! The paper's key of a connection, its source port, is not unique: equal ports never mix bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;

use rustix::process::Signal;

use crate::node::{DEADLINE, GRANTS, Node, client_config, keygen, wait_until};
use crate::pair::{
    Heard, Pair, answered, ask, echo, exchange, free_port, pattern, ping, reset, serve,
    stream_from, v4,
};

#[test]
fn equal_source_ports_never_mix_bytes() {
    let pair = Pair::new();
    let port = serve(echo);
    let proxy = pair.proxy();
    let source = free_port();
    let threads: Vec<_> = (2..6_u8)
        .map(|host| {
            let stream = stream_from(host, source, proxy);
            thread::spawn(move || {
                ask(&stream, &v4(port));
                assert_eq!(answered(&stream), 0);
                exchange(stream, host * 10, 500_000);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Channel ids without their session, as a node shows them.
fn ids(node: &Node) -> Vec<String> {
    let status = node.status();
    let sessions = status["sessions"].as_array().unwrap();
    let channels = sessions
        .iter()
        .flat_map(|session| session["channels"].as_array().unwrap());
    channels
        .map(|channel| {
            let id = channel["id"].as_str().unwrap();
            id.split_once('/').unwrap().1.to_owned()
        })
        .collect()
}

#[test]
fn two_clients_with_equal_counter_and_port_at_one_forwarder_never_mix_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folders = ["gateway", "one", "two"].map(|name| folder.path().join(name));
    let names = folders.each_ref().map(|folder| keygen(folder));
    let allow = format!(
        "[network]\nallow = [\"{}\", \"{}\"]\n[link]\nlisten = [\"127.0.0.1:0\"]\n{GRANTS}",
        names[1], names[2]
    );
    let gateway = Node::start(&folders[0], &allow, &[]);
    let link = gateway.address("link");
    let clients =
        [1, 2].map(|at: usize| Node::start(&folders[at], &client_config(&names[0], link, ""), &[]));
    let port = serve(echo);
    let source = free_port();
    let streams = [0, 1].map(|at: usize| {
        let host = 2 + u8::try_from(at).unwrap();
        let stream = stream_from(host, source, clients[at].address("proxy"));
        ask(&stream, &v4(port));
        assert_eq!(answered(&stream), 0);
        stream
    });
    let seen = ids(&gateway);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1], "the same id in two sessions");
    let threads = [10, 20]
        .into_iter()
        .zip(streams)
        .map(|(seed, stream)| thread::spawn(move || exchange(stream, seed, 2_000_000)));
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

/// An echo that keeps what it heard.
fn echo_into(mut stream: TcpStream, said: &mut Vec<u8>) -> io::Result<()> {
    let mut block = [0; 4096];
    loop {
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        said.extend_from_slice(&block[..count]);
        stream.write_all(&block[..count])?;
    }
}

/// A pair whose session is suspended with one open channel from a known port, to a service that tells
/// what each of its connections said and how it ended.
struct Suspended {
    pair: Pair,
    service: u16,
    old: TcpStream,
    source: u16,
    heard: mpsc::Receiver<Heard>,
}

impl Suspended {
    fn new() -> Self {
        let pair = Pair::new();
        let (tell, heard) = mpsc::channel();
        let service = serve(move |stream: TcpStream| {
            let mut said = Vec::new();
            let ended = echo_into(stream, &mut said).err();
            // The test may have ended.
            let _gone = tell.send((said, ended.map(|error| error.kind())));
        });
        let source = free_port();
        let old = stream_from(2, source, pair.proxy());
        ask(&old, &v4(service));
        assert_eq!(answered(&old), 0);
        ping(&old, b"old ");
        pair.gateway.signal(Signal::STOP);
        wait_until("the session is suspended", || {
            pair.client.status()["sessions"][0]["state"] == "suspended"
        });
        Self {
            pair,
            service,
            old,
            source,
            heard,
        }
    }

    fn resume(&self) {
        self.pair.gateway.signal(Signal::CONT);
    }
}

#[test]
fn a_port_reused_beside_its_suspended_channel_is_another_channel() {
    let suspended = Suspended::new();
    let new = stream_from(3, suspended.source, suspended.pair.proxy());
    ask(&new, &v4(suspended.service));
    (&new).write_all(b"new ").unwrap();
    (&suspended.old).write_all(b"channel").unwrap();
    suspended.resume();
    assert_eq!(answered(&new), 0);
    (&new).write_all(&pattern(7, 100_000)).unwrap();
    for stream in [&new, &suspended.old] {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut heard = [0, 1].map(|_| suspended.heard.recv_timeout(DEADLINE).unwrap());
    heard.sort_by_key(|(said, _)| said.len());
    assert_eq!(heard[0], (b"old channel".to_vec(), None));
    let expected = [b"new ".to_vec(), pattern(7, 100_000)].concat();
    assert!(heard[1] == (expected, None), "bytes of another channel");
}

#[test]
fn a_port_that_was_reset_and_reused_in_a_suspension_inherits_nothing() {
    let suspended = Suspended::new();
    (&suspended.old).write_all(b"never sent").unwrap();
    let Suspended {
        pair,
        service,
        old,
        source,
        heard,
    } = suspended;
    reset(old);
    // The same four numbers once more.
    let new = stream_from(2, source, pair.proxy());
    ask(&new, &v4(service));
    (&new).write_all(b"new").unwrap();
    pair.gateway.signal(Signal::CONT);
    assert_eq!(answered(&new), 0);
    new.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    (&new).read_to_end(&mut back).unwrap();
    assert_eq!(back, b"new");
    let mut all = [0, 1].map(|_| heard.recv_timeout(DEADLINE).unwrap());
    all.sort();
    assert_eq!(
        all,
        [
            (b"new".to_vec(), None),
            (b"old ".to_vec(), Some(ErrorKind::ConnectionReset))
        ]
    );
}

#[test]
fn the_gateways_own_link_port_is_no_service_whoever_asks() {
    let pair = Pair::new();
    let link = pair.gateway.address("link").port();
    let stream = crate::pair::stream(pair.proxy());
    ask(&stream, &v4(link));
    assert_eq!(answered(&stream), 2);
}
