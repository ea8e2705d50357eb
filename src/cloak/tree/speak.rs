//! What this node says: announcements, charters, pulses, questions.

use crate::cloak::tree::{Tree, rank};
use crate::limits::{TREE_ANNOUNCE_PAUSE, TREE_QUERY_PAUSE, TREE_QUEUE_MAX, TREE_REFRESH};
use crate::name::Name;
use crate::time::Time;
use crate::wire::tree::{Charter, Message};

/// By which a node knows what charter it told a neighbour last.
fn mark(charter: &Charter) -> u32 {
    let [a, b, c, d, ..] = charter.signature.0;
    u32::from_be_bytes([a, b, c, d])
}

impl Tree {
    pub(super) fn send(&mut self, to: Name, message: &Message) {
        let limit = TREE_QUEUE_MAX.1 + TREE_QUEUE_MAX.0 * self.neighbours.len();
        if self.messages.len() >= limit {
            return;
        }
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.messages.push_back((to, bytes));
    }

    /// Tells a neighbour the charter, unless it knows it.
    pub(super) fn introduce(&mut self, to: Name) {
        let charter = &self.own.charter;
        let Some(neighbour) = self.neighbours.get_mut(&to) else {
            return;
        };
        let known = neighbour.charter.as_ref();
        let known = known.is_some_and(|c| rank::same(c, charter) && c.version >= charter.version);
        let mark = mark(charter);
        if known || neighbour.told == mark {
            return;
        }
        neighbour.told = mark;
        let message = Message::Charter(std::sync::Arc::clone(charter));
        self.send(to, &message);
    }

    /// Tells the charter to all who need it: children, and nodes of other trees.
    pub(super) fn tell_charter(&mut self) {
        let own = &self.own.charter;
        let need = self.neighbours.iter().filter(|(name, neighbour)| {
            let same = neighbour.charter.as_ref();
            self.children.has(name) || !same.is_some_and(|charter| rank::same(charter, own))
        });
        let need: Vec<_> = need.map(|(name, _)| *name).collect();
        for name in need {
            if let Some(neighbour) = self.neighbours.get_mut(&name)
                && self.children.has(&name)
            {
                // Its charter is shared with ours: that it is the same does not say that it was told.
                neighbour.charter = None;
            }
            self.introduce(name);
        }
    }

    /// Tells a neighbour everything.
    pub(super) fn tell(&mut self, to: Name) {
        self.introduce(to);
        let message = Message::Announce(self.announcement());
        self.send(to, &message);
        if let Some(steps) = self.cut {
            self.send(to, &Message::Cut(steps));
        }
    }

    /// Announces what changed to all neighbours, unless that was done a moment ago.
    pub(super) fn say(&mut self, now: Time) {
        if !self.unsaid || now < self.say_from {
            return;
        }
        self.unsaid = false;
        self.say_from = now + TREE_ANNOUNCE_PAUSE;
        self.told_weight = (self.children.weight(), now);
        let mut bytes = Vec::new();
        Message::Announce(self.announcement()).encode(&mut bytes);
        let all: Vec<_> = self.neighbours.keys().copied().collect();
        let limit = TREE_QUEUE_MAX.1 + TREE_QUEUE_MAX.0 * all.len();
        for name in all {
            self.introduce(name);
            if self.messages.len() < limit {
                self.messages.push_back((name, bytes.clone()));
            }
        }
    }

    /// Passes the pulse on: to children, and to who asked for it.
    pub(super) fn pass_pulse(&mut self, now: Time) {
        let wants = |name: &Name| self.children.has(name);
        let all = self.neighbours.iter();
        let all = all.filter(|(name, neighbour)| neighbour.news_until > now || wants(name));
        let all: Vec<_> = all.map(|(name, _)| *name).collect();
        self.send_pulse(all);
    }

    fn send_pulse(&mut self, to: Vec<Name>) {
        let message = Message::Pulse {
            tree: self.own.charter.tree,
            term: self.own.charter.term,
            pulse: self.own.pulse,
            digest: self.own.digest,
        };
        for name in to {
            self.send(name, &message);
        }
    }

    pub(super) fn refresh_pause(&mut self) -> std::time::Duration {
        // Spread, so that neighbours do not all speak at once.
        let spread = u64::try_from(TREE_REFRESH.as_millis() / 4).unwrap_or(0);
        TREE_REFRESH + std::time::Duration::from_millis(self.random.below(spread))
    }

    /// Reminds all neighbours of what they should know.
    pub(super) fn refresh(&mut self, now: Time) {
        if now < self.refresh_at {
            return;
        }
        self.refresh_at = now + self.refresh_pause();
        let all = self.neighbours.keys().copied().collect();
        self.send_pulse(all);
    }

    /// Asks a neighbour for news, if that was not done a moment ago.
    pub(super) fn query(&mut self, to: Name, now: Time) {
        let Some(neighbour) = self.neighbours.get_mut(&to) else {
            return;
        };
        let soon = neighbour
            .queried
            .is_some_and(|at| now.since(at) < TREE_QUERY_PAUSE);
        if !soon {
            neighbour.queried = Some(now);
            self.send(to, &Message::Query);
        }
    }

    /// Asks all neighbours that do not hang on this node for news.
    pub(super) fn query_all(&mut self, now: Time) {
        let all = self.neighbours.iter().filter(|(name, neighbour)| {
            let below = neighbour.place.as_ref().is_some_and(|place| place.below);
            !below && self.own.parent != Some(**name)
        });
        let all: Vec<_> = all.map(|(name, _)| *name).collect();
        for name in all {
            self.query(name, now);
        }
    }
}
