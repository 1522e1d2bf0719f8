//! One request's account: what it holds (a replica's place in flight, a connection), and
//! what the metrics are told when it ends, however it ends.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

use super::answer;
use super::forward::LoadBalancer;
use super::replica::Replica;
use crate::message::{Body, BodyError, Connection, Exchange, Protocol, Watch};
use crate::observe::{Requests, Sample, Took};
use crate::upstream::{Cause, Lease};

/// The client went away before there was an answer.
const CLIENT_CLOSED: u16 = 499;

const GRPC_STATUS: &str = "grpc-status";

/// Of gRPC's codes those that speak of the server: unknown, internal, unavailable, data loss.
/// Not that a deadline is over: clients set it.
const GRPC_FAILURES: [u16; 4] = [2, 13, 14, 15];

pub(super) struct Account {
    owner: Owner,
    replica: Option<Arc<Replica>>,
    lease: Option<Lease>,
    worker: usize,
    method: Method,
    protocol: Protocol,
    started: Instant,
    /// Only where `headerLabels` are configured.
    headers: Option<HeaderMap>,
    code: u16,
    is_error: bool,
    /// The request asked for the generation of the server.
    is_asked_for: bool,
    /// The router's metrics are on.
    counted: bool,
    tls: Option<Rc<Connection>>,
    upload: Option<Rc<Upload>>,
    down: u64,
}

/// Whose metrics are told. Both are shared; a clone costs one count.
enum Owner {
    Balancer(Arc<LoadBalancer>),
    Internal(Requests),
}

impl Owner {
    fn metrics(&self) -> &Requests {
        match self {
            Self::Balancer(balancer) => &balancer.metrics,
            Self::Internal(metrics) => metrics,
        }
    }
}

/// What is known of the client's body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    bytes: Cell<u64>,
    pub(super) has_failed: Cell<bool>,
}

impl Account {
    /// Opens an account of a load balancer.
    pub(super) fn open(
        balancer: &Arc<LoadBalancer>,
        exchange: &Exchange,
        request: &mut Request<Body>,
    ) -> Self {
        Self::of(Owner::Balancer(Arc::clone(balancer)), exchange, request)
    }

    /// Opens an account of an internal service, whose requests count.
    pub(super) fn internal(
        metrics: &Requests,
        exchange: &Exchange,
        request: &mut Request<Body>,
    ) -> Self {
        Self::of(Owner::Internal(metrics.clone()), exchange, request)
    }

    /// Watches the request's body if there is one.
    fn of(owner: Owner, exchange: &Exchange, request: &mut Request<Body>) -> Self {
        let upload = (!http_body::Body::is_end_stream(request.body())).then(|| {
            let upload = Rc::new(Upload::default());
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = body.watched(Box::new(Uploading(Rc::clone(&upload))));
            upload
        });
        Self {
            headers: owner.metrics().needs_headers().then(|| request.headers().clone()),
            owner,
            replica: None,
            lease: None,
            worker: exchange.connection.worker,
            method: request.method().clone(),
            protocol: exchange.protocol,
            started: exchange.started,
            code: CLIENT_CLOSED,
            is_error: false,
            is_asked_for: false,
            counted: exchange.counted,
            tls: exchange.connection.tls.is_some().then(|| Rc::clone(&exchange.connection)),
            upload,
            down: 0,
        }
    }

    /// A replica is asked; `is_asked_for`: since the request asked for its generation.
    pub(super) fn enter(&mut self, replica: &Arc<Replica>, is_asked_for: bool) {
        replica.enter();
        self.is_asked_for = is_asked_for;
        self.replica = Some(Arc::clone(replica));
    }

    /// It answered after so long.
    pub(super) fn sent(
        &self,
        exchange: &Exchange,
        url: &str,
        status: StatusCode,
        duration: Duration,
    ) {
        if self.counted {
            let took = Took {
                host: url,
                method: &self.method,
                code: status.as_u16(),
                version: Version::HTTP_11,
                scheme: exchange.scheme(),
                duration,
            };
            self.owner.metrics().sent(self.worker, &took);
        }
    }

    /// It did not answer: told as what the client would be told.
    pub(super) fn unanswered(
        &self,
        exchange: &mut Exchange,
        url: &str,
        cause: &Cause,
        asked: Option<tokio::time::Instant>,
    ) {
        let status = answer::failed(cause).status();
        if let Some(trace) = &mut exchange.trace {
            trace.answered(status.as_u16(), None);
        }
        if let Some(asked) = asked {
            self.sent(exchange, url, status, asked.elapsed());
        }
    }

    /// It did not answer, for this reason.
    pub(super) fn leave(&mut self, cause: &Cause) {
        self.release(!matches!(cause, Cause::Client(_)));
    }

    /// The replica is done with it. What the client broke off is no failure of a server: else
    /// any client could have one taken out.
    fn release(&mut self, is_error: bool) {
        let is_error = is_error && !self.client_failed();
        if let Some(replica) = self.replica.take() {
            replica.leave(is_error, self.is_asked_for);
        }
    }

    /// The client's body broke off.
    pub(super) fn client_failed(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.has_failed.get())
    }

    /// An answer of the proxy's own.
    pub(super) fn answer(mut self, response: Response<Body>) -> Response<Body> {
        self.code = response.status().as_u16();
        self.watch(response)
    }

    /// A server's answer, on the connection held by `lease`.
    pub(super) fn pass(mut self, response: Response<Body>, lease: Lease) -> Response<Body> {
        self.code = response.status().as_u16();
        self.is_error = response.status().is_server_error();
        if self.protocol == Protocol::Grpc {
            self.grpc(response.headers());
        }
        self.lease = Some(lease);
        self.watch(response)
    }

    /// An upgrade: counted when it ends, with code 0 as in Traefik.
    pub(super) fn end_upgrade(mut self, up: u64, down: u64) {
        self.code = 0;
        self.down = down;
        self.upload = Some(Rc::new(Upload { bytes: Cell::new(up), ..Upload::default() }));
    }

    fn watch(mut self, response: Response<Body>) -> Response<Body> {
        if http_body::Body::is_end_stream(response.body()) {
            self.finish();
            return response;
        }
        response.map(|body| body.watched(Box::new(self)))
    }

    fn grpc(&mut self, fields: &HeaderMap) {
        let status = fields.get(GRPC_STATUS).and_then(|value| value.to_str().ok());
        if let Some(status) = status.and_then(|status| status.parse().ok()) {
            self.code = status;
            self.is_error |= GRPC_FAILURES.contains(&status);
        }
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }
}

impl Watch for Account {
    fn data(&mut self, bytes: usize) {
        self.down += bytes as u64;
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.protocol == Protocol::Grpc {
            self.grpc(trailers);
        }
    }

    fn failed(&mut self, _error: &BodyError) {
        self.is_error = true;
    }

    fn finished(&mut self) {
        self.finish();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.release(self.is_error);
        if !self.counted {
            return;
        }
        let sample = Sample {
            code: self.code,
            method: &self.method,
            protocol: self.protocol,
            duration: self.started.elapsed(),
            request_bytes: self.upload.as_ref().map_or(0, |upload| upload.bytes.get()),
            response_bytes: self.down,
            headers: self.headers.as_ref(),
            tls: self.tls.as_ref().and_then(|connection| connection.tls.as_ref()),
        };
        self.owner.metrics().record(self.worker, &sample);
    }
}

struct Uploading(Rc<Upload>);

impl Watch for Uploading {
    fn data(&mut self, bytes: usize) {
        self.0.bytes.set(self.0.bytes.get() + bytes as u64);
    }
    fn trailers(&mut self, _trailers: &HeaderMap) {}
    fn failed(&mut self, _error: &BodyError) {
        self.0.has_failed.set(true);
    }
    fn finished(&mut self) {}
}
