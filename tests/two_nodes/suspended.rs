//! While a session is suspended: applications that end, reset, write or arrive meanwhile.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;

use rustix::process::Signal;

use crate::channel_memory;
use crate::node::{DEADLINE, GRANTS, Node, wait_until};
use crate::pair::{
    Heard, Pair, answered, ask, echo, pattern, ping, reset, serve, socks, stream, v4,
};

/// A pair that gives up on new connections after a second.
const SHORT: &str = "[session]\nopen_timeout = \"1s\"";

fn suspend(pair: &Pair) {
    pair.gateway.signal(Signal::STOP);
    wait_until("the session is suspended", || {
        pair.client.status()["sessions"][0]["state"] == "suspended"
    });
}

fn channel(node: &Node) -> serde_json::Value {
    node.status()["sessions"][0]["channels"][0].clone()
}

/// Descriptors that a node has open; a node lets only root look.
fn descriptors(node: &Node) -> usize {
    let folder = format!("/proc/{}/fd", node.child.id());
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// A service that tells what its one connection said and how it ended.
fn listener() -> (u16, mpsc::Receiver<Heard>) {
    let (tell, heard) = mpsc::channel();
    let port = serve(move |mut stream: TcpStream| {
        stream.write_all(b"!").unwrap();
        let mut said = Vec::new();
        let ended = stream.read_to_end(&mut said).err();
        // The test may have ended.
        let _gone = tell.send((said, ended.map(|error| error.kind())));
    });
    (port, heard)
}

#[test]
fn the_end_of_an_application_is_told_behind_its_last_bytes() {
    let pair = Pair::new();
    let (port, heard) = listener();
    let mut application = pair.connect(port);
    application.read_exact(&mut [0; 1]).unwrap();
    suspend(&pair);
    application.write_all(&pattern(1, 50_000)).unwrap();
    application.shutdown(Shutdown::Write).unwrap();
    drop(application);
    assert_eq!(channel(&pair.client)["state"], "open");
    pair.gateway.signal(Signal::CONT);
    let (said, ended) = heard.recv_timeout(DEADLINE).unwrap();
    assert!(said == pattern(1, 50_000) && ended.is_none());
}

#[test]
fn a_reset_of_an_application_frees_its_channel_at_once_and_is_told_later() {
    let pair = Pair::new();
    let (port, heard) = listener();
    let mut application = pair.connect(port);
    application.read_exact(&mut [0; 1]).unwrap();
    suspend(&pair);
    application.write_all(b"never read").unwrap();
    reset(application);
    wait_until("the channel is reset", || {
        channel(&pair.client)["state"] == "reset"
    });
    assert_eq!(channel_memory(&pair.client), 0);
    pair.gateway.signal(Signal::CONT);
    let expected = (Vec::new(), Some(ErrorKind::ConnectionReset));
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), expected);
}

#[test]
fn an_application_that_writes_on_is_not_read() {
    let pair = Pair::new();
    let port = serve(echo);
    let application = pair.connect(port);
    ping(&application, b"before");
    suspend(&pair);
    let state = channel(&pair.client);
    let memory = channel_memory(&pair.client);
    application.set_nonblocking(true).unwrap();
    let bytes = pattern(0, 1 << 16);
    let mut written = 0;
    // The kernel's buffers fill up, and stay full.
    while let Ok(count) = (&application).write(&bytes[written % 251..]) {
        written += count;
    }
    let after = channel(&pair.client);
    assert_eq!(
        (&after["sent"], &after["unacked"]),
        (&state["sent"], &state["unacked"])
    );
    assert_eq!(channel_memory(&pair.client), memory);
    application.set_nonblocking(false).unwrap();
    pair.gateway.signal(Signal::CONT);
    application.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    (&application).read_to_end(&mut back).unwrap();
    assert!(
        back == pattern(0, written),
        "{} of {written} bytes",
        back.len()
    );
}

#[test]
fn a_new_connection_waits_for_the_configured_time_and_hears_the_honest_code() {
    let pair = Pair::with(GRANTS, SHORT);
    let port = serve(echo);
    ping(&pair.connect(port), b"before");
    let kept = pair.connect(port);
    pair.gateway.signal(Signal::STOP);
    // Its OPEN leaves before anybody can know that the gateway does not answer.
    let early = stream(pair.proxy());
    ask(&early, &v4(port));
    wait_until("the session is suspended", || {
        pair.client.status()["sessions"][0]["state"] == "suspended"
    });
    let late = stream(pair.proxy());
    ask(&late, &v4(port));
    let mut browser = stream(pair.proxy());
    write!(browser, "CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n").unwrap();
    let port_text = port.to_string();
    let mut connect = pair.client.command(&["connect", "127.0.0.1", &port_text]);
    let out = connect.stdin(Stdio::null()).output().unwrap();
    assert_eq!(out.status.code(), Some(75), "time-out");
    let session = &pair.client.status()["sessions"][0];
    assert!(session["last_answer_ms"].as_u64() > Some(3_000));
    assert!(
        session["reason"]
            .as_str()
            .is_some_and(|why| !why.is_empty())
    );
    assert!(session["since"].as_f64().is_some_and(|since| since > 0.0));
    assert_eq!(session["handshakes"], 1);
    let channels = session["channels"].as_array().unwrap();
    assert!(channels.iter().any(|channel| channel["state"] == "open"));
    assert_eq!(answered(&early), 4, "asked before the suspension");
    assert_eq!(answered(&late), 4, "asked during the suspension");
    let mut status = [0; 12];
    browser.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 504");
    pair.gateway.signal(Signal::CONT);
    ping(&kept, b"as if nothing had happened");
    assert!(socks(pair.proxy(), &v4(port)).is_ok());
}

#[test]
fn a_waiting_application_that_gives_up_is_forgotten() {
    let pair = Pair::with(GRANTS, "[session]\nopen_timeout = \"10m\"");
    let port = serve(echo);
    ping(&pair.connect(port), b"before");
    let _kept = pair.connect(port);
    suspend(&pair);
    let before = descriptors(&pair.client);
    if before == 0 {
        // What goes to `println!` is not shown when a test passes.
        let line =
            b"SKIPPED (only root may count descriptors): waiting applications that give up\n";
        std::io::stderr().write_all(line).unwrap();
        return;
    }
    let waiting: Vec<TcpStream> = (0..50)
        .map(|_| {
            let stream = stream(pair.proxy());
            ask(&stream, &v4(port));
            stream
        })
        .collect();
    // Links that are dialled, or end, have some, too.
    wait_until("all of them wait", || {
        descriptors(&pair.client) >= before + 45
    });
    waiting.into_iter().for_each(reset);
    wait_until("none of them waits", || {
        descriptors(&pair.client) <= before + 5
    });
    let mut caller = pair
        .client
        .command(&["connect", "127.0.0.1", &port.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it waits", || descriptors(&pair.client) > before);
    caller.kill().unwrap();
    caller.wait().unwrap();
    wait_until("it does not wait", || {
        descriptors(&pair.client) <= before + 1
    });
}

#[test]
fn a_killed_connect_frees_its_channel_at_once() {
    let pair = Pair::new();
    let (port, heard) = listener();
    let mut caller = pair
        .client
        .command(&["connect", "127.0.0.1", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = caller.stdout.as_mut().unwrap();
    stdout.read_exact(&mut [0; 1]).unwrap();
    suspend(&pair);
    caller.kill().unwrap();
    caller.wait().unwrap();
    wait_until("the channel is reset", || {
        channel(&pair.client)["state"] == "reset"
    });
    pair.gateway.signal(Signal::CONT);
    let expected = (Vec::new(), Some(ErrorKind::ConnectionReset));
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), expected);
}
