//! Sealing and opening the frames of one link (PROTOCOL.md, "Link frames").
//!
//! Only the head is sealed here; the body is the ciphertext of a session packet and is bound in by its
//! last bytes, so a hop never touches bulk data twice. TCP keeps the order, so the frame counter is
//! implicit, and one lost or forged byte ends the link.

use ring::aead::{Aad, CHACHA20_POLY1305, Nonce};
use thiserror::Error;

use crate::limits::FRAMES_PER_LINK_KEY;
use crate::ssm::aead::ErasedKey;
use crate::ssm::schedule::Secret;
use crate::wire::codec::DecodeError;
use crate::wire::link::{BOUND_LEN, HEAD_TAG_LEN, Head, LENGTHS_LEN, Lengths};
use crate::wire::packet::HEADER_LEN;

/// Why a link must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The neighbour sent something that is no frame.
    #[error("not a frame: {0}")]
    Decode(#[from] DecodeError),
    /// A frame does not open: bytes were lost or forged under way.
    #[error("a frame does not open")]
    Seal,
}

/// The key of one direction, stepped forward every [`FRAMES_PER_LINK_KEY`] frames.
struct Direction {
    secret: Secret,
    key: ErasedKey,
    count: u64,
}

impl Direction {
    fn new(secret: Secret) -> Self {
        Self {
            key: cipher(&secret),
            secret,
            count: 0,
        }
    }

    /// The key and nonce of the next frame. Numbers are taken before use and never given back.
    fn next(&mut self) -> Option<(&ErasedKey, Nonce)> {
        let place = self.count % FRAMES_PER_LINK_KEY;
        if place == 0 && self.count > 0 {
            self.secret = self.secret.expand(&[b"muses link next"]);
            self.key = cipher(&self.secret);
        }
        self.count += 1;
        let mut nonce = [0; 12];
        nonce
            .last_chunk_mut::<8>()?
            .copy_from_slice(&place.to_be_bytes());
        Some((&self.key, Nonce::assume_unique_for_key(nonce)))
    }
}

fn cipher(secret: &Secret) -> ErasedKey {
    ErasedKey::new(
        &CHACHA20_POLY1305,
        secret.expand(&[b"muses link key"]).as_bytes(),
    )
}

/// Associated data of a head: the lengths, then the last bytes of the body (zeros without one).
fn bound(lengths: Lengths, body: &[u8]) -> [u8; LENGTHS_LEN + BOUND_LEN] {
    let mut aad = [0; LENGTHS_LEN + BOUND_LEN];
    let (front, back) = aad.split_at_mut(LENGTHS_LEN);
    front.copy_from_slice(&lengths.to_bytes());
    if let Some(last) = body.last_chunk::<BOUND_LEN>() {
        back.copy_from_slice(last);
    }
    aad
}

/// Seals frames into a write buffer.
pub struct FrameSealer(Direction);

impl FrameSealer {
    /// A sealer with the sending key of the handshake.
    pub fn new(secret: Secret) -> Self {
        Self(Direction::new(secret))
    }

    /// Appends a frame without a body.
    pub fn seal(&mut self, head: &Head<'_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let open = OpenFrame::begin(head, out);
        self.finish(open, None, out)
    }

    /// Ends a frame whose body was appended behind [`OpenFrame::begin`]. `header` replaces the packet
    /// header of the head, which is known only once the body is sealed.
    pub fn finish(
        &mut self,
        open: OpenFrame,
        header: Option<[u8; HEADER_LEN]>,
        out: &mut [u8],
    ) -> Result<(), FrameError> {
        let lengths = Lengths {
            head: open.head,
            body: out.len().saturating_sub(open.body_start()),
        };
        let frame = out.get_mut(open.start..).ok_or(FrameError::Seal)?;
        let (front, rest) = frame
            .split_at_mut_checked(LENGTHS_LEN)
            .ok_or(FrameError::Seal)?;
        let (head, body) = rest
            .split_at_mut_checked(lengths.head)
            .ok_or(FrameError::Seal)?;
        let plain_len = lengths.head.saturating_sub(HEAD_TAG_LEN);
        let (plain, tag_room) = head
            .split_at_mut_checked(plain_len)
            .ok_or(FrameError::Seal)?;
        front.copy_from_slice(&lengths.to_bytes());
        if let Some(header) = header {
            plain
                .last_chunk_mut::<HEADER_LEN>()
                .ok_or(FrameError::Seal)?
                .copy_from_slice(&header);
        }
        let aad = Aad::from(bound(lengths, body));
        let (key, nonce) = self.0.next().ok_or(FrameError::Seal)?;
        let tag = key
            .seal_in_place_separate_tag(nonce, aad, plain)
            .map_err(|_| FrameError::Seal)?;
        tag_room.copy_from_slice(tag.as_ref());
        Ok(())
    }
}

impl std::fmt::Debug for FrameSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameSealer({} frames)", self.0.count)
    }
}

/// A frame whose head is written and whose body may follow.
#[derive(Debug)]
#[must_use = "a frame that is begun must be finished or taken back"]
pub struct OpenFrame {
    start: usize,
    head: usize,
}

impl OpenFrame {
    /// Appends lengths to come, head, and room for its tag.
    pub fn begin(head: &Head<'_>, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTHS_LEN]);
        head.encode(out);
        out.extend_from_slice(&[0; HEAD_TAG_LEN]);
        Self {
            start,
            head: out.len() - start - LENGTHS_LEN,
        }
    }

    /// Bytes of the sealed head, tag included.
    pub const fn head_len(&self) -> usize {
        self.head
    }

    /// Where the body begins in the buffer.
    pub const fn body_start(&self) -> usize {
        self.start + LENGTHS_LEN + self.head
    }

    /// Takes the frame back.
    pub fn cancel(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}

/// Opens frames from a read buffer.
pub struct FrameOpener(Direction);

/// A frame that opened.
#[derive(Debug)]
pub struct Opened<'a> {
    /// Its head.
    pub head: Head<'a>,
    /// Its body, empty without one.
    pub body: &'a mut [u8],
    /// Bytes of the buffer that it took.
    pub consumed: usize,
}

impl FrameOpener {
    /// An opener with the receiving key of the handshake.
    pub fn new(secret: Secret) -> Self {
        Self(Direction::new(secret))
    }

    /// Bytes of the frame at the front of `buffer`, once its lengths are there.
    pub fn frame_len(buffer: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(lengths) = buffer.first_chunk::<LENGTHS_LEN>() else {
            return Ok(None);
        };
        Ok(Some(Lengths::decode(*lengths)?.frame()))
    }

    /// Opens the frame at the front of `buffer` in place; nothing if it is not whole yet.
    pub fn open<'a>(&mut self, buffer: &'a mut [u8]) -> Result<Option<Opened<'a>>, FrameError> {
        let Some(consumed) = Self::frame_len(buffer)? else {
            return Ok(None);
        };
        let Some(frame) = buffer.get_mut(..consumed) else {
            return Ok(None);
        };
        let (front, rest) = frame
            .split_first_chunk_mut::<LENGTHS_LEN>()
            .ok_or(FrameError::Seal)?;
        let lengths = Lengths::decode(*front)?;
        let (head, body) = rest
            .split_at_mut_checked(lengths.head)
            .ok_or(FrameError::Seal)?;
        let aad = Aad::from(bound(lengths, body));
        let (key, nonce) = self.0.next().ok_or(FrameError::Seal)?;
        let plain = key
            .open_in_place(nonce, aad, head)
            .map_err(|_| FrameError::Seal)?;
        let head = Head::decode(plain, lengths.body > 0)?;
        Ok(Some(Opened {
            head,
            body,
            consumed,
        }))
    }
}

impl std::fmt::Debug for FrameOpener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameOpener({} frames)", self.0.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::link::Route;
    use crate::wire::tag::Tag;

    fn secret() -> Secret {
        Secret::from_bytes([5; 32].into())
    }

    fn pair() -> (FrameSealer, FrameOpener) {
        (FrameSealer::new(secret()), FrameOpener::new(secret()))
    }

    fn packet(sealer: &mut FrameSealer, body: &[u8], out: &mut Vec<u8>) {
        let route = Route::neighbour(Tag([1; 8]), Tag([2; 8]));
        let open = OpenFrame::begin(
            &Head::Packet {
                route,
                header: [0; HEADER_LEN],
            },
            out,
        );
        out.extend_from_slice(body);
        sealer.finish(open, Some([9; HEADER_LEN]), out).unwrap();
    }

    #[test]
    fn frames_with_and_without_a_body_open_in_order() {
        let (mut sealer, mut opener) = pair();
        let mut wire = Vec::new();
        sealer.seal(&Head::Ping(3), &mut wire).unwrap();
        packet(&mut sealer, &[7; 100], &mut wire);
        let first = opener.open(&mut wire).unwrap().unwrap();
        assert_eq!(first.head, Head::Ping(3));
        let used = first.consumed;
        let second = opener.open(&mut wire[used..]).unwrap().unwrap();
        assert!(matches!(
            second.head,
            Head::Packet {
                header: [9, ..],
                ..
            }
        ));
        assert_eq!(second.body, [7; 100]);
    }

    #[test]
    fn a_frame_waits_until_it_is_whole() {
        let (mut sealer, mut opener) = pair();
        let mut wire = Vec::new();
        packet(&mut sealer, &[7; 100], &mut wire);
        for len in 0..wire.len() {
            assert!(opener.open(&mut wire[..len].to_vec()).unwrap().is_none());
        }
        assert!(opener.open(&mut wire).unwrap().is_some());
    }

    #[test]
    fn a_changed_head_length_or_end_of_body_does_not_open() {
        let (mut sealer, _) = pair();
        let mut wire = Vec::new();
        packet(&mut sealer, &[7; 100], &mut wire);
        let bound_from = wire.len() - BOUND_LEN;
        let head_end = wire.len() - 100;
        for at in (0..head_end).chain(bound_from..wire.len()) {
            let mut forged = wire.clone();
            forged[at] ^= 1;
            forged.extend_from_slice(&[0; 70_000]);
            let mut opener = FrameOpener::new(secret());
            assert!(
                !matches!(opener.open(&mut forged), Ok(Some(_))),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_frame_does_not_open_twice() {
        let (mut sealer, mut opener) = pair();
        let mut wire = Vec::new();
        sealer.seal(&Head::Ping(3), &mut wire).unwrap();
        opener.open(&mut wire.clone()).unwrap().unwrap();
        assert_eq!(opener.open(&mut wire).unwrap_err(), FrameError::Seal);
    }

    #[test]
    fn both_ends_step_their_keys_together() {
        let (mut sealer, mut opener) = pair();
        sealer.0.count = FRAMES_PER_LINK_KEY - 1;
        opener.0.count = FRAMES_PER_LINK_KEY - 1;
        let before = *sealer.0.secret.as_bytes();
        for number in 0..3 {
            let mut wire = Vec::new();
            sealer.seal(&Head::Pong(number), &mut wire).unwrap();
            assert_eq!(
                opener.open(&mut wire).unwrap().unwrap().head,
                Head::Pong(number)
            );
        }
        assert_ne!(*sealer.0.secret.as_bytes(), before);
    }
}
