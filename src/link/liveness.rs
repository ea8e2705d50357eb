//! Is the neighbour still there? Proved by what arrives, never remembered (users.md, pain 1).

use std::time::Duration;

use crate::limits::{LINK_DEAD, LINK_DOUBT, LINK_HURRY, LINK_PING, LINK_PING_IDLE};
use crate::time::Time;

/// What is known of a link's life.
#[derive(Debug)]
pub struct Liveness {
    heard_at: Time,
    ping: Option<Ping>,
    sent: u64,
    in_use: bool,
    rtt: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    number: u64,
    sent_at: Time,
    doubted: bool,
    /// How long the answer may take before the link is in doubt.
    patience: Duration,
}

/// What has to be done for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping with this number.
    Ping(u64),
    /// The neighbour owes an answer for [`LINK_DOUBT`]: dial a second link beside this one.
    Doubt,
    /// End the link: nothing has come for [`LINK_DEAD`].
    Dead,
}

impl Liveness {
    /// A link that has just come up.
    pub const fn new(now: Time) -> Self {
        Self {
            heard_at: now,
            ping: None,
            sent: 0,
            in_use: false,
            rtt: None,
        }
    }

    /// Says whether open channels depend on the link: it is asked more often then.
    pub const fn set_in_use(&mut self, in_use: bool) {
        self.in_use = in_use;
    }

    /// A frame of the neighbour opened.
    pub const fn heard(&mut self, now: Time) {
        self.heard_at = now;
    }

    /// The neighbour answered a ping.
    pub fn pong(&mut self, number: u64, now: Time) {
        if let Some(ping) = self.ping.take_if(|ping| ping.number == number) {
            self.rtt = Some(now.since(ping.sent_at));
        }
    }

    /// Asks at once, because something hints that the link may be dead.
    pub fn suspect(&mut self, now: Time) -> Option<Due> {
        let quick = LINK_HURRY.max(self.rtt.unwrap_or_default() * 3);
        if let Some(ping) = &mut self.ping {
            ping.patience = ping
                .patience
                .min(now.since(self.heard_at.max(ping.sent_at)) + quick);
            return None;
        }
        let due = self.ask(now);
        if let Some(ping) = &mut self.ping {
            ping.patience = quick;
        }
        Some(due)
    }

    /// Whether the neighbour owes an answer for longer than it should.
    pub fn is_doubted(&self) -> bool {
        let ping = self.ping.filter(|ping| ping.doubted);
        ping.is_some_and(|ping| self.heard_at <= ping.sent_at)
    }

    /// How long ago the neighbour was heard.
    pub const fn silence(&self, now: Time) -> Duration {
        now.since(self.heard_at)
    }

    /// The last measured round trip.
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Whether the neighbour owes an answer for too long already.
    pub fn is_doubtful(&self) -> bool {
        self.ping.is_some_and(|ping| ping.doubted)
    }

    /// When [`Self::poll`] has something to say next.
    pub fn due_at(&self) -> Time {
        match self.ping {
            Some(ping) => {
                let patience = if ping.doubted {
                    LINK_DEAD
                } else {
                    ping.patience
                };
                self.heard_at.max(ping.sent_at) + patience
            }
            None => {
                self.heard_at
                    + if self.in_use {
                        LINK_PING
                    } else {
                        LINK_PING_IDLE
                    }
            }
        }
    }

    /// What is due.
    pub fn poll(&mut self, now: Time) -> Option<Due> {
        if now < self.due_at() {
            return None;
        }
        Some(match &mut self.ping {
            Some(ping) if ping.doubted => Due::Dead,
            Some(ping) => {
                ping.doubted = true;
                Due::Doubt
            }
            None => self.ask(now),
        })
    }

    /// Asks for a sign of life, with the usual patience.
    pub fn ask(&mut self, now: Time) -> Due {
        self.sent += 1;
        self.ping = Some(Ping {
            number: self.sent,
            sent_at: now,
            doubted: false,
            patience: LINK_DOUBT,
        });
        Due::Ping(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_link_is_asked_and_then_dead() {
        let mut life = Liveness::new(Time::ZERO);
        life.set_in_use(true);
        let asked = Time::ZERO + LINK_PING;
        assert_eq!(life.poll(Time::ZERO), None);
        assert_eq!(life.poll(asked), Some(Due::Ping(1)));
        assert_eq!(life.poll(asked), None);
        assert!(!life.is_doubtful());
        assert_eq!(life.poll(asked + LINK_DOUBT), Some(Due::Doubt));
        assert!(life.is_doubtful());
        assert_eq!(life.poll(asked + LINK_DOUBT), None);
        assert_eq!(life.poll(asked + LINK_DEAD), Some(Due::Dead));
    }

    #[test]
    fn an_answer_or_any_frame_keeps_it_alive() {
        let mut life = Liveness::new(Time::ZERO);
        life.set_in_use(true);
        let asked = Time::ZERO + LINK_PING;
        life.poll(asked);
        let answered = asked + Duration::from_millis(7);
        life.heard(asked);
        life.pong(1, answered);
        assert_eq!(life.rtt(), Some(Duration::from_millis(7)));
        assert_eq!(life.poll(asked + LINK_PING), Some(Due::Ping(2)));
    }

    #[test]
    fn a_hint_makes_the_question_urgent() {
        let mut life = Liveness::new(Time::ZERO);
        assert_eq!(life.suspect(Time::ZERO), Some(Due::Ping(1)));
        assert_eq!(life.poll(Time::ZERO + LINK_HURRY), Some(Due::Doubt));
        assert_eq!(life.poll(Time::ZERO + LINK_DEAD), Some(Due::Dead));

        let mut asked = Liveness::new(Time::ZERO);
        asked.set_in_use(true);
        asked.poll(Time::ZERO + LINK_PING);
        assert_eq!(
            asked.suspect(Time::ZERO + LINK_PING),
            None,
            "the question is under way"
        );
        assert_eq!(
            asked.poll(Time::ZERO + LINK_PING + LINK_HURRY),
            Some(Due::Doubt)
        );
    }

    #[test]
    fn an_idle_link_gets_its_whole_patience_after_the_question() {
        let mut life = Liveness::new(Time::ZERO);
        let asked = Time::ZERO + LINK_PING_IDLE;
        assert_eq!(life.poll(asked), Some(Due::Ping(1)));
        assert_eq!(life.due_at(), asked + LINK_DOUBT);
    }
}
