//! Replays the corpora of the fuzz targets, each input whole, cut short and with changed bytes, then
//! mixed at random: `MUSES_FUZZ_ROUNDS` says how often (`cargo test --release --test corpora`).
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::fs;
use std::path::Path;

use muses::fuzzing::TARGETS;
use muses::random::Random;

#[test]
fn every_corpus_passes_and_so_do_its_neighbours() {
    for (name, body) in TARGETS {
        let folder = Path::new("fuzz/corpus").join(name);
        let mut inputs = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            println!("{}", path.display());
            body(&input);
            // A prime step keeps the run short and still meets every kind of field.
            for cut in (0..input.len()).step_by(7) {
                body(&input[..cut]);
                let mut changed = input.clone();
                changed[cut] ^= 0x41;
                body(&changed);
            }
            inputs += 1;
        }
        assert!(inputs > 0, "{}: empty", folder.display());
    }
}

/// What a fuzzer without eyes does: the same mutations every time.
#[test]
fn random_mutations_of_every_corpus_pass() {
    let rounds = std::env::var("MUSES_FUZZ_ROUNDS").ok();
    let rounds = rounds.map_or(150, |text| text.parse().unwrap());
    for (name, body) in TARGETS {
        let folder = Path::new("fuzz/corpus").join(name);
        let mut pool: Vec<Vec<u8>> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .collect();
        pool.sort();
        let mut random = Random::from_number(name.len() as u64);
        for round in 0..rounds {
            let input = mutated(&pool, &mut random);
            let result = std::panic::catch_unwind(|| body(&input));
            assert!(result.is_ok(), "{name}, round {round}: {input:?}");
            if pool.len() < 200 {
                pool.push(input);
            }
        }
    }
}

fn mutated(pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut pick = |below: usize| usize::try_from(random.below(below.max(1) as u64)).unwrap();
    let mut input = pool[pick(pool.len())].clone();
    for _ in 0..=pick(4) {
        let place = pick(input.len() + 1);
        match pick(6) {
            0 => input.truncate(place),
            1 => input.insert(place, u8::try_from(pick(256)).unwrap()),
            2 => {
                let other = &pool[pick(pool.len())];
                input.extend_from_slice(&other[pick(other.len() + 1)..]);
            }
            3 => {
                let value = [0, 1, 0x7f, 0x80, 0xff, 0x40][pick(6)];
                input[place..]
                    .iter_mut()
                    .take(pick(9))
                    .for_each(|byte| *byte = value);
            }
            _ => {
                let bit = 1 << pick(8);
                input[place..]
                    .iter_mut()
                    .take(1)
                    .for_each(|byte| *byte ^= bit);
            }
        }
    }
    input.truncate(8_192);
    input
}
