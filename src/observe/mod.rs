//! Metrics, access log, Wharf's own log. Must never block or allocate per request
//! beyond the log line itself.

use std::sync::Arc;
use std::time::Duration;

use crate::message::Protocol;
use crate::settings;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {}

/// What one request adds to a series.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Status sent to the client; 0 for an ended upgrade; the gRPC status for gRPC.
    pub code: u16,
    /// The method as received.
    pub method: &'a http::Method,
    /// How it is counted.
    pub protocol: Protocol,
    /// From head read to body end.
    pub duration: Duration,
    /// Body bytes from the client.
    pub request_bytes: u64,
    /// Body bytes to the client.
    pub response_bytes: u64,
    /// The request's headers, for `headerLabels`; empty map when none are configured.
    pub headers: Option<&'a http::HeaderMap>,
}

/// The five request series of one entry point, router or service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests(Option<Arc<()>>);

impl Requests {
    /// Counts a finished request. Lock-free once the (code, method, protocol) was seen.
    pub fn record(&self, _worker: usize, _sample: &Sample<'_>) {
        todo!()
    }
}

impl Metrics {
    /// Metrics for that many workers; series are kept even when `/metrics` is off, since the
    /// dashboard shows them.
    pub fn new(_settings: &settings::Metrics, _workers: usize) -> Arc<Self> {
        todo!()
    }

    /// Handles of an entry point.
    pub fn entry_point(&self, _name: &str) -> Requests {
        todo!()
    }

    /// Handles of a router and its service, qualified names.
    pub fn router(&self, _router: &str, _service: &str) -> Requests {
        todo!()
    }

    /// Handles of a service, qualified name.
    pub fn service(&self, _service: &str) -> Requests {
        todo!()
    }
}
