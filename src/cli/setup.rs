//! Finding and reading the configuration, and what depends on it: keys and the control socket.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::cli::exit::Failure;
use crate::config::{Config, Source};
use crate::control::socket;
use crate::keyfile::{self, KeyError};
use crate::net::addresses;

const DEFAULT: &str = "proxy.toml";
/// Longest configuration file in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest file behind a `name_file`, in bytes.
const NAME_BYTES_MAX: u64 = 4096;
/// Default memory budget where the machine's memory is unknown (R-X1).
const MEMORY: u64 = 512 << 20;

/// The path of the configuration that `asked` means.
pub(super) fn path(asked: Option<&Path>) -> &Path {
    asked.unwrap_or_else(|| Path::new(DEFAULT))
}

/// Reads and checks the configuration.
pub(super) fn load(asked: Option<&Path>) -> Result<Config, Failure> {
    read(path(asked)).map_err(|text| {
        let missing = asked.is_none() && !Path::new(DEFAULT).exists();
        if missing {
            let dir = std::env::current_dir().unwrap_or_default();
            let dir = dir.display();
            Failure::config(format!(
                "no {DEFAULT} in {dir}; name the configuration with -c FILE"
            ))
        } else {
            Failure::config(text)
        }
    })
}

/// Reads and checks a configuration file; the error is for a person. Also how a reload reads.
pub(super) fn read(path: &Path) -> Result<Config, String> {
    let (text, mode) = bounded(path, FILE_BYTES_MAX)?;
    let source = Source {
        path,
        text: &text,
        read: &|path| bounded(path, NAME_BYTES_MAX).map(|(text, _)| text),
    };
    let config = Config::parse(&source, memory_default()).map_err(|e| e.to_string())?;
    if config.holds_secrets() && mode & 0o077 != 0 {
        let path = path.display();
        return Err(format!(
            "{path} holds passwords, but others can read or write it (mode {mode:04o}); \
             chmod 600 {path}"
        ));
    }
    Ok(config)
}

/// `muses check`: the text to print. The keys that exist must be usable, too.
pub(super) fn check(asked: Option<&Path>) -> Result<String, Failure> {
    let config = load(asked)?;
    let identities = [
        Some(&config.identity.key),
        config.embedded.as_ref().map(|e| &e.key),
    ];
    for key in identities.into_iter().flatten() {
        match keyfile::load(key) {
            Ok(_) | Err(KeyError::Missing(..)) => {}
            Err(error) => return Err(Failure::config(error)),
        }
    }
    if let Some(key) = &config.network.key_file {
        keyfile::network_key(key).map_err(Failure::config)?;
    }
    // Where they cannot be asked for, nothing is announced for a wildcard either.
    let here = addresses::reachable().unwrap_or_default();
    Ok(format!("{}\n", config.exposure(&here)))
}

/// Where the daemon of this configuration may be listening for us.
pub(super) fn control_places(asked: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    let config = load(asked)?;
    if let Some(path) = config.control.socket {
        return Ok(vec![path]);
    }
    let key = config.identity.key;
    match keyfile::load(&key) {
        Ok(identity) => Ok(socket::places(
            None,
            runtime_dir().as_deref(),
            &key,
            identity.name(),
        )),
        // Before the first run there is no daemon either, and that is what to tell.
        Err(KeyError::Missing(..)) => Ok(vec![keyfile::beside(&key, ".sock")]),
        Err(error) => Err(Failure::config(error)),
    }
}

/// `$XDG_RUNTIME_DIR`.
pub(super) fn runtime_dir() -> Option<OsString> {
    std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty())
}

/// The text and mode of a regular file of at most `max` bytes.
fn bounded(path: &Path, max: u64) -> Result<(String, u32), String> {
    let told = |e: std::io::Error| {
        if e.kind() == ErrorKind::InvalidData {
            return format!("{} is not UTF-8 text", path.display());
        }
        format!("cannot read {}: {e}", path.display())
    };
    let file = File::open(path).map_err(told)?;
    let meta = file.metadata().map_err(told)?;
    let mut text = String::new();
    file.take(max + 1).read_to_string(&mut text).map_err(told)?;
    if text.len() as u64 > max {
        return Err(format!("{} is longer than {max} bytes", path.display()));
    }
    Ok((text, meta.mode() & 0o7777))
}

/// The smaller of 512 MiB and a quarter of the machine's memory (R-X1).
fn memory_default() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()
    });
    total.map_or(MEMORY, |kib| MEMORY.min(kib.saturating_mul(1024) / 4))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn a_file_with_passwords_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.toml");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "[proxy]\nusers = { me = \"secret\" }\n").unwrap();
        mode(0o644);
        let refused = load(Some(&path)).unwrap_err();
        assert_eq!(refused.exit, Exit::Config);
        assert!(refused.message.contains("chmod 600"));
        assert!(!refused.message.contains("secret"));
        mode(0o600);
        assert!(load(Some(&path)).is_ok());
        fs::write(&path, "").unwrap();
        mode(0o644);
        assert!(load(Some(&path)).is_ok());
    }

    #[test]
    fn a_missing_or_endless_file_is_an_error_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let none = dir.path().join("none.toml");
        assert_eq!(load(Some(&none)).unwrap_err().exit, Exit::Config);
        assert_eq!(load(Some(dir.path())).unwrap_err().exit, Exit::Config);
        assert!(
            load(Some(Path::new("/dev/zero")))
                .unwrap_err()
                .message
                .contains("longer")
        );
    }

    #[test]
    fn check_looks_at_the_keys_that_exist() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.toml");
        fs::write(&path, "[identity]\nkey = \"k\"\n").unwrap();
        assert!(check(Some(&path)).is_ok());
        assert!(!dir.path().join("k").exists(), "check makes nothing");
        fs::write(dir.path().join("k"), "short").unwrap();
        assert_eq!(check(Some(&path)).unwrap_err().exit, Exit::Config);
    }

    #[test]
    fn the_default_memory_is_positive_and_bounded() {
        assert!((1..=MEMORY).contains(&memory_default()));
    }
}
