//! Which nodes carry a destination: the configuration's routes, replaceable at run time.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::Config;
use crate::config::routing::Via;
use crate::name::Name;
use crate::proxy::Router;
use crate::wire::failure::OpenFailure;
use crate::wire::target::{Host, Target};

/// The routing table in force.
#[derive(Debug)]
pub(super) struct Routing {
    config: RwLock<Arc<Config>>,
    own: Name,
    embedded: Option<Name>,
}

impl Routing {
    /// The routes of a configuration.
    pub(super) fn new(config: Arc<Config>, own: Name, embedded: Option<Name>) -> Self {
        Self {
            config: RwLock::new(config),
            own,
            embedded,
        }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another configuration in force.
    pub(super) fn replace(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// This node's name.
    pub(super) const fn own(&self) -> Name {
        self.own
    }

    /// The embedded node's name.
    pub(super) const fn embedded(&self) -> Option<Name> {
        self.embedded
    }

    /// How a node is shown in logs: alias and name, both shortened to what tells it apart.
    pub(super) fn show(&self, name: Name) -> String {
        if self.embedded == Some(name) {
            return format!("embedded ({})", name.short());
        }
        self.config().aliases.label(&name)
    }

    /// Whether the configuration names a node: by an alias, or as one to dial.
    pub(super) fn is_named(&self, name: &Name) -> bool {
        let config = self.config();
        let mut dialled = config.link.peers.iter();
        config.aliases.alias_of(name).is_some() || dialled.any(|peer| peer.name == Some(*name))
    }

    fn names(&self, via: &[Via]) -> Vec<Name> {
        let name = |via: &Via| match via {
            Via::Name(name) => Some(*name),
            Via::Embedded => self.embedded,
        };
        via.iter().filter_map(name).collect()
    }

    /// Who carries the fixed forward at this place of the configuration.
    pub(super) fn forward(&self, index: usize) -> Vec<Name> {
        self.config()
            .forwards
            .get(index)
            .map(|forward| self.names(&forward.via))
            .unwrap_or_default()
    }
}

impl Router for Routing {
    fn choose(&self, host: &Host, port: u16) -> Result<(Vec<Name>, Target), OpenFailure> {
        let (via, target) = self.config().choose(host, port)?;
        let names = self.names(&via);
        if names.is_empty() {
            Err(OpenFailure::Denied)
        } else {
            Ok((names, target))
        }
    }
}
