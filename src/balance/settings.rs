//! What services are built from: plain values, checked by compile.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Deploy, EngineState, Strategy};

/// A load balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancerSettings {
    /// Its servers.
    pub servers: Vec<ServerSettings>,
    /// How one is chosen.
    pub strategy: Strategy,
    /// The sticky cookie.
    pub sticky: Option<CookieSettings>,
    /// Forward the client's Host field; else the server's `host:port`.
    pub pass_host_header: bool,
    /// Active probes.
    pub health_check: Option<HealthCheckSettings>,
    /// Failures seen by requests.
    pub passive: Option<PassiveSettings>,
    /// Requests that wait for a server that is about to be ready.
    pub hold: HoldSettings,
    /// How long the share of a server grows that has just become ready; zero: not at all.
    pub slow_start: Duration,
    /// Take servers out for a time that fail where the others do not.
    pub outlier_ejection: bool,
}

/// Requests that wait for a server that is about to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldSettings {
    /// How long each waits at most; zero: not at all.
    pub limit: Duration,
    /// How many wait at most.
    pub max_requests: usize,
    /// How many bytes those that wait may take together.
    pub max_bytes: usize,
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self { limit: Duration::from_secs(10), max_requests: 1000, max_bytes: 16 << 20 }
    }
}

impl Default for LoadBalancerSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            strategy: Strategy::RoundRobin,
            sticky: None,
            pass_host_header: true,
            health_check: None,
            passive: None,
            hold: HoldSettings::default(),
            slow_start: Duration::ZERO,
            outlier_ejection: true,
        }
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// `http://172.18.0.3:80`.
    pub url: String,
    /// Its share; 0 or less: none.
    pub weight: i64,
    /// Put the path of the URL in front of the request's.
    pub preserve_path: bool,
    /// The container behind it; `None`: written in a file.
    pub container: Option<ContainerSettings>,
}

impl ServerSettings {
    /// The generation that it is of, where generations can be told apart.
    pub(super) fn generation(&self) -> Option<&Arc<str>> {
        Some(&self.container.as_ref()?.deploy.as_ref()?.generation)
    }
}

/// What the engine said of the container behind a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSettings {
    /// Full id.
    pub id: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its state at that time.
    pub state: EngineState,
    /// It has a Docker HEALTHCHECK: the engine says when it is ready.
    pub has_health_check: bool,
    /// When it was started.
    pub started: Option<SystemTime>,
    /// The deploy that it comes from, where deploys of the service can be told apart.
    pub deploy: Option<Arc<Deploy>>,
}

/// A sticky cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSettings {
    /// Empty: made from the service's name.
    pub name: String,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `none`, `lax`, `strict` in any case; other text leaves the attribute out.
    pub same_site: String,
    /// Seconds; 0: a session cookie, negative: expires at once.
    pub max_age: i64,
    /// `Path`; empty leaves it out.
    pub path: String,
    /// `Domain`; empty leaves it out.
    pub domain: String,
}

/// Active probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckSettings {
    /// The gRPC health protocol instead of plain HTTP.
    pub grpc: bool,
    /// Scheme; empty: the server's.
    pub scheme: String,
    /// Port; 0: the server's.
    pub port: i64,
    /// Relative URL.
    pub path: String,
    /// Method; empty: GET.
    pub method: String,
    /// The one healthy status; 0: 200 to 399.
    pub status: i64,
    /// `Host` of the probe; empty: the server's.
    pub hostname: String,
    /// Further fields.
    pub headers: Vec<(String, String)>,
    /// Follow redirects.
    pub follow_redirects: bool,
    /// Between probes of servers that are up; zero: 30 s.
    pub interval: Duration,
    /// Between probes of servers that are down; zero: `interval`.
    pub unhealthy_interval: Duration,
    /// For one probe; zero: 5 s.
    pub timeout: Duration,
}

/// Servers taken out by failed requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassiveSettings {
    /// Failures are counted over so long, and the server stays out so long.
    pub failure_window: Duration,
    /// So many failures take it out; below 1 acts as 1.
    pub max_failed_attempts: i64,
}
