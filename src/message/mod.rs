//! What passes through: bodies, the exchange of one request, the connection it came on.
//! Must never know routes or services.

mod body;
mod collect;
pub mod forwarded;
mod held;
pub mod hop;
pub mod host;
mod kept;
mod lent;
pub mod path;
mod spare;
mod status;
#[cfg(test)]
mod testing;
pub mod trace;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderValue, Request, Response};
use ipnet::IpNet;

pub use body::{Body, BodyError, Watch};
pub use collect::{Collected, Collecting, discard};
pub use held::Share;
pub use kept::Kept;
pub use lent::Lender;
pub use spare::Spare;
pub use status::{StatusRanges, error_text, status_text, worded};

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
    /// What becomes of fields whose names alias others.
    pub aliases: Aliases,
    /// The one called `traefik`: it still accepts when the limit on connections is reached.
    pub is_admin: bool,
}

/// What becomes of fields whose names many servers read as those of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aliases {
    /// They go on.
    #[default]
    Keep,
    /// They are taken out.
    Delete(AliasNames),
    /// A request with one is refused.
    Reject(AliasNames),
}

/// Which names count as aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasNames {
    /// All with something else than letters, digits and `-`.
    All,
    /// Those with an underscore.
    Underscore,
}

impl AliasNames {
    fn has(self, name: &http::HeaderName) -> bool {
        let odd = |byte: u8| match self {
            Self::All => byte != b'-' && !byte.is_ascii_alphanumeric(),
            Self::Underscore => byte == b'_',
        };
        name.as_str().bytes().any(odd)
    }
}

impl Aliases {
    /// Takes out what is to go. Whether the request may go on.
    pub fn settle(self, headers: &mut http::HeaderMap) -> bool {
        match self {
            Self::Keep => true,
            Self::Reject(names) => !headers.keys().any(|name| names.has(name)),
            Self::Delete(names) => {
                let found = headers.keys().filter(|name| names.has(name));
                let found: smallvec::SmallVec<[http::HeaderName; 4]> = found.cloned().collect();
                for name in found {
                    headers.remove(name);
                }
                true
            }
        }
    }
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
    /// What must last as long as the tunnel, if there is to be one. What is gone when the
    /// server agrees was not waiting for it.
    pub until_tunnel_ends: Vec<std::rc::Weak<dyn std::any::Any>>,
    /// Told of 1xx answers before the final one; `None`: the client is not told.
    pub informational: Option<Informational>,
    /// User named by an authentication middleware.
    pub user: Option<Box<str>>,
    /// Its spans; `None`: it is not traced.
    pub trace: Option<Box<trace::Trace>>,
    /// Its router's metrics are on, so that services count it.
    pub counted: bool,
    /// What `balance` did with it.
    pub served: Served,
}

impl Exchange {
    /// What the client's URL begins with, as X-Forwarded-Proto says it.
    pub fn scheme(&self) -> &'static str {
        match (self.protocol == Protocol::WebSocket, self.secure) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        }
    }

    /// Another exchange for a copy of the same request, which the client is not told of.
    #[must_use]
    pub fn of_copy(&self) -> Self {
        Self {
            connection: Rc::clone(&self.connection),
            started: Instant::now(),
            started_at: SystemTime::now(),
            protocol: self.protocol,
            secure: self.secure,
            host: self.host.clone(),
            suppress_forwarded_for: self.suppress_forwarded_for,
            upgrade: None,
            until_tunnel_ends: Vec::new(),
            informational: None,
            user: None,
            trace: None,
            counted: self.counted,
            served: Served::default(),
        }
    }
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
    /// Those of them that a service made by itself; they are bounded over all of a request's
    /// way, however often a middleware sends it again.
    pub repeats: u32,
    /// When the first byte of the answer came, since `Exchange::started`.
    pub first_byte: Option<std::time::Duration>,
    /// No server answered: refused, cut or timed out, as far as it was tried last. The 502
    /// or 504 is the proxy's own then, and not one that a server sent.
    pub network_error: bool,
    /// And no byte of the request reached any server.
    pub unsent: bool,
    /// The server's status; `None` when it did not answer.
    pub origin_status: Option<u16>,
    /// The server's Content-Length or the bytes seen.
    pub origin_size: Option<u64>,
    /// The access log wants the fields of the server's answer.
    pub keeps_origin_headers: bool,
    /// Those fields as they came, if they are wanted.
    pub origin_headers: Option<http::HeaderMap>,
}

impl Served {
    /// Forgets the last try before another, but for what is counted over all of them.
    pub fn try_again(&mut self) {
        *self = Self {
            retries: self.retries,
            repeats: self.repeats,
            keeps_origin_headers: self.keeps_origin_headers,
            ..Self::default()
        };
    }
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
