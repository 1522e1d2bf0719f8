//! The proxy's own answers, as Traefik words them.

use http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};

use crate::message::{Body, plain};
use crate::upstream::Cause;

/// No server can be asked. Differs from Traefik in `Retry-After`.
pub(super) fn unavailable() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "no available server\n");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A server was asked and gave no answer. As Traefik: no Content-Type.
pub(super) fn failed(cause: &Cause) -> Response<Body> {
    match cause {
        Cause::Unreachable(_) => plain(StatusCode::BAD_GATEWAY, "Bad Gateway"),
        Cause::TimedOut => plain(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout"),
        Cause::Garbage(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        Cause::Client(_) => client_failed(),
    }
}

/// The client's body failed or stalled. Mostly nobody reads this any more.
pub(super) fn client_failed() -> Response<Body> {
    plain(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout")
}

/// The body is larger than may be kept to be sent again.
pub(super) fn too_large() -> Response<Body> {
    let mut response = plain(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large\n");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_without_a_server_has_fields() {
        let answer = unavailable();

        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers().len(), 3);
        for (cause, status) in [
            (Cause::Unreachable(std::io::ErrorKind::ConnectionRefused.into()), 502),
            (Cause::TimedOut, 504),
            (Cause::Garbage(String::new()), 500),
        ] {
            let answer = failed(&cause);

            assert_eq!(answer.status(), status);
            assert!(answer.headers().is_empty());
        }
    }
}
