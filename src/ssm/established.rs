//! What a finished session handshake hands over.

use crate::name::Name;
use crate::name::certificate::Verified;
use crate::ssm::schedule::{Agreement, Secret, Side};
use crate::ssm::suite::Suite;

/// What a responder still has of the session that was asked about (R-R10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    No,
    /// All of it: it goes on.
    Yes,
    /// Nothing, and no packet of it has ever opened there.
    Never,
}

/// A session as both ends agreed on it. Make [`crate::ssm::epoch::Epochs`] from it and drop it: it
/// holds the root of all keys.
#[derive(Debug)]
pub struct Established {
    /// Which end this node is.
    pub side: Side,
    /// What both ends agreed on: suite, names, session id.
    pub agreement: Agreement,
    /// The peer's verified certificate, whose name is the peer.
    pub certificate: Verified,
    /// Hash of the handshake's transcript, equal at both ends.
    pub hash: [u8; 32],
    /// The index that this node chose: packets to it carry it.
    pub local_index: u64,
    /// The index that the peer chose.
    pub peer_index: u64,
    /// The application's source port that the peer named, zero if none (the paper's input to pSessID).
    pub peer_port: u16,
    /// The peer's feature bits.
    pub peer_features: u32,
    /// The mark of the peer's present start; known to the initiator only.
    pub peer_boot_id: Option<[u8; 16]>,
    /// The responder's answer about the session that was asked for; `None` when nothing was asked.
    pub asked_known: Option<Known>,
    /// Root of all keys.
    pub(super) root: Secret,
}

impl Established {
    /// The peer's name.
    pub const fn peer(&self) -> Name {
        self.certificate.name()
    }

    /// The chosen cipher suite.
    pub const fn suite(&self) -> Suite {
        self.agreement.suite
    }

    /// SessID = pSessID-a || pSessID-b.
    pub fn sess_id(&self) -> [u8; 32] {
        self.agreement.sess_id()
    }
}
