//! What is counted of a service's servers and of those who wait for one: Wharf's own series.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::kept::{Kept, Reader, keep};
use super::metrics::Metrics;
use super::push::{float, nanos, signed};
use crate::otlp;

/// All of it, by service, and by server URL where it is about one.
#[derive(Debug, Default)]
pub(super) struct Servers {
    states: Kept<(Arc<str>, Arc<str>), State>,
    waiting: Kept<Arc<str>, AtomicI64>,
    pub(super) refused: Kept<Arc<str>, AtomicU64>,
    pub(super) ejections: Kept<Arc<str>, AtomicU64>,
}

#[derive(Debug)]
pub(super) struct State(Mutex<(&'static str, SystemTime)>);

/// The state of one server as `/metrics` shows it, while somebody holds this.
#[derive(Clone, Debug)]
pub struct ServerState(Arc<State>);

impl ServerState {
    /// It is in that state since then.
    pub fn set(&self, state: &'static str, since: SystemTime) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = (state, since);
    }
}

/// Handles of one service.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    waiting: Arc<AtomicI64>,
    pub(super) refused: Arc<AtomicU64>,
}

/// A request that waits; until it is dropped.
#[derive(Debug)]
pub struct Waits(Option<Arc<AtomicI64>>);

impl Waits {
    pub(super) fn new(holding: Option<&Holding>) -> Self {
        let waiting = holding.map(|holding| Arc::clone(&holding.waiting));
        if let Some(waiting) = &waiting {
            waiting.fetch_add(1, Relaxed);
        }
        Self(waiting)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(waiting) = &self.0 {
            waiting.fetch_sub(1, Relaxed);
        }
    }
}

impl Metrics {
    /// The state of a server, qualified service name.
    pub fn server_state(&self, service: &str, url: &str) -> ServerState {
        let name = (service.into(), url.into());
        let unknown = || State(Mutex::new(("starting", SystemTime::UNIX_EPOCH)));
        ServerState(keep(&self.servers.states, &name, unknown))
    }

    /// Counts servers that were taken out because they fail where others do not; shown while
    /// somebody holds it.
    pub fn ejections(&self, service: &str) -> Arc<AtomicU64> {
        keep(&self.servers.ejections, &service.into(), || AtomicU64::new(0))
    }

    pub(super) fn holding(&self, service: &Arc<str>) -> Holding {
        Holding {
            waiting: keep(&self.servers.waiting, service, || AtomicI64::new(0)),
            refused: keep(&self.servers.refused, service, || AtomicU64::new(0)),
        }
    }
}

impl Metrics {
    /// The gauges.
    pub(super) fn encode_servers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states = self.alive(&self.servers.states, Reader::Scrape);
        let help = "state of a server: 1 for the one it is in";
        let name = "wharf_server_state";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((service, url), state) in &states {
            let (state, _) = *state.0.lock().unwrap_or_else(PoisonError::into_inner);
            let labels = vec![("service", &**service), ("url", &**url), ("state", state)];
            family.encode_family(&labels)?.encode_gauge(&1_i64)?;
        }
        let help = "when a server came into its state, in seconds of Unix time";
        let name = "wharf_server_state_since_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((service, url), state) in &states {
            let (_, since) = *state.0.lock().unwrap_or_else(PoisonError::into_inner);
            let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let labels = vec![("service", &**service), ("url", &**url)];
            family.encode_family(&labels)?.encode_gauge(&since.as_secs_f64())?;
        }
        let help = "requests that wait for a server to become ready";
        let name = "wharf_requests_waiting";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (service, waiting) in self.alive(&self.servers.waiting, Reader::Scrape) {
            let waiting = waiting.load(Relaxed);
            if waiting > 0 {
                let labels = vec![("service", &*service)];
                family.encode_family(&labels)?.encode_gauge(&waiting)?;
            }
        }
        Ok(())
    }

    /// The same for a collector, and the counters.
    pub(super) fn push_servers(&self, out: &mut otlp::Metrics) {
        let since = nanos(self.started);
        let states = self.alive(&self.servers.states, Reader::Push);
        let about = "State of a server: 1 for the one it is in";
        out.gauge("wharf_server_state", about, "1", |metric| {
            for ((service, url), state) in &states {
                let (state, _) = *state.0.lock().unwrap_or_else(PoisonError::into_inner);
                let labels = [("service", &**service), ("url", &**url), ("state", state)];
                metric.number(&labels, since, 1.0);
            }
        });
        let about = "Requests that wait for a server to become ready";
        out.gauge("wharf_requests_waiting", about, "1", |metric| {
            for (service, waiting) in self.alive(&self.servers.waiting, Reader::Push) {
                let waiting = signed(waiting.load(Relaxed));
                metric.number(&[("service", &*service)], since, waiting);
            }
        });
        let refused = "Requests that waited for a server in vain, or met too many that wait";
        let ejected = "Times that a server was taken out that failed where the others did not";
        for (name, about, counts) in [
            ("wharf_hold_refused_total", refused, &self.servers.refused),
            ("wharf_ejections_total", ejected, &self.servers.ejections),
        ] {
            out.counter(name, about, |metric| {
                for (service, count) in self.alive(counts, Reader::Push) {
                    let count = float(count.load(Relaxed));
                    metric.number(&[("service", &*service)], since, count);
                }
            });
        }
    }
}
