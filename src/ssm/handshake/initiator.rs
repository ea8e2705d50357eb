//! The side that begins.

use crate::name::Name;
use crate::name::certificate::{LocalParty, OverlayId, PeerKeys};
use crate::random::Random;
use crate::ssm::VERSION;
use crate::ssm::established::Established;
use crate::ssm::handshake::message::{PayloadA, PayloadB, check_mac1, prologue, put_mac1};
use crate::ssm::handshake::{
    FEATURES, HELLO_A_LEN, HELLO_B_LEN, HandshakeError, MAC_LEN, Offer, SUITES_MAX, TYPE_HELLO_A,
    TYPE_HELLO_B,
};
use crate::ssm::noise::{Noise, Pattern, Start};
use crate::ssm::schedule::{Agreement, Side};
use crate::time::Calendar;
use crate::wire::codec::{Reader, Write};

/// An attempt that waits for its HELLO-B. A retry is a new attempt with fresh keys (R-H9).
#[derive(Debug)]
pub struct Initiator {
    /// `None` once the attempt is over.
    noise: Option<Noise>,
    me: Name,
    overlay: OverlayId,
    peer: PeerKeys,
    offer: Offer,
    half: [u8; 16],
}

impl Initiator {
    /// Begins a handshake with `peer` and gives the HELLO-A to send. `psk` is all zero when the overlay
    /// has none.
    pub fn start(
        me: &LocalParty,
        peer: PeerKeys,
        psk: &[u8; 32],
        mut offer: Offer,
        random: &mut Random,
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        if peer.name == me.name() {
            return Err(HandshakeError::Oneself);
        }
        offer.suites.truncate(SUITES_MAX);
        let half = random.bytes();
        let start = Start {
            pattern: Pattern::SessionIk,
            prologue: &prologue(me.overlay(), &peer.name),
            psk,
            local: me.static_key(),
        };
        let mut noise = start.initiator(Some(&peer.static_public), random)?;
        let payload = PayloadA {
            certificate: me.certificate(),
            index: offer.index,
            half,
            port: offer.port,
            features: FEATURES,
            suites: offer.suites.clone(),
            asked: offer.asked,
        };
        let mut hello = Vec::with_capacity(HELLO_A_LEN);
        hello.put_u8(TYPE_HELLO_A);
        hello.put_u8(VERSION);
        hello.put(&noise.write(&payload.encode())?);
        put_mac1(&mut hello, &peer.name);
        hello.put(&[0; MAC_LEN]);
        let attempt = Self {
            noise: Some(noise),
            me: me.name(),
            overlay: *me.overlay(),
            peer,
            offer,
            half,
        };
        Ok((attempt, hello))
    }

    /// The peer this attempt is with.
    pub const fn peer(&self) -> Name {
        self.peer.name
    }

    /// Reads the HELLO-B. `last_serial` is the highest serial seen of the peer's certificates.
    ///
    /// What does not open changes nothing, the attempt goes on (R-W7). What opens ends it, with a
    /// session or with the peer's fault.
    pub fn finish(
        &mut self,
        hello_b: &[u8],
        now: Calendar,
        last_serial: Option<u64>,
    ) -> Result<Established, HandshakeError> {
        let message = self.check(hello_b)?;
        let noise = self.noise.as_mut().ok_or(HandshakeError::Over)?;
        let payload = noise.read(message)?;
        let noise = self.noise.take().ok_or(HandshakeError::Over)?;
        let payload = PayloadB::decode(&payload)?;
        let certificate = payload
            .certificate
            .verify(&self.overlay, now, last_serial)?;
        if PeerKeys::from(&certificate) != self.peer {
            return Err(HandshakeError::WrongPeer);
        }
        if !self.offer.suites.contains(&payload.suite) {
            return Err(HandshakeError::Suite);
        }
        let agreement = Agreement {
            suite: payload.suite,
            name_a: self.me,
            name_b: self.peer.name,
            half_a: self.half,
            half_b: payload.half,
        };
        let finished = noise.finish()?;
        Ok(Established {
            side: Side::A,
            agreement,
            certificate,
            hash: finished.hash,
            local_index: self.offer.index,
            peer_index: payload.index,
            peer_port: payload.port,
            peer_features: payload.features,
            peer_boot_id: Some(payload.boot_id),
            asked_known: self.offer.asked.and(payload.known),
            root: agreement.root(&finished.hash, (&finished.first, &finished.second)),
        })
    }

    /// Checks all that can be checked without a public-key operation; gives the Noise message.
    fn check<'b>(&self, hello_b: &'b [u8]) -> Result<&'b [u8], HandshakeError> {
        if hello_b.len() != HELLO_B_LEN {
            return Err(HandshakeError::Shape);
        }
        let (covered, mac1) = hello_b
            .split_last_chunk::<MAC_LEN>()
            .ok_or(HandshakeError::Shape)?;
        let mut reader = Reader::new(covered);
        let head = (reader.u8()?, reader.u8()?, reader.u64()?);
        if head != (TYPE_HELLO_B, VERSION, self.offer.index) {
            return Err(HandshakeError::Shape);
        }
        check_mac1(covered, mac1, &self.me)?;
        Ok(reader.rest())
    }
}
