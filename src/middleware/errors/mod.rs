//! `errors`: answers with these statuses are replaced by pages of a service.

mod query;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, Rest, status_text};
use crate::balance::Service;
use crate::message::{Body, Exchange, Kept, StatusRanges, discard, error_text, worded};
use query::Query;

/// Fields about the failed request's body or its connection; the page is asked for with a
/// plain GET.
const OF_THE_REQUEST: [HeaderName; 6] =
    [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, EXPECT, UPGRADE, CONNECTION];

/// Settings of `errors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Statuses and ranges whose answers are replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Statuses and ranges, and what is sent in their place.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub status_rewrites: BTreeMap<String, i64>,
    /// The service that has the pages.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The page's path and query; `{status}`, `{originalStatus}` and `{url}` are filled in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// Fields of the request that the page's service is told; `None`: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_request_headers: Option<Vec<String>>,
}

/// The step.
pub struct Step {
    caught: StatusRanges,
    rewrites: Box<[(StatusRanges, StatusCode)]>,
    query: Query,
    told: Option<Box<[HeaderName]>>,
    service: Option<Arc<Service>>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn remarks(settings: &Settings) -> Vec<String> {
        let rewrites = settings.status_rewrites.iter();
        let unfit = rewrites.filter(|(_, to)| sendable(**to).is_none()).map(|(from, to)| {
            format!("`errors.statusRewrites.{from}`: {to} is no status to answer with; not used")
        });
        let keys: Vec<_> = settings.status_rewrites.keys().cloned().collect();
        let inverted = StatusRanges::inverted(&settings.status)
            .chain(StatusRanges::inverted(&keys))
            .map(|text| format!("`errors`: `{text}` ends before it begins and matches nothing"));
        unfit.chain(inverted).collect()
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        let caught = StatusRanges::parse(&settings.status)?;
        let mut rewrites = Vec::with_capacity(settings.status_rewrites.len());
        for (from, to) in &settings.status_rewrites {
            let from = StatusRanges::parse(std::slice::from_ref(from))?;
            rewrites.extend(sendable(*to).map(|to| (from, to)));
        }
        // Traefik takes any one that fits; here the closest always wins.
        rewrites.sort_by_key(|(from, _)| from.width());
        let told = settings.error_request_headers.as_ref().map(|names| {
            names.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
        });
        Ok(Self {
            caught,
            rewrites: rewrites.into(),
            query: Query::new(&settings.query),
            told,
            service: None,
        })
    }

    fn service(settings: &Settings) -> Option<&str> {
        Some(&settings.service)
    }

    fn link(&mut self, service: Arc<Service>) {
        self.service = Some(service);
    }

    fn request(&self, _: &mut Exchange, _: &mut Request<Body>) -> Flow<Self::Memo> {
        if self.caught.is_empty() { Flow::Next } else { Flow::Around }
    }

    async fn around(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        let failed = Kept::of(&request);
        let response = rest.run(exchange, request).await;
        let original = response.status();
        let Some(service) = &self.service else { return response };
        if original == StatusCode::SWITCHING_PROTOCOLS || !self.caught.contain(original) {
            return response;
        }
        discard(response.into_body()).await;
        let status = self.rewritten(original);
        let Some(request) = self.page(exchange, &failed, status, original) else {
            return error_text(status, status_text(status).unwrap_or_default());
        };
        sent_as(status, ask(service, exchange, request).await)
    }
}

impl Step {
    fn rewritten(&self, status: StatusCode) -> StatusCode {
        let fitting = self.rewrites.iter().find(|(from, _)| from.contain(status));
        fitting.map_or(status, |(_, to)| *to)
    }

    /// The request for the page; `None` when the query makes no target.
    fn page(
        &self,
        exchange: &Exchange,
        failed: &Kept,
        status: StatusCode,
        original: StatusCode,
    ) -> Option<Request<Body>> {
        let host = failed.fields().find(|(name, _)| **name == HOST).map(|(_, value)| value);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if exchange.connection.tls.is_some() { "https" } else { "http" };
        let target = self.query.target(status, original, || {
            let path = failed.uri().path_and_query().map_or("/", |target| target.as_str());
            format!("{scheme}://{host}{path}")
        })?;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = target.into();
        let is_told = |name: &HeaderName| match &self.told {
            Some(told) => told.contains(name) || *name == HOST,
            None => true,
        };
        let fields = failed.fields();
        for (name, value) in
            fields.filter(|(name, _)| is_told(name) && !OF_THE_REQUEST.contains(name))
        {
            request.headers_mut().append(name, value.clone());
        }
        Some(request)
    }
}

/// Asks for the page. As Traefik, its service is not told the client's address; the access
/// log goes on to speak of the server that failed.
async fn ask(service: &Service, exchange: &mut Exchange, request: Request<Body>) -> Response<Body> {
    let suppressed = std::mem::replace(&mut exchange.suppress_forwarded_for, true);
    let served = std::mem::take(&mut exchange.served);
    let page = service.call(exchange, request).await;
    exchange.served = served;
    // As Traefik: what got a page is not sent again by a `retry` around it.
    exchange.served.unsent = false;
    exchange.suppress_forwarded_for = suppressed;
    page
}

/// The page under the status of what it stands for.
fn sent_as(status: StatusCode, mut page: Response<Body>) -> Response<Body> {
    let is_bare = |status| matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if is_bare(page.status()) || is_bare(status) {
        // The length is that of a body which is not sent.
        page.headers_mut().remove(CONTENT_LENGTH);
    }
    if is_bare(status) {
        *page.body_mut() = Body::empty();
    }
    *page.status_mut() = status;
    worded(page)
}

/// A status that can end a request.
fn sendable(status: i64) -> Option<StatusCode> {
    let status = u16::try_from(status).ok().filter(|status| *status >= 200)?;
    StatusCode::from_u16(status).ok()
}
