//! The forwarder: turns a peer's OPEN into a real TCP connection, if a grant allows it.
//!
//! The order of an OPEN: the access list judges the target; the grant's limits are charged; a name
//! is resolved once and every address it has is judged; what would reach our own listeners is taken
//! out; the rest is dialled (happy eyeballs); the access list is asked again if it was replaced
//! meanwhile. A denied OPEN fails at the first step, before anything depends on whether the target
//! exists (R-A6).
//!
//! The invariant: every connection made here goes to the address in a [`Granted`], which only the
//! access list can make, and is counted by an [`OpenPermit`] from before its name is resolved until
//! the permit is dropped. Each OPEN and each dropped permit leaves one audit line (R-A9).
//!
//! Nothing is spawned that outlives an OPEN, except a thread that waits for the system's resolver,
//! which holds its place until it is done. Channels that live through a reload are the caller's to
//! close: it asks [`Forwarder::acl_allows`], and asks once more for a channel that it registers after
//! the reload.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{SocketAddr, TcpStream},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::acl::{Acl, Grant, Granted, Judgement};
use crate::forwarder::audit::{Audit, Closed};
use crate::forwarder::dialer::{DIAL_DEADLINE, Dialled, dial};
use crate::forwarder::limits::{Pending, Quota, Slot, Usage};
use crate::forwarder::resolver::Resolver;
use crate::name::Name;
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

mod audit;
mod dialer;
mod limits;
mod listeners;
mod resolver;

pub use self::listeners::OwnListeners;

/// OPENs that may be resolved and dialled at the same time; one peer gets half (R-A8).
const PENDING_MAX: usize = 1024;

/// Opens connections for peers. Clones are one forwarder.
#[derive(Clone, Debug)]
pub struct Forwarder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    policy: RwLock<Arc<Policy>>,
    own_listeners: OwnListeners,
    resolver: Resolver,
    pending: Pending,
    audit: Audit,
    started: Instant,
    dial_deadline: Duration,
}

/// An access list, and who uses each of its grants.
#[derive(Debug)]
struct Policy {
    acl: Acl,
    usage: Vec<Arc<Usage>>,
}

/// A channel's connection to its service.
#[derive(Debug)]
pub struct Opened {
    /// Non-blocking, without Nagle's delay, not registered with a runtime; none if the service has
    /// accepted the connection and reset it at once.
    pub stream: Option<TcpStream>,
    /// The address that answered.
    pub dialled: SocketAddr,
    /// Counts the channel; to be kept until it is closed.
    pub permit: OpenPermit,
}

/// Counts a channel against the grants that allow it, and writes its CLOSE line when dropped.
#[derive(Debug)]
pub struct OpenPermit {
    inner: Arc<Inner>,
    peer: Name,
    target: Target,
    opened_at: Time,
    traffic: Traffic,
    reason: String,
    _slots: Vec<Slot>,
}

/// Bytes that a channel carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Written to the service.
    pub to_service: u64,
    /// Read from the service.
    pub from_service: u64,
}

impl Forwarder {
    /// A forwarder with this access list that never dials `own_listeners`. Its audit lines show
    /// destinations other than services only if `log_destinations` is set (R-G3).
    pub fn new(acl: Acl, own_listeners: OwnListeners, log_destinations: bool) -> Self {
        Self::with(acl, own_listeners, log_destinations, Resolver::system())
    }

    fn with(
        acl: Acl,
        own_listeners: OwnListeners,
        log_destinations: bool,
        resolver: Resolver,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                policy: RwLock::new(Arc::new(Policy::new(acl, None))),
                own_listeners,
                resolver,
                pending: Pending::new(PENDING_MAX),
                audit: Audit::new(log_destinations),
                started: Instant::now(),
                dial_deadline: DIAL_DEADLINE,
            }),
        }
    }

    /// Replaces the whole access list at once. Channels stay counted in grants that permit the same
    /// as before; every other grant counts from zero.
    pub fn replace_acl(&self, acl: Acl) {
        let mut policy = self
            .inner
            .policy
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *policy = Arc::new(Policy::new(acl, Some(&policy)));
    }

    /// Whether the access list allows a live channel of `peer` to `target` that is connected to
    /// `dialled`.
    pub fn acl_allows(&self, peer: &Name, target: &Target, dialled: SocketAddr) -> bool {
        self.inner.policy().acl.allows(peer, target, dialled)
    }

    /// Connects to `target` for `peer`, within 15 seconds. May be dropped half-way: then all
    /// attempts end and nothing stays counted.
    pub async fn open(&self, peer: Name, target: Target) -> Result<Opened, OpenFailure> {
        let inner = Arc::clone(&self.inner);
        let mut guard = AbandonGuard {
            inner: &inner,
            peer: &peer,
            target: &target,
            armed: true,
        };
        let result = inner.connect(peer, &target).await;
        guard.armed = false;
        drop(guard);
        let now = inner.now();
        match result {
            Ok((Dialled { stream, granted }, slots)) => {
                inner.audit.opened(&peer, &target, granted.grant());
                let permit = OpenPermit {
                    inner,
                    peer,
                    target,
                    opened_at: now,
                    traffic: Traffic::default(),
                    reason: "dropped".to_owned(),
                    _slots: slots,
                };
                Ok(Opened {
                    stream,
                    dialled: granted.address(),
                    permit,
                })
            }
            Err(failure) => {
                inner.audit.refused(&peer, &target, failure);
                Err(failure)
            }
        }
    }
}

impl OpenPermit {
    /// Ends the channel: gives its place back and writes its CLOSE line. A permit that is merely
    /// dropped writes the line without bytes and reason.
    pub fn audit_close(mut self, traffic: Traffic, reason: &str) {
        self.traffic = traffic;
        reason.clone_into(&mut self.reason);
    }
}

impl Drop for OpenPermit {
    fn drop(&mut self) {
        self.inner.audit.closed(&Closed {
            peer: &self.peer,
            target: &self.target,
            to_service: self.traffic.to_service,
            from_service: self.traffic.from_service,
            lasted: self.inner.now().since(self.opened_at),
            reason: &self.reason,
        });
    }
}

/// Leaves an audit line when an OPEN is dropped before it is answered.
struct AbandonGuard<'a> {
    inner: &'a Inner,
    peer: &'a Name,
    target: &'a Target,
    armed: bool,
}

impl Drop for AbandonGuard<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.inner.audit.abandoned(self.peer, self.target);
        }
    }
}

impl Inner {
    async fn connect(
        &self,
        peer: Name,
        target: &Target,
    ) -> Result<(Dialled, Vec<Slot>), OpenFailure> {
        let policy = self.policy();
        let judgement = policy.acl.judge(&peer, target);
        let admitting = match &judgement {
            Judgement::Denied => return Err(OpenFailure::Denied),
            Judgement::Dial(granted) => granted.first().map_or(0, Granted::grant),
            Judgement::Resolve(resolution) => resolution.grant(),
        };
        let _pending = self.pending.enter(peer)?;
        let admitted = policy.open(peer, admitting, self.now(), true)?;
        let candidates = match judgement {
            Judgement::Denied => return Err(OpenFailure::Denied),
            Judgement::Dial(granted) => granted,
            Judgement::Resolve(resolution) => {
                let addresses = self.resolver.resolve(peer, resolution.host()).await?;
                resolution.judge(&addresses)
            }
        };
        let candidates = self.without_own_listeners(candidates)?;
        let mut slots = BTreeMap::from([(admitting, admitted)]);
        let candidates = policy.charge(peer, candidates, &mut slots, self.now())?;
        let dialled = dial(candidates, self.dial_deadline).await?;
        // A reload that came in between must not leave a channel that it forbids.
        let latest = self.policy();
        let address = dialled.granted.address();
        if !Arc::ptr_eq(&policy, &latest) && !latest.acl.allows(&peer, target, address) {
            return Err(OpenFailure::Denied);
        }
        let needed = [admitting, dialled.granted.grant()];
        slots.retain(|grant, _| needed.contains(grant));
        Ok((dialled, slots.into_values().collect()))
    }

    /// What is left to dial; nothing left is the same answer as no grant.
    fn without_own_listeners(&self, mut found: Vec<Granted>) -> Result<Vec<Granted>, OpenFailure> {
        found.retain(|granted| !self.own_listeners.holds(granted.address()));
        if found.is_empty() {
            return Err(OpenFailure::Denied);
        }
        Ok(found)
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Time {
        Time::ZERO + Instant::now().saturating_duration_since(self.started)
    }
}

impl Policy {
    fn new(acl: Acl, before: Option<&Self>) -> Self {
        let known = |grant: &Grant| {
            let before = before?;
            let place = before
                .acl
                .grants
                .iter()
                .position(|g| g.same_subject(grant))?;
            before.usage.get(place).cloned()
        };
        let usage = acl
            .grants
            .iter()
            .map(|grant| known(grant).unwrap_or_default())
            .collect();
        Self { acl, usage }
    }

    /// Counts a channel of `peer` in a grant, and an opening if it is the one that admits the OPEN.
    fn open(&self, peer: Name, grant: usize, now: Time, admits: bool) -> Result<Slot, OpenFailure> {
        let (Some(limits), Some(usage)) = (self.acl.grants.get(grant), self.usage.get(grant))
        else {
            return Err(OpenFailure::General);
        };
        let quota = Quota {
            channels: limits.max_channels,
            opens_per_s: limits.opens_per_s.filter(|_| admits),
        };
        usage.open(peer, quota, now)
    }

    /// Counts the channel in every grant that a candidate needs; candidates of full grants are left
    /// out.
    fn charge(
        &self,
        peer: Name,
        candidates: Vec<Granted>,
        slots: &mut BTreeMap<usize, Slot>,
        now: Time,
    ) -> Result<Vec<Granted>, OpenFailure> {
        let mut left = Vec::with_capacity(candidates.len());
        for granted in candidates {
            let grant = granted.grant();
            if let Entry::Vacant(place) = slots.entry(grant) {
                let Ok(slot) = self.open(peer, grant, now, false) else {
                    continue;
                };
                place.insert(slot);
            }
            left.push(granted);
        }
        if left.is_empty() {
            return Err(OpenFailure::Limit);
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests;
