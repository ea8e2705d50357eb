//! Sessions that a Hello made and that no packet has confirmed: how many, and for how long (R-H6).

use crate::cloak::neighbours::Link as LinkNumber;
use crate::core::{Core, Entry, Peer};
use crate::limits::{
    HALF_OPEN_LIFE, HALF_OPEN_MAX, HALF_OPEN_PER_LINK, HANDSHAKE_RETRY, PEERS_MAX,
    SESSIONS_PER_PEER,
};
use crate::name::Name;
use crate::ssm::established::Known;
use crate::time::Time;

impl Peer {
    /// Whether there are sessions or a handshake of ours.
    pub(super) const fn is_in_use(&self) -> bool {
        !self.sessions.is_empty() || self.attempt.is_some()
    }

    /// A session of this peer's is gone before any packet of it opened.
    pub(super) fn note_unheard(&mut self, sess_id: [u8; 32]) {
        self.unheard.retain(|known| *known != sess_id);
        if self.unheard.len() >= HALF_OPEN_MAX.1 {
            self.unheard.pop_front();
        }
        self.unheard.push_back(sess_id);
    }
}

impl Core {
    /// What is left of a session that its peer asks for. One that nothing has confirmed is given up: what
    /// was said in it is said again in the one that takes its place.
    pub(super) fn state_of(&mut self, peer: Name, asked: [u8; 32]) -> Known {
        let is = |entry: &Entry| entry.session.peer() == peer && entry.session.sess_id() == asked;
        let found = self.sessions.iter().find(|(_, entry)| is(entry));
        if let Some((number, entry)) = found {
            if entry.session.is_confirmed() {
                return Known::Yes;
            }
            self.forget_session(*number);
        }
        let known = self.peers.get_mut(&peer);
        match known.filter(|known| known.unheard.contains(&asked)) {
            Some(known) => {
                // It may have to be told once more.
                known.note_unheard(asked);
                Known::Never
            }
            None => Known::No,
        }
    }

    fn half_open(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.sessions
            .iter()
            .filter(|(_, entry)| !entry.session.is_confirmed())
            .map(|(number, entry)| (*number, entry))
    }

    /// Whether so many handshakes are under way that initiators must show a cookie (R-H7).
    pub(super) fn is_crowded(&self) -> bool {
        self.half_open().count() > HALF_OPEN_MAX.0 / 4
    }

    /// Makes room for another half-open session of `peer` that came by `link`: the oldest of a class
    /// that is full goes. False when the peer has too many sessions that are none.
    pub(super) fn room_for_half_open(&mut self, peer: Name, link: LinkNumber, now: Time) -> bool {
        self.drop_half_open(now);
        let known = self.peers.get(&peer);
        let confirmed = known.into_iter().flat_map(|known| &known.sessions);
        let confirmed = confirmed
            .filter_map(|number| self.sessions.get(number))
            .filter(|entry| entry.session.is_confirmed());
        if confirmed.count() >= SESSIONS_PER_PEER {
            return false;
        }
        self.evict(HALF_OPEN_MAX.1, |entry| entry.session.peer() == peer);
        self.evict(HALF_OPEN_PER_LINK, |entry| entry.ingress == Some(link));
        self.evict(HALF_OPEN_MAX.0, |_| true);
        true
    }

    /// Drops the oldest of a class until there is room for one more.
    fn evict(&mut self, max: usize, class: impl Fn(&Entry) -> bool) {
        let mut members: Vec<u32> = self
            .half_open()
            .filter(|(_, entry)| class(entry))
            .map(|(number, _)| number)
            .collect();
        let keep = max.saturating_sub(1).min(members.len());
        members.truncate(members.len() - keep);
        for number in members {
            self.forget_session(number);
        }
    }

    pub(super) fn drop_half_open(&mut self, now: Time) {
        let old: Vec<u32> = self
            .half_open()
            .filter(|(_, entry)| now.since(entry.made_at) >= HALF_OPEN_LIFE)
            .map(|(number, _)| number)
            .collect();
        for number in old {
            self.forget_session(number);
        }
    }

    pub(super) fn half_open_due_at(&self) -> Time {
        self.half_open()
            .map(|(_, entry)| entry.made_at + HALF_OPEN_LIFE)
            .min()
            .unwrap_or(Time::NEVER)
    }

    /// Whether a peer's handshake with us has ended.
    pub(super) fn has_confirmed(&self, peer: Name) -> bool {
        let known = self.peers.get(&peer);
        let mut sessions = known.into_iter().flat_map(|known| &known.sessions);
        sessions.any(|number| {
            self.sessions
                .get(number)
                .is_some_and(|entry| entry.session.is_confirmed())
        })
    }

    /// When a handshake of our own may begin beside a half-open one that the peer seems to have begun:
    /// that may be a replay, so it delays ours by one retry and no more.
    pub(super) fn turn(&self, peer: Name, now: Time) -> Time {
        self.half_open()
            .filter(|(_, entry)| entry.session.peer() == peer)
            .map(|(_, entry)| entry.made_at + HANDSHAKE_RETRY.1)
            .min()
            .unwrap_or(now)
            .max(now)
    }

    /// Whether something may be remembered of one more name; forgets names of which nothing is left
    /// but a serial if need be.
    pub(super) fn room_for_peer(&mut self, peer: &Name) -> bool {
        if self.peers.contains_key(peer) || self.peers.len() < PEERS_MAX {
            return true;
        }
        let neighbours = &self.neighbours;
        self.peers
            .retain(|name, known| known.is_in_use() || neighbours.preferred(name.tag()).is_some());
        self.peers.len() < PEERS_MAX
    }
}
