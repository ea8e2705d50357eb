//! What a link sends: its own messages, the packets of its sessions and frames of others, sealed as frames.

use std::collections::BTreeMap;

use crate::cloak::queues::{Content, Waiting};
use crate::core::Entry;
use crate::core::event::LinkEnd;
use crate::core::links::{Link, Message};
use crate::limits::FRAME_HEAD_MAX;
use crate::link::frames::OpenFrame;
use crate::time::Time;
use crate::wire::link::Head;
use crate::wire::packet::HEADER_LEN;

impl Link {
    /// Says goodbye.
    pub(super) fn take_leave(&mut self, out: &mut Vec<u8>) -> Result<(), LinkEnd> {
        self.leaving = false;
        Ok(self.sealer.seal(&Head::Goodbye, out)?)
    }

    pub(super) fn write(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), LinkEnd> {
        let head = match message {
            Message::Ping(id) => Head::Ping(*id),
            Message::Pong(id) => Head::Pong(*id),
            Message::Signal(route, bytes) => Head::Signal {
                route: route.clone(),
                message: bytes,
            },
            Message::Overlay(bytes) => Head::Overlay(bytes),
        };
        let frame = OpenFrame::begin(&head, out);
        if frame.head_len() > FRAME_HEAD_MAX {
            // Its way has grown too long to be written down.
            frame.cancel(out);
            return Ok(());
        }
        Ok(self.sealer.finish(frame, None, out)?)
    }

    /// Appends a packet of the session that is first in line, and tells which one spoke; it goes behind the
    /// others for what else it has to say.
    pub(super) fn give_turn(
        &mut self,
        sessions: &mut BTreeMap<u32, Entry>,
        (out, plain_max): (&mut Vec<u8>, usize),
        now: Time,
    ) -> Result<Option<u32>, LinkEnd> {
        let Some(first) = self.line.pop_front() else {
            return Ok(None);
        };
        let Some(entry) = sessions.get_mut(&first) else {
            return Ok(None);
        };
        entry.in_line = false;
        let Some(carrier) = &entry.carrier else {
            return Ok(None);
        };
        if !entry.session.wants_to_send(now) {
            return Ok(None);
        }
        let (route, header) = (carrier.route.clone(), [0; HEADER_LEN]);
        let frame = OpenFrame::begin(&Head::Packet { route, header }, out);
        if let Some(sealed) = entry.session.poll_packet(plain_max, out, now) {
            entry.in_line = true;
            self.line.push_back(first);
            self.sealer.finish(frame, Some(sealed.header), out)?;
        } else {
            frame.cancel(out);
        }
        Ok(Some(first))
    }

    /// Appends a frame of others.
    pub(super) fn pass_on(&mut self, frame: Waiting, out: &mut Vec<u8>) -> Result<(), LinkEnd> {
        let Waiting { route, content } = frame;
        match content {
            Content::Packet { header, body } => {
                let frame = OpenFrame::begin(&Head::Packet { route, header }, out);
                out.extend_from_slice(&body);
                Ok(self.sealer.finish(frame, None, out)?)
            }
            Content::Signal(message) => self.write(&Message::Signal(route, message), out),
        }
    }
}
