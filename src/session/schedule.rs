//! Whose bytes go next: deficit round robin in which a channel that was quiet goes first, so a
//! keystroke never waits behind a transfer (design 5).

use std::collections::VecDeque;

use crate::session::channel::{Channel, Listed};
use crate::wire::frame::ChannelId;

/// Bytes a channel may send per turn.
const QUANTUM: i64 = 16 << 10;

/// Channels with bytes to send.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    new: VecDeque<ChannelId>,
    old: VecDeque<ChannelId>,
}

impl Schedule {
    /// Lists a channel if it has bytes to send and is not listed yet.
    pub(super) fn list(&mut self, id: ChannelId, channel: &mut Channel) {
        if channel.listed == Listed::No && channel.is_sendable() {
            channel.listed = Listed::New;
            channel.deficit = QUANTUM;
            self.new.push_back(id);
        }
    }

    /// Whether some channel is listed.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }

    /// Takes the channel whose turn it is off its list.
    pub(super) fn next(&mut self) -> Option<ChannelId> {
        self.new.pop_front().or_else(|| self.old.pop_front())
    }

    /// Whether the channel just taken has to wait for its next turn; if so it is listed again.
    pub(super) fn defers(&mut self, id: ChannelId, channel: &mut Channel) -> bool {
        if channel.deficit > 0 {
            return false;
        }
        channel.deficit += QUANTUM;
        channel.listed = Listed::Old;
        self.old.push_back(id);
        true
    }

    /// Accounts for `bytes` of the channel just taken and lists it again if it has more.
    pub(super) fn sent(&mut self, id: ChannelId, channel: &mut Channel, bytes: usize) {
        channel.deficit -= i64::try_from(bytes).unwrap_or(i64::MAX);
        if !channel.is_sendable() {
            channel.listed = Listed::No;
        } else if channel.deficit > 0 && channel.listed == Listed::New {
            self.new.push_front(id);
        } else {
            channel.listed = Listed::Old;
            self.old.push_back(id);
        }
    }
}
