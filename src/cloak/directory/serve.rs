//! Requests and answers of others: passing them on, and serving what is ours.

use std::sync::Arc;

use crate::cloak::compass::{Hop, Toward, Way};
use crate::cloak::directory::genuine::{Genuine, sub_key};
use crate::cloak::directory::store::{Kept, Place, Rank, Standing, Store};
use crate::cloak::directory::{Check, Context, Directory, Rate, Waiter};
use crate::name::Name;
use crate::wire::directory::{Answer, Ask, Message, Outcome, Request};
use crate::wire::link::Route;

/// Outcome of a request, with the record it is about.
type Served = (Outcome, Option<Arc<[u8]>>);

impl Directory {
    /// A request that came by way of `from`.
    pub(super) fn on_request(&mut self, from: Name, request: Request<'_>, context: Context<'_>) {
        let key = sub_key(&request.name, request.index);
        if request.up {
            return self.serve(from, &request, key, context);
        }
        let has = |store: &Store| store.get((key, request.name), context.calendar).is_some();
        let may_copy = request.ask == Ask::Get && !request.exact;
        let way = if request.by_tree { Way::Tree } else { Way::Any };
        // It comes again because who is responsible was silent: a copy above it will do.
        if request.by_tree && may_copy && context.compass.contains(key) && has(&self.store) {
            return self.serve(from, &request, key, context);
        }
        let toward = context.compass.toward(key, request.watermark, &[from], way);
        match toward {
            Toward::Next(neighbour, watermark) => {
                let request = Request {
                    watermark,
                    ..request
                };
                self.pass_on(neighbour, request);
            }
            // Arcs are moving; whoever brings a record must not find it with itself.
            Toward::Stuck if request.exact && from == self.name => {}
            Toward::Here | Toward::Stuck => match context.compass.father() {
                // The arcs may just have changed, or what we had is lost: the copy is above.
                Some(father) if may_copy && !has(&self.store) => {
                    let request = Request {
                        up: true,
                        ..request
                    };
                    self.pass_on(father, request);
                }
                _ => self.serve(from, &request, key, context),
            },
        }
    }

    fn pass_on(&mut self, neighbour: Name, request: Request<'_>) {
        // Used up: dropped without a word (R-O1).
        if let Some(hops) = request.hops.checked_sub(1) {
            self.stats.relayed += 1;
            self.send(neighbour, &Message::Request(Request { hops, ..request }));
        }
    }

    fn serve(&mut self, from: Name, request: &Request<'_>, key: u64, context: Context<'_>) {
        let (outcome, record) = match &request.ask {
            Ask::Get => match self.store.get((key, request.name), context.calendar) {
                // A copy at a node that is stuck is not at its place.
                Some(entry) if !request.exact || context.compass.is_responsible(key) => {
                    (Outcome::Found, Some(Arc::clone(&entry.record)))
                }
                _ => (Outcome::Nothing, None),
            },
            Ask::Put { token, record } => {
                if self.tokens.holds(token, from, request, context.now) {
                    self.serve_put(from, request, record, key, context)
                } else {
                    (Outcome::Token, None)
                }
            }
        };
        let token = self.tokens.make(from, request, context.now);
        let record = record.as_deref().unwrap_or_default();
        let answer = Message::Answer(Answer::to(request, outcome, token, record));
        let mut out = Vec::new();
        answer.encode(&mut out);
        self.local.push_back(out);
    }

    fn serve_put(
        &mut self,
        from: Name,
        request: &Request<'_>,
        record: &[u8],
        key: u64,
        context: Context<'_>,
    ) -> Served {
        let place = (key, request.name);
        let stored = self.store.get(place, context.calendar);
        if stored.is_some_and(|entry| *entry.record == *record) {
            return (Outcome::Stored, None);
        }
        let standing = Standing::of(context.compass, key);
        if standing.rank == Rank::Elsewhere
            || !self.pass(from, Rate::Puts, context.now)
            || !self.may_check(Check::Put, context.now)
        {
            return (Outcome::Busy, None);
        }
        let genuine = Genuine::check(record, &self.overlay, &*self.verifier).ok();
        let genuine = genuine.filter(|genuine| {
            *genuine.name().as_bytes() == request.name
                && genuine.is_timely(context.calendar).is_ok()
        });
        let Some(genuine) = genuine else {
            return (Outcome::Refused, None);
        };
        let served = self.keep(&genuine, request.index, from, context);
        // Whoever brought it may not keep it, be it the father.
        if served.0 == Outcome::Stored && standing.rank == Rank::Own {
            self.copy_up(place, context);
        }
        served
    }

    /// Lets the father have a copy.
    pub(super) fn copy_up(&mut self, place: Place, context: Context<'_>) {
        if let Some(father) = context.compass.father() {
            self.sync.push(father, place, context.now);
        }
    }

    /// Keeps a genuine, timely record under its sub-key.
    pub(super) fn keep(
        &mut self,
        genuine: &Genuine,
        index: u8,
        from: Name,
        context: Context<'_>,
    ) -> Served {
        let key = sub_key(genuine.name().as_bytes(), index);
        let standing = Standing::of(context.compass, key);
        let kept = self
            .store
            .put(genuine, (key, index), standing, from, context.at());
        match kept {
            Kept::New => (Outcome::Stored, None),
            Kept::Same => (Outcome::Stored, None),
            Kept::Newer(record) => (Outcome::TooLow, Some(record)),
            Kept::Full => {
                self.stats.limited += 1;
                (Outcome::Busy, None)
            }
        }
    }

    /// An answer that came by way of `from`.
    pub(super) fn on_answer(&mut self, from: Name, answer: Answer<'_>, context: Context<'_>) {
        let route = Route {
            by_tree: answer.by_tree,
            hops: answer.hops,
            watermark: answer.watermark,
            to_location: answer.to_location.clone(),
            ..Route::neighbour(answer.to, answer.to)
        };
        let ingress = (from != self.name).then_some(from);
        match context.compass.route(&route, ingress) {
            Hop::Here => {
                let waiter = self.waiting.remove(&answer.nonce);
                match waiter {
                    Some(Waiter::Lookup(name, index)) if index == answer.index => {
                        self.lookup_answered((name, index), &answer, context);
                    }
                    Some(Waiter::Errand(id)) => self.errand_answered(id, &answer, context),
                    // Late, doubled, or made up.
                    _ => {}
                }
            }
            Hop::Next {
                neighbour,
                watermark,
                hops,
            } => {
                self.stats.relayed += u64::from(ingress.is_some());
                let answer = Answer {
                    watermark,
                    hops,
                    ..answer
                };
                self.send(neighbour, &Message::Answer(answer));
            }
            Hop::Nowhere => {}
        }
    }
}
