//! Placeholder of the running node.

use std::{path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::name::Identity;

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
#[error("{0}")]
pub struct StartError(pub String);

/// A node that runs.
#[derive(Debug)]
pub struct RunningNode {
    handle: Arc<Handle>,
    /// Open listeners, as `KIND ADDRESS`.
    pub listeners: Vec<String>,
}

/// What others may hold of a running node.
#[derive(Debug)]
pub struct Handle;

/// Starts a node; its listeners are open when it returns.
#[expect(clippy::unused_async, reason = "placeholder")]
pub async fn start(_setup: Setup) -> Result<RunningNode, StartError> {
    Ok(RunningNode {
        handle: Arc::new(Handle),
        listeners: Vec::new(),
    })
}

impl RunningNode {
    /// For control.
    pub fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Resolves when the core thread has died.
    pub async fn died(&mut self) {
        std::future::pending::<()>().await;
    }

    /// Stops accepting, drains for at most `grace`, says goodbye.
    #[expect(clippy::unused_async, reason = "placeholder")]
    pub async fn stop(self, _grace: Duration) {}
}
