//! Who may reach what: the tables of routes, forwards, services and grants.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use crate::acl::Acl;
use crate::acl::Grant;
use crate::acl::Pattern;
use crate::acl::Peers;
use crate::acl::Ports;
use crate::config::aliases::Aliases;
use crate::config::aliases::OUTER;
use crate::config::embedded::EmbeddedGrant;
use crate::config::reader::Reader;
use crate::config::reader::Section;
use crate::config::resolve::{Place, from, must_not_be_open, uids};
use crate::config::routing::Forward;
use crate::config::routing::Nodes;
use crate::config::routing::Route;
use crate::config::routing::Via;
use crate::config::value;
use crate::config::value::nearest;
use crate::wire::target::Host;
use crate::wire::target::HostName;
use crate::wire::target::Target;

/// Every `[[route]]`.
pub(super) fn routes(r: &mut Reader, root: &DeTable<'_>, nodes: Nodes<'_>) -> Vec<Route> {
    let mut routes = Vec::new();
    for section in r.many(root, "route") {
        let patterns = r.list(&section, "match", |text| {
            Pattern::parse(text, Some(Ports::all())).map_err(|e| format!("\"{text}\": {e}"))
        });
        let patterns = filled(
            r,
            &section,
            "match",
            patterns,
            "write which hosts, or [\"*\"]",
        );
        let via = via(r, &section, nodes);
        routes.push(Route { patterns, via });
    }
    routes
}

/// Every `[[forward]]`.
pub(super) fn forwards(
    r: &mut Reader,
    root: &DeTable<'_>,
    nodes: Nodes<'_>,
    place: &Place<'_>,
) -> Vec<Forward> {
    let mut forwards = Vec::new();
    for section in r.many(root, "forward") {
        let listen = r.text(&section, "listen", |text| place.listen(text));
        if r.entry(&section, "listen").is_none() {
            r.missing(
                &section,
                "listen",
                "write where to listen, such as \"127.0.0.1:8022\"",
            );
        }
        let to = r.text(&section, "to", value::host_port);
        if r.entry(&section, "to").is_none() {
            r.missing(&section, "to", "write HOST:PORT as seen from the far side");
        }
        let lead = to.and_then(|(host, port)| forward_lead(r, &section, nodes, host, port));
        if let (Some(listen), Some((via, target))) = (listen, lead) {
            let one = std::slice::from_ref(&listen);
            let allow_uids = uids(r, &section, one);
            let from = from(r, &section, one);
            if from.is_none() {
                let others = "say in `from` which of them are served, such as [\"192.168.1.0/24\"]";
                must_not_be_open(r, &section, one, others);
            }
            forwards.push(Forward {
                allow_uids,
                from,
                listen,
                target,
                via,
            });
        }
    }
    forwards
}

/// Where a forward leads: a host under `.muses` names its node itself, any other needs `via`.
fn forward_lead(
    r: &mut Reader,
    section: &Section<'_>,
    nodes: Nodes<'_>,
    host: Host,
    port: u16,
) -> Option<(Vec<Via>, Target)> {
    if let Host::Name(name) = &host
        && let Some(found) = nodes.target(name, port)
    {
        if r.entry(section, "via").is_some() {
            r.fault_at(
                section,
                "via",
                "`to` names the node already: leave `via` out",
            );
        }
        let read = found.map_err(|_| format!("{name}: no alias or name of a node"));
        if let Err(message) = &read {
            r.fault_at(section, "to", message);
        }
        return read.ok().map(|(via, target)| (vec![via], target));
    }
    let via = via(r, section, nodes);
    Some((via, Target::Address(host, port)))
}

fn via(r: &mut Reader, section: &Section<'_>, nodes: Nodes<'_>) -> Vec<Via> {
    let lists = r.list(section, "via", |text| nodes.via(text));
    let named = lists.map(|lists| {
        let mut via: Vec<Via> = Vec::new();
        for one in lists.into_iter().flatten() {
            if !via.contains(&one) {
                via.push(one);
            }
        }
        via
    });
    filled(r, section, "via", named, "name the node to go through")
}

/// The list, reported when it is missing or was written empty.
fn filled<T>(
    r: &mut Reader,
    section: &Section<'_>,
    key: &str,
    list: Option<Vec<T>>,
    remedy: &str,
) -> Vec<T> {
    match list {
        None => {
            r.missing(section, key, remedy);
            Vec::new()
        }
        Some(list) => {
            if list.is_empty() && r.is_empty_list(section, key) {
                r.fault_at(section, key, &format!("is empty: {remedy}"));
            }
            list
        }
    }
}

/// `[forwarder]` with its services and grants; `None` without any of these tables.
pub(super) fn forwarder(r: &mut Reader, root: &DeTable<'_>, aliases: &Aliases) -> Option<Acl> {
    let present = r.one(root, "forwarder").is_present();
    let mut services = BTreeMap::new();
    for section in r.many(root, "forwarder.service") {
        service(r, &section, &mut services);
    }
    let mut grants = Vec::new();
    for section in r.many(root, "forwarder.grant") {
        let peers = peers(r, &section, aliases);
        if r.entry(&section, "peer").is_none() {
            r.missing(&section, "peer", "name whom the grant is for");
        }
        let mut grant = grant(r, &section, &services);
        if let Some(peers) = peers {
            grant.peers = peers;
        }
        if r.entry(&section, "service").is_none() && r.entry(&section, "to").is_none() {
            r.missing(&section, "service` or `to", "write what is granted");
        }
        grants.push(grant);
    }
    present.then_some(Acl { services, grants })
}

fn service(r: &mut Reader, section: &Section<'_>, services: &mut BTreeMap<HostName, (Host, u16)>) {
    let name = r.text(section, "name", value::service);
    if r.entry(section, "name").is_none() {
        r.missing(
            section,
            "name",
            "write how peers call the service, such as \"ssh\"",
        );
    }
    let to = r.text(section, "to", value::host_port);
    if r.entry(section, "to").is_none() {
        r.missing(section, "to", "write HOST:PORT, such as \"127.0.0.1:22\"");
    }
    let (Some(name), Some(to)) = (name, to) else {
        return;
    };
    if services.contains_key(&name) {
        r.fault_at(
            section,
            "name",
            &format!("service \"{name}\" is there already"),
        );
    }
    services.insert(name, to);
}

/// Every `[[embedded.grant]]`.
pub(super) fn embedded_grants(
    r: &mut Reader,
    root: &DeTable<'_>,
    aliases: &Aliases,
) -> Vec<EmbeddedGrant> {
    let mut grants = Vec::new();
    for section in r.many(root, "embedded.grant") {
        let entry = r.entry(&section, "peer");
        let outer = entry.is_some_and(|entry| entry.value.as_str() == Some(OUTER));
        let peers = if outer {
            None
        } else {
            peers(r, &section, aliases)
        };
        if r.entry(&section, "to").is_none() {
            r.missing(&section, "to", "write what is granted, such as [\"*:*\"]");
        }
        let grant = grant(r, &section, &BTreeMap::new());
        grants.push(EmbeddedGrant { peers, grant });
    }
    grants
}

/// Whom a grant is for, if it says so; `*` stands alone.
fn peers(r: &mut Reader, section: &Section<'_>, aliases: &Aliases) -> Option<Peers> {
    let mut any = false;
    let lists = r.list(section, "peer", |text| {
        if text == "*" {
            any = true;
            return Ok(Vec::new());
        }
        aliases.several(text)
    })?;
    let count = lists.len();
    let names: BTreeSet<_> = lists.into_iter().flatten().collect();
    if any && count > 1 {
        r.fault_at(
            section,
            "peer",
            "\"*\" is everybody: write it alone, or only names",
        );
    }
    if !any && r.is_empty_list(section, "peer") {
        r.fault_at(
            section,
            "peer",
            "is empty: the grant is for nobody, remove it",
        );
    }
    Some(if any { Peers::Any } else { Peers::Names(names) })
}

/// A grant to nobody yet, with what it allows.
fn grant(
    r: &mut Reader,
    section: &Section<'_>,
    services: &BTreeMap<HostName, (Host, u16)>,
) -> Grant {
    let granted = r.list(section, "service", |text| known_service(text, services));
    let to = r.list(section, "to", |text| {
        Pattern::parse(text, None).map_err(|e| format!("\"{text}\": {e}"))
    });
    for key in ["service", "to"] {
        if r.is_empty_list(section, key) {
            r.fault_at(
                section,
                key,
                "is empty: write what is granted, or leave it out",
            );
        }
    }
    Grant {
        peers: Peers::Names(BTreeSet::new()),
        services: granted.into_iter().flatten().collect(),
        to: to.unwrap_or_default(),
        max_channels: r.number_or_unlimited(section, "max_channels").flatten(),
        opens_per_s: r.number_or_unlimited(section, "opens_per_s").flatten(),
    }
}

fn known_service(
    text: &str,
    services: &BTreeMap<HostName, (Host, u16)>,
) -> Result<HostName, String> {
    let name = value::service(text)?;
    if services.contains_key(&name) {
        return Ok(name);
    }
    match nearest(text, services.keys().map(HostName::as_str)) {
        Some(near) => Err(format!(
            "unknown service \"{text}\", did you mean \"{near}\"?"
        )),
        None => Err(format!(
            "unknown service \"{text}\": add it as a [[forwarder.service]]"
        )),
    }
}
