//! The dashboard: pages over the same rows as the API. They work without JavaScript; the
//! script only fetches them anew when the event stream says that something changed.

mod assets;
mod certificates;
mod controls;
mod events;
mod frame;
mod generations;
mod middlewares;
mod overview;
mod parts;
mod plot;
mod problems;
mod router;
mod routers;
mod search;
mod services;
mod words;

use std::time::SystemTime;

use askama::Template;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::query::{Query, decode_segment};
use super::{Sources, answer, view};
use crate::message::{Body, Exchange, Handler};
use crate::problem::Problem;
use crate::table::Table;
use frame::Theme;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
     form-action 'self'; object-src 'none'",
);

/// `dashboard@internal`.
pub(super) struct Dashboard {
    sources: Sources,
    watchers: events::Watchers,
    /// Version of the files that pages refer to.
    assets: String,
}

/// One look at a page.
struct Visit<'a> {
    sources: &'a Sources,
    table: &'a Table,
    /// Problems that the table does not know: they come and go with requests.
    problems_now: Vec<Problem>,
    query: &'a Query,
    /// From the page to `/dashboard/`: empty, `../` or `dashboard/`.
    root: &'static str,
    theme: Theme,
    assets: &'a str,
    now: SystemTime,
}

impl Visit<'_> {
    /// All problems, those of now included.
    fn problems(&self) -> impl Iterator<Item = &Problem> + Clone {
        self.problems_now.iter().chain(self.table.problems.iter())
    }
}

impl Dashboard {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, watchers: events::Watchers::default(), assets: assets::version() }
    }

    /// Answers `/dashboard/...`; behind the router of `insecure` that part is cut off already.
    pub(super) fn answer(&self, request: &Request<Body>, path: &str) -> Response<Body> {
        let mut response = if matches!(*request.method(), Method::GET | Method::HEAD) {
            self.page(request, path.strip_prefix("/dashboard").unwrap_or(path))
        } else {
            answer::empty(StatusCode::METHOD_NOT_ALLOWED)
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    fn page(&self, request: &Request<Body>, path: &str) -> Response<Body> {
        let Some(segments) = path
            .trim_start_matches('/')
            .split('/')
            .map(decode_segment)
            .collect::<Option<Vec<String>>>()
        else {
            return super::internal::bad_request();
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let table = self.sources.published.load();
        let query = Query::parse(request.uri().query());
        let visit = Visit {
            sources: &self.sources,
            table: &table,
            problems_now: view::problems_now(&table),
            query: &query,
            root: root(&segments, request.headers()),
            theme: theme(request.headers()),
            assets: &self.assets,
            now: SystemTime::now(),
        };
        match segments.as_slice() {
            [""] => html(&overview::page(&visit)),
            ["routers"] => html(&routers::page(&visit)),
            ["routers", name] => maybe(&visit, "router", name, router::page(&visit, name)),
            ["services"] => html(&services::page(&visit)),
            ["services", name] => maybe(&visit, "service", name, services::one(&visit, name)),
            ["middlewares"] => html(&middlewares::page(&visit)),
            ["middlewares", name] => {
                maybe(&visit, "middleware", name, middlewares::one(&visit, name))
            }
            ["certificates"] => html(&certificates::page(&visit)),
            ["problems"] => html(&problems::page(&visit)),
            ["search"] => html(&search::page(&visit)),
            ["events"] if request.method() == Method::GET => {
                events::answer(&self.sources, &self.watchers)
            }
            ["static", file] => assets::asset(file).unwrap_or_else(answer::not_found),
            _ => answer::not_found(),
        }
    }
}

impl Handler for Dashboard {
    fn handle(&self, _exchange: &Exchange, request: Request<Body>) -> Response<Body> {
        self.answer(&request, request.uri().path())
    }
}

/// Links are relative, so that the pages work below any prefix.
fn root(segments: &[&str], headers: &HeaderMap) -> &'static str {
    // `/dashboard` without its slash, cut off by the middleware in front.
    let bare = || {
        let cut = headers.get_all("x-forwarded-prefix").iter().next_back();
        cut.is_some_and(|prefix| prefix.as_bytes().ends_with(b"/dashboard"))
    };
    match segments.len() {
        0 | 1 if segments == [""] && bare() => "dashboard/",
        0 | 1 => "./",
        _ => "../",
    }
}

fn theme(headers: &HeaderMap) -> Theme {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).map(str::trim);
    match pairs.find_map(|pair| pair.strip_prefix("wharf-theme=")) {
        Some("dark") => Theme::Dark,
        Some("light") => Theme::Light,
        _ => Theme::Auto,
    }
}

fn html(page: &impl Template) -> Response<Body> {
    match page.render() {
        Ok(text) => {
            let mut response = answer::with_type(Body::from(text), "text/html; charset=utf-8");
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        // Writing to a string does not fail, and no filter of ours does.
        Err(_) => answer::empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The page, or one that says that there is no such thing.
fn maybe<T: Template>(
    visit: &Visit<'_>,
    kind: &'static str,
    name: &str,
    page: Option<T>,
) -> Response<Body> {
    if let Some(page) = page {
        return html(&page);
    }
    let mut response = html(&frame::missing(visit, kind, name));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
