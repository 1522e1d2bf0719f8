//! `headers`: sets and removes fields of requests and answers, CORS, security headers.

mod cors;
mod custom;
mod secure;
mod settings;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderValue, Request, Response, header};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange};

pub(super) use settings::Settings;

/// The step.
pub struct Step(Box<Parts>);

struct Parts {
    request: custom::RequestEdits,
    response: custom::Edits,
    cors: Option<cors::Cors>,
    secure: Option<secure::Secure>,
}

/// What the answer's fields depend on.
pub struct Memo {
    origin: Option<HeaderValue>,
    over_tls: bool,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = Memo;

    const DEPRECATED: &'static [(&'static str, &'static str)] = &[
        ("sslRedirect", "use the middleware `redirectScheme`"),
        ("sslTemporaryRedirect", "use the middleware `redirectScheme`"),
        ("sslHost", "use the middleware `redirectRegex`"),
        ("sslForceHost", "use the middleware `redirectRegex`"),
        ("featurePolicy", "use `permissionsPolicy`"),
    ];

    fn remarks(settings: &Settings) -> Vec<String> {
        custom::remarks(settings)
    }

    fn patterns(settings: &Settings) -> Vec<&str> {
        settings.access_control_allow_origin_list_regex.iter().map(String::as_str).collect()
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        let cors = cors::Cors::build(settings)?;
        let secure = secure::Secure::build(settings)?;
        let has_edits = !settings.custom_request_headers.is_empty()
            || !settings.custom_response_headers.is_empty();
        if cors.is_none() && secure.is_none() && !has_edits {
            return Err("headers configuration not valid".to_owned());
        }
        Ok(Self(Box::new(Parts {
            request: custom::RequestEdits::build(&settings.custom_request_headers)?,
            response: custom::Edits::for_responses(&settings.custom_response_headers)?,
            cors,
            secure,
        })))
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Memo> {
        let parts = &*self.0;
        if let Some(answer) = parts.cors.as_ref().and_then(|cors| cors.preflight(request)) {
            return Flow::Respond(answer);
        }
        parts.request.apply(exchange, request);
        let mut memo = Memo { origin: None, over_tls: false };
        if parts.cors.is_some() {
            memo.origin = request.headers().get(header::ORIGIN).cloned();
        }
        if let Some(secure) = &parts.secure {
            memo.over_tls = secure.is_over_tls(exchange, request.headers());
            if !secure.allows_host(request) {
                let mut answer = secure::bad_host();
                parts.after_security(&memo, answer.headers_mut());
                return Flow::Respond(answer);
            }
        }
        Flow::After(memo)
    }

    fn response(&self, memo: Memo, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        if let Some(secure) = &self.0.secure {
            secure.apply(memo.over_tls, headers);
        }
        self.0.after_security(&memo, headers);
    }
}

impl Parts {
    /// As Traefik: a user's own fields win over the security headers, CORS over both.
    fn after_security(&self, memo: &Memo, headers: &mut HeaderMap) {
        self.response.apply(headers);
        if let Some(cors) = &self.cors {
            cors.apply(memo.origin.as_ref(), headers);
        }
    }
}
