//! Two sessions share, a keystroke does not wait, a long fat path is filled, and memory stays bounded.

use super::*;

const GBIT: u64 = 125_000_000;
const MEMORY: u64 = 512 << 20;
const FOREVER: u64 = 1 << 50;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(secs: u64) -> Time {
    Time::ZERO + Duration::from_secs(secs)
}

/// A relay between senders on fast lines and one receiver on a line of `rate`; a round trip takes `rtt`
/// if nothing waits and nothing is behind.
fn bottleneck(rate: u64, rtt: Duration, senders: usize) -> World {
    let mut world = World::new(1, Bounds::default());
    world.neighbour(rate, rtt / 4);
    for _ in 0..senders {
        world.neighbour(10 * rate, rtt / 4);
    }
    world
}

impl World {
    fn add(&mut self, from: usize, behind: Duration, loads: &[Load]) -> usize {
        let at = [from, SHARED];
        self.session(Way { at, behind }, loads, MEMORY).unwrap()
    }

    fn until(&mut self, end: Time) {
        self.play(end).unwrap();
    }

    fn got(&self) -> Vec<u64> {
        let got = |pair: &Pair| pair.writers.iter().map(|writer| writer.got).sum();
        self.pairs.iter().map(|(pair, _)| got(pair)).collect()
    }

    /// Bytes per second of each session until `end`.
    fn rates(&mut self, end: Time) -> Vec<u64> {
        let (before, since) = (self.got(), self.now);
        self.until(end);
        let span = self.now.since(since).as_secs_f64();
        let more = self.got().into_iter().zip(before);
        more.map(|(after, before)| ((after - before) as f64 / span) as u64)
            .collect()
    }
}

/// Jain's index of fairness.
fn jain(rates: &[u64]) -> f64 {
    let sum: f64 = rates.iter().map(|rate| *rate as f64).sum();
    let squares: f64 = rates.iter().map(|rate| (*rate as f64).powi(2)).sum();
    sum * sum / (rates.len() as f64 * squares)
}

#[test]
fn a_gigabit_at_a_hundred_milliseconds_is_filled() {
    let mut world = bottleneck(GBIT, ms(100), 1);
    world.add(1, ms(0), &[Load::Bulk(FOREVER)]);
    for second in 1..=12 {
        let rates = world.rates(secs(second));
        println!(
            "{second}: {rates:?} {} {:?}",
            world.most,
            world.relay.stats()
        );
    }
}

#[test]
fn keys() {
    let mut world = bottleneck(GBIT / 10, ms(40), 2);
    let every = Load::Keys(ms(37), 100_000);
    world.add(1, ms(0), &[Load::Bulk(FOREVER)]);
    world.add(1, ms(0), &[Load::Bulk(FOREVER)]);
    world.add(1, ms(0), &[every]);
    world.add(2, ms(0), &[every]);
    world.add(2, ms(60), &[Load::Bulk(FOREVER)]);
    world.add(2, ms(0), &[Load::Bulk(FOREVER), every]);
    for second in 1..=12 {
        let rates = world.rates(secs(second));
        println!(
            "{second}: {rates:?} {} {:?}",
            world.most,
            world.relay.stats()
        );
    }
    for number in [2, 3, 5] {
        let (pair, _) = &world.pairs[number];
        let mut took: Vec<Duration> = pair
            .writers
            .last()
            .unwrap()
            .took
            .iter()
            .map(|t| t.1)
            .collect();
        took.sort();
        println!(
            "9: {number}: {} p50 {:?} p99 {:?} max {:?}",
            took.len(),
            took[took.len() / 2],
            took[took.len() * 99 / 100],
            took[took.len() - 1]
        );
    }
}
