//! The small services inside Wharf: `ping@internal`, `prometheus@internal`, `noop@internal`.

use http::{Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::message::{Body, Exchange, Handler, plain};
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
}
