use std::net::TcpListener;

use super::*;
use crate::acl::{Acl, Grant, Judgement, Pattern, Peers};
use crate::name::Identity;
use crate::wire::target::{Host, Target};

/// Proofs for addresses at `port`, through an access list that allows everything.
fn granted(ips: &[&str], port: u16) -> Vec<Granted> {
    let acl = Acl {
        grants: vec![Grant {
            peers: Peers::Any,
            services: Default::default(),
            to: ["*:*", "0.0.0.0/0:*", "[::]/0:*"]
                .map(|text| Pattern::parse(text, None).unwrap())
                .into(),
            max_channels: None,
            opens_per_s: None,
        }],
        ..Acl::default()
    };
    let peer = Identity::from_seed(&[1; 32]).name();
    let target = Target::Address("a.example".parse::<Host>().unwrap(), port);
    let Judgement::Resolve(resolution) = acl.judge(&peer, &target) else {
        panic!("every name is granted");
    };
    let ips: Vec<_> = ips.iter().map(|text| text.parse().unwrap()).collect();
    resolution.judge(&ips)
}

/// A loopback port that nobody listens on: it was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_service_that_listens_is_reached_without_delay_or_blocking() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dialled = dial(granted(&["127.0.0.1"], address.port()), DIAL_DEADLINE)
        .await
        .unwrap();
    assert_eq!(dialled.granted.address(), address);
    let stream = dialled.stream.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert!(stream.nodelay().unwrap());
    let error = stream.peek(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let port = free_port();
    for ips in [&["127.0.0.1"][..], &["127.0.0.1", "127.0.0.2", "127.0.0.3"]] {
        let result = dial(granted(ips, port), DIAL_DEADLINE).await;
        assert_eq!(result.unwrap_err(), OpenFailure::Refused);
    }
}

#[tokio::test]
async fn the_second_address_is_taken_when_the_first_refuses() {
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = listener.local_addr().unwrap();
    let candidates = granted(&["127.0.0.1", "127.0.0.2", "127.0.0.3"], address.port());
    let dialled = dial(candidates, DIAL_DEADLINE).await.unwrap();
    assert_eq!(dialled.granted.address(), address);
}

/// A listener whose queue is full, with the connections that fill it: another attempt hangs.
fn silent() -> (socket2::Socket, Vec<socket2::Socket>, SocketAddr) {
    let stream = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = stream().unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..8 {
        let filler = stream().unwrap();
        filler.set_nonblocking(true).unwrap();
        // In progress, or connected: either way it takes a place of the queue.
        let _in_progress = filler.connect(&address.into());
        fillers.push(filler);
    }
    (listener, fillers, address)
}

#[tokio::test]
async fn an_address_that_hangs_does_not_hold_up_the_next() {
    let (_silent, _fillers, hanging) = silent();
    let listener = TcpListener::bind(("127.0.0.2", hanging.port())).unwrap();
    let candidates = granted(&["127.0.0.1", "127.0.0.2"], hanging.port());
    let dialled = dial(candidates, DIAL_DEADLINE).await.unwrap();
    assert_eq!(dialled.granted.address(), listener.local_addr().unwrap());
}

#[tokio::test]
async fn the_deadline_ends_a_dial_that_hangs() {
    let (_silent, _fillers, hanging) = silent();
    let candidates = granted(&["127.0.0.1"], hanging.port());
    let result = dial(candidates, Duration::from_millis(1)).await;
    assert_eq!(result.unwrap_err(), OpenFailure::TimedOut);
}

#[test]
fn a_connection_to_itself_is_noticed() {
    // Bound to the port it connects to, a socket meets itself.
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&any.into()).unwrap();
    let own = socket.local_addr().unwrap();
    socket.connect(&own).unwrap();
    let (local, peer) = (
        socket.local_addr().unwrap().as_socket().unwrap(),
        socket.peer_addr().unwrap().as_socket().unwrap(),
    );
    assert!(is_connected_to_itself(local, peer));
    let other = SocketAddr::new(peer.ip(), peer.port() ^ 1);
    assert!(!is_connected_to_itself(local, other));
}

#[test]
fn every_error_of_connecting_has_its_exact_failure() {
    let v4: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    for (errno, failure) in [
        (Errno::CONNREFUSED, OpenFailure::Refused),
        (Errno::NETUNREACH, OpenFailure::NetworkUnreachable),
        (Errno::NETDOWN, OpenFailure::NetworkUnreachable),
        (Errno::AFNOSUPPORT, OpenFailure::NetworkUnreachable),
        (Errno::HOSTUNREACH, OpenFailure::HostUnreachable),
        (Errno::HOSTDOWN, OpenFailure::HostUnreachable),
        (Errno::TIMEDOUT, OpenFailure::TimedOut),
        (Errno::MFILE, OpenFailure::Limit),
        (Errno::NFILE, OpenFailure::Limit),
        (Errno::NOBUFS, OpenFailure::Limit),
        (Errno::NOMEM, OpenFailure::Limit),
        (Errno::ACCESS, OpenFailure::HostUnreachable),
        (Errno::PERM, OpenFailure::HostUnreachable),
        (Errno::NONET, OpenFailure::HostUnreachable),
        (Errno::NOPROTOOPT, OpenFailure::HostUnreachable),
        (Errno::OPNOTSUPP, OpenFailure::HostUnreachable),
        (Errno::PROTO, OpenFailure::HostUnreachable),
        (Errno::INVAL, OpenFailure::NetworkUnreachable),
        (Errno::BADF, OpenFailure::General),
    ] {
        for address in [v4, v6] {
            assert_eq!(failure_of(&errno.into(), address), failure, "{errno:?}");
        }
    }
    let unavailable = io::Error::from(Errno::ADDRNOTAVAIL);
    assert_eq!(failure_of(&unavailable, v4), OpenFailure::Limit);
    assert_eq!(
        failure_of(&unavailable, v6),
        OpenFailure::NetworkUnreachable
    );
    assert_eq!(failure_of(&io::Error::other("?"), v4), OpenFailure::General);
}

#[test]
fn the_failure_nearest_to_the_service_is_told() {
    let order = [
        OpenFailure::Refused,
        OpenFailure::TimedOut,
        OpenFailure::HostUnreachable,
        OpenFailure::NetworkUnreachable,
        OpenFailure::Limit,
        OpenFailure::General,
    ];
    for (place, near) in order.into_iter().enumerate() {
        for far in order.into_iter().skip(place) {
            assert_eq!(nearer(near, far), near);
            assert_eq!(nearer(far, near), near);
        }
    }
}
