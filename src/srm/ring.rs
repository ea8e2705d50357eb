//! Bytes between two absolute offsets, in a buffer that exists only while there are any.

/// Capacity up to which an emptied buffer goes back at once: the next byte brings it again cheaply.
const SMALL: usize = 16 << 10;
/// First capacity of a buffer.
const FIRST: usize = 4 << 10;

/// A circular buffer of the bytes `start..end` of a stream.
#[derive(Debug, Default)]
pub struct Ring {
    buffer: Box<[u8]>,
    head: usize,
    len: usize,
    start: u64,
}

impl Ring {
    /// A ring at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offset of the first byte kept.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Offset behind the last byte kept.
    pub const fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// Bytes kept.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory held.
    pub const fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Room behind the last byte, in one piece; the buffer grows by doubling up to `limit` bytes.
    /// Empty only when `limit` bytes are kept.
    pub fn space(&mut self, limit: usize) -> &mut [u8] {
        if self.len >= limit {
            return &mut [];
        }
        if self.len == self.buffer.len() {
            let doubled = (self.buffer.len() * 2).max(FIRST);
            self.resize(doubled.min(limit.max(FIRST)));
        }
        let capacity = self.buffer.len();
        let tail = self.head + self.len;
        let (from, to) = if tail >= capacity {
            (tail - capacity, self.head)
        } else {
            (tail, capacity)
        };
        let to = to.min(from.saturating_add(limit - self.len));
        self.buffer.get_mut(from..to).unwrap_or_default()
    }

    /// Says that `count` bytes were written into [`Self::space`].
    pub fn written(&mut self, count: usize) {
        self.len = (self.len + count).min(self.buffer.len());
    }

    /// Appends as much of `bytes` as `limit` allows; says how much.
    pub fn push(&mut self, mut bytes: &[u8], limit: usize) -> usize {
        let all = bytes.len();
        let wanted = self.len.saturating_add(bytes.len()).min(limit);
        if wanted > self.buffer.len() {
            self.resize(wanted.next_power_of_two().max(FIRST));
        }
        while !bytes.is_empty() {
            let room = self.space(limit);
            let count = room.len().min(bytes.len());
            if count == 0 {
                break;
            }
            let (now, later) = bytes.split_at(count);
            room.get_mut(..count)
                .unwrap_or_default()
                .copy_from_slice(now);
            self.written(count);
            bytes = later;
        }
        all - bytes.len()
    }

    /// The bytes from `offset` on, at most `len`, in up to two pieces.
    pub fn pieces(&self, offset: u64, len: usize) -> (&[u8], &[u8]) {
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let len = len.min(self.len.saturating_sub(skip));
        if len == 0 {
            return (&[], &[]);
        }
        let capacity = self.buffer.len();
        let from = (self.head + skip) % capacity;
        let first = len.min(capacity - from);
        (
            self.buffer.get(from..from + first).unwrap_or_default(),
            self.buffer.get(..len - first).unwrap_or_default(),
        )
    }

    /// Forgets everything before `offset`.
    pub fn forget(&mut self, offset: u64) {
        let count = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let count = count.min(self.len);
        self.start += count as u64;
        self.len -= count;
        if self.len == 0 {
            self.head = 0;
            if self.buffer.len() <= SMALL {
                self.buffer = Box::default();
            }
        } else {
            self.head = (self.head + count) % self.buffer.len();
        }
    }

    /// Moves the start of an empty ring on by `count` bytes that never had to be kept.
    pub const fn skip(&mut self, count: usize) {
        debug_assert!(self.len == 0, "kept bytes would change their place");
        self.start += count as u64;
    }

    /// Gives the memory back if nothing is kept.
    pub fn shrink(&mut self) {
        if self.len == 0 {
            self.buffer = Box::default();
            self.head = 0;
        }
    }

    /// Drops all bytes and the memory.
    pub fn clear(&mut self) {
        self.start = self.end();
        self.len = 0;
        self.shrink();
    }

    fn resize(&mut self, capacity: usize) {
        let mut buffer = vec![0; capacity].into_boxed_slice();
        let (first, second) = self.pieces(self.start, self.len);
        let split = first.len();
        if let Some(room) = buffer.get_mut(..split) {
            room.copy_from_slice(first);
        }
        if let Some(room) = buffer.get_mut(split..split + second.len()) {
            room.copy_from_slice(second);
        }
        self.buffer = buffer;
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        Fill(usize),
        Forget(usize),
        Shrink,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..9_000).prop_map(Step::Push),
            (1..5_000_usize).prop_map(Step::Fill),
            (0..9_000_usize).prop_map(Step::Forget),
            Just(Step::Shrink),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_behaves_like_a_deque(steps in steps(), limit in 1..20_000_usize) {
            let mut ring = Ring::default();
            let mut model = VecDeque::new();
            let mut start = 0;
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        let taken = ring.push(&bytes, limit);
                        prop_assert_eq!(taken, bytes.len().min(limit.saturating_sub(model.len())));
                        model.extend(&bytes[..taken]);
                    }
                    Step::Fill(count) => {
                        let room = ring.space(limit);
                        prop_assert_eq!(room.is_empty(), model.len() >= limit);
                        let count = count.min(room.len());
                        room[..count].fill(7);
                        ring.written(count);
                        model.extend(std::iter::repeat_n(7, count));
                    }
                    Step::Forget(count) => {
                        let count = count.min(model.len());
                        start += count as u64;
                        ring.forget(start);
                        model.drain(..count);
                    }
                    Step::Shrink => ring.shrink(),
                }
                prop_assert_eq!(ring.start(), start);
                let (first, second) = ring.pieces(start, usize::MAX);
                let kept: Vec<u8> = first.iter().chain(second).copied().collect();
                prop_assert_eq!(&kept, &model.iter().copied().collect::<Vec<_>>());
                let (first, second) = ring.pieces(start + 3, 5);
                let some: Vec<u8> = first.iter().chain(second).copied().collect();
                prop_assert_eq!(&some, &model.iter().skip(3).take(5).copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_ring_without_a_limit_takes_everything() {
        let mut ring = Ring::default();
        assert_eq!(ring.push(&[1; 10_000], usize::MAX), 10_000);
        ring.forget(9_000);
        assert_eq!(ring.push(&[2; 50_000], usize::MAX), 50_000);
        assert_eq!(ring.len(), 51_000);
    }

    #[test]
    fn an_empty_ring_holds_no_memory() {
        let mut ring = Ring::default();
        ring.push(b"hello", 100);
        ring.forget(5);
        assert_eq!((ring.capacity(), ring.start()), (0, 5));
    }
}
