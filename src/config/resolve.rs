//! From the tables of the file to a checked [`Config`].

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use toml::de::{DeTable, DeValue};

use crate::config::Allow;
use crate::config::Announce;
use crate::config::CloakConfig;
use crate::config::Config;
use crate::config::ControlConfig;
use crate::config::IdentityConfig;
use crate::config::LimitsConfig;
use crate::config::LinkConfig;
use crate::config::Listen;
use crate::config::MemoryPressure;
use crate::config::NetworkConfig;
use crate::config::PeerEndpoint;
use crate::config::Profile;
use crate::config::ProxyConfig;
use crate::config::SessionConfig;
use crate::config::Source;
use crate::config::SuiteName;
use crate::config::Suites;
use crate::config::UNIX;
use crate::config::Uids;
use crate::config::access;
use crate::config::aliases::Aliases;
use crate::config::embedded::EmbeddedConfig;
use crate::config::error::ConfigError;
use crate::config::reader::Entry;
use crate::config::reader::Reader;
use crate::config::reader::Section;
use crate::config::routing::Nodes;
use crate::config::secret::Secret;
use crate::config::value;
use crate::limits::DEGREES;
use crate::name::Name;
use crate::wire::record::ENDPOINTS_MAX;

/// Bounds of `max_suspend`; shorter would end sessions that a resume of normal length saves.
const MAX_SUSPEND: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(87_600);
/// Bounds of `open_timeout`: an application waits this long without an answer.
const OPEN_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// Bounds of `ack_every`; one acknowledgement must describe that many packets.
const ACK_EVERY: RangeInclusive<u32> = 1..=256;
/// Bounds of `ack_delay`: half of the 200 ms after which silence is suspicious (design 5).
const ACK_DELAY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(100);
/// Users that `allow_uids` may name; the last number means nobody to the system.
const UIDS: RangeInclusive<u32> = 0..=u32::MAX - 1;
/// Bounds of `memory`; below, the floors of a few hundred channels do not fit.
const MEMORY: RangeInclusive<u64> = 16 << 20..=1 << 50;

/// Reads and checks the whole file.
pub(super) fn resolve(source: &Source<'_>, memory_default: u64) -> Result<Config, ConfigError> {
    let path = source.path.display().to_string();
    let mut r = Reader::new(source.text);
    let document = match DeTable::parse(source.text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            r.syntax(&error);
            return Err(r.into_error(path));
        }
    };
    let root = &document;
    r.check_tables(root);

    let place = Place::of(source);
    let aliases = aliases(&mut r, root, &place);
    if !r.is_clean() {
        return Err(r.into_error(path));
    }
    let embedded = embedded(&mut r, root, &aliases, &place);
    let nodes = Nodes {
        aliases: &aliases,
        embedded: embedded.is_some(),
    };
    let config = Config {
        identity: identity(&mut r, root, &place),
        network: network(&mut r, root, &aliases, &place),
        link: link(&mut r, root, &aliases),
        cloak: cloak(&mut r, root, &aliases),
        proxy: proxy(&mut r, root, &place),
        routes: access::routes(&mut r, root, nodes),
        forwards: access::forwards(&mut r, root, nodes, &place),
        forwarder: access::forwarder(&mut r, root, &aliases),
        session: session(&mut r, root),
        limits: limits(&mut r, root, memory_default),
        control: control(&mut r, root, &place),
        embedded,
        aliases,
    };
    if r.is_clean() {
        check_keys_differ(&mut r, root, &config);
        check_listeners_differ(&mut r, root, &config);
    }
    if r.is_clean() {
        Ok(config)
    } else {
        Err(r.into_error(path))
    }
}

/// Where the file is, and how files beside it are read.
pub(super) struct Place<'a> {
    dir: &'a Path,
    read: &'a dyn Fn(&Path) -> Result<String, String>,
}

impl<'a> Place<'a> {
    fn of(source: &Source<'a>) -> Self {
        Self {
            dir: source.path.parent().unwrap_or_else(|| Path::new("")),
            read: source.read,
        }
    }

    fn path(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("write the path of a file".to_owned());
        }
        Ok(self.dir.join(text))
    }

    /// Where applications come in.
    pub(super) fn listen(&self, text: &str) -> Result<Listen, String> {
        match text.strip_prefix(UNIX) {
            Some(path) => self.path(path).map(Listen::Unix),
            None => value::listener(text).map(Listen::Tcp),
        }
    }

    fn path_unless(&self, word: &str, text: &str) -> Result<Option<PathBuf>, String> {
        if text == word {
            return Ok(None);
        }
        self.path(text).map(Some)
    }
}

fn aliases(r: &mut Reader, root: &DeTable<'_>, place: &Place<'_>) -> Aliases {
    let mut aliases = Aliases::default();
    let section = r.one(root, "aliases");
    for entry in r.entries(&section) {
        let read =
            alias_name(entry.value, place).and_then(|name| aliases.add_alias(entry.key, name));
        r.keep(&section, entry.key, entry.line, read);
    }
    let section = r.one(root, "groups");
    for entry in r.entries(&section) {
        let members = r.list_of(&section, entry, |text| aliases.one(text));
        let read = aliases.add_group(entry.key, distinct(members));
        r.keep(&section, entry.key, entry.line, read);
    }
    aliases
}

/// The name of an alias: written out, or in the file that `{ name_file = … }` points to.
fn alias_name(value: &DeValue<'_>, place: &Place<'_>) -> Result<Name, String> {
    let expected = "write a full name in quotes, or { name_file = \"FILE\" }";
    match value {
        DeValue::String(text) => text
            .parse()
            .map_err(|error| format!("\"{text}\" is no name: {error}")),
        DeValue::Table(table) => {
            let mut entries = table.iter();
            let file = match (entries.next(), entries.next()) {
                (Some((key, value)), None) if key.get_ref() == "name_file" => value.get_ref(),
                _ => return Err(expected.to_owned()),
            };
            let path = place.path(file.as_str().ok_or(expected)?)?;
            let text = (place.read)(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            text.trim()
                .parse()
                .map_err(|error| format!("{} holds no name: {error}", path.display()))
        }
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => Err(expected.to_owned()),
    }
}

fn distinct(names: Vec<Name>) -> Vec<Name> {
    let mut seen = BTreeSet::new();
    names
        .into_iter()
        .filter(|name| seen.insert(*name))
        .collect()
}

fn identity(r: &mut Reader, root: &DeTable<'_>, place: &Place<'_>) -> IdentityConfig {
    let section = r.one(root, "identity");
    let key = r.text(&section, "key", |text| place.path(text));
    IdentityConfig {
        key: key.unwrap_or_else(|| place.dir.join("muses.key")),
    }
}

fn embedded(
    r: &mut Reader,
    root: &DeTable<'_>,
    aliases: &Aliases,
    place: &Place<'_>,
) -> Option<EmbeddedConfig> {
    let section = r.one(root, "embedded");
    let key = r.text(&section, "key", |text| place.path(text));
    let grants = access::embedded_grants(r, root, aliases);
    section.is_present().then(|| EmbeddedConfig {
        key: key.unwrap_or_else(|| place.dir.join("embedded.key")),
        grants,
    })
}

fn network(
    r: &mut Reader,
    root: &DeTable<'_>,
    aliases: &Aliases,
    place: &Place<'_>,
) -> NetworkConfig {
    let section = r.one(root, "network");
    let id = r.text(&section, "id", value::network_id);
    let key_file = r.text(&section, "key_file", |text| place.path_unless("none", text));
    let deny = r.list(&section, "deny", |text| aliases.several(text));
    NetworkConfig {
        id: id.unwrap_or_else(|| "home".to_owned()),
        key_file: key_file.flatten(),
        allow: allow(r, &section, aliases),
        deny: deny.into_iter().flatten().flatten().collect(),
    }
}

fn allow(r: &mut Reader, section: &Section<'_>, aliases: &Aliases) -> Allow {
    match r.entry(section, "allow") {
        None => Allow::Auto,
        Some(Entry { value, .. }) if value.as_str() == Some("auto") => Allow::Auto,
        Some(entry) => {
            let names = r.list_of(section, entry, |text| aliases.several(text));
            Allow::Names(names.into_iter().flatten().collect())
        }
    }
}

fn link(r: &mut Reader, root: &DeTable<'_>, aliases: &Aliases) -> LinkConfig {
    let section = r.one(root, "link");
    let listen = r.list(&section, "listen", value::listener);
    let peers = r.list(&section, "peers", |text| {
        let (name, place) = match text.split_once('@') {
            Some((name, place)) => (Some(aliases.one(name)?), place),
            None => (None, text),
        };
        let (host, port) = value::host_port(place)?;
        Ok(PeerEndpoint { name, host, port })
    });
    LinkConfig {
        listen: listen.unwrap_or_default(),
        peers: peers.unwrap_or_default(),
        announce: announce(r, &section),
    }
}

fn announce(r: &mut Reader, section: &Section<'_>) -> Announce {
    match r.entry(section, "announce") {
        None => Announce::Auto,
        Some(Entry { value, .. }) if value.as_str() == Some("auto") => Announce::Auto,
        Some(entry) => {
            let line = entry.line;
            let listed = r.list_of(section, entry, |text| {
                let (host, port) = value::host_port(text)?;
                let name = None;
                Ok(PeerEndpoint { name, host, port })
            });
            if listed.len() > ENDPOINTS_MAX {
                let message = format!("at most {ENDPOINTS_MAX} endpoints fit into a record");
                r.fault(section, "announce", line, &message);
            }
            Announce::Listed(listed)
        }
    }
}

fn cloak(r: &mut Reader, root: &DeTable<'_>, aliases: &Aliases) -> CloakConfig {
    let section = r.one(root, "cloak");
    let default = CloakConfig::default();
    CloakConfig {
        relay: r.truth_or(&section, "relay", "auto").flatten(),
        degree: r
            .number(&section, "degree", &(DEGREES.0..=DEGREES.1))
            .unwrap_or(default.degree),
        roots: r
            .list(&section, "roots", |text| aliases.one(text))
            .unwrap_or_default(),
        shortcuts: r.truth(&section, "shortcuts").unwrap_or(default.shortcuts),
    }
}

/// Who may connect to these listeners for applications, by `allow_uids` of their table.
pub(super) fn uids(r: &mut Reader, section: &Section<'_>, listen: &[Listen]) -> Uids {
    let uids = r.numbers_or(section, "allow_uids", "auto", &UIDS);
    let uids = uids.flatten();
    if uids.is_some()
        && let Some(open) = listen.iter().find(|listen| listen.is_open())
    {
        r.fault_at(
            section,
            "allow_uids",
            &format!(
                "is about users of this machine, but other machines reach \"{open}\": \
                 listen on a loopback address or a Unix socket"
            ),
        );
    }
    uids.map_or(Uids::Auto, |uids| Uids::Listed(uids.into_iter().collect()))
}

/// Which addresses may connect to these listeners for applications, by `from` of their table.
pub(super) fn from(r: &mut Reader, section: &Section<'_>, listen: &[Listen]) -> Option<Vec<IpNet>> {
    let entry = r.entry(section, "from")?;
    if entry.value.as_str() == Some("auto") {
        return None;
    }
    let nets = r.list_of(section, entry, value::prefix);
    if r.is_empty_list(section, "from") {
        r.fault_at(
            section,
            "from",
            "is empty: nobody could connect, name whom the listener serves",
        );
    }
    let has_addresses = |listen: &Listen| matches!(listen, Listen::Tcp(_));
    if !listen.is_empty() && !listen.iter().any(has_addresses) {
        r.fault_at(
            section,
            "from",
            "is about addresses, which a Unix socket does not have: leave it out",
        );
    }
    Some(nets)
}

/// Reports a listener that any machine could use, with the `others` of the remedies (R-F1).
pub(super) fn must_not_be_open(
    r: &mut Reader,
    section: &Section<'_>,
    listen: &[Listen],
    others: &str,
) {
    let open = listen.iter().find_map(|listen| match listen {
        Listen::Tcp(address) if listen.is_open() => Some(address),
        Listen::Tcp(_) | Listen::Unix(_) => None,
    });
    if let Some(listen) = open {
        r.fault_at(
            section,
            "listen",
            &format!(
                "\"{listen}\" can be reached from other machines: {others}, \
                 or listen on \"127.0.0.1:{}\"",
                listen.port()
            ),
        );
    }
}

fn proxy(r: &mut Reader, root: &DeTable<'_>, place: &Place<'_>) -> ProxyConfig {
    let section = r.one(root, "proxy");
    let listen = r.list(&section, "listen", |text| place.listen(text));
    let listen = listen.unwrap_or_default();
    let mut config = ProxyConfig {
        allow_uids: uids(r, &section, &listen),
        from: from(r, &section, &listen),
        listen,
        users: BTreeMap::new(),
    };
    match r.entry(&section, "users") {
        None => {}
        Some(Entry {
            value: DeValue::Table(users),
            line,
            ..
        }) => {
            for (user, password) in users {
                let user = user.get_ref().as_ref();
                let read = credential(user, password.get_ref());
                if let Some(secret) = r.keep(&section, "users", line, read) {
                    config.users.insert(user.to_owned(), secret);
                }
            }
        }
        Some(entry) => r.fault(
            &section,
            "users",
            entry.line,
            "write names and passwords as { NAME = \"PASSWORD\" }",
        ),
    }
    if config.users.is_empty() && config.from.is_none() {
        let others = "set `users`, say in `from` which of them are served";
        must_not_be_open(r, &section, &config.listen, others);
    }
    config
}

/// A password; errors never repeat it.
fn credential(user: &str, password: &DeValue<'_>) -> Result<Secret, String> {
    value::user(user)?;
    let text = password
        .as_str()
        .ok_or_else(|| format!("the password of `{user}` must be a text in quotes"))?;
    value::password(text).map_err(|message| format!("`{user}`: {message}"))?;
    Ok(Secret::new(text))
}

fn session(r: &mut Reader, root: &DeTable<'_>) -> SessionConfig {
    let section = r.one(root, "session");
    let default = SessionConfig::default();
    let profile = r.text(&section, "profile", |text| {
        value::choice(
            text,
            &[("standard", Profile::Standard), ("paper", Profile::Paper)],
        )
    });
    let profile = profile.unwrap_or_default();
    let max_suspend = r.text(&section, "max_suspend", |text| {
        if text == "unlimited" {
            return Ok(None);
        }
        value::duration(text, &MAX_SUSPEND).map(Some)
    });
    let open_timeout = r.text(&section, "open_timeout", |text| {
        value::duration(text, &OPEN_TIMEOUT)
    });
    let ack_delay = r.text(&section, "ack_delay", |text| {
        value::duration(text, &ACK_DELAY)
    });
    let pressure = r.text(&section, "on_memory_pressure", |text| {
        value::choice(
            text,
            &[
                ("wait", MemoryPressure::Wait),
                ("reset-oldest", MemoryPressure::ResetOldest),
            ],
        )
    });
    SessionConfig {
        suites: suites(r, &section, profile),
        profile,
        max_suspend: max_suspend.unwrap_or(default.max_suspend),
        open_timeout: open_timeout.unwrap_or(default.open_timeout),
        ack_every: r
            .number(&section, "ack_every", &ACK_EVERY)
            .unwrap_or(default.ack_every),
        ack_delay: ack_delay.unwrap_or(default.ack_delay),
        max_j: r
            .number_or_unlimited(&section, "max_j")
            .unwrap_or(default.max_j),
        on_memory_pressure: pressure.unwrap_or(default.on_memory_pressure),
    }
}

/// The suites as listed; the paper's profile allows no other list than its own.
fn suites(r: &mut Reader, section: &Section<'_>, profile: Profile) -> Suites {
    let auto = r
        .entry(section, "suites")
        .is_none_or(|entry| entry.value.as_str() == Some("auto"));
    let paper = vec![SuiteName::Aes128CtrHmacSha1];
    if auto {
        return match profile {
            Profile::Standard => Suites::Auto,
            Profile::Paper => Suites::Listed(paper),
        };
    }
    let words = SuiteName::ALL.map(|suite| (suite.text(), suite));
    let mut seen = BTreeSet::new();
    let suites = r.list(section, "suites", |text| {
        let suite = value::choice(text, &words)?;
        if seen.insert(suite) {
            Ok(suite)
        } else {
            Err(format!("\"{text}\" stands twice"))
        }
    });
    if r.is_empty_list(section, "suites") {
        r.fault_at(section, "suites", "is empty: name at least one suite");
    }
    let suites = suites.unwrap_or_default();
    if profile == Profile::Paper && suites != paper {
        r.fault_at(
            section,
            "suites",
            "contradicts profile = \"paper\", which means only \"aes128-ctr-hmac-sha1\": \
             leave one of the two out",
        );
    }
    Suites::Listed(suites)
}

fn limits(r: &mut Reader, root: &DeTable<'_>, memory_default: u64) -> LimitsConfig {
    let section = r.one(root, "limits");
    let memory = r.text(&section, "memory", |text| value::size(text, &MEMORY));
    LimitsConfig {
        memory: memory.unwrap_or(memory_default),
    }
}

fn control(r: &mut Reader, root: &DeTable<'_>, place: &Place<'_>) -> ControlConfig {
    let section = r.one(root, "control");
    let socket = r.text(&section, "socket", |text| place.path_unless("auto", text));
    ControlConfig {
        socket: socket.flatten(),
    }
}

/// Two nodes with one identity would take each other's sessions.
fn check_keys_differ(r: &mut Reader, root: &DeTable<'_>, config: &Config) {
    if let Some(embedded) = &config.embedded
        && embedded.key == config.identity.key
    {
        let section = r.one(root, "embedded");
        let message = "is the key of [identity] too: the embedded node needs its own";
        r.fault_at(&section, "key", message);
    }
}

/// Two listeners cannot share an address, unless the system chooses the port.
fn check_listeners_differ(r: &mut Reader, root: &DeTable<'_>, config: &Config) {
    let proxy = r.one(root, "proxy");
    let link = r.one(root, "link");
    let mut all: Vec<(Section<'_>, Listen)> = Vec::new();
    all.extend(config.proxy.listen.iter().map(|addr| (proxy, addr.clone())));
    let links = config.link.listen.iter();
    all.extend(links.map(|addr| (link, Listen::Tcp(*addr))));
    let forwards = r.many(root, "forward");
    all.extend(
        forwards
            .into_iter()
            .zip(&config.forwards)
            .map(|(section, forward)| (section, forward.listen.clone())),
    );
    let mut seen = BTreeSet::new();
    for (section, listen) in all {
        let (chosen, what) = match &listen {
            Listen::Tcp(address) => (address.port() == 0, "port"),
            Listen::Unix(_) => (false, "path"),
        };
        if !chosen && !seen.insert(listen.clone()) {
            let message = format!("\"{listen}\" is listened on twice: choose another {what}");
            r.fault_at(&section, "listen", &message);
        }
    }
}
