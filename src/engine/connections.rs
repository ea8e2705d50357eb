//! Connections of applications and services: finding them a channel, or a channel its connection.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::AbortHandle;

use crate::core::{ChannelKey, Ticket};
use crate::engine::{Loop, Served};
use crate::lcm::local::{Answer, LocalConnection};
use crate::lcm::pump::{Moved, Pump};
use crate::lcm::stream::Stream;
use crate::lcm::table::{Connection, Fate};
use crate::session::ResetCode;
use crate::wire::failure::OpenFailure;

/// A connection whose request waits for a path.
pub(super) struct Waiting {
    connection: Arc<Connection>,
    early: Vec<u8>,
    answer: Answer,
    /// Watches for an application that gives up; there is none for a request that need not wait.
    watch: Option<AbortHandle>,
}

impl Loop {
    /// An application's connection arrived.
    pub(super) fn local(self: &Rc<Self>, local: LocalConnection) {
        let LocalConnection {
            stream,
            early,
            port,
            via,
            target,
            answer,
        } = local;
        let stream = match Stream::register(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be watched");
                return;
            }
        };
        let connection = Arc::new(Connection::new(stream, Fate::Opening));
        // Events are handed out after the call, so the ticket is known before its answer comes.
        let (ticket, waits) = self.shell.with(|core, now| {
            let ticket = core.request(via, target, port, now);
            (ticket, core.is_waiting(ticket))
        });
        let watch = waits.then(|| {
            let watch = Rc::clone(self).watch(ticket, Arc::clone(&connection));
            tokio::task::spawn_local(watch).abort_handle()
        });
        let mut waiting = self.waiting.borrow_mut();
        waiting.insert(
            ticket,
            Waiting {
                connection,
                early,
                answer,
                watch,
            },
        );
        self.shell.table().set_waiting(waiting.len());
    }

    /// Withdraws a waiting request whose application has reset its connection, or whose asker is gone
    /// (R-F8).
    async fn watch(self: Rc<Self>, ticket: Ticket, connection: Arc<Connection>) {
        let asker = poll_fn(|cx| {
            match self
                .waiting
                .borrow_mut()
                .get_mut(&ticket)
                .map(|w| &mut w.answer)
            {
                Some(Answer::Report { opened, .. }) => opened.poll_closed(cx),
                Some(Answer::Silent | Answer::Bytes { .. }) | None => Poll::Pending,
            }
        });
        tokio::select! {
            () = connection.stream.failed() => {}
            () = asker => {}
        }
        self.shell.with(|core, _| core.withdraw(ticket));
        if let Some(waiting) = self.claim(ticket) {
            waiting.connection.stream.reset_on_close();
        }
    }

    /// Something became of a channel before its connection stood in the table.
    pub(super) fn late(&self, key: ChannelKey, fate: Fate) {
        if let Some(connection) = self.shell.table().get(key) {
            connection.decide(fate);
        } else if fate != Fate::Open {
            self.incoming.borrow_mut().remove(&key);
        }
    }

    /// A request no longer waits.
    fn claim(&self, ticket: Ticket) -> Option<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        let claimed = waiting.remove(&ticket);
        self.shell.table().set_waiting(waiting.len());
        if let Some(watch) = claimed.as_ref().and_then(|claimed| claimed.watch.as_ref()) {
            watch.abort();
        }
        claimed
    }

    pub(super) fn assigned(self: &Rc<Self>, ticket: Ticket, key: ChannelKey) {
        let Some(waiting) = self.claim(ticket) else {
            // The application gave up in the moment in which its channel was found.
            self.shell.with(|core, now| {
                core.kill_channel(key, ResetCode::Connection, now);
            });
            return;
        };
        let Waiting {
            connection,
            early,
            answer,
            ..
        } = waiting;
        // What has become of the channel meanwhile comes behind this event, in order.
        self.shell.table().insert(key, Arc::clone(&connection));
        let pump = Pump::new(Rc::clone(&self.shell), connection, key, early);
        drop(tokio::task::spawn_local(async move {
            pump.run(answer).await;
        }));
    }

    /// No path was found for an application's connection.
    pub(super) fn unassigned(&self, ticket: Ticket, why: OpenFailure) {
        let Some(waiting) = self.claim(ticket) else {
            return;
        };
        let stream = &waiting.connection.stream;
        match waiting.answer {
            Answer::Silent => stream.reset_on_close(),
            Answer::Bytes { failure, .. } => stream.farewell(&failure(why)),
            Answer::Report { opened, .. } => {
                // The asker may have gone away.
                let _gone = opened.send(Err(why));
            }
        }
    }

    /// The forwarder has connected a service for an incoming channel, or could not.
    pub(super) fn served(self: &Rc<Self>, key: ChannelKey, result: Result<Served, OpenFailure>) {
        let wanted = self.incoming.borrow_mut().remove(&key).is_some();
        let exists = wanted && self.shell.with(|core, _| core.has_channel(key));
        let served = match result {
            Ok(served) if exists => served,
            Ok(served) => {
                (served.ended)(Moved::nothing(ResetCode::Connection));
                return;
            }
            Err(why) => {
                self.shell.with(|core, now| core.answer(key, Err(why), now));
                return;
            }
        };
        let Served { stream, ended } = served;
        let Some(stream) = stream else {
            self.shell.with(|core, now| {
                core.answer(key, Ok(()), now);
                core.kill_channel(key, ResetCode::Connection, now);
            });
            ended(Moved::nothing(ResetCode::Connection));
            return;
        };
        let stream = match Stream::register(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a service's connection cannot be watched");
                self.shell
                    .with(|core, now| core.answer(key, Err(OpenFailure::Limit), now));
                ended(Moved::nothing(ResetCode::Connection));
                return;
            }
        };
        let connection = Arc::new(Connection::new(stream, Fate::Open));
        self.shell.table().insert(key, Arc::clone(&connection));
        self.shell.with(|core, now| core.answer(key, Ok(()), now));
        let pump = Pump::new(Rc::clone(&self.shell), connection, key, Vec::new());
        drop(tokio::task::spawn_local(async move {
            ended(pump.run(Answer::Silent).await)
        }));
    }
}
