//! What a run measured.

/// Mean and maximum of numbers that come one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    count: u64,
    max: f64,
}

impl Mean {
    /// Takes one number, which is not negative.
    pub fn add(&mut self, number: f64) {
        self.sum += number;
        self.count += 1;
        self.max = self.max.max(number);
    }

    /// The mean; zero without numbers.
    pub fn mean(&self) -> f64 {
        ratio(self.sum, self.count)
    }

    /// The largest; zero without numbers.
    pub const fn max(&self) -> f64 {
        self.max
    }

    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

/// How many tries there were and how many of them worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// All of them.
    pub made: u64,
    /// Those that worked.
    pub good: u64,
}

impl Tries {
    /// Counts one.
    pub fn add(&mut self, good: bool) {
        self.made += 1;
        self.good += u64::from(good);
    }

    /// Those of another run with these.
    pub const fn join(&mut self, other: Self) {
        self.made += other.made;
        self.good += other.good;
    }

    /// The share that worked; none without tries.
    pub fn share(&self) -> Option<f64> {
        (self.made > 0).then(|| ratio(float(self.good), self.made))
    }
}

/// A sum divided by a count; zero without any.
pub(super) fn ratio(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / float(count) }
}

/// A count as a float; counts of a run are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

/// A length as a count.
pub(super) fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// What the directory did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DirectoryFigures {
    /// Look-ups that found the newest record.
    pub lookups: Tries,
    /// Links on the way of a test key to the node that holds it.
    pub hops: Mean,
    /// Share of the test keys on the tenth of the nodes that hold most.
    pub top10_share: f64,
}

/// What churn did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChurnFigures {
    /// Packets between nodes that lived on, delivered within 3 s with at most one more try.
    pub packets: Tries,
    /// The same for those that were sent within 10 s of a root's death.
    pub near_root_death: Tries,
    /// Look-ups of a living node's record, by a living node.
    pub lookups: Tries,
    /// Nodes that died, each replaced by a new one.
    pub deaths: u64,
    /// Roots among them.
    pub root_deaths: u64,
}

/// What one run measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Packets between settled nodes that arrived.
    pub delivery: Tries,
    /// Links on a packet's way by those on the shortest way.
    pub stretch: Mean,
    /// Links on a packet's way.
    pub hops: Mean,
    /// Links on the shortest way.
    pub shortest: Mean,
    /// Steps from the root to a node.
    pub depth: Mean,
    /// Nodes without a place when all was quiet; zero if the overlay settled.
    pub homeless: u64,
    /// Joiners that none of the nodes that they dialled first gave a place.
    pub refused: f64,
    /// Links that an honest node closed because of what an honest neighbour said: a bug.
    pub misbehaviour: u64,
    /// Statements that honest nodes made faster than others may check them: a bound that is too tight.
    pub unchecked: u64,
    /// Parents that nodes left since probes of their own places were lost: false alarms where nobody is hostile.
    pub parents_left: u64,
    /// Bytes of overlay messages, link frames included, per node and minute in quiet.
    pub control_bytes: f64,
    /// Bytes of memory of a node's overlay state, its share of the directory left out.
    pub state_bytes: Mean,
    /// Virtual seconds from the first node to quiet.
    pub settled_after: f64,
    /// The directory, settled.
    pub directory: Option<DirectoryFigures>,
    /// Churn, if any was asked for.
    pub churn: Option<ChurnFigures>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_shares_are_what_they_say() {
        let mut mean = Mean::default();
        assert_eq!(mean.mean().to_bits(), 0);
        for number in [1.0, 4.0, 1.0] {
            mean.add(number);
        }
        assert!((mean.mean() - 2.0).abs() < 1e-12);
        assert!((mean.max() - 4.0).abs() < 1e-12);
        let mut tries = Tries::default();
        assert_eq!(tries.share(), None);
        for good in [true, false, true, true] {
            tries.add(good);
        }
        assert_eq!(tries.share(), Some(0.75));
    }
}
