//! Compiled matchers and their index: request to router. Must never evaluate a rule it
//! could have indexed away.

mod cover;
mod index;
mod normal_form;
mod program;
mod query;
mod rivals;
mod trie;

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use crate::message::trace::Verbosity;
use crate::middleware::Chain;
use crate::model::{Holder, Name};
use crate::rule::Syntax;
use crate::{balance, observe};

pub use cover::Form;
use index::Index;
pub use program::Program;
pub use query::Separators;
pub use rivals::Taken;

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Lower case, without port and trailing dot; may be empty.
    pub host: &'a str,
    /// What it is an alias of, in the same form, where that is looked at; rules may match
    /// either.
    pub alias: Option<&'a str>,
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
    /// The language of its rule.
    pub syntax: Syntax,
    /// The same, compiled.
    pub program: Arc<Program>,
    /// Effective priority.
    pub priority: i64,
    /// The place of its provider among those of equal priority; the lowest wins.
    pub precedence: usize,
    /// Who holds it, among those of equal priority of one provider: the first one wins.
    pub holder: Option<Arc<Holder>>,
    /// It answers TLS only; without it, plain HTTP only.
    pub tls: bool,
    /// Its middlewares, entry point's first; kept while none of them changes.
    pub chain: Arc<Chain>,
    /// Its service.
    pub service: Arc<balance::Service>,
    /// Its metrics.
    pub metrics: observe::Requests,
    /// Count its requests, on the entry point too; off for internal services by default.
    pub counted: bool,
    /// Write access log lines.
    pub access_log: bool,
    /// How much is told of its requests.
    pub tracing: Verbosity,
    /// The TLS options its hosts ask for: `default`, `strict@file`.
    pub tls_options: Arc<str>,
}

/// The routers of one entry point.
#[derive(Default)]
pub struct EntryTable {
    plain: Half,
    tls: Half,
    separators: Separators,
}

/// The routers for either plain HTTP or TLS, in the order they are tried.
#[derive(Default)]
struct Half {
    routes: Box<[Arc<Route>]>,
    index: Arc<Index>,
}

/// Told which rules were tried, in order; `()` on the request path.
pub trait Witness {
    /// A rule was evaluated.
    fn tried(&mut self, route: &Route, matched: bool);
}

impl Witness for () {
    fn tried(&mut self, _route: &Route, _matched: bool) {}
}

impl EntryTable {
    /// Indexes the routers of one entry point. The index of `previous` is kept when rules
    /// and order are the same.
    pub fn build(routes: Vec<Arc<Route>>, separators: Separators, previous: Option<&Self>) -> Self {
        let (tls, plain) = routes.into_iter().partition(|route| route.tls);
        Self {
            plain: Half::build(plain, previous.map(|table| &table.plain)),
            tls: Half::build(tls, previous.map(|table| &table.tls)),
            separators,
        }
    }

    /// The route for a request, if any. Allocates nothing.
    pub fn find<W: Witness>(&self, view: &View<'_>, witness: &mut W) -> Option<&Arc<Route>> {
        let half = if view.tls { &self.tls } else { &self.plain };
        let mut accepts = |rank: usize| {
            half.routes.get(rank).is_some_and(|route| {
                let matched = route.program.matches(view, self.separators);
                witness.tried(route, matched);
                matched
            })
        };
        let rank = half.index.first_of_both(view.host, view.alias, view.path, &mut accepts)?;
        half.routes.get(rank)
    }

    /// All routers, plain ones first, each kind in the order it is tried.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.plain.routes.iter().chain(&self.tls.routes)
    }
}

impl Half {
    fn build(mut routes: Vec<Arc<Route>>, previous: Option<&Self>) -> Self {
        routes.sort_by(|left, right| order(left).cmp(&order(right)));
        let kept = previous.filter(|previous| {
            let programs = previous.routes.iter().zip(&routes);
            previous.routes.len() == routes.len()
                && programs.into_iter().all(|(old, new)| Arc::ptr_eq(&old.program, &new.program))
        });
        let index = kept.map_or_else(
            || Arc::new(Index::build(routes.iter().map(|route| route.program.places()))),
            |previous| Arc::clone(&previous.index),
        );
        Self { routes: routes.into_boxed_slice(), index }
    }
}

/// Higher priorities first; then by provider, Wharf's own first; then those of containers that
/// run or did just now; then who came first; then by name. Traefik leaves open what is behind
/// the provider.
fn order(route: &Route) -> (Reverse<i64>, usize, bool, u64, &str) {
    let (rests, place) = route.holder.as_ref().map_or((false, 0), |one| (one.rests, one.order));
    (Reverse(route.priority), route.precedence, rests, place, route.name.as_str())
}

impl Route {
    /// Whether it is tried before another one on the same entry point.
    pub fn goes_before(&self, other: &Self) -> bool {
        order(self) < order(other)
    }
}
