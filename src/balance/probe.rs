//! One active health check of one server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION, TE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;

use super::settings::HealthCheckSettings;
use crate::message::Body;
use crate::upstream::{self, Reply, SendError, Server, Transport};

/// Redirects followed, as by Go's client.
const MAX_REDIRECTS: usize = 10;

/// Read of an answer's body, so that the connection can be used again.
const MAX_BODY: usize = 64 << 10;

/// A request of gRPC's health protocol for the server as a whole: an empty message.
const GRPC_REQUEST: &[u8] = &[0, 0, 0, 0, 0];
/// The answer's message: field 1, status, is 1, SERVING.
const GRPC_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

const AGENT: HeaderValue = HeaderValue::from_static(concat!("Wharf/", env!("CARGO_PKG_VERSION")));

/// Asks a server how it is. The error says in plain words what was wrong.
pub(super) async fn probe(
    url: &str,
    transport: &Arc<Transport>,
    settings: &HealthCheckSettings,
) -> Result<(), String> {
    let limit = timeout(settings);
    match tokio::time::timeout(limit, ask(url, transport, settings)).await {
        Ok(verdict) => verdict,
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// The time a probe may take. As Traefik: a useless one means the default.
pub(super) fn timeout(settings: &HealthCheckSettings) -> Duration {
    if settings.timeout.is_zero() { Duration::from_secs(5) } else { settings.timeout }
}

async fn ask(
    url: &str,
    transport: &Arc<Transport>,
    settings: &HealthCheckSettings,
) -> Result<(), String> {
    let mut target = target(url, settings)?;
    let mut server = Server::parse(&target.to_string(), false, transport)?;
    if settings.grpc {
        return serving(send(&server, grpc_request(settings)?).await?).await;
    }
    let mut method = if settings.method.is_empty() {
        Method::GET
    } else {
        settings.method.parse().map_err(|_| format!("no such method: {:?}", settings.method))?
    };
    for _ in 0..=MAX_REDIRECTS {
        let reply = send(&server, request(&method, &target, settings)?).await?;
        let status = reply.response.status();
        let next = if settings.follow_redirects { next(&target, &reply.response) } else { None };
        drain(reply).await;
        if next.as_ref().is_some_and(is_link_local) {
            // A container must not have the proxy ask a cloud's metadata service.
            return Err(format!("{} redirects to a link-local address", target.path()));
        }
        let Some(next) = next else { return verdict(&method, &target, status, settings.status) };
        if next.authority() != target.authority() || next.scheme() != target.scheme() {
            server = Server::parse(&next.to_string(), false, transport)?;
        }
        // As Go: what is no GET or HEAD becomes a GET, but for 307 and 308.
        let keeps = matches!(status.as_u16(), 307 | 308) || method == Method::HEAD;
        method = if keeps { method } else { Method::GET };
        target = next;
    }
    Err(format!("more than {MAX_REDIRECTS} redirects"))
}

fn verdict(method: &Method, target: &Uri, status: StatusCode, wanted: i64) -> Result<(), String> {
    let is_healthy = match wanted {
        0 => (200..400).contains(&status.as_u16()),
        wanted => i64::from(status.as_u16()) == wanted,
    };
    if is_healthy {
        return Ok(());
    }
    let wanted = if wanted == 0 { "200 to 399".to_owned() } else { wanted.to_string() };
    Err(format!("{method} {} answered {}; wanted {wanted}", target.path(), status.as_u16()))
}

/// The server's URL with the scheme, port and path of the check.
fn target(url: &str, settings: &HealthCheckSettings) -> Result<Uri, String> {
    let server: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let authority = server.authority().ok_or_else(|| format!("{url}: no host"))?;
    let scheme = match (settings.scheme.as_str(), server.scheme_str().unwrap_or("http")) {
        // gRPC is HTTP/2, also in the clear.
        ("" | "http", "http") | ("http", _) if settings.grpc => "h2c",
        ("", own) => own,
        (given, _) => given,
    };
    let written = authority.as_str().rsplit('@').next().unwrap_or_default();
    let place = match settings.port {
        0 => written.to_owned(),
        port => format!("{}:{port}", authority.host()),
    };
    let path = if settings.path.is_empty() { server.path() } else { &settings.path };
    if path.contains("://") || path.starts_with("//") {
        return Err(format!("healthCheck.path {path:?} must be relative"));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let text = format!("{scheme}://{place}{slash}{path}");
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn request(
    method: &Method,
    target: &Uri,
    settings: &HealthCheckSettings,
) -> Result<Request<Body>, String> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.clone();
    let path = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|error| format!("{path}: {error}"))?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    for (name, value) in &settings.headers {
        let bad = || format!("healthCheck.headers.{name}: not a header field");
        let name: HeaderName = name.parse().map_err(|_| bad())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    let own = target.authority().map_or("", http::uri::Authority::as_str);
    let host = if settings.hostname.is_empty() { own } else { &settings.hostname };
    if !headers.contains_key(HOST) || !settings.hostname.is_empty() {
        let value = HeaderValue::from_str(host).map_err(|_| format!("{host:?}: no host name"))?;
        headers.insert(HOST, value);
    }
    Ok(request)
}

fn grpc_request(settings: &HealthCheckSettings) -> Result<Request<Body>, String> {
    let target = Uri::from_static("/grpc.health.v1.Health/Check");
    let mut request = request(&Method::POST, &target, settings)?;
    if settings.hostname.is_empty() {
        request.headers_mut().remove(HOST);
    }
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    let kind = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    *request.body_mut() = Body::from(Bytes::from_static(GRPC_REQUEST));
    Ok(request)
}

async fn serving(reply: Reply) -> Result<(), String> {
    let status = reply.response.status();
    if status != StatusCode::OK {
        return Err(format!("gRPC health check answered HTTP {}", status.as_u16()));
    }
    let in_head = reply.response.headers().get("grpc-status").cloned();
    let body = http_body_util::Limited::new(reply.response.into_body(), MAX_BODY);
    let body = body.collect().await.map_err(|error| format!("gRPC health check: {error}"))?;
    let in_trailers = body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned());
    match in_trailers.or(in_head).as_ref().map(HeaderValue::as_bytes) {
        Some(b"0") if body.to_bytes() == GRPC_SERVING => Ok(()),
        Some(b"0") => Err("gRPC health check: not serving".to_owned()),
        Some(b"12") => Err("the server does not speak the gRPC health protocol".to_owned()),
        status => {
            let status = String::from_utf8_lossy(status.unwrap_or(b"missing"));
            Err(format!("gRPC health check: status {status}"))
        }
    }
}

async fn send(server: &Server, request: Request<Body>) -> Result<Reply, String> {
    upstream::send(server, None, request).await.map_err(|error| match error {
        SendError::NotSent(_, cause) | SendError::Sent(cause) => cause.to_string(),
    })
}

/// Where a redirect leads; `None` when it is none, or one that can't be followed.
fn next(from: &Uri, response: &Response<Body>) -> Option<Uri> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let text = if location.contains("://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{}://{rest}", from.scheme_str()?)
    } else {
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        format!("{}://{}{path}", from.scheme_str()?, from.authority()?)
    };
    text.split('#').next()?.parse().ok()
}

fn is_link_local(target: &Uri) -> bool {
    let host = target.host().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_link_local())
        }
        Err(_) => false,
    }
}

async fn drain(reply: Reply) {
    let Reply { response, lease } = reply;
    let body = http_body_util::Limited::new(response.into_body(), MAX_BODY);
    if body.collect().await.is_ok() {
        lease.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> HealthCheckSettings {
        HealthCheckSettings {
            grpc: false,
            scheme: String::new(),
            port: 0,
            path: "/health".to_owned(),
            method: String::new(),
            status: 0,
            hostname: String::new(),
            headers: Vec::new(),
            follow_redirects: true,
            interval: Duration::ZERO,
            unhealthy_interval: Duration::ZERO,
            timeout: Duration::ZERO,
        }
    }

    #[test]
    fn the_target_is_the_servers_with_what_the_check_says() {
        let with = |change: fn(&mut HealthCheckSettings)| {
            let mut settings = settings();
            change(&mut settings);
            target("http://10.0.0.1:80/base", &settings).map(|uri| uri.to_string())
        };

        assert_eq!(with(|_| ()).unwrap(), "http://10.0.0.1:80/health");
        assert_eq!(with(|s| s.path = "up?x=1".into()).unwrap(), "http://10.0.0.1:80/up?x=1");
        assert_eq!(with(|s| s.path = String::new()).unwrap(), "http://10.0.0.1:80/base");
        assert_eq!(with(|s| s.port = 81).unwrap(), "http://10.0.0.1:81/health");
        assert_eq!(with(|s| s.scheme = "https".into()).unwrap(), "https://10.0.0.1:80/health");
        assert_eq!(with(|s| s.grpc = true).unwrap(), "h2c://10.0.0.1:80/health");
        assert!(with(|s| s.path = "http://evil/".into()).is_err());
        assert!(with(|s| s.path = "//evil/".into()).is_err());
    }

    #[test]
    fn the_verdict_follows_the_wanted_status() {
        let target = Uri::from_static("http://a/health");
        let healthy = |status: u16, wanted| {
            verdict(&Method::GET, &target, StatusCode::from_u16(status).unwrap(), wanted).is_ok()
        };

        assert!(healthy(200, 0) && healthy(399, 0) && healthy(503, 503));
        assert!(!healthy(400, 0) && !healthy(199, 0) && !healthy(200, 204));
    }

    #[test]
    fn redirects_are_resolved() {
        let from = Uri::from_static("http://a:81/x/y");
        for (location, wanted) in [
            ("/z", "http://a:81/z"),
            ("z?q", "http://a:81/x/z?q"),
            ("//b/z", "http://b/z"),
            ("https://b/z#f", "https://b/z"),
        ] {
            let response =
                Response::builder().status(302).header(LOCATION, location).body(Body::empty());

            assert_eq!(next(&from, &response.unwrap()).unwrap().to_string(), wanted);
        }
        assert_eq!(next(&from, &Response::new(Body::empty())), None);
    }

    #[test]
    fn link_local_addresses_are_told() {
        for (target, is_so) in [
            ("http://169.254.169.254/latest", true),
            ("http://[fe80::1]/", true),
            ("http://[::ffff:169.254.1.1]:80/", true),
            ("http://10.0.0.1/", false),
            ("http://example.com/", false),
        ] {
            assert_eq!(is_link_local(&target.parse().unwrap()), is_so, "{target}");
        }
    }
}
