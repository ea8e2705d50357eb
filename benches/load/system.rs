//! What is measured: nothing, a plain relay, or muses between the load and the target.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use tempfile::TempDir;

use crate::Fault;
use crate::helper::Helper;
use crate::options::Options;

/// A kind of system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The target itself.
    Raw,
    /// A plain tokio relay with 64 KiB buffers at each end, and one for each relay between.
    Reference,
    /// A client and a gateway.
    Muses,
}

impl Kind {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Reference => "reference",
            Self::Muses => "muses",
        }
    }
}

/// A running system; ends when dropped.
pub(crate) struct System {
    pub(crate) kind: Kind,
    /// A connection to it comes out at the target.
    pub(crate) entry: SocketAddr,
    /// Its SOCKS5 port, if it has one.
    pub(crate) socks: Option<SocketAddr>,
    /// Where everything ends.
    pub(crate) target: SocketAddr,
    /// Process ids: the end near the load, the end near the target.
    pub(crate) ends: Option<[u32; 2]>,
    _helpers: Vec<Helper>,
    /// Keys, configurations and logs; goes after the processes that use them.
    _folder: Option<TempDir>,
}

/// The program to measure: another build than cargo's if `MUSES_BIN` names one.
pub(crate) fn program() -> String {
    std::env::var("MUSES_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_muses").to_owned())
}

impl System {
    pub(crate) fn start(kind: Kind, target: SocketAddr, options: &Options) -> Result<Self, Fault> {
        match kind {
            Kind::Raw => Ok(Self {
                kind,
                entry: target,
                socks: None,
                target,
                ends: None,
                _helpers: Vec::new(),
                _folder: None,
            }),
            Kind::Reference => Self::relays(target, options.hops),
            Kind::Muses => Self::nodes(target, options),
        }
    }

    /// A plain relay at each end of every hop.
    fn relays(target: SocketAddr, hops: u16) -> Result<Self, Fault> {
        let (far, mut entry) = Helper::start(&["relay", &target.to_string()])?;
        let mut helpers = vec![far];
        for _ in 0..hops {
            let (next, its_entry) = Helper::start(&["relay", &entry])?;
            helpers.push(next);
            entry = its_entry;
        }
        let ends = [helpers.last(), helpers.first()].map(|end| end.map_or(0, Helper::pid));
        Ok(Self {
            kind: Kind::Reference,
            entry: entry.parse()?,
            socks: None,
            target,
            ends: Some(ends),
            _helpers: helpers,
            _folder: None,
        })
    }

    /// Two nodes, and the relays between them.
    fn nodes(target: SocketAddr, options: &Options) -> Result<Self, Fault> {
        let folder = tempfile::tempdir()?;
        let home = |node: &str| folder.path().join(node);
        let (near, far) = (home("client"), home("gateway"));
        let (client, gateway) = (keygen(&near)?, keygen(&far)?);
        let between: Vec<PathBuf> = (1..options.hops)
            .map(|n| home(&format!("relay{n}")))
            .collect();
        let relays: Result<Vec<String>, Fault> =
            between.iter().map(|relay| keygen(relay)).collect();
        let relays = relays?;
        let mut allow = vec![client.as_str(), gateway.as_str()];
        allow.extend(relays.iter().map(String::as_str));
        let network = format!(
            "[network]\nallow = [\"{}\"]\n[link]\n",
            allow.join("\", \"")
        );
        let session = options.suite.as_ref().map_or_else(String::new, |suite| {
            format!("[session]\nsuites = [\"{suite}\"]\n")
        });
        let config = format!(
            "{network}listen = [\"127.0.0.1:0\"]\n[forwarder]\n\
             [[forwarder.grant]]\npeer = [\"{client}\"]\nto = [\"127.0.0.1:*\"]\n{session}"
        );
        let (far, far_pid, listeners) = node(&far, &config)?;
        let mut helpers = vec![far];
        let mut link = (gateway.clone(), listener(&listeners, "link")?);
        for (folder, name) in between.iter().zip(relays) {
            let (peer, address) = &link;
            let config =
                format!("{network}listen = [\"127.0.0.1:0\"]\npeers = [\"{peer}@{address}\"]\n");
            let (relay, _, listeners) = node(folder, &config)?;
            helpers.push(relay);
            link = (name, listener(&listeners, "link")?);
        }
        let (peer, address) = &link;
        let config = format!(
            "{network}peers = [\"{peer}@{address}\"]\n[aliases]\ngw = \"{gateway}\"\n[proxy]\nlisten = \
             [\"127.0.0.1:0\"]\n[[route]]\nmatch = [\"*\"]\nvia = \"gw\"\n[[forward]]\nlisten = \
             \"127.0.0.1:0\"\nto = \"{target}\"\nvia = \"gw\"\n{session}"
        );
        let (near, near_pid, listeners) = node(&near, &config)?;
        helpers.push(near);
        Ok(Self {
            kind: Kind::Muses,
            entry: listener(&listeners, "forward")?,
            socks: Some(listener(&listeners, "proxy")?),
            target,
            ends: Some([near_pid, far_pid]),
            _helpers: helpers,
            _folder: Some(folder),
        })
    }

    /// For whoever wants to look at them from outside.
    pub(crate) fn processes(&self) -> String {
        self.ends.map_or_else(
            || "no processes".to_owned(),
            |[near, far]| format!("processes {near} (client end) and {far} (gateway end)"),
        )
    }
}

/// Makes an identity and gives its name.
fn keygen(folder: &Path) -> Result<String, Fault> {
    fs::create_dir_all(folder)?;
    let out = Command::new(program())
        .arg("keygen")
        .arg(folder.join("muses.key"))
        .output()?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into());
    }
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

/// Starts a node; gives its process id and where it listens.
fn node(folder: &Path, config: &str) -> Result<(Helper, u32, String), Fault> {
    fs::write(folder.join("proxy.toml"), config)?;
    let (helper, line) = Helper::start(&["node", &program(), &folder.display().to_string()])?;
    let (pid, listeners) = line.split_once(' ').ok_or("no listeners")?;
    Ok((helper, pid.parse()?, listeners.to_owned()))
}

/// The address of the listener of a kind.
fn listener(listeners: &str, kind: &str) -> Result<SocketAddr, Fault> {
    let found = listeners.split(", ").find_map(|one| one.strip_prefix(kind));
    let address = found.ok_or_else(|| format!("no {kind} in {listeners}"))?;
    Ok(address.trim().parse()?)
}
