//! One request's spans. They are begun and ended where the request passes, written as bytes,
//! and put into the queue at its end; a request that is not sampled only has its ids.

mod attributes;
mod parent;
mod query;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, Method, Request};
use smallvec::SmallVec;

use crate::otlp::{Attributes, Kind, Outcome, Queue, Span, SpanContext, SpanId, TraceId, Writer};

pub use attributes::Arrival;
pub use parent::{Parent, TRACEPARENT};
pub use query::redact;

/// How requests are traced; one for the process.
#[derive(Debug)]
pub struct Policy {
    /// Share of the traces that begin here and are kept, 0 to 1.
    sample_rate: f64,
    request_fields: Captured,
    response_fields: Captured,
    /// Query parameters whose values may be shown.
    safe_parameters: Box<[Box<str>]>,
    queue: Queue,
}

/// Fields that become attributes: name and attribute.
type Captured = Box<[(HeaderName, Box<str>)]>;

impl Policy {
    /// A policy; spans go into `queue`.
    pub fn new(
        sample_rate: f64,
        request_fields: &[HeaderName],
        response_fields: &[HeaderName],
        safe_parameters: &[String],
        queue: Queue,
    ) -> Self {
        let captured = |side: &str, names: &[HeaderName]| {
            let key = |name: &HeaderName| format!("http.{side}.header.{name}").into();
            names.iter().map(|name| (name.clone(), key(name))).collect()
        };
        Self {
            sample_rate,
            request_fields: captured("request", request_fields),
            response_fields: captured("response", response_fields),
            safe_parameters: safe_parameters.iter().map(|name| name.as_str().into()).collect(),
            queue,
        }
    }

    /// As OpenTelemetry's samplers by share: the ids decide, so that all who see them agree.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 2^63 need not be exact"
    )]
    fn samples(&self, trace: TraceId) -> bool {
        let bound = (self.sample_rate.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        let low = u128::from_be_bytes(trace.0) as u64;
        low >> 1 < bound
    }
}

/// How much is told of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing.
    #[default]
    Off,
    /// The request as it came and as it was sent on.
    Minimal,
    /// Router, middlewares and service, too.
    Detailed,
}

/// One request's spans.
#[derive(Debug)]
pub struct Trace {
    policy: Arc<Policy>,
    id: TraceId,
    /// The span of the request as it came.
    server: SpanId,
    state: Box<str>,
    is_sampled: bool,
    is_detailed: bool,
    started: Instant,
    started_nanos: u64,
    method: Method,
    /// Spans that have not ended, outermost first.
    open: SmallVec<[Span; 2]>,
    ended: Writer,
    count: u32,
}

impl Trace {
    /// Begins the span of a request that came, as part of the client's trace if it sent one.
    pub fn begin(
        policy: &Arc<Policy>,
        verbosity: Verbosity,
        (started, started_at): (Instant, SystemTime),
        arrival: &Arrival<'_>,
    ) -> Box<Self> {
        let parent = Parent::of(arrival.headers);
        let id = parent.map_or_else(|| TraceId(rand::random()), |parent| parent.trace);
        let is_sampled = parent.map_or_else(|| policy.samples(id), |parent| parent.is_sampled);
        let since = started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut trace = Box::new(Self {
            policy: Arc::clone(policy),
            id,
            server: SpanId(rand::random()),
            state: if parent.is_some() { parent::state(arrival.headers) } else { Box::default() },
            is_sampled,
            is_detailed: is_sampled && verbosity == Verbosity::Detailed,
            started,
            started_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            method: arrival.method.clone(),
            open: SmallVec::new(),
            ended: Writer::default(),
            count: 0,
        });
        if is_sampled {
            let above = parent.map(|parent| parent.span);
            let nanos = trace.started_nanos;
            let mut span = Span::new(trace.server, above, "", Kind::Server, nanos);
            span.is_parent_remote = parent.is_some();
            arrival.write(policy, &mut span.attributes);
            trace.open.push(span);
        }
        trace
    }

    /// The span of the request as it came.
    pub fn context(&self) -> SpanContext {
        SpanContext { trace: self.id, span: self.server, is_sampled: self.is_sampled }
    }

    /// Whether spans of what is inside are wanted.
    pub fn is_detailed(&self) -> bool {
        self.is_detailed
    }

    /// Begins a span inside of those that are open. Only when [`Trace::is_detailed`].
    pub fn enter(&mut self, name: &'static str) -> Option<&mut Attributes> {
        self.push(name, Kind::Internal);
        self.open.last_mut().map(|span| &mut span.attributes)
    }

    /// How many spans are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Ends the spans that were begun since the depth was that.
    pub fn leave(&mut self, depth: usize) {
        let now = self.now();
        while self.open.len() > depth {
            self.end(now);
        }
    }

    /// Begins the span of a request that is sent to a server at this URL, and tells the server
    /// of it. `resent` counts the times that it was sent before.
    pub fn send<B>(&mut self, request: &mut Request<B>, url: &str, resent: u32) {
        self.send_as("ReverseProxy", request, url, resent);
    }

    /// Likewise, of a request of the proxy's own. As Traefik it ends without a status, by
    /// [`Trace::leave`].
    pub fn send_as<B>(
        &mut self,
        name: &'static str,
        request: &mut Request<B>,
        url: &str,
        resent: u32,
    ) {
        let mut id = SpanId(rand::random());
        if self.is_sampled {
            id = self.push(name, Kind::Client);
            if let Some(span) = self.open.last_mut() {
                attributes::write_request(&self.policy, &mut span.attributes, request, url, resent);
            }
        }
        let parent = Parent { trace: self.id, span: id, is_sampled: self.is_sampled };
        if let Some(value) = parent.value() {
            request.headers_mut().insert(TRACEPARENT, value);
        }
    }

    /// Ends that span with the answer's status.
    pub fn answered(&mut self, status: u16, headers: Option<&HeaderMap>) {
        let Some(span) = self.open.last_mut().filter(|span| span.kind == Kind::Client) else {
            return;
        };
        if status >= 400 {
            span.outcome = Outcome::Error;
        }
        attributes::write_status(&mut span.attributes, status);
        if let Some(headers) = headers {
            attributes::write_response(&self.policy, &mut span.attributes, headers);
        }
        let now = self.now();
        self.end(now);
    }

    /// Keeps what is wanted of the answer's fields as the client gets them.
    pub fn saw_response(&mut self, headers: &HeaderMap) {
        if let Some(span) = self.open.first_mut() {
            attributes::write_response(&self.policy, &mut span.attributes, headers);
        }
    }

    /// Ends all spans, with the status that the client got.
    pub fn finish(mut self: Box<Self>, status: u16) {
        if let Some(span) = self.open.first_mut() {
            // As Traefik, which counts an ended upgrade and a client that went away as well.
            if !(100..500).contains(&status) {
                span.outcome = Outcome::Error;
            }
            attributes::write_status(&mut span.attributes, status);
        }
        self.leave(0);
        if self.count > 0 {
            self.policy.queue.put(std::mem::take(&mut self.ended).into_bytes(), self.count);
        }
    }

    fn push(&mut self, name: &'static str, kind: Kind) -> SpanId {
        let id = SpanId(rand::random());
        let parent = self.open.last().map(|span| span.id);
        self.open.push(Span::new(id, parent, name, kind, self.now()));
        id
    }

    fn end(&mut self, now: u64) {
        if let Some(span) = self.open.pop() {
            let name = if self.open.is_empty() {
                attributes::clip(self.method.as_str())
            } else {
                span.name
            };
            span.write(&mut self.ended, self.id, &self.state, name, now);
            self.count += 1;
        }
    }

    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.started_nanos.saturating_add(elapsed)
    }
}

#[cfg(test)]
mod tests;
