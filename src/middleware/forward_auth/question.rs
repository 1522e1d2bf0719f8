//! The request that the server is asked with.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER,
    UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::server::AuthServer;
use super::settings::{self, Settings};
use crate::message::forwarded::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, is_managed, port,
};
use crate::message::{Body, Collected, Exchange, hop};

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// How requests are told to the server.
pub(super) struct Questions {
    trust: Trust,
    /// The only fields that are sent; empty: all.
    only: Box<[HeaderName]>,
    preserve_method: bool,
}

/// What becomes of the X-Forwarded-* that a request has when it comes to the middleware.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Five are set anew, the others pass.
    Partly,
    /// All are set anew.
    No,
    /// They pass, and the peer is added to X-Forwarded-For.
    Yes,
}

impl Questions {
    pub(super) fn new(settings: &Settings) -> Self {
        let trust = match settings.trust_forward_header {
            None => Trust::Partly,
            Some(false) => Trust::No,
            Some(true) => Trust::Yes,
        };
        Self {
            trust,
            only: settings::names(&settings.auth_request_headers),
            preserve_method: settings.preserve_request_method,
        }
    }

    /// The method that the server is asked with.
    pub(super) fn method(&self, request: &Request<Body>) -> Method {
        if self.preserve_method { request.method().clone() } else { Method::GET }
    }

    /// Puts a question about a request.
    pub(super) fn about(
        &self,
        server: &AuthServer,
        exchange: &Exchange,
        request: &Request<Body>,
        body: Option<&Collected>,
    ) -> Request<Body> {
        let mut question = Request::new(Body::empty());
        *question.method_mut() = self.method(request);
        *question.uri_mut() = server.target().clone().into();
        let mut headers = self.fields(request.headers());
        self.forwarded(exchange, request, &mut headers);
        headers.insert(HOST, server.host_value().clone());
        if let Some(authorization) = server.authorization()
            && !headers.contains_key(AUTHORIZATION)
        {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(body) = body {
            headers.insert(CONTENT_LENGTH, body.data.len().into());
            *question.body_mut() = body.data.clone().into();
        }
        *question.headers_mut() = headers;
        question
    }

    /// The request's fields that go to the server.
    fn fields(&self, all: &HeaderMap) -> HeaderMap {
        let mut headers = if self.only.is_empty() {
            all.clone()
        } else {
            let is_sent = |name: &HeaderName| {
                self.only.contains(name) || self.trust == Trust::Yes && is_managed(name)
            };
            let sent = all.iter().filter(|(name, _)| is_sent(name));
            sent.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        // As Traefik: what the client says to a proxy, the server that decides for the
        // proxy may know. The protocol to change to is none of its business.
        let credentials = headers.remove(PROXY_AUTHORIZATION);
        headers.remove(UPGRADE);
        hop::strip_request(&mut headers);
        for name in [CONNECTION, TE, TRAILER, CONTENT_LENGTH, EXPECT] {
            headers.remove(name);
        }
        if let Some(credentials) = credentials {
            headers.insert(PROXY_AUTHORIZATION, credentials);
        }
        headers
    }

    /// X-Forwarded-*. The target is the one in its settled form, at this place of the
    /// chain (F5).
    fn forwarded(&self, exchange: &Exchange, request: &Request<Body>, headers: &mut HeaderMap) {
        let connection = &exchange.connection;
        let peer = &connection.peer_value;
        match self.trust {
            Trust::Yes => {
                let peer = behind(headers, peer);
                headers.insert(X_FORWARDED_FOR, peer);
            }
            Trust::No => {
                let managed: Vec<_> =
                    headers.keys().filter(|name| is_managed(name)).cloned().collect();
                for name in managed {
                    headers.remove(name);
                }
                headers.insert(X_FORWARDED_FOR, peer.clone());
                headers.insert(X_FORWARDED_PORT, port(connection.tls.is_some(), request.headers()));
            }
            Trust::Partly => {
                headers.insert(X_FORWARDED_FOR, peer.clone());
            }
        }
        let proto = if connection.tls.is_some() { "https" } else { "http" };
        let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let host = request.headers().get(HOST).filter(|host| !host.is_empty());
        for (name, value) in [
            (X_FORWARDED_METHOD, HeaderValue::from_str(request.method().as_str()).ok()),
            (X_FORWARDED_PROTO, Some(HeaderValue::from_static(proto))),
            (X_FORWARDED_HOST, host.cloned()),
            (X_FORWARDED_URI, HeaderValue::from_str(target).ok()),
        ] {
            let is_said = headers.get(&name).is_some_and(|said| !said.is_empty());
            if self.trust == Trust::Yes && is_said {
                continue;
            }
            match value {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
    }
}

/// The peer at the end of what X-Forwarded-For says.
fn behind(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut joined = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(peer.as_bytes());
    HeaderValue::from_maybe_shared(Bytes::from(joined)).unwrap_or_else(|_| peer.clone())
}
