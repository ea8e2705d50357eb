//! Descriptors kept back, so that links, control and resolving still work when connections have taken
//! all others (R-F10).
//!
//! The system gives the lowest free number, so a number in the last part of the limit says that all
//! others are taken. Sockets of applications and services may not use that part.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};
use tokio::time::sleep;

use crate::limits::DESCRIPTORS_KEPT;
use crate::net::seldom::Seldom;

/// Pause between looks whether a descriptor is free again (R-F10: 50 to 500 ms).
const PAUSE: Duration = Duration::from_millis(100);

/// One line per ten seconds.
static SHORT: Seldom = Seldom::new(Duration::from_secs(10));

/// How many are kept back: an eighth of the limit, within [`DESCRIPTORS_KEPT`].
pub fn kept() -> u64 {
    kept_of(getrlimit(Resource::Nofile).current)
}

fn kept_of(limit: Option<u64>) -> u64 {
    let (min, max) = DESCRIPTORS_KEPT;
    limit.map_or(max, |limit| (limit / 8).clamp(min, max))
}

/// How many there are for applications and services.
pub fn for_applications() -> u64 {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(u64::MAX, |limit| limit.saturating_sub(kept_of(Some(limit))))
}

/// Whether a descriptor is one of those kept back: whoever holds it for an application or a service
/// should let it go.
pub fn is_kept_back(descriptor: impl AsFd) -> bool {
    let limit = getrlimit(Resource::Nofile).current;
    let number = u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(u64::MAX);
    limit.is_some_and(|limit| number >= limit.saturating_sub(kept_of(Some(limit))))
}

/// Waits until an application's socket may be held: `descriptor` is outside the part kept back, or
/// another one there is free. May be dropped at any time.
pub async fn wait_for_room(descriptor: impl AsFd) {
    if !is_kept_back(descriptor.as_fd()) {
        return;
    }
    while is_full(&descriptor) {
        if let Some(held_back) = SHORT.due() {
            tracing::warn!(
                held_back,
                "descriptors are used up: new connections wait; raise LimitNOFILE or ulimit -n"
            );
        }
        sleep(PAUSE).await;
    }
}

/// Whether the lowest free descriptor is one of those kept back.
fn is_full(descriptor: impl AsFd) -> bool {
    let copy: Result<OwnedFd, _> = fcntl_dupfd_cloexec(descriptor, 0);
    copy.map_or(true, is_kept_back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_is_kept_back_within_bounds() {
        assert_eq!(kept_of(Some(20_000)), 512);
        assert_eq!(kept_of(Some(1_024)), 128);
        assert_eq!(kept_of(Some(64)), 8);
        assert_eq!(kept_of(Some(16)), 8);
        assert_eq!(kept_of(None), 512);
    }

    #[tokio::test]
    async fn a_low_descriptor_has_room() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!is_kept_back(&one));
        wait_for_room(&one).await;
    }
}
