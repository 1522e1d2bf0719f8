//! A collector: where it is, and one request to it, over HTTP or gRPC.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Limited};

use crate::message::Body;
use crate::otlp::{self, Resource, Signal};
use crate::settings::{Collector, CollectorGrpc, CollectorHttp, CollectorTls};
use crate::upstream::{self, SendError, Server, Transport, TransportSettings};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("Wharf/", env!("CARGO_PKG_VERSION")));
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// Read of a collector's answer.
const MAX_BODY: usize = 64 << 10;

/// A collector, and who tells it what.
#[derive(Debug)]
pub struct Target {
    signal: Signal,
    resource: Resource,
    server: Server,
    url: String,
    path: Uri,
    fields: HeaderMap,
    is_grpc: bool,
}

/// Why a collector did not take something.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    /// It may take it later; when, where it said so.
    pub(super) is_worth_another: bool,
    pub(super) pause: Option<Duration>,
}

impl Failure {
    pub(super) fn again(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_worth_another: true, pause: None }
    }
}

impl Target {
    /// The collector of these settings. The error names the option.
    pub fn new(
        option: &str,
        signal: Signal,
        collector: Option<&Collector>,
        resource: Resource,
    ) -> Result<Self, String> {
        let grpc = collector.and_then(|collector| collector.grpc.as_ref());
        let made = if let Some(grpc) = grpc {
            Self::grpc(signal, grpc, resource).map_err(|error| format!("{option}.grpc.{error}"))
        } else {
            let http = collector.and_then(|collector| collector.http.clone());
            Self::http(signal, &http.unwrap_or_default(), resource)
                .map_err(|error| format!("{option}.http.{error}"))
        };
        made.map_err(|error| format!("{error}; mend it, or remove {option}"))
    }

    fn http(signal: Signal, http: &CollectorHttp, resource: Resource) -> Result<Self, String> {
        let bad = |why: &str| format!("endpoint {:?}: {why}", http.endpoint);
        let uri: Uri = http.endpoint.parse().map_err(|_| bad("no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("begins with neither http:// nor https://"));
        }
        let transport = transport(http.tls.as_ref(), true)?;
        let server = Server::parse(&http.endpoint, false, &transport).map_err(|why| bad(&why))?;
        let written = http.endpoint.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let path = if written.is_some() { uri.path() } else { signal.path() };
        let mut fields = fields(&http.headers)?;
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        fields.insert(CONTENT_ENCODING, GZIP);
        let url = format!("{}://{}{path}", uri.scheme_str().unwrap_or_default(), server.address);
        let path = path.parse().map_err(|_| bad("a bad path"))?;
        Ok(Self { signal, resource, server, url, path, fields, is_grpc: false })
    }

    fn grpc(signal: Signal, grpc: &CollectorGrpc, resource: Resource) -> Result<Self, String> {
        let bad = |why: &str| format!("endpoint {:?}: {why}", grpc.endpoint);
        if grpc.endpoint.contains('/') || !grpc.endpoint.contains(':') {
            return Err(bad("not host:port, such as localhost:4317"));
        }
        let transport = transport(grpc.tls.as_ref(), false)?;
        let scheme = if grpc.insecure { "h2c" } else { "https" };
        let url = format!("{scheme}://{}", grpc.endpoint);
        let server = Server::parse(&url, false, &transport).map_err(|why| bad(&why))?;
        let mut fields = fields(&grpc.headers)?;
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(GRPC_ENCODING, GZIP);
        fields.insert(TE, HeaderValue::from_static("trailers"));
        let path = Uri::from_static(signal.method());
        Ok(Self { signal, resource, server, url, path, fields, is_grpc: true })
    }

    /// What it is told.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Has the connection closed before the next one is asked for something.
    pub(super) fn reconnect(&self) {
        self.server.retire();
    }

    /// Sends these items once.
    pub(super) async fn send(&self, items: &[u8]) -> Result<(), Failure> {
        self.server.restore();
        let request = self.request(&otlp::export(&self.resource, self.signal, items));
        let sent = upstream::send(&self.server, None, request).await;
        let reply = sent.map_err(|failure| {
            let (SendError::NotSent(_, cause) | SendError::Sent(cause)) = failure;
            Failure::again(cause.to_string())
        })?;
        let (head, body) = reply.response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        match body {
            Ok(body) if self.is_grpc => {
                reply.lease.finish();
                grpc_verdict(head.status, &head.headers, body.trailers())
            }
            Ok(_) => {
                reply.lease.finish();
                http_verdict(head.status, &head.headers)
            }
            Err(error) => Err(Failure::again(error.to_string())),
        }
    }

    fn request(&self, message: &[u8]) -> Request<Body> {
        let packed = packed(message);
        let bytes = if self.is_grpc {
            let mut frame = Vec::with_capacity(packed.len() + 5);
            // It is packed; its length in four bytes.
            frame.push(1);
            frame.extend_from_slice(&u32::try_from(packed.len()).unwrap_or(u32::MAX).to_be_bytes());
            frame.extend_from_slice(&packed);
            frame
        } else {
            packed
        };
        let length = HeaderValue::from(bytes.len());
        let mut request = Request::new(Body::from(Bytes::from(bytes)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.server.host_value().clone());
        headers.insert(USER_AGENT, AGENT);
        headers.extend(self.fields.clone());
        if !self.is_grpc {
            headers.insert(CONTENT_LENGTH, length);
        }
        request
    }
}

fn packed(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), Compression::fast());
    // Writing to a vector does not fail.
    let _ = encoder.write_all(message);
    encoder.finish().unwrap_or_default()
}

fn fields(written: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for (name, value) in written {
        let bad = || format!("headers.{name}: not a header field");
        let parsed: HeaderName = name.parse().map_err(|_| bad())?;
        fields.insert(parsed, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    Ok(fields)
}

fn transport(tls: Option<&CollectorTls>, http1: bool) -> Result<std::sync::Arc<Transport>, String> {
    let mut settings = TransportSettings {
        disable_http2: http1,
        max_idle_per_server: 1,
        dial_timeout: Some(Duration::from_secs(10)),
        ..TransportSettings::default()
    };
    if let Some(tls) = tls {
        settings.insecure_skip_verify = tls.insecure_skip_verify;
        settings.root_cas.extend((!tls.ca.is_empty()).then(|| tls.ca.clone()));
        match (tls.cert.is_empty(), tls.key.is_empty()) {
            (true, true) => {}
            (false, false) => settings.certificates.push((tls.cert.clone(), tls.key.clone())),
            (true, false) | (false, true) => {
                return Err("tls: cert and key need each other".to_owned());
            }
        }
    }
    Transport::build(&settings).map_err(|error| format!("tls: {error}"))
}

/// OTLP over HTTP: 429, 502, 503 and 504 may be tried again.
fn http_verdict(status: http::StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Failure {
        text: format!("status {}", status.as_u16()),
        is_worth_another: matches!(status.as_u16(), 429 | 502 | 503 | 504),
        pause: after.map(Duration::from_secs),
    })
}

/// OTLP over gRPC: what says that it may pass is tried again.
fn grpc_verdict(
    status: http::StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
) -> Result<(), Failure> {
    let find = |name: &HeaderName| {
        let field = trailers.and_then(|trailers| trailers.get(name)).or_else(|| headers.get(name));
        field.map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let code = find(&GRPC_STATUS).and_then(|text| text.parse::<u32>().ok());
    match code {
        Some(0) => Ok(()),
        None => Err(Failure {
            text: format!("status {} without a gRPC status", status.as_u16()),
            is_worth_another: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            pause: None,
        }),
        Some(code) => {
            let message = find(&GRPC_MESSAGE).unwrap_or(Cow::Borrowed(""));
            // Cancelled, deadline, exhausted, aborted, out of range, unavailable, data loss.
            let is_worth_another = matches!(code, 1 | 4 | 8 | 10 | 11 | 14 | 15);
            let text = format!("gRPC status {code} {message}");
            Err(Failure { text, is_worth_another, pause: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Resource {
        Resource::new("traefik", &BTreeMap::new(), |_| None)
    }

    fn http(endpoint: &str) -> Result<Target, String> {
        let http = CollectorHttp { endpoint: endpoint.to_owned(), ..Default::default() };
        let collector = Collector { http: Some(http), grpc: None };
        Target::new("tracing.otlp", Signal::Traces, Some(&collector), resource())
    }

    #[test]
    fn an_endpoint_without_a_path_gets_the_signals() {
        for (endpoint, url) in [
            ("https://localhost:4318", "https://localhost:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/"),
            ("http://c/custom/path", "http://c/custom/path"),
        ] {
            assert_eq!(http(endpoint).unwrap().url(), url);
        }
    }

    #[test]
    fn an_endpoint_that_is_none_is_named_with_its_option() {
        for endpoint in ["localhost:4318", "ftp://c", "", "http://"] {
            let error = http(endpoint).unwrap_err();
            assert!(error.starts_with("tracing.otlp.http.endpoint"), "{error}");
        }
        for endpoint in ["localhost", "http://localhost:4317", "localhost:x"] {
            let grpc = CollectorGrpc { endpoint: endpoint.to_owned(), ..Default::default() };
            let collector = Collector { http: None, grpc: Some(grpc) };
            let error = Target::new("tracing.otlp", Signal::Traces, Some(&collector), resource());
            let error = error.unwrap_err();
            assert!(error.starts_with("tracing.otlp.grpc.endpoint"), "{error}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let status = |code: u16| http::StatusCode::from_u16(code).unwrap();
        for (code, again) in [(400, false), (401, false), (429, true), (500, false), (503, true)] {
            let failure = http_verdict(status(code), &HeaderMap::new()).unwrap_err();
            assert_eq!(failure.is_worth_another, again, "{code}");
        }
        for (code, again) in [("3", false), ("14", true), ("16", false)] {
            let mut trailers = HeaderMap::new();
            trailers.insert(GRPC_STATUS, HeaderValue::from_static(code));
            let failure = grpc_verdict(status(200), &HeaderMap::new(), Some(&trailers));
            assert_eq!(failure.unwrap_err().is_worth_another, again, "{code}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        assert!(grpc_verdict(status(200), &headers, None).is_ok());
    }

    #[test]
    fn a_pause_that_is_asked_for_is_known() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        let failure = http_verdict(http::StatusCode::SERVICE_UNAVAILABLE, &headers).unwrap_err();

        assert_eq!(failure.pause, Some(Duration::from_secs(7)));
    }
}
