//! `httpreq`: a server of the operator's, asked as lego asks it: `POST /present` and
//! `POST /cleanup` with `{"fqdn", "value"}`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Uri};
use serde_json::json;

use super::Record;
use super::variables::{Patience, Variables};
use crate::message::Body;
use crate::otlp::unescaped;
use crate::upstream::{self, SendError, Server, Transport, TransportSettings};

/// The server.
pub(super) struct HttpReq {
    endpoint: String,
    server: Server,
    base: String,
    /// With its question mark, or empty.
    query: String,
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
        let uri: Uri = endpoint.parse().map_err(|error| wrong(&error))?;
        // A password or a token in the URL is for the server alone: what is said shows neither.
        let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let scheme = uri.scheme_str().unwrap_or_default();
        let base = uri.path().trim_end_matches('/').to_owned();
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let endpoint = format!("{scheme}://{host}{base}");
        let server = Server::parse(&endpoint, false, &transport).map_err(|error| wrong(&error))?;
        let in_url =
            || login.split_once(':').map(|(user, word)| (unescaped(user), unescaped(word)));
        let told = variables.text("USERNAME")?.zip(variables.text("PASSWORD")?);
        let authorization = match told.or_else(in_url) {
            Some((user, password)) => {
                let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                let mut value = HeaderValue::from_str(&text).map_err(|error| wrong(&error))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let limit = variables.seconds("HTTP_TIMEOUT", 30)?.max(Duration::from_secs(1));
        let patience = variables.patience()?;
        Ok(Self { endpoint, server, base, query, authorization, limit, patience })
    }

    pub(super) async fn call(&self, what: &str, record: &Record) -> Result<(), String> {
        let place = format!("HTTPREQ_ENDPOINT {}/{what}", self.endpoint);
        let body = json!({ "fqdn": record.name, "value": record.value }).to_string();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        let path = format!("{}/{what}{}", self.base, self.query);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &'static str) -> HttpReq {
        let environment = |name: &str| (name == "HTTPREQ_ENDPOINT").then(|| endpoint.to_owned());
        HttpReq::new(&Variables::new(&environment, &["HTTPREQ_"])).unwrap()
    }

    #[test]
    fn a_password_and_a_token_in_the_url_are_sent_and_never_said() {
        let server = of("https://joe:s%40cret@dns.test:8443/hook/?token=abc");

        let sent = server.authorization.as_ref().and_then(|value| value.to_str().ok());
        assert_eq!(sent, Some(&*format!("Basic {}", STANDARD.encode("joe:s@cret"))));
        assert_eq!((&*server.base, &*server.query), ("/hook", "?token=abc"));
        assert_eq!(server.endpoint, "https://dns.test:8443/hook");
        let plain = of("http://dns.test");
        assert_eq!((&*plain.base, &*plain.query, &plain.authorization), ("", "", &None));
    }
}
