//! Bodies of the fuzz targets: each takes any bytes and must neither panic nor hang.
//!
//! `fuzz/` runs them under a coverage-guided fuzzer; `tests/corpora.rs` replays what it has found.

mod directory;
mod handshakes;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::acl::{Canonical, Pattern};

use crate::config::{Config, Source};
use crate::link::frames::FrameOpener;
use crate::link::handshake::{Judge, Listener};
use crate::name::certificate::{Certificate, LocalParty, OverlayId, StaticKey, Terms};
use crate::name::{Identity, Name};
use crate::proxy::exercise;
use crate::random::Random;
use crate::srm::resume::Hello;
use crate::ssm::handshake::Responder;
use crate::ssm::replay::{ReplayWindow, WINDOW};
use crate::ssm::schedule::Secret;
use crate::time::Calendar;
use crate::wire::codec::Reader;
use crate::wire::frame::Frame;
use crate::wire::link::{Head, LENGTHS_LEN, Lengths};
use crate::wire::location::Location;
use crate::wire::notice::Notice;
use crate::wire::packet::Header;
use crate::wire::target::{Host, Target};

/// A fuzz target: its name, which is also its corpus folder, and its body.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [FuzzTarget; 24] = [
    ("address", address),
    ("certificate", certificate),
    ("config", config),
    ("control_request", control_request),
    ("cookie_reply", handshakes::cookie_reply),
    ("directory", directory::message),
    ("frame", frame),
    ("hello_a", hello_a),
    ("hello_b", handshakes::hello_b),
    ("host", host),
    ("link_answer", handshakes::link_answer),
    ("link_first_message", link_first_message),
    ("link_frame", link_frame),
    ("link_head", link_head),
    ("link_third_message", handshakes::link_third_message),
    ("name", name),
    ("notice", notice),
    ("packet_header", packet_header),
    ("pattern", pattern),
    ("preface", preface),
    ("re_hello", re_hello),
    ("record", directory::record),
    ("replay_window", replay_window),
    ("target", target),
];

fn party() -> LocalParty {
    let terms = Terms {
        not_before: Calendar(0),
        not_after: Calendar(1 << 40),
        serial: 1,
    };
    let key = StaticKey::from_bytes([9; 32]);
    LocalParty::new(
        Identity::from_seed(&[7; 32]),
        key,
        terms,
        [3; 16],
        OverlayId::of("fuzz"),
    )
}

/// An address, against a reference that knows each way to hide an IPv4 address in an IPv6 one (R-A3).
pub fn address(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<16>() else {
        return;
    };
    let ip = Ipv6Addr::from(*bytes);
    let [.., a, b, c, d] = *bytes;
    let last = Ipv4Addr::new(a, b, c, d);
    let hidden = match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last),
        [0x2002, ..] => Some(Ipv4Addr::new(bytes[2], bytes[3], bytes[4], bytes[5])),
        [0x2001, 0, ..] => Some(Ipv4Addr::new(!a, !b, !c, !d)),
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => Some(last),
        _ => None,
    };
    let inner = |ip: Ipv4Addr| ip.is_loopback() || ip.is_private() || ip.is_link_local();
    for (ip, secret) in [
        (
            IpAddr::V6(ip),
            hidden.is_some_and(inner) || ip.is_loopback(),
        ),
        (IpAddr::V4(last), inner(last)),
    ] {
        let canonical = Canonical::of(ip);
        assert!(canonical.is_special() || !secret, "{ip} passes as public");
        assert_eq!(Canonical::of(canonical.ip()).ip(), canonical.ip());
    }
}

/// A certificate, and its verification.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::decode(&mut Reader::new(data)) {
        let verified = certificate.verify(&OverlayId::of("fuzz"), Calendar(5), None);
        assert!(
            verified.is_err(),
            "nobody can sign for the names of a fuzzer"
        );
    }
}

/// A configuration file.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = |_: &Path| Err("no files here".to_owned());
    let source = Source {
        path: Path::new("fuzz.toml"),
        text: &text,
        read: &read,
    };
    match Config::parse(&source, 512 << 20) {
        Ok(config) => drop(config.exposure(&[]).to_string()),
        Err(error) => assert!(!error.to_string().is_empty(), "an error names its place"),
    }
}

/// A request on the control socket.
pub fn control_request(data: &[u8]) {
    // Whether it is one does not matter.
    let _request = serde_json::from_slice::<crate::control::protocol::Request>(data);
}

/// Frames of a sealed packet.
pub fn frame(data: &[u8]) {
    let mut reader = Reader::new(data);
    while !reader.is_empty() {
        let Ok(frame) = Frame::decode(&mut reader) else {
            return;
        };
        let mut out = Vec::new();
        frame.encode(&mut out);
        assert_eq!(Frame::decode(&mut Reader::new(&out)), Ok(frame));
    }
}

/// The first message of a session's handshake.
pub fn hello_a(data: &[u8]) {
    let me = party();
    let mut random = Random::from_number(1);
    let read = Responder::new(&me, &[0; 32]).read(data, Calendar(5), &|_| None, &mut random);
    assert!(read.is_err(), "a fuzzer has no keys");
}

/// A host name or address, and a target with it.
pub fn host(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(host) = text.parse::<Host>() {
        assert_eq!(
            host.to_string().parse(),
            Ok(host.clone()),
            "canonical once, canonical for ever"
        );
        let mut out = Vec::new();
        let target = Target::Address(host, 80);
        target.encode(&mut out);
        assert_eq!(Target::decode(&mut Reader::new(&out)), Ok(target));
    }
}

/// The first message on a link port.
pub fn link_first_message(data: &[u8]) {
    let me = party();
    let mut listener = Listener::new(&me, None, &mut Random::from_number(1));
    let judge = Judge {
        me: &me,
        now: Calendar(5),
        last_serial: &|_| None,
    };
    if let Ok(step) = listener.read(&judge, data) {
        assert!(step.done.is_none(), "a fuzzer has no keys");
    }
}

/// Bytes on a link whose handshake is done.
pub fn link_frame(data: &[u8]) {
    let mut buffer = data.to_vec();
    let opened = FrameOpener::new(Secret::from_bytes([5; 32].into())).open(&mut buffer);
    assert!(!matches!(opened, Ok(Some(_))), "a fuzzer has no keys");
}

/// The head of a link frame.
pub fn link_head(data: &[u8]) {
    if let Some((lengths, rest)) = data.split_first_chunk::<LENGTHS_LEN>() {
        if let Ok(lengths) = Lengths::decode(*lengths) {
            assert_eq!(Lengths::decode(lengths.to_bytes()), Ok(lengths));
        }
        for has_body in [false, true] {
            if let Ok(head) = Head::decode(rest, has_body) {
                let mut out = Vec::new();
                head.encode(&mut out);
                assert_eq!(Head::decode(&out, has_body), Ok(head));
            }
        }
    }
}

/// The text of a name.
pub fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string(), text.to_ascii_lowercase());
    }
}

/// A notice about a way.
pub fn notice(data: &[u8]) {
    if let Ok((route, notice)) = Notice::decode(data) {
        let again = notice.encode(&route);
        assert_eq!(Notice::decode(&again), Ok((route, notice)));
    }
}

/// The header of a packet, and a location behind it.
pub fn packet_header(data: &[u8]) {
    let mut reader = Reader::new(data);
    if let Ok(header) = Header::decode(&mut reader) {
        assert!(data.starts_with(&header.to_bytes()));
    }
    if let Ok(location) = Location::decode(&mut reader) {
        let mut out = Vec::new();
        location.encode(&mut out);
        assert_eq!(Location::decode(&mut Reader::new(&out)), Ok(location));
    }
}

/// A pattern of a grant or a route.
pub fn pattern(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(pattern) = Pattern::parse(&text, None) {
        let shown = pattern.to_string();
        let again = Pattern::parse(&shown, None).map(|again| again.to_string());
        assert_eq!(
            again.as_deref(),
            Ok(&*shown),
            "canonical once, canonical for ever"
        );
    }
}

/// What an application says to the proxy: the first two bytes place the cuts between its pieces.
pub fn preface(data: &[u8]) {
    let Some(([first, second], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let cuts = [
        usize::from(*first),
        usize::from(*first) + usize::from(*second),
    ];
    exercise::preface(bytes, &cuts, None);
}

/// An opened Re-Hello.
pub fn re_hello(data: &[u8]) {
    if let Ok(hello) = Hello::decode(data) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
}

/// Packet numbers, each one byte away from the last or two bytes of jump, against a set of all of them.
pub fn replay_window(data: &[u8]) {
    let mut window = ReplayWindow::new();
    let mut seen = BTreeSet::new();
    let (mut number, mut highest) = (0_u64, 0_u64);
    for [step, far] in data.as_chunks::<2>().0 {
        let step = u64::from(*step) << (far % 16);
        number = if far & 0x80 == 0 {
            number.saturating_add(step)
        } else {
            number.saturating_sub(step)
        };
        let fresh = !seen.contains(&number);
        let old = highest.saturating_sub(number) >= WINDOW;
        let good = window.check(number);
        assert!(fresh || !good, "{number} is taken twice");
        assert!(good || !fresh || old, "{number} is refused");
        if good {
            window.mark(number);
            seen.insert(number);
            highest = highest.max(number);
        }
    }
}

/// Where a channel shall lead, as OPEN carries it.
pub fn target(data: &[u8]) {
    if let Ok(target) = Target::decode(&mut Reader::new(data)) {
        let mut out = Vec::new();
        target.encode(&mut out);
        assert_eq!(Target::decode(&mut Reader::new(&out)).as_ref(), Ok(&target));
        assert!(!target.to_string().chars().any(char::is_control));
    }
}
