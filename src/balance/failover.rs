//! A service with a second one for when the first is down, or answers badly.

use std::ops::RangeInclusive;
use std::sync::Arc;

use http::{Request, Response};

use super::drain::drain_later;
use super::{Service, answer};
use crate::message::{Body, Collected, Collecting, Exchange};

/// Kept of a body that has no limit, to be sent again; a longer one is sent once. Traefik
/// keeps any.
const MOST_KEPT: u64 = 64 << 20;

/// What a failover is made of.
pub struct FailoverSettings {
    /// First choice.
    pub main: Arc<Service>,
    /// Asked while that is down.
    pub fallback: Arc<Service>,
    /// Answers of the first choice that send the request to the other.
    pub errors: Option<ErrorSettings>,
}

/// Answers that count as errors.
pub struct ErrorSettings {
    /// Their statuses.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Larger bodies are refused with 413; `None`: none is.
    pub max_request_body: Option<u64>,
}

impl ErrorSettings {
    fn refuses(&self, body: &Body) -> bool {
        let least = http_body::Body::size_hint(body).lower();
        self.max_request_body.is_some_and(|most| least > most)
    }
}

impl FailoverSettings {
    pub(super) fn is_up(&self) -> bool {
        self.main.is_up() || self.fallback.is_up()
    }

    pub(super) async fn call(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
    ) -> Response<Body> {
        if !self.main.is_up() && self.fallback.is_up() {
            return Box::pin(self.fallback.call(exchange, request)).await;
        }
        match &self.errors {
            None => Box::pin(self.main.call(exchange, request)).await,
            Some(errors) => self.try_both(errors, exchange, request).await,
        }
    }

    async fn try_both(
        &self,
        errors: &ErrorSettings,
        exchange: &mut Exchange,
        request: Request<Body>,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let limit = errors.max_request_body.unwrap_or(MOST_KEPT);
        let whole = match Collected::read(body, Some(limit)).await {
            Ok(Collecting::Whole(whole)) => whole,
            Ok(Collecting::TooLong(body)) if errors.refuses(&body) => return answer::too_large(),
            Ok(Collecting::TooLong(body)) => {
                // Too much to keep, by itself or with what is kept of others: sent once.
                let request = Request::from_parts(head, body);
                return Box::pin(self.main.call(exchange, request)).await;
            }
            Err(_) => return answer::client_failed(),
        };
        let first = Request::from_parts(head.clone(), whole.body());
        let response = Box::pin(self.main.call(exchange, first)).await;
        let status = response.status().as_u16();
        if !errors.statuses.iter().any(|range| range.contains(&status)) {
            return response;
        }
        drain_later(response);
        // What the log says of the server's answer is the fallback's, if there is one.
        let served = &mut exchange.served;
        (served.origin_status, served.origin_size) = (None, None);
        (served.origin_headers, served.first_byte) = (None, None);
        let second = Request::from_parts(head, whole.body());
        Box::pin(self.fallback.call(exchange, second)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_within_the_limit_is_not_refused_for_want_of_memory() {
        let errors = |most| ErrorSettings { statuses: Vec::new(), max_request_body: most };

        assert!(errors(Some(2)).refuses(&Body::from("abc")));
        assert!(!errors(Some(3)).refuses(&Body::from("abc")));
        assert!(!errors(None).refuses(&Body::from("abc")));
    }
}
