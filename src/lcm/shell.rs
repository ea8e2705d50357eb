//! The core and its surroundings on the core thread: every call goes through [`Shell::with`], which
//! hands out what the call left behind.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use tokio::sync::Notify;

use crate::cloak::neighbours::Link;
use crate::core::{Core, Event};
use crate::lcm::table::{Fate, Table};
use crate::net::clock::Clock;
use crate::time::Time;

/// What lives on the core thread.
#[derive(Debug)]
pub struct Shell {
    core: RefCell<Core>,
    clock: Clock,
    table: Table,
    events: RefCell<VecDeque<Event>>,
    has_events: Notify,
    links: RefCell<BTreeMap<Link, Rc<Notify>>>,
    armed: Cell<Time>,
    rearm: Notify,
}

impl Shell {
    /// Surrounds a core.
    pub fn new(core: Core, clock: Clock, table: Table) -> Self {
        Self {
            core: RefCell::new(core),
            clock,
            table,
            events: RefCell::default(),
            has_events: Notify::new(),
            links: RefCell::default(),
            armed: Cell::new(Time::NEVER),
            rearm: Notify::new(),
        }
    }

    /// The table of connections.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// The clock.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Runs `call` on the core at the present time and hands out what it left behind: events to
    /// connections and to the engine, wake-ups to links, a new deadline to the timer.
    pub fn with<R>(&self, call: impl FnOnce(&mut Core, Time) -> R) -> R {
        let now = self.clock.now();
        let mut core = self.core.borrow_mut();
        let result = call(&mut core, now);
        core.flush(now);
        while let Some(event) = core.poll_event() {
            self.dispatch(event);
        }
        while let Some(link) = core.poll_hot() {
            if let Some(notify) = self.links.borrow().get(&link) {
                notify.notify_one();
            }
        }
        let due = core.poll_timeout();
        if due < self.armed.get() {
            self.armed.set(due);
            self.rearm.notify_one();
        }
        result
    }

    /// Events about a running connection go to it, all others to the engine.
    fn dispatch(&self, event: Event) {
        let fate = match event {
            Event::Woken(key) => {
                if let Some(connection) = self.table.get(key) {
                    connection.wake();
                }
                return;
            }
            Event::Opened(key) => (key, Fate::Open),
            Event::OpenFailed(key, why) => (key, Fate::Failed(why)),
            Event::Reset(key, code) => (key, Fate::Cut(code)),
            Event::Closed(key) => (key, Fate::Closed),
            other => {
                self.events.borrow_mut().push_back(other);
                self.has_events.notify_one();
                return;
            }
        };
        let (key, fate) = fate;
        if let Some(connection) = self.table.get(key) {
            connection.decide(fate);
        } else {
            // The service behind the channel is not connected yet: the engine has to know.
            self.events.borrow_mut().push_back(event);
            self.has_events.notify_one();
        }
    }

    /// The next event for the engine.
    pub async fn event(&self) -> Event {
        loop {
            let event = self.events.borrow_mut().pop_front();
            match event {
                Some(event) => return event,
                None => self.has_events.notified().await,
            }
        }
    }

    /// Registers a link's writer; it is notified whenever the link has something to send.
    pub fn add_link(&self, link: Link) -> Rc<Notify> {
        let notify = Rc::new(Notify::new());
        self.links.borrow_mut().insert(link, Rc::clone(&notify));
        notify.notify_one();
        notify
    }

    /// Forgets a link's writer.
    pub fn remove_link(&self, link: Link) {
        self.links.borrow_mut().remove(&link);
    }

    /// Runs the core's timers, for ever.
    pub async fn run_timers(&self) {
        loop {
            let due = self.with(|core, _| core.poll_timeout());
            self.armed.set(due);
            let sleep = tokio::time::sleep_until(self.clock.instant(due));
            tokio::select! {
                () = sleep => self.with(|core, now| core.handle_timeout(now)),
                () = self.rearm.notified() => {}
            }
        }
    }
}
