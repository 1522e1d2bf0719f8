//! The services inside Wharf: `api@internal` and the small ones, `ping@internal`,
//! `prometheus@internal`, `noop@internal`.

use std::fmt;
use std::sync::Arc;

use http::header::{ACCEPT, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::dashboard::Dashboard;
use super::{Sources, answer, json as api_json};
use crate::message::{Body, Exchange, Handler, plain};
use crate::observe::{Exposition, Metrics};
use crate::settings;

/// `noop@internal`: 418 to everything.
#[derive(Debug)]
pub(super) struct Noop;

impl Handler for Noop {
    fn handle(&self, _exchange: &Exchange, _request: Request<Body>) -> Response<Body> {
        plain(StatusCode::IM_A_TEAPOT, "")
    }
}

/// `ping@internal`. As Traefik: any method and any path, no Content-Type.
#[derive(Debug)]
pub(super) struct Ping {
    terminating_status: StatusCode,
    terminating: CancellationToken,
}

impl Ping {
    pub(super) fn new(settings: &settings::Ping, terminating: CancellationToken) -> Self {
        let terminating_status = StatusCode::from_u16(settings.terminating_status_code)
            .unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Self { terminating_status, terminating }
    }

    fn status(&self) -> StatusCode {
        if self.terminating.is_cancelled() { self.terminating_status } else { StatusCode::OK }
    }
}

impl Handler for Ping {
    fn handle(&self, _exchange: &Exchange, _request: Request<Body>) -> Response<Body> {
        let status = self.status();
        plain(status, status.canonical_reason().unwrap_or_default())
    }
}

/// `prometheus@internal`. As Traefik: any method and any path.
pub(super) struct Scrape(Exposition);

impl Scrape {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(Exposition::new(metrics))
    }
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Handler for Scrape {
    fn handle(&self, _exchange: &Exchange, request: Request<Body>) -> Response<Body> {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let (content_type, text) = self.0.render(accept);
        answer::with_type(Body::from(text), content_type)
    }
}

/// `api@internal`: the JSON, the dashboard under `/dashboard/`, `/debug/vars`.
pub(super) struct Api {
    sources: Sources,
    /// `api.basePath` without its last slash; empty for `/`.
    base: Box<str>,
    settings: settings::Api,
    dashboard: Option<Arc<Dashboard>>,
}

impl Api {
    pub(super) fn new(
        sources: Sources,
        settings: settings::Api,
        dashboard: Option<Arc<Dashboard>>,
    ) -> Self {
        let base = settings.base_path.trim_end_matches('/').into();
        Self { sources, base, settings, dashboard }
    }

    pub(super) fn answer(&self, request: &Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        let path = match path.strip_prefix(self.base.as_ref()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            // As `insecure`, the routers inside Wharf ask without the base path.
            _ if self.settings.insecure => path,
            _ => return answer::not_found(),
        };
        if let Some(dashboard) = &self.dashboard {
            if path.starts_with("/dashboard/") {
                return dashboard.answer(request, path);
            }
            if path == "/" && request.method() == Method::GET {
                return self.to_dashboard(request.headers());
            }
        }
        let rest = path.strip_prefix("/api/").filter(|rest| !rest.is_empty());
        if let Some(rest) = rest {
            let query = request.uri().query();
            return api_json::answer(&self.sources, request.method(), rest, query);
        }
        match path.strip_prefix("/debug/").filter(|_| self.settings.debug) {
            Some("vars" | "pprof" | "pprof/") if request.method() != Method::GET => {
                answer::empty(StatusCode::METHOD_NOT_ALLOWED)
            }
            Some("vars") => debug_vars(),
            Some(rest) if rest == "pprof" || rest.starts_with("pprof/") => answer::text(
                StatusCode::NOT_FOUND,
                "there are no profiles: /debug/pprof is a part of Go, and Wharf is not written in it\n",
            ),
            Some(_) | None => answer::not_found(),
        }
    }

    /// 302 to the dashboard, below the prefix that a middleware or a proxy in front cut off.
    fn to_dashboard(&self, headers: &HeaderMap) -> Response<Body> {
        let location = format!("{}{}/dashboard/", forwarded_prefix(headers), self.base);
        let mut response = answer::empty(StatusCode::FOUND);
        let location = HeaderValue::try_from(location);
        response
            .headers_mut()
            .insert(LOCATION, location.unwrap_or(HeaderValue::from_static("/dashboard/")));
        response
    }
}

impl Handler for Api {
    fn handle(&self, _exchange: &Exchange, request: Request<Body>) -> Response<Body> {
        self.answer(&request)
    }
}

/// The path prefix that was cut off on the way. Whether the client may send the field is
/// decided at the entry point; that it is only a path of this site is decided here.
fn forwarded_prefix(headers: &HeaderMap) -> &str {
    let prefix = headers
        .get("x-forwarded-prefix")
        .and_then(|value| value.to_str().ok())
        .map_or("", |value| value.trim_end_matches('/'));
    // `//host` and `/\host` are absolute for browsers.
    let is_path = prefix.starts_with('/') && !prefix.starts_with("//") && !prefix.contains('\\');
    if is_path { prefix } else { "" }
}

/// `/debug/vars`, Go's `expvar`: what of it makes sense outside Go.
fn debug_vars() -> Response<Body> {
    let resident = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(0, |pages| pages * 4096);
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    // A variable per line, as Go prints them.
    let text = format!(
        "{{\n\"Goroutines2\": {threads},\n\"cmdline\": {},\n\"memstats\": {}\n}}\n",
        answer::json_text(&arguments),
        answer::json_text(&json!({ "Sys": resident })),
    );
    answer::with_type(Body::from(text), "application/json; charset=utf-8")
}

/// 400 for a path that can't be decoded.
pub(super) fn bad_request() -> Response<Body> {
    let mut response =
        answer::with_type(Body::from("400 Bad Request"), "text/plain; charset=utf-8");
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_turns_when_the_process_is_told_to_stop() {
        let terminating = CancellationToken::new();
        let ping = Ping::new(&settings::Ping::default(), terminating.clone());
        assert_eq!(ping.status(), StatusCode::OK);

        terminating.cancel();

        assert_eq!(ping.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn only_a_path_of_this_site_is_put_in_front() {
        let cases = [
            ("/p", "/p"),
            ("/p/", "/p"),
            ("/a/b", "/a/b"),
            ("https://evil.test/", ""),
            ("//evil.test", ""),
            ("/\\evil.test", ""),
            ("p", ""),
        ];
        for (value, prefix) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-prefix", HeaderValue::from_static(value));
            assert_eq!(forwarded_prefix(&headers), prefix, "{value}");
        }
    }
}
