//! The network lab: real programs in network namespaces of their own, and real failures between them.
//!
//! Needs root and `ip netns`; without them every scenario says so and passes. Times are printed, never
//! asserted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helpers fail the test, and it tells what it measured"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

#[path = "lab/net.rs"]
mod net;
#[path = "support/node.rs"]
mod node;

use net::{Net, run, skip};
use node::{GRANTS, Node, bin, client_config, gateway_config, keygen, wait_until};

/// Bytes of the transfers that must survive.
const TRANSFER: usize = 60_000_000;

/// A client, a gateway behind a router, and a server of patterns beside the gateway.
struct Lab {
    net: Net,
    client: Node,
    gateway: Node,
    server: Child,
    folder: TempDir,
}

impl Lab {
    fn new(name: &str) -> Self {
        let net = Net::new(name);
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = (folder.path().join("client"), folder.path().join("gateway"));
        let (client_name, gateway_name) = (keygen(&near), keygen(&far));
        let grants = GRANTS.replace("\"*:*\"", "\"10.0.0.0/8:*\", \"*:*\"");
        let config =
            gateway_config(&client_name, 7700, &grants).replace("127.0.0.1:7700", "0.0.0.0:7700");
        let server = net.server.spawn(&["python3", "tests/lab/serve.py"]);
        let gateway = Node::start(&far, &config, &net.server.prefix());
        let link: SocketAddr = "10.9.2.2:7700".parse().unwrap();
        let config =
            client_config(&gateway_name, link, "").replace("127.0.0.1:0", "127.0.0.1:1080");
        let client = Node::start(&near, &config, &net.client.prefix());
        assert_eq!(client.address("proxy").port(), 1080);
        wait_until("the server answers", || {
            net.client
                .output(&curl("http://10.9.2.2:8000/pattern/1"))
                .status
                .success()
        });
        Self {
            net,
            client,
            gateway,
            server,
            folder,
        }
    }

    /// A transfer each way, an idle connection each, a session that types: all through the proxy, and
    /// all checked at both ends.
    fn load(&self) -> Child {
        let size = TRANSFER.to_string();
        self.net
            .client
            .spawn(&["python3", "tests/lab/load.py", "1080", "10.9.2.2", &size])
    }

    /// Waits for the load and prints what it says; it fails if one byte was wrong or one connection broke.
    fn finish(&self, scenario: &str, load: Child) {
        let out = load.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        let log = fs::read_to_string(self.client.folder.join("log")).unwrap();
        assert!(
            out.status.success(),
            "{scenario}: {said}{}\n{log}",
            String::from_utf8_lossy(&out.stderr)
        );
        println!("{scenario}: {}", said.trim());
        for line in log.lines().filter(|line| line.contains("session resumed")) {
            println!("{scenario}: {}", line.split("engine: ").last().unwrap());
        }
        let status = self.client.status();
        let sessions = status["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 1, "{scenario}: {sessions:?}");
        assert_eq!(
            sessions[0]["handshakes"], 1,
            "{scenario}: no new key agreement"
        );
        assert!(
            sessions[0]["resumes"].as_u64() >= Some(1),
            "{scenario}: {}",
            sessions[0]
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // They may have ended already.
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

fn curl(url: &str) -> Vec<&str> {
    vec![
        "curl",
        "-sS",
        "--fail",
        "--max-time",
        "20",
        "-o",
        "/dev/null",
        url,
    ]
}

/// Pauses that are part of a scenario: how long a failure lasts.
fn last(seconds: u64) {
    thread::park_timeout(Duration::from_secs(seconds));
}

#[test]
fn a_silent_cut_of_the_link() {
    if skip("a_silent_cut_of_the_link") {
        return;
    }
    let lab = Lab::new("cut");
    let load = lab.load();
    last(2);
    lab.net.router.run(&["nft", "add table ip cut; add chain ip cut f { type filter hook forward priority 0; policy drop; }"]);
    last(8);
    lab.net.router.run(&["nft", "delete table ip cut"]);
    lab.finish("silent cut of 8 s", load);
}

#[test]
fn resets_of_the_link() {
    if skip("resets_of_the_link") {
        return;
    }
    let lab = Lab::new("rst");
    let load = lab.load();
    for _ in 0..5 {
        last(2);
        lab.net.client.run(&["ss", "-K", "dport", "=", "7700"]);
    }
    lab.finish("link reset every 2 s", load);
}

#[test]
fn a_move_to_another_router_with_another_address() {
    if skip("a_move_to_another_router_with_another_address") {
        return;
    }
    let lab = Lab::new("move");
    let load = lab.load();
    last(2);
    lab.net.leave();
    last(6);
    lab.net.arrive_elsewhere();
    lab.finish("move after 6 s without network", load);
}

#[test]
fn a_peer_that_is_stopped() {
    if skip("a_peer_that_is_stopped") {
        return;
    }
    let lab = Lab::new("stop");
    let load = lab.load();
    last(2);
    lab.gateway.signal(Signal::STOP);
    last(8);
    lab.gateway.signal(Signal::CONT);
    lab.finish("peer stopped for 8 s", load);
}

#[test]
fn curl_in_all_its_ways() {
    if skip("curl_in_all_its_ways") {
        return;
    }
    let lab = Lab::new("curl");
    let url = "http://10.9.2.2:8000/pattern/3000000";
    let direct = lab.net.client.stdout(&["curl", "-sS", "--fail", url]);
    for way in [
        &["--socks5", "127.0.0.1:1080"][..],
        &["--socks5-hostname", "127.0.0.1:1080"],
        &["--proxy", "http://127.0.0.1:1080", "--proxytunnel"],
    ] {
        let words = [
            &["curl", "-sS", "--fail", "--max-time", "20"][..],
            way,
            &[url],
        ]
        .concat();
        assert!(lab.net.client.stdout(&words) == direct, "{way:?}");
    }
    let many = format!(
        "for i in $(seq 20); do curl -sS --fail --max-time 30 -x socks5h://127.0.0.1:1080 {url} | sha256sum & done; wait"
    );
    let sums = lab.net.client.stdout(&["sh", "-c", &many]);
    let sums = String::from_utf8(sums).unwrap();
    let lines: Vec<&str> = sums.lines().collect();
    assert!(
        lines.len() == 20 && lines.iter().all(|line| *line == lines[0]),
        "{sums}"
    );
    let upload = "head -c 5000000 /dev/zero | curl -sS --fail --max-time 30 -x socks5h://127.0.0.1:1080 -T - http://10.9.2.2:8000/count";
    assert_eq!(lab.net.client.stdout(&["sh", "-c", upload]), b"5000000");
    let refused = lab.net.client.output(&[
        "curl",
        "-sS",
        "-x",
        "socks5h://127.0.0.1:1080",
        "http://10.9.2.2:1/",
    ]);
    assert_eq!(refused.status.code(), Some(97));
    println!("curl: socks5, socks5h, CONNECT, 20 at once, upload, refusal");
}

#[test]
fn ssh_through_connect_and_through_socks() {
    if skip("ssh_through_connect_and_through_socks") {
        return;
    }
    let lab = Lab::new("ssh");
    let (folder, user) = sshd_files(lab.folder.path());
    let config = folder.join("sshd_config");
    let mut sshd =
        lab.net
            .server
            .spawn(&["/usr/sbin/sshd", "-D", "-e", "-f", config.to_str().unwrap()]);
    let muses = format!(
        "{} connect -c {}/proxy.toml %h %p",
        bin(),
        lab.client.folder.display()
    );
    let socks = "nc -X 5 -x 127.0.0.1:1080 %h %p".to_owned();
    for proxy in [muses, socks] {
        let ssh = |command: &str| {
            let key = folder.join("user");
            let options = format!("ProxyCommand={proxy}");
            lab.net.client.output(&[
                "ssh",
                "-F",
                "none",
                "-i",
                key.to_str().unwrap(),
                "-o",
                &options,
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
                "-p",
                "2222",
                &format!("{user}@10.9.2.2"),
                command,
            ])
        };
        let mut out: Option<Output> = None;
        wait_until("ssh answers", || {
            let tried = ssh("echo hello; exit 3");
            let answered = tried.status.code() == Some(3);
            out = Some(tried);
            answered
        });
        assert_eq!(out.unwrap().stdout, b"hello\n", "{proxy}");
        let file = ssh("head -c 5000000 /dev/zero | tr '\\0' x");
        assert!(
            file.status.success() && file.stdout == vec![b'x'; 5_000_000],
            "{proxy}"
        );
    }
    sshd.kill().unwrap();
    sshd.wait().unwrap();
    println!("ssh: ProxyCommand muses connect, nc -X 5");
}

/// Keys and configuration of an sshd that lets the present user in.
fn sshd_files(folder: &Path) -> (PathBuf, String) {
    let folder = folder.join("ssh");
    fs::create_dir_all(&folder).unwrap();
    for key in ["host", "user"] {
        let file = folder.join(key);
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&file));
    }
    fs::copy(folder.join("user.pub"), folder.join("authorized_keys")).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let path = folder.display();
    let config = format!(
        "Port 2222\nHostKey {path}/host\nAuthorizedKeysFile {path}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPidFile none\nPermitRootLogin yes\nClientAliveInterval 0\n"
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    let user = Command::new("id")
        .arg("-un")
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    (
        folder,
        String::from_utf8(user.stdout).unwrap().trim().to_owned(),
    )
}
