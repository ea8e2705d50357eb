//! What became of the tries to link to a configured endpoint, so that status can say why there is no link.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::name::Name;

/// The state of one configured endpoint.
#[derive(Debug)]
pub struct Report {
    /// Host and port, as configured.
    pub address: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    peer: Option<Name>,
    up: bool,
    since: Instant,
    error: Option<(String, Instant)>,
}

/// An endpoint without a link, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Who should answer there, as far as it is known.
    pub peer: Option<Name>,
    /// Host and port, as configured.
    pub address: String,
    /// Time without a link.
    pub since: Duration,
    /// The last failure, and how long ago it was.
    pub error: Option<(String, Duration)>,
}

impl Report {
    /// An endpoint that has not been tried; `peer` should answer there.
    pub fn new(address: String, peer: Option<Name>) -> Self {
        Self {
            address,
            state: Mutex::new(State {
                peer,
                up: false,
                since: Instant::now(),
                error: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link came up, to this node.
    pub(super) fn up(&self, peer: Name) {
        let mut state = self.state();
        if !state.up {
            state.since = Instant::now();
        }
        state.peer = Some(peer);
        state.up = true;
        state.error = None;
    }

    /// The link is gone.
    pub(super) fn down(&self) {
        let mut state = self.state();
        state.up = false;
        state.since = Instant::now();
    }

    /// A try failed.
    pub(super) fn failed(&self, error: String) {
        self.state().error = Some((error, Instant::now()));
    }

    /// Who answered there last, or should.
    pub(super) fn peer(&self) -> Option<Name> {
        self.state().peer
    }

    /// What status shows; nothing while there is a link.
    pub fn missing(&self) -> Option<Missing> {
        let state = self.state();
        (!state.up).then(|| Missing {
            peer: state.peer,
            address: self.address.clone(),
            since: state.since.elapsed(),
            error: state
                .error
                .as_ref()
                .map(|(text, at)| (text.clone(), at.elapsed())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    #[test]
    fn only_an_endpoint_without_a_link_is_missing_and_it_says_why() {
        let peer = Identity::from_seed(&[1; 32]).name();
        let report = Report::new("gw.example:7000".to_owned(), None);
        assert_eq!(report.missing().unwrap().error, None);
        report.failed("refused".to_owned());
        let missing = report.missing().unwrap();
        assert_eq!(
            (missing.peer, missing.error.unwrap().0),
            (None, "refused".to_owned())
        );
        report.up(peer);
        assert_eq!(report.missing(), None);
        report.down();
        let missing = report.missing().unwrap();
        assert_eq!((missing.peer, missing.error), (Some(peer), None));
    }
}
