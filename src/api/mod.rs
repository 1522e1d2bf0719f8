//! Traefik's JSON, the dashboard's pages, SSE, ping and the scrape. Must never write anything.

mod answer;
mod dashboard;
#[cfg(test)]
mod fixture;
mod internal;
mod json;
mod list;
mod query;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use crate::acme::HttpAnswers;
use crate::message::Handler;
use crate::observe::Metrics;
use crate::settings::Settings;
use crate::table::Published;

/// What the answers are made of; everything in it is only read.
#[derive(Clone)]
pub struct Sources {
    /// The table and the engine's state.
    pub published: Arc<Published>,
    /// The static configuration.
    pub settings: Arc<Settings>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// When the process started.
    pub started: SystemTime,
    /// Cancelled when the process was told to stop: ping turns, and open event streams end,
    /// so that they hold up no shutdown.
    pub terminating: CancellationToken,
}

/// The services inside Wharf that the settings turn on, by full name: `api@internal`,
/// `dashboard@internal`, `ping@internal`, `prometheus@internal`, and always `noop@internal`.
pub fn handlers(sources: &Sources) -> BTreeMap<String, Arc<dyn Handler>> {
    let settings = &sources.settings;
    let mut handlers: BTreeMap<String, Arc<dyn Handler>> = BTreeMap::new();
    let mut put = |name: &str, handler: Arc<dyn Handler>| {
        handlers.insert(name.to_owned(), handler);
    };
    put("noop@internal", Arc::new(internal::Noop));
    if settings.certificates_resolvers.values().any(|resolver| resolver.acme.is_some()) {
        let challenges = Arc::clone(&sources.published.acme().challenges);
        put("acme-http@internal", Arc::new(HttpAnswers(challenges)));
    }
    if let Some(ping) = &settings.ping {
        put("ping@internal", Arc::new(internal::Ping::new(ping, sources.terminating.clone())));
    }
    if settings.metrics.prometheus.is_some() {
        put("prometheus@internal", Arc::new(internal::Scrape::new(Arc::clone(&sources.metrics))));
    }
    if let Some(api) = &settings.api {
        let dashboard = api.dashboard.then(|| Arc::new(dashboard::Dashboard::new(sources.clone())));
        if let Some(dashboard) = &dashboard {
            put("dashboard@internal", Arc::clone(dashboard) as Arc<dyn Handler>);
        }
        put("api@internal", Arc::new(internal::Api::new(sources.clone(), api.clone(), dashboard)));
    }
    handlers
}
