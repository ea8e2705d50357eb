use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Every special range, written as the registries write it.
const SPECIAL: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/3",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "4000::/2",
    "8000::/1",
];

/// Every embedding: prefix, bits in front of the IPv4 address, whether it is inverted.
const EMBEDDING: &[(&str, u32, bool)] = &[
    ("::/96", 96, false),
    ("::ffff:0:0/96", 96, false),
    ("::ffff:0:0:0/96", 96, false),
    ("64:ff9b::/96", 96, false),
    ("2002::/16", 16, false),
    ("2001::/32", 96, true),
];

/// Bit by bit and slow: what [`Canonical`] must agree with.
fn reference(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    if v6 == Ipv6Addr::UNSPECIFIED || v6 == Ipv6Addr::LOCALHOST {
        return ip;
    }
    let bits: Vec<bool> = (0..128)
        .map(|i| v6.to_bits() >> (127 - i) & 1 == 1)
        .collect();
    let take = |from: usize, inverted: bool| {
        let v4 = bits[from..from + 32]
            .iter()
            .fold(0_u32, |sum, bit| sum << 1 | u32::from(*bit != inverted));
        IpAddr::V4(Ipv4Addr::from_bits(v4))
    };
    for (prefix, from, inverted) in EMBEDDING {
        if prefix.parse::<IpNet>().unwrap().contains(&ip) {
            return take(*from as usize, *inverted);
        }
    }
    // ISATAP: universal and group bit free, then 00:00:5e:fe, anywhere but in multicast.
    let text: String = bits
        .iter()
        .map(|bit| if *bit { '1' } else { '0' })
        .collect();
    let identifier = &text[64..96];
    let isatap = identifier.starts_with("000000")
        && identifier[8..] == "000000000101111011111110"[..]
        && !text.starts_with("11111111");
    if isatap { take(96, false) } else { ip }
}

fn reference_special(ip: IpAddr) -> bool {
    SPECIAL
        .iter()
        .any(|net| net.parse::<IpNet>().unwrap().contains(&ip))
}

fn compare(ip: IpAddr) {
    let canonical = Canonical::of(ip);
    let expected = reference(ip);
    assert_eq!(canonical.ip(), expected, "{ip}");
    assert_eq!(canonical.is_special(), reference_special(expected), "{ip}");
    if canonical.dialled() != canonical.ip() {
        assert!(!canonical.is_special(), "{ip}");
        assert!(matches!(ip, IpAddr::V6(v6) if v6.segments()[..2] == [0x64, 0xff9b]));
    }
}

#[test]
fn both_sides_of_every_edge_agree_with_the_slow_table() {
    let nets = SPECIAL
        .iter()
        .copied()
        .chain(EMBEDDING.iter().map(|(net, ..)| *net));
    for net in nets.map(|net| net.parse::<IpNet>().unwrap()) {
        let (first, last) = (net.network(), net.broadcast());
        compare(first);
        compare(last);
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                compare(Ipv4Addr::from_bits(first.to_bits().wrapping_sub(1)).into());
                compare(Ipv4Addr::from_bits(last.to_bits().wrapping_add(1)).into());
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                compare(Ipv6Addr::from_bits(first.to_bits().wrapping_sub(1)).into());
                compare(Ipv6Addr::from_bits(last.to_bits().wrapping_add(1)).into());
            }
            _ => panic!("mixed families"),
        }
    }
}

#[test]
fn the_last_public_neighbour_of_each_range_is_public_and_the_range_is_not() {
    let twins = [
        ("1.0.0.0", "0.255.255.255"),
        ("9.255.255.255", "10.0.0.0"),
        ("11.0.0.0", "10.255.255.255"),
        ("100.63.255.255", "100.64.0.0"),
        ("100.128.0.0", "100.127.255.255"),
        ("126.255.255.255", "127.0.0.0"),
        ("128.0.0.0", "127.255.255.255"),
        ("168.63.129.15", "168.63.129.16"),
        ("168.63.129.17", "168.63.129.16"),
        ("169.253.255.255", "169.254.0.0"),
        ("169.255.0.0", "169.254.255.255"),
        ("172.15.255.255", "172.16.0.0"),
        ("172.32.0.0", "172.31.255.255"),
        ("191.255.255.255", "192.0.0.0"),
        ("192.0.1.0", "192.0.0.255"),
        ("192.0.1.255", "192.0.2.0"),
        ("192.0.3.0", "192.0.2.255"),
        ("192.88.98.255", "192.88.99.0"),
        ("192.88.100.0", "192.88.99.255"),
        ("192.167.255.255", "192.168.0.0"),
        ("192.169.0.0", "192.168.255.255"),
        ("198.17.255.255", "198.18.0.0"),
        ("198.20.0.0", "198.19.255.255"),
        ("198.51.99.255", "198.51.100.0"),
        ("198.51.101.0", "198.51.100.255"),
        ("203.0.112.255", "203.0.113.0"),
        ("203.0.114.0", "203.0.113.255"),
        ("223.255.255.255", "224.0.0.0"),
        ("223.255.255.255", "255.255.255.255"),
        ("2000::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:200::", "2001:1ff:ffff::"),
        ("2001:db7:ffff::", "2001:db8::"),
        ("2001:db9::", "2001:db8:ffff::"),
        ("3ffe:ffff::", "3fff::"),
        ("3fff:1000::", "3fff:fff:ffff::"),
        ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::"),
    ];
    for (public, special) in twins {
        assert!(!Canonical::of(ip(public)).is_special(), "{public}");
        assert!(Canonical::of(ip(special)).is_special(), "{special}");
    }
}

#[test]
fn local_and_metadata_addresses_are_special() {
    for text in [
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "100::1",
        "64:ff9b:1::1",
        "5f00::1",
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
    ] {
        assert!(Canonical::of(ip(text)).is_special(), "{text}");
    }
}

#[test]
fn every_embedding_of_an_address_is_that_address() {
    for text in [
        "::ffff:10.1.2.3",
        "::10.1.2.3",
        "::ffff:0:10.1.2.3",
        "64:ff9b::10.1.2.3",
        "2002:a01:203::1",
        "2001:0:5db8:d822:0:f227:f5fe:fdfc",
        "2a00:1:2:3:0:5efe:10.1.2.3",
        "fe80::200:5efe:10.1.2.3",
    ] {
        let canonical = Canonical::of(ip(text));
        assert_eq!(canonical.ip(), ip("10.1.2.3"), "{text}");
        assert_eq!(canonical.dialled(), ip("10.1.2.3"), "{text}");
        assert!(canonical.is_special());
    }
}

#[test]
fn a_public_address_behind_nat64_is_judged_as_itself_and_dialled_through_it() {
    let canonical = Canonical::of(ip("64:ff9b::8.8.8.8"));
    assert_eq!(canonical.ip(), ip("8.8.8.8"));
    assert_eq!(canonical.dialled(), ip("64:ff9b::8.8.8.8"));
    assert!(!canonical.is_special());
    let mapped = Canonical::of(ip("::ffff:8.8.8.8"));
    assert_eq!(mapped.dialled(), ip("8.8.8.8"));
}

/// Addresses close to the interesting prefixes: each 16-bit group is likely to be one that matters.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let group = prop_oneof![
        Just(0_u16),
        Just(1),
        Just(0xffff),
        Just(0x64),
        Just(0xff9b),
        Just(0x2001),
        Just(0x2002),
        Just(0x0db8),
        Just(0x3fff),
        Just(0x5efe),
        Just(0x0200),
        Just(0x0a00),
        Just(0x7f00),
        any::<u16>(),
    ];
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        prop::array::uniform8(group).prop_map(|groups| Ipv6Addr::from(groups).into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_address_agrees_with_the_slow_table(ip in addresses()) {
        compare(ip);
    }

    #[test]
    fn canonicalising_twice_changes_nothing(ip in addresses()) {
        let once = Canonical::of(ip);
        prop_assert_eq!(Canonical::of(once.ip()).ip(), once.ip());
        prop_assert_eq!(Canonical::of(once.dialled()), once);
    }
}
