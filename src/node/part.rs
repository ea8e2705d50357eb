//! One identity at work: core thread, links and forwarder.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use zeroize::Zeroizing;

use crate::acl::Acl;
use crate::config::{Allow, Config, MemoryPressure, SuiteName};
use crate::core::{ChannelKey, Cloak, Core, Settings};
use crate::engine::{Command, Engine, Inlets, Seen, Served, Surroundings, inlets};
use crate::forwarder::{Forwarder, Opened, OwnListeners, Traffic};
use crate::lcm::local::LocalStream;
use crate::lcm::pump::Moved;
use crate::limits::{DIRECTORY_BYTES_MAX, OVERLAY_MEMORY_PART, RELAY_NODE_MAX};
use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
use crate::name::{Identity, Name};
use crate::net::addresses;
use crate::net::clock::{Clock, calendar};
use crate::net::tasks::Tasks;
use crate::net::watch::NetworkWatch;
use crate::node::routing::Routing;
use crate::node::state;
use crate::node::{Dialers, StartError};
use crate::peering::dialer::{Dialer, Endpoint};
use crate::peering::finder::Finder;
use crate::peering::greeter::{greet, places};
use crate::peering::join::{Joiner, Standing};
use crate::peering::report::Report;
use crate::random::Random;
use crate::session::{KeyUse, Options, ResetCode};
use crate::srm::acks::AckPolicy;
use crate::srm::budget::Budget;
use crate::ssm::suite::Suite;
use crate::time::{Calendar, Time};
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

/// Pause between looks whether the certificate is due.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(5);
/// How long a certificate of a node's static key holds; the key is new with every start.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(400 * 24 * 3600);

/// Tells where others may dial a node now, `HOST:PORT` each.
type Announced = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Where links come from.
pub(super) struct Links {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Tells where others may dial the node now, for the directory.
    pub(super) announced: Announced,
    /// Whether it carries frames of others.
    pub(super) relay: bool,
}

/// Who may link (R-O4), and who has no part here (R-I5).
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// These; whoever has the network key if there is no list.
    allowed: Option<BTreeSet<Name>>,
    pub(super) denied: BTreeSet<Name>,
}

impl Policy {
    pub(super) fn only(name: Name) -> Self {
        Self {
            allowed: Some(BTreeSet::from([name])),
            denied: BTreeSet::new(),
        }
    }

    /// The policy of a configuration; pinned nodes may, unless they are denied, and the embedded node always.
    pub(super) fn of(config: &Config, has_key: bool, embedded: Option<Name>) -> Self {
        let listed = match &config.network.allow {
            Allow::Names(names) => Some(names.clone()),
            Allow::Auto if has_key => None,
            Allow::Auto => Some(BTreeSet::new()),
        };
        let pinned = config.link.peers.iter().filter_map(|peer| peer.name);
        let allowed = listed.map(|names| names.into_iter().chain(pinned).chain(embedded).collect());
        let mut denied = config.network.deny.clone();
        if let Some(embedded) = embedded {
            denied.remove(&embedded);
        }
        Self { allowed, denied }
    }

    pub(super) fn standing(&self, name: &Name) -> Standing {
        let listed = |names: &BTreeSet<Name>| names.contains(name);
        if listed(&self.denied) {
            Standing::Denied
        } else if self.allowed.as_ref().is_none_or(listed) {
            Standing::Allowed
        } else {
            Standing::Unknown
        }
    }
}

/// Everything a part starts from.
pub(super) struct PartSetup {
    pub(super) identity: Identity,
    pub(super) config: Arc<Config>,
    pub(super) network_key: Option<Zeroizing<[u8; 32]>>,
    pub(super) acl: Option<Acl>,
    pub(super) links: Links,
    pub(super) policy: Policy,
    pub(super) own_listeners: OwnListeners,
    pub(super) routing: Arc<Routing>,
    pub(super) state_dir: Option<PathBuf>,
}

impl PartSetup {
    /// A file in the state directory, if there is one.
    fn state_file(&self, name: &str) -> Option<PathBuf> {
        Some(self.state_dir.as_deref()?.join(name))
    }
}

/// Channels that the forwarder serves, and where they lead: asked again when grants change.
type ServedChannels = Arc<DashMap<ChannelKey, (Name, Target, SocketAddr)>>;

/// What control may hold of a part.
#[derive(Clone, Debug)]
pub(super) struct PartControl {
    pub(super) inlets: Inlets,
    pub(super) forwarder: Forwarder,
    pub(super) served: ServedChannels,
    pub(super) budget: Budget,
    /// `[limits] memory`: what channels and the overlay hold together.
    pub(super) memory: u64,
    pub(super) joiner: Arc<Joiner>,
    pub(super) reports: Arc<[Arc<Report>]>,
    /// A session was resumed.
    pub(super) resumed: Arc<Notify>,
}

/// One identity at work.
#[derive(Debug)]
pub(super) struct Part {
    engine: Engine,
    tasks: Tasks,
    control: PartControl,
}

impl Part {
    /// Starts core thread, accepting and dialling.
    pub(super) fn start(setup: PartSetup) -> Result<Self, StartError> {
        let mut random = system_random()?;
        let tasks = Tasks::new(Handle::current());
        let me = Arc::new(party(&setup, &mut random));
        let record = setup.state_file("record");
        let clock = Clock::start();
        let memory = Shares::of(setup.config.limits.memory, setup.links.relay);
        let budget = Budget::new(memory.channels);
        let settings = settings(&setup, budget.clone());
        let core = Core::new(Arc::clone(&me), settings, random.fork(), calendar())
            .with_overlay_memory(memory.relay, memory.directory);
        let mut core = prepared(core, &setup, clock.now());
        let seen = keep_floors(&setup, &mut core, clock.now());
        tasks.spawn(keep_certified(Arc::clone(&me), setup.state_dir));
        let policy = setup.policy;
        let joiner = Arc::new(Joiner::new(
            me,
            setup.network_key,
            Box::new(move |name: &Name| policy.standing(name)),
        ));
        let forwarder = Forwarder::new(setup.acl.unwrap_or_default(), setup.own_listeners, false);
        let served = ServedChannels::default();
        let (inlets, queues) = inlets();
        let dialers = Dialers::default();
        let (wake, woken) = (dialers.clone(), dialers.clone());
        let routing = Arc::clone(&setup.routing);
        let finder = Finder::new(
            Arc::clone(&joiner),
            inlets.commands.clone(),
            tasks.clone(),
            random.fork(),
            addresses::reachable,
        );
        let resumed = Arc::new(Notify::new());
        let resumes = Arc::clone(&resumed);
        let surroundings = Surroundings {
            serve: serve(
                forwarder.clone(),
                inlets.clone(),
                Arc::clone(&served),
                tasks.clone(),
            ),
            want: Box::new(move |_| wake.wanted()),
            dial: Box::new(move |peer, endpoints, shortcut| {
                finder.dial(peer, endpoints, shortcut);
            }),
            resumed: Box::new(move || resumes.notify_one()),
            woken: Box::new(move || woken.network_changed()),
            published: state::remember(record),
            seen,
            show: Box::new(move |name| routing.show(name)),
        };
        let engine = Engine::start(core, clock, inlets.clone(), queues, surroundings)
            .map_err(StartError::Thread)?;
        let reports = link(setup.links, &joiner, &engine, &dialers, &tasks, &mut random);
        let control = PartControl {
            inlets,
            forwarder,
            served,
            budget,
            memory: setup.config.limits.memory,
            joiner,
            reports,
            resumed,
        };
        Ok(Self {
            engine,
            tasks,
            control,
        })
    }

    pub(super) const fn inlets(&self) -> &Inlets {
        self.engine.inlets()
    }

    pub(super) fn control(&self) -> PartControl {
        self.control.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.engine.has_ended()
    }

    /// Local connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.engine.table().len()
    }

    /// The goodbyes and the tombstone go first: links that were dialled end with the tasks that dialled them.
    pub(super) async fn stop(self) {
        self.engine.stop().await;
        self.tasks.stop();
    }
}

/// The parts of `[limits] memory`, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    channels: u64,
    relay: usize,
    directory: usize,
}

impl Shares {
    /// A node that carries nothing for others leaves all to its channels.
    fn of(memory: u64, relays: bool) -> Self {
        let part = usize::try_from(memory / OVERLAY_MEMORY_PART).unwrap_or(usize::MAX);
        let (relay, directory) = (RELAY_NODE_MAX.min(part), DIRECTORY_BYTES_MAX.min(part));
        let others = if relays { relay + directory } else { 0 };
        Self {
            channels: memory.saturating_sub(others as u64),
            relay,
            directory,
        }
    }
}

/// The core as the configuration wants it.
fn prepared(mut core: Core, setup: &PartSetup, now: Time) -> Core {
    if setup.config.session.on_memory_pressure == MemoryPressure::ResetOldest {
        core = core.with_reset_oldest();
    }
    core.publish((setup.links.announced)(), now);
    // There is no link yet that could be among them.
    core.deny(setup.policy.denied.clone(), now);
    core
}

/// Starts accepting and dialling, and watches the network for both.
fn link(
    links: Links,
    joiner: &Arc<Joiner>,
    engine: &Engine,
    dialers: &Dialers,
    tasks: &Tasks,
    random: &mut Random,
) -> Arc<[Arc<Report>]> {
    let commands = &engine.inlets().commands;
    let watch = watch_network(commands.clone(), dialers.clone(), links.announced);
    tasks.spawn(watch);
    let places = places(links.listeners.len());
    for listener in links.listeners {
        let (joiner, commands) = (Arc::clone(joiner), commands.clone());
        tasks.spawn(greet(listener, joiner, commands, random.fork(), places));
    }
    let dialled = links.endpoints.into_iter().map(|endpoint| {
        let report = Arc::new(Report::new(endpoint.address.clone(), endpoint.pinned));
        let dialer = Dialer {
            endpoint,
            joiner: Arc::clone(joiner),
            commands: commands.clone(),
            hurry: dialers.one(),
            table: engine.table().clone(),
            report: Arc::clone(&report),
        };
        tasks.spawn(dialer.run(random.fork()));
        report
    });
    dialled.collect()
}

/// Tells core thread and dialers of every change of the network, and the directory where the node can be dialled
/// since.
async fn watch_network(commands: mpsc::Sender<Command>, dialers: Dialers, announced: Announced) {
    let watched = async {
        let watch = NetworkWatch::open()?;
        loop {
            watch.changed().await?;
            tracing::debug!("the network changed");
            let publish = Command::Publish(announced());
            for command in [Command::NetworkChanged, publish] {
                if commands.send(command).await.is_err() {
                    return Ok(());
                }
            }
            dialers.network_changed();
        }
    };
    let ended: std::io::Result<()> = watched.await;
    if let Err(error) = ended {
        tracing::warn!(%error, "changes of the network are not noticed; links find out by themselves");
    }
}

fn system_random() -> Result<Random, StartError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(StartError::Random)?;
    Ok(Random::from_seed(*seed))
}

/// What the next certificate says.
fn terms(state_dir: Option<&Path>) -> Terms {
    let Calendar(now) = calendar();
    Terms {
        not_before: Calendar(now),
        not_after: Calendar(now.saturating_add(CERTIFICATE_LIFE.as_secs())),
        serial: state::serial(state_dir, now),
    }
}

/// Renews the certificate in time, for as long as the node runs; sessions and links go on.
async fn keep_certified(me: Arc<LocalParty>, state_dir: Option<PathBuf>) {
    loop {
        // The calendar is what counts: the clock may be set, and timers stand still while the machine sleeps.
        tokio::time::sleep(CERTIFICATE_LOOK).await;
        let old = me.certificate().terms;
        if old.is_due(calendar()) {
            let mut fresh = terms(state_dir.as_deref());
            fresh.serial = fresh.serial.max(old.serial.saturating_add(1));
            me.renew(fresh);
            tracing::info!(serial = fresh.serial, "certificate renewed");
        }
    }
}

fn party(setup: &PartSetup, random: &mut Random) -> LocalParty {
    let terms = terms(setup.state_dir.as_deref());
    let identity = Identity::from_seed(&setup.identity.seed());
    let overlay = OverlayId::of(&setup.config.network.id);
    LocalParty::new(
        identity,
        StaticKey::generate(random),
        terms,
        random.bytes(),
        overlay,
    )
}

/// Hands the core what an earlier run has seen of records, and gives what writes down what this one sees.
fn keep_floors(setup: &PartSetup, core: &mut Core, now: Time) -> Seen {
    let routing = Arc::clone(&setup.routing);
    state::floors(setup.state_file("floors"), routing, |name, number| {
        core.set_floor(name, number, now);
    })
}

fn settings(setup: &PartSetup, budget: Budget) -> Settings {
    let record = setup.state_file("record");
    let (session, cloak) = (&setup.config.session, &setup.config.cloak);
    let names = session.suites.in_order(fast_aes());
    let suites: Vec<Suite> = names.iter().map(|name| suite(*name)).collect();
    if suites.contains(&Suite::PaperAes128CtrHmacSha1) {
        tracing::warn!("the paper's cipher suite is on offer: AES-128-CTR with HMAC-SHA1 (R-C4)");
    }
    Settings {
        suites,
        session: Options {
            acks: AckPolicy {
                every: session.ack_every,
                delay: session.ack_delay,
            },
            budget,
            max_suspend: session.max_suspend,
            max_j: session.max_j,
            key_use: KeyUse::default(),
        },
        open_timeout: session.open_timeout,
        psk: setup.network_key.clone().unwrap_or_default(),
        cloak: Cloak {
            degree: cloak.degree,
            relay: setup.links.relay,
            last_seq: record
                .and_then(|path| state::number_in(&path))
                .unwrap_or_default(),
            roots: cloak.roots.clone(),
            shortcuts: cloak.shortcuts,
        },
    }
}

const fn suite(name: SuiteName) -> Suite {
    match name {
        SuiteName::Aes256Gcm => Suite::Aes256Gcm,
        SuiteName::ChaCha20Poly1305 => Suite::Chacha20Poly1305,
        SuiteName::Aes128CtrHmacSha1 => Suite::PaperAes128CtrHmacSha1,
    }
}

/// Whether the CPU has instructions for AES-GCM.
fn fast_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("aes")
            && std::arch::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

/// Connects services for incoming channels.
fn serve(
    forwarder: Forwarder,
    inlets: Inlets,
    served: ServedChannels,
    tasks: Tasks,
) -> crate::engine::Serve {
    Box::new(move |key, peer, target| {
        let (forwarder, inlets, served) = (forwarder.clone(), inlets.clone(), Arc::clone(&served));
        tasks.spawn(async move {
            let result = forwarder.open(peer, target.clone()).await;
            let result = result.and_then(|opened| {
                let dialled = opened.dialled;
                let entered = entered(opened, key, peer, target.clone(), served);
                // Grants may have changed before the channel stood where a reload looks.
                if forwarder.acl_allows(&peer, &target, dialled) {
                    return Ok(entered);
                }
                (entered.ended)(Moved::nothing(ResetCode::Forbidden));
                Err(OpenFailure::Denied)
            });
            answer(&inlets, key, result).await;
        });
    })
}

async fn answer(inlets: &Inlets, key: ChannelKey, result: Result<Served, OpenFailure>) {
    // The engine is gone when the node stops; the service's connection closes with it.
    let _stopping = inlets.commands.send(Command::Served(key, result)).await;
}

fn entered(
    opened: Opened,
    key: ChannelKey,
    peer: Name,
    target: Target,
    served: ServedChannels,
) -> Served {
    let Opened {
        stream,
        dialled,
        permit,
    } = opened;
    served.insert(key, (peer, target, dialled));
    Served {
        stream: stream.map(LocalStream::Tcp),
        ended: Box::new(move |moved| {
            served.remove(&key);
            let traffic = Traffic {
                to_service: moved.to_local,
                from_service: moved.from_local,
            };
            permit.audit_close(traffic, &moved.why.to_string());
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn name(seed: u8) -> Name {
        Identity::from_seed(&[seed; 32]).name()
    }

    #[test]
    fn pinned_nodes_may_link_beside_a_list_and_nobody_who_is_denied() {
        let [allowed, pinned, denied, embedded, stranger] = [1, 2, 3, 4, 5].map(name);
        let text = format!(
            "[network]\nallow = [\"{allowed}\", \"{denied}\"]\ndeny = [\"{denied}\", \"{embedded}\"]\n\
             [link]\npeers = [\"{pinned}@a:1\", \"{denied}@b:1\"]\n"
        );
        let source = Source {
            path: Path::new("proxy.toml"),
            text: &text,
            read: &|_| Err(String::new()),
        };
        let config = Config::parse(&source, 1 << 30).unwrap();
        for has_key in [false, true] {
            let policy = Policy::of(&config, has_key, Some(embedded));
            for (name, standing) in [
                (allowed, Standing::Allowed),
                (pinned, Standing::Allowed),
                (embedded, Standing::Allowed),
                (denied, Standing::Denied),
                (stranger, Standing::Unknown),
            ] {
                assert_eq!(policy.standing(&name), standing, "{has_key} {name}");
            }
        }
    }

    #[test]
    fn what_is_kept_for_others_is_part_of_the_memory() {
        let usual = Shares::of(512 << 20, true);
        assert_eq!((usual.relay, usual.directory), (32 << 20, 64 << 20));
        for memory in [16 << 20, 100 << 20, 512 << 20, 1 << 40] {
            let shares = Shares::of(memory, true);
            let others = (shares.relay + shares.directory) as u64;
            assert_eq!(shares.channels + others, memory);
            assert!(shares.channels >= memory / 4 * 3);
            assert_eq!(Shares::of(memory, false).channels, memory);
        }
    }
}
