//! Nodes as child processes, shared by the tests that drive the real program.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything; nothing takes that long unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The program under test: another build than cargo's if `MUSES_BIN` names one.
pub(crate) fn bin() -> String {
    std::env::var("MUSES_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_muses").to_owned())
}

/// The program behind a prefix.
fn prefixed(prefix: &[String]) -> Command {
    match prefix.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(bin());
            command
        }
        None => Command::new(bin()),
    }
}

/// A node as a child process.
pub(crate) struct Node {
    pub(crate) child: Child,
    pub(crate) listeners: String,
    pub(crate) folder: PathBuf,
    prefix: Vec<String>,
}

impl Node {
    pub(crate) fn start(folder: &Path, config: &str, prefix: &[&str]) -> Self {
        fs::create_dir_all(folder).unwrap();
        let file = folder.join("proxy.toml");
        fs::write(&file, config).unwrap();
        // It may hold passwords.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self::restart(folder, prefix)
    }

    /// Starts with the files that are there.
    ///
    /// `prefix` runs it in another place, as `ip netns exec` does.
    pub(crate) fn restart(folder: &Path, prefix: &[&str]) -> Self {
        let prefix: Vec<String> = prefix.iter().map(|&word| word.to_owned()).collect();
        let mut child = prefixed(&prefix)
            .arg("run")
            .current_dir(folder)
            .env_remove("XDG_RUNTIME_DIR")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let mut log = File::create(folder.join("log")).unwrap();
        let (ready, listeners) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writeln!(log, "{line}").unwrap();
                if let Some((_, rest)) = line.split_once("listeners=\"") {
                    // The test may have ended.
                    let _gone = ready.send(rest.split('"').next().unwrap_or_default().to_owned());
                }
            }
        });
        let folder = folder.to_owned();
        let listeners = listeners.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            panic!(
                "not ready: {}",
                fs::read_to_string(folder.join("log")).unwrap()
            )
        });
        Self {
            child,
            listeners,
            folder,
            prefix,
        }
    }

    /// Where it listens for `kind`.
    pub(crate) fn address(&self, kind: &str) -> SocketAddr {
        let found = self
            .listeners
            .split(", ")
            .find_map(|listener| listener.strip_prefix(kind));
        found
            .unwrap_or_else(|| panic!("{kind} in {}", self.listeners))
            .trim()
            .parse()
            .unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let out = self.command(&["status", "--json"]).output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        serde_json::from_slice(&out.stdout).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = prefixed(&self.prefix);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_remove("XDG_RUNTIME_DIR");
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

pub(crate) fn keygen(folder: &Path) -> String {
    fs::create_dir_all(folder).unwrap();
    let out = Command::new(bin())
        .arg("keygen")
        .arg(folder.join("muses.key"))
        .output()
        .unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

pub(crate) fn gateway_config(client: &str, port: u16, more: &str) -> String {
    format!(
        r#"
        [network]
        allow = ["{client}"]
        [link]
        listen = ["127.0.0.1:{port}"]
        {more}
        "#
    )
}

pub(crate) const GRANTS: &str = r#"
    [forwarder]
    [[forwarder.grant]]
    peer = ["*"]
    to = ["127.0.0.0/8:*", "[::1]:*", "*:*"]
"#;

pub(crate) fn client_config(gateway: &str, link: SocketAddr, more: &str) -> String {
    format!(
        r#"
        [aliases]
        gw = "{gateway}"
        [link]
        peers = ["gw@{link}"]
        [proxy]
        listen = ["127.0.0.1:0"]
        [[route]]
        match = ["*"]
        via = "gw"
        {more}
        "#
    )
}

/// Looks until `holds`, a few times a second.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let pause = Duration::from_millis(20);
    for _ in 0..DEADLINE.as_millis() / pause.as_millis() {
        if holds() {
            return;
        }
        thread::park_timeout(pause);
    }
    panic!("never: {what}");
}
