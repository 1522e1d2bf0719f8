//! Compiled matchers and their index: request to router. Must never evaluate a rule it
//! could have indexed away.

use std::net::IpAddr;
use std::sync::Arc;

use crate::middleware::Chain;
use crate::model::Name;
use crate::{balance, observe};

/// What rules look at.
#[derive(Debug)]
pub struct View<'a> {
    /// Lower case, without port and trailing dot; may be empty.
    pub host: &'a str,
    /// The routing path: reserved escapes kept, others decoded.
    pub path: &'a str,
    /// The query as sent, without `?`.
    pub query: &'a str,
    /// Method.
    pub method: &'a http::Method,
    /// Header fields.
    pub headers: &'a http::HeaderMap,
    /// The TCP peer.
    pub peer: IpAddr,
    /// It came over TLS: only routers with `tls` answer, else only those without.
    pub tls: bool,
}

/// A compiled router.
pub struct Route {
    /// Qualified name.
    pub name: Name,
    /// Its rule as written.
    pub rule: Box<str>,
    /// Effective priority.
    pub priority: i64,
    /// Its middlewares, entry point's first.
    pub chain: Chain,
    /// Its service.
    pub service: Arc<balance::Service>,
    /// Its metrics.
    pub metrics: observe::Requests,
    /// Write access log lines.
    pub access_log: bool,
    /// The TLS options its hosts ask for: `default`, `strict@file`.
    pub tls_options: Arc<str>,
}

/// The routers of one entry point.
#[derive(Default)]
pub struct EntryTable {}

/// Told which rules were tried, in order; `()` on the request path.
pub trait Witness {
    /// A rule was evaluated.
    fn tried(&mut self, route: &Route, matched: bool);
}

impl Witness for () {
    fn tried(&mut self, _route: &Route, _matched: bool) {}
}

impl EntryTable {
    /// The route for a request, if any.
    pub fn find<W: Witness>(&self, _view: &View<'_>, _witness: &mut W) -> Option<&Arc<Route>> {
        None
    }
}
