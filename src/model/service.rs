//! Services as declared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::composite::{Failover, HighestRandomWeight, Mirroring, Weighted};
use crate::balance::Deploy;
use crate::problem::ContainerRef;
use crate::settings::GoDuration;
use crate::tree;

/// One service. Serializes as `{"loadBalancer": {...}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// What its requests go through first, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<String>,
    /// What it is.
    #[serde(flatten)]
    pub kind: ServiceKind,
}

impl From<ServiceKind> for Service {
    fn from(kind: ServiceKind) -> Self {
        Self { middlewares: Vec::new(), kind }
    }
}

/// What a service is: exactly one of these.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every service is of the largest kind, so a box would save nothing"
)]
pub enum ServiceKind {
    /// Servers behind one name.
    LoadBalancer(LoadBalancer),
    /// A share of the requests to each of several services.
    Weighted(Weighted),
    /// Copies of requests to other services.
    Mirroring(Mirroring),
    /// A second service for when the first is down.
    Failover(Failover),
    /// A service by hash of the client address.
    HighestRandomWeight(HighestRandomWeight),
}

impl ServiceKind {
    /// The kind as the API's `type`: `loadbalancer`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::LoadBalancer(_) => "loadbalancer",
            Self::Weighted(_) => "weighted",
            Self::Mirroring(_) => "mirroring",
            Self::Failover(_) => "failover",
            Self::HighestRandomWeight(_) => "highestrandomweight",
        }
    }
}

/// Servers, and how one of them is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// Stickiness.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// The servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
    /// `wrr`, `p2c`, `hrw` or `leasttime`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub strategy: String,
    /// Active probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Failures seen by requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive_health_check: Option<PassiveHealthCheck>,
    /// Forward the client's Host header; default true.
    pub pass_host_header: bool,
    /// How the response body is flushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_forwarding: Option<ResponseForwarding>,
    /// A named transport, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub servers_transport: String,
    /// Wharf's own: how long the share of a server grows that has just become ready.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub slow_start: GoDuration,
    /// Wharf's own: requests that wait for a server.
    #[serde(skip_serializing_if = "tree::is_default")]
    pub hold: Hold,
    /// Wharf's own: whether a server is taken out that fails where the others do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_ejection: Option<bool>,
}

/// Requests that wait for a server. What is not set is as for all services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hold {
    /// How long each may wait; 0: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// How many may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// How many bytes they may take together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u32>,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            sticky: None,
            servers: Vec::new(),
            strategy: "wrr".to_owned(),
            health_check: None,
            passive_health_check: None,
            pass_host_header: true,
            response_forwarding: Some(ResponseForwarding::default()),
            servers_transport: String::new(),
            slow_start: GoDuration::default(),
            hold: Hold::default(),
            outlier_ejection: None,
        }
    }
}

/// One server of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// `http://172.18.0.3:80`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Share under `wrr`; `None`: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// Keep the path of the URL.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preserve_path: bool,
    /// The container behind it, when it comes from one.
    #[serde(skip)]
    pub replica: Option<ReplicaFacts>,
}

/// What the engine said about the container behind a server when this was published.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaFacts {
    /// The container.
    pub container: ContainerRef,
    /// Its state at that time; later changes come as `provider::Change::Replica`.
    pub state: ReplicaState,
    /// It has a Docker HEALTHCHECK, so that no connect probe is needed.
    pub has_health_check: bool,
    /// When it was started.
    pub started: Option<SystemTime>,
    /// The deploy that it comes from; `None` where deploys of its service can't be told apart.
    pub deploy: Option<Arc<Deploy>>,
}

/// What the engine says of a container, as far as traffic is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaState {
    /// Running; a HEALTHCHECK that has not answered yet, or no proof yet that it accepts.
    Starting,
    /// Running, and healthy if it has a HEALTHCHECK.
    Running,
    /// The HEALTHCHECK failed.
    Unhealthy,
    /// Paused.
    Paused,
    /// It was sent its stop signal: no new requests.
    Stopping,
    /// Not running.
    Gone,
}

/// Stickiness of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sticky {
    /// By cookie.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Cookie>,
}

/// The sticky cookie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cookie {
    /// Empty: made from the service's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `Secure`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
    /// `HttpOnly`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub http_only: bool,
    /// `none`, `lax`, `strict` in any case; other text leaves the attribute out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub same_site: String,
    /// Seconds; 0: a session cookie.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_age: i64,
    /// Default `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Left out when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
pub(super) fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: String::new(),
            secure: false,
            http_only: false,
            same_site: String::new(),
            max_age: 0,
            path: Some("/".to_owned()),
            domain: String::new(),
        }
    }
}

/// Active probes of a load balancer's servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheck {
    /// Scheme; empty: the server's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// `http` or `grpc`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Relative URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Empty: GET.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The one healthy status; 0: 200 to 399.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: i64,
    /// 0: the server's.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: i64,
    /// Default 30 s.
    pub interval: GoDuration,
    /// Default: the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_interval: Option<GoDuration>,
    /// Default 5 s.
    pub timeout: GoDuration,
    /// Host header of the probe.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Default true.
    pub follow_redirects: bool,
    /// Further headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            scheme: String::new(),
            mode: "http".to_owned(),
            path: String::new(),
            method: String::new(),
            status: 0,
            port: 0,
            interval: GoDuration::from_secs(30),
            unhealthy_interval: None,
            timeout: GoDuration::from_secs(5),
            hostname: String::new(),
            follow_redirects: true,
            headers: BTreeMap::new(),
        }
    }
}

/// Servers taken out by failed requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PassiveHealthCheck {
    /// Default 10 s.
    pub failure_window: GoDuration,
    /// Default 1.
    pub max_failed_attempts: i64,
}

impl Default for PassiveHealthCheck {
    fn default() -> Self {
        Self { failure_window: GoDuration::from_secs(10), max_failed_attempts: 1 }
    }
}

/// How a response body is passed on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResponseForwarding {
    /// Default 100 ms; negative: after each write.
    pub flush_interval: GoDuration,
}

impl Default for ResponseForwarding {
    fn default() -> Self {
        Self { flush_interval: GoDuration::from_millis(100) }
    }
}
