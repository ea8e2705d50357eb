//! Real nodes under garbage, slow feeding, floods and want of descriptors, while others are served.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers fail the test"
)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

#[path = "support/node.rs"]
mod node;
#[path = "support/pair.rs"]
mod pair;

use node::{DEADLINE, GRANTS, Node, client_config, gateway_config, keygen, wait_until};
use pair::{Pair, answered, ask, echo, exchange, ping, reset, serve, socks, stream, v4};

/// Somebody who is served all the while.
struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Bystander {
    fn new(stream: TcpStream) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut pings = 0;
            while !stopped.load(Ordering::Relaxed) {
                ping(&stream, b"still here?");
                pings += 1;
                thread::park_timeout(Duration::from_millis(5));
            }
            pings
        });
        Self { stop, thread }
    }

    fn was_served(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.thread.join().unwrap() > 10, "hardly served");
    }
}

/// Anything that can be knocked at.
trait Door: Read + Write + Send {
    fn patience(&self, patience: Duration);
}

impl Door for TcpStream {
    fn patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }
}

impl Door for UnixStream {
    fn patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }
}

/// The places where strangers may speak.
#[derive(Clone, Debug)]
enum Place {
    Tcp(SocketAddr),
    Control(PathBuf),
}

impl Place {
    fn knock(&self) -> Box<dyn Door> {
        match self {
            Self::Tcp(address) => Box::new(stream(*address)),
            Self::Control(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_write_timeout(Some(DEADLINE)).unwrap();
                Box::new(stream)
            }
        }
    }
}

fn places(pair: &Pair) -> [Place; 3] {
    [
        Place::Tcp(pair.proxy()),
        Place::Tcp(pair.gateway.address("link")),
        Place::Control(pair.client.folder.join("muses.key.sock")),
    ]
}

/// Bytes that look like anything: pseudo-random, or a true beginning, cut short or gone wrong.
fn garbage(round: usize) -> Vec<u8> {
    let beginnings: [&[u8]; 12] = [
        b"",
        &[5, 1, 0, 5, 1, 0, 3, 255],
        &[5, 255],
        &[5, 1, 2, 1, 255],
        b"CONNECT x:1 HTTP/1.1\r\nHost:",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 252],
        // The lengths of the messages that make a link (PROTOCOL 3).
        &[1, 32],
        &[3, 34],
        &[1, 0],
        &[0, 240],
        b"{\"connect\":{\"host\":\"",
    ];
    let mut state = round as u64 + 1;
    let len = (round * 97) % 3_000;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    let beginning = beginnings[round % beginnings.len()].iter().copied();
    beginning.chain(noise.take(len)).collect()
}

/// Resident memory in KiB.
fn resident(node: &Node) -> u64 {
    let path = format!("/proc/{}/status", node.child.id());
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Processor time used so far, in hundredths of a second.
fn processor(node: &Node) -> u64 {
    let path = format!("/proc/{}/stat", node.child.id());
    let text = fs::read_to_string(path).unwrap();
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn is_well(pair: &Pair) {
    exchange(pair.connect(serve(echo)), 2, 100_000);
    for node in [&pair.client, &pair.gateway] {
        let log = fs::read_to_string(node.folder.join("log")).unwrap();
        assert!(!log.contains("panic") && !log.contains("ERROR"), "{log}");
    }
}

#[test]
fn garbage_at_every_door_is_survived_and_the_link_port_says_nothing() {
    let pair = Pair::new();
    let bystander = Bystander::new(pair.connect(serve(echo)));
    let before = resident(&pair.client) + resident(&pair.gateway);
    for (which, place) in places(&pair).iter().enumerate() {
        let mut guests: Vec<_> = (0..200)
            .map(|round| {
                let mut guest = place.knock();
                // It may be closed before all of it is written.
                let _closed = guest.write_all(&garbage(round));
                guest
            })
            .collect();
        for guest in &mut guests {
            let mut heard = Vec::new();
            // It ends, in one way or another.
            let ended = guest.read_to_end(&mut heard);
            let waits = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            assert!(!waits, "{place:?} keeps a guest for ever");
            assert!(heard.len() < 400, "{place:?} says much");
            assert!(which != 1 || heard.is_empty(), "the link port spoke");
        }
    }
    let after = resident(&pair.client) + resident(&pair.gateway);
    assert!(after < before + 65_536, "{before} KiB, then {after} KiB");
    bystander.was_served();
    is_well(&pair);
}

/// The first message of a link, with its length, as a node of this network says it.
fn first_message() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let stranger = keygen(&folder.path().join("other"));
    let place = folder.path().join("dialler");
    keygen(&place);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _node = Node::start(&place, &client_config(&stranger, address, ""), &[]);
    let (mut link, _) = listener.accept().unwrap();
    link.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut first = vec![0; 290];
    link.read_exact(&mut first).unwrap();
    assert_eq!(first[..2], [1, 32]);
    first
}

#[test]
fn who_begins_a_link_and_goes_on_with_garbage_hears_one_answer_and_is_let_go() {
    let pair = Pair::new();
    let bystander = Bystander::new(pair.connect(serve(echo)));
    let first = first_message();
    let third = |round: usize| match round % 4 {
        0 => Vec::new(),
        1 => [&[1, 0][..], &vec![0xa5; 256]].concat(),
        2 => [&[1, 0][..], &vec![0xa5; 255]].concat(),
        _ => garbage(round),
    };
    let mut guests: Vec<_> = (0..100)
        .map(|round| {
            let mut guest = stream(pair.gateway.address("link"));
            guest.write_all(&first).unwrap();
            let mut second = [0; 290];
            guest.read_exact(&mut second).unwrap();
            assert_eq!(second[..2], [1, 32]);
            guest.write_all(&third(round)).unwrap();
            guest
        })
        .collect();
    for guest in &mut guests {
        let mut heard = Vec::new();
        let end = guest.read_to_end(&mut heard).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        assert!(heard.is_empty(), "{heard:?}");
    }
    bystander.was_served();
    is_well(&pair);
}

#[test]
fn whoever_feeds_slowly_is_let_go() {
    let pair = Pair::new();
    let bystander = Bystander::new(pair.connect(serve(echo)));
    // Each byte is one more of something that may go on: methods, a message of this length, a line.
    let beginnings = [vec![5, 255], vec![3, 34], vec![b'{']];
    let feeders = places(&pair).into_iter().zip(beginnings);
    let feeders: Vec<_> = feeders
        .map(|(place, mut bytes)| {
            thread::spawn(move || {
                let mut guest = place.knock();
                guest.patience(Duration::from_millis(100));
                for fed in 0..600 {
                    // It may be closed by now, which reading tells.
                    let _closed = guest.write_all(&bytes);
                    bytes = vec![b' '];
                    match guest.read(&mut [0; 400]) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Ok(0) | Err(_) => return fed,
                        Ok(_) => {}
                    }
                }
                panic!("{place:?} listens for ever");
            })
        })
        .collect();
    for feeder in feeders {
        assert!(feeder.join().unwrap() > 0);
    }
    bystander.was_served();
    is_well(&pair);
}

#[test]
fn a_flood_at_every_door_stalls_nobody_and_costs_little() {
    let pair = Pair::new();
    let bystander = Bystander::new(pair.connect(serve(echo)));
    let before = resident(&pair.client) + resident(&pair.gateway);
    let mut held: Vec<Box<dyn Door>> = Vec::new();
    for (place, count) in places(&pair).iter().zip([2_000, 2_000, 1_000]) {
        for round in 0..count {
            let mut guest = place.knock();
            // Some say something, some begin what could be a request, some are silent.
            if round % 3 > 0 {
                let _closed = guest.write_all(&garbage(round % 9)[..1]);
            }
            held.push(guest);
        }
    }
    let after = resident(&pair.client) + resident(&pair.gateway);
    assert!(after < before + 131_072, "{before} KiB, then {after} KiB");
    is_well(&pair);
    // Another node finds its way to the gateway through the crowd.
    let folder = tempfile::tempdir().unwrap();
    let name = keygen(folder.path());
    let file = pair.gateway.folder.join("proxy.toml");
    let config = fs::read_to_string(&file).unwrap();
    let allow = config.replace("allow = [", &format!("allow = [\"{name}\", "));
    fs::write(&file, allow).unwrap();
    pair.gateway.signal(Signal::HUP);
    let own = pair
        .gateway
        .command(&["name", "muses.key"])
        .output()
        .unwrap();
    let gateway = String::from_utf8(own.stdout).unwrap();
    let link = pair.gateway.address("link");
    let other = Node::start(folder.path(), &client_config(gateway.trim(), link, ""), &[]);
    exchange(
        socks(other.address("proxy"), &v4(serve(echo))).unwrap(),
        3,
        10_000,
    );
    held.clear();
    // Those that come and reset at once.
    for place in places(&pair) {
        if let Place::Tcp(address) = place {
            (0..1_000).for_each(|_| reset(stream(address)));
        }
    }
    bystander.was_served();
    is_well(&pair);
}

/// A pair of which one node has few descriptors.
fn short(which: &str) -> Pair {
    let few = ["sh", "-c", "ulimit -n 96; exec \"$0\" \"$@\""];
    let folder: TempDir = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("client"), folder.path().join("gateway"));
    let (client, gateway) = (keygen(&near), keygen(&far));
    let prefix = |name| if name == which { &few[..] } else { &[] };
    let far = Node::start(&far, &gateway_config(&client, 0, GRANTS), prefix("gateway"));
    let config = client_config(&gateway, far.address("link"), "");
    let near = Node::start(&near, &config, prefix("client"));
    Pair {
        client: near,
        gateway: far,
        _folder: folder,
    }
}

/// The processor time that a node uses while a hundred looks pass, in hundredths of a second.
fn idle_cost(node: &Node) -> u64 {
    let before = processor(node);
    let mut looks = 0;
    wait_until("a while has passed", || {
        looks += 1;
        looks > 100
    });
    processor(node) - before
}

#[test]
fn a_client_without_descriptors_waits_resumes_and_recovers() {
    let pair = short("client");
    let port = serve(echo);
    let kept = pair.connect(port);
    ping(&kept, b"before");
    let crowd: Vec<_> = (0..150)
        .map(|_| {
            let application = stream(pair.proxy());
            ask(&application, &v4(port));
            application
        })
        .collect();
    let channels = || {
        pair.client.status()["sessions"][0]["channels"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let mut before = 0;
    wait_until("no more are taken", || {
        let count = channels();
        let same = count == before && count > 20;
        before = count;
        same
    });
    assert!(channels() < 100, "more than there are descriptors");
    assert!(idle_cost(&pair.client) < 60, "it spins");
    ping(&kept, b"in the crowd");
    // The next link takes a descriptor, too.
    pair.gateway.signal(Signal::STOP);
    wait_until("the link is gone", || {
        let status = pair.client.status();
        let links = status["links"].as_array();
        links.is_some_and(|links| links.iter().all(|link| link["state"] != "up"))
    });
    pair.gateway.signal(Signal::CONT);
    ping(&kept, b"after the pause");
    // Everybody gets a turn when others leave.
    for application in crowd {
        assert_eq!(answered(&application), 0);
        ping(&application, b"my turn");
    }
    is_well(&pair);
}

#[test]
fn a_gateway_without_descriptors_says_so_and_recovers() {
    let pair = short("gateway");
    let port = serve(echo);
    let kept = pair.connect(port);
    let mut taken = Vec::new();
    let refused = loop {
        match socks(pair.proxy(), &v4(port)) {
            Ok(stream) => taken.push(stream),
            Err(code) => break code,
        }
        assert!(taken.len() < 100, "more than there are descriptors");
    };
    assert_eq!(refused, 1, "a limit is reached");
    assert!(taken.len() > 20);
    assert!(idle_cost(&pair.gateway) < 60, "it spins");
    ping(&kept, b"in the crowd");
    assert_eq!(
        pair.gateway.status()["links"].as_array().map(Vec::len),
        Some(1)
    );
    drop(taken);
    wait_until("there is room again", || {
        socks(pair.proxy(), &v4(port)).is_ok()
    });
    is_well(&pair);
}

#[test]
fn a_burst_of_connections_opens_without_a_refusal() {
    let pair = Pair::new();
    let port = serve(echo);
    let crowd: Vec<_> = (0..2_000)
        .map(|_| {
            let application = stream(pair.proxy());
            ask(&application, &v4(port));
            application
        })
        .collect();
    let refused = crowd.iter().filter(|stream| answered(stream) != 0).count();
    assert_eq!(refused, 0);
    for application in crowd.iter().step_by(50) {
        ping(application, b"my turn");
    }
    is_well(&pair);
}
