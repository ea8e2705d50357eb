//! SOCKS5 prefaces without sockets.

use std::net::Ipv6Addr;

use super::*;

fn connect_to(request: &[u8]) -> Outcome {
    however_cut(&joined(&[GREETING, request, b"early"]), None)
}

#[test]
fn every_address_type_leads_to_its_destination_however_it_is_cut() {
    let v4 = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50";
    let mut v6 = b"\x05\x01\x00\x04".to_vec();
    v6.extend_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    v6.extend_from_slice(b"\x01\xbb");
    for (request, expected) in [
        (v4.to_vec(), (host("192.0.2.1"), 80)),
        (v6, (host("2001:db8::7"), 443)),
        (named(b"Example.ORG.", 65535), (host("example.org"), 65535)),
        (named(b"127.0.0.1", 22), (host("127.0.0.1"), 22)),
        (named(b"::1", 22), (host("::1"), 22)),
        (named(b"ssh.gw.muses", 0), (host("ssh.gw.muses"), 0)),
    ] {
        let outcome = connect_to(&request);
        assert_eq!(outcome.request, Some(expected));
        assert_eq!(outcome.said, NO_LOGIN);
        assert_eq!(outcome.success, reply(0x00));
        assert_eq!(outcome.early, b"early");
    }
}

#[test]
fn a_name_may_have_255_bytes() {
    let name = ["a", "b", "c", "d"].map(|c| c.repeat(63)).join(".");
    let outcome = connect_to(&named(name.as_bytes(), 1));
    assert_eq!(outcome.request, Some((host(&name), 1)));
}

#[test]
fn the_longest_preface_fits() {
    let users = Users::new([("u".repeat(255), "s".repeat(255))]);
    let name = ["a", "b", "c", "d"].map(|c| c.repeat(63)).join(".");
    let mut bytes = vec![5, 255];
    bytes.extend_from_slice(&[2; 255]);
    bytes.extend_from_slice(&[1, 255]);
    bytes.extend_from_slice(&[b'u'; 255]);
    bytes.push(255);
    bytes.extend_from_slice(&[b's'; 255]);
    bytes.extend_from_slice(&named(name.as_bytes(), 9));
    assert_eq!(bytes.len(), 1032);
    let outcome = however_cut(&bytes, Some(&users));
    assert_eq!(outcome.request, Some((host(&name), 9)));
    bytes.extend_from_slice(&[b'e'; 5000]);
    let outcome = at_once(&bytes, Some(&users));
    assert_eq!(outcome.request, Some((host(&name), 9)));
    assert_eq!((outcome.early.len(), outcome.left), (0, 5000));
}

#[test]
fn a_reserved_byte_that_is_not_zero_is_tolerated() {
    let outcome = connect_to(b"\x05\x01\x77\x01\xc0\x00\x02\x01\x00\x50");
    assert_eq!(outcome.request, Some((host("192.0.2.1"), 80)));
}

#[test]
fn a_request_that_is_not_supported_hears_the_exact_code() {
    for (request, code) in [
        (&b"\x05\x02\x00\x01\xc0\x00\x02\x01\x00\x50"[..], 0x07),
        (b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", 0x07),
        (b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x50", 0x07),
        (b"\x05\xf0\x00\x03\x01a\x00\x50", 0x07),
        (b"\x05\x01\x00\x00", 0x08),
        (b"\x05\x01\x00\x02\xc0\x00\x02\x01\x00\x50", 0x08),
        (b"\x05\x09\x00\xff\xc0\x00\x02\x01\x00\x50", 0x08),
        (b"\x04\x01\x00\x01\xc0\x00\x02\x01\x00\x50", 0x01),
    ] {
        let outcome = however_cut(&joined(&[GREETING, request]), None);
        assert_eq!(outcome.request, None, "{request:?}");
        assert_eq!(
            outcome.said,
            joined(&[NO_LOGIN, &reply(code)]),
            "{request:?}"
        );
    }
}

#[test]
fn an_odd_name_is_a_general_failure() {
    for name in [
        &b""[..],
        b".",
        b"a b",
        b"a\0b",
        b"a..b",
        b"\xff\xfe",
        b"\xc3\xa4.example",
        b"http://a",
        b"fe80::1%eth0",
        b"a\r\nb",
    ] {
        let outcome = however_cut(&joined(&[GREETING, &named(name, 80)]), None);
        assert_eq!(outcome.request, None, "{name:?}");
        assert_eq!(outcome.said, joined(&[NO_LOGIN, &reply(0x01)]), "{name:?}");
    }
}

#[test]
fn a_request_that_ends_early_hears_nothing_about_it() {
    let bytes = joined(&[GREETING, &named(b"example.org", 80)]);
    for len in 0..bytes.len() {
        let outcome = at_once(&bytes[..len], None);
        assert_eq!(outcome.request, None);
        let expected = if len < GREETING.len() { b"" } else { NO_LOGIN };
        assert_eq!(outcome.said, expected, "{len}");
    }
}

fn logged_in(login: &[u8], users: Option<&Users>) -> Outcome {
    let request = named(b"example.org", 80);
    however_cut(
        &joined(&[b"\x05\x02\x00\x02", login, &request, b"x"]),
        users,
    )
}

#[test]
fn the_right_password_is_let_in() {
    let users = users();
    for login in [&b"\x01\x03ann\x09pass:word"[..], b"\x01\x03bob\x00"] {
        let outcome = logged_in(login, Some(&users));
        assert_eq!(outcome.request, Some((host("example.org"), 80)));
        assert_eq!(outcome.said, b"\x05\x02\x01\x00");
        assert_eq!(outcome.success, reply(0x00));
        assert_eq!(outcome.early, b"x");
    }
}

#[test]
fn a_wrong_user_and_a_wrong_password_hear_the_same() {
    let users = users();
    for login in [
        &b"\x01\x03ann\x09pass:wOrd"[..],
        b"\x01\x03eve\x09pass:word",
        b"\x01\x00\x00",
        b"\x01\x03ann\x00",
        b"\x01\x03\xff\xfe\xfd\x01\xff",
        b"\x05\x03ann\x09pass:word",
    ] {
        let outcome = logged_in(login, Some(&users));
        assert_eq!(outcome.request, None, "{login:?}");
        assert_eq!(outcome.said, b"\x05\x02\x01\x01", "{login:?}");
    }
}

#[test]
fn without_a_password_nobody_passes_where_one_is_required() {
    let users = users();
    for greeting in [&b"\x05\x01\x00"[..], b"\x05\x00", b"\x05\x02\x00\x01"] {
        let bytes = joined(&[greeting, &named(b"example.org", 80)]);
        let outcome = however_cut(&bytes, Some(&users));
        assert_eq!(outcome.request, None, "{greeting:?}");
        assert_eq!(outcome.said, NO_METHOD, "{greeting:?}");
    }
    assert_eq!(at_once(b"\x05\x01\x01", None).said, NO_METHOD);
}

#[test]
fn a_client_that_insists_on_a_password_passes_where_none_is_required() {
    let request = named(b"example.org", 80);
    let bytes = joined(&[b"\x05\x01\x02\x01\x03eve\x01x", &request]);
    let outcome = however_cut(&bytes, None);
    assert_eq!(outcome.request, Some((host("example.org"), 80)));
    assert_eq!(outcome.said, b"\x05\x02\x01\x00");
}
