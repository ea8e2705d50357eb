//! Where a destination goes: to a node of the overlay by its name, else by the first route (design 9).
//!
//! Names of hosts are never resolved here; an address matches address patterns, a name matches name
//! patterns, and the far side judges both again.

use ipnet::IpNet;

use crate::acl::HostPattern;
use crate::acl::Pattern;
use crate::config::Config;
use crate::config::Listen;
use crate::config::Uids;
use crate::config::aliases::Aliases;
use crate::config::aliases::EMBEDDED;
use crate::config::value;
use crate::name::Name;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Host;
use crate::wire::target::HostName;
use crate::wire::target::Target;

/// The last label of hosts that are nodes of the overlay.
const ZONE: &str = ".muses";

/// A node through which a destination is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// A node by its name.
    Name(Name),
    /// The embedded node, whose name is known once its key exists.
    Embedded,
}

/// `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it is for; never empty.
    pub patterns: Vec<Pattern>,
    /// Where it leads: the next one when the first is suspended; never empty.
    pub via: Vec<Via>,
}

impl Route {
    /// Whether the route is for this destination; unlike in a grant, `*` is every name and address.
    pub fn matches(&self, host: &Host, port: u16) -> bool {
        self.patterns.iter().any(|pattern| {
            if pattern.host == HostPattern::Any {
                return pattern.ports.contains(port);
            }
            pattern.matches(host, port)
        })
    }
}

/// `[[forward]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where this node listens.
    pub listen: Listen,
    /// Whose programs may connect.
    pub allow_uids: Uids,
    /// From which addresses, `None` for any. Never `None` when `listen` lies beyond loopback (R-F1).
    pub from: Option<Vec<IpNet>>,
    /// What the far side opens.
    pub target: Target,
    /// Through which node: the next one when the first is suspended; never empty.
    pub via: Vec<Via>,
}

/// The nodes that this file can speak of.
#[derive(Clone, Copy)]
pub(super) struct Nodes<'a> {
    pub(super) aliases: &'a Aliases,
    pub(super) embedded: bool,
}

impl Nodes<'_> {
    /// Reads one text of a `via`.
    pub(super) fn via(&self, text: &str) -> Result<Vec<Via>, String> {
        if text.eq_ignore_ascii_case(EMBEDDED) {
            if self.embedded {
                return Ok(vec![Via::Embedded]);
            }
            return Err(format!(
                "there is no embedded node: add the table [{EMBEDDED}], or name another node"
            ));
        }
        let names = self.aliases.several(text)?;
        Ok(names.into_iter().map(Via::Name).collect())
    }

    /// The node and target that `SERVICE.NODE.muses` or `NODE.muses` means; `None` for other hosts.
    pub(super) fn target(
        &self,
        host: &HostName,
        port: u16,
    ) -> Option<Result<(Via, Target), OpenFailure>> {
        let rest = host.as_str().strip_suffix(ZONE)?;
        let (service, node) = match rest.rsplit_once('.') {
            Some((service, node)) => (Some(service), node),
            None => (None, rest),
        };
        let found = self.node(node).and_then(|via| {
            let target = match service {
                Some(service) => Target::Service(value::service(service).ok()?),
                None => Target::Loopback(port),
            };
            Some((via, target))
        });
        Some(found.ok_or(OpenFailure::UnknownName))
    }

    fn node(&self, label: &str) -> Option<Via> {
        if label == EMBEDDED {
            return self.embedded.then_some(Via::Embedded);
        }
        let name = self.aliases.name(label).or_else(|| label.parse().ok())?;
        Some(Via::Name(name))
    }
}

impl Config {
    /// Chooses the nodes to try, in order, and what to ask of them.
    ///
    /// # Errors
    /// [`OpenFailure::UnknownName`] for a host under `.muses` that no alias or name explains,
    /// [`OpenFailure::Denied`] when no route matches.
    pub fn choose(&self, host: &Host, port: u16) -> Result<(Vec<Via>, Target), OpenFailure> {
        let nodes = Nodes {
            aliases: &self.aliases,
            embedded: self.embedded.is_some(),
        };
        if let Host::Name(name) = host
            && let Some(found) = nodes.target(name, port)
        {
            return found.map(|(via, target)| (vec![via], target));
        }
        let route = self.routes.iter().find(|route| route.matches(host, port));
        let route = route.ok_or(OpenFailure::Denied)?;
        Ok((route.via.clone(), Target::Address(host.clone(), port)))
    }
}
