//! What becomes of sessions, as the log tells it, and who else hears of it.

use crate::core::Event;
use crate::engine::Loop;
use crate::net::seldom::Pass;

impl Loop {
    /// Something became of a session.
    pub(super) fn about_session(&self, event: Event) {
        let show = &self.surroundings.show;
        match event {
            Event::SessionUp(number, peer) => {
                if let Some(Pass { held_back }) = self.lines.pass(peer) {
                    let peer = show(peer);
                    tracing::info!(session = number, peer, held_back, "session up");
                }
            }
            Event::Suspended(number, peer, reason) => {
                tracing::debug!(session = number, peer = show(peer), %reason, "session suspended");
                (self.surroundings.want)(peer);
            }
            Event::Resumed(number, peer) => {
                tracing::debug!(session = number, peer = show(peer), "session resumed");
                (self.surroundings.resumed)();
            }
            Event::Paused(number, peer, cause, lasted) => {
                let pause_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
                // Every pause is one line: none is left out.
                tracing::info!(
                    session = number,
                    peer = show(peer),
                    cause = cause.to_string(),
                    pause_ms,
                    "a pause is over"
                );
            }
            Event::NoHandshake(peer, why) => {
                if let Some(Pass { held_back }) = self.lines.pass(peer) {
                    let peer = show(peer);
                    tracing::warn!(peer, %why, held_back, "no session");
                }
            }
            Event::Forged(number, peer, count) => tracing::warn!(
                session = number,
                peer = show(peer),
                count,
                "packets do not open: somebody on the way forges or spoils them"
            ),
            Event::SessionDown(number, peer, reason) => {
                if let Some(Pass { held_back }) = self.lines.pass(peer) {
                    let peer = show(peer);
                    tracing::info!(session = number, peer, %reason, held_back, "session down");
                }
            }
            _ => {}
        }
    }
}
