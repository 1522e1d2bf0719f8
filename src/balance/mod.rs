//! Services at run time: replica cells, picking, stickiness, health, holding, retrying.
//! Must never know labels or containers' settings.

pub mod checks;
mod replica;
mod settings;
pub mod strategy;

use std::sync::Arc;

use http::{Request, Response};

use crate::message::{Body, Exchange, Handler};
use crate::observe;
use crate::upstream::Transport;

pub use replica::{EngineState, Replica, ReplicaState};
pub use settings::{
    ContainerSettings, CookieSettings, HealthCheckSettings, LoadBalancerSettings, PassiveSettings,
    ServerSettings,
};
pub use strategy::Strategy;

/// A service that requests are sent to. Shared by all workers; carried over from one
/// table to the next while its settings stay the same.
pub struct Service {
    /// Qualified name: `web@docker`.
    pub name: Arc<str>,
    /// Its metrics.
    pub metrics: observe::Requests,
    kind: Kind,
}

enum Kind {
    Internal(Arc<dyn Handler>),
}

impl Service {
    /// Servers behind one name. Cells of servers that `previous` had too (same URL and
    /// container) are carried over. The error is in Traefik's words where it has any.
    pub fn load_balancer(
        _name: Arc<str>,
        _settings: LoadBalancerSettings,
        _transport: &Arc<Transport>,
        _metrics: observe::Requests,
        _previous: Option<&Arc<Service>>,
    ) -> Result<Arc<Self>, String> {
        todo!()
    }

    /// A share of the requests for each child: its name as written, its weight, itself.
    pub fn weighted(
        _name: Arc<str>,
        _children: Vec<(String, i64, Arc<Service>)>,
        _sticky: Option<CookieSettings>,
        _metrics: observe::Requests,
    ) -> Arc<Self> {
        todo!()
    }

    /// Something inside Wharf.
    pub fn internal(
        name: Arc<str>,
        handler: Arc<dyn Handler>,
        metrics: observe::Requests,
    ) -> Arc<Self> {
        Arc::new(Self { name, metrics, kind: Kind::Internal(handler) })
    }

    /// Answers a request: picks a server, sends, retries where that is safe, or answers
    /// with the proxy's own 502, 503 or 504. Counts the service's metrics.
    pub async fn call(&self, exchange: &mut Exchange, request: Request<Body>) -> Response<Body> {
        match &self.kind {
            Kind::Internal(handler) => handler.handle(exchange, request),
        }
    }

    /// Its servers; none unless it is a load balancer.
    pub fn replicas(&self) -> &[Arc<Replica>] {
        &[]
    }

    /// It has active health checks, so the API shows its servers' states.
    pub fn is_checked(&self) -> bool {
        false
    }
}
