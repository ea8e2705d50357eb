//! When to link directly to a peer whose session goes through relays (design 7).

use std::time::Duration;

use crate::core::{Core, Event, Peer};
use crate::limits::{SHORTCUT_PAUSE, SHORTCUT_PAUSE_MAX};
use crate::name::Name;
use crate::time::Time;

/// Tries to link to one peer directly.
#[derive(Debug, Default)]
pub(super) struct Shortcut {
    next_at: Time,
    pause: Duration,
}

impl Core {
    /// Peers that could be linked directly: they can be dialled, and channels go to them through relays.
    fn roundabout(&self) -> impl Iterator<Item = (&Name, &Peer)> {
        let indirect = |peer: &Name, known: &Peer| {
            !known.endpoints.is_empty()
                && self.neighbours.preferred(peer.tag()).is_none()
                && known.sessions.iter().any(|number| {
                    self.sessions.get(number).is_some_and(|entry| {
                        entry.carrier.is_some() && entry.session.channels().next().is_some()
                    })
                })
        };
        let peers = if self.settings.cloak.shortcuts {
            Some(&self.peers)
        } else {
            None
        };
        let peers = peers.into_iter().flatten();
        peers.filter(move |(peer, known)| indirect(peer, known))
    }

    pub(super) fn shortcuts_due_at(&self) -> Time {
        let due = self.roundabout().map(|(_, known)| known.shortcut.next_at);
        due.min().unwrap_or(Time::NEVER)
    }

    /// Asks for the links that would be worth it.
    pub(super) fn poll_shortcuts(&mut self, now: Time) {
        let due: Vec<Name> = self
            .roundabout()
            .filter(|(_, known)| known.shortcut.next_at <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            let Some(known) = self.peers.get_mut(&peer) else {
                continue;
            };
            let tries = &mut known.shortcut;
            tries.pause = (tries.pause * 2).clamp(SHORTCUT_PAUSE, SHORTCUT_PAUSE_MAX);
            tries.next_at = now + tries.pause;
            let endpoints = known.endpoints.clone();
            self.events.push_back(Event::Dial(peer, endpoints, true));
        }
    }
}
