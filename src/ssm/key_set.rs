//! The keys of one pair, seen from one side, with everything that must live and die with them.

use thiserror::Error;

use crate::limits::PAIR_PACKETS_MAX;
use crate::ssm::replay::ReplayWindow;
use crate::ssm::schedule::{Pair, PairMaterial, Side};
use crate::ssm::suite::{OpenKey, SealKey, Suite};

/// Bytes of a packet's header: type, receiver index, selector, packet number (R-W1).
pub const HEADER_LEN: usize = 19;
/// Bytes of the associated data: context digest, direction, header.
const AAD_LEN: usize = 32 + 1 + HEADER_LEN;

/// A counter that must never wrap has reached its end (R-K8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no packet or resume number is left")]
pub struct Exhausted;

/// Why a packet did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unopened {
    /// Its number was seen, is too old, or is none that is ever used.
    #[error("an old packet")]
    Old,
    /// It was forged, or spoilt on its way.
    #[error("a forged packet")]
    Forged,
}

/// Both directions' keys of one pair, the packet number counter and the replay window.
///
/// Not `Clone`: a second copy would use packet numbers twice.
#[derive(Debug)]
pub struct KeySet {
    pair: Pair,
    side: Side,
    context: [u8; 32],
    seal: SealKey,
    open: OpenKey,
    next_number: u64,
    bytes_sealed: u64,
    replay: ReplayWindow,
}

impl KeySet {
    /// The key set of `side`, from the material of `pair`.
    pub(super) fn new(
        pair: Pair,
        side: Side,
        suite: Suite,
        context: [u8; 32],
        material: &PairMaterial,
    ) -> Self {
        let (own, peer) = match side {
            Side::A => (&material.from_a, &material.from_b),
            Side::B => (&material.from_b, &material.from_a),
        };
        Self {
            pair,
            side,
            context,
            seal: SealKey::new(suite, own),
            open: OpenKey::new(suite, peer),
            next_number: 0,
            bytes_sealed: 0,
            replay: ReplayWindow::new(),
        }
    }

    /// Seals `plain` in place under the next packet number, which it gives back.
    ///
    /// The number is used up before sealing, whatever becomes of the packet (R-W2). `header` is told
    /// the number and gives the header that is authenticated; `tag` has the suite's tag length.
    pub fn seal(
        &mut self,
        header: impl FnOnce(u64) -> [u8; HEADER_LEN],
        plain: &mut [u8],
        tag: &mut [u8],
    ) -> Result<u64, Exhausted> {
        let number = self.next_number;
        if number >= PAIR_PACKETS_MAX {
            return Err(Exhausted);
        }
        self.next_number += 1;
        self.bytes_sealed = self.bytes_sealed.saturating_add(plain.len() as u64);
        let aad = aad(&self.context, self.side, &header(number));
        self.seal.seal(number, &aad, plain, tag);
        Ok(number)
    }

    /// Opens `body`, ciphertext and tag, in place. Whatever does not open changes nothing (R-W5 to R-W7).
    pub fn open<'b>(
        &mut self,
        number: u64,
        header: &[u8; HEADER_LEN],
        body: &'b mut [u8],
    ) -> Result<&'b mut [u8], Unopened> {
        if number >= PAIR_PACKETS_MAX || !self.replay.check(number) {
            return Err(Unopened::Old);
        }
        let aad = aad(&self.context, self.side.other(), header);
        let opened = self.open.open(number, &aad, body);
        let opened = opened.ok_or(Unopened::Forged)?;
        self.replay.mark(number);
        Ok(opened)
    }

    /// The pair these keys belong to.
    pub const fn pair(&self) -> Pair {
        self.pair
    }

    /// Packets sealed; also the next packet number.
    pub const fn packets_sealed(&self) -> u64 {
        self.next_number
    }

    /// Bytes of plaintext sealed.
    pub const fn bytes_sealed(&self) -> u64 {
        self.bytes_sealed
    }

    /// Continues at `number`, to test what happens near the end.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, number: u64) {
        self.next_number = number;
    }
}

/// Context digest || direction || header.
fn aad(context: &[u8; 32], sender: Side, header: &[u8; HEADER_LEN]) -> [u8; AAD_LEN] {
    let mut out = [0; AAD_LEN];
    out[..32].copy_from_slice(context);
    out[32] = sender.direction();
    out[33..].copy_from_slice(header);
    out
}
