//! What must hold of two sessions in every state (PROTOCOL 8; security 3.3).

use std::collections::BTreeMap;

use crate::limits::OPENED_RANGES_MAX;
use crate::session::Audit;
use crate::ssm::schedule::Pair;

/// Pairs of which a session may remember packets: the one before, the live one, the next one.
const PAIRS_MAX: usize = 3;

/// What was seen of one side.
#[derive(Debug, Default)]
struct Past {
    last: Option<Audit>,
    /// Last packet number of each pair that it sealed under.
    sealed: BTreeMap<Pair, u64>,
}

/// Watches two sessions that belong together.
#[derive(Debug, Default)]
pub(super) struct Watch {
    past: [Past; 2],
}

impl Watch {
    /// A packet was sealed: its pair must be held, and its number new (invariant 4, I3).
    pub(super) fn sealed(&mut self, side: usize, pair: Pair, number: u64) -> Result<(), String> {
        let past = &mut self.past[side];
        let last = past.sealed.insert(pair, number);
        if last.is_some_and(|last| last >= number) {
            return Err(format!(
                "{side} sealed no. {number} of {pair:?} behind {last:?}"
            ));
        }
        Ok(())
    }

    /// Looks at both sides after a step; a side that has no session is left out.
    pub(super) fn check(&mut self, now: [Option<Audit>; 2]) -> Result<(), String> {
        for (side, audit) in now.iter().enumerate() {
            let before = std::mem::replace(&mut self.past[side].last, *audit);
            let Some(audit) = audit else { continue };
            alone(audit).map_err(|what| format!("{what} at {side}: {audit:?}"))?;
            if let Some(before) = before {
                moved(&before, audit)
                    .map_err(|what| format!("{what} at {side}: {before:?} {audit:?}"))?;
            }
        }
        for (end, peer) in [(0, 1), (1, 0)] {
            if let (Some(end_audit), Some(peer_audit)) = (&now[end], &now[peer]) {
                self.together((end, end_audit), peer_audit)
                    .map_err(|what| format!("{what}: {end_audit:?} {peer_audit:?}"))?;
            }
        }
        Ok(())
    }

    /// Invariants 1 and 6.
    fn together(&self, end: (usize, &Audit), peer: &Audit) -> Result<(), &'static str> {
        let (side, end) = end;
        if peer.peer > end.own || peer.peer + 1 < end.own {
            return Err("numbers more than one apart");
        }
        let sealed_max = self.past[side].sealed.keys().next_back();
        let (Some(live), Some(theirs), Some(sealed_max)) = (end.live, peer.live, sealed_max) else {
            return Ok(());
        };
        let ahead = *sealed_max > live;
        let behind = theirs.a > live.a || theirs.b > live.b;
        if !ahead && behind && theirs != live && peer.next != live {
            return Err("live side cut");
        }
        Ok(())
    }
}

/// What one side shows by itself: invariant 2, and that nothing it keeps grows.
fn alone(audit: &Audit) -> Result<(), String> {
    if let Some(what) = audit.broken {
        return Err(what.to_owned());
    }
    if audit.pairs > PAIRS_MAX {
        return Err(format!("{} pairs remembered", audit.pairs));
    }
    if audit.opened > OPENED_RANGES_MAX {
        return Err(format!("{} ranges of channels remembered", audit.opened));
    }
    Ok(())
}

/// Numbers and pairs only rise (I5), and an erased pair stays behind (invariant 5).
fn moved(before: &Audit, now: &Audit) -> Result<(), &'static str> {
    let grows = |old: Pair, new: Pair| old.a <= new.a && old.b <= new.b;
    if !grows(before.next, now.next) {
        return Err("the next pair fell");
    }
    if let (Some(old), Some(new)) = (before.live, now.live)
        && !grows(old, new)
    {
        return Err("the live pair fell");
    }
    let held = [before.live, Some(before.next)];
    let erased = held.into_iter().flatten();
    let readable = erased
        .filter(|pair| now.live != Some(*pair) && now.next != *pair)
        .any(|pair| pair.a >= now.next.a && pair.b >= now.next.b);
    if readable {
        return Err("erased keys can be derived again");
    }
    Ok(())
}
