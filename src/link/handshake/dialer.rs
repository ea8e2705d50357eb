//! The end that dialled.

use crate::link::handshake::{
    About, EARLY_MAX, IK1_PAYLOAD, IK2_LEN, Judge, LinkError, PeerKeys, Role, Step, XX1_PADDING,
    XX2_LEN, framed, link_keys, link_psk, prologue,
};
use crate::name::Name;
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::ssm::noise::{Noise, Pattern, Start};
use crate::wire::codec::{Reader, Write};

/// A dialled handshake that waits for the answer.
#[derive(Debug)]
pub struct Dialer {
    /// `None` once the attempt is over.
    noise: Option<Noise>,
    pattern: Pattern,
    expected: Option<Name>,
}

impl Dialer {
    /// Begins XX, with a node of which at most the name is known; gives the bytes to write.
    pub fn xx(
        me: &LocalParty,
        network_key: Option<&[u8; 32]>,
        expected: Option<Name>,
        random: &mut Random,
    ) -> Result<(Self, Vec<u8>), LinkError> {
        let start = Start {
            pattern: Pattern::LinkXx,
            prologue: &prologue(me.overlay()),
            psk: &link_psk(me.overlay(), network_key),
            local: me.static_key(),
        };
        let noise = start.initiator(None, random)?;
        Self::begin(noise, Pattern::LinkXx, expected, &[0; XX1_PADDING])
    }

    /// Begins IK, with a node whose static key is known; `early` rides in the first message, at most
    /// [`EARLY_MAX`] bytes, and may be delivered more than once. Gives the bytes to write.
    pub fn ik(
        me: &LocalParty,
        network_key: Option<&[u8; 32]>,
        peer: &PeerKeys,
        early: &[u8],
        random: &mut Random,
    ) -> Result<(Self, Vec<u8>), LinkError> {
        if peer.name == me.name() {
            return Err(LinkError::Oneself);
        }
        let early_len = u16::try_from(early.len()).map_err(|_| LinkError::EarlyTooLong)?;
        if early.len() > EARLY_MAX {
            return Err(LinkError::EarlyTooLong);
        }
        let start = Start {
            pattern: Pattern::LinkIk,
            prologue: &prologue(me.overlay()),
            psk: &link_psk(me.overlay(), network_key),
            local: me.static_key(),
        };
        let noise = start.initiator(Some(&peer.static_public), random)?;
        let mut payload = About::encode(me);
        payload.put_u16(early_len);
        payload.put(early);
        payload.resize(IK1_PAYLOAD, 0);
        Self::begin(noise, Pattern::LinkIk, Some(peer.name), &payload)
    }

    fn begin(
        mut noise: Noise,
        pattern: Pattern,
        expected: Option<Name>,
        payload: &[u8],
    ) -> Result<(Self, Vec<u8>), LinkError> {
        let message = noise.write(payload)?;
        let dialer = Self {
            noise: Some(noise),
            pattern,
            expected,
        };
        Ok((dialer, framed(&message)))
    }

    /// Reads the answer. In XX the neighbour learns who dialled only after it proved to be the one
    /// expected.
    pub fn read(&mut self, judge: &Judge<'_>, body: &[u8]) -> Result<Step, LinkError> {
        let mut noise = self.noise.take().ok_or(LinkError::Over)?;
        let xx = self.pattern == Pattern::LinkXx;
        if body.len() != if xx { XX2_LEN } else { IK2_LEN } {
            return Err(LinkError::Shape);
        }
        let payload = noise.read(body)?;
        let about = About::decode(&mut Reader::new(&payload))?;
        let certificate = judge.verify(&about, &noise, self.expected.as_ref())?;
        let reply = if xx {
            Some(framed(&noise.write(&About::encode(judge.me))?))
        } else {
            None
        };
        let done = link_keys(noise, Role::Dialer, &about, certificate)?;
        Ok(Step {
            reply,
            done: Some(done),
        })
    }
}
