//! `muses keygen` and `muses name`.

use std::path::Path;

use crate::cli::exit::{Exit, Failure};
use crate::keyfile::{self, KeyError};

/// Makes a key file and gives the text to print.
pub(super) fn generate(path: &Path, network: bool) -> Result<String, Failure> {
    if network {
        keyfile::create_network_key(path).map_err(failure)?;
        return Ok(format!("{}\n", path.display()));
    }
    let identity = keyfile::create(path).map_err(failure)?;
    Ok(format!("{}\n", identity.name()))
}

/// Gives the name in a key file.
pub(super) fn name(path: &Path) -> Result<String, Failure> {
    let identity = keyfile::load(path).map_err(failure)?;
    Ok(format!("{}\n", identity.name()))
}

/// What is wrong with a key is 78; what the system does not do is 1.
fn failure(error: KeyError) -> Failure {
    let exit = match error {
        KeyError::Io(..) | KeyError::Exists(_) | KeyError::Random(_) => Exit::Failed,
        KeyError::Missing(..)
        | KeyError::NotAFile(_)
        | KeyError::Open(..)
        | KeyError::Owner(..)
        | KeyError::Directory(..)
        | KeyError::Corrupt(..)
        | KeyError::Locked(_) => Exit::Config,
    };
    Failure::new(exit, error.to_string())
}
