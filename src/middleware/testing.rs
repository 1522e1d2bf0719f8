//! What the unit tests of middlewares share: requests, an exchange, and one step asked.

use std::rc::Rc;

use http::{Method, Request, Response, Uri, header};

use super::{Flow, Middleware};
use crate::message::{Body, Connection, Exchange};

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

/// An exchange over plain HTTP with this peer.
pub(super) fn exchange_from(peer: &str) -> Exchange {
    let peer = (peer.parse::<std::net::IpAddr>().unwrap(), 1234).into();
    let connection = Connection { peer, ..Connection::for_tests() };
    Exchange { connection: Rc::new(connection), ..Exchange::for_tests() }
}

/// Shows a step one request.
pub(super) fn ask<M: Middleware>(step: &M, request: Request<Body>) -> Reply<M::Memo> {
    ask_with(step, &mut Exchange::for_tests(), request)
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

/// What a step wants done with one request.
pub(super) fn flow<M: Middleware>(
    step: &M,
    exchange: &mut Exchange,
    mut request: Request<Body>,
) -> Flow<M::Memo> {
    step.request(exchange, &mut request)
}
