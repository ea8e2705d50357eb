//! Frames inside a sealed session packet.
//!
//! All that a peer tells about a channel is absolute: losing, doubling or reordering frames changes
//! nothing (design 5). An unknown frame type is an error (R-W8).

use crate::limits::{ACK_RANGES_MAX, PACKET_PLAIN_MAX};
use crate::wire::codec::{DecodeError, Reader, Write, varint_len};
use crate::wire::location::Location;
use crate::wire::target::Target;

/// A channel within a session: opener bit, 47-bit counter, the opener's source port (design 6).
///
/// The counter is never used twice in a session; the port is the paper's key and zero where the
/// application has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u64);

impl ChannelId {
    /// Largest counter.
    pub const COUNTER_MAX: u64 = (1 << 47) - 1;

    /// The id of the opener's `counter`-th channel. `responder` says which side opened it.
    pub const fn new(responder: bool, counter: u64, port: u16) -> Self {
        Self((responder as u64) << 63 | (counter & Self::COUNTER_MAX) << 16 | port as u64)
    }

    /// Whether the responder of the session's handshake opened it.
    pub const fn opened_by_responder(self) -> bool {
        self.0 >> 63 == 1
    }

    /// The opener's counter.
    pub const fn counter(self) -> u64 {
        self.0 >> 16 & Self::COUNTER_MAX
    }

    /// The application's source port at the opener.
    pub const fn port(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// Which packets of one pair arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The pair they were sealed under.
    pub selector: [u8; 2],
    /// How long the newest of them waited for this acknowledgement, microseconds.
    pub delay_us: u64,
    /// Packets of this pair that arrived with the congestion mark.
    pub marked: u64,
    /// Closed ranges, newest first, disjoint and not touching; at least one, at most 32.
    pub ranges: Vec<(u64, u64)>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// One byte without meaning.
    Padding,
    /// Asks for an acknowledgement at once (the paper's `flag_last`); alone it is a probe.
    Ask,
    /// Acknowledges packets.
    Ack(Ack),
    /// Where the sender is, with the number of the newest Re-Hello it sent.
    Here {
        /// Number of that Re-Hello.
        seq: u64,
        /// Where to send to.
        location: Location,
    },
    /// Opens a channel.
    Open {
        /// Its id.
        channel: ChannelId,
        /// Bytes that the receiver may send on it.
        permitted: u64,
        /// Where it shall lead.
        target: Target,
    },
    /// The channel is open.
    Opened {
        /// Its id.
        channel: ChannelId,
        /// Bytes that the opener may send on it.
        permitted: u64,
    },
    /// The channel could not be opened.
    OpenFailed {
        /// Its id.
        channel: ChannelId,
        /// Why, as a code of `wire::failure`.
        code: u8,
    },
    /// Bytes of a channel.
    Data {
        /// Its id.
        channel: ChannelId,
        /// Place of the first byte.
        offset: u64,
        /// Whether nothing follows behind these bytes.
        fin: bool,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// What has arrived on a channel and how far the receiver of this frame may send.
    Credit {
        /// Its id.
        channel: ChannelId,
        /// Place of the next byte expected; one more than the final size once the end arrived.
        next: u64,
        /// First place that may not be sent.
        permitted: u64,
    },
    /// The sender has given up both directions; whatever is missing never comes.
    Reset {
        /// The channel.
        channel: ChannelId,
        /// Why, for logs.
        code: u8,
    },
    /// The sender has no state of this channel: all of it was done before.
    Gone {
        /// The channel.
        channel: ChannelId,
    },
    /// Ends the handshake (the paper's Finished).
    Finished,
    /// The session ends; the sender keeps no state.
    Goodbye {
        /// Why, for logs.
        code: u8,
    },
}

const PADDING: u8 = 0x00;
const ASK: u8 = 0x01;
const ACK: u8 = 0x02;
const HERE: u8 = 0x03;
const OPEN: u8 = 0x04;
const OPENED: u8 = 0x05;
const OPEN_FAILED: u8 = 0x06;
const DATA: u8 = 0x07;
const DATA_FIN: u8 = 0x08;
const CREDIT: u8 = 0x09;
const RESET: u8 = 0x0a;
const GONE: u8 = 0x0b;
const FINISHED: u8 = 0x0c;
const GOODBYE: u8 = 0x0d;

/// Longest front of a DATA frame: type, channel, offset, length.
pub const DATA_FRONT_MAX: usize = 1 + 8 + 8 + 4;

/// Appends the front of a DATA frame; `len` bytes must follow.
pub fn put_data_front(
    out: &mut impl Write,
    channel: ChannelId,
    offset: u64,
    fin: bool,
    len: usize,
) {
    out.put_u8(if fin { DATA_FIN } else { DATA });
    out.put_u64(channel.0);
    out.put_varint(offset);
    out.put_varint(len as u64);
}

impl<'a> Frame<'a> {
    /// Whether a packet with this frame wants an acknowledgement.
    pub const fn is_eliciting(&self) -> bool {
        !matches!(self, Self::Padding | Self::Ack(_))
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut impl Write) {
        match self {
            Self::Padding => out.put_u8(PADDING),
            Self::Ask => out.put_u8(ASK),
            Self::Ack(ack) => ack.encode(out),
            Self::Here { seq, location } => {
                out.put_u8(HERE);
                out.put_varint(*seq);
                location.encode(out);
            }
            Self::Open {
                channel,
                permitted,
                target,
            } => {
                put_channel(out, OPEN, *channel);
                out.put_varint(*permitted);
                target.encode(out);
            }
            Self::Opened { channel, permitted } => {
                put_channel(out, OPENED, *channel);
                out.put_varint(*permitted);
            }
            Self::OpenFailed { channel, code } => put_coded(out, OPEN_FAILED, *channel, *code),
            Self::Data {
                channel,
                offset,
                fin,
                bytes,
            } => {
                put_data_front(out, *channel, *offset, *fin, bytes.len());
                out.put(bytes);
            }
            Self::Credit {
                channel,
                next,
                permitted,
            } => {
                put_channel(out, CREDIT, *channel);
                out.put_varint(*next);
                out.put_varint(*permitted);
            }
            Self::Reset { channel, code } => put_coded(out, RESET, *channel, *code),
            Self::Gone { channel } => put_channel(out, GONE, *channel),
            Self::Finished => out.put_u8(FINISHED),
            Self::Goodbye { code } => {
                out.put_u8(GOODBYE);
                out.put_u8(*code);
            }
        }
    }

    /// Reads one frame.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            PADDING => Self::Padding,
            ASK => Self::Ask,
            ACK => Self::Ack(Ack::decode(reader)?),
            HERE => Self::Here {
                seq: reader.varint()?,
                location: Location::decode(reader)?,
            },
            OPEN => Self::Open {
                channel: channel(reader)?,
                permitted: reader.varint()?,
                target: Target::decode(reader)?,
            },
            OPENED => Self::Opened {
                channel: channel(reader)?,
                permitted: reader.varint()?,
            },
            OPEN_FAILED => Self::OpenFailed {
                channel: channel(reader)?,
                code: reader.u8()?,
            },
            DATA => data(reader, false)?,
            DATA_FIN => data(reader, true)?,
            CREDIT => Self::Credit {
                channel: channel(reader)?,
                next: reader.varint()?,
                permitted: reader.varint()?,
            },
            RESET => Self::Reset {
                channel: channel(reader)?,
                code: reader.u8()?,
            },
            GONE => Self::Gone {
                channel: channel(reader)?,
            },
            FINISHED => Self::Finished,
            GOODBYE => Self::Goodbye { code: reader.u8()? },
            _ => return Err(DecodeError::Invalid("frame type")),
        })
    }
}

fn put_channel(out: &mut impl Write, kind: u8, channel: ChannelId) {
    out.put_u8(kind);
    out.put_u64(channel.0);
}

fn put_coded(out: &mut impl Write, kind: u8, channel: ChannelId, code: u8) {
    put_channel(out, kind, channel);
    out.put_u8(code);
}

fn channel(reader: &mut Reader<'_>) -> Result<ChannelId, DecodeError> {
    reader.u64().map(ChannelId)
}

fn data<'a>(reader: &mut Reader<'a>, fin: bool) -> Result<Frame<'a>, DecodeError> {
    let channel = channel(reader)?;
    let offset = reader.varint()?;
    let bytes = reader.bytes(PACKET_PLAIN_MAX, "data")?;
    Ok(Frame::Data {
        channel,
        offset,
        fin,
        bytes,
    })
}

impl Ack {
    /// Bytes of the longest acknowledgement.
    pub const LEN_MAX: usize = 1 + 2 + 8 + 8 + 8 + 8 + 1 + (ACK_RANGES_MAX - 1) * 16;

    /// Appends type, selector (2), delay, marked, newest number, length of its range less one, count
    /// of further ranges (1), and for each the gap less two and its length less one.
    fn encode(&self, out: &mut impl Write) {
        let Some((first, rest)) = self.ranges.split_first() else {
            return;
        };
        out.put_u8(ACK);
        out.put(&self.selector);
        out.put_varint(self.delay_us);
        out.put_varint(self.marked);
        out.put_varint(first.1);
        out.put_varint(first.1.saturating_sub(first.0));
        let rest = rest.get(..ACK_RANGES_MAX - 1).unwrap_or(rest);
        out.put_u8(u8::try_from(rest.len()).unwrap_or(u8::MAX));
        let mut low = first.0;
        for (from, to) in rest {
            out.put_varint(low.saturating_sub(*to).saturating_sub(2));
            out.put_varint(to.saturating_sub(*from));
            low = *from;
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const BAD: DecodeError = DecodeError::Invalid("acknowledged range");
        let selector = reader.array()?;
        let delay_us = reader.varint()?;
        let marked = reader.varint()?;
        let high = reader.varint()?;
        let mut low = high.checked_sub(reader.varint()?).ok_or(BAD)?;
        let more = usize::from(reader.u8()?);
        if more >= ACK_RANGES_MAX {
            return Err(DecodeError::TooLong("acknowledged ranges"));
        }
        let mut ranges = Vec::with_capacity(more + 1);
        ranges.push((low, high));
        for _ in 0..more {
            let gap = reader.varint()?;
            let to = low
                .checked_sub(gap)
                .and_then(|n| n.checked_sub(2))
                .ok_or(BAD)?;
            let from = to.checked_sub(reader.varint()?).ok_or(BAD)?;
            ranges.push((from, to));
            low = from;
        }
        Ok(Self {
            selector,
            delay_us,
            marked,
            ranges,
        })
    }
}

/// Bytes of a DATA frame around its payload.
pub const fn data_front_len(offset: u64, len: usize) -> usize {
    1 + 8 + varint_len(offset) + varint_len(len as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(frame: &Frame<'_>) {
        let mut out = Vec::new();
        frame.encode(&mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(Frame::decode(&mut reader).as_ref(), Ok(frame));
        assert!(reader.is_empty());
    }

    #[test]
    fn every_frame_reads_back() {
        let channel = ChannelId::new(true, 77, 4242);
        let location = Location::Tree {
            tree: 5,
            term: 2,
            path: vec![(3, 900), (15, 70_000)],
        };
        for frame in [
            Frame::Padding,
            Frame::Ask,
            Frame::Ack(Ack {
                selector: [1, 2],
                delay_us: 300,
                marked: 1,
                ranges: vec![(9, 12), (3, 7), (0, 1)],
            }),
            Frame::Here { seq: 3, location },
            Frame::Here {
                seq: 3,
                location: Location::Neighbour,
            },
            Frame::Open {
                channel,
                permitted: 2048,
                target: Target::Loopback(22),
            },
            Frame::Opened {
                channel,
                permitted: 65_536,
            },
            Frame::OpenFailed { channel, code: 5 },
            Frame::Data {
                channel,
                offset: 1 << 40,
                fin: false,
                bytes: b"hello",
            },
            Frame::Data {
                channel,
                offset: 5,
                fin: true,
                bytes: b"",
            },
            Frame::Credit {
                channel,
                next: 6,
                permitted: 70_000,
            },
            Frame::Reset { channel, code: 1 },
            Frame::Gone { channel },
            Frame::Finished,
            Frame::Goodbye { code: 0 },
        ] {
            read_back(&frame);
        }
    }

    #[test]
    fn a_channel_id_holds_side_counter_and_port() {
        let id = ChannelId::new(true, ChannelId::COUNTER_MAX, 65_535);
        assert_eq!(
            (id.opened_by_responder(), id.counter(), id.port()),
            (true, ChannelId::COUNTER_MAX, 65_535)
        );
        let id = ChannelId::new(false, 1, 0);
        assert_eq!(
            (id.opened_by_responder(), id.counter(), id.port()),
            (false, 1, 0)
        );
    }

    #[test]
    fn impossible_ranges_are_refused() {
        for bytes in [
            &[ACK, 0, 0, 0, 0, 5, 6, 0][..],
            &[ACK, 0, 0, 0, 0, 5, 0, 1, 4, 0],
            &[ACK, 0, 0, 0, 0, 5, 0, 1, 3, 1],
            &[ACK, 0, 0, 0, 0, 5, 0, 32],
        ] {
            assert!(Frame::decode(&mut Reader::new(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() {
                let Ok(frame) = Frame::decode(&mut reader) else { break };
                read_back(&frame);
            }
        }
    }
}
