//! `/api/...`: one match from path to answer.

use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::Sources;
use super::answer;
use super::list::{Page, Row, Selection, selection};
use super::query::{Query, decode_segment};
use super::view::{self, Form};
use crate::message::Body;
use crate::table::Table;

const NEXT_PAGE: HeaderName = HeaderName::from_static("x-next-page");

/// Answers a request; `path` is what follows `/api/`, still encoded.
pub(super) fn answer(
    sources: &Sources,
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Response<Body> {
    let mut segments = Vec::with_capacity(3);
    for segment in path.split('/') {
        let Some(segment) = decode_segment(segment) else {
            return super::internal::bad_request();
        };
        segments.push(segment);
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    // As Traefik: what is not there is not there with any method.
    if !is_known(&segments) {
        return answer::not_found();
    }
    if method != Method::GET {
        return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let query = Query::parse(query);
    let table = sources.published.load();
    let ask = Ask { sources, table: &table, query: &query };
    match segments.as_slice() {
        ["version"] => answer::with_type(
            // As Traefik: the one answer without a line end.
            Body::from(answer::json_text(&view::version(&sources.settings, sources.started))),
            "application/json; charset=UTF-8",
        ),
        ["overview"] => answer::json(&view::overview(&sources.settings, &table)),
        ["rawdata"] => answer::json(&view::raw_data(&table)),
        ["support-dump"] => answer::error(
            StatusCode::NOT_IMPLEMENTED,
            "support-dump is not built: /api/rawdata and /api/wharf/problems say what it would",
        ),
        ["entrypoints", rest @ ..] => ask.entry_points(rest),
        ["http", kind, rest @ ..] => ask.http(kind, rest),
        ["tcp", kind @ ("routers" | "services" | "middlewares"), rest @ ..]
        | ["udp", kind @ ("routers" | "services"), rest @ ..] => ask.absent(kind, rest),
        ["certificates", rest @ ..] => {
            ask.things("certificate", view::certificates(&table), rest, view::CertificateRow::json)
        }
        ["wharf", "certificates"] => answer::json(&view::issuance(&sources.published.acme().board)),
        ["wharf", rest @ ..] => ask.wharf(rest),
        _ => answer::not_found(),
    }
}

/// Whether there is such a path, whatever it names; a name is never empty.
fn is_known(segments: &[&str]) -> bool {
    let list = match segments {
        ["version" | "overview" | "rawdata" | "support-dump"] => return true,
        ["wharf", rest @ ..] => return rest.last().is_some_and(|name| !name.is_empty()),
        ["entrypoints" | "certificates", rest @ ..]
        | ["http" | "tcp", "routers" | "services" | "middlewares", rest @ ..]
        | ["udp", "routers" | "services", rest @ ..] => rest,
        _ => return false,
    };
    matches!(list, [] | [_]) && !list.contains(&"")
}

/// One question: what is asked, and of what.
struct Ask<'a> {
    sources: &'a Sources,
    table: &'a Table,
    query: &'a Query,
}

impl Ask<'_> {
    fn entry_points(&self, rest: &[&str]) -> Response<Body> {
        let settings = &self.sources.settings;
        match rest {
            [] => self.paged(|selection| selection.cut(view::entry_points(settings)), Value::clone),
            [name] => match settings.entry_points.get(*name) {
                Some(entry) => answer::json(&view::entry_point(name, entry)),
                None => missing("entry point", name),
            },
            _ => answer::not_found(),
        }
    }

    fn http(&self, kind: &str, rest: &[&str]) -> Response<Body> {
        let table = self.table;
        match kind {
            "routers" => {
                self.things("router", view::routers(table), rest, |row| row.json(Form::Listed))
            }
            "services" => {
                self.things("service", view::services(table), rest, |row| row.json(Form::Listed))
            }
            "middlewares" => self
                .things("middleware", view::middlewares(table), rest, |row| row.json(Form::Listed)),
            _ => answer::not_found(),
        }
    }

    fn things<T: Row>(
        &self,
        kind: &str,
        mut rows: impl Iterator<Item = T>,
        rest: &[&str],
        json: impl Fn(&T) -> Value,
    ) -> Response<Body> {
        match rest {
            [] => self.paged(|selection| selection.select(rows), json),
            [name] => match rows.find(|row| row.name() == *name) {
                Some(row) => answer::json(&json(&row)),
                None => missing(kind, name),
            },
            _ => answer::not_found(),
        }
    }

    /// Kinds of which there are none: TCP, UDP.
    fn absent(&self, kind: &str, rest: &[&str]) -> Response<Body> {
        match rest {
            [] => self.paged(|selection| selection.cut(Vec::<Value>::new()), Value::clone),
            [name] => missing(kind.trim_end_matches('s'), name),
            _ => answer::not_found(),
        }
    }

    fn paged<T>(
        &self,
        rows: impl FnOnce(&Selection) -> Result<Page<T>, String>,
        json: impl Fn(&T) -> Value,
    ) -> Response<Body> {
        let page = selection(self.query).and_then(|selection| rows(&selection));
        match page {
            Ok(page) => {
                let rows: Vec<Value> = page.rows.iter().map(json).collect();
                let mut response = answer::json(&rows);
                response.headers_mut().insert(NEXT_PAGE, HeaderValue::from(page.next));
                response
            }
            Err(text) => answer::error(StatusCode::BAD_REQUEST, &text),
        }
    }

    fn wharf(&self, rest: &[&str]) -> Response<Body> {
        match rest {
            ["problems"] => answer::json(&view::problems(self.table)),
            ["engine"] => answer::json(&view::engine(&self.sources.published.engine())),
            ["replicas"] => answer::json(&view::replicas(self.table)),
            ["generations"] => self.paged(
                |selection| selection.select(view::generations(self.table)),
                view::GenerationRow::json,
            ),
            ["waiting"] => answer::json(&view::waiting(self.table)),
            ["history", service] => answer::json(&view::history(&self.sources.metrics, service)),
            ["revision"] => answer::json(&json!({ "revision": self.table.revision })),
            _ => answer::not_found(),
        }
    }
}

fn missing(kind: &str, name: &str) -> Response<Body> {
    answer::error(StatusCode::NOT_FOUND, &format!("{kind} not found: {name}"))
}
