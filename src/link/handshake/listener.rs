//! The end that accepted.

use zeroize::Zeroizing;

use crate::link::handshake::{
    About, EARLY_MAX, IK1_LEN, Judge, LinkError, Role, Step, XX1_LEN, XX3_LEN, framed, link_keys,
    link_psk, prologue,
};
use crate::name::certificate::LocalParty;
use crate::random::Random;
use crate::ssm::noise::{Noise, Pattern, Start};
use crate::wire::codec::{DecodeError, Reader};

/// An accepted connection before the link is up. It says nothing first.
#[derive(Debug)]
pub struct Listener {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has come.
    Silent {
        psk: Zeroizing<[u8; 32]>,
        seed: Zeroizing<[u8; 32]>,
    },
    /// The second message of XX is out.
    Answered(Noise),
    Over,
}

impl Listener {
    /// A listener for one connection of `me`.
    pub fn new(me: &LocalParty, network_key: Option<&[u8; 32]>, random: &mut Random) -> Self {
        Self {
            state: State::Silent {
                psk: link_psk(me.overlay(), network_key),
                seed: Zeroizing::new(random.bytes()),
            },
        }
    }

    /// Reads a message. After an error nothing more is to be written: close (R-P1).
    pub fn read(&mut self, judge: &Judge<'_>, body: &[u8]) -> Result<Step, LinkError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Silent { psk, seed } => {
                let mut random = Random::from_seed(*seed);
                match body.len() {
                    XX1_LEN => self.read_xx1(judge, body, &psk, &mut random),
                    IK1_LEN => read_ik1(judge, body, &psk, &mut random),
                    _ => Err(LinkError::Shape),
                }
            }
            State::Answered(noise) => read_xx3(judge, body, noise),
            State::Over => Err(LinkError::Over),
        }
    }

    fn read_xx1(
        &mut self,
        judge: &Judge<'_>,
        body: &[u8],
        psk: &[u8; 32],
        random: &mut Random,
    ) -> Result<Step, LinkError> {
        let mut noise = responder(judge, Pattern::LinkXx, psk, random)?;
        noise.read(body)?;
        let reply = framed(&noise.write(&About::encode(judge.me))?);
        self.state = State::Answered(noise);
        Ok(Step {
            reply: Some(reply),
            done: None,
        })
    }
}

fn responder(
    judge: &Judge<'_>,
    pattern: Pattern,
    psk: &[u8; 32],
    random: &mut Random,
) -> Result<Noise, LinkError> {
    let start = Start {
        pattern,
        prologue: &prologue(judge.me.overlay()),
        psk,
        local: judge.me.static_key(),
    };
    Ok(start.responder(random)?)
}

fn read_xx3(judge: &Judge<'_>, body: &[u8], mut noise: Noise) -> Result<Step, LinkError> {
    if body.len() != XX3_LEN {
        return Err(LinkError::Shape);
    }
    let payload = noise.read(body)?;
    let about = About::decode(&mut Reader::new(&payload))?;
    let certificate = judge.verify(&about, &noise, None)?;
    let done = link_keys(noise, Role::Listener, &about, certificate)?;
    Ok(Step {
        reply: None,
        done: Some(done),
    })
}

fn read_ik1(
    judge: &Judge<'_>,
    body: &[u8],
    psk: &[u8; 32],
    random: &mut Random,
) -> Result<Step, LinkError> {
    let mut noise = responder(judge, Pattern::LinkIk, psk, random)?;
    let payload = noise.read(body)?;
    let mut reader = Reader::new(&payload);
    let about = About::decode(&mut reader)?;
    let early_len = usize::from(reader.u16()?);
    if early_len > EARLY_MAX {
        return Err(LinkError::Payload(DecodeError::TooLong("early payload")));
    }
    let early = reader.slice(early_len)?.to_vec();
    let certificate = judge.verify(&about, &noise, None)?;
    let reply = framed(&noise.write(&About::encode(judge.me))?);
    let mut done = link_keys(noise, Role::Listener, &about, certificate)?;
    done.confirmed = false;
    done.early = early;
    Ok(Step {
        reply: Some(reply),
        done: Some(done),
    })
}
