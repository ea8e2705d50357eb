//! Bytes that can be told wrong at their place, cheaply on both ends.

/// A prime above 2^18: a packet that is lost, doubled or swapped shifts the pattern visibly, and the
/// whole stays in a core's cache.
const PERIOD: usize = 262_147;
/// Longest piece written at once, bytes.
pub(crate) const PIECE: usize = 256 << 10;

/// The endless pattern, at some position.
pub(crate) struct Pattern {
    bytes: Vec<u8>,
    at: usize,
}

impl Pattern {
    /// At its start.
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(PERIOD + 8);
        while bytes.len() < PERIOD {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(PERIOD);
        Self { bytes, at: 0 }
    }

    /// The next bytes, at least one and at most `max` (which is not zero).
    pub(crate) fn peek(&self, max: u64) -> &[u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let max = usize::try_from(max).unwrap_or(PIECE).min(PIECE);
        rest.get(..max).unwrap_or(rest)
    }

    /// So many of them are done.
    pub(crate) fn advance(&mut self, count: usize) {
        self.at = (self.at + count) % PERIOD;
    }

    /// Whether `bytes` come next; goes on behind them.
    pub(crate) fn check(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.peek(bytes.len() as u64);
            let (head, rest) = bytes.split_at(expected.len());
            if head != expected {
                return false;
            }
            self.advance(head.len());
            bytes = rest;
        }
        true
    }
}
