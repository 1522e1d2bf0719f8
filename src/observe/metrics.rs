//! All metrics of the process: what is counted, by whom, and for how long it is kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::HeaderName;

use super::access_log::Tally;
use super::conventions::{Durations, Side, Took, without_path};
use super::generations::Generations;
use super::history::History;
use super::kept::{Kept, Reader, keep, sweep};
use super::series::{Counted, Key, Scope};
use super::servers::{Holding, Servers, Waits};
use super::view::{View, Views, views};
use crate::message::{Protocol, TlsInfo};
use crate::settings;

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
    /// The request's headers, for `headerLabels`; `None` when none are configured.
    pub headers: Option<&'a http::HeaderMap>,
    /// The TLS that it came over.
    pub tls: Option<&'a TlsInfo>,
}

/// The five request series of one entry point, router or service. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Requests(Option<Handle>);

#[derive(Clone, Debug)]
struct Handle {
    scope: Arc<Scope>,
    /// Of services.
    retries: Option<Arc<AtomicU64>>,
    holding: Option<Holding>,
    /// Of what is sent to servers.
    sent: Option<Arc<Durations>>,
}

impl Requests {
    /// Counts nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether anything is counted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether records need the request's headers.
    pub fn needs_headers(&self) -> bool {
        self.0.as_ref().is_some_and(|handle| handle.scope.needs_headers())
    }

    /// Counts a request that is sent to a service again.
    pub fn retried(&self) {
        if let Some(retries) = self.0.as_ref().and_then(|handle| handle.retries.as_ref()) {
            retries.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that waits for a server, until what this gives is dropped.
    pub fn waits(&self) -> Waits {
        Waits::new(self.0.as_ref().and_then(|handle| handle.holding.as_ref()))
    }

    /// Counts a request that waited too long, or met too many that wait.
    pub fn waited_in_vain(&self) {
        if let Some(holding) = self.0.as_ref().and_then(|handle| handle.holding.as_ref()) {
            holding.refused.fetch_add(1, Relaxed);
        }
    }

    /// Whether [`Requests::sent`] counts.
    pub fn tells_sent(&self) -> bool {
        self.0.as_ref().is_some_and(|handle| handle.sent.is_some())
    }

    /// Counts a request that was sent to a server, whose URL is the host.
    pub fn sent(&self, worker: usize, took: &Took<'_>) {
        if let Some(sent) = self.0.as_ref().and_then(|handle| handle.sent.as_ref()) {
            sent.record(worker, &Took { host: without_path(took.host), ..*took });
        }
    }

    /// Counts a finished request. Lock-free once its status, method and protocol were seen.
    pub fn record(&self, worker: usize, sample: &Sample<'_>) {
        let Some(handle) = &self.0 else { return };
        let key = Key::new(sample.code, sample.method, sample.protocol);
        let bytes = (sample.request_bytes, sample.response_bytes);
        handle.scope.record(worker, key, sample.duration, bytes, sample.headers);
        if let Some(tls) = sample.tls {
            handle.scope.came_over(tls.version, tls.cipher);
        }
    }
}

/// A scope's place in the exposition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ScopeName {
    EntryPoint(Arc<str>),
    Router { router: Arc<str>, service: Arc<str> },
    Service(Arc<str>),
}

/// A gauge that is set from anywhere.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Adds to it.
    pub fn add(&self, value: i64) {
        self.0.fetch_add(value, Relaxed);
    }

    /// Reads it.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// What the settings say of the metrics. It may change while requests are counted.
#[derive(Debug)]
pub(super) struct Shape {
    /// What every scope counts by.
    counted: Counted,
    /// The labels' names, in the order of the fields that they are taken from.
    pub(super) header_labels: Arc<[String]>,
    /// What `/metrics` shows.
    pub(super) scrape: View,
    /// What a collector is told.
    pub(super) push: View,
    /// Who reads these metrics, as bits of [`Reader`].
    readers: u8,
    add_internals: bool,
}

impl Shape {
    fn new(settings: &settings::Metrics) -> Self {
        let Views { bounds, scrape, push } = views(settings);
        let prometheus = settings.prometheus.clone().unwrap_or_default();
        let (is_scraped, is_pushed) = (settings.prometheus.is_some(), settings.otlp.is_some());
        let readers = [(is_scraped, Reader::Scrape), (is_pushed, Reader::Push)];
        let readers = readers.iter().filter(|(is_there, _)| *is_there);
        let labels = prometheus.header_labels.into_iter();
        let labels =
            labels.filter_map(|(label, header)| Some((label, header.parse::<HeaderName>().ok()?)));
        let (labels, headers): (Vec<_>, Vec<_>) = labels.unzip();
        Self {
            counted: Counted { bounds: bounds.into(), headers: headers.into() },
            header_labels: labels.into(),
            scrape,
            push,
            readers: readers.fold(0, |bits, (_, reader)| bits | *reader as u8),
            add_internals: settings.add_internals,
        }
    }
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    shape: ArcSwap<Shape>,
    /// Under the names of OpenTelemetry's conventions: requests that came, and that were sent.
    pub(super) served: Option<Durations>,
    pub(super) sent: Option<Arc<Durations>>,
    workers: usize,
    pub(super) scopes: Kept<ScopeName, Scope>,
    pub(super) server_up: Kept<(Arc<str>, Arc<str>), AtomicI64>,
    pub(super) retries: Kept<Arc<str>, AtomicU64>,
    pub(super) servers: Servers,
    pub(super) generations: Generations,
    pub(super) dropped_copies: Kept<Arc<str>, AtomicU64>,
    pub(super) tls_requests: Kept<TlsName, AtomicU64>,
    pub(super) connections: Kept<(Arc<str>, &'static str), AtomicI64>,
    pub(super) certificates: Mutex<BTreeMap<Certificate, i64>>,
    pub(super) reloads: AtomicU64,
    pub(super) last_reload: AtomicI64,
    pub(super) panics: AtomicU64,
    /// Orders for certificates by resolver, and whether they gave one.
    pub(super) orders: Mutex<BTreeMap<(Arc<str>, bool), u64>>,
    pub(super) lines: Tally,
    /// Of what waits for collectors, by signal.
    unsent: Mutex<Vec<(&'static str, Arc<AtomicU64>)>>,
    pub(super) engine_connected: AtomicI64,
    pub(super) engine_calls: AtomicU64,
    pub(super) started: SystemTime,
    history: History,
}

/// Entry point, TLS version, cipher.
pub(super) type TlsName = (Arc<str>, &'static str, &'static str);

/// One certificate's labels: cn, serial, sans.
pub(super) type Certificate = (String, String, String);

impl Metrics {
    /// Metrics for that many workers. Services are counted even when nobody is told of metrics,
    /// since the dashboard shows them.
    pub fn new(settings: &settings::Metrics, workers: usize) -> Arc<Self> {
        let shape = Shape::new(settings);
        let is_pushed = settings.otlp.is_some();
        let durations = |side| Durations::new(side, &shape.push.bounds, workers);
        Arc::new(Self {
            served: is_pushed.then(|| durations(Side::Server)),
            sent: is_pushed.then(|| Arc::new(durations(Side::Client))),
            shape: ArcSwap::from_pointee(shape),
            workers,
            scopes: Kept::default(),
            server_up: Kept::default(),
            retries: Kept::default(),
            servers: Servers::default(),
            generations: Generations::default(),
            dropped_copies: Kept::default(),
            tls_requests: Kept::default(),
            connections: Kept::default(),
            certificates: Mutex::default(),
            reloads: AtomicU64::new(0),
            last_reload: AtomicI64::new(0),
            panics: AtomicU64::new(0),
            orders: Mutex::default(),
            lines: Tally::default(),
            unsent: Mutex::default(),
            engine_connected: AtomicI64::new(-1),
            engine_calls: AtomicU64::new(0),
            started: SystemTime::now(),
            history: History::default(),
        })
    }

    /// Counts and shows by these settings from now on. Counters go on; histograms whose bounds are
    /// others begin anew. Whom a collector is told about is not changed by this.
    pub fn change(&self, settings: &settings::Metrics) {
        let shape = Shape::new(settings);
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if shape.counted != self.shape.load().counted {
            for entry in scopes.values_mut() {
                entry.value.count_by(&shape.counted);
            }
        }
        self.shape.store(Arc::new(shape));
    }

    /// What the settings say.
    pub(super) fn shape(&self) -> arc_swap::Guard<Arc<Shape>> {
        self.shape.load()
    }

    /// What of these is alive, and what was not yet told for the last time.
    pub(super) fn alive<K: Ord + Clone, T>(
        &self,
        map: &Kept<K, T>,
        reader: Reader,
    ) -> Vec<(K, Arc<T>)> {
        sweep(map, reader, self.shape().readers)
    }

    /// Whether requests to internal services count.
    pub fn counts_internals(&self) -> bool {
        self.shape().add_internals
    }

    /// Whether records need the request's headers.
    pub fn needs_headers(&self) -> bool {
        !self.shape().header_labels.is_empty()
    }

    /// Whether [`Metrics::served`] counts.
    pub fn tells_served(&self) -> bool {
        self.served.is_some()
    }

    /// Counts a request that came, whatever became of it.
    pub fn served(&self, worker: usize, took: &Took<'_>) {
        if let Some(served) = &self.served {
            served.record(worker, took);
        }
    }

    fn requests(&self, name: &ScopeName) -> Requests {
        let make = || Scope::new(&self.shape().counted, self.workers);
        let scope = keep(&self.scopes, name, make);
        let (retries, holding) = match name {
            ScopeName::Service(service) => {
                (Some(self.retries(service)), Some(self.holding(service)))
            }
            ScopeName::EntryPoint(_) | ScopeName::Router { .. } => (None, None),
        };
        let sent = retries.as_ref().and(self.sent.as_ref()).map(Arc::clone);
        Requests(Some(Handle { scope, retries, holding, sent }))
    }

    /// Handles of an entry point.
    pub fn entry_point(&self, name: &str) -> Requests {
        let shape = self.shape();
        if !(shape.scrape.shown.entry_points || shape.push.shown.entry_points) {
            return Requests::off();
        }
        self.requests(&ScopeName::EntryPoint(name.into()))
    }

    /// Handles of a router and its service, qualified names.
    pub fn router(&self, router: &str, service: &str) -> Requests {
        let shape = self.shape();
        if !(shape.scrape.shown.routers || shape.push.shown.routers) {
            return Requests::off();
        }
        self.requests(&ScopeName::Router { router: router.into(), service: service.into() })
    }

    /// Handles of a service, qualified name.
    pub fn service(&self, service: &str) -> Requests {
        self.requests(&ScopeName::Service(service.into()))
    }

    /// The gauge `traefik_service_server_up` of a server with a health check; it is shown
    /// while somebody holds it.
    pub fn server_up(&self, service: &str, url: &str) -> Gauge {
        Gauge(keep(&self.server_up, &(service.into(), url.into()), || AtomicI64::new(1)))
    }

    fn retries(&self, service: &Arc<str>) -> Arc<AtomicU64> {
        keep(&self.retries, service, || AtomicU64::new(0))
    }

    /// Counts requests to a mirroring service that were not copied because too many copies
    /// were on their way.
    pub fn dropped_copies(&self, service: &str) -> Arc<AtomicU64> {
        keep(&self.dropped_copies, &service.into(), || AtomicU64::new(0))
    }

    /// The gauge `traefik_open_connections` of an entry point.
    pub fn open_connections(&self, entry_point: &str) -> Gauge {
        Gauge(keep(&self.connections, &(entry_point.into(), "TCP"), || AtomicI64::new(0)))
    }

    /// Counts a request that came over TLS. Call with a handle kept per connection.
    pub fn tls_requests(&self, entry_point: &str, tls: &TlsInfo) -> Arc<AtomicU64> {
        let name = (entry_point.into(), tls.version, tls.cipher);
        keep(&self.tls_requests, &name, || AtomicU64::new(0))
    }

    /// The certificates now held: cn, serial, comma-joined SANs, and expiry in Unix seconds.
    pub fn set_certificates(
        &self,
        certificates: impl IntoIterator<Item = (String, String, String, i64)>,
    ) {
        let certificates =
            certificates.into_iter().map(|(cn, serial, sans, end)| ((cn, serial, sans), end));
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates.collect();
    }

    /// Counts a publication.
    pub fn reload(&self) {
        self.reloads.fetch_add(1, Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_reload.store(i64::try_from(now.as_secs()).unwrap_or(i64::MAX), Relaxed);
    }

    /// Counts an order for a certificate.
    pub fn acme(&self, resolver: &Arc<str>, is_obtained: bool) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        *orders.entry((Arc::clone(resolver), is_obtained)).or_default() += 1;
    }

    /// Counts a panic that cost a connection.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// What the access log counts.
    pub fn lines(&self) -> Tally {
        self.lines.clone()
    }

    /// Shows how much of a signal was dropped on its way to a collector.
    pub fn show_unsent(&self, signal: &'static str, dropped: Arc<AtomicU64>) {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.push((signal, dropped));
    }

    /// How much of each signal was dropped so far, whoever its collectors were.
    pub(super) fn unsent(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for (signal, count) in &*self.unsent.lock().unwrap_or_else(PoisonError::into_inner) {
            *sums.entry(*signal).or_default() += count.load(Relaxed);
        }
        sums
    }

    /// Says whether the engine's events come in, and how many calls it got so far.
    pub fn engine(&self, connected: bool, calls: u64) {
        self.engine_connected.store(i64::from(connected), Relaxed);
        self.engine_calls.store(calls, Relaxed);
    }

    /// Takes the plots' next points; call once a second.
    pub fn tick(&self) {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let services: Vec<_> = scopes
            .iter()
            .filter(|(_, entry)| Arc::strong_count(&entry.value) > 1)
            .filter_map(|(name, entry)| match name {
                ScopeName::Service(name) => Some((Arc::clone(name), Arc::clone(&entry.value))),
                ScopeName::EntryPoint(_) | ScopeName::Router { .. } => None,
            })
            .collect();
        drop(scopes);
        self.history.tick(&services);
    }

    /// The plots' data.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// When the process's metrics began.
    pub fn started(&self) -> SystemTime {
        self.started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vanished_service_is_shown_once_more_and_then_gone() {
        let metrics = Metrics::new(&settings::Metrics::default(), 1);
        let handle = metrics.service("web@docker");
        assert_eq!(metrics.alive(&metrics.scopes, Reader::Scrape).len(), 1);
        drop(handle);

        assert_eq!(metrics.alive(&metrics.scopes, Reader::Scrape).len(), 1);
        assert_eq!(metrics.alive(&metrics.scopes, Reader::Scrape).len(), 0);
    }

    #[test]
    fn a_service_that_comes_back_goes_on_counting() {
        let metrics = Metrics::new(&settings::Metrics::default(), 1);
        drop(metrics.service("web@docker"));
        metrics.alive(&metrics.scopes, Reader::Scrape);
        let _handle = metrics.service("web@docker");
        metrics.alive(&metrics.scopes, Reader::Scrape);

        assert_eq!(metrics.alive(&metrics.scopes, Reader::Scrape).len(), 1);
    }

    #[test]
    fn without_prometheus_only_services_are_counted() {
        let metrics = Metrics::new(&settings::Metrics::default(), 1);

        assert!(metrics.service("a").is_on());
        assert!(!metrics.entry_point("web").is_on());
        assert!(!metrics.router("a", "b").is_on());
    }
}
