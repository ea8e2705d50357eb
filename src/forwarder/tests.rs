use std::{
    io,
    net::{IpAddr, TcpListener},
    pin::pin,
    sync::{Mutex, mpsc},
    task::{Context, Waker},
};

use tracing::Level;

use super::*;
use crate::acl::{Pattern, Peers};
use crate::forwarder::resolver::LOOKUP_DEADLINE;
use crate::name::Identity;
use crate::wire::target::{Host, HostName};

fn name(seed: u8) -> Name {
    Identity::from_seed(&[seed; 32]).name()
}

fn host_name(text: &str) -> HostName {
    match text.parse() {
        Ok(Host::Name(name)) => name,
        other => panic!("{text}: {other:?}"),
    }
}

fn at(text: &str, port: u16) -> Target {
    Target::Address(text.parse().unwrap(), port)
}

fn grant(to: &[&str]) -> Grant {
    Grant {
        peers: Peers::Any,
        services: [host_name("web")].into(),
        to: to
            .iter()
            .map(|text| Pattern::parse(text, None).unwrap())
            .collect(),
        max_channels: None,
        opens_per_s: None,
    }
}

fn acl(grants: Vec<Grant>) -> Acl {
    Acl {
        services: BTreeMap::new(),
        grants,
    }
}

/// A forwarder for a list of patterns, whose names all resolve to `addresses`.
fn forwarder(to: &[&str], addresses: &[&str]) -> Forwarder {
    with_acl(acl(vec![grant(to)]), addresses)
}

fn with_acl(acl: Acl, addresses: &[&str]) -> Forwarder {
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let lookup = move |_: &str| Ok(addresses.clone());
    let resolver = Resolver::new(Arc::new(lookup), LOOKUP_DEADLINE);
    Forwarder::with(acl, OwnListeners::default(), false, resolver)
}

/// Everything is granted.
const ALL: &[&str] = &["*:*", "0.0.0.0/0:*", "[::]/0:*"];

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port that nobody listens on: it was free a moment ago.
fn free_port() -> u16 {
    listen().1
}

async fn failure(forwarder: &Forwarder, target: Target) -> OpenFailure {
    forwarder.open(name(1), target).await.unwrap_err()
}

#[tokio::test]
async fn without_a_grant_the_answer_is_the_same_whether_or_not_the_target_exists() {
    let (_listener, port) = listen();
    // A look-up or a dial would end in another failure.
    let forwarder = forwarder(&[], &[]);
    for target in [
        at("127.0.0.1", port),
        at("127.0.0.1", free_port()),
        at("a.example", port),
        Target::Loopback(port),
        Target::Service(host_name("web")),
        Target::Service(host_name("nothing")),
    ] {
        assert_eq!(failure(&forwarder, target).await, OpenFailure::Denied);
    }
}

#[tokio::test]
async fn a_granted_address_a_name_a_service_and_loopback_are_opened() {
    let (listener, port) = listen();
    let mut acl = acl(vec![grant(ALL)]);
    let local: Host = "127.0.0.1".parse().unwrap();
    acl.services.insert(host_name("web"), (local, port));
    let forwarder = with_acl(acl, &["127.0.0.1"]);
    for target in [
        at("127.0.0.1", port),
        at("::ffff:127.0.0.1", port),
        at("a.example", port),
        Target::Loopback(port),
        Target::Service(host_name("web")),
    ] {
        let opened = forwarder.open(name(1), target.clone()).await.unwrap();
        assert_eq!(opened.dialled, listener.local_addr().unwrap(), "{target}");
        let (accepted, from) = listener.accept().unwrap();
        assert_eq!(opened.stream.as_ref().unwrap().local_addr().unwrap(), from);
        assert!(forwarder.acl_allows(&name(1), &target, opened.dialled));
        drop(accepted);
    }
}

#[tokio::test]
async fn loopback_is_tried_in_ipv6_when_nobody_listens_in_ipv4() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        // This machine has no IPv6: there is only IPv4 to refuse.
        let forwarder = forwarder(ALL, &[]);
        let result = failure(&forwarder, Target::Loopback(free_port())).await;
        assert_eq!(result, OpenFailure::Refused);
        return;
    };
    let address = listener.local_addr().unwrap();
    let opened = forwarder(ALL, &[])
        .open(name(1), Target::Loopback(address.port()))
        .await
        .unwrap();
    assert_eq!(opened.dialled, address);
}

#[tokio::test]
async fn a_refusal_and_an_unknown_name_are_told_exactly() {
    let port = free_port();
    let refusing = forwarder(ALL, &["127.0.0.1"]);
    for target in [at("127.0.0.1", port), at("a.example", port)] {
        assert_eq!(failure(&refusing, target).await, OpenFailure::Refused);
    }
    let empty = forwarder(ALL, &[]);
    let unknown = failure(&empty, at("a.example", port)).await;
    assert_eq!(unknown, OpenFailure::UnknownName);
}

#[tokio::test]
async fn a_granted_name_does_not_lead_to_a_special_address() {
    let (_listener, port) = listen();
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "169.254.169.254"] {
        let forwarder = forwarder(&["*:*"], &[address]);
        let result = failure(&forwarder, at("a.example", port)).await;
        assert_eq!(result, OpenFailure::Denied, "{address}");
    }
}

#[tokio::test]
async fn an_old_notation_of_loopback_is_denied_by_the_systems_resolver_too() {
    let (_listener, port) = listen();
    let acl = acl(vec![grant(&["*:*"])]);
    let forwarder = Forwarder::new(acl, OwnListeners::default(), false);
    for text in ["127.1", "2130706433", "localhost"] {
        let result = failure(&forwarder, at(text, port)).await;
        assert_eq!(result, OpenFailure::Denied, "{text}");
    }
}

#[tokio::test]
async fn own_listeners_are_not_dialled_however_they_are_reached() {
    let (listener, port) = listen();
    let forwarder = forwarder(ALL, &["127.0.0.1"]);
    let targets = [
        at("127.0.0.1", port),
        at("::ffff:127.0.0.1", port),
        at("0.0.0.0", port),
        at("64:ff9b::127.0.0.1", port),
        at("a.example", port),
        // Loopback leads to ::1 too, where only the wildcard below listens.
        at("127.0.0.2", port),
    ];
    let own = &forwarder.inner.own_listeners;
    own.insert(listener.local_addr().unwrap());
    for target in &targets[..5] {
        let result = failure(&forwarder, target.clone()).await;
        assert_eq!(result, OpenFailure::Denied, "{target}");
    }
    own.remove(listener.local_addr().unwrap());
    own.insert(SocketAddr::from(([0, 0, 0, 0], port)));
    for target in targets {
        let result = failure(&forwarder, target.clone()).await;
        assert_eq!(result, OpenFailure::Denied, "{target}");
    }
    own.remove(SocketAddr::from(([0, 0, 0, 0], port)));
    assert!(forwarder.open(name(1), at("127.0.0.1", port)).await.is_ok());
}

#[tokio::test]
async fn channels_are_limited_per_peer_until_a_permit_is_given_back() {
    let (_listener, port) = listen();
    let limited = Grant {
        max_channels: Some(1),
        ..grant(ALL)
    };
    let forwarder = with_acl(acl(vec![limited]), &[]);
    let target = at("127.0.0.1", port);
    let first = forwarder.open(name(1), target.clone()).await.unwrap();
    assert_eq!(
        failure(&forwarder, target.clone()).await,
        OpenFailure::Limit
    );
    assert!(forwarder.open(name(2), target.clone()).await.is_ok());
    first.permit.audit_close(Traffic::default(), "closed");
    let second = forwarder.open(name(1), target.clone()).await.unwrap();
    drop(second);
    // A failed OPEN gives its place back.
    let refused = failure(&forwarder, at("127.0.0.1", free_port())).await;
    assert_eq!(refused, OpenFailure::Refused);
    assert!(forwarder.open(name(1), target).await.is_ok());
}

#[tokio::test]
async fn a_name_that_leads_through_a_full_grant_is_at_its_limit() {
    let (_listener, port) = listen();
    let by_name = grant(&["*.example:*"]);
    let by_net = Grant {
        max_channels: Some(1),
        ..grant(&["127.0.0.0/8:*"])
    };
    let forwarder = with_acl(acl(vec![by_name, by_net]), &["127.0.0.1"]);
    let first = forwarder
        .open(name(1), at("a.example", port))
        .await
        .unwrap();
    let full = OpenFailure::Limit;
    assert_eq!(failure(&forwarder, at("b.example", port)).await, full);
    assert_eq!(failure(&forwarder, at("127.0.0.1", port)).await, full);
    drop(first);
    assert!(forwarder.open(name(1), at("127.0.0.1", port)).await.is_ok());
}

#[tokio::test]
async fn openings_are_limited_per_second() {
    let limited = Grant {
        opens_per_s: Some(0),
        ..grant(ALL)
    };
    let forwarder = with_acl(acl(vec![limited]), &[]);
    let (_listener, port) = listen();
    let result = failure(&forwarder, at("127.0.0.1", port)).await;
    assert_eq!(result, OpenFailure::Limit);
}

#[tokio::test]
async fn a_reload_replaces_the_grants_and_keeps_the_counts_of_those_that_stay() {
    let (listener, port) = listen();
    let limited = |max| Grant {
        max_channels: Some(max),
        ..grant(&["127.0.0.0/8:*"])
    };
    let forwarder = with_acl(acl(vec![limited(2)]), &[]);
    let target = at("127.0.0.1", port);
    let _first = forwarder.open(name(1), target.clone()).await.unwrap();
    forwarder.replace_acl(acl(vec![grant(&["*:80"]), limited(1)]));
    assert_eq!(
        failure(&forwarder, target.clone()).await,
        OpenFailure::Limit
    );
    assert!(forwarder.acl_allows(&name(1), &target, listener.local_addr().unwrap()));
    forwarder.replace_acl(Acl::default());
    assert_eq!(
        failure(&forwarder, target.clone()).await,
        OpenFailure::Denied
    );
    assert!(!forwarder.acl_allows(&name(1), &target, listener.local_addr().unwrap()));
}

/// A forwarder whose look-ups tell when they begin and wait to be released.
fn waiting() -> (Forwarder, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begin, begun) = mpsc::channel();
    let (release, hang) = mpsc::channel();
    let ends = Mutex::new((begin, hang));
    let lookup = move |_: &str| {
        let ends = ends.lock().unwrap();
        ends.0.send(()).map_err(io::Error::other)?;
        // Ends when the test drops the sender.
        let _released: Result<(), _> = ends.1.recv();
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    };
    let resolver = Resolver::new(Arc::new(lookup), LOOKUP_DEADLINE);
    let acl = acl(vec![grant(ALL)]);
    let forwarder = Forwarder::with(acl, OwnListeners::default(), false, resolver);
    (forwarder, begun, release)
}

#[tokio::test]
async fn a_reload_during_an_open_decides_it() {
    let (_listener, port) = listen();
    let (forwarder, begun, release) = waiting();
    let mut open = pin!(forwarder.open(name(1), at("a.example", port)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(open.as_mut().poll(&mut context).is_pending());
    begun.recv().unwrap();
    forwarder.replace_acl(acl(vec![grant(&["*:*"])]));
    drop(release);
    assert_eq!(open.await.unwrap_err(), OpenFailure::Denied);
}

#[tokio::test]
async fn an_open_that_is_dropped_leaves_nothing_counted_but_its_audit_line() {
    let (lines, _guard) = capture(Level::INFO);
    let (forwarder, begun, release) = waiting();
    {
        let mut open = pin!(forwarder.open(name(1), at("a.example", 80)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(open.as_mut().poll(&mut context).is_pending());
        begun.recv().unwrap();
    }
    drop(release);
    let usage = Arc::clone(&forwarder.inner.policy().usage[0]);
    assert_eq!(Arc::strong_count(&usage), 2, "no slot is left");
    assert!(forwarder.inner.pending.is_empty());
    let text = lines.text();
    assert_eq!(text.matches("decision=\"abandoned\"").count(), 1, "{text}");
}

/// Log lines of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capture(level: Level) -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn every_open_and_every_close_leaves_one_audit_line() {
    let (_listener, port) = listen();
    let (lines, _guard) = capture(Level::INFO);
    let mut acl = acl(vec![grant(&["127.0.0.2:*"])]);
    let local: Host = "127.0.0.1".parse().unwrap();
    acl.services.insert(host_name("web"), (local, port));
    let forwarder = with_acl(acl, &[]);
    let opened = forwarder
        .open(name(1), Target::Service(host_name("web")))
        .await
        .unwrap();
    let traffic = Traffic {
        to_service: 7,
        from_service: 9,
    };
    opened.permit.audit_close(traffic, "reset\x1b[31m\nby peer");
    let denied = failure(&forwarder, at("127.0.0.1", port)).await;
    assert_eq!(denied, OpenFailure::Denied);
    let text = lines.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let peer = format!("peer={}", name(1));
    assert!(
        lines
            .iter()
            .all(|line| line.contains("muses::audit") && line.contains(&peer))
    );
    assert!(lines[0].contains("to=service web") && lines[0].contains("decision=\"opened\""));
    assert!(lines[1].contains("bytes_to_service=7") && lines[1].contains("bytes_from_service=9"));
    assert!(
        lines[1].contains("reason=reset\\u{1b}[31m\\nby peer"),
        "{text}"
    );
    assert!(lines[2].contains("to=address") && lines[2].contains("decision=not allowed"));
    assert!(!text.contains(&port.to_string()), "{text}");
}

#[tokio::test]
async fn refusals_of_one_peer_leave_thirty_lines_a_minute() {
    let (lines, _guard) = capture(Level::INFO);
    let forwarder = forwarder(&[], &[]);
    for _ in 0..40 {
        failure(&forwarder, at("a.example", 81)).await;
    }
    assert_eq!(lines.text().lines().count(), 30);
}

#[tokio::test]
async fn destinations_are_logged_where_debug_asks_for_it() {
    let (lines, _guard) = capture(Level::DEBUG);
    let forwarder = forwarder(&[], &[]);
    assert_eq!(
        failure(&forwarder, at("a.example", 81)).await,
        OpenFailure::Denied
    );
    assert!(lines.text().contains("to=a.example:81"), "{}", lines.text());
}
