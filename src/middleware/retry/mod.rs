//! `retry`: sends a request again that met no server, or that got one of these statuses.

mod back_off;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Flow, Middleware, Rest, status_text};
use crate::message::{
    Body, Collected, Collecting, Exchange, Kept, Lender, StatusRanges, discard, error_text,
};
use crate::settings::GoDuration;
use crate::tree;
use back_off::BackOff;

/// Tries at most, whatever is asked for: one client's request must not become a flood.
const MOST: u32 = 100;

/// Largest body kept by default.
const KEPT: i64 = 2 * 1024 * 1024;

/// Settings of `retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Tries in all.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub attempts: i64,
    /// The first wait; grows to at most twice this.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub initial_interval: GoDuration,
    /// Time in which tries beyond the first may start.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub timeout: GoDuration,
    /// Largest body kept for a try beyond the first; negative: no limit.
    pub max_request_body_bytes: i64,
    /// Statuses and ranges that are tried again, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Only these statuses are tried again.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub disable_retry_on_network_error: bool,
    /// POST, PATCH and LOCK are tried again for their status, too.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub retry_non_idempotent_method: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts: 0,
            initial_interval: GoDuration::default(),
            timeout: GoDuration::default(),
            max_request_body_bytes: KEPT,
            status: Vec::new(),
            disable_retry_on_network_error: false,
            retry_non_idempotent_method: false,
        }
    }
}

/// The step.
pub struct Step {
    attempts: u32,
    interval: Duration,
    timeout: Option<Duration>,
    /// `None`: no limit.
    keeps: Option<u64>,
    statuses: StatusRanges,
    on_network_error: bool,
    any_method: bool,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn remarks(settings: &Settings) -> Vec<String> {
        let attempts = settings.attempts;
        let many = (attempts > i64::from(MOST))
            .then(|| format!("`retry.attempts`: {attempts} tries; {MOST} are made at most"));
        let inverted = StatusRanges::inverted(&settings.status)
            .map(|text| format!("`retry.status`: `{text}` ends before it begins"));
        many.into_iter().chain(inverted).collect()
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        if settings.status.is_empty() && settings.disable_retry_on_network_error {
            let text = "retry middleware requires at least HTTP status codes or retry on TCP";
            return Err(text.to_owned());
        }
        if settings.attempts <= 0 {
            let attempts = settings.attempts;
            return Err(format!("incorrect (or empty) value for attempt ({attempts})"));
        }
        let statuses = StatusRanges::parse(&settings.status)
            .map_err(|error| format!("creating HTTP code ranges: {error}"))?;
        Ok(Self {
            attempts: u32::try_from(settings.attempts).unwrap_or(MOST).min(MOST),
            interval: settings.initial_interval.or_zero(),
            timeout: settings.timeout.positive(),
            keeps: u64::try_from(settings.max_request_body_bytes).ok(),
            statuses,
            on_network_error: !settings.disable_retry_on_network_error,
            any_method: settings.retry_non_idempotent_method,
        })
    }

    fn request(&self, _: &mut Exchange, _: &mut Request<Body>) -> Flow<Self::Memo> {
        if self.attempts == 1 { Flow::Next } else { Flow::Around }
    }

    async fn around(
        &self,
        exchange: &mut Exchange,
        mut request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        let body = std::mem::take(request.body_mut());
        let kept = Kept::of(&request);
        let Some(source) = self.source(request.method(), body).await else {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return error_text(status, status_text(status).unwrap_or_default());
        };
        let by_status = self.takes(request.method()) && matches!(source, Source::Whole(_));
        drop(request);
        let started = Instant::now();
        let mut back_off = BackOff::new(self.interval, self.attempts);
        // As Traefik: the client hears interim answers of the last try only.
        let informational = exchange.informational.take();
        for _ in 1..self.attempts {
            exchange.served.try_again();
            let response = rest.run(exchange, kept.request(source.body())).await;
            let elapsed = started.elapsed();
            let met_no_server =
                self.on_network_error && exchange.served.unsent && source.is_whole();
            let is_late = self.timeout.is_some_and(|timeout| elapsed >= timeout);
            if is_late
                || response.status() == StatusCode::SWITCHING_PROTOCOLS
                || !(met_no_server || by_status && self.statuses.contain(response.status()))
            {
                return response;
            }
            let Some(wait) = back_off.next(elapsed) else { return response };
            discard(response.into_body()).await;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            rest.count_retry(exchange);
        }
        exchange.informational = informational;
        exchange.served.try_again();
        rest.run(exchange, kept.request(source.body())).await
    }
}

impl Step {
    /// The request's body, in a form that can be sent more than once. `None`: the client
    /// did not send all of it.
    async fn source(&self, method: &Method, body: Body) -> Option<Source> {
        if http_body::Body::is_end_stream(&body) {
            return Some(Source::Whole(Collected::default()));
        }
        if self.statuses.is_empty() || !self.takes(method) {
            return Some(Source::Passing(Lender::new(body)));
        }
        match Collected::read(body, self.keeps).await {
            Ok(Collecting::Whole(whole)) => Some(Source::Whole(whole)),
            Ok(Collecting::TooLong(body)) => Some(Source::Passing(Lender::new(body))),
            Err(_) => None,
        }
    }

    /// Whether such requests are tried again for the status of their answers.
    fn takes(&self, method: &Method) -> bool {
        self.any_method
            || (!matches!(*method, Method::POST | Method::PATCH) && method.as_str() != "LOCK")
    }
}

/// A request's body.
enum Source {
    /// All of it.
    Whole(Collected),
    /// What the client is still sending.
    Passing(Lender),
}

impl Source {
    fn body(&self) -> Body {
        match self {
            Self::Whole(whole) => whole.body(),
            Self::Passing(lender) => lender.lend(),
        }
    }

    /// It can be sent again.
    fn is_whole(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Passing(lender) => lender.is_whole(),
        }
    }
}
