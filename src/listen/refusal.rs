//! The proxy's own answers to requests that reach no service.

use http::header::{CONNECTION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use crate::message::{Body, plain};

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No router wants it.
    NotFound,
    /// A path that is none, or holds an escape that is refused.
    Target,
    /// A message at odds with itself.
    Request,
    /// A field whose name aliases another.
    Alias,
    /// CONNECT.
    Connect,
    /// More fields than are taken.
    Fields,
    /// An expectation other than 100-continue.
    Expectation,
    /// `OPTIONS *`: answered here, and well.
    Options,
    /// The connection's TLS options are not those of the host.
    Misdirected,
}

impl Refusal {
    /// The answer, as Traefik words it.
    pub(super) fn response(self) -> Response<Body> {
        match self {
            Self::NotFound => with_text(StatusCode::NOT_FOUND, "404 page not found\n"),
            Self::Target => plain(StatusCode::BAD_REQUEST, ""),
            Self::Request => closing(StatusCode::BAD_REQUEST, "400 Bad Request"),
            Self::Alias => with_text(StatusCode::BAD_REQUEST, "Bad Request\n"),
            Self::Connect => closing(StatusCode::NOT_IMPLEMENTED, ""),
            Self::Fields => closing(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "431 Request Header Fields Too Large",
            ),
            Self::Expectation => closing(StatusCode::EXPECTATION_FAILED, ""),
            Self::Options => plain(StatusCode::OK, ""),
            Self::Misdirected => {
                with_text(StatusCode::MISDIRECTED_REQUEST, "Misdirected Request\n")
            }
        }
    }
}

/// As Go's `http.Error`.
fn with_text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = plain(status, text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The last answer on an HTTP/1 connection.
fn closing(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = plain(status, text);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
