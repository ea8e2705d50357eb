//! Namespaces and the wires between them: client – router – server, and a second router for the move.

use std::process::{Child, Command, Output, Stdio};

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

/// Says why a scenario cannot run here; true if it cannot.
pub(crate) fn skip(scenario: &str) -> bool {
    let probe = format!("muses-probe-{}-{}", std::process::id(), scenario.len());
    let added = Command::new("ip").args(["netns", "add", &probe]).output();
    let works = added.is_ok_and(|out| out.status.success());
    if works {
        ip(&format!("netns del {probe}"));
    } else {
        println!("SKIPPED (needs root and network namespaces): {scenario}");
    }
    !works
}

/// A network namespace.
pub(crate) struct Place {
    name: String,
}

impl Place {
    fn new(name: String) -> Self {
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        Self { name }
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

/// The namespaces of one scenario.
pub(crate) struct Net {
    pub(crate) client: Place,
    pub(crate) router: Place,
    pub(crate) other_router: Place,
    pub(crate) server: Place,
}

impl Net {
    /// client 10.9.1.2 – 10.9.1.1 router 10.9.2.1 – 10.9.2.2 server, and 10.9.3.0/24 behind another
    /// router that the server reaches over 10.9.4.0/24.
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

    /// The client comes back at another router, with another address.
    pub(crate) fn arrive_elsewhere(&self) {
        self.client.ip("link set far up");
        self.client.ip("addr add 10.9.3.2/24 dev far");
        self.client.ip("route add default via 10.9.3.1");
    }
}

/// Joins two namespaces by a pair of interfaces with addresses.
fn wire(
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
