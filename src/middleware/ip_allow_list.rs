//! `ipAllowList`: only clients from these ranges pass.

use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::client::{Client, IpStrategy, Ranges};
use super::{Flow, Middleware, status_text};
use crate::message::{Body, Exchange, plain};
use crate::tree;

/// Settings of `ipAllowList`.
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
    /// Status for those refused; 0: 403.
    #[serde(skip_serializing_if = "is_zero")]
    pub reject_status_code: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// The step.
pub struct Step {
    ranges: Ranges,
    client: Client,
    status: StatusCode,
    text: &'static str,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        if settings.source_range.is_empty() {
            return Err("sourceRange is empty, IPAllowLister not created".to_owned());
        }
        let (status, text) = reject(settings.reject_status_code)?;
        let ranges = Ranges::parse(&settings.source_range).map_err(|error| {
            format!("cannot parse CIDRs [{}]: {error}", settings.source_range.join(" "))
        })?;
        let client = Client::build(settings.ip_strategy.as_ref())?;
        Ok(Self { ranges, client, status, text })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let address = self.client.address(exchange, request);
        if address.is_some_and(|address| self.ranges.contain(address)) {
            return Flow::Next;
        }
        Flow::Respond(self.refusal())
    }
}

impl Step {
    fn refusal(&self) -> Response<Body> {
        plain(self.status, self.text)
    }
}

fn reject(code: i64) -> Result<(StatusCode, &'static str), String> {
    let code = if code == 0 { 403 } else { code };
    // An informational status would not end the request, so it is none of ours.
    let status = u16::try_from(code).ok().filter(|code| *code >= 200);
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    status
        .and_then(|status| Some((status, status_text(status)?)))
        .ok_or_else(|| format!("invalid HTTP status code {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{self, Reply};

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    }

    fn strategy(depth: i64, excluded: &[&str], ipv6_subnet: Option<i64>) -> IpStrategy {
        IpStrategy { depth, excluded_ips: list(excluded), ipv6_subnet }
    }

    fn settings(ranges: &[&str], strategy: impl Into<Option<IpStrategy>>) -> Settings {
        Settings { source_range: list(ranges), ip_strategy: strategy.into(), reject_status_code: 0 }
    }

    /// The status of the refusal; 0 when the request passed.
    fn ask(settings: &Settings, peer: &str, forwarded: &str) -> u16 {
        let step = Step::build(settings).unwrap();
        let request = testing::get("/", &[("x-forwarded-for", forwarded)]);
        match testing::ask_with(&step, &mut testing::exchange_from(peer), request) {
            Reply::Answer(response) => response.status().as_u16(),
            Reply::Next(_) | Reply::After(..) => 0,
        }
    }

    #[test]
    fn the_peer_counts_where_no_strategy_is_set() {
        for (ranges, peer, status) in [
            (&["10.0.0.0/8"][..], "10.1.2.3", 0),
            (&["10.0.0.0/8"], "11.0.0.1", 403),
            (&["10.0.0.0/8"], "::ffff:10.0.0.1", 0),
            (&["::ffff:10.0.0.0/104"], "10.0.0.1", 0),
            (&["::ffff:10.0.0.0/104"], "::ffff:11.0.0.1", 403),
            (&["::/0"], "10.0.0.1", 403),
            (&[" 10.0.0.0/8 "], "10.0.0.1", 0),
            (&["::1"], "::1", 0),
            (&["127.0.0.1", "2001:db8::/64"], "2001:db8::7", 0),
            (&["127.0.0.1", "2001:db8::/64"], "2001:db8:1::7", 403),
        ] {
            assert_eq!(ask(&settings(ranges, None), peer, "10.0.0.1"), status, "{peer}");
            let empty = settings(ranges, strategy(0, &[], None));
            assert_eq!(ask(&empty, peer, "10.0.0.1"), status, "{peer}");
        }
    }

    #[test]
    fn depth_counts_from_the_right() {
        let settings = settings(&["10.0.0.0/8", "2001:db8::/64"], strategy(2, &["10.0.0.9"], None));
        for (forwarded, status) in [
            ("10.0.0.1, 1.1.1.1", 0),
            ("10.0.0.1", 403),
            ("1.1.1.1,10.0.0.2,3.3.3.3", 0),
            ("10.0.0.1, 1.1.1.1, 3.3.3.3", 403),
            ("foo, 2.2.2.2", 403),
            ("10.0.0.1, foo", 403),
            ("2001:db8::5, 1.1.1.1", 0),
            ("[2001:db8::5%eth0]:7, 1.1.1.1", 0),
            ("10.0.0.1:99, 1.1.1.1", 0),
        ] {
            assert_eq!(ask(&settings, "10.0.0.1", forwarded), status, "{forwarded}");
        }
    }

    #[test]
    fn excluded_addresses_are_skipped_from_the_right() {
        let settings = settings(&["10.0.0.0/8"], strategy(0, &["192.168.0.0/16"], None));
        for (forwarded, status) in [
            ("10.0.0.1, 192.168.1.1", 0),
            ("10.0.0.1", 0),
            ("10.0.0.1, foo, 192.168.3.3", 403),
            ("192.168.1.1", 403),
            ("10.0.0.1, 1.1.1.1, 192.168.1.1", 403),
        ] {
            assert_eq!(ask(&settings, "10.0.0.1", forwarded), status, "{forwarded}");
        }
    }

    #[test]
    fn an_ipv6_network_counts_as_one_client() {
        let settings = settings(&["2001:db8::"], strategy(1, &[], Some(64)));

        assert_eq!(ask(&settings, "::1", "2001:db8::5"), 0);
        assert_eq!(ask(&settings, "::1", "2001:db8:0:1::5"), 403);
    }

    #[test]
    fn the_refusal_may_have_another_status() {
        let settings = Settings { reject_status_code: 418, ..settings(&["10.0.0.1"], None) };

        assert_eq!(ask(&settings, "127.0.0.1", ""), 418);
    }

    #[test]
    fn wrong_settings_are_told_in_traefiks_words() {
        let cidr = "parsing CIDR trusted IPs <nil>: invalid CIDR address: ";
        for (settings, error) in [
            (settings(&[], None), "sourceRange is empty, IPAllowLister not created".to_owned()),
            (settings(&["foo"], None), format!("cannot parse CIDRs [foo]: {cidr}foo")),
            (settings(&["::1"], strategy(0, &["foo/99"], None)), format!("{cidr}foo/99")),
            (
                settings(&["::1"], strategy(0, &[], Some(200))),
                "invalid IPv6 subnet 200 value, should be greater to 0 and lower or equal to 128"
                    .to_owned(),
            ),
            (
                Settings { reject_status_code: 999, ..settings(&["::1"], None) },
                "invalid HTTP status code 999".to_owned(),
            ),
        ] {
            assert_eq!(Step::build(&settings).err(), Some(error));
        }
    }
}
