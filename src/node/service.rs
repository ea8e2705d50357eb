//! What control and signals may ask of a running node.

mod overlay;
mod trace;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::acl::Acl;
use crate::config::Config;
use crate::control::overlay::{FoundStatus, HopStatus};
use crate::control::service::{Kill, Service, Unanswered};
use crate::control::status::{ChannelStatus, LinkStatus, MemoryStatus, SessionStatus, Status};
use crate::core::{ChannelKey, ChannelView, LinkView, SessionState, SessionView};
use crate::engine::{Command, View};
use crate::lcm::local::LocalConnection;
use crate::limits::RECHECK;
use crate::name::Name;
use crate::net::clock::Clock;
use crate::node::part::{PartControl, Policy};
use crate::node::routing::Routing;
use crate::node::service::overlay::{fractional_millis, health};
use crate::peering::join::Standing;
use crate::peering::report::Missing;
use crate::proxy::Router;
use crate::session::{Phase, ResetCode};
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;
use crate::wire::target::{Host, Target};

/// Least pause between two looks at grants.
const RECHECK_PAUSE: Duration = Duration::from_secs(1);

/// Reads a configuration again.
type ReadConfig = fn(&Path) -> Result<Config, String>;

/// What others may hold of a running node.
#[derive(Debug)]
pub struct Handle {
    routing: Arc<Routing>,
    own: PartControl,
    embedded: Option<PartControl>,
    listeners: Vec<String>,
    source: (PathBuf, ReadConfig),
    clock: Clock,
}

impl Handle {
    pub(super) fn new(
        routing: Arc<Routing>,
        own: PartControl,
        embedded: Option<PartControl>,
        listeners: Vec<String>,
        source: (PathBuf, ReadConfig),
    ) -> Self {
        Self {
            routing,
            own,
            embedded,
            listeners,
            source,
            clock: Clock::start(),
        }
    }

    async fn view(part: &PartControl) -> Option<View> {
        let (reply, view) = oneshot::channel();
        part.inlets.commands.send(Command::View(reply)).await.ok()?;
        view.await.ok()
    }

    async fn ask(&self, make: impl FnOnce(oneshot::Sender<bool>) -> Command) -> bool {
        let (reply, done) = oneshot::channel();
        self.own.inlets.commands.send(make(reply)).await.is_ok() && done.await.unwrap_or(false)
    }

    /// Looks at everything that is allowed again, from time to time and when a session was resumed (R-R11).
    pub(super) async fn recheck(self: Arc<Self>) {
        let embedded = || async {
            match &self.embedded {
                Some(part) => part.resumed.notified().await,
                None => std::future::pending().await,
            }
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(RECHECK) => {}
                () = self.own.resumed.notified() => {}
                () = embedded() => {}
            }
            self.expel().await;
            Self::enforce(&self.own).await;
            if let Some(part) = &self.embedded {
                Self::enforce(part).await;
            }
            // Peers resume as often as they like.
            tokio::time::sleep(RECHECK_PAUSE).await;
        }
    }

    /// Ends links of nodes that may not link, with the sessions on them. Shortcuts are for sessions only, and
    /// need no right to link.
    async fn expel(&self) {
        if let Some(view) = Self::view(&self.own).await {
            let links = view.links.iter().filter(|link| !link.shortcut);
            self.expel_of(links.map(|link| link.peer)).await;
        }
    }

    /// The same among these names.
    async fn expel_of(&self, names: impl Iterator<Item = Name>) {
        let gone: BTreeSet<Name> = names.filter(|name| !self.may_link(name)).collect();
        if !gone.is_empty() {
            // The engine is gone when the node stops.
            let _stopping = self.own.inlets.commands.send(Command::Expel(gone)).await;
        }
    }

    fn may_link(&self, name: &Name) -> bool {
        self.own.joiner.standing(name) == Standing::Allowed
    }

    /// Resets the channels that the access list in force forbids (R-G1).
    async fn enforce(part: &PartControl) {
        let forbidden: Vec<ChannelKey> = part
            .served
            .iter()
            .filter(|entry| {
                let (peer, target, dialled) = entry.value();
                !part.forwarder.acl_allows(peer, target, *dialled)
            })
            .map(|entry| *entry.key())
            .collect();
        for key in forbidden {
            let (reply, done) = oneshot::channel();
            let kill = Command::KillChannel(key, ResetCode::Forbidden, reply);
            if part.inlets.commands.send(kill).await.is_ok() {
                // False means that the channel has ended by itself.
                let _killed = done.await;
            }
        }
    }
}

impl Service for Handle {
    async fn status(&self) -> Status {
        let view = Self::view(&self.own).await;
        let (sessions, links, overlay) = view
            .map(|view| (view.sessions, view.links, Some(view.overlay)))
            .unwrap_or_default();
        let missing = self
            .own
            .reports
            .iter()
            .filter_map(|report| report.missing());
        let overlay = overlay.map(|overlay| self.overlay(overlay));
        let of_others = overlay.as_ref().map_or(0, |overlay| {
            let directory = overlay.directory.map_or(0, |directory| directory.bytes);
            overlay.relay.waiting + directory
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.routing.own().to_string(),
            uptime_s: self.clock.now().since(Time::ZERO).as_secs_f64(),
            sessions: sessions
                .into_iter()
                .map(|session| self.session(session))
                .collect(),
            links: links
                .into_iter()
                .map(|link| self.link(link))
                .chain(missing.map(|missing| self.missing(missing)))
                .collect(),
            memory: MemoryStatus {
                used: self.own.budget.used() + of_others,
                limit: self.own.memory,
            },
            listeners: self.listeners.clone(),
            overlay,
        }
    }

    async fn kill(&self, what: Kill) -> bool {
        match what {
            Kill::Session(number) => self.ask(|reply| Command::KillSession(number, reply)).await,
            Kill::Channel { session, channel } => {
                let key = ChannelKey {
                    session,
                    channel: ChannelId(channel),
                };
                self.ask(|reply| Command::KillChannel(key, ResetCode::Killed, reply))
                    .await
            }
        }
    }

    async fn reload(&self) -> Result<String, String> {
        let (path, read) = &self.source;
        let new = read(path)?;
        let fixed = self.routing.config().reload_difference(&new);
        if !fixed.is_empty() {
            return Err(format!(
                "{} cannot change while the node runs; restart it",
                fixed.join(", ")
            ));
        }
        let embedded_name = self.routing.embedded();
        let has_key = new.network.key_file.is_some();
        let policy = Policy::of(&new, has_key, embedded_name);
        // Sessions through relays need no right to link; only who loses it has to go.
        let sessions = Self::view(&self.own).await.map(|view| view.sessions);
        let peers = sessions.into_iter().flatten().map(|session| session.peer);
        let allowed: Vec<Name> = peers.filter(|peer| self.may_link(peer)).collect();
        self.own
            .forwarder
            .replace_acl(new.forwarder.clone().unwrap_or_default());
        let denied = policy.denied.clone();
        self.own
            .joiner
            .replace_policy(Box::new(move |name| policy.standing(name)));
        if let (Some(part), Some(table)) = (&self.embedded, &new.embedded) {
            let acl: Acl = table.acl(self.routing.own());
            part.forwarder.replace_acl(acl);
            Self::enforce(part).await;
        }
        self.routing.replace(Arc::new(new));
        Self::enforce(&self.own).await;
        let _stopping = self.own.inlets.commands.send(Command::Deny(denied)).await;
        self.expel_of(allowed.into_iter()).await;
        self.expel().await;
        Ok("grants, services, routes, aliases, groups, allow and deny".to_owned())
    }

    fn choose(&self, host: &Host, port: u16) -> Result<(Vec<Name>, Target), OpenFailure> {
        Router::choose(&*self.routing, host, port)
    }

    async fn open(&self, connection: LocalConnection) -> bool {
        self.own.inlets.connections.send(connection).await.is_ok()
    }

    async fn lookup(&self, node: &str) -> Result<FoundStatus, Unanswered> {
        self.looked_up(node).await
    }

    async fn trace(&self, node: &str, hops: mpsc::Sender<HopStatus>) -> Result<bool, Unanswered> {
        self.traced(node, hops).await
    }
}

impl Handle {
    fn alias(&self, name: Name) -> Option<String> {
        if self.routing.embedded() == Some(name) {
            return Some("embedded".to_owned());
        }
        self.routing
            .config()
            .aliases
            .alias_of(&name)
            .map(str::to_owned)
    }

    fn session(&self, view: SessionView) -> SessionStatus {
        let state = match view.state {
            SessionState::Handshake => "handshake",
            SessionState::Live => "live",
            SessionState::Suspended => "suspended",
        };
        SessionStatus {
            way: self.way(&view),
            id: view.number,
            peer: view.peer.to_string(),
            alias: self.alias(view.peer),
            state: state.to_owned(),
            reason: view.reason.to_string(),
            since_s: view.since.as_secs_f64(),
            last_answer_ms: Some(millis(view.last_answer)),
            handshakes: view.handshakes,
            resumes: view.resumes,
            forged: view.forged,
            channels: view
                .channels
                .into_iter()
                .map(|channel| shown(view.number, channel))
                .collect(),
            suite: view.suite.label().to_owned(),
            rtt_ms: view.rtt.map(fractional_millis),
        }
    }

    fn link(&self, view: LinkView) -> LinkStatus {
        LinkStatus {
            peer: view.peer.to_string(),
            alias: self.alias(view.peer),
            endpoint: view.endpoint,
            direction: if view.dialled { "out" } else { "in" }.to_owned(),
            state: if view.heard { "up" } else { "handshake" }.to_owned(),
            since_s: view.age.as_secs_f64(),
            last_answer_ms: Some(millis(view.last_answer)),
            error: None,
            error_age_s: None,
            health: Some(health(view.doubtful)),
            rtt_ms: view.rtt.map(fractional_millis),
            shortcut: view.shortcut,
        }
    }

    /// A configured peer to which there is no link, and why.
    fn missing(&self, missing: Missing) -> LinkStatus {
        let (error, age) = missing.error.unzip();
        LinkStatus {
            peer: missing
                .peer
                .map_or_else(String::new, |name| name.to_string()),
            alias: missing.peer.and_then(|name| self.alias(name)),
            endpoint: missing.address,
            direction: "out".to_owned(),
            state: "dialling".to_owned(),
            since_s: missing.since.as_secs_f64(),
            last_answer_ms: None,
            error,
            error_age_s: age.map(|age| age.as_secs_f64()),
            health: None,
            rtt_ms: None,
            shortcut: false,
        }
    }
}

fn shown(session: u32, view: ChannelView) -> ChannelStatus {
    let state = match view.phase {
        Phase::Opening => "opening",
        Phase::Incoming => "connecting",
        Phase::Open => "open",
        Phase::Refused(_) => "refused",
        Phase::Reset(_) => "reset",
    };
    ChannelStatus {
        id: Kill::Channel {
            session,
            channel: view.id.0,
        }
        .to_string(),
        target: view.target.to_string(),
        state: state.to_owned(),
        sent: view.acknowledged + view.kept as u64,
        received: view.received,
        unacked: view.kept as u64,
        age_s: view.age.as_secs_f64(),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
