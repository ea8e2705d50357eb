use proptest::prelude::*;

use super::*;

fn grant(text: &str) -> Result<Pattern, PatternError> {
    Pattern::parse(text, None)
}

fn route(text: &str) -> Pattern {
    Pattern::parse(text, Some(Ports::all())).unwrap()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

#[test]
fn every_form_of_the_manual_reads_and_prints_the_same() {
    for text in [
        "*:*",
        "*:443",
        "*.corp.example:443",
        "www.example.org:80,443",
        "10.0.0.0/8:*",
        "0.0.0.0/0:*",
        "192.0.2.1:22",
        "[::]/0:*",
        "[::1]:22",
        "[::]:22",
        "[2001:db8::]/32:443,8000-8099",
        "x_y.example:1-65534",
    ] {
        let pattern = grant(text).unwrap();
        assert_eq!(pattern.to_string(), text);
        assert_eq!(grant(&pattern.to_string()), Ok(pattern));
    }
}

#[test]
fn names_are_lowered_and_ports_are_sorted_and_merged() {
    let print = |text: &str| grant(text).unwrap().to_string();
    assert_eq!(print("WWW.Example.org.:443, 80"), "www.example.org:80,443");
    assert_eq!(print("*.Corp.Example:22,20-21"), "*.corp.example:20-22");
    assert_eq!(print("*:80,81,83"), "*:80-81,83");
    assert_eq!(print("*:1-100,50-60"), "*:1-100");
    assert_eq!(print("*:22,*"), "*:*");
    assert_eq!(print("*:65535,65535"), "*:65535");
    assert_eq!(print("10.0.0.1/32:1"), "10.0.0.1:1");
}

#[test]
fn mistakes_are_refused_with_their_remedy() {
    let host_bits = PatternError::HostBits("10.0.0.0/8".parse().unwrap());
    for (text, error) in [
        ("10.0.0.0/8", PatternError::PortsMissing),
        ("*", PatternError::PortsMissing),
        ("[::1]", PatternError::PortsMissing),
        ("*:", PatternError::Ports),
        ("*:0", PatternError::Ports),
        ("*:65536", PatternError::Ports),
        ("*:+22", PatternError::Ports),
        ("*:-22", PatternError::Ports),
        ("*:22-", PatternError::Ports),
        ("*:23-22", PatternError::Ports),
        ("*:22,", PatternError::Ports),
        ("*:http", PatternError::Ports),
        ("::1:22", PatternError::Brackets),
        ("2001:db8::/32:443", PatternError::Brackets),
        ("[::1", PatternError::NoIpv6),
        ("[::1%lo]:22", PatternError::NoIpv6),
        ("[127.0.0.1]:22", PatternError::NoIpv6),
        ("[2001:db8::/32]:22", PatternError::NoIpv6),
        ("[]:22", PatternError::NoIpv6),
        ("[::1]x:22", PatternError::Prefix),
        ("[::]/129:22", PatternError::Prefix),
        ("[::]/:22", PatternError::Prefix),
        ("10.0.0.0/33:22", PatternError::Prefix),
        ("10.0.0.0/+8:22", PatternError::Prefix),
        ("10.0.0.0/8/9:22", PatternError::Prefix),
        ("example.org/24:22", PatternError::Prefix),
        ("10/8:22", PatternError::Prefix),
        ("10.0.0.1/8:22", host_bits),
        ("10.0.0:22", PatternError::Numeric),
        ("127.1:22", PatternError::Numeric),
        ("256.1.1.1:22", PatternError::Numeric),
        ("2130706433:22", PatternError::Numeric),
        ("0x7f.0x1:22", PatternError::Numeric),
        ("0x:22", PatternError::Numeric),
        ("*.1.2.3.4:22", PatternError::Numeric),
        ("*.0:22", PatternError::Numeric),
        ("*corp.example:22", PatternError::Host(HostError::Character)),
        ("a.*.example:22", PatternError::Host(HostError::Character)),
        ("*.*:22", PatternError::Host(HostError::Character)),
        ("*.:22", PatternError::Host(HostError::Length)),
        (":22", PatternError::Host(HostError::Length)),
        ("", PatternError::PortsMissing),
        ("a b:22", PatternError::Host(HostError::Character)),
        ("[::ffff:10.0.0.1]:22", PatternError::Embedded),
        ("[::ffff:0:0]/96:22", PatternError::Embedded),
        ("[64:ff9b::]/96:22", PatternError::Embedded),
        ("[2002::]/16:22", PatternError::Embedded),
        ("[2001::]/32:22", PatternError::Embedded),
    ] {
        assert_eq!(grant(text), Err(error), "{text:?}");
    }
    // One bit shorter than an embedding prefix, and longer than the program's own prefixes.
    for text in [
        "[2000::]/15:22",
        "[64:ff9a::]/31:22",
        "0x7g.example:22",
        "1.2.3.4a:22",
    ] {
        assert!(grant(text).is_ok(), "{text:?}");
    }
}

#[test]
fn a_route_may_leave_the_ports_out() {
    for text in ["*", "*.example", "a.example", "10.0.0.0/8", "[fc00::]/7"] {
        let pattern = route(text);
        assert_eq!(pattern.to_string(), format!("{text}:*"));
    }
    assert_eq!(
        Pattern::parse("fc00::/7", Some(Ports::all())),
        Err(PatternError::Brackets)
    );
}

#[test]
fn a_suffix_matches_below_itself_only() {
    let pattern = route("*.corp.example:443");
    assert!(pattern.matches(&host("git.corp.example"), 443));
    assert!(pattern.matches(&host("a.b.corp.example"), 443));
    assert!(!pattern.matches(&host("corp.example"), 443));
    assert!(!pattern.matches(&host("xcorp.example"), 443));
    assert!(!pattern.matches(&host("git.corp.example.org"), 443));
    assert!(!pattern.matches(&host("git.corp.example"), 442));
    assert!(!pattern.matches(&host("10.0.0.1"), 443));
}

#[test]
fn a_route_matches_names_by_text_and_addresses_by_prefix() {
    assert!(route("*").matches(&host("127.0.0.1"), 1));
    assert!(route("*").matches(&host("a.example"), 65535));
    assert!(!route("*").matches(&host("a.example"), 0));
    assert!(route("a.example").matches(&host("A.example."), 1));
    assert!(!route("a.example").matches(&host("b.a.example"), 1));
    assert!(!route("0.0.0.0/0").matches(&host("a.example"), 1));
    assert!(!route("0.0.0.0/0").matches(&host("2a00::1"), 1));
    assert!(!route("[::]/0").matches(&host("8.8.8.8"), 1));
    let net = route("10.0.0.0/8");
    assert!(net.matches(&host("10.255.255.255"), 1));
    assert!(net.matches(&host("::ffff:10.0.0.0"), 1));
    assert!(!net.matches(&host("11.0.0.0"), 1));
    assert!(!net.matches(&host("9.255.255.255"), 1));
}

fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        "\\*\\.[a-z][a-z0-9-]{0,8}\\.[a-z]{1,5}",
        "[a-z0-9_-]{1,9}\\.[a-z]{1,5}",
        (any::<u32>(), 0_u8..=32).prop_map(|(bits, len)| {
            let net = IpNet::new(std::net::Ipv4Addr::from_bits(bits).into(), len).unwrap();
            net.trunc().to_string()
        }),
        (any::<u128>(), 0_u8..=128).prop_map(|(bits, len)| {
            let net = IpNet::new(Ipv6Addr::from_bits(bits).into(), len)
                .unwrap()
                .trunc();
            format!("[{}]/{len}", net.network())
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_parses_prints_a_text_that_parses_to_the_same(
        host in hosts(),
        ranges in prop::collection::vec((1_u16.., 1_u16..), 1..5),
    ) {
        let ports: Vec<String> = ranges
            .iter()
            .map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)))
            .collect();
        let text = format!("{host}:{}", ports.join(","));
        // A random IPv6 block may be one that embeds IPv4.
        if let Ok(pattern) = grant(&text) {
            prop_assert_eq!(grant(&pattern.to_string()), Ok(pattern.clone()));
            for (a, b) in ranges {
                for port in [a, b] {
                    prop_assert!(pattern.ports.contains(port));
                }
            }
            prop_assert!(!pattern.ports.contains(0));
        }
    }

    #[test]
    fn merged_ports_hold_what_the_list_holds(
        ranges in prop::collection::vec((1_u16..200, 1_u16..200), 1..6),
    ) {
        let list: Vec<String> = ranges
            .iter()
            .map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)))
            .collect();
        let ports = Ports::parse(&list.join(",")).unwrap();
        for port in 0..=201 {
            let expected = ranges.iter().any(|(a, b)| (*a.min(b)..=*a.max(b)).contains(&port));
            prop_assert_eq!(ports.contains(port), expected, "{}", port);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-*.:,/\\[\\]a-f0-9x ]{0,24}") {
        if let Ok(pattern) = grant(&text) {
            prop_assert_eq!(grant(&pattern.to_string()), Ok(pattern));
        }
    }
}
