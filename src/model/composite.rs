//! Services made of services, as declared.

use serde::{Deserialize, Serialize};

use super::service::{Sticky, is_zero};
use crate::tree;

/// Weighted services (file provider).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Weighted {
    /// The services and their shares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<WeightedService>,
    /// Stickiness over the services.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Services that are down get nothing, and services above are told.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthOfChildren>,
}

/// `healthCheck: {}` of a service of services: it goes by the health of those below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthOfChildren {}

/// One service of a [`Weighted`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedService {
    /// As written.
    pub name: String,
    /// `None`: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
}

impl Default for WeightedService {
    fn default() -> Self {
        Self { name: String::new(), weight: Some(1) }
    }
}

/// Mirrored requests (file provider).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirroring {
    /// Whose answer the client gets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Copy bodies too; default true.
    pub mirror_body: bool,
    /// Largest body copied; -1: no limit.
    pub max_body_size: i64,
    /// Who gets copies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    /// Services above are told of its health, which is that of `service`.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthOfChildren>,
}

impl Default for Mirroring {
    fn default() -> Self {
        Self {
            service: String::new(),
            mirror_body: true,
            max_body_size: -1,
            mirrors: Vec::new(),
            health_check: None,
        }
    }
}

/// One mirror.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirror {
    /// The service, as written.
    pub name: String,
    /// 0 to 100.
    #[serde(skip_serializing_if = "is_zero")]
    pub percent: i64,
}

/// A second service (file provider).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// First choice.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Used while the first is down.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fallback: String,
    /// Services above are told of its health.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthOfChildren>,
    /// Answers of the first that send the request to the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<FailoverErrors>,
}

/// Answers that a [`Failover`] does not pass on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverErrors {
    /// Larger bodies are refused; -1: none is.
    pub max_request_body_bytes: i64,
    /// `500` and `500-599`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
}

impl Default for FailoverErrors {
    fn default() -> Self {
        Self { max_request_body_bytes: -1, status: Vec::new() }
    }
}

/// Services by client address (file provider).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HighestRandomWeight {
    /// The services and their shares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<WeightedService>,
    /// Services that are down get nothing, and services above are told.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthOfChildren>,
}
