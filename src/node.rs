//! A running node: everything wired together. The public interface of the library.
//!
//! A node is one [`part`] for its own identity, and a second one for the embedded node if there is one:
//! core thread, links, forwarder. Front ends and control belong to the first.

mod part;
mod routing;
mod service;
mod state;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::acl::Acl;
use crate::config::{Config, LinkConfig, Listen, Uids};
use crate::control::socket::{Access, BindError, Socket};
use crate::forwarder::OwnListeners;
use crate::name::{Identity, Name};
use crate::net::accept::listen;
use crate::net::addresses;
use crate::net::tasks::Tasks;
use crate::node::part::{Links, Part, PartSetup, Policy};
use crate::node::routing::Routing;
use crate::peering::dialer::{Endpoint, Hurry};
use crate::proxy::{Door, FrontEnd, Router, Users, serve_forward};

pub use service::Handle;

/// Everything a node starts from.
#[derive(Debug)]
pub struct Setup {
    /// The checked configuration.
    pub config: Config,
    /// Who it is.
    pub identity: Identity,
    /// The overlay's pre-shared key.
    pub network_key: Option<Zeroizing<[u8; 32]>>,
    /// Who the embedded node is.
    pub embedded: Option<Identity>,
    /// Where state may be kept; none if there is no such place (R-G4).
    pub state_dir: Option<PathBuf>,
    /// Reads the configuration again, for a reload.
    pub read_config: fn(&std::path::Path) -> Result<Config, String>,
    /// Where it came from.
    pub config_path: PathBuf,
}

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(
        "[{table}] listen = \"{address}\": {error}; choose another address or stop what uses it"
    )]
    Listen {
        /// The table of the configuration.
        table: &'static str,
        /// The address.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A Unix socket cannot be opened.
    #[error("[{0}] listen: {1}")]
    Socket(&'static str, BindError),
    /// The system gives no randomness.
    #[error("no randomness from the system: {0}")]
    Random(getrandom::Error),
    /// The core thread cannot be started.
    #[error("cannot start the core thread: {0}")]
    Thread(std::io::Error),
}

/// A node that runs.
#[derive(Debug)]
pub struct RunningNode {
    handle: Arc<Handle>,
    own: Part,
    embedded: Option<Part>,
    front_ends: Tasks,
    /// Unix sockets of the front ends, whose paths go away with them.
    sockets: Vec<Socket>,
    /// Open listeners, as `KIND ADDRESS`.
    pub listeners: Vec<String>,
}

/// Starts a node on the present tokio runtime; its listeners are open when it returns.
pub fn start(setup: Setup) -> Result<RunningNode, StartError> {
    let config = Arc::new(setup.config);
    let own_name = setup.identity.name();
    let embedded_name = setup.embedded.as_ref().map(Identity::name);
    let routing = Arc::new(Routing::new(Arc::clone(&config), own_name, embedded_name));
    let mut starting = Starting {
        config,
        routing,
        network_key: setup.network_key,
        own_listeners: OwnListeners::default(),
        listeners: Vec::new(),
        sockets: Vec::new(),
        endpoints: Vec::new(),
    };
    starting.endpoints = endpoints(&starting.config);
    let embedded = match setup.embedded {
        Some(identity) => starting.embedded(identity, own_name)?,
        None => None,
    };
    let own = starting.own(setup.identity, embedded_name, setup.state_dir)?;
    let front_ends = Tasks::new(tokio::runtime::Handle::current());
    starting.front_ends(&own, &front_ends)?;
    let handle = Arc::new(Handle::new(
        starting.routing,
        own.control(),
        embedded.as_ref().map(Part::control),
        starting.listeners.clone(),
        (setup.config_path, setup.read_config),
    ));
    front_ends.spawn(Arc::clone(&handle).recheck());
    Ok(RunningNode {
        handle,
        own,
        embedded,
        front_ends,
        sockets: starting.sockets,
        listeners: starting.listeners,
    })
}

/// A node on its way up.
struct Starting {
    config: Arc<Config>,
    routing: Arc<Routing>,
    network_key: Option<Zeroizing<[u8; 32]>>,
    own_listeners: OwnListeners,
    listeners: Vec<String>,
    sockets: Vec<Socket>,
    endpoints: Vec<Endpoint>,
}

impl Starting {
    /// The embedded node: its link is on a loopback port of its own, for the outer node only.
    fn embedded(&mut self, identity: Identity, outer: Name) -> Result<Option<Part>, StartError> {
        let Some(acl) = self.config.embedded.as_ref().map(|table| table.acl(outer)) else {
            return Ok(None);
        };
        let pinned = Some(identity.name());
        let loopback = self.listen("embedded", (Ipv4Addr::LOCALHOST, 0).into())?;
        let address = loopback
            .local_addr()
            .map_or_else(|_| String::new(), |a| a.to_string());
        self.endpoints.push(Endpoint { address, pinned });
        let links = Links {
            listeners: vec![loopback],
            endpoints: Vec::new(),
            announced: Arc::new(Vec::new),
            relay: false,
        };
        self.part(identity, Some(acl), links, Policy::only(outer), None)
            .map(Some)
    }

    /// The node's own part, which dials the embedded one too.
    fn own(
        &mut self,
        identity: Identity,
        embedded: Option<Name>,
        state_dir: Option<PathBuf>,
    ) -> Result<Part, StartError> {
        let mut listeners = Vec::new();
        let config = Arc::clone(&self.config);
        for address in &config.link.listen {
            listeners.push(self.listen("link", *address)?);
        }
        let bound = listeners.iter().filter_map(|one| one.local_addr().ok());
        let (link, listening) = (config.link.clone(), bound.collect::<Vec<_>>());
        let endpoints = std::mem::take(&mut self.endpoints);
        let policy = Policy::of(&config, self.network_key.is_some(), embedded);
        let links = Links {
            listeners,
            endpoints,
            announced: Arc::new(move || announced(&link, &listening)),
            relay: config.is_relay(),
        };
        self.part(identity, config.forwarder.clone(), links, policy, state_dir)
    }

    fn part(
        &self,
        identity: Identity,
        acl: Option<Acl>,
        links: Links,
        policy: Policy,
        state_dir: Option<PathBuf>,
    ) -> Result<Part, StartError> {
        Part::start(PartSetup {
            identity,
            config: Arc::clone(&self.config),
            network_key: self.network_key.clone(),
            acl,
            links,
            policy,
            own_listeners: self.own_listeners.clone(),
            routing: Arc::clone(&self.routing),
            state_dir,
        })
    }

    fn front_ends(&mut self, own: &Part, tasks: &Tasks) -> Result<(), StartError> {
        let config = Arc::clone(&self.config);
        let users = (!config.proxy.users.is_empty()).then(|| {
            let users = config.proxy.users.iter();
            Users::new(users.map(|(name, secret)| (name.as_str(), secret.expose())))
        });
        let router: Arc<dyn Router> = Arc::<Routing>::clone(&self.routing);
        let gate = own.inlets().connections.clone();
        let front_end = Arc::new(FrontEnd::new(
            router,
            users,
            gate.clone(),
            config.proxy.listen.len(),
        ));
        for listen in &config.proxy.listen {
            let door = self.door(
                "proxy",
                listen,
                &config.proxy.allow_uids,
                &config.proxy.from,
            )?;
            tasks.spawn(Arc::clone(&front_end).serve(door, tasks.stopping()));
        }
        for (index, forward) in config.forwards.iter().enumerate() {
            let door = self.door(
                "forward",
                &forward.listen,
                &forward.allow_uids,
                &forward.from,
            )?;
            let routing = Arc::clone(&self.routing);
            let via = move || routing.forward(index);
            let target = forward.target.clone();
            tasks.spawn(serve_forward(
                door,
                via,
                target,
                gate.clone(),
                tasks.stopping(),
            ));
        }
        Ok(())
    }

    /// Opens a listener for applications.
    fn door(
        &mut self,
        table: &'static str,
        listen: &Listen,
        uids: &Uids,
        from: &Option<Vec<IpNet>>,
    ) -> Result<Door, StartError> {
        let own = rustix::process::geteuid().as_raw();
        let listed = match uids {
            Uids::Auto => None,
            Uids::Listed(uids) => Some(uids.iter().copied().chain([own]).collect()),
        };
        let path = match listen {
            Listen::Tcp(address) => {
                let listener = self.listen(table, *address)?;
                return Ok(Door::tcp(listener, listed, from.clone()));
            }
            Listen::Unix(path) => path,
        };
        let uids = listed.unwrap_or_else(|| BTreeSet::from([own]));
        let access = if uids.len() > 1 {
            Access::All
        } else {
            Access::Own
        };
        let failed = |error| StartError::Socket(table, error);
        let socket = Socket::bind(path, access).map_err(failed)?;
        let listener = socket.listener().and_then(UnixListener::from_std);
        let listener = listener.map_err(|error| failed(BindError::Io(path.clone(), error)))?;
        self.listeners.push(format!("{table} {listen}"));
        self.sockets.push(socket);
        Ok(Door::unix(listener, uids))
    }

    /// Opens a listener and notes it for status and for the forwarder, which never dials it.
    fn listen(
        &mut self,
        table: &'static str,
        address: SocketAddr,
    ) -> Result<TcpListener, StartError> {
        let failed = |error| StartError::Listen {
            table,
            address: address.to_string(),
            error,
        };
        let listener = listen(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        self.own_listeners.insert(bound);
        self.listeners.push(format!("{table} {bound}"));
        Ok(listener)
    }
}

/// What a node that listens there tells of where it can be dialled.
fn announced(link: &LinkConfig, listening: &[SocketAddr]) -> Vec<String> {
    let here = addresses::reachable().unwrap_or_else(|error| {
        tracing::debug!(%error, "the machine's addresses are not known");
        Vec::new()
    });
    link.announced(listening, &here)
}

fn endpoints(config: &Config) -> Vec<Endpoint> {
    let endpoint = |peer: &crate::config::PeerEndpoint| Endpoint {
        address: format!("{}:{}", peer.host, peer.port),
        pinned: peer.name,
    };
    config.link.peers.iter().map(endpoint).collect()
}

impl RunningNode {
    /// For control.
    pub fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Resolves when a core thread has died, which is a bug.
    pub async fn died(&mut self) {
        loop {
            let embedded = self.embedded.as_ref().is_some_and(Part::has_ended);
            if self.own.has_ended() || embedded {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Stops accepting, lets open connections go on for at most `grace`, says goodbye.
    pub async fn stop(self, grace: Duration) {
        self.front_ends.stop();
        drop(self.sockets);
        let deadline = Instant::now() + grace;
        while self.own.connections() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        self.own.stop().await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Wakes every dialer of a part.
#[derive(Clone, Debug, Default)]
struct Dialers(Arc<std::sync::Mutex<Vec<Arc<Hurry>>>>);

impl Dialers {
    /// A dialer's own wake-up.
    fn one(&self) -> Arc<Hurry> {
        let hurry = Arc::new(Hurry::default());
        self.lock().push(Arc::clone(&hurry));
        hurry
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Hurry>>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Channels wait for a link.
    fn wanted(&self) {
        self.lock()
            .iter()
            .for_each(|hurry| hurry.wanted.notify_one());
    }

    /// The network changed.
    fn network_changed(&self) {
        self.lock()
            .iter()
            .for_each(|hurry| hurry.network.notify_one());
    }
}
