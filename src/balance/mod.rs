//! Services at run time: replica cells, picking, stickiness, health, holding, retrying.
//! Must never know labels or containers' settings.

use std::sync::Arc;

use http::{Request, Response};

use crate::message::{Body, Exchange, Handler};
use crate::observe;

/// A service that requests are sent to. Shared by all workers; carried over from one
/// table to the next while its settings stay the same.
pub struct Service {
    /// Qualified name: `web@docker`.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Its metrics.
    pub metrics: observe::Requests,
}

/// The kinds of service.
pub enum Kind {
    /// Something inside Wharf.
    Internal(Arc<dyn Handler>),
}

impl Service {
    /// Answers a request: picks a server, sends, retries where that is safe, or answers
    /// with the proxy's own 502, 503 or 504. Counts the service's metrics.
    pub async fn call(&self, _exchange: &mut Exchange, _request: Request<Body>) -> Response<Body> {
        todo!()
    }
}

/// A running server of a service: what it is and how it is doing. Shared by all workers,
/// carried over from table to table.
#[derive(Debug)]
pub struct Replica {}
