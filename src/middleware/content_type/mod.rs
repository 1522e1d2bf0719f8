//! `contentType`: gives an answer without Content-Type one by its first bytes.

mod sniff;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, Rest};
use crate::message::{Body, Collected, Exchange};

/// Settings of `contentType`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Deprecated. `false`: the middleware does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_detect: Option<bool>,
}

/// The step.
pub struct Step {
    is_on: bool,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    const STANDS_ALONE: bool = true;

    fn remarks(settings: &Settings) -> Vec<String> {
        let remark = |is_on| {
            let then = if is_on { "the middleware is enough" } else { "take the middleware off" };
            format!("contentType.autoDetect is deprecated: {then}")
        };
        settings.auto_detect.map(remark).into_iter().collect()
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        Ok(Self { is_on: settings.auto_detect != Some(false) })
    }

    fn request(&self, _exchange: &mut Exchange, _request: &mut Request<Body>) -> Flow<Self::Memo> {
        if self.is_on { Flow::Around } else { Flow::Next }
    }

    async fn around(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        let response = rest.run(exchange, request).await;
        if is_untold(&response) { told(response).await } else { response }
    }
}

/// As Go: nothing is said of an encoded body, and a blank Content-Type is one.
fn is_untold(response: &Response<Body>) -> bool {
    let headers = response.headers();
    !headers.contains_key(CONTENT_TYPE)
        && headers.get(CONTENT_ENCODING).is_none_or(HeaderValue::is_empty)
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
        && !response.body().is_end_stream()
}

/// The answer with a type, if bytes come.
async fn told(response: Response<Body>) -> Response<Body> {
    let (mut parts, mut body) = response.into_parts();
    let first = loop {
        match body.frame().await {
            None => return Response::from_parts(parts, body),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => break data,
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    let rest = Collected { data: Bytes::new(), trailers };
                    return Response::from_parts(parts, rest.body());
                }
            },
            // The body ends the same way for the client.
            Some(Err(error)) => {
                let broken = futures_util::stream::iter([Err(error)]);
                let body = Body::boxed(http_body_util::StreamBody::new(broken));
                return Response::from_parts(parts, body);
            }
        }
    };
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(sniff::media_type(&first)));
    Response::from_parts(parts, body.after(first))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balance::Service;
    use crate::message::{Handler, plain};
    use crate::middleware::{Chain, Link, Spec};
    use crate::observe::Requests;

    /// Answers with this body and these fields.
    struct Server(&'static str, &'static [(&'static str, &'static str)]);

    impl Handler for Server {
        fn handle(&self, _: &Exchange, _: Request<Body>) -> Response<Body> {
            let mut response = plain(StatusCode::OK, self.0);
            for (name, value) in self.1 {
                response.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            response
        }
    }

    /// The type and the body that a client gets.
    async fn ask(server: Server, auto_detect: Option<bool>) -> (Option<String>, Bytes) {
        let spec = Spec::ContentType(Box::new(Settings { auto_detect }));
        let step = Arc::new(crate::middleware::Step::build(&spec, None).unwrap());
        let chain = Chain::new(vec![Link { name: "t@file".into(), step, service: None }]);
        let end = Service::internal("s".into(), Arc::new(server), Requests::off());
        let request = Request::new(Body::empty());
        let response = chain.run(&mut Exchange::for_tests(), request, &end).await;
        let told = response.headers().get(CONTENT_TYPE);
        let told = told.map(|value| value.to_str().unwrap().to_owned());
        (told, response.into_body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn an_answer_without_a_type_gets_one_by_its_body() {
        const HTML: &str = "<!doctype html><p>";
        for (body, fields, auto_detect, told) in [
            (HTML, &[][..], None, Some("text/html; charset=utf-8")),
            (HTML, &[], Some(true), Some("text/html; charset=utf-8")),
            (HTML, &[], Some(false), None),
            (HTML, &[("content-type", "a/b")], None, Some("a/b")),
            (HTML, &[("content-type", "")], None, Some("")),
            (HTML, &[("content-encoding", "gzip")], None, None),
            (HTML, &[("content-encoding", "")], None, Some("text/html; charset=utf-8")),
            ("", &[], None, None),
        ] {
            let (found, whole) = ask(Server(body, fields), auto_detect).await;

            assert_eq!(found.as_deref(), told, "{fields:?}");
            assert_eq!(whole, body);
        }
    }
}
