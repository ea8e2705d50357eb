//! What happened in a run: the hash of all of it, and the last messages for a diagram.

use std::collections::VecDeque;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::ssm::schedule::Pair;
use crate::time::Time;

/// Messages kept for the diagram of a failure.
const KEPT: usize = 200;

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A packet: its pair of keys, its number, its bytes.
    Packet(Pair, u64, usize),
    /// A Re-Hello.
    Hello,
    /// Bytes of a link.
    Bytes(usize),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Lost,
    Held,
    Doubled,
    Spoilt,
    Replayed,
}

#[derive(Debug)]
enum Line {
    Message(Time, usize, Content, Fate),
    Note(Time, usize, String),
}

/// The record of a run.
#[derive(Debug, Default)]
pub(super) struct Journal {
    hash: Sha256,
    lines: VecDeque<Line>,
}

/// The node at one end, as the diagram calls it.
const fn end(side: usize) -> char {
    if side == 0 { 'A' } else { 'B' }
}

impl Journal {
    /// A message of `from`.
    pub(super) fn message(&mut self, at: Time, from: usize, content: Content, fate: Fate) {
        let (kind, a, b, number, len) = match content {
            Content::Packet(pair, number, len) => (0_u8, pair.a, pair.b, number, len),
            Content::Hello => (1, 0, 0, 0, 0),
            Content::Bytes(len) => (2, 0, 0, 0, len),
        };
        self.hash.update(at.as_nanos().to_le_bytes());
        self.hash
            .update([kind, end(from) as u8, fate as u8, 0, 0, 0, 0, 0]);
        self.hash.update(a.to_le_bytes());
        self.hash.update(b.to_le_bytes());
        self.hash.update(number.to_le_bytes());
        self.hash.update((len as u64).to_le_bytes());
        self.push(Line::Message(at, from, content, fate));
    }

    /// Something that happened at one end.
    pub(super) fn note(&mut self, at: Time, side: usize, what: String) {
        self.hash.update(at.as_nanos().to_le_bytes());
        self.hash.update([end(side) as u8]);
        self.hash.update(&what);
        self.push(Line::Note(at, side, what));
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() >= KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash of everything so far.
    pub(super) fn trace(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// The last messages as a mermaid sequence diagram.
    pub(super) fn diagram(&self) -> String {
        let mut out = "sequenceDiagram\n    participant A\n    participant B\n".to_owned();
        for line in &self.lines {
            // Writing to a string cannot fail.
            let _always = match line {
                Line::Note(at, side, what) => {
                    let what = what.replace(['\n', ';', '#'], " ");
                    writeln!(out, "    Note over {}: {at:?} {what}", end(*side))
                }
                Line::Message(at, from, content, fate) => {
                    let (from, to) = (end(*from), end(1 - *from));
                    let arrow = match fate {
                        Fate::Sent | Fate::Doubled => "->>",
                        Fate::Replayed => "-->>",
                        Fate::Lost | Fate::Held | Fate::Spoilt => "-x",
                    };
                    let what = match content {
                        Content::Packet(pair, number, len) => {
                            format!("packet {}/{} no. {number}, {len} B", pair.a, pair.b)
                        }
                        Content::Hello => "Re-Hello".to_owned(),
                        Content::Bytes(len) => format!("{len} B"),
                    };
                    writeln!(out, "    {from}{arrow}{to}: {at:?} {what} {fate:?}")
                }
            };
        }
        out
    }
}
