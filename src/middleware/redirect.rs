//! What redirects and host checks share: the parts of a request's URL, and the answer.

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use crate::message::{Body, plain};

/// The host that was asked for, with its port, as the client wrote it.
pub(super) fn host(request: &Request<Body>) -> &str {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    authority
        .or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()))
        .unwrap_or_default()
}

/// The host without its port, and the port.
pub(super) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // The colons inside `[::1]` are the address's own.
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    }
}

/// Path and query.
pub(super) fn target(request: &Request<Body>) -> &str {
    request.uri().path_and_query().map_or("/", PathAndQuery::as_str)
}

/// Sends the client elsewhere. As Traefik: only GET may become a 301 or 302, HEAD may not.
pub(super) fn answer(method: &Method, location: HeaderValue, permanent: bool) -> Response<Body> {
    let (status, body) = match (method == Method::GET, permanent) {
        (true, false) => (StatusCode::FOUND, "Found"),
        (false, false) => (StatusCode::TEMPORARY_REDIRECT, "Temporary Redirect"),
        (true, true) => (StatusCode::MOVED_PERMANENTLY, "Moved Permanently"),
        (false, true) => (StatusCode::PERMANENT_REDIRECT, "Permanent Redirect"),
    };
    let mut response = plain(status, body);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// The answer for a new URL that is none.
pub(super) fn unusable() -> Response<Body> {
    plain(StatusCode::BAD_GATEWAY, "Bad Gateway")
}
