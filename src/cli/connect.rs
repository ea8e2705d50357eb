//! `muses connect`: stdin and stdout as a channel, for ssh's `ProxyCommand` (R-F9).
//!
//! The two directions end on their own. The end of stdin becomes a FIN; the end of the channel's
//! bytes closes stdout while stdin is still read. The program is over when the channel's bytes have
//! ended *and* the daemon has told how the channel ended, since only that tells whether every byte
//! arrived. ssh does not wait for that: it closes both pipes and sends SIGHUP, upon which whatever
//! stdin still holds is sent and properly ended. A program that is killed otherwise has its channel
//! reset.

use std::{
    io::Write,
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    runtime::Builder,
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::timeout,
};

use crate::cli::exit::{Exit, Failure};
use crate::cli::harden;
use crate::cli::pump::{self, PumpEnd};
use crate::cli::setup;
use crate::control::client::{self, Pipe};
use crate::control::protocol::{Notice, Outcome, REQUEST_BYTES_MAX, Response, line};
use crate::wire::target::Host;

/// How long stdin may still give bytes after SIGHUP. Chosen: ssh has closed it by then.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What happened to one direction.
enum Event {
    /// stdin to the channel.
    Input(PumpEnd),
    /// The channel to stdout.
    Output(PumpEnd),
}

/// Joins stdin and stdout to a channel until both are over.
pub(super) fn connect(asked: Option<&Path>, host: &Host, port: u16) -> Result<Exit, Failure> {
    harden::process();
    let places = setup::control_places(asked)?;
    let host = host.to_string();
    let pipe = client::connect(&places, &host, port)
        .map_err(Failure::from)
        .map_err(|f| Failure::new(f.exit, format!("{host}:{port}: {}", f.message)))?;
    join(pipe).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?
}

fn join(pipe: Pipe) -> std::io::Result<Result<Exit, Failure>> {
    let stream = Arc::new(pipe.stream);
    let (events, arrivals) = mpsc::channel(2);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let hang_up = signal(SignalKind::hangup())?;
    // Copies, so that stdout can be closed for good.
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    let output = std::io::stdout().as_fd().try_clone_to_owned()?;
    start_pumps(&stream, input, output, &events)?;
    let helper = Helper {
        stream,
        told: pipe.control.try_clone()?,
    };
    pipe.control.set_nonblocking(true)?;
    let control = tokio::net::UnixStream::from_std(pipe.control)?;
    Ok(runtime.block_on(helper.wait(control, pipe.rest, arrivals, hang_up)))
}

/// Threads rather than tasks: stdin and stdout may be files or terminals, which have no readiness.
fn start_pumps(
    stream: &Arc<UnixStream>,
    input: OwnedFd,
    output: OwnedFd,
    events: &mpsc::Sender<Event>,
) -> std::io::Result<()> {
    let (channel, report) = (Arc::clone(stream), events.clone());
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let end = pump::copy(&input, &*channel);
            if matches!(end, PumpEnd::Finished) {
                // An error means that the channel is gone, which the daemon reports.
                let _ = channel.shutdown(Shutdown::Write);
            }
            // Nobody listens any more when the program is ending.
            let _ = report.blocking_send(Event::Input(end));
        })?;
    let (channel, report) = (Arc::clone(stream), events.clone());
    thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            let end = pump::copy(&*channel, &output);
            if matches!(end, PumpEnd::Finished) {
                pump::close_stdout(output);
            }
            // As above.
            let _ = report.blocking_send(Event::Output(end));
        })?;
    Ok(())
}

struct Helper {
    stream: Arc<UnixStream>,
    /// Where notices to the daemon go.
    told: UnixStream,
}

impl Helper {
    async fn wait(
        mut self,
        control: tokio::net::UnixStream,
        rest: Vec<u8>,
        mut arrivals: mpsc::Receiver<Event>,
        mut hang_up: Signal,
    ) -> Result<Exit, Failure> {
        let mut ending = std::pin::pin!(ending(control, rest));
        let (mut outcome, mut output_over, mut input_over) = (None, false, false);
        loop {
            if let (Some(outcome), true) = (outcome, output_over) {
                return finish(outcome);
            }
            select! {
                Some(event) = arrivals.recv() => match event {
                    Event::Input(end) => {
                        input_over = true;
                        self.input_ended(end)?;
                    }
                    Event::Output(PumpEnd::WriteFailed(e)) => {
                        return Err(Failure::new(Exit::Failed, format!("stdout: {e}")));
                    }
                    // A read error is a reset; the daemon tells.
                    Event::Output(PumpEnd::Finished | PumpEnd::ReadFailed(_)) => output_over = true,
                },
                told = &mut ending, if outcome.is_none() => outcome = Some(told),
                _ = hang_up.recv() => {
                    self.last_words(&mut arrivals, input_over).await;
                    return Ok(Exit::HungUp);
                }
            }
        }
    }

    fn input_ended(&mut self, end: PumpEnd) -> Result<(), Failure> {
        match end {
            PumpEnd::Finished => self.say_eof(),
            PumpEnd::ReadFailed(e) => {
                return Err(Failure::new(Exit::Failed, format!("stdin: {e}")));
            }
            // The channel takes nothing more; how it ended, the daemon tells.
            PumpEnd::WriteFailed(_) => {}
        }
        Ok(())
    }

    fn say_eof(&mut self) {
        // The socket does not block and has room for sixteen bytes; a daemon that is gone has
        // closed it, which is noticed elsewhere.
        let _ = self.told.write_all(&line(&Notice::Eof(true)));
    }

    /// Sends what stdin holds and ends it properly.
    async fn last_words(&mut self, arrivals: &mut mpsc::Receiver<Event>, input_said: bool) {
        if input_said {
            return;
        }
        let wait = async { while let Some(Event::Output(_)) = arrivals.recv().await {} };
        // Who keeps stdin open after SIGHUP has had its time.
        let _ = timeout(LAST_WORDS, wait).await;
        let _ = self.stream.shutdown(Shutdown::Write);
        self.say_eof();
    }
}

fn finish(outcome: Option<Outcome>) -> Result<Exit, Failure> {
    match outcome {
        Some(Outcome::Clean) => Ok(Exit::Clean),
        Some(Outcome::Cut) => Err(Failure::new(Exit::Cut, "the connection was cut")),
        None => Err(Failure::new(
            Exit::Cut,
            "the daemon is gone, and the connection with it",
        )),
    }
}

/// How the channel ended; `None` when the daemon did not say.
async fn ending(control: tokio::net::UnixStream, rest: Vec<u8>) -> Option<Outcome> {
    let limit = REQUEST_BYTES_MAX as u64;
    let mut reader = BufReader::new(rest.chain(control).take(limit));
    let mut text = String::new();
    reader.read_line(&mut text).await.ok()?;
    match serde_json::from_str(&text) {
        Ok(Response::Ended(outcome)) => Some(outcome),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(rest: &[u8], text: &[u8]) -> Option<Outcome> {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(text).unwrap();
        drop(ours);
        theirs.set_nonblocking(true).unwrap();
        let theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
        ending(theirs, rest.to_vec()).await
    }

    #[tokio::test]
    async fn the_ending_is_read_across_pieces_and_silence_is_none() {
        assert_eq!(
            told(b"", b"{\"ended\":\"clean\"}\n").await,
            Some(Outcome::Clean)
        );
        assert_eq!(
            told(b"{\"ended\":", b"\"cut\"}\n").await,
            Some(Outcome::Cut)
        );
        assert_eq!(
            told(b"{\"ended\":\"clean\"}\n", b"").await,
            Some(Outcome::Clean)
        );
        assert_eq!(told(b"", b"").await, None);
        assert_eq!(told(b"", b"{\"killed\":true}\n").await, None);
    }

    #[test]
    fn only_a_clean_ending_is_a_success() {
        assert_eq!(finish(Some(Outcome::Clean)).unwrap(), Exit::Clean);
        assert_eq!(finish(Some(Outcome::Cut)).unwrap_err().exit, Exit::Cut);
        assert_eq!(finish(None).unwrap_err().exit, Exit::Cut);
    }
}
