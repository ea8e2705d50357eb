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
        let millis = u64::try_from(self.now.since(since).as_millis()).unwrap();
        let more = self.got().into_iter().zip(before);
        more.map(|(after, before)| (after - before) * 1_000 / millis)
            .collect()
    }
}

/// Jain's index of fairness.
fn jain(rates: &[u64]) -> f64 {
    let sum: f64 = rates.iter().map(|rate| *rate as f64).sum();
    let squares: f64 = rates.iter().map(|rate| (*rate as f64).powi(2)).sum();
    sum * sum / (rates.len() as f64 * squares)
}

/// The longest of all but one in a hundred presses of a session's last application.
fn late(world: &World, number: usize) -> Duration {
    let (pair, _) = &world.pairs[number];
    let took = &pair.writers.last().unwrap().took;
    assert!(took.len() > 100, "{}", took.len());
    let mut took: Vec<Duration> = took.iter().map(|(_, took)| *took).collect();
    took.sort();
    took[took.len() * 99 / 100]
}

/// Bytes that wait at the relay until `end`, at half of all moments or more.
fn waiting(world: &mut World, end: Time) -> usize {
    let mut seen = Vec::new();
    while world.now < end {
        world.until(world.now + ms(10));
        seen.push(world.relay.waiting_for(world.neighbours[SHARED].tag));
    }
    seen.sort_unstable();
    seen[seen.len() / 2]
}

const BULK: &[Load] = &[Load::Bulk(FOREVER)];
const KEYS: &[Load] = &[Load::Keys(Duration::from_millis(37), 1 << 30)];

#[test]
fn a_gigabit_at_a_hundred_milliseconds_is_filled() {
    let mut world = bottleneck(GBIT, ms(100), 1);
    world.add(1, ms(0), BULK);
    world.until(secs(3));
    // A search for the shortest round trip is in it.
    let rates = world.rates(secs(6));
    assert!(rates[0] > GBIT * 85 / 100, "{rates:?}");
    assert!(world.most <= Bounds::default().link);
}

#[test]
fn sessions_share_whenever_they_began_and_however_far_they_go() {
    for from in [[1, 1], [1, 2]] {
        for behind in [[0, 0], [0, 80]] {
            let mut world = bottleneck(GBIT / 10, ms(20), 2);
            world.add(from[0], ms(behind[0]), BULK);
            world.until(secs(4));
            world.add(from[1], ms(behind[1]), BULK);
            world.until(secs(7));
            let rates = world.rates(secs(11));
            let (fair, all) = (jain(&rates), rates.iter().sum::<u64>());
            assert!(fair >= 0.95, "{from:?} {behind:?} {rates:?}");
            assert!(all > GBIT / 10 * 85 / 100, "{from:?} {behind:?} {rates:?}");
        }
    }
}

#[test]
fn a_keystroke_beside_them_does_not_wait() {
    let rtt = ms(40);
    let mut world = bottleneck(GBIT / 10, rtt, 2);
    for from in [1, 1, 2] {
        world.add(from, ms(0), BULK);
    }
    let keys = [1, 2].map(|from| world.add(from, ms(0), KEYS));
    world.until(secs(8));
    for number in keys {
        let late = late(&world, number);
        assert!(late <= rtt / 2 + ms(10) + rtt, "{late:?}");
    }
}

#[test]
fn a_neighbour_gets_no_more_by_more_sessions() {
    let mut world = bottleneck(GBIT / 10, ms(20), 2);
    let alone = world.add(1, ms(0), BULK);
    for _ in 0..10 {
        world.add(2, ms(0), BULK);
    }
    world.until(secs(3));
    let rates = world.rates(secs(6));
    let others: u64 = rates.iter().skip(1).sum();
    let shares = jain(&[rates[alone], others]);
    assert!(shares > 0.98, "{rates:?}");
    assert!(jain(&rates[1..]) > 0.95, "{rates:?}");
}

#[test]
fn a_neighbour_that_takes_nothing_holds_up_nobody() {
    let mut world = bottleneck(GBIT / 10, ms(20), 2);
    let frozen = world.neighbour(GBIT / 10, ms(5));
    world.neighbours[frozen].down.frozen_until = secs(8);
    let mut stuck = Vec::new();
    for from in [1, 1, 2, 2] {
        let at = [from, frozen];
        let way = Way { at, behind: ms(0) };
        let loads = [Load::Bulk(20_000_000)];
        stuck.push(world.session(way, &loads, MEMORY).unwrap());
        world.add(from, ms(0), BULK);
    }
    world.until(secs(3));
    let rates = world.rates(secs(7));
    let all: u64 = rates.iter().sum();
    assert!(all > GBIT / 10 * 85 / 100, "{rates:?}");
    assert!(world.most <= 2 * Bounds::default().link);
    world.until(secs(30));
    for number in stuck {
        assert!(world.pairs[number].0.is_over(), "{number}");
    }
}

#[test]
fn little_waits_but_without_marks() {
    let limit = usize::try_from(GBIT / 10).unwrap() / 50;
    for deaf in [false, true] {
        let mut world = bottleneck(GBIT / 10, ms(60), 2);
        world.deaf = deaf;
        world.add(1, ms(0), BULK);
        world.add(2, ms(0), BULK);
        world.until(secs(2));
        let waits = waiting(&mut world, secs(5));
        assert_eq!(waits > limit, deaf, "{waits}");
    }
}

#[test]
fn what_a_small_relay_drops_comes_again() {
    let mut dropped = 0;
    for seed in 0..12 {
        let mut world = World::of(seed);
        let report = world.all().unwrap();
        assert_eq!(report.channels, report.ended);
        dropped += world.relay.stats().overflowed;
    }
    assert!(dropped > 100, "{dropped}");
}
