//! What passes through: bodies, the exchange of one request, the connection it came on.
//! Must never know routes or services.

mod body;
pub mod forwarded;
pub mod hop;
pub mod host;
pub mod path;
#[cfg(test)]
mod testing;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderValue, Request, Response};
use ipnet::IpNet;

pub use body::{Body, BodyError, Watch};

/// An entry point as connections see it; made once at start.
#[derive(Debug)]
pub struct EntryPoint {
    /// Its name.
    pub name: Arc<str>,
    /// Its place in `Table::entry_points`.
    pub index: usize,
    /// Its port, for redirects.
    pub port: u16,
    /// Peers whose X-Forwarded-* are believed; `None`: everyone (`insecure`).
    pub trusted: Option<Box<[IpNet]>>,
    /// The peer is not added to X-Forwarded-For.
    pub keep_forwarded_for: bool,
    /// Fields that `Connection` may name and middlewares still see.
    pub connection_fields: Box<[http::HeaderName]>,
    /// Resolve dot segments and double slashes.
    pub sanitize_path: bool,
    /// Send `;` in queries on as `%3B`.
    pub encode_query_semicolons: bool,
    /// Encoded characters that are refused with 400: `%2F` and so on, upper case.
    pub refused_escapes: Box<[&'static str]>,
    /// The one called `traefik`: it still accepts when the limit on connections is reached.
    pub is_admin: bool,
}

impl EntryPoint {
    /// Whether this peer's X-Forwarded-* are believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&peer)))
    }
}

/// TLS as it was agreed on a connection.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// The server name asked for, lower case.
    pub server_name: Option<Box<str>>,
    /// The TLS options chosen by that name: `default`, `strict@file`.
    pub options: Arc<str>,
    /// Subject of the client's verified certificate.
    pub client_subject: Option<Box<str>>,
    /// The client's certificates, DER, leaf first.
    pub client_certificates: Box<[Box<[u8]>]>,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it came in.
    pub entry_point: Arc<EntryPoint>,
    /// The client: the TCP peer, or what a trusted PROXY header said.
    pub peer: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    /// The peer's address as a field value, made once.
    pub peer_value: HeaderValue,
    /// TLS, if any.
    pub tls: Option<TlsInfo>,
    /// Its entry point believes its X-Forwarded-*.
    pub trusted: bool,
    /// Which worker it lives on.
    pub worker: usize,
    /// Requests so far.
    pub requests: Cell<u64>,
}

/// How a request is counted and logged: Traefik's `protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Plain requests.
    Http,
    /// Upgrades to WebSocket.
    WebSocket,
    /// `Accept: text/event-stream`.
    Sse,
    /// `Content-Type: application/grpc`.
    Grpc,
    /// `Content-Type: application/grpc-web`.
    GrpcWeb,
}

impl Protocol {
    /// How a request with these fields is counted.
    pub fn of(headers: &http::HeaderMap) -> Self {
        use http::header::{ACCEPT, CONTENT_TYPE};
        if hop::is_websocket(headers) {
            return Self::WebSocket;
        }
        let holds = |value: &HeaderValue, wanted: &[u8]| {
            value.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii() == wanted)
        };
        if headers.get(ACCEPT).is_some_and(|value| holds(value, b"text/event-stream")) {
            return Self::Sse;
        }
        match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(kind) if kind.starts_with(b"application/grpc-web") => Self::GrpcWeb,
            Some(kind) if kind.starts_with(b"application/grpc") => Self::Grpc,
            Some(_) | None => Self::Http,
        }
    }
}

/// One request's way through the proxy: what steps need to know of it, and what the
/// access log and the metrics will say.
#[derive(Debug)]
pub struct Exchange {
    /// The connection.
    pub connection: Rc<Connection>,
    /// When its head was read.
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at: SystemTime,
    /// How it is counted.
    pub protocol: Protocol,
    /// `https` or `http`, by TLS or a trusted X-Forwarded-Proto.
    pub secure: bool,
    /// The host it was routed by: lower case, without port and trailing dot.
    pub host: Box<str>,
    /// X-Forwarded-For was removed on purpose; do not add the peer.
    pub suppress_forwarded_for: bool,
    /// The upgrade of the client's connection, taken before the request is passed on.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// Told of 1xx answers before the final one; `None`: the client is not told.
    pub informational: Option<Informational>,
    /// User named by an authentication middleware.
    pub user: Option<Box<str>>,
    /// What `balance` did with it.
    pub served: Served,
}

/// What became of a request at a service.
#[derive(Debug, Default)]
pub struct Served {
    /// The server's URL.
    pub server: Option<Arc<str>>,
    /// Its `host:port`.
    pub server_address: Option<Arc<str>>,
    /// Tries beyond the first.
    pub retries: u32,
    /// When the first byte of the answer came, since `Exchange::started`.
    pub first_byte: Option<std::time::Duration>,
    /// The server's status; `None` when it did not answer.
    pub origin_status: Option<u16>,
    /// The server's Content-Length or the bytes seen.
    pub origin_size: Option<u64>,
    /// The access log wants the fields of the server's answer.
    pub keeps_origin_headers: bool,
    /// Those fields as they came, if they are wanted.
    pub origin_headers: Option<http::HeaderMap>,
}

/// Passes an interim answer (1xx) on to the client. hyper calls it from the server's
/// connection, hence the bounds.
#[derive(Clone)]
pub struct Informational(pub Arc<PassOn>);

type PassOn = dyn Fn(http::StatusCode, &http::HeaderMap) + Send + Sync;

impl std::fmt::Debug for Informational {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Informational")
    }
}

/// Something inside Wharf that answers requests: API, dashboard, ping, metrics.
pub trait Handler: Send + Sync {
    /// Answers; must not block. Streams (SSE) go into the body.
    fn handle(&self, exchange: &Exchange, request: Request<Body>) -> Response<Body>;
}

/// A plain answer of the proxy's own, as Traefik words it: status text as body.
pub fn plain(status: http::StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
