//! Listeners for programs of some users of this machine.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::node::{DEADLINE, GRANTS, Node, bin, client_config, gateway_config, keygen};
use crate::pair::{self, echo, pattern, serve, v4};

fn stream(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends bytes and ends, and expects them back and an end.
fn exchange(mut stream: UnixStream) {
    let sent = pattern(7, 300_000);
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert!(heard == sent, "{} of {}", heard.len(), sent.len());
}

#[test]
fn unix_sockets_carry_connections_and_come_and_go_with_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("client"), folder.path().join("gateway"));
    let (client, gateway) = (keygen(&near), keygen(&far));
    let gateway_node = Node::start(&far, &gateway_config(&client, 0, GRANTS), &[]);
    let port = serve(echo);
    let forward = format!(
        "[[forward]]\nlisten = \"unix:run/f.sock\"\nto = \"127.0.0.1:{port}\"\nvia = \"gw\"\n"
    );
    let config = client_config(&gateway, gateway_node.address("link"), &forward);
    let config = config.replace("\"127.0.0.1:0\"", "\"unix:proxy.sock\"");
    let (proxy, forward) = (near.join("proxy.sock"), near.join("run/f.sock"));
    // What a node that was killed left behind is replaced.
    for end in [Signal::KILL, Signal::TERM] {
        let mut node = Node::start(&near, &config, &[]);
        assert!(node.listeners.contains("proxy unix:proxy.sock"));
        for (path, mode) in [
            (&proxy, 0o600),
            (&forward, 0o600),
            (&near.join("run"), 0o700),
        ] {
            assert_eq!(
                fs::metadata(path).unwrap().mode() & 0o777,
                mode,
                "{}",
                path.display()
            );
        }
        exchange(stream(&forward));
        let mut socks = stream(&proxy);
        socks
            .write_all(&[&[5, 1, 0, 5, 1, 0], &v4(port)[..]].concat())
            .unwrap();
        let mut reply = [0; 12];
        socks.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..4], [5, 0, 5, 0]);
        exchange(socks);
        node.signal(end);
        node.child.wait().unwrap();
        assert_eq!(proxy.exists(), end == Signal::KILL);
    }
}

#[test]
fn a_unix_socket_on_which_somebody_answers_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _taken = std::os::unix::net::UnixListener::bind(&path).unwrap();
    fs::write(
        folder.path().join("proxy.toml"),
        "[proxy]\nlisten = [\"unix:s\"]\n",
    )
    .unwrap();
    let out = Command::new(bin())
        .arg("run")
        .current_dir(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("[proxy] listen: another program"), "{said}");
    assert_eq!(out.status.code(), Some(1));
}

/// What another user's program hears from a SOCKS port.
fn heard_as(uid: u32, port: u16) -> String {
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; printf '\\x05\\x01\\x00' >&3; head -c 2 <&3 | od -An -tx1"
    );
    let out = Command::new("bash")
        .args(["-c", &script])
        .current_dir("/")
        .uid(uid)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[test]
fn a_port_is_for_programs_of_the_listed_users() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root runs programs as other users");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = "[proxy]\nlisten = [\"127.0.0.1:0\"]\nallow_uids = [12345]\n";
    let node = Node::start(folder.path(), config, &[]);
    let port = node.address("proxy").port();
    assert_eq!(heard_as(12345, port), "05 00");
    assert_eq!(heard_as(0, port), "05 00", "the node's own user");
    assert_eq!(heard_as(12346, port), "");
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(
        log.contains("a program of user 12346 was turned away"),
        "{log}"
    );
}

#[test]
fn a_port_is_for_machines_with_the_listed_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[embedded]\n[[embedded.grant]]\nto = [\"127.0.0.1:*\"]\n\
                  [proxy]\nlisten = [\"0.0.0.0:0\"]\nfrom = [\"127.0.0.2\", \"::1\"]\n"
        .to_owned();
    let forward = |from: &str| {
        let port = serve(echo);
        format!(
            "[[forward]]\nlisten = \"0.0.0.0:0\"\nfrom = [\"{from}\"]\n\
             to = \"127.0.0.1:{port}\"\nvia = \"embedded\"\n"
        )
    };
    let config = config + &forward("127.0.0.2") + &forward("127.0.0.0/8");
    let node = Node::start(folder.path(), &config, &[]);
    let ports: Vec<u16> = node
        .listeners
        .split(", ")
        .filter(|listener| !listener.starts_with("embedded"))
        .map(|listener| listener.rsplit_once(':').unwrap().1.parse().unwrap())
        .collect();
    let [proxy, closed, open] = *ports else {
        panic!("{ports:?}");
    };
    for port in [proxy, closed] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let end = stream.read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
    }
    pair::exchange(pair::stream(([127, 0, 0, 1], open).into()), 3, 10_000);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines = log.matches("a connection from 127.0.0.1 was turned away: `from`");
    assert_eq!(lines.count(), 1, "{log}");
}
