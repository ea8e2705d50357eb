//! The side that answers.

use crate::name::Name;
use crate::name::certificate::{LocalParty, Verified};
use crate::random::Random;
use crate::ssm::VERSION;
use crate::ssm::established::Established;
use crate::ssm::handshake::message::{PayloadA, PayloadB, check_mac1, prologue, put_mac1};
use crate::ssm::handshake::{
    Choice, FEATURES, HELLO_A_LEN, HELLO_B_LEN, HandshakeError, MAC_LEN, TYPE_HELLO_A, TYPE_HELLO_B,
};
use crate::ssm::noise::{Noise, Pattern, Start};
use crate::ssm::schedule::{Agreement, Side};
use crate::ssm::suite::Suite;
use crate::time::Calendar;
use crate::wire::codec::{Reader, Write};

/// A responder that waits for a HELLO-A: it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct Responder<'a> {
    me: &'a LocalParty,
    psk: &'a [u8; 32],
}

impl<'a> Responder<'a> {
    /// A responder for `me`. `psk` is all zero when the overlay has none.
    pub const fn new(me: &'a LocalParty, psk: &'a [u8; 32]) -> Self {
        Self { me, psk }
    }

    /// Checks mac1 alone: what a loaded node does before it asks for a cookie (R-H7).
    pub fn check(&self, hello_a: &[u8]) -> Result<(), HandshakeError> {
        self.noise_message(hello_a).map(|_| ())
    }

    /// Reads a HELLO-A and verifies who sent it. `last_serial` tells the highest serial seen of a
    /// name's certificates.
    ///
    /// Every error is to be answered with silence.
    pub fn read(
        &self,
        hello_a: &[u8],
        now: Calendar,
        last_serial: &dyn Fn(&Name) -> Option<u64>,
        random: &mut Random,
    ) -> Result<Received, HandshakeError> {
        let message = self.noise_message(hello_a)?;
        let start = Start {
            pattern: Pattern::SessionIk,
            prologue: &prologue(self.me.overlay(), &self.me.name()),
            psk: self.psk,
            local: self.me.static_key(),
        };
        let mut noise = start.responder(random)?;
        let payload = PayloadA::decode(&noise.read(message)?)?;
        let name = payload.certificate.name;
        let certificate = payload
            .certificate
            .verify(self.me.overlay(), now, last_serial(&name))?;
        if noise.remote_static() != Some(certificate.static_public()) {
            return Err(HandshakeError::WrongPeer);
        }
        if name == self.me.name() {
            return Err(HandshakeError::Oneself);
        }
        Ok(Received {
            noise,
            certificate,
            payload,
        })
    }

    /// Checks all that can be checked without a public-key operation; gives the Noise message.
    fn noise_message<'b>(&self, hello_a: &'b [u8]) -> Result<&'b [u8], HandshakeError> {
        if hello_a.len() != HELLO_A_LEN {
            return Err(HandshakeError::Shape);
        }
        let (rest, _mac2) = hello_a
            .split_last_chunk::<MAC_LEN>()
            .ok_or(HandshakeError::Shape)?;
        let (covered, mac1) = rest
            .split_last_chunk::<MAC_LEN>()
            .ok_or(HandshakeError::Shape)?;
        let mut reader = Reader::new(covered);
        if (reader.u8()?, reader.u8()?) != (TYPE_HELLO_A, VERSION) {
            return Err(HandshakeError::Shape);
        }
        check_mac1(covered, mac1, &self.me.name())?;
        Ok(reader.rest())
    }
}

/// A HELLO-A whose sender is verified, and which may be answered once. It may still be a replay: the
/// session counts when the first packet opens (R-H4).
#[derive(Debug)]
pub struct Received {
    noise: Noise,
    certificate: Verified,
    payload: PayloadA,
}

impl Received {
    /// The initiator's name.
    pub const fn peer(&self) -> Name {
        self.certificate.name()
    }

    /// The initiator's certificate.
    pub const fn certificate(&self) -> &Verified {
        &self.certificate
    }

    /// The suites offered that this program knows.
    pub fn suites(&self) -> &[Suite] {
        &self.payload.suites
    }

    /// The session id of which the initiator wants to know whether it still exists (R-R10).
    pub const fn asked(&self) -> Option<[u8; 32]> {
        self.payload.asked
    }

    /// The index by which the initiator wants to be addressed; equal for replays of one HELLO-A.
    pub const fn peer_index(&self) -> u64 {
        self.payload.index
    }

    /// Answers: gives the session and the HELLO-B to send. `me` is the party that read the HELLO-A.
    pub fn answer(
        mut self,
        me: &LocalParty,
        choice: Choice,
        random: &mut Random,
    ) -> Result<(Established, Vec<u8>), HandshakeError> {
        if !self.payload.suites.contains(&choice.suite) {
            return Err(HandshakeError::Suite);
        }
        let peer = self.peer();
        let answer = PayloadB {
            certificate: me.certificate(),
            index: choice.index,
            half: random.bytes(),
            port: choice.port,
            features: FEATURES,
            suite: choice.suite,
            boot_id: me.boot_id(),
            known: self.payload.asked.and(choice.known),
        };
        let mut hello = Vec::with_capacity(HELLO_B_LEN);
        hello.put_u8(TYPE_HELLO_B);
        hello.put_u8(VERSION);
        hello.put_u64(self.payload.index);
        hello.put(&self.noise.write(&answer.encode())?);
        put_mac1(&mut hello, &peer);
        let agreement = Agreement {
            suite: choice.suite,
            name_a: peer,
            name_b: me.name(),
            half_a: self.payload.half,
            half_b: answer.half,
        };
        let finished = self.noise.finish()?;
        let established = Established {
            side: Side::B,
            agreement,
            certificate: self.certificate,
            hash: finished.hash,
            local_index: choice.index,
            peer_index: self.payload.index,
            peer_port: self.payload.port,
            peer_features: self.payload.features,
            peer_boot_id: None,
            asked_known: answer.known,
            root: agreement.root(&finished.hash, (&finished.first, &finished.second)),
        };
        Ok((established, hello))
    }
}
