//! `httpreq`: a server of the operator's, asked as lego asks it: `POST /present` and
//! `POST /cleanup` with `{"fqdn", "value"}`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Uri};
use serde_json::json;

use super::Record;
use super::variables::{Patience, Variables};
use crate::message::Body;
use crate::upstream::{self, SendError, Server, Transport, TransportSettings};

/// The server.
pub(super) struct HttpReq {
    endpoint: String,
    server: Server,
    base: String,
    authorization: Option<HeaderValue>,
    /// For the server to answer.
    limit: Duration,
    pub(super) patience: Patience,
}

impl std::fmt::Debug for HttpReq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpReq").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl HttpReq {
    pub(super) fn new(variables: &Variables<'_>) -> Result<Self, String> {
        let endpoint = variables
            .text("ENDPOINT")?
            .ok_or("dnsChallenge.provider httpreq: set HTTPREQ_ENDPOINT to the server's URL")?;
        if variables.text("MODE")?.is_some_and(|mode| mode.eq_ignore_ascii_case("raw")) {
            return Err(
                "dnsChallenge.provider httpreq: HTTPREQ_MODE=RAW is not built; unset it".into()
            );
        }
        let wrong = |error: &dyn std::fmt::Display| format!("HTTPREQ_ENDPOINT: {error}");
        let transport = Transport::build(&TransportSettings::default())?;
        let server = Server::parse(&endpoint, false, &transport).map_err(|error| wrong(&error))?;
        let uri: Uri = endpoint.parse().map_err(|error| wrong(&error))?;
        let base = uri.path().trim_end_matches('/').to_owned();
        let authorization = match (variables.text("USERNAME")?, variables.text("PASSWORD")?) {
            (Some(user), Some(password)) => {
                let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                let mut value = HeaderValue::from_str(&text).map_err(|error| wrong(&error))?;
                value.set_sensitive(true);
                Some(value)
            }
            _ => None,
        };
        let limit = variables.seconds("HTTP_TIMEOUT", 30)?.max(Duration::from_secs(1));
        let patience = variables.patience()?;
        Ok(Self { endpoint, server, base, authorization, limit, patience })
    }

    pub(super) async fn call(&self, what: &str, record: &Record) -> Result<(), String> {
        let place = format!("HTTPREQ_ENDPOINT {}/{what}", self.endpoint.trim_end_matches('/'));
        let body = json!({ "fqdn": record.name, "value": record.value }).to_string();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        let path = format!("{}/{what}", self.base);
        *request.uri_mut() = path.parse().map_err(|error| format!("{place}: {error}"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.server.host_value().clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let limit = self.limit;
        let sent = tokio::time::timeout(limit, upstream::send(&self.server, None, request)).await;
        let reply = sent.map_err(|_| format!("{place}: no answer within {limit:?}"))?;
        let reply = reply.map_err(|error| {
            let (SendError::NotSent(_, cause) | SendError::Sent(cause)) = error;
            format!("{place}: {cause}")
        })?;
        match reply.response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("{place} answered {status}")),
        }
    }
}
