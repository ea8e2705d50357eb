//! What waits for a link to take it, beside packets and frames of others.
//!
//! Others cause much of it, so it is bounded, and nothing that must arrive is lost at the bound. Messages of the
//! directory, notices and signals go first, the oldest of them: whoever misses one asks again, or says it again.
//! Of PONGs only the last one waits: it answers them all. What the tree says is never said twice, so others never
//! push it out; where the tree itself says too much, it tells the neighbour everything anew ([`Outbox::take_gap`]).

use std::collections::VecDeque;

use crate::cloak::overlay::is_of_tree;
use crate::limits::{LINK_OUTBOX_MAX, RELAY_FRAME_COST};
use crate::wire::link::Route;

/// A message that waits for a link to take it.
#[derive(Debug)]
pub(in crate::core) enum Message {
    Ping(u64),
    Pong(u64),
    Signal(Route, Vec<u8>),
    Overlay(Vec<u8>),
}

impl Message {
    /// Whether nobody would send it again.
    fn is_kept(&self) -> bool {
        match self {
            Self::Ping(_) | Self::Pong(_) => true,
            Self::Overlay(message) => is_of_tree(message),
            Self::Signal(..) => false,
        }
    }

    /// What it is charged with.
    fn cost(&self) -> usize {
        RELAY_FRAME_COST
            + match self {
                Self::Ping(_) | Self::Pong(_) => 0,
                Self::Signal(_, message) | Self::Overlay(message) => message.len(),
            }
    }
}

/// The messages that wait for one link, the oldest first.
#[derive(Debug, Default)]
pub(in crate::core) struct Outbox {
    messages: VecDeque<Message>,
    cost: usize,
    /// Messages of the tree, or of the link itself, were lost.
    gap: bool,
}

impl Outbox {
    pub(in crate::core) fn push(&mut self, message: Message) {
        if matches!(message, Message::Pong(_)) {
            self.retain(|old| !matches!(old, Message::Pong(_)));
        }
        let cost = message.cost();
        while self.cost + cost > LINK_OUTBOX_MAX {
            let first = self.messages.iter().position(|old| !old.is_kept());
            if first.is_none() && !message.is_kept() {
                return;
            }
            self.gap |= first.is_none();
            let Some(gone) = self.messages.remove(first.unwrap_or(0)) else {
                break;
            };
            self.cost -= gone.cost();
        }
        self.cost += cost;
        self.messages.push_back(message);
    }

    pub(in crate::core) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.cost -= message.cost();
        Some(message)
    }

    pub(in crate::core) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether the neighbour has to be told everything anew, since this was last asked.
    pub(in crate::core) const fn take_gap(&mut self) -> bool {
        std::mem::replace(&mut self.gap, false)
    }

    /// Takes out what is not to be sent.
    pub(in crate::core) fn retain(&mut self, keep: impl FnMut(&Message) -> bool) {
        self.messages.retain(keep);
        self.cost = self.messages.iter().map(Message::cost).sum();
    }

    #[cfg(test)]
    pub(in crate::core) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tag::Tag;

    fn bytes(outbox: &Outbox) -> usize {
        outbox.iter().map(Message::cost).sum()
    }

    fn is_ping(message: &Message) -> bool {
        matches!(message, Message::Ping(_))
    }

    #[test]
    fn what_others_cause_fills_no_more_than_the_bound_and_pushes_nothing_of_the_tree_out() {
        let mut outbox = Outbox::default();
        let route = Route::neighbour(Tag([1; 8]), Tag([2; 8]));
        outbox.push(Message::Overlay(vec![1, 77]));
        outbox.push(Message::Ping(5));
        for round in 0..1_000 {
            outbox.push(Message::Signal(route.clone(), vec![1; 400]));
            outbox.push(Message::Overlay(vec![40; 4_000 - round]));
            outbox.push(Message::Pong(round as u64));
            assert!(bytes(&outbox) <= LINK_OUTBOX_MAX);
            assert_eq!(bytes(&outbox), outbox.cost);
        }
        assert!(bytes(&outbox) > LINK_OUTBOX_MAX - 5_000, "it is used");
        assert!(!outbox.take_gap());
        assert!(matches!(outbox.pop(), Some(Message::Overlay(m)) if m == [1, 77]));
        assert!(outbox.pop().is_some_and(|message| is_ping(&message)));
        let pongs = outbox.iter().filter(|m| matches!(m, Message::Pong(_)));
        assert_eq!(pongs.count(), 1);
        let newest = outbox.iter().last();
        assert!(matches!(newest, Some(Message::Pong(999))));
        while outbox.pop().is_some() {}
        assert_eq!(outbox.cost, 0);
    }

    #[test]
    fn the_tree_that_says_too_much_makes_a_gap_of_its_oldest_and_takes_nothing_for_others() {
        let mut outbox = Outbox::default();
        for round in 0..200 {
            outbox.push(Message::Overlay(vec![1; 1_000 + round]));
            assert!(bytes(&outbox) <= LINK_OUTBOX_MAX);
        }
        let oldest = outbox.iter().next();
        assert!(matches!(oldest, Some(Message::Overlay(m)) if m.len() > 1_000));
        let before = outbox.messages.len();
        outbox.push(Message::Overlay(vec![40; 4_000]));
        assert_eq!(outbox.messages.len(), before);
        assert!(outbox.take_gap() && !outbox.take_gap());
    }
}
