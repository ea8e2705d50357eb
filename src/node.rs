//! A running node: everything wired together. The public interface of the library.
//!
//! A node is one [`part`] for its own identity, and a second one for the embedded node if there is one:
//! core thread, links, forwarder. Front ends and control belong to the first.

mod part;
mod routing;
mod service;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::forwarder::OwnListeners;
use crate::name::Identity;
use crate::net::tasks::Tasks;
use crate::node::part::{Links, Part, PartSetup, Policy};
use crate::node::routing::Routing;
use crate::peering::dialer::{Endpoint, Hurry};
use crate::proxy::{FrontEnd, Users, serve_forward};
use crate::wire::target::Target;

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
    /// Open listeners, as `KIND ADDRESS`.
    pub listeners: Vec<String>,
}

/// Starts a node; its listeners are open when it returns.
pub async fn start(setup: Setup) -> Result<RunningNode, StartError> {
    let Setup {
        config,
        identity,
        network_key,
        embedded,
        state_dir,
        read_config,
        config_path,
    } = setup;
    let runtime = tokio::runtime::Handle::current();
    let own_name = identity.name();
    let config = Arc::new(config);
    let embedded_name = embedded.as_ref().map(Identity::name);
    let routing = Arc::new(Routing::new(Arc::clone(&config), own_name, embedded_name));
    let mut listeners = Vec::new();
    let own_listeners = OwnListeners::default();
    let front_ends = Tasks::new(runtime.clone());

    let mut endpoints = endpoints(&config);
    let mut embedded_part = None;
    if let (Some(identity), Some(table)) = (embedded, &config.embedded) {
        let name = identity.name();
        let loopback = bind("embedded", "127.0.0.1:0").await?;
        note(&mut listeners, &own_listeners, "embedded", &loopback);
        endpoints.push(Endpoint {
            address: local_address(&loopback),
            pinned: Some(name),
        });
        let part = Part::start(PartSetup {
            identity,
            config: Arc::clone(&config),
            network_key: network_key.clone(),
            acl: Some(table.acl(own_name)),
            links: Links {
                listeners: vec![loopback],
                endpoints: Vec::new(),
            },
            policy: Policy::only(own_name),
            own_listeners: own_listeners.clone(),
            routing: Arc::clone(&routing),
            state_dir: None,
        })?;
        embedded_part = Some(part);
    }

    let mut link_listeners = Vec::new();
    for address in &config.link.listen {
        let listener = bind("link", &address.to_string()).await?;
        note(&mut listeners, &own_listeners, "link", &listener);
        link_listeners.push(listener);
    }
    let own = Part::start(PartSetup {
        identity,
        config: Arc::clone(&config),
        network_key: network_key.clone(),
        acl: config.forwarder.clone(),
        links: Links {
            listeners: link_listeners,
            endpoints,
        },
        policy: Policy::of(&config, network_key.is_some(), embedded_name),
        own_listeners: own_listeners.clone(),
        routing: Arc::clone(&routing),
        state_dir,
    })?;
    start_front_ends(
        &config,
        &routing,
        &own,
        &front_ends,
        &own_listeners,
        &mut listeners,
    )
    .await?;
    let handle = Arc::new(Handle::new(
        routing,
        own.control(),
        embedded_part.as_ref().map(Part::control),
        listeners.clone(),
        (config_path, read_config),
    ));
    Ok(RunningNode {
        handle,
        own,
        embedded: embedded_part,
        front_ends,
        listeners,
    })
}

fn endpoints(config: &Config) -> Vec<Endpoint> {
    let endpoint = |peer: &crate::config::PeerEndpoint| Endpoint {
        address: format!("{}:{}", peer.host, peer.port),
        pinned: peer.name,
    };
    config.link.peers.iter().map(endpoint).collect()
}

async fn start_front_ends(
    config: &Arc<Config>,
    routing: &Arc<Routing>,
    own: &Part,
    tasks: &Tasks,
    own_listeners: &OwnListeners,
    listeners: &mut Vec<String>,
) -> Result<(), StartError> {
    let users = (!config.proxy.users.is_empty()).then(|| {
        Users::new(
            config
                .proxy
                .users
                .iter()
                .map(|(name, secret)| (name.as_str(), secret.expose())),
        )
    });
    let router: Arc<dyn crate::proxy::Router> = Arc::<Routing>::clone(routing);
    let gate = own.inlets().connections.clone();
    let front_end = Arc::new(FrontEnd::new(router, users, gate.clone()));
    for address in &config.proxy.listen {
        let listener = bind("proxy", &address.to_string()).await?;
        note(listeners, own_listeners, "proxy", &listener);
        tasks.spawn(Arc::clone(&front_end).serve(listener, tasks.stopping()));
    }
    for (index, forward) in config.forwards.iter().enumerate() {
        let listener = bind("forward", &forward.listen.to_string()).await?;
        note(listeners, own_listeners, "forward", &listener);
        let routing = Arc::clone(routing);
        let target: Target = forward.target.clone();
        let via = move || routing.forward(index);
        tasks.spawn(serve_forward(
            listener,
            via,
            target,
            gate.clone(),
            tasks.stopping(),
        ));
    }
    Ok(())
}

async fn bind(table: &'static str, address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen {
            table,
            address: address.to_owned(),
            error,
        })
}

fn local_address(listener: &TcpListener) -> String {
    listener
        .local_addr()
        .map_or_else(|_| String::new(), |address| address.to_string())
}

fn note(listeners: &mut Vec<String>, own: &OwnListeners, kind: &str, listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        own.insert(address);
        listeners.push(format!("{kind} {address}"));
    }
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
