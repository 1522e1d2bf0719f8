//! Which address a request is taken to come from, and address ranges.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderName, Request};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::message::{Body, Exchange};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How the client's address is found; without any option it is the peer's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpStrategy {
    /// The n-th address from the right of X-Forwarded-For; 0 or less: not used.
    #[serde(skip_serializing_if = "is_zero")]
    pub depth: i64,
    /// The rightmost address of X-Forwarded-For outside these ranges.
    #[serde(rename = "excludedIPs", skip_serializing_if = "Vec::is_empty")]
    pub excluded_ips: Vec<String>,
    /// Takes IPv6 clients of one network of this prefix length for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_subnet: Option<i64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// An [`IpStrategy`] ready to use.
pub(super) struct Client {
    place: Place,
    ipv6_prefix: Option<u8>,
}

enum Place {
    Peer,
    FromRight(usize),
    OutsideOf(Ranges),
}

impl Client {
    /// Prepares it. The error is in Traefik's words.
    pub(super) fn build(strategy: Option<&IpStrategy>) -> Result<Self, String> {
        let Some(strategy) = strategy else {
            return Ok(Self { place: Place::Peer, ipv6_prefix: None });
        };
        let ipv6_prefix = match strategy.ipv6_subnet {
            None => None,
            Some(length @ 1..=128) => u8::try_from(length).ok(),
            Some(length) => {
                return Err(format!(
                    "invalid IPv6 subnet {length} value, should be greater to 0 and lower or equal to 128"
                ));
            }
        };
        let place = match usize::try_from(strategy.depth) {
            Ok(depth @ 1..) => Place::FromRight(depth),
            Ok(_) | Err(_) if strategy.excluded_ips.is_empty() => Place::Peer,
            Ok(_) | Err(_) => Place::OutsideOf(Ranges::parse(&strategy.excluded_ips)?),
        };
        Ok(Self { place, ipv6_prefix })
    }

    /// The client's address; `None` when it can't be told. X-Forwarded-For does not hold
    /// the peer itself yet.
    pub(super) fn address(&self, exchange: &Exchange, request: &Request<Body>) -> Option<IpAddr> {
        let address = match &self.place {
            Place::Peer => exchange.connection.peer.ip().to_canonical(),
            // An address that can't be read ends the walk: what stands further left was
            // written by someone still less known.
            Place::FromRight(depth) => {
                let mut walk = from_right(request);
                let beyond = walk.by_ref().take(depth.saturating_sub(1));
                if beyond.map(parse_address).any(|address| address.is_none()) {
                    return None;
                }
                parse_address(walk.next()?)?
            }
            Place::OutsideOf(ranges) => {
                let mut walk = from_right(request).map(parse_address);
                walk.find(|address| !address.is_some_and(|address| ranges.contain(address)))??
            }
        };
        Some(self.masked(address))
    }

    fn masked(&self, address: IpAddr) -> IpAddr {
        match (address, self.ipv6_prefix) {
            (IpAddr::V6(address), Some(prefix)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or_default();
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            (address, _) => address,
        }
    }
}

/// The elements of all X-Forwarded-For lines, last one first.
fn from_right(request: &Request<Body>) -> impl Iterator<Item = &str> {
    let lines = request.headers().get_all(X_FORWARDED_FOR).iter().rev();
    lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(',').map(str::trim))
}

/// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`, with or without a zone.
fn parse_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let inner = text.strip_prefix('[').and_then(|text| text.split(']').next()).unwrap_or(text);
    let address = inner.split('%').next()?.parse::<IpAddr>().ok()?;
    Some(address.to_canonical())
}

/// Address ranges.
pub(super) struct Ranges(Box<[IpNet]>);

impl Ranges {
    /// Reads addresses and CIDR ranges. The error is in Traefik's words.
    pub(super) fn parse(items: &[String]) -> Result<Self, String> {
        // As Traefik: blanks around an item of a file do not count either.
        let ranges = items.iter().map(|item| item.trim()).map(|item| {
            let address = item.parse::<IpAddr>().map(|address| address.to_canonical().into());
            address.or_else(|_| item.parse::<IpNet>().map(canonical)).map_err(|_| {
                format!("parsing CIDR trusted IPs <nil>: invalid CIDR address: {item}")
            })
        });
        ranges.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// A range of IPv4 written as one of IPv6 holds the same addresses, which are compared as
/// IPv4 (F2).
fn canonical(range: IpNet) -> IpNet {
    let IpNet::V6(written) = range else { return range };
    let mapped = written.addr().to_ipv4_mapped().zip(written.prefix_len().checked_sub(96));
    mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(range, IpNet::V4)
}
