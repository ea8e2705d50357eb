//! The table of local connections (paper, section II-C-3).
//!
//! The paper's key is the application's source port. A port alone is not unique, so the key is the
//! local number of the session and the channel id, whose low bits are that port (design 6). The core
//! thread writes the table; control reads it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use dashmap::DashMap;

use crate::core::ChannelKey;
use crate::lcm::stream::Stream;
use crate::session::ResetCode;
use crate::wire::failure::OpenFailure;

/// What has become of a connection's channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The far side has not answered.
    Opening,
    /// Bytes flow.
    Open,
    /// It could not be opened.
    Failed(OpenFailure),
    /// It was cut, for this reason.
    Cut(ResetCode),
    /// It has ended cleanly.
    Closed,
}

/// A local connection.
#[derive(Debug)]
pub struct Connection {
    /// Its stream.
    pub stream: Stream,
    fate: Mutex<Fate>,
    /// The channel was open at some time, whatever has become of it.
    opened: AtomicBool,
    /// Bytes from the far side may go straight to the stream: nothing waits before them.
    direct: AtomicBool,
    waker: Mutex<Option<Waker>>,
    delivered: AtomicU64,
}

impl Connection {
    /// A connection whose channel is in the given state.
    pub const fn new(stream: Stream, fate: Fate) -> Self {
        Self {
            stream,
            opened: AtomicBool::new(matches!(fate, Fate::Open)),
            fate: Mutex::new(fate),
            direct: AtomicBool::new(false),
            waker: Mutex::new(None),
            delivered: AtomicU64::new(0),
        }
    }

    /// What has become of its channel.
    pub fn fate(&self) -> Fate {
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what has become of its channel and wakes its pump.
    pub fn decide(&self, fate: Fate) {
        if fate == Fate::Open {
            self.opened.store(true, Ordering::Relaxed);
        }
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = fate;
        self.wake();
    }

    /// Whether the far side has opened the channel, even if it was cut since.
    pub fn was_opened(&self) -> bool {
        self.opened.load(Ordering::Relaxed)
    }

    /// Lets bytes of the far side go straight to the stream.
    pub fn set_direct(&self) {
        self.direct.store(true, Ordering::Relaxed);
    }

    /// Remembers whom to wake.
    pub fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Wakes the pump.
    pub fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waker.as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Offers bytes of the far side to the stream; says how many it took.
    fn offer(&self, bytes: &[u8]) -> usize {
        if !self.direct.load(Ordering::Relaxed) {
            return 0;
        }
        // A failing stream shows its error to the pump.
        let count = self.stream.try_write(bytes).unwrap_or(0);
        self.delivered.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// Bytes that went straight to the stream.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
}

/// The table. No guard of it lives across an await.
#[derive(Clone, Debug, Default)]
pub struct Table(Arc<DashMap<ChannelKey, Arc<Connection>>>, Arc<AtomicUsize>);

impl Table {
    /// Enters a connection.
    pub fn insert(&self, key: ChannelKey, connection: Arc<Connection>) {
        self.0.insert(key, connection);
    }

    /// The connection of a channel.
    pub fn get(&self, key: ChannelKey) -> Option<Arc<Connection>> {
        self.0.get(&key).map(|entry| Arc::clone(entry.value()))
    }

    /// Removes a connection.
    pub fn remove(&self, key: ChannelKey) -> Option<Arc<Connection>> {
        self.0.remove(&key).map(|(_, connection)| connection)
    }

    /// Notes how many connections wait for a channel.
    pub fn set_waiting(&self, waiting: usize) {
        self.1.store(waiting, Ordering::Relaxed);
    }

    /// Whether no connection is open or waits: nobody would notice a missing link.
    pub fn is_idle(&self) -> bool {
        self.0.is_empty() && self.1.load(Ordering::Relaxed) == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl crate::core::Deliver for Table {
    fn deliver(&mut self, key: ChannelKey, bytes: &[u8]) -> usize {
        self.0
            .get(&key)
            .map_or(0, |connection| connection.offer(bytes))
    }
}
