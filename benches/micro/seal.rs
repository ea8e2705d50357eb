//! Sealing and opening packets, by suite and size; one thread.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use muses::ssm::suite::{MATERIAL_LEN, OpenKey, SealKey, Suite};
use muses::wire::packet::HEADER_LEN;

/// Plaintext sizes, bytes.
const SIZES: [usize; 4] = [64, 1 << 10, 16 << 10, 64 << 10];

/// A suite as a type, so that its name shows in the results.
trait Cipher {
    const SUITE: Suite;
}

struct Aes256Gcm;
struct Chacha20Poly1305;
struct Aes128CtrHmacSha1;

impl Cipher for Aes256Gcm {
    const SUITE: Suite = Suite::Aes256Gcm;
}

impl Cipher for Chacha20Poly1305 {
    const SUITE: Suite = Suite::Chacha20Poly1305;
}

impl Cipher for Aes128CtrHmacSha1 {
    const SUITE: Suite = Suite::PaperAes128CtrHmacSha1;
}

const MATERIAL: [u8; MATERIAL_LEN] = [7; MATERIAL_LEN];
const AAD: [u8; HEADER_LEN] = [3; HEADER_LEN];

/// A packet buffer, its plaintext's length, and its sealing key.
fn packet<C: Cipher>(size: usize) -> (Vec<u8>, SealKey) {
    let buffer = vec![0x5a; size + C::SUITE.tag_len()];
    (buffer, SealKey::new(C::SUITE, &MATERIAL))
}

#[divan::bench(types = [Aes256Gcm, Chacha20Poly1305, Aes128CtrHmacSha1], args = SIZES)]
fn seal<C: Cipher>(bencher: Bencher<'_, '_>, size: usize) {
    let (mut buffer, key) = packet::<C>(size);
    let mut number = 0;
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let (plain, tag) = buffer.split_at_mut(size);
        key.seal(number, black_box(&AAD), plain, tag);
        number += 1;
    });
}

#[divan::bench(types = [Aes256Gcm, Chacha20Poly1305, Aes128CtrHmacSha1], args = SIZES)]
fn open<C: Cipher>(bencher: Bencher<'_, '_>, size: usize) {
    let (mut buffer, key) = packet::<C>(size);
    let (plain, tag) = buffer.split_at_mut(size);
    key.seal(1, &AAD, plain, tag);
    let open = OpenKey::new(C::SUITE, &MATERIAL);
    // Opening is in place: each turn needs the ciphertext anew.
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| buffer.clone())
        .bench_local_refs(|sealed| {
            assert!(open.open(1, black_box(&AAD), sealed).is_some());
        });
}

#[divan::bench(types = [Aes256Gcm, Chacha20Poly1305, Aes128CtrHmacSha1], args = SIZES)]
fn seal_then_open<C: Cipher>(bencher: Bencher<'_, '_>, size: usize) {
    let (mut buffer, key) = packet::<C>(size);
    let open = OpenKey::new(C::SUITE, &MATERIAL);
    let mut number = 0;
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let (plain, tag) = buffer.split_at_mut(size);
        key.seal(number, black_box(&AAD), plain, tag);
        assert!(open.open(number, black_box(&AAD), &mut buffer).is_some());
        number += 1;
    });
}
