use super::*;
use crate::cloak::directory::genuine::{Genuine, Said, micros};
use crate::limits::HOPS_MAX;
use crate::wire::directory::{Answer, Digest, HASH_LEN, Listed, Outcome, Section, TOKEN_LEN};
use crate::wire::location::Location;

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// Two nodes: 0 is the root and keeps what is put, 1 is its child and hostile.
struct Duel {
    world: World,
    /// Names of a third party whose sub-key is the root's, one per record.
    nonce: u64,
}

impl Duel {
    fn new() -> Self {
        Self {
            world: World::new(2, 7),
            nonce: 1 << 40,
        }
    }

    /// A seed of a name whose sub-key 0 lies at the root.
    fn fitting(&self, count: usize) -> Vec<u64> {
        let fits = |seed: &u64| {
            self.world
                .owner(sub_key(self.identity(*seed).name().as_bytes(), 0))
                == 0
        };
        (0..).filter(fits).take(count).collect()
    }

    fn identity(&self, seed: u64) -> crate::name::Identity {
        let mut bytes = [0xee; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        crate::name::Identity::from_seed(&bytes)
    }

    fn sign(&self, seed: u64, seq: u64, life: u64) -> Genuine {
        let expiry = Calendar(self.world.calendar().0 + life);
        let overlay = OverlayId::of("test");
        Genuine::sign(&self.identity(seed), &overlay, seq, expiry, None)
    }

    /// Sends a request to the root, as the child's neighbour, and reads what it answers.
    fn ask(&mut self, name: [u8; 32], ask: Ask<'_>) -> Option<(Outcome, [u8; TOKEN_LEN], Vec<u8>)> {
        self.nonce += 1;
        let from = self.world.name(1);
        let request = Message::Request(Request {
            by_tree: false,
            up: true,
            exact: false,
            hops: HOPS_MAX,
            watermark: WATERMARK_START,
            nonce: self.nonce,
            name,
            index: 0,
            from: from.tag(),
            from_location: self
                .world
                .with(1, |_, compass, _| compass.location().unwrap()),
            ask,
        });
        let bytes = encoded(&request);
        let result = self.world.with_raw(0, |directory, compass, now| {
            directory.handle(from, &bytes, compass, now)
        });
        assert_eq!(result.0, Ok(()));
        let answers: Vec<_> = result.1.into_iter().filter(|(to, _)| *to == from).collect();
        assert!(answers.len() <= 1, "one answer for one message");
        let (_, answer) = answers.first()?;
        assert!(answer.len() <= 3 * bytes.len());
        match Message::decode(answer) {
            Ok(Message::Answer(Answer {
                outcome,
                token,
                record,
                nonce,
                ..
            })) => {
                assert_eq!(nonce, self.nonce);
                Some((outcome, token, record.to_vec()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, record: &Genuine) -> Outcome {
        self.put_bytes(*record.name().as_bytes(), record.bytes())
    }

    fn put_bytes(&mut self, name: [u8; 32], record: &[u8]) -> Outcome {
        let (_, token, _) = self.ask(name, Ask::Get).unwrap();
        self.ask(name, Ask::Put { token, record }).unwrap().0
    }
}

#[test]
fn puts_without_a_token_of_that_way_are_refused() {
    let mut duel = Duel::new();
    let seeds = duel.fitting(2);
    let record = duel.sign(seeds[0], duel.world.present(), 1_000);
    let name = *record.name().as_bytes();
    let put = |duel: &mut Duel, token| {
        duel.ask(
            name,
            Ask::Put {
                token,
                record: record.bytes(),
            },
        )
    };
    let (outcome, token, _) = put(&mut duel, [0; TOKEN_LEN]).unwrap();
    assert_eq!(outcome, Outcome::Token);
    // The token of another name does not help.
    let other = *duel.sign(seeds[1], 1, 100).name().as_bytes();
    let (_, foreign, _) = duel.ask(other, Ask::Get).unwrap();
    assert_eq!(put(&mut duel, foreign).unwrap().0, Outcome::Token);
    // Nor does an old one.
    duel.world.run(SECOND * 121);
    assert_eq!(put(&mut duel, token).unwrap().0, Outcome::Token);
    assert_eq!(duel.world.nodes[0].stats().records, 0);
    assert_eq!(duel.put(&record), Outcome::Stored);
    assert_eq!(duel.world.nodes[0].stats().records, 1);
}

#[test]
fn forged_future_old_and_different_records_are_refused() {
    let mut duel = Duel::new();
    let seed = duel.fitting(1)[0];
    let present = duel.world.present();
    let good = duel.sign(seed, present, 100);
    let name = *good.name().as_bytes();
    let mut forged = good.bytes().to_vec();
    forged[35] ^= 1;
    assert_eq!(duel.put_bytes(name, &forged), Outcome::Refused);
    assert_eq!(duel.put_bytes([9; 32], good.bytes()), Outcome::Refused);
    let future = duel.sign(seed, present + 601_000_000, 100);
    assert_eq!(duel.put(&future), Outcome::Refused);
    let long = duel.sign(seed, present, 86_500);
    assert_eq!(duel.put(&long), Outcome::Refused);
    let over = duel.sign(seed, present, 0);
    assert_eq!(duel.put(&over), Outcome::Refused);
    assert_eq!(duel.world.nodes[0].stats().records, 0);

    assert_eq!(duel.put(&good), Outcome::Stored);
    assert_eq!(duel.put(&good), Outcome::Stored);
    let older = duel.sign(seed, present - 1, 100);
    assert_eq!(duel.put(&older), Outcome::TooLow);
    let different = duel.sign(seed, present, 101);
    assert_eq!(duel.put(&different), Outcome::TooLow);
    let (outcome, _, stored) = duel.ask(name, Ask::Get).unwrap();
    assert_eq!((outcome, &*stored), (Outcome::Found, &**good.bytes()));
    let newer = duel.sign(seed, present + 1, 100);
    assert_eq!(duel.put(&newer), Outcome::Stored);
}

#[test]
fn a_flood_of_puts_is_held_to_its_rate_and_share() {
    let mut duel = Duel::new();
    duel.world.nodes[0].store = Store::with_limits(160, 1 << 20);
    let present = duel.world.present();
    let seeds = duel.fitting(400);
    let mut stored = 0;
    for (at, seed) in seeds.into_iter().enumerate() {
        let record = duel.sign(seed, present, 1_000 + at as u64);
        stored += usize::from(duel.put(&record) == Outcome::Stored);
        duel.world.run(SECOND / 100);
    }
    // The burst, and ten per second of four seconds.
    assert!((60..=75).contains(&stored), "{stored}");
    // A quarter of what there is.
    assert_eq!(duel.world.nodes[0].stats().records, 40);
    assert!(duel.world.nodes[0].stats().limited > 300);
}

#[test]
fn signature_checks_are_bounded_and_answers_come_first() {
    let mut duel = Duel::new();
    let now = duel.world.now;
    let directory = &mut duel.world.nodes[0];
    let mut checked = |check| {
        let tries = (0..1_000).filter(|_| directory.may_check(check, now));
        tries.count()
    };
    let puts = checked(Check::Put);
    let copies = checked(Check::Copy);
    let answers = checked(Check::Answer);
    assert_eq!((puts, copies, answers), (100, 50, 50));
}

#[test]
fn who_sends_copies_all_the_time_spoils_no_look_up() {
    let mut duel = Duel::new();
    duel.world.publish(1);
    duel.world.run(SECOND * 5);
    let seeds = duel.fitting(30);
    let from = duel.world.name(1);
    let mut query = 0;
    // As many messages as are tolerated, each full of new records.
    for round in 0..DIRECTORY_SYNCS.0 * 6 {
        if round == DIRECTORY_SYNCS.0 * 2 {
            query = duel.world.lookup(0, 1);
        }
        let seq = duel.world.present() + u64::from(round);
        let records: Vec<_> = seeds
            .iter()
            .map(|seed| duel.sign(*seed, seq, 100))
            .collect();
        let copies = records.iter().map(|record| (0, &**record.bytes()));
        let bytes = encoded(&Message::Copies(copies.collect()));
        let handled = duel.world.with(0, |directory, compass, now| {
            directory.handle(from, &bytes, compass, now)
        });
        assert_eq!(handled, Ok(()));
        duel.world.run(SECOND / DIRECTORY_SYNCS.0);
    }
    assert!(duel.world.nodes[0].stats().limited > 0);
    assert!(duel.world.found(0, query).is_some());
}

#[test]
fn a_forged_copy_ends_the_link_and_a_strange_one_is_ignored() {
    let mut duel = Duel::new();
    let seed = duel.fitting(1)[0];
    let good = duel.sign(seed, duel.world.present(), 100);
    let mut forged = good.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let from = duel.world.name(1);
    let send = |duel: &mut Duel, copies| {
        let bytes = encoded(&Message::Copies(copies));
        duel.world.with(0, |directory, compass, now| {
            directory.handle(from, &bytes, compass, now)
        })
    };
    assert_eq!(
        send(&mut duel, vec![(0, &forged)]),
        Err(Misbehaviour::Forged)
    );
    assert_eq!(
        send(&mut duel, vec![(0, &[1, 2, 3])]),
        Err(Misbehaviour::Forged)
    );
    let future = duel.sign(seed, duel.world.present() + 601_000_000, 100);
    assert_eq!(send(&mut duel, vec![(0, future.bytes())]), Ok(()));
    assert_eq!(duel.world.nodes[0].stats().records, 0);
    assert_eq!(send(&mut duel, vec![(0, good.bytes())]), Ok(()));
    assert_eq!(duel.world.nodes[0].stats().records, 1);
}

#[test]
fn an_old_record_never_passes_below_what_a_reader_has_seen() {
    let mut world = published(16, 5);
    let old = world.record(4);
    let query = world.lookup(9, 4);
    world.run(SECOND * 6);
    assert!(world.found(9, query).is_some());
    world.publish(4);
    world.run(SECOND * 2);
    let query = world.lookup(9, 4);
    world.run(SECOND * 4);
    let new = world.found(9, query).unwrap().seq;
    assert!(new > old.seq());
    assert_eq!(world.nodes[9].floor(world.name(4)), Some(new));
    // Every node goes back to the old record, which is still genuine and timely.
    for node in 0..16 {
        world.forget_everything(node);
        for index in 0..3 {
            world.plant(node, &old, index);
        }
    }
    let query = world.lookup(9, 4);
    world.run(SECOND * 4);
    assert_eq!(
        world.outcome(9, query),
        Some(&not_found(query, Absence::Unknown))
    );
    // Who has seen nothing else cannot know better.
    let query = world.lookup(8, 4);
    world.run(SECOND * 4);
    assert_eq!(world.found(8, query).unwrap().seq, old.seq());
}

#[test]
fn liars_among_the_places_do_not_win() {
    let mut world = published(16, 6);
    let name = world.name(4);
    let (_, key) = sub_keys(name.as_bytes()).next().unwrap();
    let liar = world.owner(key);
    // The liar keeps an old record and a forged one cannot even be planted.
    let old = world.sign(4, world.seq(4) - 1, 100);
    world.forget_everything(liar);
    world.plant(liar, &old, 0);
    for reader in 0..16 {
        let query = world.lookup(reader, 4);
        world.run(SECOND * 4);
        assert_eq!(
            world.found(reader, query).unwrap().seq,
            world.seq(4),
            "{reader}"
        );
        world.forget_everything(liar);
        world.plant(liar, &old, 0);
    }
}

#[test]
fn a_record_with_a_certificate_of_another_is_no_answer() {
    let mut world = published(8, 8);
    let party = world.party(3);
    let stolen = Said {
        certificate: world.party(2).certificate(),
        ..world.said(3).clone()
    };
    let seq = world.seq(3) + 1;
    let expiry = Calendar(world.calendar().0 + 100);
    let bad = Genuine::sign(
        party.identity(),
        party.overlay(),
        seq,
        expiry,
        Some(&stolen),
    );
    for node in 0..8 {
        for index in 0..3 {
            world.plant(node, &bad, index);
        }
    }
    let query = world.lookup(6, 3);
    world.run(SECOND * 4);
    assert_eq!(
        world.outcome(6, query),
        Some(&not_found(query, Absence::Unknown))
    );
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut world = published(8, 9);
    let record = world.record(2);
    let answer = Message::Answer(Answer {
        by_tree: false,
        hops: 9,
        watermark: 1 << 40,
        nonce: 77,
        index: 0,
        to: world.name(1).tag(),
        to_location: Location::Neighbour,
        outcome: Outcome::Found,
        token: [0; TOKEN_LEN],
        record: record.bytes(),
    });
    let bytes = encoded(&answer);
    let from = world.name(0);
    let handled = world.with(1, |directory, compass, now| {
        directory.handle(from, &bytes, compass, now)
    });
    assert_eq!(handled, Ok(()));
    assert_eq!(world.nodes[1].floor(world.name(2)), None);
}

#[test]
fn one_message_in_gives_at_most_one_out() {
    let mut world = published(12, 10);
    world.run(SECOND * 40);
    let hash = [7; HASH_LEN];
    let entry = Listed {
        key: 9,
        tag: world.name(1).tag(),
        seq: 1,
    };
    let section = Section {
        first: 0,
        last: u64::MAX,
        entries: vec![entry],
    };
    let request = |up, by_tree| {
        Message::Request(Request {
            by_tree,
            up,
            exact: false,
            hops: HOPS_MAX,
            watermark: WATERMARK_START,
            nonce: 5,
            name: [3; 32],
            index: 1,
            from: world.name(3).tag(),
            from_location: Location::Tree {
                tree: 7,
                term: 1,
                path: vec![(1, 1)],
            },
            ask: Ask::Get,
        })
    };
    let messages = [
        request(false, false),
        request(true, false),
        request(false, true),
        Message::Digest(Digest {
            ranges: vec![(0, u64::MAX)],
            hash,
        }),
        Message::Differs(hash),
        Message::List(vec![section]),
        Message::Want(vec![(9, world.name(1).tag())]),
    ];
    let messages: Vec<_> = messages.iter().map(encoded).collect();
    for node in 0..12 {
        for from in (0..12).filter(|from| *from != node) {
            for bytes in &messages {
                let from = world.name(from);
                let (handled, out) = world.with_raw(node, |directory, compass, now| {
                    directory.handle(from, bytes, compass, now)
                });
                assert_eq!(handled, Ok(()));
                assert!(out.len() <= 1);
                assert!(
                    out.iter()
                        .all(|(_, answer)| answer.len() <= 3 * bytes.len())
                );
            }
        }
    }
}

#[test]
fn garbage_ends_the_link_and_hurts_nobody() {
    let mut world = published(4, 11);
    let mut random = Random::from_number(3);
    let from = world.name(0);
    let mut refused = 0;
    for round in 0..3_000_u64 {
        let mut bytes = random.bytes::<64>().to_vec();
        bytes[0] = u8::try_from(round % 256).unwrap();
        bytes.truncate(1 + usize::try_from(random.below(64)).unwrap());
        let (handled, _) = world.with_raw(1, |directory, compass, now| {
            directory.handle(from, &bytes, compass, now)
        });
        refused += usize::from(handled.is_err());
    }
    assert!(refused > 2_900, "{refused}");
    let query = world.lookup(1, 2);
    world.run(SECOND * 4);
    assert!(world.found(1, query).is_some());
}

#[test]
fn a_reader_holds_only_so_many_look_ups_and_floors() {
    let mut world = World::new(1, 12);
    let names: Vec<_> = (0..20_u64)
        .map(|seed| {
            let mut bytes = [3; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            crate::name::Identity::from_seed(&bytes).name()
        })
        .collect();
    let directory = &mut world.nodes[0];
    for round in 0..crate::limits::DIRECTORY_FLOORS_MAX + 5 {
        let at = Time::from_nanos(round as u64);
        let name = names[round % names.len()];
        directory.set_floor(name, micros(EPOCH) + round as u64, at);
        directory.set_floor(name, 1, at);
    }
    assert!(directory.floor(names[0]) > Some(micros(EPOCH)));
}
