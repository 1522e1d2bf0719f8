//! The settings of `rateLimit`, with Traefik's names and defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::middleware::client_tls;
use crate::middleware::source::SourceCriterion;
use crate::redis::Address;
use crate::settings::GoDuration;

/// What a limit of 0 comes to. Differs from Traefik, where a request then waits without end.
const NO_LIMIT: Duration = Duration::from_secs(30);

/// Settings of `rateLimit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Requests per period; 0 or less: no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub average: i64,
    /// The time that `average` is counted over; 0: a second.
    #[serde(skip_serializing_if = "is_nothing")]
    pub period: GoDuration,
    /// Requests that may come at once; less than 1: 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub burst: i64,
    /// Which requests count together; `None`: those of one peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_criterion: Option<SourceCriterion>,
    /// Where the buckets are, for several proxies; `None`: in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
}

/// A Redis, and how it is talked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redis {
    /// `host:port`; several are nodes of one cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// TLS towards it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The user; counts only with a password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The password; never shown.
    #[serde(skip_serializing_if = "String::is_empty", serialize_with = "hidden")]
    pub password: String,
    /// The database; a cluster has only 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub db: i64,
    /// Connections at once; 0: ten for each worker.
    #[serde(skip_serializing_if = "is_zero")]
    pub pool_size: i64,
    /// Connections kept open.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_idle_conns: i64,
    /// Most connections at once; 0: as many as `pool_size` says.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_active_conns: i64,
    /// For an answer; 0 or less: 30 s.
    pub read_timeout: GoDuration,
    /// To send a command; 0 or less: 30 s.
    pub write_timeout: GoDuration,
    /// To connect; 0 or less: 5 s.
    pub dial_timeout: GoDuration,
}

/// TLS towards the Redis: each a file or a PEM text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Authorities, instead of the system's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca: String,
    /// The client certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert: String,
    /// Its key. A text is never shown.
    #[serde(skip_serializing_if = "String::is_empty", serialize_with = "client_tls::hidden")]
    pub key: String,
    /// Does not verify the server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            average: 0,
            period: GoDuration::from_secs(1),
            burst: 1,
            source_criterion: None,
            redis: None,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            endpoints: vec![Address::default().as_str().to_owned()],
            tls: None,
            username: String::new(),
            password: String::new(),
            db: 0,
            pool_size: 0,
            min_idle_conns: 0,
            max_active_conns: 0,
            read_timeout: GoDuration::from_secs(3),
            write_timeout: GoDuration::from_secs(3),
            dial_timeout: DIAL,
        }
    }
}

const DIAL: GoDuration = GoDuration::from_secs(5);

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_nothing(value: &GoDuration) -> bool {
    value.as_nanos() == 0
}

fn hidden<S: Serializer>(_: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("xxxx")
}

impl Settings {
    /// What is accepted and will not do what was meant.
    pub(super) fn remarks(&self) -> Vec<String> {
        let Some(redis) = &self.redis else { return Vec::new() };
        let mut remarks = Vec::new();
        if redis.endpoints.len() > 1 && redis.db != 0 {
            remarks.push(format!(
                "rateLimit.redis.db {} has no effect: several endpoints are a cluster, which has \
                 database 0 only; take one of both off",
                redis.db
            ));
        }
        if redis.password.is_empty() && !redis.username.is_empty() {
            remarks.push(
                "rateLimit.redis.username has no effect without rateLimit.redis.password"
                    .to_owned(),
            );
        }
        remarks
    }
}

impl Redis {
    /// The addresses. The error names the one that is none.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, String> {
        let parse = |text: &String| {
            Address::parse(text.trim())
                .map_err(|why| format!("redis.endpoints: {text:?} {why}, such as redis:6379"))
        };
        self.endpoints.iter().map(parse).collect()
    }

    /// Most connections; `None`: not said.
    pub(super) fn most(&self) -> Option<usize> {
        [self.pool_size, self.max_active_conns].into_iter().filter_map(positive).min()
    }

    /// Fewest connections.
    pub(super) fn fewest(&self) -> usize {
        positive(self.min_idle_conns).unwrap_or_default()
    }

    pub(super) fn dial(&self) -> Duration {
        self.dial_timeout.positive().unwrap_or(DIAL.or_zero())
    }

    pub(super) fn write(&self) -> Duration {
        self.write_timeout.positive().unwrap_or(NO_LIMIT)
    }

    pub(super) fn read(&self) -> Duration {
        self.read_timeout.positive().unwrap_or(NO_LIMIT)
    }
}

fn positive(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|number| *number > 0)
}
