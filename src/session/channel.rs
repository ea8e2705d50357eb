//! One channel: both directions, and what the peer still has to be told about it.

use crate::session::event::ResetCode;
use crate::srm::receive::ReceiveHalf;
use crate::srm::send::SendHalf;
use crate::time::Time;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Target;

/// How far one piece of news has come to the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// There is no news.
    #[default]
    Nothing,
    /// It must go into a packet.
    Due,
    /// It is in a packet under way.
    UnderWay,
    /// The peer has it.
    Done,
}

impl Told {
    /// The packet was lost, or its pair of keys is gone.
    pub(super) fn lost(&mut self) {
        if *self == Self::UnderWay {
            *self = Self::Due;
        }
    }

    /// The packet arrived; newer news that became due meanwhile stays due.
    pub(super) fn arrived(&mut self) {
        if *self == Self::UnderWay {
            *self = Self::Done;
        }
    }

    /// Takes the news for a packet, if it is due.
    pub(super) fn take(&mut self) -> bool {
        let due = *self == Self::Due;
        if due {
            *self = Self::UnderWay;
        }
        due
    }
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// We asked for it and wait for the answer.
    Opening,
    /// The peer asked for it and we have not answered.
    Incoming,
    /// Bytes flow.
    Open,
    /// We refused it; kept until the peer knows.
    Refused(OpenFailure),
    /// We reset it; kept until the peer knows.
    Reset(ResetCode),
}

/// In which list of the schedule a channel waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listed {
    #[default]
    No,
    New,
    Old,
}

/// A channel.
#[derive(Debug)]
pub struct Channel {
    pub(super) phase: Phase,
    pub(super) target: Target,
    pub(super) send: SendHalf,
    pub(super) receive: ReceiveHalf,
    pub(super) open: Told,
    pub(super) answer: Told,
    pub(super) credit: Told,
    /// What the newest CREDIT said: the fate of older ones means nothing.
    pub(super) credit_said: (u64, u64),
    pub(super) reset: Told,
    pub(super) listed: Listed,
    pub(super) deficit: i64,
    pub(super) news_listed: bool,
    pub(super) woken: bool,
    /// Bytes arrived that the next acknowledgement will tell of.
    pub(super) moved: bool,
    pub(super) opened_at: Time,
}

impl Channel {
    pub(super) const fn new(
        phase: Phase,
        target: Target,
        send: SendHalf,
        receive: ReceiveHalf,
        now: Time,
    ) -> Self {
        let open = if matches!(phase, Phase::Opening) {
            Told::Due
        } else {
            Told::Nothing
        };
        Self {
            phase,
            target,
            send,
            receive,
            open,
            answer: Told::Nothing,
            credit: Told::Nothing,
            credit_said: (0, 0),
            reset: Told::Nothing,
            listed: Listed::No,
            deficit: 0,
            news_listed: false,
            woken: false,
            moved: false,
            opened_at: now,
        }
    }

    /// Where the channel is in its life.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Where it leads.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// When it was opened.
    pub const fn opened_at(&self) -> Time {
        self.opened_at
    }

    /// Bytes acknowledged by the peer, bytes kept for it, bytes the application took.
    pub fn counts(&self) -> (u64, usize, u64) {
        (
            self.send.acknowledged(),
            self.send.kept(),
            self.receive.taken(),
        )
    }

    /// Whether bytes of it may go into packets.
    pub(super) fn is_sendable(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Incoming | Phase::Open)
            && self.open != Told::Due
            && self.send.is_sendable()
    }

    /// Whether some news is due.
    pub(super) fn has_news(&self) -> bool {
        [self.open, self.answer, self.credit, self.reset].contains(&Told::Due)
    }

    /// Whether nothing is left to do or to tell.
    pub(super) fn is_done(&self) -> bool {
        match self.phase {
            Phase::Opening | Phase::Incoming => false,
            Phase::Open => {
                // The opener must have heard of its success before the channel is forgotten.
                self.send.is_acknowledged()
                    && self.receive.is_done()
                    && matches!(self.answer, Told::Nothing | Told::Done)
                    && self.credit == Told::Done
                    && self.credit_said.0 == self.receive.next_expected()
            }
            Phase::Refused(_) => self.answer == Told::Done,
            Phase::Reset(_) => self.reset == Told::Done,
        }
    }

    /// Prepares for a resumed session: all that the peer may not have gets due again.
    pub(super) fn rewind(&mut self) {
        self.send.rewind();
        self.open.lost();
        self.answer.lost();
        self.credit.lost();
        self.reset.lost();
    }
}
