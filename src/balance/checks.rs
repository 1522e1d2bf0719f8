//! Active health checks and connect probes: one task on the control thread.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Service;
use crate::observe::Metrics;

/// Where the checks find what to check.
pub trait Source {
    /// All services now.
    fn services(&self) -> Vec<Arc<Service>>;
    /// Wakes when services or states changed.
    fn subscribe(&self) -> watch::Receiver<u64>;
    /// A replica's state changed.
    fn touch(&self);
}

/// Probes until cancelled.
pub async fn run(_source: impl Source, _metrics: Arc<Metrics>, _token: CancellationToken) {
    todo!()
}
