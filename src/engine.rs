//! The core thread: one loop that owns a node's core, its links and its connections (design 2).
//!
//! Moving a byte from one socket to another happens here without a hand-over between threads; accepting,
//! dialling, resolving and control run elsewhere and speak to it through [`Command`]s.

mod connections;
mod link;
mod sessions;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, LocalSet};

use crate::cloak::neighbours::Link;
use crate::cloak::overlay::{Absence, Found, Traced};
use crate::core::{ChannelKey, Core, Event, Joined, LinkView, OverlayView, SessionView};
use crate::engine::connections::Waiting;
use crate::lcm::local::{LocalConnection, LocalStream};
use crate::lcm::pump::Moved;
use crate::lcm::shell::Shell;
use crate::lcm::table::{Fate, Table};
use crate::limits::{COMMANDS_MAX, FAREWELL};
use crate::name::Name;
use crate::net::clock::{Clock, calendar, slept};
use crate::net::seldom::{PerPeer, Seldom};
use crate::session::ResetCode;
use crate::srm::resume::Reason;
use crate::time::Almanac;
use crate::wire::failure::OpenFailure;
use crate::wire::location::Location;
use crate::wire::target::Target;

/// How long a node that stops waits for what is under way.
const DRAIN: Duration = Duration::from_millis(300);
const _: () = assert!(FAREWELL.as_millis() < DRAIN.as_millis());

/// Pause between looks at the clocks.
const CLOCK_LOOK: Duration = Duration::from_secs(1);
/// A machine that stood still for longer has slept.
const SLEEP_MIN: Duration = Duration::from_secs(5);
/// Seconds by which the clock must be set to be worth a line.
const CLOCK_STEP: u64 = 60;

/// How a link is, for whoever dialled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing has come by it yet: the other end may not take it.
    New,
    /// It answers.
    Good,
    /// It owes an answer: another one should be dialled beside it.
    Doubtful,
    /// It is gone.
    Gone,
}

/// A service that was connected for an incoming channel, with what must live as long as the channel.
pub struct Served {
    /// The connection to the service; none if the service has accepted it and reset it at once.
    pub stream: Option<LocalStream>,
    /// Called when the channel has ended.
    pub ended: Box<dyn FnOnce(Moved) + Send>,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

/// Who waits for what a look-up finds.
pub type FoundReply = oneshot::Sender<Result<Found, Absence>>;

/// What the outside asks of the core thread.
#[derive(Debug)]
pub enum Command {
    /// A link's handshake is done. Its health is reported to whoever dialled it; when that one lets go
    /// of it the link ends, since another has taken its place.
    Link(Joined, std::net::TcpStream, Option<watch::Sender<Health>>),
    /// A known neighbour has begun a link with one message, which carried this and may be a replay.
    Asked(Joined, std::net::TcpStream, Vec<u8>),
    /// What may ride in the first message of a link to this neighbour.
    Early(Name, oneshot::Sender<Vec<u8>>),
    /// The forwarder has answered an incoming channel.
    Served(ChannelKey, Result<Served, OpenFailure>),
    /// The network may have changed: ask every link, end every pause.
    NetworkChanged,
    /// Tell the directory that this node can be dialled at these `HOST:PORT`.
    Publish(Vec<String>),
    /// Look a node up in the directory.
    Lookup(Name, FoundReply),
    /// Ask who is this many nodes further on, the next one zero, on the way to a node, which may hang at
    /// these places, too. No answer when nobody answers, and at once when there is no way.
    Trace(Name, Vec<Location>, u8, oneshot::Sender<Traced>),
    /// Show everything.
    View(oneshot::Sender<View>),
    /// End a session.
    KillSession(u32, oneshot::Sender<bool>),
    /// Reset a channel.
    KillChannel(ChannelKey, ResetCode, oneshot::Sender<bool>),
    /// These may not take part any more: their sessions and links end.
    Expel(BTreeSet<Name>),
    /// These have no part here from now on, and nobody else is denied.
    Deny(BTreeSet<Name>),
    /// Close everything and end the thread.
    Stop,
}

/// A snapshot of the core for status.
#[derive(Clone, Debug)]
pub struct View {
    /// Every session.
    pub sessions: Vec<SessionView>,
    /// Every link.
    pub links: Vec<LinkView>,
    /// The node's part in the overlay.
    pub overlay: OverlayView,
    /// Local connections in the table.
    pub connections: usize,
}

/// Asks the forwarder to serve an incoming channel; it answers with [`Command::Served`].
pub type Serve = Box<dyn Fn(ChannelKey, Name, Target) + Send>;

/// Told when channels wait for a link to a peer.
pub type Want = Box<dyn Fn(Name) + Send>;

/// Dials a node at one of these endpoints; the link is a shortcut if it says true.
pub type Dial = Box<dyn Fn(Name, Vec<String>, bool) + Send>;

/// Told the number of a record that was seen of a node.
pub type Seen = Box<dyn Fn(Name, u64) + Send>;

/// What the engine needs from outside.
pub struct Surroundings {
    /// Serves incoming channels.
    pub serve: Serve,
    /// Hears which peers are wanted.
    pub want: Want,
    /// Dials nodes that the overlay has found.
    pub dial: Dial,
    /// Hears that a session was resumed: what is allowed is looked at again (R-R11).
    pub resumed: Box<dyn Fn() + Send>,
    /// Hears that the machine woke up.
    pub woken: Box<dyn Fn() + Send>,
    /// Writes down the number of the node's newest record in the directory.
    pub published: Box<dyn Fn(u64) + Send>,
    /// Writes down the highest number seen of a node's records.
    pub seen: Seen,
    /// How peers are shown in logs.
    pub show: Box<dyn Fn(Name) -> String + Send>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// Ways into the core thread; both are bounded, senders wait.
#[derive(Clone, Debug)]
pub struct Inlets {
    /// For everything but connections.
    pub commands: mpsc::Sender<Command>,
    /// For connections of front ends.
    pub connections: mpsc::Sender<LocalConnection>,
}

/// The other ends of [`Inlets`].
#[derive(Debug)]
pub struct Queues {
    commands: mpsc::Receiver<Command>,
    connections: mpsc::Receiver<LocalConnection>,
}

#[cfg(test)]
impl Queues {
    /// Stands in for a core thread that has nothing to show and resets channels.
    pub async fn kills(mut self, mut kill: impl FnMut(ChannelKey, ResetCode)) {
        while let Some(command) = self.commands.recv().await {
            if let Command::KillChannel(key, code, reply) = command {
                kill(key, code);
                let _gone = reply.send(true);
            }
        }
    }
}

/// Makes the ways into a core thread.
pub fn inlets() -> (Inlets, Queues) {
    let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
    let (connections, connections_out) = mpsc::channel(COMMANDS_MAX);
    (
        Inlets {
            commands,
            connections,
        },
        Queues {
            commands: commands_out,
            connections: connections_out,
        },
    )
}

/// A running core thread.
#[derive(Debug)]
pub struct Engine {
    thread: Option<std::thread::JoinHandle<()>>,
    inlets: Inlets,
    table: Table,
}

impl Engine {
    /// Starts the core thread.
    pub fn start(
        core: Core,
        clock: Clock,
        inlets: Inlets,
        queues: Queues,
        surroundings: Surroundings,
    ) -> io::Result<Self> {
        let table = Table::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let own_table = table.clone();
        let short = core.name().short();
        let thread = std::thread::Builder::new()
            .name(format!("core {short}"))
            .spawn(move || {
                let shell = Rc::new(Shell::new(core, clock, own_table));
                let local = LocalSet::new();
                local.block_on(&runtime, Loop::new(shell, surroundings).run(queues));
            })?;
        Ok(Self {
            thread: Some(thread),
            inlets,
            table,
        })
    }

    /// Where commands and connections go.
    pub const fn inlets(&self) -> &Inlets {
        &self.inlets
    }

    /// The table of local connections.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Whether the core thread has ended, which it does only when told to.
    pub fn has_ended(&self) -> bool {
        self.thread
            .as_ref()
            .is_none_or(std::thread::JoinHandle::is_finished)
    }

    /// Ends the core thread: goodbye to peers, a moment for it to leave, then all sockets close.
    pub async fn stop(mut self) {
        // The thread may have ended by itself.
        let _ended = self.inlets.commands.send(Command::Stop).await;
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the core thread ended by a panic");
            }
        }
    }
}

/// Why the core gives a link up.
const DEAD: &str = "it does not answer, or newer ones have taken its place";

/// Lines about a node that has no place: it asks for one every few seconds.
static STRANDED: Seldom = Seldom::new(Duration::from_secs(60));

/// What the loop keeps beside the core.
struct Loop {
    shell: Rc<Shell>,
    surroundings: Surroundings,
    waiting: RefCell<BTreeMap<crate::core::Ticket, Waiting>>,
    incoming: RefCell<BTreeMap<ChannelKey, Option<Served>>>,
    links: RefCell<BTreeMap<Link, RunningLink>>,
    lookups: RefCell<BTreeMap<Name, Vec<FoundReply>>>,
    traces: RefCell<BTreeMap<u64, oneshot::Sender<Traced>>>,
    /// Lines about peers: whoever may link can come and go as often as it likes (R-X2).
    lines: PerPeer,
}

/// A part of the core thread is gone, and the thread ends with it.
fn broken(part: &str) {
    tracing::error!(
        part,
        "a part of the core thread has ended by a panic: the node stops"
    );
}

struct RunningLink {
    peer: Name,
    task: JoinHandle<()>,
    health: Option<watch::Sender<Health>>,
    /// Something came by it.
    heard: Rc<Cell<bool>>,
    local: Option<IpAddr>,
    label: String,
}

impl Loop {
    fn new(shell: Rc<Shell>, surroundings: Surroundings) -> Rc<Self> {
        Rc::new(Self {
            shell,
            surroundings,
            waiting: RefCell::default(),
            incoming: RefCell::default(),
            links: RefCell::default(),
            lookups: RefCell::default(),
            traces: RefCell::default(),
            lines: PerPeer::default(),
        })
    }

    async fn run(self: Rc<Self>, queues: Queues) {
        let Queues {
            mut commands,
            mut connections,
        } = queues;
        let timers = Rc::clone(&self.shell);
        let mut timers = tokio::task::spawn_local(async move { timers.run_timers().await });
        let own = Rc::clone(&self);
        let mut events = tokio::task::spawn_local(async move {
            loop {
                let event = own.shell.event().await;
                own.event(event);
            }
        });
        let own = Rc::clone(&self);
        let mut clock = tokio::task::spawn_local(async move { own.watch_clock().await });
        loop {
            let command = tokio::select! {
                Some(connection) = connections.recv() => {
                    self.local(connection);
                    continue;
                }
                command = commands.recv() => command,
                // They only end by a panic, and without them nothing goes on.
                _ = &mut timers => break broken("timers"),
                _ = &mut events => break broken("events"),
                _ = &mut clock => break broken("clock"),
            };
            if command.is_none_or(|command| self.command(command).is_break()) {
                break;
            }
        }
        self.shell.with(Core::close);
        tokio::time::sleep(DRAIN).await;
        for task in [timers, events, clock] {
            task.abort();
        }
    }

    /// Tells the core what the calendar says, and notices that the machine slept: timers stood still
    /// meanwhile (R-T1).
    async fn watch_clock(&self) {
        let mut before = slept();
        let mut almanac = Almanac::new(calendar(), self.shell.clock().now());
        loop {
            tokio::time::sleep(CLOCK_LOOK).await;
            let (after, calendar) = (slept(), calendar());
            let slept = after.saturating_sub(before);
            before = after;
            let (expected, now) = self.shell.with(|core, now| {
                core.set_calendar(calendar, now);
                (almanac.calendar(now), now)
            });
            almanac = Almanac::new(calendar, now);
            if slept > SLEEP_MIN {
                self.woke_up(slept);
            } else if calendar.0.abs_diff(expected.0) > CLOCK_STEP {
                let (from, to) = (expected.0, calendar.0);
                tracing::info!(from, to, "the clock was set");
            }
        }
    }

    /// This node is an overlay of its own, though it has neighbours.
    fn stranded(&self, peer: Name) {
        if let Some(held_back) = STRANDED.due() {
            let asked = (self.surroundings.show)(peer);
            tracing::warn!(
                asked,
                held_back,
                "no neighbour has a place for this node: it reaches none but its neighbours; link it to others as well, or raise [cloak] degree on all nodes"
            );
        }
    }

    fn woke_up(&self, slept: Duration) {
        tracing::info!(slept_s = slept.as_secs(), "the machine woke up");
        self.end_orphans();
        self.shell.with(|core, now| core.woke_up(slept, now));
        (self.surroundings.woken)();
    }

    fn command(self: &Rc<Self>, command: Command) -> std::ops::ControlFlow<()> {
        match command {
            Command::Link(joined, stream, health) => self.link(joined, stream, health, None),
            Command::Asked(joined, stream, early) => self.link(joined, stream, None, Some(early)),
            Command::Early(peer, reply) => {
                let _gone = reply.send(self.shell.with(|core, now| core.early(peer, now)));
            }
            Command::Served(key, result) => self.served(key, result),
            Command::NetworkChanged => self.network_changed(),
            Command::Publish(endpoints) => {
                self.shell.with(|core, now| core.publish(endpoints, now));
            }
            Command::Lookup(name, reply) => {
                let mut lookups = self.lookups.borrow_mut();
                lookups.retain(|_, asked| {
                    asked.retain(|reply| !reply.is_closed());
                    !asked.is_empty()
                });
                lookups.entry(name).or_default().push(reply);
                drop(lookups);
                self.shell.with(|core, now| core.look_up(name, now));
            }
            Command::Trace(name, places, left, reply) => {
                let mut traces = self.traces.borrow_mut();
                traces.retain(|_, reply| !reply.is_closed());
                let asked = self
                    .shell
                    .with(|core, now| core.trace(name, &places, left, now));
                if let Some(id) = asked {
                    traces.insert(id, reply);
                }
            }
            Command::View(reply) => {
                let connections = self.shell.table().len();
                let view = self.shell.with(|core, now| View {
                    sessions: core.session_views(now),
                    links: core.link_views(now),
                    overlay: core.overlay_view(now),
                    connections,
                });
                // The asker may have gone away.
                let _gone = reply.send(view);
            }
            Command::KillSession(number, reply) => {
                let _gone = reply.send(self.shell.with(|core, now| core.kill_session(number, now)));
            }
            Command::KillChannel(key, code, reply) => {
                let _gone = reply.send(
                    self.shell
                        .with(|core, now| core.kill_channel(key, code, now)),
                );
            }
            Command::Expel(names) => {
                let links = self.shell.with(|core, now| core.expel(&names, now));
                self.end_expelled(links);
            }
            Command::Deny(names) => {
                let links = self.shell.with(|core, now| core.deny(names, now));
                self.end_expelled(links);
            }
            Command::Stop => return std::ops::ControlFlow::Break(()),
        }
        std::ops::ControlFlow::Continue(())
    }

    fn end_expelled(self: &Rc<Self>, links: Vec<Link>) {
        let own = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // The goodbye leaves first; who does not heed it is cut off.
            tokio::time::sleep(DRAIN).await;
            for link in links {
                own.end_link(
                    link,
                    "its node may not link any more",
                    Reason::CarrierClosed,
                );
            }
        });
    }

    fn event(self: &Rc<Self>, event: Event) {
        match event {
            Event::Assigned(ticket, key) => self.assigned(ticket, key),
            Event::Unassigned(ticket, why) => self.unassigned(ticket, why),
            Event::Incoming(key, peer, target) => {
                self.incoming.borrow_mut().insert(key, None);
                (self.surroundings.serve)(key, peer, target);
            }
            Event::Reset(key, code) => self.late(key, Fate::Cut(code)),
            Event::OpenFailed(key, why) => self.late(key, Fate::Failed(why)),
            Event::Closed(key) => self.late(key, Fate::Closed),
            Event::Opened(key) => self.late(key, Fate::Open),
            Event::Woken(_) => {}
            Event::SessionUp(..)
            | Event::Suspended(..)
            | Event::Resumed(..)
            | Event::Paused(..)
            | Event::NoHandshake(..)
            | Event::Forged(..)
            | Event::SessionDown(..) => self.about_session(event),
            Event::LinkDead(link) => self.end_link(link, DEAD, Reason::Suspicion),
            Event::LinkDoubtful(link) => {
                if let Some(running) = self.links.borrow().get(&link) {
                    tracing::debug!(link = running.label, "link owes an answer");
                    running.report(Health::Doubtful);
                }
            }
            Event::WantLink(peer) => (self.surroundings.want)(peer),
            Event::NoPlace(peer) => self.stranded(peer),
            Event::Dial(peer, endpoints, shortcut) => {
                (self.surroundings.dial)(peer, endpoints, shortcut);
            }
            Event::Found(found) => {
                let asked = self.lookups.borrow_mut().remove(&found.certificate.name());
                for reply in asked.unwrap_or_default() {
                    // Who asked may have given up.
                    let _gone = reply.send(Ok((*found).clone()));
                }
            }
            Event::Published(seq) => (self.surroundings.published)(seq),
            Event::Seen(name, seq) => (self.surroundings.seen)(name, seq),
            Event::NotFound(name, why) => {
                for reply in self.lookups.borrow_mut().remove(&name).unwrap_or_default() {
                    let _gone = reply.send(Err(why));
                }
            }
            Event::Traced(traced) => {
                if let Some(reply) = self.traces.borrow_mut().remove(&traced.id) {
                    let _gone = reply.send(traced);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
