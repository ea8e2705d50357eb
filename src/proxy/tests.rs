use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;

use super::*;
use crate::name::Identity;
use crate::proxy::exercise::{Outcome, preface};
use crate::proxy::http::HEAD_BYTES_MAX;

mod http_connect;
mod sockets;
mod socks5;

/// Leads `denied.example` nowhere, `away.example` to nobody, and everything else where it asks.
struct Straight;

impl Router for Straight {
    fn choose(&self, host: &Host, port: u16) -> Result<(Vec<Name>, Target), OpenFailure> {
        match host.to_string().as_str() {
            "denied.example" => Err(OpenFailure::Denied),
            "away.example" => Ok((Vec::new(), Target::Address(host.clone(), port))),
            _ => Ok((vec![gateway()], Target::Address(host.clone(), port))),
        }
    }
}

fn gateway() -> Name {
    Identity::from_seed(&[3; 32]).name()
}

fn users() -> Users {
    Users::new([("ann", "pass:word"), ("bob", "")])
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn front(room: usize) -> (FrontEnd, mpsc::Receiver<LocalConnection>) {
    let (gate, connections) = mpsc::channel(room);
    (
        FrontEnd::new(Arc::new(Straight), None, gate, 1),
        connections,
    )
}

const GREETING: &[u8] = b"\x05\x01\x00";
const NO_LOGIN: &[u8] = b"\x05\x00";
const NO_METHOD: &[u8] = b"\x05\xff";

fn reply(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// A SOCKS5 request for a host in its name form.
fn named(name: &[u8], port: u16) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
    request.extend_from_slice(name);
    request.extend_from_slice(&port.to_be_bytes());
    request
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Runs a client that says everything at once.
fn at_once(bytes: &[u8], users: Option<&Users>) -> Outcome {
    preface(bytes, &[], users)
}

/// Runs a client in two parts for every place between them, and byte by byte, and expects the same
/// request, the same replies and every byte behind the request.
fn however_cut(bytes: &[u8], users: Option<&Users>) -> Outcome {
    let whole = at_once(bytes, users);
    let tail = |outcome: &Outcome| {
        let read = bytes.len() - outcome.left;
        let start = read - outcome.early.len();
        assert_eq!(&bytes[start..read], outcome.early.as_slice());
        start
    };
    let mut cuts: Vec<Vec<usize>> = (0..=bytes.len()).map(|cut| vec![cut]).collect();
    cuts.push((0..bytes.len()).collect());
    for cut in cuts {
        let outcome = preface(bytes, &cut, users);
        assert_eq!(outcome.request, whole.request, "{cut:?}");
        assert_eq!(outcome.success, whole.success, "{cut:?}");
        assert_eq!(outcome.said, whole.said, "{cut:?}");
        if whole.request.is_some() {
            assert_eq!(tail(&outcome), tail(&whole), "{cut:?}");
        }
    }
    whole
}

/// Everything that a front end may ever say before the far side has answered.
fn sayable() -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::from([Vec::new(), NO_METHOD.to_vec()]);
    for start in [&b"\x05\x00"[..], b"\x05\x02", b"\x05\x02\x01\x00"] {
        all.insert(start.to_vec());
        for code in [0x01, 0x07, 0x08] {
            all.insert(joined(&[start, &reply(code)]));
        }
    }
    all.insert(b"\x05\x02\x01\x01".to_vec());
    let users = users();
    for head in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT a:1 HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT\r\n\r\n".to_owned(),
        format!("GET /{}", "a".repeat(HEAD_BYTES_MAX)),
    ] {
        let said = at_once(head.as_bytes(), Some(&users)).said;
        assert!(said.starts_with(b"HTTP/1.1 4"), "{head}");
        all.insert(said);
    }
    assert_eq!(all.len(), 2 + 3 * 4 + 1 + 4);
    all
}

/// Bytes that get far: pieces of both protocols between random ones.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(GREETING.to_vec()),
        Just(b"\x05\x02\x00\x02".to_vec()),
        Just(b"\x01\x03ann\x09pass:word".to_vec()),
        Just(named(b"www.example.org", 443)),
        Just(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50".to_vec()),
        Just(b"CONNECT example.org:443 HTTP/1.1\r\n".to_vec()),
        Just(b"Proxy-Authorization: Basic YW5uOnBhc3M6d29yZA==\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_preface_panics_or_hears_its_own_words(
        bytes in pieces(),
        cuts in prop::collection::vec(0..300_usize, 0..6),
        with_users in any::<bool>(),
    ) {
        let users = with_users.then(users);
        let outcome = preface(&bytes, &cuts, users.as_ref());
        prop_assert!(sayable().contains(&outcome.said), "{:?}", outcome.said);
        let whole = preface(&bytes, &[], users.as_ref());
        prop_assert_eq!(&outcome.request, &whole.request);
        if outcome.request.is_some() {
            let read = bytes.len() - outcome.left;
            prop_assert!(bytes[..read].ends_with(&outcome.early));
        }
    }
}

#[test]
fn other_protocols_are_left_without_a_reply() {
    for first in 0..=255_u8 {
        let outcome = at_once(&[first, 0x01, 0x00, 0x50], None);
        let known = first == 5 || first.is_ascii_uppercase();
        assert_eq!(outcome.request, None);
        if !known {
            assert_eq!(outcome.said, b"", "{first:#x}");
        }
    }
    assert_eq!(at_once(b"", None), Outcome::default());
}
