//! What a configuration opens, in plain words: the report of `muses check` (R-G2).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::acl::Acl;
use crate::acl::Grant;
use crate::acl::HostPattern;
use crate::acl::Pattern;
use crate::acl::Peers;
use crate::config::Allow;
use crate::config::Config;
use crate::config::Listen;
use crate::config::PeerEndpoint;
use crate::config::SuiteName;
use crate::config::Suites;
use crate::config::Uids;
use crate::config::aliases::Aliases;
use crate::config::routing::Route;
use crate::config::routing::Via;
use crate::name::Name;

/// Who may reach what, and what deserves a second look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Headings and what stands under them.
    pub parts: Vec<Part>,
    /// What is allowed but easily not meant.
    pub warnings: Vec<String>,
}

/// One heading of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What the lines are about.
    pub title: String,
    /// One fact per line; never empty.
    pub lines: Vec<String>,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "{}:", part.title)?;
            for line in &part.lines {
                writeln!(f, "  {line}")?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Says who may reach what by this configuration, on a machine with these addresses that others may come to.
    pub fn exposure(&self, here: &[IpAddr]) -> Exposure {
        let mut parts = vec![
            part("Listeners", self.listeners(), "none"),
            part("Links dialled", self.dialled(), "none"),
            part("Links accepted", self.accepted(), "none: nothing listens"),
            part("Denied, whatever else is allowed", self.denied(), "nobody"),
            part("Overlay", self.overlay(here), "nothing"),
            part(
                "Destinations, first match wins",
                self.destinations(),
                "none",
            ),
        ];
        let grants = match &self.forwarder {
            Some(acl) => granted(acl, &self.aliases),
            None => Vec::new(),
        };
        parts.push(part("Granted by this node", grants, "nothing"));
        if let Some(embedded) = &self.embedded {
            let grants = embedded.grants.iter().map(|grant| {
                let whom = match &grant.peers {
                    None => "this node".to_owned(),
                    Some(peers) => whom(peers, &self.aliases),
                };
                grant_line(&whom, &grant.grant)
            });
            parts.push(part(
                "Granted by the embedded node",
                grants.collect(),
                "nothing",
            ));
        }
        Exposure {
            parts,
            warnings: self.warnings(),
        }
    }

    fn listeners(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for listen in &self.proxy.listen {
            let credentials = match self.proxy.users.len() {
                0 => "without password".to_owned(),
                1 => "with the password of 1 user".to_owned(),
                count => format!("with the password of one of {count} users"),
            };
            lines.push(format!(
                "{listen}: SOCKS5 and HTTP CONNECT, for {}, {credentials}",
                audience(listen, &self.proxy.allow_uids, self.proxy.from.as_deref())
            ));
        }
        for forward in &self.forwards {
            lines.push(format!(
                "{}: fixed forward to {} via {}, for {}",
                forward.listen,
                forward.target,
                self.via(&forward.via),
                audience(
                    &forward.listen,
                    &forward.allow_uids,
                    forward.from.as_deref()
                )
            ));
        }
        for listen in &self.link.listen {
            lines.push(format!(
                "{listen}: overlay links, from {}",
                audience(&Listen::Tcp(*listen), &Uids::Auto, None)
            ));
        }
        if self.embedded.is_some() {
            lines.push(
                "127.0.0.1, at a port that the system chooses: overlay links of the embedded node, \
                 from programs on this machine, and only from this node"
                    .to_owned(),
            );
        }
        let socket = match &self.control.socket {
            Some(socket) => socket.display().to_string(),
            None => "automatic path".to_owned(),
        };
        lines.push(format!("control socket ({socket}): for this user only"));
        lines
    }

    fn dialled(&self) -> Vec<String> {
        let line = |peer: &PeerEndpoint| match &peer.name {
            Some(name) if self.network.deny.contains(name) => {
                format!("{peer}: never, {} is denied", self.aliases.label(name))
            }
            Some(name) => format!("{peer}: only {}", self.aliases.label(name)),
            None => format!("{peer}: {}", self.linkable()),
        };
        self.link.peers.iter().map(line).collect()
    }

    fn accepted(&self) -> Vec<String> {
        if self.link.listen.is_empty() {
            return Vec::new();
        }
        let mut lines = Vec::new();
        let denied = |name: &Name| self.network.deny.contains(name);
        match (&self.network.allow, &self.network.key_file) {
            (Allow::Names(names), _) => {
                let names = names.iter().filter(|name| !denied(name));
                lines.extend(names.map(|name| self.aliases.label(name)));
            }
            (Allow::Auto, Some(_)) => lines.push("whoever has the network key".to_owned()),
            (Allow::Auto, None) => {}
        }
        let pinned = self.link.peers.iter().filter_map(|peer| peer.name);
        for name in pinned.filter(|name| !denied(name)) {
            let label = self.aliases.label(&name);
            if !lines.contains(&label) {
                lines.push(label);
            }
        }
        if lines.is_empty() {
            lines.push("nobody".to_owned());
        }
        lines
    }

    fn denied(&self) -> Vec<String> {
        let names = self.network.deny.iter();
        names.map(|name| self.aliases.label(name)).collect()
    }

    fn overlay(&self, here: &[IpAddr]) -> Vec<String> {
        if self.link.listen.is_empty() && self.link.peers.is_empty() {
            return Vec::new();
        }
        let part = if self.is_relay() {
            "carries what other nodes send each other, sealed, and lets them join below it"
        } else {
            "carries nothing for other nodes"
        };
        let mut lines = vec![
            part.to_owned(),
            "its directory tells every node of the overlay that this one is there".to_owned(),
        ];
        let announced = self.link.announced(&self.link.listen, here);
        if announced.is_empty() {
            lines.push("… but not where it can be dialled".to_owned());
        }
        let dialled = |endpoint| format!("… and that it can be dialled at {endpoint}");
        lines.extend(announced.iter().map(dialled));
        lines
    }

    /// Who passes as a peer that is not pinned.
    fn linkable(&self) -> &'static str {
        match (&self.network.allow, &self.network.key_file) {
            (Allow::Names(names), _) if names.is_empty() => "nobody, `allow` is empty",
            (Allow::Names(_), _) => "any node that `allow` lists",
            (Allow::Auto, Some(_)) => "any node that has the network key",
            (Allow::Auto, None) => "nobody, there is neither `allow` nor a network key",
        }
    }

    fn destinations(&self) -> Vec<String> {
        let zone = "NODE.muses, SERVICE.NODE.muses: that node".to_owned();
        let routes = self.routes.iter().map(|route| {
            let patterns: Vec<String> = route.patterns.iter().map(route_pattern).collect();
            format!("{}: via {}", patterns.join(", "), self.via(&route.via))
        });
        let rest = "anything else: refused".to_owned();
        std::iter::once(zone).chain(routes).chain([rest]).collect()
    }

    fn via(&self, via: &[Via]) -> String {
        let nodes: Vec<String> = via
            .iter()
            .map(|via| match via {
                Via::Name(name) => self.aliases.label(name),
                Via::Embedded => "the embedded node".to_owned(),
            })
            .collect();
        nodes.join(", else ")
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.warn_of_links(&mut warnings);
        self.warn_of_listeners(&mut warnings);
        self.warn_of_routes(&mut warnings);
        if let Some(acl) = &self.forwarder {
            warn_of_grants(acl, &mut warnings);
        }
        if let Some(embedded) = &self.embedded {
            let opens = |peers: &Option<Peers>| *peers == Some(Peers::Any);
            if embedded.grants.iter().any(|grant| opens(&grant.peers)) {
                warnings.push(open_grant("[[embedded.grant]]"));
            }
            if embedded.grants.is_empty() {
                warnings.push(
                    "[embedded] has no [[embedded.grant]]: it denies every connection".to_owned(),
                );
            }
        }
        if let Suites::Listed(suites) = &self.session.suites
            && suites.contains(&SuiteName::Aes128CtrHmacSha1)
        {
            warnings.push(format!(
                "[session] offers {}, the paper's suite: sound as used here, but older than the others",
                SuiteName::Aes128CtrHmacSha1
            ));
        }
        warnings
    }

    fn warn_of_links(&self, warnings: &mut Vec<String>) {
        let links = !self.link.listen.is_empty() || !self.link.peers.is_empty();
        let no_key = self.network.key_file.is_none();
        if links && no_key {
            warnings.push(
                "[network] has no key_file: strangers who know the id can speak to the handshake; \
                 only names guard links"
                    .to_owned(),
            );
        }
        match &self.network.allow {
            Allow::Names(names) if names.is_empty() => warnings.push(
                "[network] allow is empty: only peers pinned as NAME@HOST:PORT may link".to_owned(),
            ),
            Allow::Auto if no_key => {
                for peer in self.link.peers.iter().filter(|peer| peer.name.is_none()) {
                    warnings.push(format!(
                        "[link] peers \"{peer}\" can never link: pin it as NAME@{peer}, \
                         or set [network] allow or key_file"
                    ));
                }
                if !self.link.listen.is_empty() && self.link.peers.iter().all(|p| p.name.is_none())
                {
                    warnings.push(
                        "[link] listens, but nobody may link: set [network] allow or key_file"
                            .to_owned(),
                    );
                }
            }
            Allow::Names(_) | Allow::Auto => {}
        }
    }

    fn warn_of_listeners(&self, warnings: &mut Vec<String>) {
        for listen in self.proxy.listen.iter().filter(|l| l.is_open()) {
            let what = if self.proxy.users.is_empty() {
                ", without passwords: who has an address of `from` reaches whatever it reaches"
            } else {
                ": user names and passwords cross that network unencrypted"
            };
            warnings.push(format!(
                "[proxy] listens on {listen}, beyond this machine{what}"
            ));
        }
        for forward in self.forwards.iter().filter(|f| f.listen.is_open()) {
            warnings.push(format!(
                "[[forward]] listens on {}, beyond this machine: \
                 who has an address of `from` reaches {}",
                forward.listen, forward.target
            ));
        }
        if !self.proxy.users.is_empty() && self.proxy.listen.is_empty() {
            warnings.push("[proxy] has users but does not listen".to_owned());
        }
    }

    fn warn_of_routes(&self, warnings: &mut Vec<String>) {
        let all = |route: &Route| {
            let mut patterns = route.patterns.iter();
            patterns.any(|p| p.host == HostPattern::Any && has_all_ports(p))
        };
        if let Some(place) = self.routes.iter().position(all)
            && place + 1 < self.routes.len()
        {
            warnings.push(format!(
                "[[route]] number {} matches everything: those after it are never used",
                place + 1
            ));
        }
        if self.routes.is_empty() && !self.proxy.listen.is_empty() {
            warnings.push(
                "there is no [[route]]: the proxy reaches nothing but hosts under .muses"
                    .to_owned(),
            );
        }
    }
}

fn warn_of_grants(acl: &Acl, warnings: &mut Vec<String>) {
    if acl.grants.is_empty() {
        warnings
            .push("[forwarder] has no [[forwarder.grant]]: it denies every connection".to_owned());
    }
    if acl.grants.iter().any(|grant| grant.peers == Peers::Any) {
        warnings.push(open_grant("[[forwarder.grant]]"));
    }
    let nets = acl.grants.iter().flat_map(|grant| &grant.to);
    for pattern in nets {
        if let HostPattern::Net(net) = &pattern.host
            && net.prefix_len() == 0
        {
            warnings.push(format!(
                "[[forwarder.grant]] to \"{pattern}\" opens this machine's loopback \
                 and private networks too"
            ));
        }
    }
    for service in acl.services.keys() {
        if !acl
            .grants
            .iter()
            .any(|grant| grant.services.contains(service))
        {
            warnings.push(format!(
                "[[forwarder.service]] \"{service}\" is granted to nobody"
            ));
        }
    }
}

fn open_grant(table: &str) -> String {
    format!("{table} with peer = \"*\" is for whoever may open a session: name peers if you can")
}

fn granted(acl: &Acl, aliases: &Aliases) -> Vec<String> {
    let services = acl
        .services
        .iter()
        .map(|(name, (host, port))| format!("service {name} is {host}:{port}"));
    let grants = acl
        .grants
        .iter()
        .map(|grant| grant_line(&whom(&grant.peers, aliases), grant));
    services.chain(grants).collect()
}

fn whom(peers: &Peers, aliases: &Aliases) -> String {
    let label = |name: &Name| aliases.label(name);
    match peers {
        Peers::Any => "whoever may open a session".to_owned(),
        Peers::Names(names) if names.is_empty() => "nobody".to_owned(),
        Peers::Names(names) => names.iter().map(label).collect::<Vec<_>>().join(", "),
    }
}

fn grant_line(whom: &str, grant: &Grant) -> String {
    let services = grant.services.iter().map(|name| format!("service {name}"));
    let what: Vec<String> = services.chain(grant.to.iter().map(in_words)).collect();
    let mut line = format!("{whom} may open {}", what.join("; "));
    if let Some(count) = grant.max_channels {
        line.push_str(&format!("; at most {count} connections at once"));
    }
    if let Some(count) = grant.opens_per_s {
        line.push_str(&format!("; at most {count} new connections per second"));
    }
    line
}

fn in_words(pattern: &Pattern) -> String {
    let ports = if has_all_ports(pattern) {
        "any port".to_owned()
    } else {
        let text = pattern.to_string();
        let ports = text.rsplit_once(':').map_or("", |(_, ports)| ports);
        format!("port {ports}")
    };
    let host = match &pattern.host {
        HostPattern::Any => "any name and any public address".to_owned(),
        HostPattern::Suffix(suffix) => format!("names under {suffix} with public addresses"),
        HostPattern::Name(name) => format!("{name} if it has a public address"),
        HostPattern::Net(net) if net.prefix_len() == 0 => match net {
            IpNet::V4(_) => "every IPv4 address, private ones and loopback too".to_owned(),
            IpNet::V6(_) => "every IPv6 address, private ones and loopback too".to_owned(),
        },
        HostPattern::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        HostPattern::Net(net) => format!("addresses in {net}"),
    };
    format!("{host}, {ports}")
}

fn route_pattern(pattern: &Pattern) -> String {
    if pattern.host == HostPattern::Any && has_all_ports(pattern) {
        return "everything".to_owned();
    }
    let text = pattern.to_string();
    text.strip_suffix(":*").unwrap_or(&text).to_owned()
}

/// A pattern shows `:*` exactly when it means every port.
fn has_all_ports(pattern: &Pattern) -> bool {
    pattern.to_string().ends_with(":*")
}

fn audience(listen: &Listen, uids: &Uids, from: Option<&[IpNet]>) -> String {
    let from = from.filter(|_| matches!(listen, Listen::Tcp(_)));
    let nets = from.map(|from| from.iter().map(IpNet::to_string).collect::<Vec<_>>());
    let nets = nets.map(|nets| nets.join(", "));
    if listen.is_open() {
        return nets.map_or_else(
            || "every machine that reaches this address".to_owned(),
            |nets| format!("machines in {nets}"),
        );
    }
    let programs = programs(listen, uids);
    match nets {
        Some(nets) => format!("{programs}, from {nets}"),
        None => programs,
    }
}

/// Whose programs on this machine may connect.
fn programs(listen: &Listen, uids: &Uids) -> String {
    let listed = match (uids, listen) {
        (Uids::Auto, Listen::Tcp(_)) => return "programs on this machine".to_owned(),
        (Uids::Auto, Listen::Unix(_)) => Vec::new(),
        (Uids::Listed(uids), _) => uids.iter().map(u32::to_string).collect(),
    };
    match listed.as_slice() {
        [] => "programs of this user".to_owned(),
        [one] => format!("programs of this user and of user {one}"),
        more => format!("programs of this user and of users {}", more.join(", ")),
    }
}

fn part(title: &str, mut lines: Vec<String>, otherwise: &str) -> Part {
    if lines.is_empty() {
        lines.push(otherwise.to_owned());
    }
    Part {
        title: title.to_owned(),
        lines,
    }
}
