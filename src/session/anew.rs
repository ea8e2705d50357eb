//! A session that begins anew: the peer has proved that no packet of it ever opened there, so all that was
//! said in it has reached nobody and may be said again.

use crate::limits::CHANNEL_FLOOR;
use crate::session::channel::{Channel, Listed, Phase, Told};
use crate::session::event::{Event, ResetCode};
use crate::session::{Places, Session};
use crate::ssm::established::Established;
use crate::ssm::schedule::Side;
use crate::time::Time;

impl Session {
    /// Takes the keys of another handshake, whose responder has never opened a packet of this session. The
    /// channels go on under their ids, each from its OPEN on. False, and nothing done, when that cannot be
    /// true.
    pub fn begin_anew(&mut self, established: &Established, places: Places, now: Time) -> bool {
        if self.ended || self.heard || self.side != Side::A || established.side != Side::A {
            return false;
        }
        let options = self.options.clone();
        let fresh = Self::new(established, places, options, &mut self.random, now);
        let old = std::mem::replace(self, fresh);
        let was_suspended = old.is_suspended();
        self.next_counter = old.next_counter;
        self.stats = old.stats;
        self.pause = old.pause;
        self.goodbye = old.goodbye;
        self.events = old.events;
        for (id, mut channel) in old.channels {
            if channel.begin_anew() {
                self.opening += 1;
                self.insert(id, channel, now);
            } else if !matches!(channel.phase, Phase::Refused(_) | Phase::Reset(_)) {
                // Only a peer that contradicts itself has spoken of it.
                self.events
                    .push_back(Event::Reset(id, ResetCode::SessionLost));
            }
        }
        if was_suspended {
            self.events.push_back(Event::Resumed);
            self.wake_all();
        }
        true
    }
}

impl Channel {
    /// Goes back to its OPEN. False if there is nothing to open any more.
    fn begin_anew(&mut self) -> bool {
        if self.phase != Phase::Opening || !self.send.begin_anew(CHANNEL_FLOOR as u64) {
            return false;
        }
        self.open = Told::Due;
        self.credit = Told::Nothing;
        self.listed = Listed::No;
        self.news_listed = false;
        self.moved = false;
        true
    }
}
