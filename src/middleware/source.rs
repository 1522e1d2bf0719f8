//! Which requests `rateLimit` and `inFlightReq` count together.

use ahash::RandomState;
use http::{HeaderName, Request};
use serde::{Deserialize, Serialize};

use super::client::{Client, IpStrategy};
use crate::message::{Body, Exchange};

/// By what requests are told apart; at most one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceCriterion {
    /// By the client's address.
    #[serde(rename = "ipStrategy", skip_serializing_if = "Option::is_none")]
    pub ip_strategy: Option<IpStrategy>,
    /// By this header; a request without it has the empty source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_header_name: String,
    /// By the host asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub request_host: bool,
}

/// A [`SourceCriterion`] ready to use.
pub(super) struct Source {
    by: By,
    keys: RandomState,
}

/// What is looked at.
pub(super) enum By {
    Client(Client),
    Header(HeaderName),
    Host,
}

impl By {
    /// The peer's address.
    pub(super) fn peer() -> Result<Self, String> {
        Client::build(None).map(Self::Client)
    }
}

impl Source {
    /// Prepares it; `default` stands in where no criterion is set. The error is in Traefik's
    /// words.
    pub(super) fn build(
        criterion: Option<&SourceCriterion>,
        default: fn() -> Result<By, String>,
    ) -> Result<Self, String> {
        let none = SourceCriterion::default();
        let criterion = criterion.unwrap_or(&none);
        let header = (!criterion.request_header_name.is_empty())
            .then_some(criterion.request_header_name.as_str());
        let exclusive = |one, other| Err(format!("{one} and {other} are mutually exclusive"));
        let by = match (&criterion.ip_strategy, header, criterion.request_host) {
            (Some(_), Some(_), _) => return exclusive("iPStrategy", "RequestHeaderName"),
            (Some(_), None, true) => return exclusive("iPStrategy", "RequestHost"),
            (None, Some(_), true) => return exclusive("requestHost", "RequestHeaderName"),
            (Some(strategy), None, false) => By::Client(Client::build(Some(strategy))?),
            (None, Some(header), false) => By::Header(
                HeaderName::from_bytes(header.as_bytes())
                    .map_err(|_| format!("requestHeaderName {header:?} is no header name"))?,
            ),
            (None, None, true) => By::Host,
            (None, None, false) => default()?,
        };
        Ok(Self { by, keys: RandomState::new() })
    }

    /// A number for the request's source: the same for the same source. It stands for the
    /// source so that a long header takes no memory; nobody outside can tell which two
    /// would share one, and 65,536 sources do with a chance of 1 in 8,000,000,000.
    pub(super) fn key(&self, exchange: &Exchange, request: &Request<Body>) -> u64 {
        match &self.by {
            By::Client(client) => self.keys.hash_one(client.address(exchange, request)),
            By::Header(name) => {
                let value = request.headers().get(name);
                self.keys.hash_one(value.map(http::HeaderValue::as_bytes).unwrap_or_default())
            }
            By::Host => self.keys.hash_one(&exchange.host),
        }
    }

    /// Adds the request's source in writing, as other proxies would: an address, the value of
    /// the header, the host.
    pub(super) fn write(&self, exchange: &Exchange, request: &Request<Body>, out: &mut Vec<u8>) {
        match &self.by {
            By::Client(client) => {
                let address = client.address(exchange, request);
                out.extend(address.map(|address| address.to_string()).unwrap_or_default().bytes());
            }
            By::Header(name) => {
                let value = request.headers().get(name);
                out.extend_from_slice(value.map(http::HeaderValue::as_bytes).unwrap_or_default());
            }
            By::Host => out.extend_from_slice(exchange.host.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing;

    fn build(criterion: &SourceCriterion) -> Result<Source, String> {
        Source::build(Some(criterion), || Ok(By::Host))
    }

    #[test]
    fn requests_of_one_source_have_one_key() {
        let header =
            SourceCriterion { request_header_name: "X-Key".to_owned(), ..Default::default() };
        let host = SourceCriterion { request_host: true, ..Default::default() };
        let depth = SourceCriterion {
            ip_strategy: Some(IpStrategy { depth: 1, ..Default::default() }),
            ..Default::default()
        };
        let peer =
            SourceCriterion { ip_strategy: Some(IpStrategy::default()), ..Default::default() };
        // Requests: peer, host, X-Key, X-Forwarded-For.
        let requests = [
            ("10.0.0.1", "a.test", Some("k"), "1.1.1.1"),
            ("10.0.0.1", "b.test", Some("l"), "2.2.2.2"),
            ("10.0.0.2", "a.test", None, "9.9.9.9, 1.1.1.1"),
            ("::ffff:10.0.0.1", "b.test", Some(""), "x"),
        ];
        for (criterion, groups) in [
            (header, [0, 1, 2, 2]),
            (host, [0, 1, 0, 1]),
            (SourceCriterion::default(), [0, 1, 0, 1]),
            (depth, [0, 1, 0, 2]),
            (peer, [0, 0, 1, 0]),
        ] {
            let source = build(&criterion).unwrap();

            let keys = requests.map(|(peer, host, key, forwarded)| {
                let mut exchange = testing::exchange_from(peer);
                exchange.host = host.into();
                let mut fields = vec![("x-forwarded-for", forwarded)];
                fields.extend(key.map(|key| ("x-key", key)));
                source.key(&exchange, &testing::get("/", &fields))
            });
            for (one, other) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
                let are_one = groups[one] == groups[other];
                assert_eq!(keys[one] == keys[other], are_one, "{criterion:?} {one} {other}");
            }
        }
    }

    #[test]
    fn only_one_criterion_is_taken() {
        let ip = || Some(IpStrategy::default());
        for (ip_strategy, header, request_host, error) in [
            (ip(), "x", false, "iPStrategy and RequestHeaderName are mutually exclusive"),
            (ip(), "", true, "iPStrategy and RequestHost are mutually exclusive"),
            (None, "x", true, "requestHost and RequestHeaderName are mutually exclusive"),
            (None, "a b", false, "requestHeaderName \"a b\" is no header name"),
        ] {
            let request_header_name = header.to_owned();
            let criterion = SourceCriterion { ip_strategy, request_header_name, request_host };

            assert_eq!(build(&criterion).err().as_deref(), Some(error));
        }
    }
}
