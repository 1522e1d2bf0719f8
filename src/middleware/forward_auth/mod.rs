//! `forwardAuth`: asks another server about each request. A 2xx lets it pass, with fields
//! that the server adds; any other answer is the client's.

mod answer;
mod location;
mod question;
mod server;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::identity::Fields;
use super::{Flow, Middleware, Rest};
use crate::message::{Body, Collected, Collecting, Exchange, plain};
use crate::rule::regexp;
use crate::upstream::{self, Cause, SendError};
use question::Questions;
use server::AuthServer;

pub(super) use settings::Settings;

/// From the question to the end of the answer, as in Traefik.
const LIMIT: Duration = Duration::from_secs(30);

/// Most bytes of an answer where `maxResponseBodySize` is not set. Differs from Traefik,
/// which has no limit then and warns (F5).
const ANSWER_LIMIT: u64 = 1 << 20;

/// The step.
pub struct Step(Box<Parts>);

struct Parts {
    /// `None`: the address is none, and every request gets 500.
    server: Option<Arc<AuthServer>>,
    questions: Questions,
    /// What of the answer replaces the request's.
    fields: Option<Arc<Fields>>,
    /// Cookies of the answer that go to the client.
    cookies: Box<[String]>,
    /// The field of the answer that names the user to the access log.
    header_field: Option<HeaderName>,
    forward_body: bool,
    body_limit: Option<u64>,
    answer_limit: Option<u64>,
    preserve_location: bool,
    sign_in: Option<HeaderValue>,
}

/// A whole answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Collected,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn remarks(settings: &Settings) -> Vec<String> {
        settings.remarks()
    }

    fn patterns(settings: &Settings) -> Vec<&str> {
        vec![&settings.auth_response_headers_regex]
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        let pattern = match settings.auth_response_headers_regex.as_str() {
            "" => None,
            source => Some(regexp::compile(source).map_err(|error| {
                format!("error compiling regular expression {source}: {error}")
            })?),
        };
        let names = settings::names(&settings.auth_response_headers);
        let has_fields = pattern.is_some() || !names.is_empty();
        let limit = |size: i64| u64::try_from(size).ok();
        let sign_in = match settings.auth_signin_url.as_str() {
            "" => None,
            url => Some(
                HeaderValue::from_str(url)
                    .map_err(|_| format!("authSigninURL {url:?} cannot be a header value"))?,
            ),
        };
        Ok(Self(Box::new(Parts {
            server: AuthServer::of(settings)?,
            questions: Questions::new(settings),
            fields: has_fields.then(|| Arc::new(Fields { names, pattern })),
            cookies: settings.add_auth_cookies_to_response.clone().into_boxed_slice(),
            header_field: HeaderName::from_bytes(settings.header_field.as_bytes()).ok(),
            forward_body: settings.forward_body,
            body_limit: limit(settings.max_body_size),
            answer_limit: settings.max_response_body_size.map_or(Some(ANSWER_LIMIT), limit),
            preserve_location: settings.preserve_location_header,
            sign_in,
        })))
    }

    fn request(&self, _: &mut Exchange, _: &mut Request<Body>) -> Flow<Self::Memo> {
        if self.0.cookies.is_empty() { Flow::Wait } else { Flow::Around }
    }

    async fn wait(
        &self,
        exchange: &mut Exchange,
        request: &mut Request<Body>,
    ) -> Result<(), Response<Body>> {
        self.0.decide(exchange, request).await.map(drop)
    }

    async fn around(
        &self,
        exchange: &mut Exchange,
        mut request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        let answer = match self.0.decide(exchange, &mut request).await {
            Ok(answer) => answer,
            Err(refusal) => return refusal,
        };
        let mut response = rest.run(exchange, request).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            && answer.headers.contains_key(SET_COOKIE)
        {
            answer::set_cookies(&self.0.cookies, &answer.headers, response.headers_mut());
        }
        response
    }
}

impl Parts {
    /// Asks, and makes the request fit to go on; an error is what the client gets.
    async fn decide(
        &self,
        exchange: &mut Exchange,
        request: &mut Request<Body>,
    ) -> Result<Answer, Response<Body>> {
        let Some(server) = &self.server else {
            return Err(failed());
        };
        let body = self.collect(request).await?;
        let depth = exchange.trace.as_ref().map_or(0, |trace| trace.depth());
        let answer = self.ask(server, exchange, request, body.as_ref());
        let answer = tokio::time::timeout(LIMIT, answer).await;
        if let Some(trace) = &mut exchange.trace {
            trace.leave(depth);
        }
        let Ok(answer) = answer else {
            tracing::debug!(address = server.address(), "no answer in 30 s");
            return Err(failed());
        };
        let answer = answer?;
        if let Some(field) = &self.header_field
            && let Some(user) = answer.headers.get(field)
        {
            exchange.user = Some(String::from_utf8_lossy(user.as_bytes()).into());
        }
        if !answer.status.is_success() {
            return Err(self.refuse(server, answer));
        }
        if let Some(fields) = &self.fields {
            fields.take_out(request);
            let headers = request.headers_mut();
            for (name, value) in &answer.headers {
                if fields.holds(name) {
                    headers.append(name, value.clone());
                }
            }
        }
        Ok(answer)
    }

    /// Reads the request's body whole where it is to be sent, and puts it back.
    async fn collect(
        &self,
        request: &mut Request<Body>,
    ) -> Result<Option<Collected>, Response<Body>> {
        if !self.forward_body || http_body::Body::is_end_stream(request.body()) {
            return Ok(None);
        }
        let body = std::mem::take(request.body_mut());
        match Collected::read(body, self.body_limit).await {
            Ok(Collecting::Whole(whole)) => {
                *request.body_mut() = whole.body();
                Ok(Some(whole))
            }
            Ok(Collecting::TooLong(_)) => Err(plain(StatusCode::UNAUTHORIZED, "")),
            Err(_) => Err(failed()),
        }
    }

    async fn ask(
        &self,
        server: &AuthServer,
        exchange: &mut Exchange,
        request: &Request<Body>,
        body: Option<&Collected>,
    ) -> Result<Answer, Response<Body>> {
        // As Go: once more when the server closed the connection just when it was used.
        let mut may_repeat = self.questions.method(request).is_idempotent();
        loop {
            let mut question = self.questions.about(server, exchange, request, body);
            let asked_gzip = upstream::gzip::ask(&mut question);
            if let Some(trace) = &mut exchange.trace {
                trace.send_as("AuthRequest", &mut question, server.address(), 0);
            }
            let cause = match upstream::send(server, None, question).await {
                Ok(reply) => return self.read(reply, asked_gzip).await,
                Err(SendError::Sent(cause)) if may_repeat && is_broken(&cause) => {
                    may_repeat = false;
                    continue;
                }
                Err(SendError::Sent(cause) | SendError::NotSent(_, cause)) => cause,
            };
            tracing::debug!(address = server.address(), %cause, "no answer");
            return Err(failed());
        }
    }

    async fn read(
        &self,
        reply: upstream::Reply,
        asked_gzip: bool,
    ) -> Result<Answer, Response<Body>> {
        let upstream::Reply { mut response, lease } = reply;
        if asked_gzip {
            response = upstream::gzip::decode(response);
        }
        let (head, body) = response.into_parts();
        match Collected::read(body, self.answer_limit).await {
            Ok(Collecting::Whole(body)) => {
                lease.finish();
                Ok(Answer { status: head.status, headers: head.headers, body })
            }
            Ok(Collecting::TooLong(_)) => Err(plain(StatusCode::UNAUTHORIZED, "")),
            Err(error) => {
                tracing::debug!(%error, "the answer broke off");
                Err(failed())
            }
        }
    }

    fn refuse(&self, server: &AuthServer, answer: Answer) -> Response<Body> {
        match &self.sign_in {
            Some(url) if answer.status == StatusCode::UNAUTHORIZED => answer::sign_in(url.clone()),
            Some(_) | None => {
                let base = (!self.preserve_location).then_some(server.base());
                answer::refusal(answer, base).unwrap_or_else(failed)
            }
        }
    }
}

/// Whatever goes wrong denies (F5).
fn failed() -> Response<Body> {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "")
}

/// The connection ended, rather than an answer that is wrong or late.
fn is_broken(cause: &Cause) -> bool {
    matches!(cause, Cause::Unreachable(error) if error.kind() != std::io::ErrorKind::InvalidData)
}
