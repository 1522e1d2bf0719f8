//! OpenTelemetry's messages: spans, metrics and log records as OTLP's protobuf, written
//! straight into bytes. Must never know requests, series or sockets.

mod metric;
mod queue;
mod record;
mod resource;
mod span;
mod wire;

pub use metric::{Distribution, Label, Metric, Metrics};
pub use queue::{Queue, Queued, queue};
pub use record::{Record, Severity};
pub use resource::{Resource, unescaped};
pub use span::{Kind, Outcome, Span, SpanContext, SpanId, TraceId};
pub use wire::{Attributes, Writer};

/// What is told: the path of OTLP over HTTP and the service of OTLP over gRPC follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Series.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// Where it goes over HTTP unless another path is set.
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }

    /// Where it goes over gRPC.
    pub fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// The name and version of who tells it, as by Traefik.
    fn scope(self) -> (&'static str, &'static str) {
        match self {
            Self::Traces | Self::Metrics => {
                ("github.com/traefik/traefik", env!("CARGO_PKG_VERSION"))
            }
            Self::Logs => ("traefik", ""),
        }
    }

    /// Its name in words for the user.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// One export: the resource, and items that were encoded before. The three signals have the
/// same shape: resource, scope, items.
pub fn export(resource: &Resource, signal: Signal, items: &[u8]) -> Vec<u8> {
    let (name, version) = signal.scope();
    let mut scoped = Writer::with_capacity(items.len() + 64);
    scoped.message(1, |scope| {
        scope.text(1, name);
        scope.text(2, version);
    });
    scoped.raw(items);
    let mut group = Writer::with_capacity(items.len() + 256);
    group.bytes(1, resource.as_bytes());
    group.bytes(2, scoped.as_bytes());
    let mut whole = Writer::with_capacity(items.len() + 256);
    whole.bytes(1, group.as_bytes());
    whole.into_bytes()
}
