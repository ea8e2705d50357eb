//! One pump per connection: bytes between a local stream and its channel, in both directions.
//!
//! While nothing moves a connection costs its table entry and its task, no buffer: bytes are read
//! straight into the channel's ring and written straight from it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::core::ChannelKey;
use crate::lcm::local::{Answer, Ending};
use crate::lcm::shell::Shell;
use crate::lcm::stream::Stream;
use crate::lcm::table::{Connection, Fate};
use crate::limits::PUMP_TURN;
use crate::session::{ResetCode, Session};
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::frame::ChannelId;

/// A connection and its channel.
#[derive(Debug)]
pub struct Pump {
    shell: Rc<Shell>,
    connection: Arc<Connection>,
    key: ChannelKey,
    /// Bytes of the application that came with its request and are not in the channel yet.
    early: Vec<u8>,
    /// Bytes that go to the application before the far side's.
    greeting: Vec<u8>,
    /// Where the ending is reported; closed when the asker was killed.
    ended: Option<oneshot::Sender<Ending>>,
    app_ended: bool,
    far_ended: bool,
    /// Its fate has been shown to the local stream.
    settled: bool,
    from_local: u64,
    to_local: u64,
}

/// What a pump has moved, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// Bytes read from the local stream.
    pub from_local: u64,
    /// Bytes written to the local stream.
    pub to_local: u64,
    /// What ended the channel.
    pub why: Why,
}

impl Moved {
    /// Nothing: the channel was cut before a byte moved.
    pub const fn nothing(why: ResetCode) -> Self {
        Self {
            from_local: 0,
            to_local: 0,
            why: Why::Cut(why),
        }
    }
}

/// What ended a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Both directions were closed and every byte arrived.
    Clean,
    /// The local stream was reset.
    Local,
    /// The far side has reset it, or it was cut here, or the session is gone.
    Cut(ResetCode),
    /// It was never opened.
    Failed(OpenFailure),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("closed"),
            Self::Local => f.write_str("connection reset here"),
            Self::Cut(code) => code.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl Pump {
    /// A pump for a connection that stands in the table under `key`; `early` are the channel's first
    /// bytes.
    pub const fn new(
        shell: Rc<Shell>,
        connection: Arc<Connection>,
        key: ChannelKey,
        early: Vec<u8>,
    ) -> Self {
        Self {
            shell,
            connection,
            key,
            early,
            greeting: Vec::new(),
            ended: None,
            app_ended: false,
            far_ended: false,
            settled: false,
            from_local: 0,
            to_local: 0,
        }
    }

    /// Runs the connection until both directions are done or it is cut, then takes it from the table.
    /// Dropped before, as when the node stops, it resets the local stream.
    pub async fn run(mut self, answer: Answer) -> Moved {
        let (mut success, failure, mut opened) = match answer {
            Answer::Silent => (Vec::new(), None, None),
            Answer::Bytes { success, failure } => (success, Some(failure), None),
            Answer::Report { opened, ended } => {
                self.ended = Some(ended);
                (Vec::new(), None, Some(opened))
            }
        };
        let mut answered = false;
        let connection = Arc::clone(&self.connection);
        let mut failed = Box::pin(connection.stream.failed());
        let why = poll_fn(|cx| {
            self.connection.register(cx);
            if !answered && self.connection.was_opened() {
                answered = true;
                self.greeting = std::mem::take(&mut success);
                if let Some(opened) = opened.take() {
                    // The asker may have gone away; its stream shows that.
                    let _gone = opened.send(Ok(()));
                }
            }
            // A killed helper is a reset, too, whether or not its stream may be read now (R-F8).
            let killed = self
                .ended
                .as_mut()
                .is_some_and(|ended| ended.poll_closed(cx).is_ready());
            if killed || failed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Why::Local);
            }
            self.step(answered, cx)
        })
        .await;
        drop(failed);
        let ending = self.finish(why);
        self.settled = true;
        if let Why::Failed(why) = why {
            if let Some(failure) = failure {
                self.connection.stream.farewell(&failure(why));
            } else {
                self.connection.stream.reset_on_close();
            }
            if let Some(opened) = opened {
                let _gone = opened.send(Err(why));
            }
        }
        if let Some(ended) = self.ended.take() {
            let _gone = ended.send(ending);
        }
        let to_local = self.to_local + self.connection.delivered();
        Moved {
            from_local: self.from_local,
            to_local,
            why,
        }
    }

    fn finish(&self, why: Why) -> Ending {
        self.shell.table().remove(self.key);
        match why {
            Why::Clean => Ending::Clean,
            Why::Failed(_) => Ending::Cut,
            Why::Cut(_) => {
                self.connection.stream.reset_on_close();
                Ending::Cut
            }
            Why::Local => {
                let key = self.key;
                self.shell.with(|core, _| {
                    if let Some(session) = core.session(key.session) {
                        session.reset(key.channel, ResetCode::Connection);
                    }
                });
                self.connection.stream.reset_on_close();
                Ending::Cut
            }
        }
    }

    /// Moves what can be moved now.
    fn step(&mut self, answered: bool, cx: &mut Context<'_>) -> Poll<Why> {
        match self.connection.fate() {
            Fate::Opening | Fate::Open => {}
            Fate::Failed(why) => return Poll::Ready(Why::Failed(why)),
            Fate::Cut(code) if answered => {
                // The request did succeed, however short the success was.
                let _cut_anyway = self.connection.stream.try_write(&self.greeting);
                return Poll::Ready(Why::Cut(code));
            }
            Fate::Cut(ResetCode::Forbidden) => {
                return Poll::Ready(Why::Failed(OpenFailure::Denied));
            }
            Fate::Cut(_) => return Poll::Ready(Why::Failed(OpenFailure::Cut)),
            // All of our bytes have arrived there, and the application has all of theirs.
            Fate::Closed => {
                let shut = self.far_ended || self.connection.stream.shut_write().is_ok();
                return Poll::Ready(if shut { Why::Clean } else { Why::Local });
            }
        }
        let shell = Rc::clone(&self.shell);
        let number = self.key.session;
        // One call for the whole turn: what it leaves behind is handed out once.
        let turn = shell.with(|core, now| {
            core.session(number)
                .map_or(Ok(0), |session| self.turn(session, answered, now, cx))
        });
        let Ok(turn) = turn else {
            return Poll::Ready(Why::Local);
        };
        if self.app_ended && self.far_ended {
            return Poll::Ready(Why::Clean);
        }
        if turn >= PUMP_TURN {
            // Goes on when whatever else became ready has had its turn.
            let _pending = std::pin::pin!(yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// One turn in both directions; says how many bytes it moved.
    fn turn(
        &mut self,
        session: &mut Session,
        answered: bool,
        now: Time,
        cx: &mut Context<'_>,
    ) -> io::Result<usize> {
        session.seen(self.key.channel);
        let mut turn = 0;
        if self.push_early(session) && !self.app_ended {
            self.read(session, &mut turn, now, cx)?;
        }
        if answered && !self.far_ended {
            self.write(session, &mut turn, now, cx)?;
        }
        Ok(turn)
    }

    /// Puts the bytes that came with the request into the channel; true when none are left.
    fn push_early(&mut self, session: &mut Session) -> bool {
        if !self.early.is_empty() {
            let count = session.push(self.key.channel, &self.early);
            self.early.drain(..count);
        }
        self.early.is_empty()
    }

    /// Application to channel.
    fn read(
        &mut self,
        session: &mut Session,
        turn: &mut usize,
        now: Time,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let channel = self.key.channel;
        let stream = &self.connection.stream;
        while *turn < PUMP_TURN {
            match stream.poll_read_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            let space = session.space(channel, now);
            let room = space.len().min(PUMP_TURN - *turn);
            let Some(space) = space.get_mut(..room).filter(|space| !space.is_empty()) else {
                return Ok(());
            };
            match stream.try_read(space) {
                Ok(0) => {
                    // The end of a killed helper's stream is no end of its user's data.
                    if self.ended.as_ref().is_some_and(oneshot::Sender::is_closed) {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    session.finish(channel);
                    self.app_ended = true;
                    return Ok(());
                }
                Ok(count) => {
                    session.written(channel, count);
                    self.from_local += count as u64;
                    *turn += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Greeting and channel to application.
    fn write(
        &mut self,
        session: &mut Session,
        turn: &mut usize,
        now: Time,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let stream = &self.connection.stream;
        while !self.greeting.is_empty() {
            match stream.poll_write_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready?,
            }
            match stream.try_write(&self.greeting) {
                Ok(count) => {
                    self.greeting.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.connection.set_direct();
        while *turn < PUMP_TURN {
            match drain(session, self.key.channel, stream, now)? {
                Waits::Nothing => return Ok(()),
                Waits::End => {
                    self.far_ended = true;
                    return stream.shut_write();
                }
                Waits::Some(0) => match stream.poll_write_ready(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(ready) => ready?,
                },
                Waits::Some(count) => {
                    self.to_local += count as u64;
                    *turn += count;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if !self.settled {
            self.connection.stream.reset_on_close();
        }
    }
}

/// Writes what waits for the application, as far as the stream takes it.
fn drain(
    session: &mut Session,
    channel: ChannelId,
    stream: &Stream,
    now: Time,
) -> io::Result<Waits> {
    let (first, second) = session.waiting(channel);
    if first.is_empty() {
        let ended = session.is_read_out(channel);
        return Ok(if ended { Waits::End } else { Waits::Nothing });
    }
    let count = match stream.try_write(first) {
        Ok(count) if count == first.len() && !second.is_empty() => {
            count + stream.try_write(second).unwrap_or(0)
        }
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    session.take(channel, count, now);
    Ok(Waits::Some(count))
}

/// What waits for the application.
enum Waits {
    Nothing,
    Some(usize),
    End,
}
