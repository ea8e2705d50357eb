//! The second node in the same process, which makes a single machine work at once.

use std::{collections::BTreeSet, path::PathBuf};

use crate::acl::Acl;
use crate::acl::Grant;
use crate::acl::Peers;
use crate::name::Name;

/// `[embedded]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Its key file, created on the first run if absent. Default `embedded.key`.
    pub key: PathBuf,
    /// Its grants as they stand in the file; [`EmbeddedConfig::acl`] completes them.
    pub grants: Vec<EmbeddedGrant>,
}

/// One `[[embedded.grant]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedGrant {
    /// Whom it is for; `None` is the node in whose process the embedded node runs.
    pub peers: Option<Peers>,
    /// What is granted; its peers are nobody.
    pub(super) grant: Grant,
}

impl EmbeddedGrant {
    /// The grant once the name of the outer node is known.
    pub fn resolved(&self, outer: Name) -> Grant {
        let mut grant = self.grant.clone();
        grant.peers = self
            .peers
            .clone()
            .unwrap_or_else(|| Peers::Names(BTreeSet::from([outer])));
        grant
    }
}

impl EmbeddedConfig {
    /// The access list of the embedded node, for the node `outer` around it.
    pub fn acl(&self, outer: Name) -> Acl {
        Acl {
            grants: self.grants.iter().map(|g| g.resolved(outer)).collect(),
            ..Acl::default()
        }
    }
}
