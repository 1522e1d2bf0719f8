//! What the unit tests of middlewares share: requests, an exchange, and one step asked.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderValue, Method, Request, Response, Uri, header};

use super::{Flow, Middleware};
use crate::message::{Body, Connection, EntryPoint, Exchange, Protocol, Served};

/// What a step did.
pub(super) enum Reply<M> {
    /// It passed this on.
    Next(Request<Body>),
    /// It passed this on and wants to see the answer.
    After(Request<Body>, M),
    /// It answered.
    Answer(Response<Body>),
}

/// A request as listeners hand it on: the path in the URI, the host in its field.
pub(super) fn request(method: Method, url: &str) -> Request<Body> {
    let uri: Uri = url.parse().unwrap();
    let target = uri.path_and_query().unwrap().as_str().to_owned();
    let mut request = Request::builder().method(method).uri(target);
    if let Some(authority) = uri.authority() {
        request = request.header(header::HOST, authority.as_str());
    }
    request.body(Body::empty()).unwrap()
}

/// A GET with these fields.
pub(super) fn get(url: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = request(Method::GET, url);
    for (name, value) in fields {
        let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// An exchange over plain HTTP with the peer 127.0.0.1.
pub(super) fn exchange() -> Exchange {
    exchange_from("127.0.0.1")
}

/// An exchange over plain HTTP with this peer.
pub(super) fn exchange_from(peer: &str) -> Exchange {
    let entry_point = EntryPoint {
        name: "web".into(),
        index: 0,
        port: 80,
        trusted: None,
        keep_forwarded_for: false,
        connection_fields: Box::default(),
        sanitize_path: true,
        encode_query_semicolons: false,
        refused_escapes: Box::default(),
        is_admin: false,
    };
    Exchange {
        connection: Rc::new(Connection {
            entry_point: Arc::new(entry_point),
            peer: (peer.parse::<std::net::IpAddr>().unwrap(), 1234).into(),
            local: ([127, 0, 0, 1], 80).into(),
            peer_value: HeaderValue::from_str(peer).unwrap(),
            tls: None,
            trusted: true,
            worker: 0,
            requests: std::cell::Cell::new(0),
        }),
        started: Instant::now(),
        started_at: SystemTime::now(),
        protocol: Protocol::Http,
        secure: false,
        host: "h".into(),
        suppress_forwarded_for: false,
        upgrade: None,
        user: None,
        served: Served::default(),
    }
}

/// Shows a step one request.
pub(super) fn ask<M: Middleware>(step: &M, request: Request<Body>) -> Reply<M::Memo> {
    ask_with(step, &mut exchange(), request)
}

/// Shows a step one request of this exchange.
pub(super) fn ask_with<M: Middleware>(
    step: &M,
    exchange: &mut Exchange,
    mut request: Request<Body>,
) -> Reply<M::Memo> {
    match step.request(exchange, &mut request) {
        Flow::Next => Reply::Next(request),
        Flow::After(memo) => Reply::After(request, memo),
        Flow::Respond(response) => Reply::Answer(response),
        Flow::Wait | Flow::Around => panic!("it wants to wait"),
    }
}
