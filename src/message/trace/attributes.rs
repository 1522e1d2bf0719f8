//! What spans say of a request and its answer: OpenTelemetry's names, Traefik's choice.

use std::net::SocketAddr;

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::{Captured, Policy, query};
use crate::message::forwarded::X_FORWARDED_PROTO;
use crate::otlp::Attributes;

/// Longest text of a client's or a server's in a span.
const LONGEST: usize = 8 * 1024;
/// Values of one captured field.
const MOST_VALUES: usize = 32;

/// A request as it came, after the entry point's rewriting.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The entry point.
    pub entry_point: &'a str,
    /// The client.
    pub peer: SocketAddr,
    /// The method.
    pub method: &'a Method,
    /// The target as it is routed.
    pub uri: &'a Uri,
    /// The protocol version.
    pub version: Version,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// The length of its body; -1 when only its end tells.
    pub body_size: i64,
}

impl Arrival<'_> {
    pub(super) fn write(&self, policy: &Policy, out: &mut Attributes) {
        let peer = self.peer.ip().to_canonical().to_string();
        let port = i64::from(self.peer.port());
        out.text("entry_point", self.entry_point);
        out.text("http.request.method", clip(self.method.as_str()));
        out.text("network.protocol.version", version(self.version));
        out.int("http.request.body.size", self.body_size);
        out.text("url.path", clip(self.uri.path()));
        let query = self.uri.query().unwrap_or_default();
        out.text("url.query", clip(&query::redact(query, &policy.safe_parameters)));
        out.text("url.scheme", clip(&text(self.headers.get(X_FORWARDED_PROTO))));
        out.text("user_agent.original", clip(&text(self.headers.get(USER_AGENT))));
        out.text("server.address", clip(&text(self.headers.get(HOST))));
        out.text("network.peer.address", &peer);
        // As Traefik: the peer here too, whatever trusted proxies say of the client.
        out.text("client.address", &peer);
        out.int("client.port", port);
        out.int("network.peer.port", port);
        write_fields(&policy.request_fields, out, self.headers);
    }
}

pub(super) fn write_request<B>(
    policy: &Policy,
    out: &mut Attributes,
    request: &Request<B>,
    server: &str,
    resent: u32,
) {
    let (scheme, rest) = server.split_once("://").unwrap_or(("http", server));
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let mut full = format!("{scheme}://{authority}{}", request.uri().path());
    let query = query::redact(request.uri().query().unwrap_or_default(), &policy.safe_parameters);
    if !query.is_empty() {
        full.push('?');
        full.push_str(&query);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
    out.text("http.request.method", clip(request.method().as_str()));
    // As Traefik, whose requests to servers are written as HTTP/1.1 until they are sent.
    out.text("network.protocol.version", "1.1");
    out.text("url.full", clip(&full));
    out.text("url.scheme", scheme);
    out.text("user_agent.original", clip(&text(request.headers().get(USER_AGENT))));
    out.text("network.peer.address", host);
    out.int("network.peer.port", port);
    out.text("server.address", host);
    out.int("server.port", port);
    if resent > 0 {
        out.int("http.request.resend_count", i64::from(resent));
    }
    write_fields(&policy.request_fields, out, request.headers());
}

pub(super) fn write_status(out: &mut Attributes, status: u16) {
    if status > 0 {
        out.int("http.response.status_code", i64::from(status));
    }
}

pub(super) fn write_response(policy: &Policy, out: &mut Attributes, headers: &HeaderMap) {
    write_fields(&policy.response_fields, out, headers);
}

fn write_fields(captured: &Captured, out: &mut Attributes, headers: &HeaderMap) {
    for (name, key) in captured {
        if headers.contains_key(name) && *name != USER_AGENT {
            let values: Vec<_> =
                headers.get_all(name).iter().take(MOST_VALUES).map(|v| text(Some(v))).collect();
            out.texts(key, values.iter().map(|value| clip(value)));
        }
    }
}

fn text(value: Option<&HeaderValue>) -> std::borrow::Cow<'_, str> {
    value.map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default()
}

pub(super) fn clip(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
