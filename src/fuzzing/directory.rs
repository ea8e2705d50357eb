//! Fuzz targets of the directory.

use std::sync::Arc;

use crate::cloak::directory::genuine::Genuine;
use crate::cloak::overlay::{Overlay, Settings};
use crate::cloak::tree::Strict;
use crate::fuzzing::party;
use crate::name::certificate::OverlayId;
use crate::name::{Identity, Name};
use crate::random::Random;
use crate::time::{Calendar, Time};
use crate::wire::directory::Message;
use crate::wire::record::Record;

/// A record, and its verification.
pub(super) fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        let mut out = Vec::new();
        record.encode(&mut out);
        assert_eq!(out, data, "one encoding of a record");
        let checked = Genuine::check(data, &OverlayId::of("fuzz"), &Strict);
        assert!(
            checked.is_err(),
            "nobody can sign for the names of a fuzzer"
        );
    }
}

/// A message of a neighbour: read and written again, then told to a node that is root and responsible for
/// everything, twice.
pub(super) fn message(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(Message::decode(&out), Ok(message));
    }
    // The tree has bodies of its own.
    if !data.first().is_some_and(|kind| (32..=63).contains(kind)) {
        return;
    }
    let mut now = Time::from_nanos(1_000_000_000);
    let settings = Settings::new(Arc::new(party()));
    let mut overlay = Overlay::new(settings, Random::from_number(1), now, Calendar(5));
    let neighbour = Identity::from_seed(&[8; 32]).name();
    overlay.neighbour_up(neighbour, now);
    drain(&mut overlay);
    for _ in 0..2 {
        // An error is the neighbour's, and ends its link.
        let handled = overlay.handle(neighbour, data, now);
        let answers = drain(&mut overlay);
        assert!(answers.len() <= 1, "one answer to one message (R-O9)");
        let bytes = answers.iter().map(|(_, answer)| answer.len());
        assert!(bytes.sum::<usize>() <= 3 * data.len(), "R-D7");
        if handled.is_err() {
            return;
        }
        now = overlay.poll_timeout().max(now);
        overlay.handle_timeout(now);
        drain(&mut overlay);
    }
    assert_eq!(
        overlay.directory().stats().records,
        0,
        "a fuzzer signs nothing"
    );
}

fn drain(overlay: &mut Overlay) -> Vec<(Name, Vec<u8>)> {
    std::iter::from_fn(|| overlay.poll_message()).collect()
}
