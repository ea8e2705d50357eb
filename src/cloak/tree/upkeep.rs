//! What comes in: neighbours, messages, time.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use crate::cloak::tree::children::State;
use crate::cloak::tree::neighbour::{Neighbour, Place};
use crate::cloak::tree::proof::{Doubt, Proved, Speaker, believed};
use crate::cloak::tree::{Event, Misbehaviour, Tree, proof, rank};
use crate::limits::{
    TREE_ASK_AFTER, TREE_DEPUTY_AFTER, TREE_DEPUTY_LINKED, TREE_DEPUTY_NEXT, TREE_FOUND_AFTER,
    TREE_FOUND_LAST, TREE_NEWS, TREE_REFUSED, TREE_SILENCE_MAX, TREE_WEIGHT_PAUSE,
    TREE_WEIGHT_REST,
};
use crate::name::Name;
use crate::time::Time;
use crate::wire::tree::{Announce, Charter, Message, Pulse};

/// Pause between two looks while something is wrong.
const WATCH: Duration = Duration::from_millis(100);

impl Tree {
    /// The first link to a neighbour is up, or what was under way to it may be lost: it is told everything.
    pub fn neighbour_up(&mut self, name: Name, now: Time) {
        if name == self.me {
            return;
        }
        let neighbour = self.neighbours.entry(name);
        neighbour.or_insert_with(Neighbour::new).told = 0;
        self.proofs.resize(self.neighbours.len());
        self.tell(name);
        self.done(now);
    }

    /// What is known of the neighbours may be over: all are asked (R-O8).
    pub fn ask_all(&mut self, now: Time) {
        let all: Vec<_> = self.neighbours.keys().copied().collect();
        for name in all {
            self.query(name, now);
        }
        self.done(now);
    }

    /// The last link to a neighbour is gone.
    pub fn neighbour_down(&mut self, name: Name, now: Time) {
        if self.neighbours.remove(&name).is_none() {
            return;
        }
        self.proofs.resize(self.neighbours.len());
        self.proofs.forget(&name);
        self.messages.retain(|(to, _)| *to != name);
        self.drop_child(&name, now);
        if self.asked.is_some_and(|asked| asked.name == name) {
            self.asked = None;
        }
        if self.own.parent == Some(name) {
            self.lose_parent(now);
        }
        self.look(now);
        self.done(now);
    }

    /// A message of a neighbour. After an error its links are closed.
    pub fn handle(&mut self, from: Name, bytes: &[u8], now: Time) -> Result<(), Misbehaviour> {
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(());
        };
        if !neighbour.admit(now) {
            return Err(Misbehaviour::Flood);
        }
        let message = Message::decode(bytes).map_err(|_| Misbehaviour::Malformed)?;
        let result = self.take(from, message, now);
        self.done(now);
        result
    }

    fn take(&mut self, from: Name, message: Message, now: Time) -> Result<(), Misbehaviour> {
        match message {
            Message::Announce(place) => {
                if self.learn(from, &place, now)? {
                    self.announced(from, &place, now);
                }
            }
            Message::Charter(charter) => return self.chartered(from, charter, now),
            Message::Pulse {
                tree,
                term,
                pulse,
                digest,
            } => return self.pulsed(from, (tree, term), pulse, digest, now),
            Message::Join {
                tree,
                weight,
                former,
            } => self.give(from, tree, weight, former, now),
            Message::Grant { grant, place } => return self.granted(from, grant, &place, now),
            Message::Refuse(instead) => {
                if self.asked.is_some_and(|asked| asked.name == from) {
                    self.refused(from, now);
                    self.try_instead(from, instead);
                }
            }
            Message::Cut(steps) => self.neighbour_cut(from, steps),
            Message::Leave => {
                self.drop_child(&from, now);
                if self.own.parent == Some(from) {
                    self.avoid(from, TREE_REFUSED, now);
                    self.lose_parent(now);
                }
                if self.asked.is_some_and(|asked| asked.name == from) {
                    self.refused(from, now);
                }
            }
            Message::Weight(weight) => self.weighed(from, weight, now),
            Message::Query => {
                if let Some(neighbour) = self.neighbours.get_mut(&from) {
                    neighbour.news_until = now + TREE_NEWS;
                    neighbour.told = 0;
                    if let Some(charter) = &neighbour.charter
                        && rank::same(charter, &self.own.charter)
                    {
                        // It may have lost it.
                        neighbour.charter = None;
                    }
                }
                self.tell(from);
            }
        }
        Ok(())
    }

    fn refused(&mut self, from: Name, now: Time) {
        let tree = self.asked.take().map(|asked| asked.tree);
        self.avoid(from, TREE_REFUSED, now);
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            let place = neighbour.place.as_deref();
            if place.map(|place| place.charter.tree) != tree {
                neighbour.forgive(now);
            }
        }
        self.look(now);
    }

    /// Without any way to go on, this node needs a link to another one.
    fn try_instead(&mut self, from: Name, other: Option<[u8; 32]>) {
        if self.asked.is_some() || self.own.parent.is_some() {
            return;
        }
        self.events.push_back(Event::NoPlace(from));
        if let Some(Ok(name)) = other.map(Name::from_bytes)
            && name != self.me
            && !self.neighbours.contains_key(&name)
        {
            self.events.push_back(Event::WantLink(name));
        }
    }

    fn drop_child(&mut self, name: &Name, now: Time) {
        if self.children.has(name) {
            self.children.gone(name, now);
            self.expire_at = now;
            self.events.push_back(Event::Keys);
        }
    }

    fn weighed(&mut self, from: Name, weight: u64, now: Time) {
        if let Some(child) = self.children.get_mut(&from)
            && !child.is_gone()
            && child.weight != weight
        {
            child.weight = weight;
            self.children.weighed(now);
        }
    }

    /// Who has said something that is to be checked.
    pub(super) fn speaker(&self, name: Name, now: Time) -> Speaker {
        let is_asked = self.asked.is_some_and(|asked| asked.name == name);
        Speaker {
            name,
            is_above: self.own.parent == Some(name) || is_asked,
            now,
        }
    }

    /// The charter that an announcement of a neighbour speaks of, if it is known.
    pub(super) fn charter_of(&self, from: &Name, place: &Announce) -> Option<Arc<Charter>> {
        let reign = (place.tree, place.term, place.root);
        let told = self.neighbours.get(from)?.charter.as_ref();
        let mut known = [Some(&self.own.charter), told].into_iter().flatten();
        known
            .find(|charter| rank::reign(charter) == reign)
            .map(Arc::clone)
    }

    /// Checks and notes where a neighbour hangs. False when its charter is not known yet, or nothing could be checked.
    pub(super) fn learn(
        &mut self,
        from: Name,
        place: &Announce,
        now: Time,
    ) -> Result<bool, Misbehaviour> {
        let Some(charter) = self.charter_of(&from, place) else {
            self.query(from, now);
            return Ok(false);
        };
        let speaker = self.speaker(from, now);
        let proved = self.proofs.chain(&self.geometry, place, speaker);
        let Some(proved) = believed(proved)? else {
            return Ok(false);
        };
        let own = rank::same(&charter, &self.own.charter) && place.pulse == self.own.pulse;
        if !own {
            let reign = (place.tree, place.term);
            let pulse = self.proofs.pulse(speaker, &place.root, reign, &place.pulse);
            if believed(pulse)?.is_none() {
                return Ok(false);
            }
        }
        let fresh = self.placed(&from, place, charter, proved);
        let child = fresh.child;
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(false);
        };
        let arrival = neighbour.arrive(fresh, now);
        if arrival.crowned && !neighbour.crown(now) {
            return Err(Misbehaviour::Flood);
        }
        if arrival.moved {
            self.expire_at = now;
            self.events.push_back(Event::Keys);
        } else if arrival.mended {
            self.events.push_back(Event::Ways);
        }
        self.confirm(from, place, child, now);
        Ok(true)
    }

    /// What an announcement that was checked says.
    fn placed(
        &self,
        from: &Name,
        place: &Announce,
        charter: Arc<Charter>,
        proved: Proved,
    ) -> Place {
        let above = place.chain.len().checked_sub(2);
        let above = above.and_then(|at| place.chain.get(at));
        let above = above.map_or(&place.root, |grant| &grant.child);
        let root = place.root == *from.as_bytes();
        Place {
            digest: proof::digest(&charter, &place.chain),
            seq: place.pulse.seq,
            root,
            relay: place.relay,
            below: self.is_mine(&place.root, &place.chain),
            child: !root && above == self.me.as_bytes(),
            charter,
            path: proved.path,
            range: proved.range,
            cut: None,
            number: place.chain.last().map_or(0, |grant| grant.number),
        }
    }

    /// Compares what a neighbour says of its parent with the children known here.
    fn confirm(&mut self, from: Name, place: &Announce, says: bool, now: Time) {
        let last = place.chain.last().filter(|_| says);
        let Some(child) = self.children.get_mut(&from) else {
            if says {
                self.send(from, &Message::Leave);
            }
            return;
        };
        let fits = last.is_some_and(|grant| (grant.slot, grant.lease) == (child.slot, child.lease));
        match child.state {
            // It still says what was before.
            State::Given(_) if !fits => {}
            State::Here if !fits && says && !child.is_gone() => {}
            State::Here if !fits => self.drop_child(&from, now),
            State::Gone(_) => {
                if says {
                    self.send(from, &Message::Leave);
                }
            }
            State::Given(_) | State::Here => {
                child.state = State::Here;
                child.relay = place.relay;
                self.weighed(from, place.weight, now);
            }
        }
    }

    fn announced(&mut self, from: Name, place: &Announce, now: Time) {
        if self.own.parent == Some(from) {
            self.follow(from, place, now);
        }
        self.check_twice(now);
        self.look(now);
    }

    /// The parent moved, or says again where it is.
    fn follow(&mut self, parent: Name, place: &Announce, now: Time) {
        let Some(charter) = self.charter_of(&parent, place) else {
            return;
        };
        let order = rank::compare(&charter, &self.own.charter);
        if order == Ordering::Equal && place.pulse.seq < self.own.pulse.seq {
            return;
        }
        let Some(grant) = self.own.chain.last().cloned() else {
            return;
        };
        if !self.would_follow(place.tree, now) {
            self.part(parent, true, now);
        } else if !self.hang(parent, place, grant, now) {
            self.lose_parent(now);
        }
    }

    fn chartered(
        &mut self,
        from: Name,
        charter: Arc<Charter>,
        now: Time,
    ) -> Result<(), Misbehaviour> {
        let may = |root: &[u8; 32]| {
            let roots = &self.settings.roots;
            roots.is_empty() || roots.iter().any(|name| name.as_bytes() == root)
        };
        if !may(&charter.root) {
            return Ok(());
        }
        let own = &self.own.charter;
        let same = rank::same(&charter, own);
        let charter = if same && charter.version <= own.version {
            Arc::clone(own)
        } else {
            let speaker = self.speaker(from, now);
            if believed(self.proofs.charter(speaker, &charter))?.is_none() {
                return Ok(());
            }
            charter
        };
        let newer = same && charter.version > own.version;
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(());
        };
        neighbour.charter = Some(Arc::clone(&charter));
        if let Some(place) = &mut neighbour.place
            && rank::same(&place.charter, &charter)
        {
            place.charter = Arc::clone(&charter);
        }
        if newer && self.office.is_none() {
            self.own.charter = charter;
            self.share_charter();
            self.tell_charter();
            self.want_deputies();
        }
        self.look(now);
        Ok(())
    }

    fn pulsed(
        &mut self,
        from: Name,
        (tree, term): (u64, u64),
        pulse: Pulse,
        digest: u32,
        now: Time,
    ) -> Result<(), Misbehaviour> {
        let speaker = self.speaker(from, now);
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(());
        };
        let place = neighbour.place.as_deref_mut();
        let Some(place) = place.filter(|p| p.charter.tree == tree && p.charter.term == term) else {
            self.query(from, now);
            return Ok(());
        };
        let lost = place.digest != digest;
        if pulse.seq > place.seq {
            let own = rank::same(&place.charter, &self.own.charter) && pulse == self.own.pulse;
            if !own {
                let root = &place.charter.root;
                match self.proofs.pulse(speaker, root, (tree, term), &pulse) {
                    Ok(()) => {}
                    Err(Doubt::Unchecked) => return Ok(()),
                    Err(Doubt::Forged) if lost => {
                        // Another root's, of the same term in a part that was cut off, whose announcement was lost.
                        self.query(from, now);
                        return Ok(());
                    }
                    Err(Doubt::Forged) => return Err(Misbehaviour::Forged),
                }
            }
            place.seq = pulse.seq;
            if place.cut.take().is_some() {
                self.events.push_back(Event::Ways);
            }
            neighbour.fresh = Some(now);
            let same = rank::same(&place.charter, &self.own.charter);
            if same && self.own.parent == Some(from) && pulse.seq > self.own.pulse.seq {
                self.own.pulse = pulse;
                self.own.pulse_at = now;
                self.watch_at = now + TREE_ASK_AFTER;
                self.mend();
                self.note_feasible();
                self.pass_pulse(now);
            } else if self.own.parent.is_none() || !same {
                self.look(now);
            }
        }
        if lost {
            self.query(from, now);
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(asked) = self.asked
            && now >= asked.until
        {
            self.refused(asked.name, now);
        }
        self.rule(now);
        if now >= self.watch_at {
            self.watch(now);
        }
        if now >= self.look_at {
            self.look(now);
        }
        self.refresh(now);
        self.done(now);
    }

    /// Looks after the parent and the root.
    fn watch(&mut self, now: Time) {
        if self.office.is_some() {
            self.watch_at = Time::NEVER;
            return;
        }
        let silence = now.since(self.own.pulse_at);
        if silence < TREE_ASK_AFTER && !self.is_lost() {
            self.watch_at = self.own.pulse_at + TREE_ASK_AFTER;
            return;
        }
        self.watch_at = now + WATCH;
        self.query_all(now);
        self.look(now);
        if silence >= TREE_SILENCE_MAX {
            self.lose_parent(now);
        }
        if let Some(at) = self.deputy() {
            let turn = u32::try_from(at).unwrap_or(u32::MAX);
            let linked = self
                .own
                .parent
                .map_or(Duration::ZERO, |_| TREE_DEPUTY_LINKED);
            if silence >= TREE_DEPUTY_AFTER + TREE_DEPUTY_NEXT.saturating_mul(turn) + linked {
                self.succeed(at, now);
                return;
            }
        }
        let last = self.own.chain.len() == 1 && !self.own.charter.deputies.is_empty();
        let patience = if last {
            TREE_FOUND_LAST
        } else {
            TREE_FOUND_AFTER
        };
        let alone = self.neighbours.is_empty();
        if self.is_lost() && (alone || (silence >= patience && self.asked.is_none())) {
            self.found(now);
        }
    }

    /// Ends every input: says what is to be said, forgets what is too old.
    fn done(&mut self, now: Time) {
        if now >= self.expire_at {
            self.expire(now);
        }
        self.recut(now);
        self.say(now);
        self.report_weight(now);
        self.reschedule();
    }

    fn expire(&mut self, now: Time) {
        let (mut next, fewer) = self.children.expire(now);
        if fewer {
            self.children.weighed(now);
        }
        next = next.min(self.former.expire(now));
        for neighbour in self.neighbours.values_mut() {
            next = next.min(neighbour.former.expire(now));
        }
        self.expire_at = next;
    }

    fn recut(&mut self, now: Time) {
        let own = self.own.chain.first().filter(|_| self.office.is_some());
        let part = own.map(|grant| grant.part);
        let Some((changed, part)) = self.children.cut(part, now) else {
            return;
        };
        if let Some(part) = part {
            self.recut_own(part, now);
        }
        for name in changed {
            if let Some(child) = self.children.get(&name).copied() {
                self.send_grant(name, &child);
            }
        }
        self.events.push_back(Event::Keys);
    }

    fn weight_due(&self) -> Time {
        let (told, at) = self.told_weight;
        let weight = self.children.weight();
        if self.own.parent.is_none() || told == weight {
            return Time::NEVER;
        }
        let large = told.abs_diff(weight) > told / 8;
        at + if large {
            TREE_WEIGHT_PAUSE
        } else {
            TREE_WEIGHT_REST
        }
    }

    fn report_weight(&mut self, now: Time) {
        if now >= self.weight_due()
            && let Some(parent) = self.own.parent
        {
            let weight = self.children.weight();
            self.told_weight = (weight, now);
            self.send(parent, &Message::Weight(weight));
        }
    }

    pub(super) fn reschedule(&mut self) {
        let asked = self.asked.map_or(Time::NEVER, |asked| asked.until);
        let office = self.office.map_or(Time::NEVER, |office| office.pulse_at);
        let say = if self.unsaid {
            self.say_from
        } else {
            Time::NEVER
        };
        let watch = if self.office.is_some() {
            Time::NEVER
        } else {
            self.watch_at
        };
        let all = [
            asked,
            office,
            say,
            watch,
            self.look_at,
            self.refresh_at,
            self.expire_at,
            self.children.cut_due(),
            self.weight_due(),
        ];
        self.due = all.into_iter().min().unwrap_or(Time::NEVER);
    }
}
