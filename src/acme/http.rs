//! Calls to an ACME server: bounded in time and size, over the upstream client.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, LINK, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};

use crate::message::{Body, Collected, Collecting};
use crate::settings::Acme;
use crate::upstream::{self, SendError, Server, Transport, TransportSettings};

/// Largest answer read; a chain of certificates is some ten kilobytes.
const MAX_ANSWER: u64 = 1 << 20;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("Wharf/", env!("CARGO_PKG_VERSION")));
const JOSE: HeaderValue = HeaderValue::from_static("application/jose+json");

/// Environment variables that lego, and so Traefik, reads.
const LEGO_ROOTS: &str = "LEGO_CA_CERTIFICATES";
const LEGO_NAME: &str = "LEGO_CA_SERVER_NAME";
const LEGO_SYSTEM: &str = "LEGO_CA_SYSTEM_CERT_POOL";

/// How to talk to one ACME server.
#[derive(Debug)]
pub(super) struct Http {
    transport: Arc<Transport>,
    limit: Duration,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    fn text(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where what was made can be found.
    pub(super) fn location(&self) -> Option<&str> {
        self.text(LOCATION)
    }

    /// A nonce for the next request.
    pub(super) fn nonce(&self) -> Option<String> {
        self.headers.get("replay-nonce")?.to_str().ok().map(str::to_owned)
    }

    /// How long to wait. Its date form is rare here and read by nobody else either; it
    /// counts as none.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.text(RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
    }

    /// Other chains for the same certificate (RFC 8555, 7.4.2).
    pub(super) fn alternates(&self) -> Vec<String> {
        let lines = self.headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
        let all = lines.flat_map(|line| line.split(','));
        let alternates = all.filter_map(|link| {
            let (target, about) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_alternate = about.split(';').any(|part| {
                part.trim().eq_ignore_ascii_case("rel=\"alternate\"")
                    || part.trim().eq_ignore_ascii_case("rel=alternate")
            });
            is_alternate.then(|| target.to_owned())
        });
        alternates.take(8).collect()
    }
}

impl Http {
    /// What the resolver's settings, or lego's environment variables, say.
    pub(super) fn new(acme: &Acme) -> Result<Self, String> {
        let mut root_cas = acme.ca_certificates.clone();
        let mut with_system = acme.ca_system_cert_pool;
        if root_cas.is_empty()
            && let Ok(files) = std::env::var(LEGO_ROOTS)
        {
            root_cas.extend(files.split(':').filter(|file| !file.is_empty()).map(str::to_owned));
            with_system |= std::env::var(LEGO_SYSTEM).is_ok_and(|text| text == "true");
        }
        let mut server_name = acme.ca_server_name.clone();
        if server_name.is_empty() {
            server_name = std::env::var(LEGO_NAME).unwrap_or_default();
        }
        let header = acme.client_response_header_timeout.positive();
        let transport = Transport::build(&TransportSettings {
            server_name,
            system_roots: with_system,
            root_cas,
            response_header_timeout: header,
            max_idle_per_server: 1,
            ..TransportSettings::default()
        })
        .map_err(|error| error.replace("rootCAs", "caCertificates"))?;
        let limit = acme.client_timeout.positive().unwrap_or(Duration::from_secs(120));
        Ok(Self { transport, limit })
    }

    /// Asks; `body` is a signed request.
    pub(super) async fn call(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
    ) -> Result<Answer, String> {
        match tokio::time::timeout(self.limit, self.send(method, url, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{url}: no answer within {:?}", self.limit)),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
    ) -> Result<Answer, String> {
        let server = Server::parse(url, false, &self.transport)?;
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = path.parse().map_err(|error| format!("{url}: {error}"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, server.host_value().clone());
        headers.insert(USER_AGENT, AGENT);
        if let Some(body) = body {
            headers.insert(CONTENT_TYPE, JOSE);
            *request.body_mut() = body.into();
        }
        let sent = upstream::send(&server, None, request).await;
        let reply = sent.map_err(|error| {
            let (SendError::NotSent(_, cause) | SendError::Sent(cause)) = error;
            format!("{url}: {cause}")
        })?;
        let result = read(url, reply.response).await;
        drop(reply.lease);
        result
    }
}

async fn read(url: &str, response: Response<Body>) -> Result<Answer, String> {
    let (parts, body) = response.into_parts();
    let body = match Collected::read(body, Some(MAX_ANSWER)).await {
        Ok(Collecting::Whole(whole)) => whole.data,
        Ok(Collecting::TooLong(_)) => {
            return Err(format!("{url}: the answer is longer than {MAX_ANSWER} bytes"));
        }
        Err(error) => return Err(format!("{url}: {error}")),
    };
    let body = String::from_utf8(body.into()).map_err(|_| format!("{url}: no UTF-8"))?;
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}
