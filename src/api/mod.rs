//! Traefik's JSON, the dashboard's pages, SSE, ping and the scrape. Must never write anything.

mod internal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

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
    let mut handlers: BTreeMap<String, Arc<dyn Handler>> = BTreeMap::new();
    handlers.insert("noop@internal".to_owned(), Arc::new(internal::Noop));
    if let Some(ping) = &sources.settings.ping {
        let ping = internal::Ping::new(ping, sources.terminating.clone());
        handlers.insert("ping@internal".to_owned(), Arc::new(ping));
    }
    handlers
}
