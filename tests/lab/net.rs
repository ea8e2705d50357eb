//! Namespaces and the wires between them: client – router – server, and a second router for the move.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

fn ip(words: &str) {
    run(Command::new("ip").args(words.split_whitespace()));
}

/// Says why a scenario cannot run here; true if it cannot. In a check that decides about a change, which says
/// `CI=true`, a program that is missing is a failure.
pub(crate) fn skip(scenario: &str, programs: &[&str]) -> bool {
    static PROBES: AtomicUsize = AtomicUsize::new(0);
    let number = PROBES.fetch_add(1, Ordering::Relaxed);
    let probe = format!("muses-probe-{}-{number}", std::process::id());
    let added = Command::new("ip").args(["netns", "add", &probe]).output();
    if !added.is_ok_and(|out| out.status.success()) {
        tell(&format!(
            "SKIPPED (needs root and network namespaces): {scenario}"
        ));
        return true;
    }
    ip(&format!("netns del {probe}"));
    let needed = ["nft", "ss", "sysctl", "python3"].iter().chain(programs);
    let missing: Vec<&str> = needed
        .copied()
        .filter(|program| find(program).is_none())
        .collect();
    if missing.is_empty() {
        return false;
    }
    let decides = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!decides, "{scenario}: not installed: {missing:?}");
    tell(&format!("SKIPPED (not installed: {missing:?}): {scenario}"));
    true
}

/// Says something that is shown although the test passes: what goes to `println!` is not.
fn tell(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Where a program is: on the path, in the places of system programs, or among PostgreSQL's own.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(versions.flatten().map(|version| version.path().join("bin")))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A network namespace.
pub(crate) struct Place {
    name: String,
}

impl Place {
    pub(crate) fn new(name: String) -> Self {
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        let place = Self { name };
        // Addresses are whole at once: a browser drops its requests when one becomes so seconds later.
        for which in ["all", "default"] {
            let no_probes = format!("net.ipv6.conf.{which}.accept_dad=0");
            place.run(&["sysctl", "-qw", &no_probes]);
        }
        place
    }

    /// What runs a program in it.
    pub(crate) fn prefix(&self) -> Vec<&str> {
        vec!["ip", "netns", "exec", &self.name]
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) {
        run(&mut self.command(words));
    }

    pub(crate) fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What a command that must succeed prints.
    pub(crate) fn stdout(&self, words: &[&str]) -> Vec<u8> {
        let out = self.output(words);
        assert!(
            out.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        out.stdout
    }

    pub(crate) fn spawn(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn ip(&self, words: &str) {
        ip(&format!("-n {} {words}", self.name));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whatever still runs in it was started by a test that failed.
        let pids = Command::new("ip")
            .args(["netns", "pids", &self.name])
            .output();
        let pids = pids
            .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
            .unwrap_or_default();
        for pid in pids.split_whitespace() {
            let _ended = Command::new("kill").args(["-9", pid]).output();
        }
        let _gone = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

/// What the server lets in.
const GUARD: &str = "add table inet guard; add chain inet guard in { type filter hook input priority 0; }; \
    add rule inet guard in iifname { \"r\", \"o\" } tcp dport != 7700 drop";

/// The namespaces of one scenario.
pub(crate) struct Net {
    pub(crate) client: Place,
    pub(crate) router: Place,
    pub(crate) other_router: Place,
    pub(crate) server: Place,
}

impl Net {
    /// client 10.9.1.2 – 10.9.1.1 router 10.9.2.1 – 10.9.2.2 server, and 10.9.3.0/24 behind another
    /// router that the server reaches over 10.9.4.0/24. The server is also fd09::2, and from outside
    /// nothing of it can be reached but port 7700: what the client gets, it gets through a gateway there.
    pub(crate) fn new(scenario: &str) -> Self {
        let name = |place: &str| format!("muses-{}-{scenario}-{place}", std::process::id());
        let net = Self {
            client: Place::new(name("c")),
            router: Place::new(name("r")),
            other_router: Place::new(name("o")),
            server: Place::new(name("s")),
        };
        wire(
            &net.client,
            ("near", "10.9.1.2/24"),
            &net.router,
            ("c", "10.9.1.1/24"),
        );
        wire(
            &net.router,
            ("s", "10.9.2.1/24"),
            &net.server,
            ("r", "10.9.2.2/24"),
        );
        wire(
            &net.client,
            ("far", ""),
            &net.other_router,
            ("c", "10.9.3.1/24"),
        );
        wire(
            &net.other_router,
            ("s", "10.9.4.1/24"),
            &net.server,
            ("o", "10.9.4.2/24"),
        );
        for router in [&net.router, &net.other_router] {
            router.run(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
        }
        net.server.run(&["nft", GUARD]);
        net.server.ip("addr add fd09::2/64 dev lo");
        net.client.ip("link set far down");
        net.client.ip("route add default via 10.9.1.1");
        net.server.ip("route add 10.9.1.0/24 via 10.9.2.1");
        net.server.ip("route add 10.9.3.0/24 via 10.9.4.1");
        net.other_router.ip("route add 10.9.2.0/24 via 10.9.4.2");
        net
    }

    /// The client loses its network.
    pub(crate) fn leave(&self) {
        self.client.ip("link set near down");
        self.client.ip("addr flush dev near");
    }

    /// The client comes to another router, with another address.
    pub(crate) fn arrive_elsewhere(&self) {
        self.client.ip("link set far up");
        self.client.ip("addr add 10.9.3.2/24 dev far");
    }

    /// The client knows its way over the other router: the path is back.
    pub(crate) fn route_elsewhere(&self) {
        self.client.ip("route add default via 10.9.3.1");
    }
}

/// Joins two namespaces by a pair of interfaces with addresses.
pub(crate) fn wire(
    a: &Place,
    (a_name, a_address): (&str, &str),
    b: &Place,
    (b_name, b_address): (&str, &str),
) {
    ip(&format!(
        "link add {a_name} netns {} type veth peer name {b_name} netns {}",
        a.name, b.name
    ));
    for (place, name, address) in [(a, a_name, a_address), (b, b_name, b_address)] {
        if !address.is_empty() {
            place.ip(&format!("addr add {address} dev {name}"));
        }
        place.ip(&format!("link set {name} up"));
    }
}
