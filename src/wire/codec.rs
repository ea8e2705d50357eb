//! Reading and writing integers and byte strings.

use thiserror::Error;

/// Why bytes could not be decoded. The peer is to blame in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("input ends inside a field")]
    Truncated,
    /// A field holds a value that the format does not allow.
    #[error("invalid value in field {0}")]
    Invalid(&'static str),
    /// A length or count is above its limit.
    #[error("field {0} is longer than allowed")]
    TooLong(&'static str),
    /// Bytes are left behind the last field.
    #[error("bytes behind the last field")]
    Trailing,
}

/// Largest value of a variable-length integer: 2^62 - 1 (RFC 9000, section 16).
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Takes fields off the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends reading: anything left is an error.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }

    /// The next `len` bytes.
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, big endian, as are all fixed integers.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A variable-length integer (RFC 9000, section 16); longer forms than needed are accepted.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = *self.rest.first().ok_or(DecodeError::Truncated)?;
        let len = 1_usize << (first >> 6);
        let mut value = 0;
        for (index, byte) in self.slice(len)?.iter().enumerate() {
            let byte = if index == 0 { byte & 0x3f } else { *byte };
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }

    /// A byte string behind its length as a variable-length integer of at most `max`.
    pub fn bytes(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.varint()?).map_err(|_| DecodeError::TooLong(field))?;
        if len > max {
            return Err(DecodeError::TooLong(field));
        }
        self.slice(len)
    }
}

/// Appends fields to a buffer.
pub trait Write {
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// One byte.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Two bytes, big endian.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Four bytes, big endian.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Eight bytes, big endian.
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// A variable-length integer in its shortest form; values above [`VARINT_MAX`] are clamped,
    /// which no counter of ours reaches (R-K8).
    fn put_varint(&mut self, value: u64) {
        let value = value.min(VARINT_MAX);
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        match varint_len(value) {
            1 => self.put(&[h]),
            2 => self.put(&[g | 0x40, h]),
            4 => self.put(&[e | 0x80, f, g, h]),
            _ => self.put(&[a | 0xc0, b, c, d, e, f, g, h]),
        }
    }

    /// A byte string behind its length.
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.put(bytes);
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Bytes that [`Write::put_varint`] takes for `value`.
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_9000_decode() {
        let cases: [(&[u8], u64); 5] = [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
        }
    }

    #[test]
    fn a_length_is_checked_before_it_is_used() {
        assert_eq!(
            Reader::new(&[0x05, 1, 2]).bytes(4, "x"),
            Err(DecodeError::TooLong("x"))
        );
        assert_eq!(
            Reader::new(&[0x04, 1, 2]).bytes(4, "x"),
            Err(DecodeError::Truncated)
        );
        assert_eq!(
            Reader::new(&[0xff; 8]).bytes(4, "x"),
            Err(DecodeError::TooLong("x"))
        );
    }

    proptest! {
        #[test]
        fn a_varint_reads_back(value in 0..=VARINT_MAX) {
            let mut out = Vec::new();
            out.put_varint(value);
            prop_assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
        }
    }
}
