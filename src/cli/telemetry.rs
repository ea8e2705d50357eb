//! Logs to stderr. Never payload, keys or passwords (R-G3).

use std::{io, io::IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, registry,
};

use crate::cli::exit::{Exit, Failure};

/// Starts logging at `asked`, else at `RUST_LOG`, else at `default`.
///
/// Records of the `log` crate are not taken over, and fast-socks5 is off whatever the filter says:
/// at its debug level it prints passwords.
pub(super) fn start(asked: Option<&str>, default: &str) -> Result<(), Failure> {
    let environment = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|t| !t.is_empty());
    let text = asked.or(environment.as_deref()).unwrap_or(default);
    let filter = EnvFilter::try_new(text)
        .map_err(|e| Failure::new(Exit::Usage, format!("log filter {text:?}: {e}")))?;
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter_fn(|meta| !is_secretive(meta.target())));
    let subscriber = registry().with(filter).with(lines);
    // Somebody else's subscriber, as in tests, stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

fn is_secretive(target: &str) -> bool {
    target.starts_with("fast_socks5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_fast_socks5_is_silenced() {
        assert!(is_secretive("fast_socks5"));
        assert!(is_secretive("fast_socks5::server"));
        assert!(!is_secretive("muses::proxy"));
    }

    #[test]
    fn a_wrong_filter_is_wrong_usage() {
        let refused = start(Some("info,muses=loud"), "info").unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
    }
}
