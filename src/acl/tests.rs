use super::*;
use crate::name::Identity;

fn name(seed: u8) -> Name {
    Identity::from_seed(&[seed; 32]).name()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn host_name(text: &str) -> HostName {
    match host(text) {
        Host::Name(name) => name,
        Host::Ip(ip) => panic!("{ip} is no name"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn grant(peers: Peers, services: &[&str], to: &[&str]) -> Grant {
    Grant {
        peers,
        services: services.iter().map(|text| host_name(text)).collect(),
        to: to
            .iter()
            .map(|text| Pattern::parse(text, None).unwrap())
            .collect(),
        max_channels: None,
        opens_per_s: None,
    }
}

/// One grant for whoever asks.
fn acl(to: &[&str]) -> Acl {
    Acl {
        services: BTreeMap::new(),
        grants: vec![grant(Peers::Any, &[], to)],
    }
}

fn at(text: &str, port: u16) -> Target {
    Target::Address(host(text), port)
}

fn dialled(judgement: &Judgement) -> Vec<String> {
    match judgement {
        Judgement::Dial(granted) => granted.iter().map(|g| g.address().to_string()).collect(),
        Judgement::Denied | Judgement::Resolve(_) => Vec::new(),
    }
}

fn allows(acl: &Acl, target: &Target) -> bool {
    acl.judge(&name(1), target) != Judgement::Denied
}

/// What is left of `addresses` when they are what the name resolves to.
fn resolved(acl: &Acl, target: &Target, addresses: &[&str]) -> Vec<String> {
    let Judgement::Resolve(resolution) = acl.judge(&name(1), target) else {
        return Vec::new();
    };
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| ip(text)).collect();
    let granted = resolution.judge(&addresses);
    granted
        .iter()
        .map(|g| g.address().ip().to_string())
        .collect()
}

#[test]
fn without_a_grant_nothing_is_dialled_or_resolved() {
    let acl = Acl {
        services: BTreeMap::from([(host_name("ssh"), (host("127.0.0.1"), 22))]),
        grants: Vec::new(),
    };
    for target in [
        at("8.8.8.8", 53),
        at("a.example", 80),
        at("127.1", 80),
        Target::Service(host_name("ssh")),
        Target::Loopback(22),
    ] {
        assert_eq!(acl.judge(&name(1), &target), Judgement::Denied);
    }
}

#[test]
fn a_grant_is_for_its_peers_only() {
    let acl = Acl {
        services: BTreeMap::new(),
        grants: vec![
            grant(
                Peers::Names(BTreeSet::from([name(1)])),
                &[],
                &["8.8.8.8:53"],
            ),
            grant(Peers::Names(BTreeSet::new()), &[], &["*:*"]),
        ],
    };
    assert_ne!(acl.judge(&name(1), &at("8.8.8.8", 53)), Judgement::Denied);
    assert_eq!(acl.judge(&name(2), &at("8.8.8.8", 53)), Judgement::Denied);
    assert_eq!(acl.judge(&name(1), &at("8.8.8.8", 54)), Judgement::Denied);
    assert_eq!(acl.judge(&name(1), &at("8.8.8.9", 53)), Judgement::Denied);
}

#[test]
fn a_star_is_every_name_and_every_public_address_and_no_special_one() {
    let acl = acl(&["*:*"]);
    assert!(allows(&acl, &at("8.8.8.8", 53)));
    assert!(allows(&acl, &at("2a00::1", 53)));
    assert!(allows(&acl, &at("localhost", 53)));
    assert!(!allows(&acl, &at("8.8.8.8", 0)));
    for special in [
        "0.0.0.0",
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        assert!(!allows(&acl, &at(special, 53)), "{special}");
    }
    assert!(!allows(&acl, &Target::Loopback(53)));
}

#[test]
fn a_special_address_passes_through_an_address_or_cidr_pattern() {
    let acl = acl(&["10.0.0.0/8:22", "[::1]:22"]);
    assert!(allows(&acl, &at("10.0.0.0", 22)));
    assert!(allows(&acl, &at("10.255.255.255", 22)));
    assert!(!allows(&acl, &at("11.0.0.0", 22)));
    assert!(!allows(&acl, &at("10.0.0.1", 23)));
    assert!(allows(&acl, &at("::1", 22)));
    assert!(!allows(&acl, &at("::2", 22)));
    // In whatever form it is written, the IPv4 address is dialled.
    for text in ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::7"] {
        let judgement = acl.judge(&name(1), &at(text, 22));
        assert_eq!(dialled(&judgement), ["10.0.0.1:22"], "{text}");
    }
}

#[test]
fn an_ipv6_block_does_not_let_embedded_ipv4_through() {
    let acl = acl(&["[::]/0:*"]);
    assert!(allows(&acl, &at("::1", 22)));
    assert!(allows(&acl, &at("fe80::1", 22)));
    for text in [
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:a00:1::7",
        "::10.0.0.1",
    ] {
        assert!(!allows(&acl, &at(text, 22)), "{text}");
    }
}

#[test]
fn loopback_is_ipv4_then_ipv6_as_far_as_each_is_granted() {
    let both = acl(&["127.0.0.0/8:22", "[::1]:22"]);
    let v4 = acl(&["127.0.0.1:22"]);
    let v6 = acl(&["[::1]:22"]);
    let judge = |acl: &Acl, port| dialled(&acl.judge(&name(1), &Target::Loopback(port)));
    assert_eq!(judge(&both, 22), ["127.0.0.1:22", "[::1]:22"]);
    assert_eq!(judge(&v4, 22), ["127.0.0.1:22"]);
    assert_eq!(judge(&v6, 22), ["[::1]:22"]);
    assert!(judge(&both, 23).is_empty());
    assert!(!allows(
        &acl(&["localhost:22", "*.localhost:22"]),
        &Target::Loopback(22)
    ));
}

#[test]
fn the_embedded_node_reaches_everything() {
    let acl = acl(&["*:*", "0.0.0.0/0:*", "[::]/0:*"]);
    for target in [
        at("10.0.0.1", 1),
        at("8.8.8.8", 65535),
        at("::1", 80),
        at("::ffff:127.0.0.1", 80),
        Target::Loopback(22),
    ] {
        assert!(allows(&acl, &target), "{target}");
    }
    let results = resolved(
        &acl,
        &at("a.example", 80),
        &["127.0.0.1", "8.8.8.8", "fd00::1"],
    );
    assert_eq!(results, ["127.0.0.1", "8.8.8.8", "fd00::1"]);
}

#[test]
fn a_name_is_resolved_only_when_its_text_is_granted() {
    let acl = acl(&["*.corp.example:443", "10.0.0.0/8:*"]);
    assert!(allows(&acl, &at("git.corp.example", 443)));
    assert!(!allows(&acl, &at("git.corp.example", 22)));
    assert!(!allows(&acl, &at("corp.example", 443)));
    assert!(!allows(&acl, &at("db.example", 5432)));
}

#[test]
fn every_address_of_a_granted_name_is_judged() {
    let target = at("git.corp.example", 443);
    let addresses = [
        "10.0.0.1",
        "127.0.0.1",
        "8.8.8.8",
        "::ffff:192.168.0.1",
        "8.8.8.8",
    ];
    let public = acl(&["*.corp.example:443"]);
    assert_eq!(resolved(&public, &target, &addresses), ["8.8.8.8"]);
    let private = acl(&["*.corp.example:443", "10.0.0.0/8:443"]);
    assert_eq!(
        resolved(&private, &target, &addresses),
        ["10.0.0.1", "8.8.8.8"]
    );
    let other_port = acl(&["*.corp.example:443", "10.0.0.0/8:444"]);
    assert_eq!(resolved(&other_port, &target, &addresses), ["8.8.8.8"]);
}

#[test]
fn an_old_notation_of_an_address_is_a_name_judged_by_what_it_resolves_to() {
    let acl = acl(&["*:*"]);
    for text in ["127.1", "0x7f.1", "2130706433", "0177.0.0.1"] {
        let target = at(text, 80);
        assert!(
            matches!(target, Target::Address(Host::Name(_), _)),
            "{text}"
        );
        assert!(resolved(&acl, &target, &["127.0.0.1"]).is_empty(), "{text}");
    }
    assert_eq!(
        resolved(&acl, &at("134744072", 80), &["8.8.8.8"]),
        ["8.8.8.8"]
    );
}

#[test]
fn grants_are_counted_by_what_they_allow() {
    let acl = Acl {
        services: BTreeMap::new(),
        grants: vec![
            grant(Peers::Names(BTreeSet::from([name(2)])), &[], &["*:*"]),
            grant(Peers::Any, &[], &["*.example:80"]),
            grant(Peers::Any, &[], &["10.0.0.0/8:80", "*:80"]),
        ],
    };
    let Judgement::Resolve(resolution) = acl.judge(&name(1), &at("a.example", 80)) else {
        panic!("the name is granted");
    };
    assert_eq!(resolution.grant(), 1);
    assert_eq!(
        (resolution.host().as_str(), resolution.port()),
        ("a.example", 80)
    );
    let grants: Vec<usize> = resolution
        .judge(&[ip("10.0.0.1"), ip("8.8.8.8")])
        .iter()
        .map(Granted::grant)
        .collect();
    assert_eq!(grants, [2, 1]);
    let Judgement::Dial(literal) = acl.judge(&name(1), &at("8.8.8.8", 80)) else {
        panic!("the address is granted");
    };
    assert_eq!(literal[0].grant(), 2);
}

fn with_service(to: &str) -> Acl {
    Acl {
        services: BTreeMap::from([
            (host_name("ssh"), (host(to), 22)),
            (host_name("web"), (host("192.0.2.1"), 80)),
        ]),
        grants: vec![grant(
            Peers::Names(BTreeSet::from([name(1)])),
            &["ssh", "missing"],
            &[],
        )],
    }
}

#[test]
fn a_service_is_dialled_where_the_operator_put_it() {
    let ssh = Target::Service(host_name("ssh"));
    let acl = with_service("127.0.0.1");
    assert_eq!(dialled(&acl.judge(&name(1), &ssh)), ["127.0.0.1:22"]);
    assert_eq!(acl.judge(&name(2), &ssh), Judgement::Denied);
    let denied = |service| acl.judge(&name(1), &Target::Service(host_name(service)));
    assert_eq!(denied("web"), Judgement::Denied);
    assert_eq!(denied("missing"), Judgement::Denied);
    assert!(!allows(&acl, &Target::Loopback(22)));
    assert!(!allows(&acl, &at("127.0.0.1", 22)));
    let by_name = with_service("backend.internal");
    assert_eq!(
        resolved(&by_name, &ssh, &["10.0.0.1", "::1"]),
        ["10.0.0.1", "::1"]
    );
}

#[test]
fn a_live_channel_is_judged_again_by_what_was_dialled() {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let acl = acl(&["*.example:80", "10.0.0.0/8:80", "8.8.8.8:53"]);
    let allows = |target: &Target, dialled| acl.allows(&name(1), target, socket(dialled));
    assert!(allows(&at("a.example", 80), "10.0.0.1:80"));
    assert!(allows(&at("a.example", 80), "8.8.8.8:80"));
    assert!(!allows(&at("a.example", 80), "10.0.0.1:81"));
    assert!(!allows(&at("a.example", 80), "192.168.0.1:80"));
    assert!(!allows(&at("b.org", 80), "10.0.0.1:80"));
    assert!(allows(&at("8.8.8.8", 53), "8.8.8.8:53"));
    assert!(!allows(&at("8.8.8.8", 53), "8.8.4.4:53"));
    let ssh = Target::Service(host_name("ssh"));
    assert!(with_service("10.0.0.1").allows(&name(1), &ssh, socket("10.0.0.1:22")));
    assert!(!with_service("10.0.0.2").allows(&name(1), &ssh, socket("10.0.0.1:22")));
    assert!(with_service("backend").allows(&name(1), &ssh, socket("10.0.0.1:22")));
    assert!(!with_service("backend").allows(&name(2), &ssh, socket("10.0.0.1:22")));
}

#[test]
fn the_subject_of_a_grant_is_all_but_its_limits() {
    let one = grant(Peers::Any, &["ssh"], &["*:80"]);
    let limited = Grant {
        max_channels: Some(3),
        opens_per_s: Some(1),
        ..one.clone()
    };
    assert!(one.same_subject(&limited));
    assert!(!one.same_subject(&grant(Peers::Any, &["ssh"], &["*:81"])));
    assert!(!one.same_subject(&grant(Peers::Any, &[], &["*:80"])));
}
