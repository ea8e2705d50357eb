//! Seven nodes that only neighbours can reach, relays that die, and a relay shared by several nodes.
//!
//! ```text
//!            ┌ r1 ── r3 ┐
//!    client ─┤  │     │ ├─ forwarder
//!            └ r2 ── r4 ┘
//!                      └── late
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::load::{Expected, Failure, Load, last, now};
use crate::net::{Net, Place, skip, wire};
use crate::node::{GRANTS, Node, bin, keygen, wait_until};
use crate::sshd::PROGRAMS;
use crate::{Ends, SERVER};

/// Wires: the second of each pair dials the first.
const WIRES: [(&str, &str); 9] = [
    ("r1", "client"),
    ("r2", "client"),
    ("r1", "r2"),
    ("r1", "r3"),
    ("r2", "r4"),
    ("r3", "r4"),
    ("r3", "forwarder"),
    ("r4", "forwarder"),
    ("r4", "late"),
];
const RELAYS: [&str; 4] = ["r1", "r2", "r3", "r4"];
/// How long a relay is away.
const AWAY: Duration = Duration::from_secs(4);
/// How long the overlay is left alone behind each failure.
const CALM: Duration = Duration::from_secs(4);

struct Mesh {
    places: BTreeMap<&'static str, Place>,
    nodes: BTreeMap<&'static str, Node>,
    names: BTreeMap<&'static str, String>,
    folder: TempDir,
    server: std::process::Child,
}

impl Mesh {
    fn new(scenario: &str) -> Self {
        let name = |place: &str| format!("muses-{}-{scenario}-{place}", std::process::id());
        let all = ["r1", "r2", "r3", "r4", "forwarder", "client", "late"];
        let places: BTreeMap<_, _> = all.map(|node| (node, Place::new(name(node)))).into();
        for (number, (a, b)) in WIRES.iter().enumerate() {
            let address = |end: u8| format!("10.7.{number}.{end}/24");
            wire(
                &places[a],
                (&format!("to-{b}"), &address(1)),
                &places[b],
                (&format!("to-{a}"), &address(2)),
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("network.key");
        let made = std::process::Command::new(bin())
            .args(["keygen", "--network"])
            .arg(&key)
            .output()
            .unwrap();
        assert!(made.status.success());
        let names = all.map(|node| (node, keygen(&folder.path().join(node))));
        let repositories = folder.path().join("git");
        fs::create_dir(&repositories).unwrap();
        let far = &places["forwarder"];
        far.run(&["ip", "addr", "add", &format!("{SERVER}/32"), "dev", "lo"]);
        let serve = [
            "python3",
            "tests/lab/serve.py",
            repositories.to_str().unwrap(),
        ];
        let server = far.spawn(&serve);
        let mut mesh = Self {
            places,
            nodes: BTreeMap::new(),
            names: names.into(),
            folder,
            server,
        };
        for node in all {
            if node != "late" {
                mesh.start(node);
            }
        }
        mesh
    }

    fn home(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    /// The configuration of a node: whom it dials follows from [`WIRES`].
    fn config(&self, node: &str) -> String {
        let peers: Vec<String> = WIRES
            .iter()
            .enumerate()
            .filter(|(_, (_, dialler))| *dialler == node)
            .map(|(number, (a, _))| format!("\"{}@10.7.{number}.1:7700\"", self.names[a]))
            .collect();
        let key = self.folder.path().join("network.key");
        let mut config = format!(
            "[network]\nkey_file = \"{}\"\n[link]\npeers = [{}]\n",
            key.display(),
            peers.join(", ")
        );
        let forwarder = &self.names["forwarder"];
        config += &match node {
            "client" | "late" => format!(
                "[aliases]\ngw = \"{forwarder}\"\n[cloak]\nrelay = false\n\
                 [proxy]\nlisten = [\"127.0.0.1:1080\", \"[::1]:1080\"]\n\
                 [[route]]\nmatch = [\"*\"]\nvia = \"gw\"\n"
            ),
            "forwarder" => format!("[cloak]\nrelay = false\n{}", grants()),
            _ => "listen = [\"0.0.0.0:7700\"]\n".to_owned(),
        };
        config
    }

    fn start(&mut self, node: &'static str) {
        let (home, config) = (self.home(node), self.config(node));
        let started = Node::start(&home, &config, &self.places[node].prefix());
        self.nodes.insert(node, started);
    }

    /// A relay dies without a word, and comes back.
    fn strike(&mut self, node: &'static str) -> Failure {
        let began = now();
        self.nodes[node].signal(Signal::KILL);
        self.nodes.remove(node);
        last(AWAY);
        let home = self.home(node);
        let restarted = Node::restart(&home, &self.places[node].prefix());
        self.nodes.insert(node, restarted);
        last(CALM);
        Failure { began, over: began }
    }

    fn ends(&self) -> Ends<'_> {
        Ends {
            near: &self.places["client"],
            client: &self.nodes["client"],
            far: &self.places["forwarder"],
            folder: self.folder.path(),
        }
    }

    /// Which node has this name.
    fn who(&self, name: &str) -> &'static str {
        let found = self.names.iter().find(|(_, known)| *known == name);
        found.unwrap().0
    }

    /// The nodes on the way from a client to the forwarder, which is the last.
    fn way(&self, from: &str) -> Vec<&'static str> {
        let out = self.nodes[from]
            .command(&["trace", "gw", "--json"])
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let told: Value = serde_json::from_slice(&out.stdout).unwrap();
        let hops = told["hops"].as_array().unwrap();
        hops.iter()
            .map(|hop| self.who(hop["name"].as_str().unwrap()))
            .collect()
    }

    /// The root of the tree, as the client sees it.
    fn root(&self) -> &'static str {
        let status = self.nodes["client"].status();
        self.who(status["overlay"]["root"].as_str().unwrap())
    }

    fn curl(&self, from: &str) -> std::process::Output {
        let url = format!("http://{SERVER}:8000/pattern/1000000");
        let get = ["curl", "-sSf", "--socks5-hostname", "127.0.0.1:1080", &url];
        self.places[from].output(&get)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

fn grants() -> String {
    GRANTS.replace("\"*:*\"", "\"10.0.0.0/8:*\", \"*:*\"")
}

/// Whether a file that a capture made holds these bytes.
fn holds(capture: &Path, bytes: &[u8]) -> bool {
    let captured = fs::read(capture).unwrap();
    captured.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn connections_through_relays_outlive_each_of_them() {
    let scenario = "connections_through_relays_outlive_each_of_them";
    if skip(scenario, &PROGRAMS) {
        return;
    }
    let mut mesh = Mesh::new("mesh");
    wait_until("a transfer through relays", || {
        mesh.curl("client").status.success()
    });
    let way = mesh.way("client");
    println!("{scenario}: the way is client → {}", way.join(" → "));
    assert!(way.len() >= 3, "{way:?}");
    let load = Load::start(mesh.ends(), Duration::from_secs(64));
    let in_use = way[0];
    let mut failures = vec![mesh.strike(in_use)];
    let root = mesh.root();
    println!("{scenario}: {in_use} was in use, {root} is root");
    failures.push(mesh.strike(root));
    mesh.start("late");
    for relay in RELAYS {
        failures.push(mesh.strike(relay));
    }
    let expected = Expected {
        scenario,
        target: 5.0,
        cause: None,
    };
    load.finish(mesh.ends(), &expected, &failures);
    wait_until("the late joiner gets through", || {
        mesh.curl("late").status.success()
    });
}

/// The worst that can happen to the tree, again and again, each time before it is quite at rest.
#[test]
fn connections_outlive_one_root_after_the_other() {
    let scenario = "connections_outlive_one_root_after_the_other";
    if skip(scenario, &PROGRAMS) {
        return;
    }
    let mut mesh = Mesh::new("roots");
    wait_until("a transfer through relays", || {
        mesh.curl("client").status.success()
    });
    let load = Load::start(mesh.ends(), Duration::from_secs(48));
    let mut failures = Vec::new();
    for _ in 0..5 {
        let root = mesh.root();
        println!("{scenario}: {root} is root");
        failures.push(mesh.strike(root));
    }
    let expected = Expected {
        scenario,
        target: 5.0,
        cause: None,
    };
    load.finish(mesh.ends(), &expected, &failures);
}

#[test]
fn relays_see_neither_destinations_nor_plaintext() {
    let scenario = "relays_see_neither_destinations_nor_plaintext";
    if skip(scenario, &["curl"]) {
        return;
    }
    let mesh = Mesh::new("sniff");
    wait_until("a transfer through relays", || {
        mesh.curl("client").status.success()
    });
    let captures: Vec<_> = RELAYS
        .iter()
        .map(|relay| {
            let file = mesh.folder.path().join(format!("{relay}.bytes"));
            let words = ["python3", "tests/lab/capture.py", file.to_str().unwrap()];
            let child = mesh.places[relay].spawn(&words);
            wait_until("the capture runs", || file.exists());
            (*relay, file, child)
        })
        .collect();
    let out = mesh.curl("client");
    assert!(out.status.success());
    // Every relay on the way saw the transfer come in and go out.
    wait_until("what crossed a relay is captured", || {
        let len = |file: &PathBuf| fs::metadata(file).unwrap().len();
        captures.iter().any(|(_, file, _)| len(file) > 2_000_000)
    });
    // The pattern repeats, so any piece of it would be seen.
    let (plain, host) = (&out.stdout[1_000..1_032], SERVER.as_bytes());
    for (relay, file, mut child) in captures {
        assert!(!holds(&file, plain), "{relay} saw the plaintext");
        assert!(!holds(&file, host), "{relay} saw the destination");
        assert!(!holds(&file, b"/pattern/"), "{relay} saw the request");
        child.kill().unwrap();
        child.wait().unwrap();
        let status = mesh.nodes[relay].status();
        assert_eq!(status["sessions"].as_array().unwrap().len(), 0, "{relay}");
    }
}

/// The paper's Figure 2: a node of the overlay alone, and nodes with applications attached to it on the same
/// machine, each by one loopback link.
#[test]
fn nodes_with_applications_share_a_node_of_the_overlay_on_their_machine() {
    let scenario = "nodes_with_applications_share_a_node_of_the_overlay_on_their_machine";
    if skip(scenario, &["curl"]) {
        return;
    }
    let mesh = Mesh::new("figure2");
    let place = &mesh.places["r1"];
    let attached: Vec<(Node, u16)> = [1081_u16, 1082]
        .into_iter()
        .map(|port| {
            let home = mesh.home(&format!("application-{port}"));
            keygen(&home);
            let config = mesh
                .config("client")
                .replace("10.7.0.1:7700", "127.0.0.1:7700")
                .replace("[cloak]", "[cloak]\nshortcuts = false")
                .replace(
                    "127.0.0.1:1080\", \"[::1]:1080",
                    &format!("127.0.0.1:{port}"),
                );
            let config = only_first_peer(&config);
            (Node::start(&home, &config, &place.prefix()), port)
        })
        .collect();
    for (node, port) in &attached {
        let proxy = format!("127.0.0.1:{port}");
        let url = format!("http://{SERVER}:8000/pattern/100000");
        let get = ["curl", "-sSf", "--socks5-hostname", &proxy, &url];
        wait_until("it gets through", || {
            let out = place.output(&get);
            out.status.success() && out.stdout.len() == 100_000
        });
        let status = node.status();
        let links = status["links"].as_array().unwrap();
        assert_eq!(links.len(), 1, "{links:?}");
        assert_eq!(links[0]["peer"], *mesh.names["r1"]);
    }
    let relay = mesh.nodes["r1"].status();
    assert_eq!(relay["sessions"].as_array().unwrap().len(), 0);
    assert_eq!(relay["listeners"], serde_json::json!(["link 0.0.0.0:7700"]));
}

/// The configuration with the first of its peers alone.
fn only_first_peer(config: &str) -> String {
    let (front, rest) = config.split_once("peers = [").unwrap();
    let (peers, rest) = rest.split_once(']').unwrap();
    let first = peers.split(", ").next().unwrap();
    format!("{front}peers = [{first}]{rest}")
}

/// How the packets of the client's only session travel.
fn session_way(client: &Node) -> String {
    let status = client.status();
    let session = &status["sessions"][0];
    session["way"]["kind"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Both ends know only a relay, but can reach each other.
#[test]
fn a_session_moves_onto_a_direct_link_by_itself_and_back() {
    let scenario = "a_session_moves_onto_a_direct_link_by_itself_and_back";
    if skip(scenario, &PROGRAMS) {
        return;
    }
    let net = Net::new("short");
    let folder = tempfile::tempdir().unwrap();
    let home = |node: &str| folder.path().join(node);
    let [near, relay, far] = ["client", "relay", "gateway"].map(|node| keygen(&home(node)));
    let allow = format!("[network]\nallow = [\"{near}\", \"{relay}\", \"{far}\"]\n[link]\n");
    // From outside nothing but links gets to the gateway, so the relay dials it.
    let config = format!("{allow}listen = [\"0.0.0.0:7700\"]\npeers = [\"{far}@{SERVER}:7700\"]\n");
    let _relay = Node::start(&home("relay"), &config, &net.router.prefix());
    // The directory tells the addresses of its machine.
    let config = format!("{allow}listen = [\"0.0.0.0:7700\"]\n{}", grants());
    let _gateway = Node::start(&home("gateway"), &config, &net.server.prefix());
    let config = format!(
        "{allow}peers = [\"{relay}@10.9.1.1:7700\"]\n[aliases]\ngw = \"{far}\"\n\
         [proxy]\nlisten = [\"127.0.0.1:1080\", \"[::1]:1080\"]\n\
         [[route]]\nmatch = [\"*\"]\nvia = \"gw\"\n"
    );
    let client = Node::start(&home("client"), &config, &net.client.prefix());
    let repositories = home("git");
    fs::create_dir(&repositories).unwrap();
    let serve = [
        "python3",
        "tests/lab/serve.py",
        repositories.to_str().unwrap(),
    ];
    let mut server = net.server.spawn(&serve);
    let ends = Ends {
        near: &net.client,
        client: &client,
        far: &net.server,
        folder: folder.path(),
    };
    let load = Load::start(ends, Duration::from_secs(30));
    wait_until("the session has a link of its own", || {
        session_way(&client) == "direct"
    });
    last(Duration::from_secs(2));
    let began = now();
    net.router.run(&["nft", "add table ip cut; add chain ip cut f { type filter hook forward priority 0; policy drop; }"]);
    wait_until("the session goes through the relay again", || {
        session_way(&client) == "relayed"
    });
    let expected = Expected {
        scenario,
        target: 5.0,
        cause: None,
    };
    load.finish(ends, &expected, &[Failure { began, over: began }]);
    server.kill().unwrap();
    server.wait().unwrap();
}
