//! What is counted and logged of a request, when its response ends, whole or not.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use super::client::{Client, Observed, Watched};
use super::rest::Intake;
use crate::message::forwarded::X_FORWARDED_FOR;
use crate::message::trace::{Arrival, Trace, Verbosity};
use crate::message::{Exchange, Protocol, Served};
use crate::model::Provider;
use crate::observe::{Captured, Line, Sample, Took};
use crate::route::Route;

/// The client went away before an answer.
const CLIENT_GONE: u16 = 499;

/// One request, from its head to the end of its response.
pub(super) struct Record {
    pub(super) client: Rc<Client>,
    /// How it is observed: what it began with, whatever changes meanwhile.
    pub(super) watched: Rc<Watched>,
    pub(super) exchange: Exchange,
    pub(super) route: Option<Arc<Route>>,
    /// How far the client's body came.
    pub(super) intake: Rc<Intake>,
    pub(super) response_bytes: u64,
    pub(super) grpc_status: Option<u16>,
    /// Counted with the connection's heads.
    pub(super) head_bytes: usize,
    method: Method,
    version: Version,
    status: u16,
    /// Kept for the access log only; the host for what collectors are told, too.
    uri: Uri,
    host: Option<HeaderValue>,
    forwarded_for: Option<HeaderValue>,
    request_headers: Captured,
    response_headers: Captured,
    /// For `headerLabels`.
    labels: Option<HeaderMap>,
}

impl Record {
    pub(super) fn new<B>(client: Rc<Client>, request: &Request<B>) -> Box<Self> {
        let connection = &client.connection;
        connection.requests.set(connection.requests.get() + 1);
        if let Some(count) = &client.tls_requests {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let watched = client.entry.worker.watched();
        let log = watched.access_log.as_ref();
        let logs = log.is_some();
        let keeps_origin_headers = log.is_some_and(|log| log.keeps_headers());
        let exchange = Exchange {
            connection: Rc::clone(connection),
            started: Instant::now(),
            started_at: SystemTime::now(),
            protocol: Protocol::of(request.headers()),
            secure: connection.tls.is_some(),
            host: Box::default(),
            suppress_forwarded_for: false,
            upgrade: None,
            until_tunnel_ends: Vec::new(),
            informational: (request.version() == Version::HTTP_11).then(|| client.interim.clone()),
            user: None,
            trace: None,
            counted: true,
            served: Served { keeps_origin_headers, ..Served::default() },
        };
        Box::new(Self {
            exchange,
            route: None,
            intake: Rc::default(),
            response_bytes: 0,
            grpc_status: None,
            head_bytes: 0,
            method: request.method().clone(),
            version: request.version(),
            status: CLIENT_GONE,
            uri: if logs { request.uri().clone() } else { Uri::default() },
            host: None,
            forwarded_for: None,
            request_headers: Captured::default(),
            response_headers: Captured::default(),
            labels: None,
            watched,
            client,
        })
    }

    /// Keeps what the log and the metrics want of the request's fields, after the entry
    /// point's rewriting.
    pub(super) fn saw_request(&mut self, headers: &HeaderMap) {
        let worker = &self.client.entry.worker;
        if let Some(log) = &self.watched.access_log {
            self.host = headers.get(HOST).cloned();
            self.request_headers = log.capture(headers);
            // As Traefik: who the trusted proxies in front say the client is.
            self.forwarded_for = headers.get(X_FORWARDED_FOR).cloned();
        }
        if worker.metrics.tells_served() {
            self.host = headers.get(HOST).cloned();
        }
        if self.watched.needs_headers {
            self.labels = Some(headers.clone());
        }
    }

    /// Begins the request's spans, if it has any: once its route is known, from when it came.
    pub(super) fn trace(&mut self, route: Option<&Route>, parts: &Parts, body_size: i64) {
        let Some(policy) = &self.watched.tracing else { return };
        // As Traefik: what no router wants is traced unless the entry point says otherwise.
        let verbosity = route.map_or_else(|| self.observed().tracing, |route| route.tracing);
        if verbosity == Verbosity::Off {
            return;
        }
        let connection = &self.client.connection;
        let arrival = Arrival {
            entry_point: &connection.entry_point.name,
            peer: connection.peer,
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            body_size,
        };
        let started = (self.exchange.started, self.exchange.started_at);
        let mut trace = Trace::begin(policy, verbosity, started, &arrival);
        if let Some(route) = route.filter(|_| trace.is_detailed())
            && let Some(attributes) = trace.enter("Router")
        {
            attributes.text("traefik.service.name", &route.service.name);
            attributes.text("traefik.router.name", route.name.as_str());
            attributes.text("http.route", &route.rule);
        }
        self.exchange.trace = Some(trace);
    }

    /// Keeps the target in its one form, as it is routed and sent on.
    pub(super) fn saw_target(&mut self, uri: &Uri) {
        if self.watched.access_log.is_some() && self.uri != *uri {
            self.uri = uri.clone();
        }
    }

    /// The same of the response.
    pub(super) fn saw_response(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = status.as_u16();
        self.saw_grpc_status(headers);
        if let Some(trace) = &mut self.exchange.trace {
            trace.saw_response(headers);
        }
        if let Some(log) = &self.watched.access_log {
            self.response_headers = log.capture(headers);
        }
    }

    /// gRPC says how it went in a trailer, or in the head when nothing else is sent.
    pub(super) fn saw_grpc_status(&mut self, fields: &HeaderMap) {
        if matches!(self.exchange.protocol, Protocol::Grpc | Protocol::GrpcWeb) {
            let status = fields.get("grpc-status").and_then(|value| value.to_str().ok());
            if let Some(status) = status.and_then(|text| text.parse().ok()) {
                self.grpc_status = Some(status);
            }
        }
    }

    /// What is observed of it as long as no router wants it.
    fn observed(&self) -> Observed {
        self.watched.observed(self.client.entry.point.index)
    }

    fn is_internal(&self) -> bool {
        self.route.as_ref().is_some_and(|route| {
            route.name.provider() == Provider::Internal || route.service.name.ends_with("@internal")
        })
    }

    fn count(&self, duration: std::time::Duration) {
        let worker = &self.client.entry.worker;
        let code = match self.exchange.protocol {
            Protocol::WebSocket if self.status == 101 => 0,
            Protocol::Grpc | Protocol::GrpcWeb => self.grpc_status.unwrap_or(self.status),
            Protocol::WebSocket | Protocol::Http | Protocol::Sse => self.status,
        };
        let sample = Sample {
            code,
            method: &self.method,
            protocol: self.exchange.protocol,
            duration,
            request_bytes: self.intake.bytes(),
            response_bytes: self.response_bytes,
            headers: self.labels.as_ref(),
            tls: self.exchange.connection.tls.as_ref(),
        };
        // What no router wanted counts, too.
        if self.route.as_ref().map_or_else(|| self.observed().counted, |route| route.counted) {
            if let Some(point) = self.watched.points.get(self.client.entry.point.index) {
                point.requests.record(worker.index, &sample);
            }
            if worker.metrics.tells_served() {
                let host = self.host.as_ref().and_then(|host| host.to_str().ok());
                let took = Took {
                    host: host.unwrap_or_default(),
                    method: &self.method,
                    code: self.status,
                    version: self.version,
                    scheme: self.exchange.scheme(),
                    duration,
                };
                worker.metrics.served(worker.index, &took);
            }
        }
        if let Some(route) = &self.route {
            route.metrics.record(worker.index, &sample);
        }
    }

    fn log(&self, duration: std::time::Duration) {
        let Some(log) = &self.watched.access_log else { return };
        let wanted = match &self.route {
            Some(route) => route.access_log && (!self.is_internal() || log.logs_internals()),
            None => self.observed().access_log,
        };
        if !wanted {
            return;
        }
        let origin = self.exchange.served.origin_headers.as_ref();
        let origin_headers = origin.map(|headers| log.capture(headers)).unwrap_or_default();
        log.log(&Line {
            exchange: &self.exchange,
            method: self.method.as_str(),
            target: self.uri.path_and_query().map_or("", |target| target.as_str()),
            version: self.version,
            forwarded_for: self.forwarded_for.as_ref().and_then(|hops| hops.to_str().ok()),
            host: self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
            router: self.route.as_ref().map(|route| route.name.as_str()),
            service: self.route.as_ref().map(|route| &*route.service.name),
            // As Traefik: an upgraded connection has no status of its own at its end.
            status: if self.status == 101 { 0 } else { self.status },
            request_bytes: self.intake.bytes(),
            response_bytes: self.response_bytes,
            duration,
            request_headers: &self.request_headers,
            origin_headers: &origin_headers,
            response_headers: &self.response_headers,
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let life = &self.client.life;
        life.drop_head(self.head_bytes);
        if self.status == CLIENT_GONE
            && let Some(status) = life.cut_status.get()
        {
            self.status = status;
        }
        if self.status == 101 {
            let (sent, received) = life.tunnel_bytes.get();
            self.response_bytes = sent;
            self.intake.set_bytes(received);
        }
        let duration = self.exchange.started.elapsed();
        self.count(duration);
        self.log(duration);
        if let Some(trace) = self.exchange.trace.take() {
            trace.finish(self.status);
        }
        life.finish();
    }
}
