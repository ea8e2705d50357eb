//! `muses keygen` and `muses name`.

use std::path::Path;

use crate::cli::exit::{Exit, Failure};
use crate::keyfile::{self, KeyError};

/// Makes an identity, or keeps the one that is there, and gives the text to print. The same text goes into
/// `name_file`.
pub(super) fn identity(
    path: &Path,
    keep: bool,
    name_file: Option<&Path>,
) -> Result<String, Failure> {
    let identity = if keep {
        keyfile::load_or_create(path)
    } else {
        keyfile::create(path)
    };
    let text = format!("{}\n", identity.map_err(failure)?.name());
    if let Some(file) = name_file {
        std::fs::write(file, &text)
            .map_err(|error| failure(KeyError::Io(file.to_owned(), error, "write")))?;
    }
    Ok(text)
}

/// Makes the key of an overlay, or keeps the one that is there, and gives the text to print.
pub(super) fn network(path: &Path, keep: bool) -> Result<String, Failure> {
    match keyfile::create_network_key(path) {
        Err(KeyError::Exists(_)) if keep => keyfile::network_key(path).map(drop),
        done => done,
    }
    .map_err(failure)?;
    Ok(format!("{}\n", path.display()))
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
