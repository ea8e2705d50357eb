//! Connections of applications and services: finding them a channel, or a channel its connection.

use std::rc::Rc;
use std::sync::Arc;

use crate::core::{ChannelKey, Ticket};
use crate::engine::{Loop, Served};
use crate::lcm::local::{Answer, LocalConnection};
use crate::lcm::pump::{Moved, Pump};
use crate::lcm::stream::Stream;
use crate::lcm::table::{Connection, Fate};
use crate::wire::failure::OpenFailure;

/// A connection whose request waits for a path.
pub(super) struct Waiting {
    stream: Stream,
    early: Vec<u8>,
    answer: Answer,
}

impl Loop {
    /// An application's connection arrived.
    pub(super) fn local(&self, local: LocalConnection) {
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
        // Events are handed out after the call, so the ticket is known before its answer comes.
        let ticket = self
            .shell
            .with(|core, now| core.request(via, target, port, now));
        let mut waiting = self.waiting.borrow_mut();
        waiting.insert(
            ticket,
            Waiting {
                stream,
                early,
                answer,
            },
        );
        self.shell.table().set_waiting(waiting.len());
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
        claimed
    }

    pub(super) fn assigned(self: &Rc<Self>, ticket: Ticket, key: ChannelKey) {
        let Some(waiting) = self.claim(ticket) else {
            return;
        };
        let Waiting {
            stream,
            early,
            answer,
        } = waiting;
        // What has become of the channel meanwhile comes behind this event, in order.
        let fate = Fate::Opening;
        self.start_pump(key, stream, fate, early, answer);
    }

    fn start_pump(
        &self,
        key: ChannelKey,
        stream: Stream,
        fate: Fate,
        early: Vec<u8>,
        answer: Answer,
    ) {
        let connection = Arc::new(Connection::new(stream, fate));
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
        match waiting.answer {
            Answer::Silent => waiting.stream.reset_on_close(),
            Answer::Bytes { failure, .. } => {
                let said = waiting.stream.try_write(&failure(why));
                let shut = waiting.stream.shut_write();
                if said.is_err() || shut.is_err() {
                    waiting.stream.reset_on_close();
                }
            }
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
                (served.ended)(Moved::default());
                return;
            }
            Err(why) => {
                self.shell.with(|core, now| core.answer(key, Err(why), now));
                return;
            }
        };
        let Served { stream, ended, .. } = served;
        let stream = match Stream::register(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a service's connection cannot be watched");
                self.shell
                    .with(|core, now| core.answer(key, Err(OpenFailure::Limit), now));
                ended(Moved::default());
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
