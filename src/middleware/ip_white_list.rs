//! `ipWhiteList`: the deprecated name of `ipAllowList`, with the options it had.

use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::client::{Client, IpStrategy, Ranges};
use super::{Flow, Middleware};
use crate::message::{Body, Exchange, plain};
use crate::tree;

/// Settings of `ipWhiteList`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Who passes: addresses and CIDR ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_range: Vec<String>,
    /// Which address is the client's; `None`: the peer's.
    #[serde(
        rename = "ipStrategy",
        deserialize_with = "tree::switch",
        skip_serializing_if = "Option::is_none"
    )]
    pub ip_strategy: Option<IpStrategy>,
}

/// The step.
pub struct Step {
    ranges: Ranges,
    client: Client,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn remarks(_settings: &Settings) -> Vec<String> {
        vec!["ipWhiteList is deprecated: write ipAllowList, which has the same options".to_owned()]
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        if settings.source_range.is_empty() {
            return Err("sourceRange is empty, IPWhiteLister not created".to_owned());
        }
        let ranges = Ranges::parse(&settings.source_range).map_err(|error| {
            format!("cannot parse CIDRs [{}]: {error}", settings.source_range.join(" "))
        })?;
        Ok(Self { ranges, client: Client::build(settings.ip_strategy.as_ref())? })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let address = self.client.address(exchange, request);
        if address.is_some_and(|address| self.ranges.contain(address)) {
            return Flow::Next;
        }
        Flow::Respond(plain(StatusCode::FORBIDDEN, "Forbidden"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{self, Reply};

    #[test]
    fn only_those_in_the_ranges_pass() {
        let source_range = vec!["10.0.0.0/8".to_owned()];
        let step = Step::build(&Settings { source_range, ip_strategy: None }).unwrap();
        for (peer, passes) in [("10.1.2.3", true), ("11.0.0.1", false)] {
            let mut exchange = testing::exchange_from(peer);

            let reply = testing::ask_with(&step, &mut exchange, testing::get("/", &[]));

            assert_eq!(matches!(reply, Reply::Next(_)), passes, "{peer}");
            assert!(passes || matches!(reply, Reply::Answer(response) if response.status() == 403));
        }
    }

    #[test]
    fn wrong_settings_are_told_in_traefiks_words() {
        let build = |ranges: &[&str]| {
            let source_range = ranges.iter().map(ToString::to_string).collect();
            Step::build(&Settings { source_range, ip_strategy: None }).err().unwrap()
        };

        assert_eq!(build(&[]), "sourceRange is empty, IPWhiteLister not created");
        assert_eq!(
            build(&["foo"]),
            "cannot parse CIDRs [foo]: parsing CIDR trusted IPs <nil>: invalid CIDR address: foo"
        );
    }
}
