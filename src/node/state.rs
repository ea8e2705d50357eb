//! The small numbers that a node keeps over a restart, in its state directory. All may be lost.

use std::path::{Path, PathBuf};

use crate::net::tasks::Tasks;

/// A serial above every one of this name before: the time, or one more than the last if the clock was
/// set back. What cannot be remembered is only logged (R-G4).
pub(super) fn serial(state_dir: Option<&Path>, now: u64) -> u64 {
    let Some(path) = state_dir.map(|dir| dir.join("serial")) else {
        return now;
    };
    let serial = number_in(&path).map_or(now, |last| now.max(last.saturating_add(1)));
    if let Err(error) = std::fs::write(&path, format!("{serial}\n")) {
        tracing::warn!(path = %path.display(), %error, "state cannot be written");
    }
    serial
}

/// The number in a file.
pub(super) fn number_in(path: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.trim().parse().ok()
}

/// Writes numbers down beside the node's work; what cannot be written is only logged (R-G4).
pub(super) fn remember(path: Option<PathBuf>, tasks: Tasks) -> Box<dyn Fn(u64) + Send> {
    Box::new(move |number| {
        let Some(path) = path.clone() else { return };
        let write = move || {
            if let Err(error) = std::fs::write(&path, format!("{number}\n")) {
                tracing::warn!(path = %path.display(), %error, "state cannot be written");
            }
        };
        tasks.spawn(async move {
            // It neither panics nor is cancelled.
            let _written = tokio::task::spawn_blocking(write).await;
        });
    })
}
