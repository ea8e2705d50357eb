//! Which of two trees, or two roots of one tree, the nodes of both belong to.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use crate::wire::tree::Charter;

/// Which term of which root of which tree a charter is of.
pub(super) type Reign = (u64, u64, [u8; 32]);

pub(super) const fn reign(charter: &Charter) -> Reign {
    (charter.tree, charter.term, charter.root)
}

/// Whether two charters are of the same root in the same term.
pub(super) fn same(a: &Charter, b: &Charter) -> bool {
    reign(a) == reign(b)
}

/// Whether the root of `a` took the place of that of `b`, or of their common predecessor before it.
fn succeeds(a: &Charter, b: &Charter) -> bool {
    let Some(before) = &a.predecessor else {
        return false;
    };
    let by = |other: &Arc<Charter>| same(before, other);
    a.tree == b.tree
        && a.term > b.term
        && (same(before, b) || b.predecessor.as_ref().is_some_and(by))
}

/// Orders two charters; the greater one wins. A successor wins over whom it succeeds. Else the tree wins
/// that is larger, by powers of two, or then older: so a newcomer never disturbs an overlay.
pub(super) fn compare(a: &Charter, b: &Charter) -> Ordering {
    if succeeds(a, b) {
        return Ordering::Greater;
    }
    if succeeds(b, a) {
        return Ordering::Less;
    }
    if same(a, b) {
        return Ordering::Equal;
    }
    let key = |charter: &Charter| {
        let Charter {
            class,
            founded,
            tree,
            term,
            root,
            ..
        } = charter;
        (*class, Reverse(*founded), Reverse(*tree), *term, *root)
    };
    key(a).cmp(&key(b))
}

/// The class of a tree with so many nodes, if it was `class` before: it rises at once and falls late.
pub(super) fn class(nodes: u64, before: u8) -> u8 {
    let exact = u8::try_from(nodes.max(1).ilog2()).unwrap_or(u8::MAX);
    if exact > before || exact.saturating_add(1) < before {
        exact
    } else {
        before
    }
}
