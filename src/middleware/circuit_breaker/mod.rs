//! `circuitBreaker`: answers in a service's stead while too many of its answers are bad.

mod histogram;
mod state;
#[cfg(test)]
mod tests;
mod window;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::predicate::{self, Function, Kind, Predicate, Value};
use super::{Flow, Middleware, Rest, status_text};
use crate::message::{Body, Exchange, plain};
use crate::settings::GoDuration;
use state::{Change, State};
use window::{Ranges, Sample, Wanted, Window};

const CHECK_PERIOD: GoDuration = GoDuration::from_millis(100);
const FALLBACK: GoDuration = GoDuration::from_secs(10);
const RECOVERY: GoDuration = GoDuration::from_secs(10);

/// Settings of `circuitBreaker`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// When it opens: `ResponseCodeRatio(500, 600, 0, 600) > 0.3`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expression: String,
    /// Between two looks at the expression; 0 or less: 100 ms.
    pub check_period: GoDuration,
    /// How long it stays open; 0 or less: 10 s.
    pub fallback_duration: GoDuration,
    /// How long it recovers; 0 or less: 10 s.
    pub recovery_duration: GoDuration,
    /// The status of its answers.
    pub response_code: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            expression: String::new(),
            check_period: CHECK_PERIOD,
            fallback_duration: FALLBACK,
            recovery_duration: RECOVERY,
            response_code: 503,
        }
    }
}

/// What an expression may ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    NetworkErrors,
    Codes(Ranges),
    /// Percent.
    Latency(f64),
}

const FUNCTIONS: &[Function<Metric>] = &[
    Function {
        name: "NetworkErrorRatio",
        takes: &[],
        gives: Kind::Float,
        make: |_| Some(Metric::NetworkErrors),
    },
    Function {
        name: "ResponseCodeRatio",
        takes: &[Kind::Int; 4],
        gives: Kind::Float,
        make: |arguments| match arguments {
            [Value::Int(a), Value::Int(b), Value::Int(c), Value::Int(d)] => {
                Some(Metric::Codes([*a, *b, *c, *d]))
            }
            _ => None,
        },
    },
    Function {
        name: "LatencyAtQuantileMS",
        takes: &[Kind::Float],
        gives: Kind::Int,
        make: |arguments| match arguments {
            [Value::Float(percent)] => Some(Metric::Latency(*percent)),
            _ => None,
        },
    },
];

/// The step.
pub struct Step {
    expression: Box<str>,
    condition: Predicate<Metric>,
    wanted: Wanted,
    window: Window,
    state: State,
    check_period: u64,
    /// When the condition is looked at next.
    next_check: AtomicU64,
    status: StatusCode,
    text: &'static str,
    /// Times are counted from here.
    origin: Instant,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let condition = predicate::parse(&settings.expression, FUNCTIONS)?;
        let mut wanted = Wanted::default();
        condition.each(&mut |metric| match metric {
            Metric::NetworkErrors => {}
            Metric::Codes(ranges) if wanted.ratios.contains(ranges) => {}
            Metric::Codes(ranges) => wanted.ratios.push(*ranges),
            Metric::Latency(_) => wanted.latencies = true,
        });
        let status = u16::try_from(settings.response_code).ok().filter(|code| *code >= 200);
        let status = status.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| {
            let code = settings.response_code;
            format!("invalid HTTP status code {code} as responseCode: use one of 200 to 999")
        })?;
        let (fallback, recovery) = (settings.fallback_duration, settings.recovery_duration);
        Ok(Self {
            expression: settings.expression.as_str().into(),
            condition,
            window: Window::new(wanted.clone()),
            wanted,
            state: State::new(nanos(fallback, FALLBACK), nanos(recovery, RECOVERY)),
            check_period: nanos(settings.check_period, CHECK_PERIOD),
            next_check: AtomicU64::new(0),
            status,
            text: status_text(status).unwrap_or_default(),
            origin: Instant::now(),
        })
    }

    fn request(&self, _exchange: &mut Exchange, _request: &mut Request<Body>) -> Flow<Self::Memo> {
        Flow::Around
    }

    async fn around(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        let started = Instant::now();
        let (passes, change) = self.state.admit(self.since_origin(started));
        self.tell(change, &rest);
        if !passes {
            return plain(self.status, self.text);
        }
        exchange.served.network_error = false;
        let response = rest.run(exchange, request).await;
        let now = Instant::now();
        let latency = u64::try_from((now - started).as_micros()).unwrap_or(u64::MAX);
        let status = response.status().as_u16();
        let is_network_error = exchange.served.network_error;
        let sample = Sample { status, is_network_error, latency };
        let change = self.answered(exchange.connection.worker, self.since_origin(now), sample);
        self.tell(change, &rest);
        response
    }
}

impl Step {
    fn since_origin(&self, now: Instant) -> u64 {
        u64::try_from((now - self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Counts an answer, and looks at the condition if it is time.
    fn answered(&self, worker: usize, now: u64, sample: Sample) -> Option<Change> {
        self.window.record(worker, now, sample);
        let due = self.next_check.load(Ordering::Relaxed);
        let next = now.saturating_add(self.check_period);
        // One worker of those that find it due looks.
        let is_ours = now >= due
            && (self.next_check)
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_ours || !self.state.may_open() {
            return None;
        }
        let sum = self.window.sum(now);
        let opens = self.condition.holds(&mut |metric| match metric {
            Metric::NetworkErrors => Value::Float(sum.network_error_ratio()),
            Metric::Codes(ranges) => {
                let at = self.wanted.ratios.iter().position(|wanted| wanted == ranges);
                Value::Float(at.map_or(0.0, |at| sum.ratio(at)))
            }
            Metric::Latency(percent) => Value::Int(sum.latency_ms(*percent)),
        });
        if !opens || !self.state.open(now) {
            return None;
        }
        self.window.clear();
        Some(Change::Opened)
    }

    fn tell(&self, change: Option<Change>, rest: &Rest<'_>) {
        let Some(change) = change else { return };
        let (middleware, service, expression) = (rest.name(), rest.service(), &*self.expression);
        let state = match change {
            Change::Opened => "open",
            Change::Recovering => "recovering",
            Change::Closed => "closed",
        };
        tracing::warn!(middleware, service, expression, "circuit breaker: {state}");
    }
}

fn nanos(set: GoDuration, default: GoDuration) -> u64 {
    let duration = set.positive().or(default.positive()).unwrap_or(Duration::ZERO);
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
