//! `proxy.toml`: from text to checked values, without touching a file or socket.
//!
//! [`Config::parse`] works in two stages. `reader` parses the text, knows the line of every value
//! and refuses tables and keys that [`schema::TABLES`] does not list, with the nearest known one
//! (R-G1). `resolve` and its siblings turn texts into checked types: aliases and groups become
//! names, paths become relative to the file, durations and sizes get units and bounds. All problems
//! of a file are reported together, each with file, line, key and remedy; nothing is repaired or
//! guessed. Defaults stand in the `Default` values of the types below, and the shipped `proxy.toml`
//! repeats them (a test compares).
//!
//! [`routing`] chooses where a destination goes, [`exposure`] says who may reach what (R-G2),
//! [`reload`] which differences a running node cannot take over.

pub mod aliases;
pub mod embedded;
pub mod error;
pub mod exposure;
pub mod reload;
pub mod routing;
pub mod schema;
pub mod secret;

mod access;
mod reader;
mod resolve;
mod value;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use crate::acl::Acl;
use crate::config::aliases::Aliases;
use crate::config::embedded::EmbeddedConfig;
use crate::config::error::ConfigError;
use crate::config::routing::Forward;
use crate::config::routing::Route;
use crate::config::secret::Secret;
use crate::name::Name;
use crate::wire::record::ENDPOINTS_MAX;
use crate::wire::target::Host;

/// A configuration file as the caller has read it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Where the text came from: named in errors, and its directory is the base of relative paths.
    pub path: &'a Path,
    /// The text of the file.
    pub text: &'a str,
    /// Reads a file that an alias points to (`name_file`); the error is the operating system's text.
    pub read: &'a dyn Fn(&Path) -> Result<String, String>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path.display())
    }
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who this node is.
    pub identity: IdentityConfig,
    /// Which overlay it belongs to.
    pub network: NetworkConfig,
    /// Its links.
    pub link: LinkConfig,
    /// Its part in the overlay.
    pub cloak: CloakConfig,
    /// Its SOCKS5 and HTTP CONNECT endpoint.
    pub proxy: ProxyConfig,
    /// Local nicknames.
    pub aliases: Aliases,
    /// Where destinations go; the first that matches decides.
    pub routes: Vec<Route>,
    /// Fixed forwards.
    pub forwards: Vec<Forward>,
    /// What peers may reach through this node; `None` when it is no forwarder.
    pub forwarder: Option<Acl>,
    /// The second node in the same process; `None` without the table.
    pub embedded: Option<EmbeddedConfig>,
    /// How sessions behave.
    pub session: SessionConfig,
    /// Bounds of the whole node.
    pub limits: LimitsConfig,
    /// The local control socket.
    pub control: ControlConfig,
}

impl Config {
    /// Reads and checks a file; `memory_default` (bytes) is the budget when it names none: the
    /// smaller of 512 MiB and a quarter of the machine's memory (R-X1).
    ///
    /// # Errors
    /// Every problem found, in the order of lines.
    pub fn parse(source: &Source<'_>, memory_default: u64) -> Result<Self, ConfigError> {
        resolve::resolve(source, memory_default)
    }

    /// Whether the node carries frames of others.
    pub fn is_relay(&self) -> bool {
        self.cloak.relay.unwrap_or(!self.link.listen.is_empty())
    }

    /// Whether the file holds passwords, so that it must be readable by its owner only.
    pub fn holds_secrets(&self) -> bool {
        !self.proxy.users.is_empty()
    }

    /// Where the control socket of the node `name` is: as configured, else
    /// `RUNTIME_DIR/muses/NAME12.sock`, else the key file's path with `.sock` behind it.
    pub fn control_socket(&self, name: Name, runtime_dir: Option<&Path>) -> PathBuf {
        if let Some(socket) = &self.control.socket {
            return socket.clone();
        }
        if let Some(dir) = runtime_dir {
            return dir.join("muses").join(format!("{}.sock", name.short()));
        }
        let mut path: OsString = self.identity.key.clone().into();
        path.push(".sock");
        path.into()
    }
}

/// `[identity]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityConfig {
    /// The key file, created on the first run if absent. Default `muses.key`.
    pub key: PathBuf,
}

/// `[network]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The overlay's id, on which both ends must agree. Default `home`.
    pub id: String,
    /// The pre-shared key of the overlay. Default none.
    pub key_file: Option<PathBuf>,
    /// Who may link. Default: whoever has the network key.
    pub allow: Allow,
    /// Who has no part here, whatever else says so. Default nobody.
    pub deny: BTreeSet<Name>,
}

/// Who may link to this node, besides the nodes pinned in `link.peers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// No list is set: whoever has the network key; without one, only pinned nodes.
    #[default]
    Auto,
    /// These names and nobody else; empty means that only pinned nodes may link (R-G1).
    Names(BTreeSet<Name>),
}

/// `[link]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkConfig {
    /// Where links are accepted. Default nowhere.
    pub listen: Vec<SocketAddr>,
    /// Whom to dial. Default nobody.
    pub peers: Vec<PeerEndpoint>,
    /// Where other nodes may dial this one, told in the directory. Default [`Announce::Auto`].
    pub announce: Announce,
}

impl LinkConfig {
    /// The endpoints that are told in the directory, as `HOST:PORT`, while links are accepted at `listening`
    /// and `here` are the addresses of the machine that others may come to.
    pub fn announced(&self, listening: &[SocketAddr], here: &[IpAddr]) -> Vec<String> {
        if let Announce::Listed(endpoints) = &self.announce {
            return endpoints.iter().map(ToString::to_string).collect();
        }
        let mut open = Vec::new();
        for address in listening {
            let ip = address.ip();
            if ip.is_unspecified() {
                // The one of IPv6 takes both.
                let taken = here.iter().filter(|here| ip.is_ipv6() || here.is_ipv4());
                open.extend(taken.map(|here| SocketAddr::new(*here, address.port())));
            } else if !ip.is_loopback() {
                open.push(*address);
            }
        }
        open.truncate(ENDPOINTS_MAX);
        open.iter().map(SocketAddr::to_string).collect()
    }
}

/// Which endpoints are told in the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// The addresses where links are accepted, but no loopback ones; those of the machine for a wildcard.
    #[default]
    Auto,
    /// These.
    Listed(Vec<PeerEndpoint>),
}

/// `[cloak]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloakConfig {
    /// Whether the node carries frames of others and lets them join below it; `None` is: if it listens.
    pub relay: Option<bool>,
    /// Directions of each place in the tree, the same for the whole overlay. Default 64.
    pub degree: u32,
    /// Who may be root of the tree; anyone if empty. Default empty.
    pub roots: Vec<Name>,
    /// Whether the two ends of a session that goes through relays link directly when they can. Default yes.
    pub shortcuts: bool,
}

impl Default for CloakConfig {
    fn default() -> Self {
        Self {
            relay: None,
            degree: 64,
            roots: Vec::new(),
            shortcuts: true,
        }
    }
}

/// A peer to dial; its host is resolved again at each try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEndpoint {
    /// The identity it must prove, if pinned.
    pub name: Option<Name>,
    /// Its host.
    pub host: Host,
    /// Its port, never 0.
    pub port: u16,
}

impl fmt::Display for PeerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// `[proxy]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Where SOCKS5 and HTTP CONNECT are spoken. Default nowhere.
    pub listen: Vec<Listen>,
    /// Whose programs may connect. Default [`Uids::Auto`].
    pub allow_uids: Uids,
    /// From which addresses, `None` for any. Default `None`.
    pub from: Option<Vec<IpNet>>,
    /// User names and passwords; when empty, none is asked for. Never empty when an address of
    /// `listen` lies beyond loopback and `from` is not set (R-F1).
    pub users: BTreeMap<String, Secret>,
}

/// Where applications come in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listen {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Whether other machines can reach it; `0.0.0.0` and `::` are reached by them (R-F1).
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// Which users' programs may connect to listeners for applications (R-F5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Uids {
    /// TCP: whoever reaches the port; Unix sockets: the daemon's own user.
    #[default]
    Auto,
    /// The daemon's own user, and these.
    Listed(BTreeSet<u32>),
}

/// `[session]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Which cipher suites are offered and accepted. Default [`Suites::Auto`].
    pub suites: Suites,
    /// The profile. Default [`Profile::Standard`].
    pub profile: Profile,
    /// How long a session may stay suspended; `None` is for ever. Default `None`.
    pub max_suspend: Option<Duration>,
    /// How long a new connection waits for a path. Default 30 s.
    pub open_timeout: Duration,
    /// Packets per acknowledgement (the paper's n). Default 16.
    pub ack_every: u32,
    /// Longest wait of an acknowledgement. Default 5 ms.
    pub ack_delay: Duration,
    /// How many Re-Hellos are tried (the paper's `Max_j`); `None` is without limit. Default `None`.
    pub max_j: Option<u32>,
    /// What happens when the memory budget is used up. Default [`MemoryPressure::Wait`].
    pub on_memory_pressure: MemoryPressure,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            suites: Suites::Auto,
            profile: Profile::Standard,
            max_suspend: None,
            open_timeout: Duration::from_secs(30),
            ack_every: 16,
            ack_delay: Duration::from_millis(5),
            max_j: None,
            on_memory_pressure: MemoryPressure::Wait,
        }
    }
}

/// A cipher suite by the name it has in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SuiteName {
    /// `aes-256-gcm`.
    Aes256Gcm,
    /// `chacha20-poly1305`.
    ChaCha20Poly1305,
    /// `aes128-ctr-hmac-sha1`, the paper's.
    Aes128CtrHmacSha1,
}

impl SuiteName {
    /// Every suite.
    pub const ALL: [Self; 3] = [
        Self::Aes256Gcm,
        Self::ChaCha20Poly1305,
        Self::Aes128CtrHmacSha1,
    ];

    /// The name in the file.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes128CtrHmacSha1 => "aes128-ctr-hmac-sha1",
        }
    }
}

impl fmt::Display for SuiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Which suites a node offers and accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Suites {
    /// Both modern suites, the one that the CPU runs faster first (R-C1).
    #[default]
    Auto,
    /// These, in this order; never empty.
    Listed(Vec<SuiteName>),
}

impl Suites {
    /// The suites in order of preference; `fast_aes` says whether the CPU has AES instructions.
    pub fn in_order(&self, fast_aes: bool) -> Vec<SuiteName> {
        match self {
            Self::Auto if fast_aes => vec![SuiteName::Aes256Gcm, SuiteName::ChaCha20Poly1305],
            Self::Auto => vec![SuiteName::ChaCha20Poly1305, SuiteName::Aes256Gcm],
            Self::Listed(suites) => suites.clone(),
        }
    }
}

/// A named set of choices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// What this program considers best.
    #[default]
    Standard,
    /// The paper's suite and only that; [`SessionConfig::suites`] says the same.
    Paper,
}

/// What happens when the memory budget is used up (R-X3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryPressure {
    /// Connections wait until memory is free.
    #[default]
    Wait,
    /// The connection with the oldest buffered byte in a suspended session is reset.
    ResetOldest,
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The memory budget in bytes.
    pub memory: u64,
}

/// `[control]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlConfig {
    /// The Unix socket; `None` is the default of [`Config::control_socket`].
    pub socket: Option<PathBuf>,
}
