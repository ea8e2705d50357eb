//! The links of a node: what arrives on them, what they send next, which are dead.

mod outbox;
mod writing;

use std::collections::VecDeque;

use crate::cloak::neighbours::Link as LinkNumber;
use crate::cloak::overlay::is_of_tree;
use crate::cloak::queues::{Content, Turn, Waiting};
use crate::core::event::{ChannelKey, Event, LinkEnd};
pub(super) use crate::core::links::outbox::{Message, Outbox};
use crate::core::overlay::Onward;
use crate::core::{Core, Deliver};
use crate::limits::{HOPS_MAX, LINK_RELAY_LINGER, LINKS_MAX, LINKS_PER_NAME, LINKS_UNPROVED_MAX};
use crate::link::frames::{FrameOpener, FrameSealer};
use crate::link::liveness::{Due, Liveness};
use crate::name::Name;
use crate::session::{Arrived, Delivery};
use crate::srm::resume::Reason;
use crate::ssm::schedule::Secret;
use crate::time::Time;
use crate::wire::codec::Reader;
use crate::wire::frame::ChannelId;
use crate::wire::link::{Head, Route};
use crate::wire::packet::Header;

/// What the handshake of a link established.
#[derive(Debug)]
pub struct Joined {
    /// The neighbour.
    pub peer: Name,
    /// Its certified X25519 static.
    pub static_public: [u8; 32],
    /// Serial of the certificate of that.
    pub serial: u64,
    /// Its boot id.
    pub boot: [u8; 16],
    /// Key of what we send.
    pub send_key: Secret,
    /// Key of what we receive.
    pub receive_key: Secret,
    /// Whether we dialled.
    pub dialled: bool,
    /// The other end of the TCP connection, for status.
    pub endpoint: String,
    /// It was made for sessions between its two ends only, and takes no part in the overlay.
    pub shortcut: bool,
    /// The other end has decided to take the link. Whoever dials a node for the first time tells who it is
    /// with the last message of the handshake, and only a frame shows that it was taken.
    pub taken: bool,
}

/// A link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Name,
    /// Of the neighbour's certificate.
    static_public: [u8; 32],
    serial: u64,
    pub(super) boot: [u8; 16],
    pub(super) dialled: bool,
    pub(super) endpoint: String,
    pub(super) shortcut: bool,
    pub(super) since: Time,
    pub(super) life: Liveness,
    /// The neighbour has shown that it is there: what opened the handshake may have been a replay.
    pub(super) proved: bool,
    /// A frame of it has opened.
    pub(super) heard: bool,
    sealer: FrameSealer,
    opener: FrameOpener,
    pub(super) outbox: Outbox,
    /// Sessions of this node that it carries.
    pub(super) riders: Vec<u32>,
    /// Those that have something to say, in the order of their turns.
    pub(super) line: VecDeque<u32>,
    /// When a frame of others was last sent by it.
    relayed_at: Option<Time>,
    /// It says goodbye behind what its sessions have to say.
    pub(super) leaving: bool,
}

/// Delivery into one session's channels.
struct Into<'a, D> {
    session: u32,
    to: &'a mut D,
}

impl<D: Deliver> Delivery for Into<'_, D> {
    fn deliver(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        self.to.deliver(
            ChannelKey {
                session: self.session,
                channel,
            },
            bytes,
        )
    }
}

impl Core {
    /// A link is up: its handshake is done. It carries nothing before the other end has taken it. `None` when
    /// there are too many links.
    pub fn link_up(&mut self, joined: Joined, now: Time) -> Option<LinkNumber> {
        let taken = joined.taken;
        let number = self.insert_link(joined, now)?;
        if taken {
            self.link_proved(number, now);
        }
        self.settle(now);
        Some(number)
    }

    /// A link that a known neighbour began with one message, `early` inside, which may both be a replay:
    /// it carries nothing but the answer to `early` until a frame opens on it. `None` when there are
    /// too many links.
    pub fn link_asked(&mut self, joined: Joined, early: &[u8], now: Time) -> Option<LinkNumber> {
        let unproved = self.links.values().filter(|link| !link.proved).count();
        if unproved >= LINKS_UNPROVED_MAX {
            return None;
        }
        let number = self.insert_link(joined, now)?;
        self.early_hello(number, early, now);
        self.settle(now);
        Some(number)
    }

    fn insert_link(&mut self, joined: Joined, now: Time) -> Option<LinkNumber> {
        let unwanted = joined.peer == self.name() || self.denied.contains(&joined.peer);
        if unwanted || self.links.len() >= LINKS_MAX || !self.room_for_peer(&joined.peer) {
            return None;
        }
        self.next_link += 1;
        let number = self.next_link;
        let Joined {
            peer,
            static_public,
            serial,
            boot,
            send_key,
            receive_key,
            dialled,
            endpoint,
            shortcut,
            taken: _,
        } = joined;
        if self.peers.get(&peer).and_then(|known| known.serial) > Some(serial) {
            // A session has shown a newer certificate since (R-H11).
            return None;
        }
        let mut link = Link {
            peer,
            static_public,
            serial,
            boot,
            dialled,
            endpoint,
            shortcut,
            since: now,
            life: Liveness::new(now),
            proved: false,
            heard: false,
            sealer: FrameSealer::new(send_key),
            opener: FrameOpener::new(receive_key),
            outbox: Outbox::default(),
            riders: Vec::new(),
            line: VecDeque::new(),
            relayed_at: None,
            leaving: false,
        };
        if dialled && let Due::Ping(id) = link.life.ask(now) {
            // Shows the one that accepted that we are no replay; the answer, that it took the link.
            link.outbox.push(Message::Ping(id));
            self.hot.insert(number);
        }
        self.links.insert(number, link);
        Some(number)
    }

    /// The neighbour is there: the link carries its sessions from here on.
    pub(super) fn link_proved(&mut self, number: LinkNumber, now: Time) {
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        link.proved = true;
        self.stirred = true;
        let (peer, boot) = (link.peer, link.boot);
        let (static_public, serial) = (link.static_public, link.serial);
        let known = self.peers.entry(peer).or_default();
        known.met = true;
        if known.serial <= Some(serial) {
            known.static_public = Some(static_public);
            known.serial = Some(serial);
        }
        self.neighbours.add(peer, number);
        self.end_oldest(peer);
        if self.takes_part(peer) {
            // The other end cannot tell a shortcut from other links: beside one of them it is none.
            for link in self.neighbours.all(peer.tag()) {
                if let Some(link) = self.links.get_mut(link) {
                    link.shortcut = false;
                }
            }
            self.overlay.neighbour_up(peer, now);
        } else {
            self.overlay.shortcut_up(peer);
        }
        self.reroute_all(Some(peer), now);
        self.peer_linked(peer, boot, now);
        self.settle_overlay(now);
    }

    /// A neighbour may not take the links of all others: its oldest ends when there are too many.
    fn end_oldest(&mut self, peer: Name) {
        let links = self.neighbours.all(peer.tag());
        if links.len() > LINKS_PER_NAME
            && let Some(oldest) = links.iter().min()
        {
            self.events.push_back(Event::LinkDead(*oldest));
        }
    }

    /// Whether a link to a neighbour takes part in the overlay.
    fn takes_part(&self, peer: Name) -> bool {
        let mut links = self.neighbours.all(peer.tag()).iter();
        links.any(|link| self.links.get(link).is_some_and(|link| !link.shortcut))
    }

    /// A link is gone: its connection broke.
    pub fn link_down(&mut self, number: LinkNumber, now: Time) {
        self.link_lost(number, Reason::CarrierClosed, now);
    }

    /// A link is gone, for this reason.
    pub fn link_lost(&mut self, number: LinkNumber, cause: Reason, now: Time) {
        let Some(link) = self.links.remove(&number) else {
            return;
        };
        self.neighbours.remove(link.peer, number);
        if !link.proved {
            // The overlay has not heard of it.
        } else if self.takes_part(link.peer) {
            // What the overlay had said by it may be lost.
            self.overlay.neighbour_up(link.peer, now);
        } else if self.neighbours.preferred(link.peer.tag()).is_none() {
            self.overlay.neighbour_down(link.peer, now);
            self.pass_by(link.peer, now);
        }
        for (session, entry) in &mut self.sessions {
            if !link.riders.contains(session) {
                entry.session.path_lost(number);
                self.touched.insert(*session);
            }
        }
        for session in link.riders {
            self.reroute(session, Some(cause), now);
        }
        self.settle_overlay(now);
        self.settle(now);
    }

    /// Takes what has been read from a link; `buffer` starts at a frame. Says how many bytes were
    /// used up; the rest must come again with more behind it. An error ends the link.
    pub fn receive(
        &mut self,
        number: LinkNumber,
        buffer: &mut [u8],
        to: &mut impl Deliver,
        now: Time,
    ) -> Result<usize, LinkEnd> {
        let mut used = 0;
        while let Some(rest) = buffer.get_mut(used..).filter(|rest| !rest.is_empty()) {
            let Some(link) = self.links.get_mut(&number) else {
                return Err(LinkEnd::Unknown);
            };
            let Some(frame) = link.opener.open(rest)? else {
                break;
            };
            used += frame.consumed;
            let (doubted, peer) = (link.life.is_doubted(), link.peer);
            link.life.heard(now);
            link.heard = true;
            if !link.proved {
                self.link_proved(number, now);
            } else if doubted {
                self.reroute_all(Some(peer), now);
            }
            self.stirred |= match &frame.head {
                Head::Signal { .. } => true,
                Head::Overlay(message) => is_of_tree(message),
                _ => false,
            };
            let link = self.links.get_mut(&number).ok_or(LinkEnd::Unknown)?;
            match frame.head {
                Head::Ping(id) => {
                    link.outbox.push(Message::Pong(id));
                    self.hot.insert(number);
                }
                Head::Pong(id) => link.life.pong(id, now),
                Head::Goodbye => return Err(LinkEnd::Goodbye),
                Head::Overlay(message) => {
                    self.overlay_message(number, message, now)?;
                }
                Head::Signal { route, message } => match self.onward(number, route, now) {
                    Onward::Here(route) => self.signal(number, &route, message, now),
                    Onward::By(link, route) => {
                        let message = message.to_vec();
                        self.relay(number, link, route, Content::Signal(message), now);
                    }
                    Onward::Nowhere => {}
                },
                Head::Packet { route, header } => match self.onward(number, route, now) {
                    Onward::Here(route) => {
                        let packet = Arrived {
                            header: &header,
                            body: frame.body,
                            marked: route.marked,
                            path: number,
                        };
                        self.packet(packet, &route, to, now);
                    }
                    Onward::By(link, route) => {
                        let body = frame.body.to_vec();
                        self.relay(number, link, route, Content::Packet { header, body }, now);
                    }
                    Onward::Nowhere => {}
                },
            }
        }
        if let Some(link) = self.links.get(&number) {
            self.chores_due = self.chores_due.min(link.life.due_at());
        }
        self.settle_few(now);
        Ok(used)
    }

    fn packet(&mut self, packet: Arrived<'_>, route: &Route, to: &mut impl Deliver, now: Time) {
        let index = Header::decode(&mut Reader::new(packet.header)).map(|header| header.index);
        let Some(session) = index
            .ok()
            .and_then(|index| self.by_index.get(&index))
            .copied()
        else {
            return;
        };
        if let Some(entry) = self.sessions.get_mut(&session) {
            // Nobody counts on the link between neighbours.
            entry.hops = Some(HOPS_MAX.saturating_sub(route.hops).max(1));
            entry
                .session
                .handle_packet(packet, now, &mut Into { session, to });
            let peer = entry.session.peer();
            self.touched.insert(session);
            if route.by_tree {
                self.echo_way(peer, now);
            }
        }
    }

    /// Appends sealed frames to `out` until it holds `fill` bytes or nothing is left to send.
    /// `plain_max` is the packet size that suits the link.
    pub fn pull(
        &mut self,
        number: LinkNumber,
        out: &mut Vec<u8>,
        fill: usize,
        plain_max: usize,
        now: Time,
    ) -> Result<(), LinkEnd> {
        let Some(link) = self.links.get_mut(&number) else {
            return Err(LinkEnd::Unknown);
        };
        while let Some(message) = link.outbox.pop() {
            link.write(&message, out)?;
        }
        let gap = link.outbox.take_gap().then_some(link.peer);
        let peer = link.peer.tag();
        let preferred = self.neighbours.preferred(peer) == Some(number);
        while out.len() < fill {
            let own = !link.line.is_empty();
            let turn = if preferred {
                self.relay.pop(peer, own, now)
            } else {
                own.then_some(Turn::Own)
            };
            match turn {
                None => break,
                Some(Turn::Frame { frame, .. }) => {
                    let lately = |at: Time| now.since(at) < LINK_RELAY_LINGER;
                    self.stirred |= !link.relayed_at.is_some_and(lately);
                    link.relayed_at = Some(now);
                    link.pass_on(frame, out)?;
                }
                Some(Turn::Own) => {
                    let start = out.len();
                    let to = (&mut *out, plain_max);
                    self.touched
                        .extend(link.give_turn(&mut self.sessions, to, now)?);
                    if preferred {
                        self.relay.own_sent(peer, out.len() - start);
                    }
                }
            }
        }
        let said = |session: &u32| {
            let entry = self.sessions.get(session);
            entry.is_none_or(|entry| !entry.session.is_closing())
        };
        if link.leaving && link.riders.iter().all(said) {
            link.take_leave(out)?;
        }
        if let Some(peer) = gap {
            self.overlay.neighbour_up(peer, now);
            self.settle_overlay(now);
        }
        self.settle_few(now);
        Ok(())
    }

    /// Whether [`Self::pull`] has something for this link.
    pub fn link_wants_to_send(&self, number: LinkNumber, now: Time) -> bool {
        let Some(link) = self.links.get(&number) else {
            return false;
        };
        let peer = link.peer.tag();
        let relays = self.relay.waits_for(peer) && self.neighbours.preferred(peer) == Some(number);
        if !link.outbox.is_empty() || relays {
            return true;
        }
        let mut entries = link
            .riders
            .iter()
            .filter_map(|session| self.sessions.get(session));
        let any = entries
            .clone()
            .any(|entry| entry.session.wants_to_send(now));
        any || (link.leaving && entries.all(|entry| !entry.session.is_closing()))
    }

    /// The next link that has something to send since it was last asked.
    pub fn poll_hot(&mut self) -> Option<LinkNumber> {
        self.hot.pop_first()
    }

    /// The neighbour at the other end of a link.
    pub fn link_peer(&self, number: LinkNumber) -> Option<Name> {
        self.links.get(&number).map(|link| link.peer)
    }

    /// Sends a message of the overlay to a neighbour.
    pub(super) fn send_overlay(&mut self, neighbour: Name, message: Vec<u8>) {
        let Some(number) = self.neighbours.preferred(neighbour.tag()) else {
            return;
        };
        if let Some(link) = self.links.get_mut(&number) {
            link.outbox.push(Message::Overlay(message));
            self.hot.insert(number);
        }
    }

    /// A frame of others goes on by a link, as soon as its turn comes.
    fn relay(
        &mut self,
        ingress: LinkNumber,
        number: LinkNumber,
        route: Route,
        content: Content,
        now: Time,
    ) {
        let (Some(ingress), Some(egress)) = (self.link_peer(ingress), self.link_peer(number))
        else {
            return;
        };
        let frame = Waiting { route, content };
        self.relay.push(egress.tag(), ingress.tag(), frame, now);
        self.hot.insert(number);
    }

    /// Notes on which links somebody depends: those are asked more often whether they live.
    pub(super) fn note_use_of_links(&mut self, now: Time) {
        let ties = self.overlay_ties();
        for link in self.links.values_mut() {
            let busy = link.riders.iter().any(|session| {
                let entry = self.sessions.get(session);
                entry.is_some_and(|entry| entry.session.channels().next().is_some())
            });
            let relays = link
                .relayed_at
                .is_some_and(|at| now.since(at) < LINK_RELAY_LINGER);
            let in_use = busy || relays || ties.contains(&link.peer) || !link.proved;
            link.life.set_in_use(in_use);
        }
    }

    /// Pings and ends what is due.
    pub(super) fn poll_links(&mut self, now: Time) {
        let (mut dead, mut doubtful) = (Vec::new(), Vec::new());
        for (number, link) in &mut self.links {
            match link.life.poll(now) {
                Some(Due::Ping(id)) => link.outbox.push(Message::Ping(id)),
                Some(Due::Doubt) => {
                    self.events.push_back(Event::LinkDoubtful(*number));
                    doubtful.push(link.peer);
                }
                Some(Due::Dead) => dead.push(*number),
                None => {}
            }
            if !link.outbox.is_empty() {
                self.hot.insert(*number);
            }
        }
        for peer in doubtful {
            self.reroute_all(Some(peer), now);
        }
        for number in dead {
            self.events.push_back(Event::LinkDead(number));
        }
    }

    /// The peer of a session does not answer: it may be the link that takes nothing to it any more.
    pub(super) fn suspect_carrier(&mut self, session: u32, now: Time) {
        let entry = self.sessions.get(&session);
        let Some(number) = entry.and_then(|entry| Some(entry.carrier.as_ref()?.link)) else {
            return;
        };
        if let Some(link) = self.links.get_mut(&number) {
            link.suspect(now);
            self.hot.insert(number);
        }
        self.stirred = true;
    }

    pub(super) fn links_due_at(&self) -> Time {
        self.links
            .values()
            .map(|link| link.life.due_at())
            .min()
            .unwrap_or(Time::NEVER)
    }
}

impl Link {
    /// Asks for a sign of life at once.
    pub(super) fn suspect(&mut self, now: Time) {
        if let Some(Due::Ping(id)) = self.life.suspect(now) {
            self.outbox.push(Message::Ping(id));
        }
    }
}
