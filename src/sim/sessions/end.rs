//! One end: a session, its applications, the paths it knows, and its clock.

use std::time::Duration;

use crate::core::{ChannelKey, Deliver as _};
use crate::random::Random;
use crate::session::{Audit, Delivery, EndReason, LinkEvent, Options, ResetCode, Session};
use crate::sim::application;
use crate::sim::application::{Applications, Host, Mood, Oracle};
use crate::sim::hop::What;
use crate::sim::setting::Setting;
use crate::srm::resume::Reason;
use crate::time::Time;
use crate::wire::codec::Reader as Bytes;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::packet::Header;
use crate::wire::target::Target;

pub(super) struct End {
    pub(super) session: Option<Session>,
    pub(super) generation: u32,
    pub(super) options: Options,
    pub(super) applications: Applications,
    pub(super) frozen_until: Time,
    /// How far its clock is ahead of the world's.
    pub(super) skew: Duration,
    /// Paths that it knows to be up, the preferred one last.
    pub(super) up: Vec<u64>,
    /// When it sends what it could not send in one turn.
    pub(super) more_at: Time,
    /// The peer has restarted, and proved it.
    pub(super) peer_is_lost: bool,
    packet_max: usize,
}

impl End {
    pub(super) fn new(side: usize, setting: &Setting) -> Self {
        Self {
            session: None,
            generation: 0,
            options: setting.options(),
            applications: Applications::new(side),
            frozen_until: Time::ZERO,
            skew: Duration::ZERO,
            up: Vec::new(),
            more_at: Time::NEVER,
            peer_is_lost: false,
            packet_max: setting.packet_max,
        }
    }

    pub(super) fn begin(&mut self, session: Session, generation: u32) {
        self.session = Some(session);
        self.generation = generation;
        self.peer_is_lost = false;
    }

    pub(super) fn audit(&self) -> Option<Audit> {
        let session = self.session.as_ref()?;
        (!session.is_ended()).then(|| session.audit())
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_suspended)
    }

    /// When it has something to do by itself, on the world's clock.
    pub(super) fn next(&self) -> Time {
        let due = self
            .session
            .as_ref()
            .map_or(Time::NEVER, Session::poll_timeout);
        let skew = u64::try_from(self.skew.as_nanos()).unwrap_or(u64::MAX);
        let due = if due == Time::NEVER {
            due
        } else {
            Time::from_nanos(due.as_nanos().saturating_sub(skew))
        };
        due.min(self.more_at).max(self.frozen_until)
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        let due = self
            .session
            .as_ref()
            .map_or(Time::NEVER, Session::poll_timeout);
        now >= self.frozen_until && due <= now + self.skew
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        if let Some(session) = &mut self.session {
            session.handle_timeout(now + self.skew);
        }
    }

    /// A path came up. It is preferred, unless it goes to the front of the list.
    pub(super) fn path_up(&mut self, path: u64, front: bool, now: Time) {
        let at = if front { 0 } else { self.up.len() };
        self.up.insert(at, path);
        if let Some(session) = &mut self.session
            && (session.is_suspended() || session.is_suspected())
        {
            session.link_event(LinkEvent::Up, now + self.skew);
        }
    }

    /// A path is gone.
    pub(super) fn path_down(&mut self, path: u64, now: Time) {
        let preferred = self.up.last() == Some(&path);
        let before = self.up.len();
        self.up.retain(|known| *known != path);
        let Some(session) = &mut self.session else {
            return;
        };
        if self.up.len() == before {
            return;
        }
        if !preferred {
            session.path_lost(path);
        } else if self.up.is_empty() {
            session.link_event(LinkEvent::Lost(Reason::CarrierClosed), now + self.skew);
        } else {
            session.link_event(LinkEvent::Changed, now + self.skew);
        }
    }

    /// Something happened to the links below that is no path of its own.
    pub(super) fn link_event(&mut self, event: LinkEvent, now: Time) {
        if let Some(session) = &mut self.session {
            session.link_event(event, now + self.skew);
        }
    }

    pub(super) const fn probe(&mut self) {
        if let Some(session) = &mut self.session {
            session.probe();
        }
    }

    /// The next packet for the preferred path, with its length.
    pub(super) fn packet(&mut self, now: Time) -> Option<(u64, What, usize)> {
        let path = self.up.last().copied()?;
        let session = self.session.as_mut()?;
        session.set_path(path, false, now + self.skew);
        let before = session.audit();
        let mut body = Vec::new();
        let sealed = session.poll_packet(self.packet_max, &mut body, now + self.skew)?;
        let header = Header::decode(&mut Bytes::new(&sealed.header)).ok()?;
        let live = before
            .live
            .filter(|pair| pair.selector() == header.selector);
        let pair = live.unwrap_or(before.next);
        let len = body.len();
        let what = What::Packet {
            header: sealed.header,
            body,
            pair,
            number: header.number,
        };
        Some((path, what, len))
    }

    /// The end's process is gone; the other end does not know it yet.
    pub(super) fn restart(&mut self, oracle: &mut Oracle) {
        self.applications.forget_all(oracle);
        self.session = None;
    }

    /// The peer has proved that its state is gone: every local connection is to be reset.
    pub(super) fn peer_restarted(&mut self) {
        self.peer_is_lost = true;
        if let Some(session) = &mut self.session {
            session.end(EndReason::PeerLostState);
        }
    }

    /// Opens a channel where a node would.
    pub(super) fn open(&mut self, target: Target, now: Time) -> Option<ChannelKey> {
        let session = self.session.as_mut()?;
        if session.is_suspended() || !session.is_confirmed() {
            return None;
        }
        let channel = session.open(target, 7, now).ok()?;
        Some(ChannelKey {
            session: self.generation,
            channel,
        })
    }

    pub(super) fn enter(&mut self, key: ChannelKey, oracle: &mut Oracle, random: &mut Random) {
        if let Some(session) = &self.session {
            let sess_id = session.sess_id();
            self.applications.enter(key, sess_id, oracle, random);
        }
    }

    pub(super) fn act(&mut self, oracle: &mut Oracle, random: &mut Random, mood: Mood) {
        let mut host = Alone {
            session: self.session.as_mut(),
            generation: self.generation,
        };
        self.applications.act(&mut host, oracle, random, mood);
    }
}

/// Applications on a single session.
struct Alone<'a> {
    session: Option<&'a mut Session>,
    generation: u32,
}

impl Host for Alone<'_> {
    fn session(&mut self, key: ChannelKey) -> Option<&mut Session> {
        let generation = self.generation;
        self.session
            .as_deref_mut()
            .filter(|_| key.session == generation)
    }

    fn answer(&mut self, key: ChannelKey, answer: Result<(), OpenFailure>, _: Time) {
        if let Some(session) = self.session(key) {
            match answer {
                Ok(()) => session.accept(key.channel),
                Err(failure) => session.refuse(key.channel, failure),
            }
        }
    }

    fn kill(&mut self, key: ChannelKey, _: Time) {
        if let Some(session) = self.session(key) {
            session.reset(key.channel, ResetCode::Connection);
        }
    }
}

/// Delivery into the applications of one session.
pub(super) struct Reader<'a> {
    pub(super) applications: &'a Applications,
    pub(super) generation: u32,
    pub(super) oracle: &'a mut Oracle,
}

impl Delivery for Reader<'_> {
    fn deliver(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        let key = ChannelKey {
            session: self.generation,
            channel,
        };
        let mut to = application::Reader {
            applications: self.applications,
            oracle: self.oracle,
        };
        to.deliver(key, bytes)
    }
}
