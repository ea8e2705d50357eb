//! Names of which nothing but Hellos has come. Anybody can make one up, so nothing of it is kept for long; of a
//! peer that was met, by a session that it confirmed or by a link, the serial is (R-H11).

use crate::core::Core;
use crate::limits::STRANGER_LIFE;
use crate::name::Name;
use crate::time::Time;

impl Core {
    /// A Hello of this name has opened, which a replay does as well.
    pub(super) fn note_stranger(&mut self, peer: Name, now: Time) {
        let known = self.peers.entry(peer).or_default();
        if !known.met && !std::mem::replace(&mut known.watched, true) {
            self.strangers.push_back((now + STRANGER_LIFE, peer));
            self.stirred = true;
        }
    }

    /// When [`Self::poll_strangers`] has something to do next.
    pub(super) fn strangers_due_at(&self) -> Time {
        let first = self.strangers.front();
        first.map_or(Time::NEVER, |(due, _)| *due)
    }

    /// Forgets those of which nothing has become.
    pub(super) fn poll_strangers(&mut self, now: Time) {
        while let Some((_, peer)) = self.strangers.pop_front_if(|(due, _)| *due <= now) {
            let Some(known) = self.peers.get_mut(&peer) else {
                continue;
            };
            if known.met {
                known.watched = false;
            } else if known.is_in_use() || known.seek.is_on() {
                self.strangers.push_back((now + STRANGER_LIFE, peer));
            } else {
                self.peers.remove(&peer);
            }
        }
    }
}
