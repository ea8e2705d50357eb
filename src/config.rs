//! Placeholder of the configuration.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// A configuration file as the caller has read it.
pub struct Source<'a> {
    /// Where the text came from.
    pub path: &'a Path,
    /// The text of the file.
    pub text: &'a str,
    /// Reads a file that an alias points to.
    pub read: &'a dyn Fn(&Path) -> Result<String, String>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this node is.
    pub identity: IdentityConfig,
    /// Which overlay it belongs to.
    pub network: NetworkConfig,
    /// The second node in the same process.
    pub embedded: Option<embedded::EmbeddedConfig>,
    /// The local control socket.
    pub control: ControlConfig,
    secrets: bool,
}

/// `[identity]`.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// The key file.
    pub key: PathBuf,
}

/// `[network]`.
#[derive(Clone, Debug, Default)]
pub struct NetworkConfig {
    /// The pre-shared key of the overlay.
    pub key_file: Option<PathBuf>,
}

/// `[control]`.
#[derive(Clone, Debug, Default)]
pub struct ControlConfig {
    /// The Unix socket.
    pub socket: Option<PathBuf>,
}

/// The embedded node.
pub mod embedded {
    /// `[embedded]`.
    #[derive(Clone, Debug)]
    pub struct EmbeddedConfig {
        /// Its key file.
        pub key: std::path::PathBuf,
    }
}

/// Errors.
pub mod error {
    /// What is wrong with a file.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    pub struct ConfigError(pub String);
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tables {
    identity: Key,
    network: Net,
    embedded: Option<Key>,
    control: Control,
    proxy: Proxy,
}

#[derive(Default, Deserialize)]
struct Key {
    key: Option<String>,
}

#[derive(Default, Deserialize)]
struct Net {
    key_file: Option<String>,
}

#[derive(Default, Deserialize)]
struct Control {
    socket: Option<String>,
}

#[derive(Default, Deserialize)]
struct Proxy {
    users: Option<toml::Table>,
}

impl Config {
    /// Reads and checks a file.
    pub fn parse(source: &Source<'_>, _memory_default: u64) -> Result<Self, error::ConfigError> {
        let tables: Tables = toml::from_str(source.text)
            .map_err(|e| error::ConfigError(format!("{}: {e}", source.path.display())))?;
        let dir = source.path.parent().unwrap_or_else(|| Path::new(""));
        let key = |k: Key, or: &str| dir.join(k.key.unwrap_or_else(|| or.to_owned()));
        Ok(Self {
            identity: IdentityConfig {
                key: key(tables.identity, "muses.key"),
            },
            network: NetworkConfig {
                key_file: tables.network.key_file.map(|f| dir.join(f)),
            },
            embedded: tables.embedded.map(|k| embedded::EmbeddedConfig {
                key: key(k, "embedded.key"),
            }),
            control: ControlConfig {
                socket: tables.control.socket.map(|f| dir.join(f)),
            },
            secrets: tables.proxy.users.is_some_and(|u| !u.is_empty()),
        })
    }

    /// Says who may reach what.
    pub fn exposure(&self) -> exposure::Exposure {
        exposure::Exposure
    }

    /// Whether the file holds passwords.
    pub fn holds_secrets(&self) -> bool {
        self.secrets
    }
}

/// The report of `muses check`.
pub mod exposure {
    /// Who may reach what.
    #[derive(Debug)]
    pub struct Exposure;

    impl std::fmt::Display for Exposure {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("nothing\n")
        }
    }
}
