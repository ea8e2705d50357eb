//! Notices that this machine was cloned, or put back to an earlier state (R-K9).
//!
//! A virtual machine that goes on from a snapshot has the keys, counters and random numbers of every other
//! copy. No clock tells it apart from one that was paused; the hypervisor does, by a new generation id
//! (VMGenID), and Linux passes that on as a uevent.

use std::future::pending;
use std::io;

use rustix::net::netlink::KOBJECT_UEVENT;

use crate::net::netlink::Notices;

/// The multicast group of what the kernel itself says.
const KERNEL: u32 = 1;
/// What stands in the uevent of a new generation id.
const NEWS: &[u8] = b"NEW_VMGENID=1";

/// Resolves when this machine is a copy of another; never where the system does not tell. May be dropped at
/// any time.
pub async fn cloned() {
    if let Err(error) = told().await {
        tracing::debug!(%error, "clones of this machine are not noticed");
        pending::<()>().await;
    }
}

async fn told() -> io::Result<()> {
    let notices = Notices::open(Some(KOBJECT_UEVENT), KERNEL)?;
    while !is_news(&notices.next().await?) {}
    Ok(())
}

/// A uevent is a list of texts, each behind a zero.
fn is_news(uevent: &[u8]) -> bool {
    uevent.split(|byte| *byte == 0).any(|text| text == NEWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_generation_is_told_from_other_uevents() {
        let change = b"change@/devices/platform/VMGENCTR:00\0ACTION=change\0SUBSYSTEM=platform\0";
        let news = [&change[..], b"NEW_VMGENID=1\0SEQNUM=7\0"].concat();
        assert!(is_news(&news));
        assert!(!is_news(change));
        assert!(!is_news(b""));
        assert!(!is_news(b"change@/x\0NAME=NEW_VMGENID=1\0"));
    }

    #[tokio::test]
    async fn nothing_is_told_while_nothing_happens() {
        let watch = cloned();
        let mut watch = std::pin::pin!(watch);
        for _ in 0..10 {
            tokio::select! {
                biased;
                () = &mut watch => panic!("a clone"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
}
