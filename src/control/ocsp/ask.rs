//! One question to one responder over HTTP (RFC 6960, appendix A), bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Uri};

use crate::message::{Body, Collected, Collecting};
use crate::upstream::{self, SendError, Server, Transport};

/// Largest answer read; with a delegate's certificate it is some two kilobytes.
const MAX_ANSWER: u64 = 64 << 10;
/// From the first look-up to the last byte.
const LIMIT: Duration = Duration::from_secs(10);

const AGENT: HeaderValue = HeaderValue::from_static(concat!("Wharf/", env!("CARGO_PKG_VERSION")));
const QUESTION: HeaderValue = HeaderValue::from_static("application/ocsp-request");
const ANSWER: HeaderValue = HeaderValue::from_static("application/ocsp-response");

/// Asks a responder; the answer is not looked into.
pub(super) async fn ask(
    transport: &Arc<Transport>,
    url: &str,
    question: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let asked = tokio::time::timeout(LIMIT, send(transport, url, question)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}

async fn send(transport: &Arc<Transport>, url: &str, question: Vec<u8>) -> Result<Vec<u8>, String> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("it is no http:// or https:// URL".to_owned());
    }
    let server = Server::parse(url, false, transport)?;
    let mut request = Request::new(Body::from(bytes::Bytes::from(question)));
    *request.method_mut() = Method::POST;
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|_| "its path is none".to_owned())?;
    let headers = request.headers_mut();
    headers.insert(HOST, server.host_value().clone());
    headers.insert(USER_AGENT, AGENT);
    headers.insert(CONTENT_TYPE, QUESTION);
    headers.insert(ACCEPT, ANSWER);
    let reply = upstream::send(&server, None, request).await.map_err(|error| {
        let (SendError::NotSent(_, cause) | SendError::Sent(cause)) = error;
        cause.to_string()
    })?;
    let (head, body) = reply.response.into_parts();
    let read = Collected::read(body, Some(MAX_ANSWER)).await;
    drop(reply.lease);
    if !head.status.is_success() {
        return Err(format!("it answers {}", head.status));
    }
    match read {
        Ok(Collecting::Whole(whole)) => Ok(whole.data.into()),
        Ok(Collecting::TooLong(_)) => Err(format!("its answer is over {MAX_ANSWER} bytes")),
        Err(error) => Err(error.to_string()),
    }
}
