//! A link's socket: reading frames into the core, writing what the core gives.

use std::cell::Cell;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

use crate::cloak::neighbours::Link;
use crate::core::{Core, Joined, LinkEnd};
use crate::engine::{Health, Loop, RunningLink};
use crate::lcm::shell::Shell;
use crate::limits::{
    FRAME_BODY_MAX, FRAME_HEAD_MAX, LINK_BUFFER_LINGER, LINK_READ, LINK_READ_FRAMES, LINK_TURN,
};
use crate::link::frames::FrameOpener;
use crate::link::pace::Pace;
use crate::name::Name;
use crate::net::reading;
use crate::net::seldom::Pass;
use crate::srm::resume::Reason;
use crate::wire::link::LENGTHS_LEN;

/// Room in front of a reading position: one whole frame always fits.
const READ_MIN: usize = LENGTHS_LEN + FRAME_HEAD_MAX + FRAME_BODY_MAX;

/// Why a link's task ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("closed by the neighbour")]
    Eof,
    #[error("another link has taken its place")]
    Replaced,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Link(#[from] LinkEnd),
}

/// How long a buffer stays that is not used: [`LINK_BUFFER_LINGER`] to twice that. One timer serves many
/// waits; a busy link does not touch it.
struct Linger {
    timer: Pin<Box<Sleep>>,
    /// Set by whoever used the buffer.
    used: bool,
}

impl Default for Linger {
    fn default() -> Self {
        let timer = Box::pin(sleep(LINK_BUFFER_LINGER));
        Self { timer, used: false }
    }
}

impl Linger {
    /// Waits until the buffer has not been used for long enough.
    async fn over(&mut self) {
        loop {
            self.timer.as_mut().await;
            self.timer.set(sleep(LINK_BUFFER_LINGER));
            if !mem::take(&mut self.used) {
                return;
            }
        }
    }
}

impl Loop {
    /// A link's handshake is done.
    pub(super) fn link(
        self: &Rc<Self>,
        joined: Joined,
        stream: std::net::TcpStream,
        health: Option<watch::Sender<Health>>,
        early: Option<Vec<u8>>,
    ) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => Rc::new(stream),
            Err(error) => {
                tracing::warn!(%error, "a link cannot be watched");
                return;
            }
        };
        let name = joined.peer;
        let peer = (self.surroundings.show)(name);
        let endpoint = joined.endpoint.clone();
        let direction = if joined.dialled { "out" } else { "in" };
        let number = self.shell.with(|core, now| match &early {
            Some(early) => core.link_asked(joined, early, now),
            None => core.link_up(joined, now),
        });
        let Some(number) = number else {
            self.no_room(name, &endpoint);
            return;
        };
        let label = format!("{number} {peer}");
        let local = stream.local_addr().ok().map(|address| address.ip());
        let released = health.clone();
        let heard = Rc::new(Cell::new(false));
        let (own, first) = (Rc::clone(self), Rc::clone(&heard));
        let task = tokio::task::spawn_local(async move {
            let notify = own.shell.add_link(number);
            let replaced = async {
                match released {
                    Some(health) => health.closed().await,
                    None => std::future::pending().await,
                }
            };
            // Who is not wanted at the other end is let go there behind the handshake, without a word.
            let told = || {
                if first.replace(true) {
                    return;
                }
                own.taken(number);
                if let Some(Pass { held_back }) = own.lines.pass(name) {
                    tracing::info!(
                        link = number,
                        peer,
                        endpoint,
                        direction,
                        held_back,
                        "link up"
                    );
                }
            };
            let broken = tokio::select! {
                () = replaced => Err(Broken::Replaced),
                broken = read(&own.shell, number, &stream, told) => broken,
                broken = write(&own.shell, number, &stream, &notify) => broken,
            };
            let reason = broken
                .err()
                .map_or_else(String::new, |error| error.to_string());
            own.end_link(number, &reason, Reason::CarrierClosed);
        });
        self.links.borrow_mut().insert(
            number,
            RunningLink {
                peer: name,
                task,
                health,
                heard,
                local,
                label,
            },
        );
    }

    /// A link is closed at once that has just been made.
    fn no_room(&self, name: Name, endpoint: &str) {
        if let Some(Pass { held_back }) = self.lines.pass(name) {
            let peer = (self.surroundings.show)(name);
            tracing::warn!(
                peer,
                endpoint,
                held_back,
                "there are too many links, or its certificate is older than one seen: this one is closed"
            );
        }
    }

    /// Something came by a link: the other end takes it.
    fn taken(&self, number: Link) {
        if let Some(running) = self.links.borrow().get(&number) {
            running.report(Health::Good);
        }
    }

    /// The network changed: links from addresses that are gone end at once, all others are asked.
    pub(super) fn network_changed(&self) {
        self.end_orphans();
        self.shell.with(Core::network_changed);
    }

    /// Ends links from addresses that are gone.
    pub(super) fn end_orphans(&self) {
        let orphans: Vec<Link> = self
            .links
            .borrow()
            .iter()
            .filter(|(_, running)| running.local.is_some_and(|local| !is_ours(local)))
            .map(|(number, _)| *number)
            .collect();
        for link in orphans {
            self.end_link(link, "its local address is gone", Reason::AddressChange);
        }
    }

    /// Ends a link, if it still runs; `cause` is what a pause that follows from it is put down to.
    pub(super) fn end_link(&self, number: Link, reason: &str, cause: Reason) {
        let Some(running) = self.links.borrow_mut().remove(&number) else {
            return;
        };
        self.shell.remove_link(number);
        self.shell
            .with(|core, now| core.link_lost(number, cause, now));
        if running.heard.get()
            && let Some(Pass { held_back }) = self.lines.pass(running.peer)
        {
            tracing::info!(link = running.label, reason, held_back, "link down");
        }
        // Whoever dialled may have stopped.
        running.report(Health::Gone);
        running.task.abort();
    }
}

impl RunningLink {
    /// Tells whoever dialled the link how it is.
    pub(super) fn report(&self, health: Health) {
        if let Some(sender) = &self.health {
            sender.send_replace(health);
        }
    }
}

/// Whether this machine has the address: a socket can be bound to it.
fn is_ours(local: IpAddr) -> bool {
    std::net::UdpSocket::bind((local, 0)).is_ok()
}

/// Reads until the link breaks; `told` is called when something has come by it.
async fn read(
    shell: &Shell,
    number: Link,
    stream: &TcpStream,
    told: impl Fn(),
) -> Result<(), Broken> {
    let mut buffer = Vec::new();
    let mut filled = 0;
    let mut linger = Linger::default();
    loop {
        tokio::select! {
            biased;
            ready = stream.readable() => ready?,
            () = linger.over(), if filled == 0 && !buffer.is_empty() => {
                buffer = Vec::new();
                continue;
            }
        }
        linger.used = true;
        if buffer.is_empty() {
            buffer = vec![0; LINK_READ.max(READ_MIN)];
        }
        let room = buffer.get_mut(filled..).unwrap_or_default();
        match reading::try_read(stream, room) {
            Ok(0) => return Err(Broken::Eof),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let read = buffer.get_mut(..filled).unwrap_or_default();
        let used = take(shell, number, read).await?;
        if used > 0 {
            told();
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// Hands what was read to the core, in turns; says how much was whole frames.
async fn take(shell: &Shell, number: Link, read: &mut [u8]) -> Result<usize, Broken> {
    let mut start = 0;
    loop {
        let rest = read.get_mut(start..).unwrap_or_default();
        let (turn, last) = (turn_len(rest), rest.len());
        let frames = rest.get_mut(..turn).unwrap_or_default();
        let mut table = shell.table().clone();
        let used = shell.with(|core, now| core.receive(number, frames, &mut table, now))?;
        start += used;
        let more = turn < last;
        if more || used >= LINK_TURN {
            // Whatever else became ready goes next.
            yield_now().await;
        }
        if !more {
            return Ok(start);
        }
    }
}

/// Bytes of the frames that are taken in one turn; all if there are no more frames than that.
fn turn_len(read: &[u8]) -> usize {
    let mut end = 0;
    for _ in 0..LINK_READ_FRAMES {
        // What is no frame is the core's to judge.
        let Ok(Some(len)) = FrameOpener::frame_len(read.get(end..).unwrap_or_default()) else {
            return read.len();
        };
        end += len;
        if end >= read.len() {
            return read.len();
        }
    }
    end
}

async fn write(
    shell: &Shell,
    number: Link,
    stream: &TcpStream,
    wake: &Notify,
) -> Result<(), Broken> {
    let mut buffer = Vec::new();
    let mut pace = Pace::default();
    let mut backlog = 0;
    let mut linger = Linger::default();
    loop {
        if backlog / 2 > pace.backlog() || backlog < pace.backlog() {
            backlog = pace.backlog();
            set_backlog(stream, backlog);
        }
        // The backlog below is short, so what is sealed here leaves soon.
        stream.writable().await?;
        let (turn, packet_len) = (backlog.min(LINK_TURN), pace.packet_len());
        shell.with(|core, now| core.pull(number, &mut buffer, turn, packet_len, now))?;
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Ok(count) => {
                    pace.wrote(count);
                    rest = rest.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    pace.full(shell.clock().now());
                    stream.writable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let whole_turn = buffer.len() >= turn;
        buffer.clear();
        if whole_turn {
            // Whatever else became ready goes next.
            yield_now().await;
            continue;
        }
        // That was all. A buffer that was just used is used again soon; an idle link holds none.
        pace.idle();
        linger.used = true;
        tokio::select! {
            biased;
            () = wake.notified() => {}
            () = linger.over() => {
                buffer = Vec::new();
                wake.notified().await;
            }
        }
    }
}

/// Tells the kernel how much it may hold unsent.
fn set_backlog(stream: &TcpStream, bytes: usize) {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(bytes) {
        tracing::debug!(%error, "socket option TCP_NOTSENT_LOWAT not set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::frames::FrameSealer;
    use crate::ssm::schedule::Secret;
    use crate::wire::link::Head;

    #[test]
    fn a_turn_ends_after_so_many_frames_however_small() {
        let mut sealer = FrameSealer::new(Secret::from_bytes([5; 32].into()));
        let (mut read, mut ends) = (Vec::new(), Vec::new());
        for id in 0..2 * LINK_READ_FRAMES as u64 + 1 {
            sealer.seal(&Head::Ping(id), &mut read).unwrap();
            ends.push(read.len());
        }
        let first = ends[LINK_READ_FRAMES - 1];
        assert_eq!(turn_len(&read), first);
        assert_eq!(turn_len(&read[..first]), first);
        assert_eq!(
            turn_len(&read[..first - 1]),
            first - 1,
            "the last is not whole"
        );
        assert_eq!(turn_len(&read[..=first]), first);
        let second = turn_len(&read[first..]);
        assert_eq!(first + second, ends[2 * LINK_READ_FRAMES - 1]);
        assert_eq!(
            turn_len(&read[first + second..]),
            read.len() - first - second
        );
    }

    #[test]
    fn what_is_no_frame_reaches_the_core_at_once() {
        assert_eq!(turn_len(&[0xff; 100]), 100);
        assert_eq!(turn_len(&[]), 0);
    }
}
