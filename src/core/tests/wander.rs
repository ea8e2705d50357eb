//! Random meshes in which links come, go and fall silent and nodes restart, while channels carry bytes both ways.

use super::relays::Mesh;
use super::*;

/// Bytes that each end of a channel sends.
const BYTES: usize = 40_000;

/// A channel between two nodes, and what its ends have seen.
struct Talk {
    ends: [usize; 2],
    keys: [Option<ChannelKey>; 2],
    /// Bytes that each end has written.
    written: [usize; 2],
    finished: [bool; 2],
    reset: bool,
    /// One of its ends has forgotten everything, or was told in time that there is no path.
    excused: bool,
    /// Since when its channel has been asked for.
    asked: Option<Time>,
}

struct Wander {
    mesh: Mesh,
    random: Random,
    boots: Vec<u8>,
    talks: Vec<Talk>,
    seen: Vec<usize>,
}

impl Wander {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let count = 6 + random.below(3);
        let pick = |random: &mut Random, below: u64| usize::try_from(random.below(below)).unwrap();
        let mut wires = Vec::new();
        for node in 1..count {
            wires.push((pick(&mut random, node), usize::try_from(node).unwrap()));
        }
        let mesh = Mesh::new(u8::try_from(count).unwrap(), &wires);
        let count = mesh.nodes.len();
        let mut wander = Self {
            mesh,
            random,
            boots: vec![1; count],
            talks: Vec::new(),
            seen: vec![0; count],
        };
        for _ in 0..3 {
            wander.more_links();
            let ends = wander.two();
            wander.talks.push(Talk {
                ends,
                keys: [None; 2],
                written: [0; 2],
                finished: [false; 2],
                reset: false,
                excused: false,
                asked: None,
            });
        }
        wander
    }

    fn pick(&mut self, below: usize) -> usize {
        let below = u64::try_from(below).unwrap();
        usize::try_from(self.random.below(below)).unwrap()
    }

    fn two(&mut self) -> [usize; 2] {
        let count = self.mesh.nodes.len();
        let first = self.pick(count);
        [first, (first + 1 + self.pick(count - 1)) % count]
    }

    fn more_links(&mut self) {
        let [a, b] = self.two();
        let shortcut = self.pick(3) == 0;
        self.mesh.link(a, b, shortcut);
    }

    /// One thing happens to the mesh.
    fn trouble(&mut self) {
        let wires = self.mesh.wires.len();
        match self.pick(12) {
            0..3 if wires > 0 => {
                let wire = self.pick(wires);
                self.mesh.cut(wire);
            }
            3..5 if wires > 0 => {
                let wire = self.pick(wires);
                self.mesh.wires[wire].silent = true;
            }
            5 => {
                let node = self.pick(self.boots.len());
                self.mesh.kill(node);
            }
            6 if self.pick(6) == 0 => {
                let node = self.pick(self.boots.len());
                self.restart(node);
            }
            _ => self.more_links(),
        }
    }

    fn restart(&mut self, at: usize) {
        self.observe();
        self.mesh.kill(at);
        self.boots[at] += 1;
        let seed = u8::try_from(at + 1).unwrap();
        self.mesh.nodes[at] = node(seed, self.boots[at]);
        let now = self.mesh.now;
        self.mesh.nodes[at].core.publish(Vec::new(), now);
        self.seen[at] = 0;
        for talk in &mut self.talks {
            talk.excused |= talk.ends.contains(&at);
        }
    }

    /// Lets both ends of every talk say more.
    fn talk(&mut self) {
        for number in 0..self.talks.len() {
            let (ends, now) = (self.talks[number].ends, self.mesh.now);
            let over = self.talks[number].excused || self.talks[number].reset;
            if self.talks[number].asked.is_none() && !over {
                let peer = self.mesh.name(ends[1]);
                let port = 1_000 + u16::try_from(number).unwrap();
                let core = &mut self.mesh.nodes[ends[0]].core;
                core.request(vec![peer], Target::Loopback(port), port, now);
                self.talks[number].asked = Some(now);
            }
            for (side, end) in ends.into_iter().enumerate() {
                let Some(key) = self.talks[number].keys[side] else {
                    continue;
                };
                let talk = &mut self.talks[number];
                if talk.finished[side] || !self.mesh.nodes[end].core.has_channel(key) {
                    continue;
                }
                let bytes = pattern(BYTES);
                let more = 1 + self.random.below(9_000);
                let until = (talk.written[side] + usize::try_from(more).unwrap()).min(BYTES);
                let written = self.mesh.write(end, key, &bytes[talk.written[side]..until]);
                talk.written[side] += written;
                if talk.written[side] == BYTES {
                    talk.finished[side] = true;
                    let core = &mut self.mesh.nodes[end].core;
                    core.session(key.session).unwrap().finish(key.channel);
                    core.flush(now);
                }
            }
        }
    }

    /// Reads the nodes' events and checks all that must hold at any time.
    fn observe(&mut self) {
        for at in 0..self.seen.len() {
            let events = &self.mesh.nodes[at].events;
            let new: Vec<Event> = events.iter().skip(self.seen[at]).cloned().collect();
            self.seen[at] += new.len();
            for event in new {
                self.event(at, &event);
            }
            self.mesh.nodes[at].core.check_riders();
        }
        for talk in &self.talks {
            for (side, end) in talk.ends.into_iter().enumerate() {
                let Some(key) = talk.keys[side] else { continue };
                if talk.excused {
                    continue;
                }
                let got = self.mesh.got(end, key);
                assert!(pattern(BYTES).starts_with(got), "wrong bytes");
                assert!(got.len() <= talk.written[1 - side]);
                let core = &mut self.mesh.nodes[end].core;
                let ended = core.has_channel(key) && {
                    let session = core.session(key.session).unwrap();
                    session.is_read_out(key.channel)
                };
                let whole = talk.finished[1 - side] && self.mesh.got(end, key).len() == BYTES;
                assert!(whole || !ended, "an end that was none");
            }
        }
    }

    fn event(&mut self, at: usize, event: &Event) {
        let count = self.talks.len();
        match event {
            Event::Assigned(_, key) => {
                let number = usize::from(key.channel.port() - 1_000);
                assert_eq!(self.talks[number].ends[0], at);
                self.talks[number].keys[0] = Some(*key);
            }
            Event::Unassigned(..) => {
                let waits = |talk: &Talk| talk.ends[0] == at && talk.keys[0].is_none();
                for talk in self.talks.iter_mut().filter(|talk| waits(talk)) {
                    talk.asked = None;
                }
            }
            Event::Incoming(key, _, Target::Loopback(port)) => {
                let number = usize::from(port - 1_000);
                assert!(number < count && self.talks[number].ends[1] == at);
                if !self.talks[number].excused {
                    assert_eq!(self.talks[number].keys[1], None, "opened twice");
                }
                self.talks[number].keys[1] = Some(*key);
            }
            Event::Reset(key, _) | Event::OpenFailed(key, _) => {
                let now = self.mesh.now;
                for talk in self.of(at, *key) {
                    let waited = talk.asked.map(|asked| now.since(asked));
                    let no_path = matches!(event, Event::OpenFailed(_, OpenFailure::NoPath));
                    talk.excused |= no_path && waited >= Some(OPEN_TIMEOUT);
                    assert!(talk.excused, "reset without a reason");
                    talk.reset = true;
                }
            }
            Event::Closed(key) => {
                let key = *key;
                let got = self.mesh.got(at, key).len();
                for talk in self.of(at, key) {
                    assert!(talk.excused || talk.finished == [true; 2], "closed early");
                    assert_eq!(got, BYTES, "cut short");
                }
            }
            _ => {}
        }
    }

    fn of(&mut self, at: usize, key: ChannelKey) -> impl Iterator<Item = &mut Talk> {
        self.talks.iter_mut().filter(move |talk| {
            let mut ends = talk.ends.into_iter().zip(talk.keys);
            ends.any(|end| end == (at, Some(key)))
        })
    }

    fn is_over(&self) -> bool {
        self.talks.iter().all(|talk| {
            let mut ends = talk.ends.into_iter().zip(talk.keys);
            talk.excused
                || (talk.keys.iter().all(Option::is_some)
                    && ends.all(|(end, key)| self.mesh.got(end, key.unwrap()).len() == BYTES))
        })
    }

    fn run(&mut self) {
        for _ in 0..24 {
            self.trouble();
            for _ in 0..1 + self.pick(4) {
                self.talk();
                let millis = 10 << self.pick(6);
                self.mesh.run(Duration::from_millis(millis));
                self.observe();
            }
        }
        // Calm: what is silent breaks, and everybody is linked.
        while let Some(wire) = self.mesh.wires.iter().position(|wire| wire.silent) {
            self.mesh.cut(wire);
        }
        for node in 1..self.boots.len() {
            let other = self.pick(node);
            self.mesh.link(node, other, false);
        }
        // Who changed its tree often of late waits for up to ten minutes before it does so again.
        for _ in 0..6_600 {
            if self.is_over() {
                break;
            }
            self.talk();
            self.mesh.run(Duration::from_millis(100));
            self.observe();
        }
        let got = |talk: &Talk| {
            let ends = talk.ends.into_iter().zip(talk.keys);
            let lens = ends.map(|(end, key)| key.map(|key| self.mesh.got(end, key).len()));
            (talk.ends, lens.collect::<Vec<_>>())
        };
        let talks: Vec<_> = self.talks.iter().map(got).collect();
        let views: Vec<_> = self
            .mesh
            .nodes
            .iter()
            .map(|node| {
                (
                    node.core.own_location(),
                    node.core.session_views(self.mesh.now),
                )
            })
            .collect();
        assert!(self.is_over(), "{talks:?} {views:#?}");
        self.mesh.run(Duration::from_secs(2));
        self.observe();
    }
}

impl Core {
    /// Links and sessions agree on who rides where.
    pub(super) fn check_riders(&self) {
        for (number, link) in &self.links {
            for rider in &link.riders {
                let entry = self.sessions.get(rider).expect("a rider that is gone");
                let carrier = entry.carrier.as_ref().map(|carrier| carrier.link);
                assert_eq!(carrier, Some(*number), "rides on another link");
            }
        }
        for (number, entry) in &self.sessions {
            if let Some(carrier) = &entry.carrier {
                let link = self.links.get(&carrier.link).expect("a link that is gone");
                let rides = link.riders.iter().filter(|rider| *rider == number);
                assert_eq!(rides.count(), 1);
            }
        }
    }
}

#[test]
fn whatever_happens_to_links_every_byte_arrives_once_and_no_end_is_made_up() {
    let first: Option<u64> = std::env::var("WANDER_SEED")
        .ok()
        .map(|seed| seed.parse().unwrap());
    let count: u64 = std::env::var("WANDER_COUNT").map_or(4, |count| count.parse().unwrap());
    // An honest pulse of another root of the same term counted as forged; a live session that lost its way, but
    // no link, waited for ever; a channel of which nothing had reached the peer was reset; the pulses of one
    // root were compared with those of another of the same tree, so that two parts never met.
    let failed_once = [170, 299, 331, 978, 1077];
    let known = failed_once.into_iter().filter(|_| first.is_none());
    let first = first.unwrap_or(1);
    for seed in (first..first + count).chain(known) {
        let outcome = std::panic::catch_unwind(|| Wander::new(seed).run());
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
