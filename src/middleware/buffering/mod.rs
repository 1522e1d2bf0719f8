//! `buffering`: reads requests and answers whole before they are passed on, within limits,
//! and sends a request again where an expression says so.

mod disk;
mod spool;
#[cfg(test)]
mod tests;

use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::predicate::{self, Function, Kind, Predicate, Value};
use super::{Flow, Middleware, Rest, status_text};
use crate::message::{Body, Exchange, Kept, discard, plain, worded};
use crate::tree;
use spool::{Failure, Spooled};

/// Bytes of a body kept in memory where nothing is said.
const IN_MEMORY: u64 = 1024 * 1024;

/// Tries beyond the first, whatever the expression says. As Traefik.
const MOST: i64 = 10;

/// Settings of `buffering`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Largest body of a request; 0: no limit.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub max_request_body_bytes: i64,
    /// Bytes of it kept in memory; more goes to disk. 0: 1 MiB.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub mem_request_body_bytes: i64,
    /// Largest body of an answer; 0: no limit.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub max_response_body_bytes: i64,
    /// Bytes of it kept in memory; more goes to disk. 0: 1 MiB.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub mem_response_body_bytes: i64,
    /// When to send the request again.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub retry_expression: String,
}

/// The step.
pub struct Step {
    request: Limits,
    response: Limits,
    again: Option<Predicate<Call>>,
}

/// How much of a body is taken, and how much of that into memory.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limits {
    most: Option<u64>,
    memory: u64,
}

/// What an expression may ask.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Attempts,
    IsNetworkError,
    RequestMethod,
    ResponseCode,
}

const FUNCTIONS: &[Function<Call>] = &[
    Function {
        name: "IsNetworkError",
        takes: &[],
        gives: Kind::Truth,
        make: |_| Some(Call::IsNetworkError),
    },
    Function { name: "Attempts", takes: &[], gives: Kind::Int, make: |_| Some(Call::Attempts) },
    Function {
        name: "ResponseCode",
        takes: &[],
        gives: Kind::Int,
        make: |_| Some(Call::ResponseCode),
    },
    Function {
        name: "RequestMethod",
        takes: &[],
        gives: Kind::Text,
        make: |_| Some(Call::RequestMethod),
    },
];

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let request = (settings.mem_request_body_bytes, settings.max_request_body_bytes);
        let response = (settings.mem_response_body_bytes, settings.max_response_body_bytes);
        let again = settings.retry_expression.trim();
        let again = (!again.is_empty()).then(|| predicate::parse(again, FUNCTIONS)).transpose()?;
        Ok(Self { request: limits(request)?, response: limits(response)?, again })
    }

    fn request(&self, _: &mut Exchange, _: &mut Request<Body>) -> Flow<Self::Memo> {
        Flow::Around
    }

    async fn around(
        &self,
        exchange: &mut Exchange,
        mut request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        let body = std::mem::take(request.body_mut());
        let body = match Spooled::read(body, self.request).await {
            Ok(body) => body,
            Err(Failure::TooLarge) => return refusal(StatusCode::PAYLOAD_TOO_LARGE),
            Err(failure) => return failed("request", &failure),
        };
        say_length(request.headers_mut(), &body);
        let Some(again) = &self.again else {
            let method = request.method().clone();
            *request.body_mut() = body.body();
            drop(body);
            let response = rest.run(exchange, request).await;
            return self.whole(&method, response).await.unwrap_or_else(|failure| unsound(&failure));
        };
        let kept = Kept::of(&request);
        let method = request.method();
        let mut attempts = 1;
        loop {
            let response = rest.run(exchange, kept.request(body.body())).await;
            let status = response.status();
            let once_more = |status, is_network_error| {
                let outcome = Outcome { attempts, is_network_error, method, status };
                attempts <= MOST && again.holds(&mut |call: &Call| outcome.tell(*call))
            };
            if status == StatusCode::SWITCHING_PROTOCOLS {
                return response;
            }
            if once_more(status, exchange.served.network_error) {
                discard(response.into_body()).await;
            } else {
                match self.whole(method, response).await {
                    Ok(response) => return response,
                    Err(Failure::Peer) if once_more(StatusCode::BAD_GATEWAY, true) => {}
                    Err(failure) => return unsound(&failure),
                }
            }
            attempts += 1;
            exchange.served.try_again();
            rest.count_retry(exchange);
        }
    }
}

impl Step {
    /// The answer with all of its body.
    async fn whole(
        &self,
        method: &Method,
        mut response: Response<Body>,
    ) -> Result<Response<Body>, Failure> {
        let status = response.status();
        let is_bare = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if is_bare || http_body::Body::is_end_stream(response.body()) {
            return Ok(response);
        }
        let body = std::mem::take(response.body_mut());
        let body = Spooled::read(body, self.response).await?;
        say_length(response.headers_mut(), &body);
        *response.body_mut() = body.body();
        Ok(response)
    }
}

/// What became of one try.
struct Outcome<'r> {
    attempts: i64,
    is_network_error: bool,
    method: &'r Method,
    status: StatusCode,
}

impl Outcome<'_> {
    fn tell(&self, call: Call) -> Value {
        match call {
            Call::Attempts => Value::Int(self.attempts),
            Call::IsNetworkError => Value::Truth(self.is_network_error),
            Call::RequestMethod => Value::Text(self.method.as_str().to_owned()),
            Call::ResponseCode => Value::Int(i64::from(self.status.as_u16())),
        }
    }
}

fn limits((memory, most): (i64, i64)) -> Result<Limits, String> {
    let bytes = |name, value: i64| {
        u64::try_from(value).map_err(|_| format!("{name} bytes should be >= 0 got {value}"))
    };
    let (memory, most) = (bytes("mem", memory)?, bytes("max", most)?);
    let memory = if memory == 0 { IN_MEMORY } else { memory };
    Ok(Limits { most: (most > 0).then_some(most), memory })
}

/// The length is known now, however the body came.
fn say_length(headers: &mut HeaderMap, body: &Spooled) {
    if body.has_trailers() || (body.is_empty() && !headers.contains_key(TRANSFER_ENCODING)) {
        return;
    }
    headers.remove(TRANSFER_ENCODING);
    headers.remove(TRAILER);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
}

fn refusal(status: StatusCode) -> Response<Body> {
    worded(plain(status, status_text(status).unwrap_or_default()))
}

/// An answer that can't be passed on. As Traefik, one that is too large is a 500.
fn unsound(failure: &Failure) -> Response<Body> {
    match failure {
        Failure::Peer => refusal(StatusCode::BAD_GATEWAY),
        Failure::TooLarge => refusal(StatusCode::INTERNAL_SERVER_ERROR),
        Failure::NoRoom(_) => failed("answer", failure),
    }
}

fn failed(what: &'static str, failure: &Failure) -> Response<Body> {
    match failure {
        Failure::NoRoom(error) => {
            tracing::warn!(
                "buffering: no room for a {what} on disk or in memory: {error}; give `TMPDIR` a \
                 directory with room, or limit what is buffered"
            );
            refusal(StatusCode::SERVICE_UNAVAILABLE)
        }
        Failure::TooLarge | Failure::Peer => refusal(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
