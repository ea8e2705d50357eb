//! HTTP prefaces without sockets.

use super::*;

fn status(outcome: &Outcome) -> u16 {
    let text = std::str::from_utf8(&outcome.said).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nConnection: close"), "{head}");
    let length = format!("\r\nContent-Length: {}", body.len());
    assert!(head.contains(&length), "{head}");
    let code = head.strip_prefix("HTTP/1.1 ").unwrap();
    code.split_once(' ').unwrap().0.parse().unwrap()
}

#[test]
fn connect_leads_to_its_destination_however_it_is_cut() {
    for (line, expected) in [
        ("Example.org:443 HTTP/1.1", (host("example.org"), 443)),
        ("192.0.2.1:80 HTTP/1.0", (host("192.0.2.1"), 80)),
        ("[2001:db8::7]:22 HTTP/1.1", (host("2001:db8::7"), 22)),
    ] {
        let head = format!("CONNECT {line}\r\nHost: x\r\nUser-Agent: y\r\n\r\n\x16early");
        let outcome = however_cut(head.as_bytes(), None);
        assert_eq!(outcome.request, Some(expected));
        assert_eq!(outcome.said, b"");
        assert_eq!(
            outcome.success,
            b"HTTP/1.1 200 Connection established\r\n\r\n"
        );
        assert_eq!(outcome.early, b"\x16early");
    }
}

#[test]
fn what_is_no_connect_hears_why() {
    for (head, code) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("GET http://example.org/ HTTP/1.1\r\n\r\n", 405),
        ("POST / HTTP/1.0\r\n\r\n", 405),
        ("CONNECT example.org HTTP/1.1\r\n\r\n", 400),
        ("CONNECT example.org: HTTP/1.1\r\n\r\n", 400),
        ("CONNECT example.org:+80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT example.org:65536 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT :80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT ::1:80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT [::1:80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT user@example.org:80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT a..b:80 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nbad header\r\n\r\n", 400),
        ("X\0\0\0", 400),
    ] {
        let outcome = however_cut(head.as_bytes(), None);
        assert_eq!(outcome.request, None, "{head}");
        assert_eq!(status(&outcome), code, "{head}");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_and_not_read_to_its_end() {
    let long = format!("CONNECT a:1 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let outcome = at_once(long.as_bytes(), None);
    assert_eq!(status(&outcome), 431);
    assert_eq!(outcome.left, long.len() - HEAD_BYTES_MAX);
    let many = format!("CONNECT a:1 HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
    assert_eq!(status(&at_once(many.as_bytes(), None)), 431);
    let fits = format!("CONNECT a:1 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(8000));
    assert_eq!(at_once(fits.as_bytes(), None).request, Some((host("a"), 1)));
}

#[test]
fn a_head_of_exactly_the_limit_passes() {
    let bare = "CONNECT a:1 HTTP/1.1\r\nX: \r\n\r\n";
    let fill = "x".repeat(HEAD_BYTES_MAX - bare.len());
    let head = format!("CONNECT a:1 HTTP/1.1\r\nX: {fill}\r\n\r\n");
    assert_eq!(head.len(), HEAD_BYTES_MAX);
    assert_eq!(at_once(head.as_bytes(), None).request, Some((host("a"), 1)));
}

fn with_login(header: &str) -> Outcome {
    let head = format!("CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n{header}\r\n");
    however_cut(head.as_bytes(), Some(&users()))
}

#[test]
fn the_right_password_is_let_in() {
    for header in [
        "Proxy-Authorization: Basic YW5uOnBhc3M6d29yZA==\r\n",
        "proxy-authorization: basic  YW5uOnBhc3M6d29yZA== \r\n",
        "Proxy-Authorization: Basic Ym9iOg==\r\n",
    ] {
        let outcome = with_login(header);
        assert_eq!(
            outcome.request,
            Some((host("example.org"), 443)),
            "{header}"
        );
    }
}

#[test]
fn a_wrong_password_or_none_hears_how_to_log_in() {
    for header in [
        "",
        "Authorization: Basic YW5uOnBhc3M6d29yZA==\r\n",
        "Proxy-Authorization: Basic YW5uOnBhc3M6d29yZQ==\r\n",
        "Proxy-Authorization: Basic ZXZlOnBhc3M6d29yZA==\r\n",
        "Proxy-Authorization: Basic YW5u\r\n",
        "Proxy-Authorization: Basic ***\r\n",
        "Proxy-Authorization: Basic\r\n",
        "Proxy-Authorization: Bearer YW5uOnBhc3M6d29yZA==\r\n",
    ] {
        let outcome = with_login(header);
        assert_eq!(outcome.request, None, "{header}");
        assert_eq!(status(&outcome), 407, "{header}");
        let said = String::from_utf8(outcome.said).unwrap();
        assert!(
            said.contains("\r\nProxy-Authenticate: Basic realm="),
            "{said}"
        );
    }
}

#[test]
fn failures_of_the_far_side_have_their_status() {
    for (failure, code) in [
        (OpenFailure::Denied, 403),
        (OpenFailure::Refused, 502),
        (OpenFailure::TimedOut, 504),
        (OpenFailure::Limit, 503),
        (OpenFailure::NoPath, 504),
    ] {
        let said = http::failure(failure);
        let outcome = Outcome {
            said,
            ..Outcome::default()
        };
        assert_eq!(status(&outcome), code);
    }
}
