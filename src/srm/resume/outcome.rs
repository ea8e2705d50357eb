//! What the exchange tells its caller.

use crate::wire::location::Location;

/// One of the two key sets a side can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The keys that carry traffic.
    Live,
    /// The keys of the pair that both sides are moving to.
    Next,
}

/// Where the sender of a packet says it can be reached (frame HERE).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Here {
    /// The sender's counter of H: orders its locations.
    pub h_seq: u64,
    /// The sender's location.
    pub location: Location,
}

/// What became of an H.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloOutcome {
    /// Nothing changed.
    Dropped(Dropped),
    /// The H was taken; the caller merges its hints with max (rule 10).
    Accepted {
        /// The peer has a new number: the next pair changed (rule 8).
        renewed: bool,
        /// The next pair can be used from this moment: send something under it at once, a probe if
        /// there is nothing else, so that the peer can commit.
        send_now: bool,
    },
}

/// Why an H was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// Its `seq` is not above the highest one opened (rule 5).
    Replayed,
    /// Its number is below one that was accepted (rule 6).
    Old,
    /// No honest peer sends it: counted and logged, a sign of a clone or a rollback (rule 7).
    Impossible(Impossible),
}

/// What is impossible about an H.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impossible {
    /// The peer's number jumps by more than one.
    Jump,
    /// It names an own number that was never told.
    Unsent,
    /// A known number with another nonce.
    Nonce,
}

/// What became of an opened packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The next pair went live (rule 15): re-send from the acknowledged offsets.
    pub committed: bool,
    /// Send something at once, a probe if there is nothing else.
    pub reply: bool,
}

/// Under which keys, and where to, packets go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sending {
    /// Under the live pair (rule 13).
    Live(Location),
    /// Under the next pair (rule 11).
    Next(Location),
    /// One packet under the next pair, which the peer may be unable to open (rule 12).
    Early(Location),
    /// Not at all.
    Nothing,
}

/// Where an H goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloTo {
    /// To every known location of the peer: the directory's, and these.
    Everywhere([Location; 2]),
    /// To the location in the H that is answered.
    At(Location),
}

/// What a timer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutOutcome {
    /// Send a probe under the next pair (rule 4).
    pub probe: bool,
    /// Run a normal handshake to learn whether the peer still has this session, if there is a live
    /// path (rule 19). Told at 2, 4, 8 ... unanswered H.
    pub check_state: bool,
    /// The limit of unanswered H is reached; the caller's policy decides.
    pub limit_reached: bool,
}
