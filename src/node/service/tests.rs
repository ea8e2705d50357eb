//! What is allowed is looked at again while the node runs.

use std::net::SocketAddr;
use std::sync::Mutex;

use dashmap::DashMap;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::config::Source;
use crate::engine::inlets;
use crate::forwarder::{Forwarder, OwnListeners};
use crate::name::Identity;
use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
use crate::net::tasks::Tasks;
use crate::peering::join::{Joiner, Standing};
use crate::srm::budget::Budget;
use crate::time::Calendar;

const KEY: ChannelKey = ChannelKey {
    session: 1,
    channel: ChannelId(1),
};

fn config() -> Config {
    let source = Source {
        path: Path::new("proxy.toml"),
        text: "",
        read: &|_| Err("no such file".to_owned()),
    };
    Config::parse(&source, 1 << 20).unwrap()
}

/// A node whose forwarder serves one channel that no grant allows any more, and what it asks of its core.
fn handle(tasks: &Tasks) -> (Arc<Handle>, Arc<Mutex<Vec<ResetCode>>>) {
    let identity = Identity::from_seed(&[1; 32]);
    let name = identity.name();
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([2; 32]);
    let me = LocalParty::new(identity, key, terms, [1; 16], OverlayId::of("test"));
    let served = Arc::new(DashMap::new());
    let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
    let peer = Identity::from_seed(&[3; 32]).name();
    served.insert(KEY, (peer, Target::Loopback(80), address));
    let (inlets, queues) = inlets();
    let own = PartControl {
        inlets,
        forwarder: Forwarder::new(Acl::default(), OwnListeners::default(), false),
        served,
        budget: Budget::new(1 << 20),
        memory: 1 << 20,
        joiner: Arc::new(Joiner::new(
            Arc::new(me),
            None,
            Box::new(|_| Standing::Allowed),
        )),
        reports: Arc::new([]),
        resumed: Arc::new(Notify::new()),
    };
    let killed = Arc::new(Mutex::new(Vec::new()));
    let kills = Arc::clone(&killed);
    tasks.spawn(queues.kills(move |key, code| {
        assert_eq!(key, KEY);
        kills.lock().unwrap().push(code);
    }));
    let routing = Arc::new(Routing::new(Arc::new(config()), name, None));
    let read: ReadConfig = |_| Err("not here".to_owned());
    let source = (PathBuf::from("proxy.toml"), read);
    let handle = Handle::new(routing, own, None, Vec::new(), source);
    (Arc::new(handle), killed)
}

#[tokio::test(start_paused = true)]
async fn grants_are_looked_at_every_minute() {
    let tasks = Tasks::new(Runtime::current());
    let (handle, killed) = handle(&tasks);
    let began = Instant::now();
    tasks.spawn(Arc::clone(&handle).recheck());
    while killed.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(*killed.lock().unwrap(), [ResetCode::Forbidden]);
    assert!(began.elapsed() >= RECHECK, "in virtual time");
}

#[tokio::test(start_paused = true)]
async fn grants_are_looked_at_when_a_session_was_resumed() {
    let tasks = Tasks::new(Runtime::current());
    let (handle, killed) = handle(&tasks);
    let began = Instant::now();
    tasks.spawn(Arc::clone(&handle).recheck());
    handle.own.resumed.notify_one();
    while killed.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() < RECHECK / 2, "in virtual time");
}
