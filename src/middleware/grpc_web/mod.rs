//! `grpcWeb`: browsers speak gRPC-Web, servers gRPC. The messages are the same; what
//! browsers can't see, the trailers, becomes a last frame of the body, and where they can't
//! read bytes, the body is base64.

mod body;
mod cors;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::rc::Rc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange, plain};
use body::{Answer, Decoded};
use cors::Cors;

const GRPC: &str = "application/grpc";
const WEB: &str = "application/grpc-web";
const WEB_TEXT: &str = "application/grpc-web-text";

/// Settings of `grpcWeb`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Sites whose pages may ask; `*`: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
}

/// The step.
pub struct Step {
    cors: Cors,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Bytes,
    Base64,
}

/// What is remembered of a request.
pub struct Memo {
    origin: Option<HeaderValue>,
    /// `None`: it was no gRPC-Web.
    form: Option<Form>,
    /// The request's body is no base64.
    is_malformed: Rc<Cell<bool>>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = Memo;

    fn build(settings: &Settings) -> Result<Self, String> {
        Ok(Self { cors: Cors::new(&settings.allow_origins) })
    }

    fn request(&self, _exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let asks = cors::is_question(request);
        if asks && let Some(answer) = self.cors.preflight(request.headers()) {
            return Flow::Respond(answer);
        }
        let form = form(request);
        if form.is_none() && !asks {
            return Flow::Next;
        }
        let origin = self.cors.allowed(request.headers()).cloned();
        let is_malformed = Rc::default();
        if let Some(form) = form {
            to_grpc(request, form, &is_malformed);
        }
        Flow::After(Memo { origin, form, is_malformed })
    }

    fn response(&self, memo: Memo, response: &mut Response<Body>) {
        if memo.is_malformed.get() {
            *response = plain(StatusCode::BAD_REQUEST, "Bad Request");
        } else if let Some(form) = memo.form {
            to_web(response, form);
        }
        cors::mark(response.headers_mut(), memo.origin);
    }
}

/// How the request's body is written; `None` when it is no gRPC-Web.
fn form(request: &Request<Body>) -> Option<Form> {
    let kind = request.headers().get(CONTENT_TYPE)?.as_bytes();
    if request.method() != Method::POST {
        None
    } else if kind.starts_with(WEB_TEXT.as_bytes()) {
        Some(Form::Base64)
    } else {
        kind.starts_with(WEB.as_bytes()).then_some(Form::Bytes)
    }
}

fn to_grpc(request: &mut Request<Body>, form: Form, is_malformed: &Rc<Cell<bool>>) {
    let prefix = match form {
        Form::Bytes => WEB,
        Form::Base64 => WEB_TEXT,
    };
    let headers = request.headers_mut();
    replace(headers, prefix, GRPC);
    headers.remove(CONTENT_LENGTH);
    // gRPC asks for it, and some servers send no trailers without.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if form == Form::Base64 {
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::boxed(Decoded::new(body, Rc::clone(is_malformed)));
    }
}

/// An answer of another kind (a page of another proxy, an error) goes on as it is.
fn to_web(response: &mut Response<Body>, form: Form) {
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !kind.is_some_and(|kind| kind.starts_with(GRPC.as_bytes()))
        || response.status() == StatusCode::SWITCHING_PROTOCOLS
    {
        return;
    }
    let prefix = match form {
        Form::Bytes => WEB,
        Form::Base64 => WEB_TEXT,
    };
    let headers = response.headers_mut();
    replace(headers, GRPC, prefix);
    headers.remove(TRAILER);
    // Without a body the status is in the head, where browsers see it.
    if !response.body().is_end_stream() {
        response.headers_mut().remove(CONTENT_LENGTH);
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Body::boxed(Answer::new(body, form));
    }
}

/// Puts another type for the one at the start of Content-Type; `+proto` and the like stay.
fn replace(headers: &mut HeaderMap, old: &str, new: &str) {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return };
    let rest = kind.as_bytes().strip_prefix(old.as_bytes()).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_bytes(&[new.as_bytes(), rest].concat()) {
        headers.insert(CONTENT_TYPE, value);
    }
}
