//! What control asks about the overlay: how it looks from here, where a node hangs, who is on the way.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::cloak::overlay::{Absence, Found, Traced};
use crate::config::aliases::EMBEDDED;
use crate::control::overlay::{
    DirectoryStatus, FoundStatus, HopStatus, NeighbourStatus, OverlayStatus, PlaceStatus,
    RelayStatus, WayStatus,
};
use crate::control::service::Unanswered;
use crate::core::{NeighbourView, OverlayView, Role, SessionView, Way};
use crate::engine::Command;
use crate::limits::{HOPS_MAX, LOOKUP_PATIENCE};
use crate::name::Name;
use crate::node::service::trace::{Step, Walk};
use crate::node::service::{Handle, millis};
use crate::wire::failure::OpenFailure;
use crate::wire::location::Location;

impl Handle {
    pub(super) fn overlay(&self, view: OverlayView) -> OverlayStatus {
        OverlayStatus {
            degree: view.degree,
            relays: view.relays,
            place: view.place.as_ref().and_then(PlaceStatus::of),
            former: places(&view.former),
            root: view.root.map(|name| name.to_string()),
            root_alias: view.root.and_then(|name| self.alias(name)),
            root_heard_ms: millis(view.root_heard),
            size: view.size,
            parent: view.parent.map(|name| name.to_string()),
            parent_alias: view.parent.and_then(|name| self.alias(name)),
            children: view.children as u64,
            neighbours: view
                .neighbours
                .into_iter()
                .map(|neighbour| self.neighbour(neighbour))
                .collect(),
            relay: RelayStatus {
                frames: view.relay.frames,
                bytes: view.relay.bytes,
                marked: view.relay.marked,
                overflowed: view.relay.overflowed,
                over_rate: view.relay.over_rate,
                waiting: view.waiting as u64,
            },
            directory: Some(DirectoryStatus {
                records: view.directory.records as u64,
                bytes: view.directory.bytes as u64,
                seq: view.directory.seq,
                lookups: view.directory.lookups as u64,
                relayed: view.directory.relayed,
                limited: view.directory.limited,
            }),
        }
    }

    fn neighbour(&self, view: NeighbourView) -> NeighbourStatus {
        let role = match view.role {
            Role::Parent => "parent",
            Role::Child => "child",
            Role::Extra => "extra",
            Role::Shortcut => "shortcut",
        };
        NeighbourStatus {
            name: view.name.to_string(),
            alias: self.alias(view.name),
            role: role.to_owned(),
            health: health(view.doubtful),
            last_answer_ms: millis(view.last_answer),
            rtt_ms: view.rtt.map(fractional_millis),
            links: view.links as u64,
            place: view.place.as_ref().and_then(PlaceStatus::of),
        }
    }

    pub(super) fn way(&self, view: &SessionView) -> WayStatus {
        let (kind, by) = match view.way {
            None => ("none", None),
            Some(Way::Direct) => ("direct", None),
            Some(Way::By(neighbour)) => ("relayed", Some(neighbour)),
        };
        WayStatus {
            kind: kind.to_owned(),
            by: by.map(|name| name.to_string()),
            by_alias: by.and_then(|name| self.alias(name)),
            hops: view.hops.map(u64::from),
            place: view.place.as_ref().and_then(PlaceStatus::of),
        }
    }

    /// The node that a person means.
    fn node(&self, text: &str) -> Result<Name, Unanswered> {
        if text.eq_ignore_ascii_case(EMBEDDED)
            && let Some(name) = self.routing.embedded()
        {
            return Ok(name);
        }
        let known = self.routing.config().aliases.one(text);
        known.map_err(|message| unanswered(OpenFailure::UnknownName, message))
    }

    async fn found(&self, name: Name) -> Result<Found, Unanswered> {
        let (reply, found) = oneshot::channel();
        let asked = Command::Lookup(name, reply);
        if self.own.inlets.commands.send(asked).await.is_err() {
            return Err(stopping());
        }
        match timeout(LOOKUP_PATIENCE, found).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(Absence::Left | Absence::Unknown))) => Err(unanswered(
                OpenFailure::UnknownName,
                format!("the directory has no record of {}", self.routing.show(name)),
            )),
            Ok(Err(_)) => Err(stopping()),
            Ok(Ok(Err(Absence::Unanswered))) | Err(_) => Err(unanswered(
                OpenFailure::TimedOut,
                "the directory does not answer; is this node linked? see: muses status".to_owned(),
            )),
        }
    }

    pub(super) async fn looked_up(&self, node: &str) -> Result<FoundStatus, Unanswered> {
        let name = self.node(node)?;
        let found = self.found(name).await?;
        let terms = found.certificate.certificate().terms;
        Ok(FoundStatus {
            name: name.to_string(),
            alias: self.alias(name),
            places: places(&found.locations),
            endpoints: found.endpoints,
            seq: found.seq,
            serial: terms.serial,
            not_before: terms.not_before.0,
            not_after: terms.not_after.0,
        })
    }

    pub(super) async fn traced(
        &self,
        node: &str,
        hops: mpsc::Sender<HopStatus>,
    ) -> Result<bool, Unanswered> {
        let name = self.node(node)?;
        if name == self.routing.own() {
            return Ok(true);
        }
        if let Some(hop) = self.next_door(name).await {
            return Ok(hops.send(hop).await.is_ok());
        }
        let mut places = Vec::new();
        let mut walk = Walk::default();
        let mut left = 0;
        while left < HOPS_MAX {
            let mut steps = walk.next(left, |left| self.who(name, &places, left)).await;
            if left == 0 && matches!(steps.first(), Some(Step::NoWay)) {
                places = self.found(name).await?.locations;
                steps = walk.next(left, |left| self.who(name, &places, left)).await;
                if matches!(steps.first(), Some(Step::NoWay)) {
                    let shown = self.routing.show(name);
                    let message = format!("no neighbour is on the way to {shown}");
                    return Err(unanswered(OpenFailure::NoPath, message));
                }
            }
            let last = steps
                .iter()
                .rposition(|step| matches!(step, Step::Answer(..)));
            // Those behind the last one that answered are asked again.
            let count = last.map_or(steps.len(), |last| last + 1);
            for step in steps.into_iter().take(count) {
                left += 1;
                let hop = self.hop(left, step);
                let end = hop.name.as_deref() == Some(&*name.to_string());
                // Who listened may have gone away.
                let heard = hops.send(hop).await.is_ok();
                if end || !heard {
                    return Ok(end);
                }
            }
            if last.is_none() {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn hop(&self, number: u8, step: Step) -> HopStatus {
        let hop = HopStatus {
            hop: u32::from(number),
            ..HopStatus::default()
        };
        match step {
            Step::Answer(traced, took) => HopStatus {
                name: Some(traced.name.to_string()),
                alias: self.alias(traced.name),
                place: PlaceStatus::of(&traced.place),
                ms: Some(fractional_millis(took)),
                ..hop
            },
            Step::Silent | Step::NoWay => hop,
        }
    }

    /// The only step to a node that is linked.
    async fn next_door(&self, name: Name) -> Option<HopStatus> {
        let view = Self::view(&self.own).await?;
        let mut neighbours = view.overlay.neighbours.into_iter();
        let neighbour = neighbours.find(|neighbour| neighbour.name == name)?;
        let sessions = view.sessions.iter().filter(|s| s.peer == name);
        let rtt = neighbour
            .rtt
            .or_else(|| sessions.filter_map(|s| s.rtt).min());
        Some(HopStatus {
            hop: 1,
            name: Some(name.to_string()),
            alias: self.alias(name),
            place: neighbour.place.as_ref().and_then(PlaceStatus::of),
            ms: rtt.map(fractional_millis),
        })
    }

    /// Asks one node on the way; none when no neighbour is on it.
    async fn who(&self, name: Name, places: &[Location], left: u8) -> Option<Traced> {
        let (reply, traced) = oneshot::channel();
        let ask = Command::Trace(name, places.to_vec(), left, reply);
        self.own.inlets.commands.send(ask).await.ok()?;
        traced.await.ok()
    }
}

/// How links to a neighbour are, in one word.
pub(super) fn health(doubtful: bool) -> String {
    if doubtful { "doubtful" } else { "good" }.to_owned()
}

pub(super) fn fractional_millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn places(locations: &[Location]) -> Vec<PlaceStatus> {
    locations.iter().filter_map(PlaceStatus::of).collect()
}

const fn unanswered(why: OpenFailure, message: String) -> Unanswered {
    Unanswered { why, message }
}

fn stopping() -> Unanswered {
    unanswered(OpenFailure::General, "the daemon is stopping".to_owned())
}
