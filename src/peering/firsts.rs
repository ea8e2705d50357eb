//! First messages that were answered: a replay of one is met with silence (R-P1).

use std::collections::{BTreeSet, VecDeque};

use crate::limits::LINK_FIRSTS_MAX;

/// Bytes of a first message that tell it apart: they begin with an ephemeral key.
const MARK_LEN: usize = 16;

/// The newest first messages. All of them stop to open when this node restarts, with a new static key.
#[derive(Debug, Default)]
pub(super) struct Firsts {
    order: VecDeque<[u8; MARK_LEN]>,
    known: BTreeSet<[u8; MARK_LEN]>,
}

impl Firsts {
    /// Notes a message that opened; false when it was noted before.
    pub(super) fn is_new(&mut self, message: &[u8]) -> bool {
        let Some(mark) = message.first_chunk::<MARK_LEN>() else {
            return false;
        };
        if !self.known.insert(*mark) {
            return false;
        }
        self.order.push_back(*mark);
        if self.order.len() > LINK_FIRSTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_and_the_oldest_is_forgotten() {
        let mut firsts = Firsts::default();
        let message = |number: usize| {
            let mut out = [0; 32];
            out[..8].copy_from_slice(&number.to_be_bytes());
            out
        };
        assert!(!firsts.is_new(&[0; 3]));
        for number in 0..=LINK_FIRSTS_MAX {
            assert!(firsts.is_new(&message(number)));
            assert!(!firsts.is_new(&message(number)));
        }
        assert!(firsts.is_new(&message(0)));
        assert_eq!(firsts.order.len(), firsts.known.len());
    }
}
