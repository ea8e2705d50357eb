//! `muses run`: the life of the daemon, from hardening to the last signal.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tracing::{error, info, warn};

use crate::cli::exit::{Exit, Failure};
use crate::cli::harden;
use crate::cli::notify::notify;
use crate::cli::setup;
use crate::config::Config;
use crate::control::server;
use crate::control::service::Service;
use crate::control::socket::{self, Access, Socket};
use crate::keyfile::{self, Lock};
use crate::name::{Identity, Name};
use crate::net::clones::cloned;
use crate::node::{self, RunningNode, Setup};

/// How long open connections may go on after SIGTERM (R-G5).
const GRACE: Duration = Duration::from_secs(5);
/// What may pass beyond that before the process ends anyway.
const GRACE_MARGIN: Duration = Duration::from_secs(1);

/// Runs the node until a signal or its death.
pub(super) fn run(asked: Option<&Path>) -> Result<Exit, Failure> {
    harden::process();
    harden::descriptors();
    let config = setup::load(asked)?;
    let (identity, _lock) = identity(&config.identity.key)?;
    let embedded = match &config.embedded {
        Some(table) => Some(self::identity(&table.key)?),
        None => None,
    };
    let (embedded, _embedded_lock) = embedded.unzip();
    let network_key = match &config.network.key_file {
        Some(path) => Some(keyfile::network_key(path).map_err(Failure::config)?),
        None => None,
    };
    let key = &config.identity.key;
    let state_dir = keyfile::state_dir(key)
        .inspect_err(|error| warn!(%error, "no state directory: nothing is remembered"))
        .ok();
    let socket = control_socket(&config, identity.name())?;
    let setup = Setup {
        config,
        identity,
        network_key,
        embedded,
        state_dir,
        config_path: setup::path(asked).to_owned(),
        read_config: setup::read,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot start the runtime: {e}")))?;
    let exit = runtime.block_on(serve(setup, &socket));
    // Tasks that hang in a system call must not hold up the end.
    runtime.shutdown_background();
    exit
}

/// The identity in a file, made if there is none, with the right to run as it.
fn identity(key: &Path) -> Result<(Identity, Lock), Failure> {
    let identity = keyfile::load_or_create(key).map_err(Failure::config)?;
    let lock = keyfile::lock(key).map_err(Failure::config)?;
    for dir in keyfile::group_writable_above(key) {
        let (dir, key) = (dir.display(), key.display());
        warn!("{dir}, above key file {key}, is writable by its group, which could replace the key");
    }
    Ok((identity, lock))
}

fn control_socket(config: &Config, name: Name) -> Result<Socket, Failure> {
    let runtime_dir = setup::runtime_dir();
    let places = socket::places(
        config.control.socket.as_deref(),
        runtime_dir.as_deref(),
        &config.identity.key,
        name,
    );
    let first = places
        .first()
        .map(AsRef::as_ref)
        .unwrap_or_else(|| Path::new(""));
    Socket::bind(first, Access::Own)
        .map_err(|error| Failure::config(format!("[control] socket: {error}")))
}

/// The signals that a daemon listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// The next thing that somebody asks for.
    async fn next(&mut self) -> Wish {
        select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }

    /// The next request to stop.
    async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}

/// What a signal asks for.
#[derive(PartialEq)]
enum Wish {
    Stop,
    Reload,
}

async fn serve(setup: Setup, socket: &Socket) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let name = setup.identity.name();
    let mut node = node::start(setup).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    let service = node.handle();
    let listeners = node.listeners.join(", ");
    info!(%name, listeners, control = %socket.path().display(), "ready");
    notify("READY=1");
    let died = select! {
        // Dropping this future ends the callers; it does not end by itself once it has begun.
        Err(error) = server::serve(socket, Arc::clone(&service)) => {
            return Err(Failure::new(Exit::Failed, format!("control socket: {error}")));
        }
        // Neither a goodbye nor anything else may be sealed with keys that a copy has, too.
        () = cloned() => {
            let what = "this machine was cloned or put back to an earlier state: its sessions must \
                        not go on; start again, and give each copy a key of its own";
            return Err(Failure::new(Exit::Failed, what));
        }
        died = attend(&mut signals, &mut node, &*service) => died,
    };
    notify("STOPPING=1");
    if died {
        error!("the core has died; this is a bug");
        return Ok(Exit::Bug);
    }
    stop(&mut signals, node).await;
    Ok(Exit::Clean)
}

/// Reloads at SIGHUP until it is time to stop; true if the core has died.
async fn attend(signals: &mut Signals, node: &mut RunningNode, service: &impl Service) -> bool {
    loop {
        let wish = select! {
            () = node.died() => return true,
            wish = signals.next() => wish,
        };
        if wish == Wish::Stop {
            return false;
        }
        let reloaded = select! {
            reloaded = service.reload() => reloaded,
            () = signals.stop() => return false,
        };
        match reloaded {
            Ok(what) => info!(what, "configuration read again"),
            Err(error) => warn!(error, "configuration not taken over; the old one stays"),
        }
    }
}

async fn stop(signals: &mut Signals, node: RunningNode) {
    info!("stopping: open connections have {} s", GRACE.as_secs());
    select! {
        drained = timeout(GRACE + GRACE_MARGIN, node.stop(GRACE)) => {
            if drained.is_err() {
                warn!("the node did not stop in time");
            }
        }
        () = signals.stop() => warn!("stopping at once"),
    }
    info!("stopped");
}
