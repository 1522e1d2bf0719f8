//! The dashboard: pages over the same rows as the API.

use http::{Method, Request, Response, StatusCode};

use super::{Sources, answer};
use crate::message::{Body, Exchange, Handler};

/// `dashboard@internal`.
pub(super) struct Dashboard {
    sources: Sources,
}

impl Dashboard {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources }
    }

    /// Answers `/dashboard/...`.
    pub(super) fn answer(&self, request: &Request<Body>, _path: &str) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        answer::not_found()
    }
}

impl Handler for Dashboard {
    fn handle(&self, _exchange: &Exchange, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        self.answer(&request, &path)
    }
}
