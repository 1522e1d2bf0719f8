//! `inFlightReq`: at most so many requests of a source at once. A request is in flight until
//! the body of its answer ended, an upgrade until its tunnel ended, and neither any longer
//! than the client stays.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as _;
use serde::{Deserialize, Serialize};

use super::source::{By, Source, SourceCriterion};
use super::{Flow, Middleware};
use crate::message::{Body, BodyError, Exchange, Watch};

/// Counts are kept apart in so many places, so that workers rarely wait for each other.
const SHARDS: usize = 16;

/// Settings of `inFlightReq`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Requests at once; 0 or less lets none pass.
    #[serde(skip_serializing_if = "is_zero")]
    pub amount: i64,
    /// Which requests count together; `None`: those for one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_criterion: Option<SourceCriterion>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// The step.
pub struct Step {
    amount: i64,
    source: Source,
    counts: Arc<Counts>,
}

/// Requests in flight by source. Holds those above zero only: never more than there are
/// requests.
#[derive(Default)]
struct Counts {
    shards: [Mutex<HashMap<u64, i64, RandomState>>; SHARDS],
}

impl Counts {
    fn shard(&self, key: u64) -> Option<&Mutex<HashMap<u64, i64, RandomState>>> {
        self.shards.get(usize::try_from(key % SHARDS as u64).ok()?)
    }

    /// Counts one more, unless there are as many as may be.
    fn enter(self: &Arc<Self>, key: u64, amount: i64) -> Option<Slot> {
        let mut counts = self.shard(key)?.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&key).copied().unwrap_or_default();
        if count >= amount {
            return None;
        }
        counts.insert(key, count + 1);
        Some(Slot { counts: Arc::clone(self), key })
    }

    fn leave(&self, key: u64) {
        let Some(shard) = self.shard(key) else { return };
        let mut counts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = counts.entry(key) {
            *entry.get_mut() -= 1;
            if *entry.get() <= 0 {
                entry.remove();
            }
        }
    }
}

/// A request's place; given back when dropped.
pub struct Slot {
    counts: Arc<Counts>,
    key: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counts.leave(self.key);
    }
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = Rc<Slot>;

    fn build(settings: &Settings) -> Result<Self, String> {
        let source = Source::build(settings.source_criterion.as_ref(), || Ok(By::Host))
            .map_err(|error| format!("error creating requests limiter: {error}"))?;
        Ok(Self { amount: settings.amount, source, counts: Arc::default() })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let key = self.source.key(exchange, request);
        let Some(slot) = self.counts.enter(key, self.amount) else {
            let text = format!("max connections reached: {}", self.amount);
            let mut refusal = Response::new(Body::from(text));
            *refusal.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            return Flow::Respond(refusal);
        };
        let slot = Rc::new(slot);
        if exchange.upgrade.is_some() {
            let held: Rc<dyn std::any::Any> = Rc::<Slot>::clone(&slot);
            exchange.until_tunnel_ends.push(Rc::downgrade(&held));
        }
        Flow::After(slot)
    }

    fn response(&self, slot: Rc<Slot>, response: &mut Response<Body>) {
        if !response.body().is_end_stream() {
            let body = std::mem::take(response.body_mut());
            *response.body_mut() = body.watched(Box::new(Held { _slot: slot }));
        }
    }
}

/// Holds a place as long as a body lasts.
struct Held {
    _slot: Rc<Slot>,
}

impl Watch for Held {
    fn data(&mut self, _bytes: usize) {}
    fn trailers(&mut self, _trailers: &HeaderMap) {}
    fn failed(&mut self, _error: &BodyError) {}
    fn finished(&mut self) {}
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http_body_util::BodyExt;

    use super::*;
    use crate::message::plain;
    use crate::middleware::testing::{self, Reply};

    fn step(amount: i64) -> Step {
        Step::build(&Settings { amount, source_criterion: None }).unwrap()
    }

    fn enter(step: &Step, host: &str) -> Result<Rc<Slot>, Box<Response<Body>>> {
        let mut exchange = Exchange { host: host.into(), ..Exchange::for_tests() };
        match testing::ask_with(step, &mut exchange, testing::request(Method::GET, "/")) {
            Reply::After(_, slot) => Ok(slot),
            Reply::Answer(response) => Err(Box::new(response)),
            Reply::Next(_) => panic!("passed without a place"),
        }
    }

    fn answer(step: &Step, slot: Rc<Slot>, body: &'static str) -> Response<Body> {
        let mut response = plain(StatusCode::OK, body);
        step.response(slot, &mut response);
        response
    }

    #[tokio::test]
    async fn one_more_than_the_amount_is_refused_in_traefiks_words() {
        let step = step(2);
        let _held = [enter(&step, "a"), enter(&step, "a")].map(Result::unwrap);

        let refusal = enter(&step, "a").err().unwrap();

        assert_eq!(refusal.status(), 429);
        assert!(refusal.headers().is_empty());
        let body = refusal.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "max connections reached: 2");
        assert!(enter(&step, "b").is_ok(), "another host has places of its own");
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_body_ended_or_was_dropped() {
        let step = step(1);
        for reads_it in [true, false] {
            let slot = enter(&step, "a").unwrap();

            let response = answer(&step, slot, "body");

            assert!(enter(&step, "a").is_err(), "the body is still on its way");
            if reads_it {
                let mut body = response.into_body();
                while body.frame().await.is_some() {}
                assert!(enter(&step, "a").is_ok(), "the body is read, if not dropped");
            } else {
                drop(response);
            }
            assert!(enter(&step, "a").is_ok());
        }
    }

    #[test]
    fn an_answer_without_body_and_a_client_that_went_away_give_the_place_back() {
        let step = step(1);

        let slot = enter(&step, "a").unwrap();
        let _answer = answer(&step, slot, "");
        drop(enter(&step, "a").expect("the answer has no body"));

        assert!(enter(&step, "a").is_ok(), "the request was dropped before an answer came");
        assert!(step.counts.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn an_amount_of_nothing_refuses_all() {
        for amount in [0, -1] {
            assert!(enter(&step(amount), "a").is_err());
        }
    }

    #[test]
    fn two_criteria_are_told() {
        let criterion = SourceCriterion {
            request_host: true,
            request_header_name: "x".into(),
            ..Default::default()
        };

        let error = Step::build(&Settings { amount: 1, source_criterion: Some(criterion) }).err();

        assert_eq!(
            error.as_deref(),
            Some(
                "error creating requests limiter: requestHost and RequestHeaderName are mutually \
                 exclusive"
            )
        );
    }
}
