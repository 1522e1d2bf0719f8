//! Which sites' pages may ask, and how browsers are told.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use crate::message::{Body, plain};

/// Said by pages that speak gRPC-Web.
const MARK: &str = "x-grpc-web";

/// Sites whose pages may ask.
pub(super) struct Cors {
    /// Empty texts are in it, too: no origin is one.
    origins: Box<[String]>,
}

impl Cors {
    pub(super) fn new(origins: &[String]) -> Self {
        Self { origins: origins.into() }
    }

    /// The request's origin, if it may ask.
    pub(super) fn allowed<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let origin = headers.get(ORIGIN).filter(|origin| !origin.is_empty())?;
        let is_in = |allowed: &String| allowed == "*" || allowed.as_bytes() == origin.as_bytes();
        self.origins.iter().any(is_in).then_some(origin)
    }

    /// The answer to a browser that asks beforehand; `None` when it does not say what for.
    pub(super) fn preflight(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut answer = plain(StatusCode::OK, "");
        let told = answer.headers_mut();
        let names = ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"];
        for name in names {
            told.append(VARY, HeaderValue::from_static(name));
        }
        let is_simple = [Method::GET, Method::HEAD, Method::POST]
            .iter()
            .any(|simple| simple.as_str().as_bytes() == method.as_bytes());
        if let Some(origin) = self.allowed(headers).filter(|_| is_simple) {
            told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            told.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            for names in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
                told.append(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            told.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            told.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
        Some(answer)
    }
}

/// Whether a browser asks beforehand, on behalf of a page that speaks gRPC-Web.
pub(super) fn is_question(request: &Request<Body>) -> bool {
    let asks = |names: &HeaderValue| {
        names.as_bytes().windows(MARK.len()).any(|part| part.eq_ignore_ascii_case(MARK.as_bytes()))
    };
    request.method() == Method::OPTIONS
        && request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).is_some_and(asks)
}

/// Tells the browser that the page may see the answer, and which of its fields.
pub(super) fn mark(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.retain(|name| !matches!(*name, "grpc-status" | "grpc-message"));
    names.extend(["grpc-status", "grpc-message"]);
    if let Ok(value) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, value);
    }
}
