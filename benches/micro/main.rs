//! Micro benches of the pure rooms: `cargo bench --bench micro`, one by name with
//! `cargo bench --bench micro -- seal`. No sockets and no clock but the bench's own.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a bench whose work goes wrong has nothing to measure"
)]

mod codec;
mod seal;
mod session;

fn main() {
    divan::main();
}
