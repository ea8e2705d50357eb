//! Codecs of packets, frames and links, and the replay window.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use muses::link::frames::{FrameOpener, FrameSealer, OpenFrame};
use muses::name::Identity;
use muses::ssm::replay::ReplayWindow;
use muses::ssm::schedule::Secret;
use muses::wire::codec::Reader;
use muses::wire::frame::{Ack, ChannelId, Frame};
use muses::wire::link::{Head, Route};
use muses::wire::packet::{HEADER_LEN, Header};

/// Bodies of link frames, bytes: a keystroke, a segment, the largest packet.
const BODIES: [usize; 3] = [64, 1200, 65_000];
/// Packet numbers that the replay window takes in one turn.
const NUMBERS: u64 = 1024;

fn header() -> Header {
    Header {
        index: 0x0123_4567_89ab_cdef,
        selector: [1, 2],
        number: 123_456,
    }
}

fn route() -> Route {
    let [from, to] = [1, 2].map(|seed| Identity::from_seed(&[seed; 32]).name().tag());
    Route::neighbour(from, to)
}

fn data(bytes: &[u8]) -> Frame<'_> {
    Frame::Data {
        channel: ChannelId::new(false, 7, 4242),
        offset: 1 << 30,
        fin: false,
        bytes,
    }
}

/// Every other packet of the last 64 has arrived: as many ranges as an acknowledgement holds.
fn ack() -> Frame<'static> {
    Frame::Ack(Ack {
        selector: [1, 2],
        delay_us: 300,
        marked: 0,
        ranges: (0..32).map(|n| 100_000 - 2 * n).map(|n| (n, n)).collect(),
    })
}

#[divan::bench]
fn packet_header_encode() -> [u8; HEADER_LEN] {
    black_box(header()).to_bytes()
}

#[divan::bench]
fn packet_header_decode(bencher: Bencher<'_, '_>) {
    let bytes = header().to_bytes();
    bencher.bench_local(|| Header::decode(&mut Reader::new(black_box(&bytes))));
}

#[divan::bench]
fn data_frame_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, &data(&[9; 1200]));
}

#[divan::bench]
fn data_frame_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, &data(&[9; 1200]));
}

#[divan::bench]
fn ack_of_32_ranges_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, &ack());
}

#[divan::bench]
fn ack_of_32_ranges_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, &ack());
}

fn encode(bencher: Bencher<'_, '_>, frame: &Frame<'_>) {
    let mut out = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        out.clear();
        black_box(frame).encode(&mut out);
    });
}

fn decode(bencher: Bencher<'_, '_>, frame: &Frame<'_>) {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bencher.bench_local(|| {
        let decoded = Frame::decode(&mut Reader::new(black_box(&bytes)));
        assert!(decoded.is_ok());
    });
}

/// Seals a link frame around a body that is there already, as a hop or a sender does, and opens it.
#[divan::bench(args = BODIES)]
fn link_frame_seal_then_open(bencher: Bencher<'_, '_>, body: usize) {
    let head = Head::Packet {
        route: route(),
        header: header().to_bytes(),
    };
    let secret = || Secret::from_bytes([5; 32].into());
    let (mut sealer, mut opener) = (FrameSealer::new(secret()), FrameOpener::new(secret()));
    let body = vec![7; body];
    let mut out = Vec::with_capacity(body.len() + 256);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| {
            out.clear();
            let open = OpenFrame::begin(black_box(&head), &mut out);
            out.extend_from_slice(&body);
            assert!(sealer.finish(open, None, &mut out).is_ok());
            assert!(matches!(opener.open(&mut out), Ok(Some(_))));
        });
}

#[divan::bench]
fn replay_window_in_order(bencher: Bencher<'_, '_>) {
    let mut window = ReplayWindow::new();
    let mut next = 0;
    bencher.counter(ItemsCount::new(NUMBERS)).bench_local(|| {
        for number in next..next + NUMBERS {
            assert!(window.check(black_box(number)));
            window.mark(number);
        }
        next += NUMBERS;
    });
}

#[divan::bench]
fn replay_window_backwards(bencher: Bencher<'_, '_>) {
    let mut window = ReplayWindow::new();
    let mut next = 0;
    bencher.counter(ItemsCount::new(NUMBERS)).bench_local(|| {
        for number in (next..next + NUMBERS).rev() {
            assert!(window.check(black_box(number)));
            window.mark(number);
        }
        next += NUMBERS;
    });
}
