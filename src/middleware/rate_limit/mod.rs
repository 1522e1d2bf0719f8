//! `rateLimit`: so many requests of a source in a time, as a token bucket.

mod buckets;
mod settings;
mod shared;

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;

use super::source::{By, Source};
use super::{Flow, Middleware};
use crate::message::{Body, Exchange, plain};
use crate::settings::GoDuration;
use buckets::{Buckets, Rate, Verdict};
use shared::Shared;

pub(super) use settings::Settings;

const X_RETRY_IN: HeaderName = HeaderName::from_static("x-retry-in");

/// As in Traefik, where less than one request passes in a second.
const LONGEST_DELAY: u64 = 500_000_000;

/// The step.
pub struct Step {
    /// `None`: no limit.
    limit: Option<Box<Limit>>,
}

struct Limit {
    source: Source,
    /// Those of this process; where others are shared, while these can't be had.
    buckets: Buckets,
    shared: Option<Shared>,
    /// Times are counted from here.
    origin: Instant,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let source = Source::build(settings.source_criterion.as_ref(), By::peer)
            .map_err(|error| format!("getting source extractor: {error}"))?;
        let Some(rate) = rate(settings)? else { return Ok(Self { limit: None }) };
        let redis = settings.redis.as_ref();
        let shared = redis.map(|redis| Shared::build(settings, redis, &rate)).transpose()?;
        let limit = Limit { source, buckets: Buckets::new(rate), shared, origin: Instant::now() };
        Ok(Self { limit: Some(Box::new(limit)) })
    }

    fn remarks(settings: &Settings) -> Vec<String> {
        settings.remarks()
    }

    fn place(&mut self, name: &str, workers: usize) {
        if let Some(shared) = self.limit.as_mut().and_then(|limit| limit.shared.as_mut()) {
            shared.place(name, workers);
        }
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let Some(limit) = &self.limit else { return Flow::Next };
        if limit.shared.is_some() {
            return Flow::Wait;
        }
        match limit.verdict(exchange, request, false) {
            Verdict::Pass => Flow::Next,
            Verdict::Delay(_) => Flow::Wait,
            Verdict::Refuse(delay) => Flow::Respond(refusal(delay)),
        }
    }

    async fn wait(
        &self,
        exchange: &mut Exchange,
        request: &mut Request<Body>,
    ) -> Result<(), Response<Body>> {
        let Some(limit) = &self.limit else { return Ok(()) };
        match limit.shared_verdict(exchange, request).await {
            Verdict::Pass => Ok(()),
            Verdict::Delay(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Verdict::Refuse(delay) => Err(refusal(delay)),
        }
    }
}

impl Limit {
    /// That of the shared buckets; of our own where there are none, or they can't be had.
    /// Differs from Traefik, where such a request gets 500.
    async fn shared_verdict(&self, exchange: &Exchange, request: &Request<Body>) -> Verdict {
        let shared = match &self.shared {
            Some(shared) => shared.take(|out| self.source.write(exchange, request, out)).await,
            None => None,
        };
        shared.unwrap_or_else(|| self.verdict(exchange, request, true))
    }

    fn verdict(&self, exchange: &Exchange, request: &Request<Body>, may_wait: bool) -> Verdict {
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.buckets.take(self.source.key(exchange, request), now, may_wait)
    }
}

/// How fast and how much; `None`: no limit.
fn rate(settings: &Settings) -> Result<Option<Rate>, String> {
    let period = settings.period;
    if period.as_nanos() < 0 {
        return Err(format!("negative value not valid for period: {period}"));
    }
    let Some(average) = u64::try_from(settings.average).ok().filter(|average| *average > 0) else {
        return Ok(None);
    };
    let period = period.positive().unwrap_or(Duration::from_secs(1)).as_nanos();
    let period = u64::try_from(period).unwrap_or(u64::MAX);
    let interval = period.checked_div(average).unwrap_or_default().max(1);
    let burst = u64::try_from(settings.burst).unwrap_or_default().max(1);
    // As in Traefik: half the time of a token, its rate rounded down to whole ones a second.
    let per_second = u128::from(average) * 1_000_000_000 / u128::from(period);
    let longest_delay = 1_000_000_000_u128.checked_div(per_second * 2);
    Ok(Some(Rate {
        interval,
        // Half of what can be counted, so that a sum with a time can't overflow.
        capacity: interval.saturating_mul(burst).min(u64::MAX / 2),
        longest_delay: longest_delay
            .and_then(|delay| u64::try_from(delay).ok())
            .unwrap_or(LONGEST_DELAY),
    }))
}

fn refusal(delay: Duration) -> Response<Body> {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
    let nanos = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    if let Ok(value) = HeaderValue::try_from(GoDuration::from_nanos(nanos).to_string()) {
        response.headers_mut().insert(X_RETRY_IN, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing;

    fn settings(average: i64, period: &str, burst: i64) -> Settings {
        let period = period.parse().unwrap();
        Settings { average, period, burst, ..Settings::default() }
    }

    fn ask(step: &Step, peer: &str) -> Option<Response<Body>> {
        let mut exchange = testing::exchange_from(peer);
        match testing::flow(step, &mut exchange, testing::get("/", &[])) {
            Flow::Next => None,
            Flow::Respond(response) => Some(response),
            Flow::After(_) | Flow::Wait | Flow::Around => panic!("neither passed nor refused"),
        }
    }

    #[test]
    fn rates_are_those_of_traefik() {
        const SECOND: u64 = 1_000_000_000;
        for (average, period, burst, interval, tokens, longest_delay) in [
            (1, "1s", 1, SECOND, 1, SECOND / 2),
            (100, "1s", 50, SECOND / 100, 50, SECOND / 200),
            (6, "1m", 3, 10 * SECOND, 3, SECOND / 2),
            // Rounded down to one a second.
            (3, "2s", 1, SECOND * 2 / 3, 1, SECOND / 2),
            (5, "2s", 1, SECOND * 2 / 5, 1, SECOND / 4),
            // As a second; and a bucket holds at least one.
            (2, "0s", 0, SECOND / 2, 1, SECOND / 4),
            (2, "1s", -5, SECOND / 2, 1, SECOND / 4),
        ] {
            let wanted = Rate { interval, capacity: interval * tokens, longest_delay };

            assert_eq!(rate(&settings(average, period, burst)), Ok(Some(wanted)), "{average}");
        }
        let huge = rate(&settings(i64::MAX, "1ns", i64::MAX)).unwrap().unwrap();
        assert_eq!((huge.interval, huge.capacity), (1, u64::MAX / 2));
        for average in [0, -3] {
            assert_eq!(rate(&settings(average, "1s", 1)), Ok(None));
        }
        let error = "negative value not valid for period: -1s";
        assert_eq!(rate(&settings(1, "-1s", 1)), Err(error.to_owned()));
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let step = Step::build(&settings(1, "1h", 1)).unwrap();
        assert!(ask(&step, "10.0.0.1").is_none());

        let refusal = ask(&step, "10.0.0.1").unwrap();

        assert_eq!(refusal.status(), 429);
        assert_eq!(refusal.headers().len(), 2);
        assert_eq!(refusal.headers()[RETRY_AFTER], "3600");
        let exact = refusal.headers()[X_RETRY_IN].to_str().unwrap();
        assert!(exact.starts_with("59m59.99"), "{exact}");
        assert!(ask(&step, "10.0.0.2").is_none(), "another peer has a bucket of its own");
        assert!(ask(&Step::build(&settings(0, "1h", 1)).unwrap(), "10.0.0.1").is_none());
    }

    #[test]
    fn times_to_wait_are_rounded_up_to_seconds() {
        for (nanos, seconds, exact) in [
            (7_924_996_969, "8", "7.924996969s"),
            (8_000_000_000, "8", "8s"),
            (600_000_000, "1", "600ms"),
        ] {
            let refusal = refusal(Duration::from_nanos(nanos));

            assert_eq!(refusal.headers()[RETRY_AFTER], seconds);
            assert_eq!(refusal.headers()[X_RETRY_IN], exact);
        }
    }

    #[tokio::test]
    async fn a_request_that_is_nearly_in_time_is_delayed_until_it_is() {
        // A token each 200 ms, and one of them at once: the second waits for up to 100 ms.
        let step = Step::build(&settings(5, "1s", 1)).unwrap();
        let mut exchange = testing::exchange_from("10.0.0.1");
        let started = Instant::now();
        assert!(ask(&step, "10.0.0.1").is_none());
        let mut request = testing::get("/", &[]);
        loop {
            match step.request(&mut exchange, &mut request) {
                Flow::Respond(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Flow::Wait => {
                    assert!(step.wait(&mut exchange, &mut request).await.is_ok());
                    break;
                }
                // The machine was too busy to ask in time.
                Flow::Next => break,
                Flow::After(_) | Flow::Around => panic!("neither passed nor refused"),
            }
        }

        assert!(started.elapsed() >= Duration::from_millis(200));
    }

    #[test]
    fn two_criteria_are_told() {
        let criterion = crate::middleware::source::SourceCriterion {
            ip_strategy: Some(crate::middleware::client::IpStrategy::default()),
            request_host: true,
            ..Default::default()
        };
        let settings = Settings { source_criterion: Some(criterion), ..settings(1, "1s", 1) };

        let error = "getting source extractor: iPStrategy and RequestHost are mutually exclusive";
        assert_eq!(Step::build(&settings).err().as_deref(), Some(error));
    }
}
