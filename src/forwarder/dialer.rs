//! Connects to the first granted address that answers: happy eyeballs (RFC 8305), and what its
//! errors mean.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
    vec::IntoIter,
};

use rustix::io::Errno;
use tokio::{
    net::TcpSocket,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::acl::Granted;
use crate::net::descriptors::is_kept_back;
use crate::wire::failure::OpenFailure;

/// How long all attempts of one OPEN may take together (R-A8).
pub(crate) const DIAL_DEADLINE: Duration = Duration::from_secs(10);
/// How long an attempt has before the next address is tried beside it (RFC 8305, section 5).
pub(crate) const STAGGER: Duration = Duration::from_millis(250);

/// A connection to a service: non-blocking, without Nagle's delay.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// None if the service has accepted the connection and reset it at once.
    pub(crate) stream: Option<TcpStream>,
    pub(crate) granted: Granted,
}

/// Connects to one of `candidates`, preferring the order they stand in. The first success wins and
/// the other attempts are dropped; when all fail, the failure nearest to the service is told. May be
/// dropped half-way.
pub(crate) async fn dial(
    candidates: Vec<Granted>,
    deadline: Duration,
) -> Result<Dialled, OpenFailure> {
    timeout(deadline, race(candidates))
        .await
        .unwrap_or(Err(OpenFailure::TimedOut))
}

async fn race(candidates: Vec<Granted>) -> Result<Dialled, OpenFailure> {
    if let [only] = *candidates {
        return attempt(only).await;
    }
    let mut waiting = candidates.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = None;
    start_next(&mut attempts, &mut waiting);
    loop {
        let more = !waiting.as_slice().is_empty();
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep(STAGGER), if more => {
                start_next(&mut attempts, &mut waiting);
                continue;
            }
        };
        let error = match ended {
            Some(Ok(Ok(dialled))) => return Ok(dialled),
            Some(Ok(Err(error))) => error,
            Some(Err(_panicked)) => OpenFailure::General,
            None => return Err(failure.unwrap_or(OpenFailure::General)),
        };
        failure = Some(failure.map_or(error, |known| nearer(known, error)));
        start_next(&mut attempts, &mut waiting);
    }
}

fn start_next(
    attempts: &mut JoinSet<Result<Dialled, OpenFailure>>,
    waiting: &mut IntoIter<Granted>,
) {
    if let Some(granted) = waiting.next() {
        attempts.spawn(attempt(granted));
    }
}

async fn attempt(granted: Granted) -> Result<Dialled, OpenFailure> {
    let address = granted.address();
    connect(address)
        .await
        .map(|stream| Dialled { stream, granted })
        .map_err(|error| failure_of(&error, address))
}

/// Connects; none if the connection was made and is reset already.
async fn connect(address: SocketAddr) -> io::Result<Option<TcpStream>> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if is_kept_back(&socket) {
        return Err(Errno::MFILE.into());
    }
    let stream = match socket.connect(address).await {
        // Who does not accept refuses: this one has accepted.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        connected => connected?,
    };
    // A service that has reset the connection already has no address any more, but it did answer.
    let peer = stream.peer_addr().unwrap_or(address);
    if is_connected_to_itself(stream.local_addr()?, peer) {
        // Closed by a reset: the port must be free for the service at once.
        stream.set_zero_linger()?;
        return Err(Errno::CONNREFUSED.into());
    }
    stream.set_nodelay(true)?;
    stream.into_std().map(Some)
}

/// With nobody listening, a connection whose source port happens to be its destination port
/// succeeds, and would talk to itself (R-A5).
fn is_connected_to_itself(local: SocketAddr, peer: SocketAddr) -> bool {
    local == peer
}

/// What an error of connecting to `address` means.
pub(crate) fn failure_of(error: &io::Error, address: SocketAddr) -> OpenFailure {
    match Errno::from_io_error(error) {
        // Without IPv6 there is no address to come from; in IPv4 all source ports are taken.
        Some(Errno::ADDRNOTAVAIL) if address.is_ipv6() => OpenFailure::NetworkUnreachable,
        // A route "blackhole".
        Some(Errno::INVAL) => OpenFailure::NetworkUnreachable,
        // A firewall here or on the way, or a machine without TCP: what ICMP and ICMPv6 tell of that is
        // HOSTUNREACH in one of them and one of these in the other.
        Some(
            Errno::ACCESS
            | Errno::PERM
            | Errno::NONET
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::PROTO,
        ) => OpenFailure::HostUnreachable,
        _ => system_failure(error).unwrap_or(OpenFailure::General),
    }
}

/// What the system's error number means for an OPEN, if there is one.
pub(crate) fn system_failure(error: &io::Error) -> Option<OpenFailure> {
    Some(match Errno::from_io_error(error)? {
        Errno::CONNREFUSED => OpenFailure::Refused,
        Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT => OpenFailure::NetworkUnreachable,
        Errno::HOSTUNREACH | Errno::HOSTDOWN => OpenFailure::HostUnreachable,
        Errno::TIMEDOUT => OpenFailure::TimedOut,
        Errno::MFILE
        | Errno::NFILE
        | Errno::NOBUFS
        | Errno::NOMEM
        | Errno::AGAIN
        | Errno::ADDRNOTAVAIL => OpenFailure::Limit,
        _ => OpenFailure::General,
    })
}

/// The failure that says more about the service: a refusal comes from its machine, a time-out from
/// its network, the rest from ours.
fn nearer(a: OpenFailure, b: OpenFailure) -> OpenFailure {
    let distance = |failure| match failure {
        OpenFailure::Refused => 0,
        OpenFailure::TimedOut => 1,
        OpenFailure::HostUnreachable => 2,
        OpenFailure::NetworkUnreachable => 3,
        OpenFailure::Limit => 4,
        OpenFailure::General
        | OpenFailure::Denied
        | OpenFailure::UnknownName
        | OpenFailure::NoPath
        | OpenFailure::Cut => 5,
    };
    if distance(b) < distance(a) { b } else { a }
}

#[cfg(test)]
mod tests;
