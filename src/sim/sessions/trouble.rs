//! What breaks between two sessions, and how it comes right.

use std::time::Duration;

use crate::random::Random;
use crate::session::LinkEvent;
use crate::sim::hop::Path;
use crate::sim::journal::Fate;
use crate::sim::sessions::traffic::content;
use crate::sim::sessions::{Happening, REDIAL, World};
use crate::time::Time;

fn millis(random: &mut Random, below: u64) -> Duration {
    Duration::from_millis(random.below(below))
}

impl World {
    /// Something breaks.
    pub(super) fn trouble(&mut self) {
        if self.calm {
            self.trouble_at = Time::NEVER;
            return;
        }
        self.trouble_at = self.now + Duration::from_millis(20 + self.random.below(1_200));
        let side = usize::from(self.random.below(2) == 1);
        let now = self.now;
        match self.random.below(24) {
            0..=2 => self.silence_path(),
            3 | 4 => self.reset_path(),
            5 | 6 => self.new_path(Duration::from_millis(50)),
            7..=11 => {
                let paths = self.hop.paths.values_mut();
                for path in paths {
                    path.worsen(&mut self.random);
                }
            }
            12 | 13 => {
                // The overlay finds a better way: no event, just another path.
                let up = &mut self.ends[side].up;
                if !up.is_empty() {
                    up.rotate_left(1);
                }
            }
            14 | 15 => {
                let span = millis(&mut self.random, 5_000);
                self.ends[side].frozen_until = now + span;
            }
            16 | 17 => {
                let event = match self.random.below(2) {
                    0 => LinkEvent::Up,
                    _ => LinkEvent::Changed,
                };
                if !self.ends[side].up.is_empty() {
                    self.ends[side].link_event(event, now);
                    self.events(side);
                }
            }
            18 => self.hop.jam_until = now + millis(&mut self.random, 400),
            19 | 20 => {
                let span = millis(&mut self.random, 10_000);
                self.cut_everything(span);
            }
            21 => {
                let skew = Duration::from_secs(1 + self.random.below(700));
                self.ends[side].skew += skew;
            }
            22 => self.ends[side].probe(),
            _ => self.restart(side),
        }
    }

    /// A node may restart.
    fn restart(&mut self, side: usize) {
        if self.random.below(2) == 0 {
            self.lose_state(side);
        }
    }

    /// The state of one end is gone; the other learns it, sealed, a while later.
    pub(super) fn lose_state(&mut self, side: usize) {
        if self.restarting {
            return;
        }
        self.restarting = true;
        self.ends[1 - side]
            .applications
            .may_all_be_cut(&mut self.oracle);
        self.ends[side].restart(&mut self.oracle);
        #[cfg(test)]
        if self
            .oracle
            .is(crate::sim::application::Sabotage::SilentRestart)
        {
            return;
        }
        let span = millis(&mut self.random, 3_000);
        self.later(1 - side, span, Happening::PeerRestarted);
    }

    /// All bytes of one path vanish; each end notices by itself.
    fn silence_path(&mut self) {
        let side = usize::from(self.random.below(2) == 1);
        let Some(number) = self.ends[side].up.last().copied() else {
            return;
        };
        if let Some(path) = self.hop.paths.get_mut(&number) {
            path.silent = true;
        }
        for end in 0..2 {
            let notices = millis(&mut self.random, 3_500);
            self.later(end, notices, Happening::PathDown(number));
        }
    }

    /// A path breaks, and both ends hear of it.
    fn reset_path(&mut self) {
        let side = usize::from(self.random.below(2) == 1);
        let Some(number) = self.ends[side].up.last().copied() else {
            return;
        };
        if let Some(path) = self.hop.paths.get_mut(&number) {
            path.silent = true;
        }
        for end in 0..2 {
            let notices = millis(&mut self.random, 60);
            self.later(end, notices, Happening::PathDown(number));
        }
    }

    /// No path is left, and none comes for `span`.
    pub(super) fn cut_everything(&mut self, span: Duration) {
        let numbers: Vec<u64> = self.hop.paths.keys().copied().collect();
        for number in numbers {
            if let Some(path) = self.hop.paths.get_mut(&number) {
                path.silent = true;
            }
            for end in 0..2 {
                self.later(end, Duration::ZERO, Happening::PathDown(number));
            }
        }
        self.dial_at = self.now + span;
    }

    /// A path that both ends learn of within `apart`.
    fn new_path(&mut self, apart: Duration) {
        self.hop.next_path += 1;
        let number = self.hop.next_path;
        let path = Path::good(&mut self.random);
        self.hop.paths.insert(number, path);
        let apart = u64::try_from(apart.as_millis()).unwrap_or(0);
        for end in 0..2 {
            let span = millis(&mut self.random, apart.max(1));
            self.later(end, span, Happening::PathUp(number));
        }
    }

    /// Dials a path when none answers, and forgets those that both ends have given up.
    pub(super) fn dial(&mut self) {
        let ends = &self.ends;
        let known = |number: &u64| ends.iter().any(|end| end.up.contains(number));
        let coming = |number: &u64| {
            self.happenings.values().any(|(_, happening)| {
                matches!(happening, Happening::PathUp(path) | Happening::PathDown(path) if path == number)
            })
        };
        // An end that heard of a path's end before its begin finds out late.
        let silent = self.hop.paths.iter().filter(|(_, path)| path.silent);
        let stale: Vec<u64> = silent
            .map(|(number, _)| *number)
            .filter(|number| known(number) && !coming(number))
            .collect();
        self.hop
            .paths
            .retain(|number, path| !path.silent || known(number) || coming(number));
        for number in stale {
            for end in 0..2 {
                self.later(end, Duration::from_secs(1), Happening::PathDown(number));
            }
        }
        if !self.hop.paths.values().any(|path| !path.silent) {
            self.new_path(Duration::from_millis(30));
        }
    }

    /// The relays set messages free and replay old ones, in the calm too.
    pub(super) fn hop_acts(&mut self) {
        let calm = self.calm;
        let pause = if calm { 400 } else { 60 };
        self.hop_at = self.now + Duration::from_millis(1 + self.random.below(pause));
        let mut out = Vec::new();
        if self.now >= self.hop.jam_until && self.random.below(3) == 0 {
            out = self.hop.release(calm, &mut self.random);
        }
        for _ in 0..self.random.below(3) {
            out.extend(self.hop.any(&mut self.random));
        }
        for message in out {
            let to = 1 - message.from;
            self.journal.message(
                self.now,
                message.from,
                content(&message.what),
                Fate::Replayed,
            );
            self.later(
                to,
                Duration::from_millis(1),
                Happening::Arrives(message, false, false),
            );
        }
    }

    /// Nothing breaks any more: paths are good, or found to be dead.
    pub(super) fn calm_down(&mut self) {
        #[cfg(test)]
        if self.oracle.is(crate::sim::application::Sabotage::NeverCalm) {
            self.calm = true;
            let paths = self.hop.paths.values_mut();
            paths.for_each(|path| path.loss = 1_000);
            self.dial_at = Time::NEVER;
            return;
        }
        self.calm = true;
        self.hop.jam_until = self.now;
        for path in self.hop.paths.values_mut() {
            path.mend();
        }
        self.dial_at = self.dial_at.min(self.now + REDIAL);
    }

    /// Channels open, then no network for `span`; how long it takes to go on afterwards.
    pub(super) fn outage(&mut self, span: Duration) -> Result<Duration, String> {
        self.trouble_at = Time::NEVER;
        self.calm_at = Time::NEVER;
        self.run_until(|world| world.now >= Time::ZERO + Duration::from_secs(3))?;
        self.cut_everything(span);
        let back = self.now + span;
        self.hop_at = back;
        self.act_at = back;
        self.run_until(|world| world.now >= back)?;
        self.calm_at = self.now;
        self.calm_down();
        self.run_until(|world| !world.ends.iter().any(|end| end.up.is_empty()))?;
        let up_at = self.now;
        self.run_until(|world| !world.ends.iter().any(|end| end.is_suspended()))?;
        Ok(self.now.since(up_at))
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        for _ in 0..1_000_000 {
            if done(self) {
                return Ok(());
            }
            self.step()?;
        }
        Err("too many steps".to_owned())
    }
}
