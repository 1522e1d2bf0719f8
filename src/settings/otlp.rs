//! OpenTelemetry: where traces, metrics and logs are sent, and what of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::GoDuration;
use crate::tree;

/// Tracing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Default `traefik`, so that what was built on Traefik's traces goes on.
    pub service_name: String,
    /// Further attributes of the resource.
    pub resource_attributes: BTreeMap<String, String>,
    /// The same, by the name it had before.
    pub global_attributes: BTreeMap<String, String>,
    /// Request fields that spans hold.
    pub captured_request_headers: Vec<String>,
    /// Response fields that spans hold.
    pub captured_response_headers: Vec<String>,
    /// Query parameters whose values spans may hold.
    pub safe_query_params: Vec<String>,
    /// Share of the traces that begin here, 0 to 1.
    pub sample_rate: f64,
    /// Internal services too.
    pub add_internals: bool,
    /// Where to; not set: HTTP to this machine.
    #[serde(deserialize_with = "tree::switch")]
    pub otlp: Option<Collector>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            service_name: SERVICE_NAME.to_owned(),
            resource_attributes: BTreeMap::new(),
            global_attributes: BTreeMap::new(),
            captured_request_headers: Vec::new(),
            captured_response_headers: Vec::new(),
            safe_query_params: Vec::new(),
            sample_rate: 1.0,
            add_internals: false,
            otlp: None,
        }
    }
}

pub(super) const SERVICE_NAME: &str = "traefik";

/// A collector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Collector {
    /// Over HTTP, unless `grpc` is set.
    #[serde(deserialize_with = "tree::switch")]
    pub http: Option<CollectorHttp>,
    /// Over gRPC.
    #[serde(deserialize_with = "tree::switch")]
    pub grpc: Option<CollectorGrpc>,
}

/// OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorHttp {
    /// `https://localhost:4318`; without a path, `/v1/traces` and so on.
    pub endpoint: String,
    /// TLS.
    pub tls: Option<CollectorTls>,
    /// Fields to send.
    pub headers: BTreeMap<String, String>,
}

impl Default for CollectorHttp {
    fn default() -> Self {
        let endpoint = "https://localhost:4318".to_owned();
        Self { endpoint, tls: None, headers: BTreeMap::new() }
    }
}

/// OTLP over gRPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorGrpc {
    /// `localhost:4317`.
    pub endpoint: String,
    /// Without TLS.
    pub insecure: bool,
    /// TLS.
    pub tls: Option<CollectorTls>,
    /// Fields to send.
    pub headers: BTreeMap<String, String>,
}

impl Default for CollectorGrpc {
    fn default() -> Self {
        let endpoint = "localhost:4317".to_owned();
        Self { endpoint, insecure: false, tls: None, headers: BTreeMap::new() }
    }
}

/// TLS towards a collector: files or PEM texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectorTls {
    /// Roots.
    pub ca: String,
    /// Client certificate.
    pub cert: String,
    /// Client key.
    pub key: String,
    /// Do not verify.
    pub insecure_skip_verify: bool,
}

/// Metrics to a collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsOtlp {
    /// Default true.
    pub add_entry_points_labels: bool,
    /// Default false, as Traefik's.
    pub add_routers_labels: bool,
    /// Default true.
    pub add_services_labels: bool,
    /// Bounds of the histograms in seconds.
    pub explicit_boundaries: Vec<f64>,
    /// Between two pushes.
    pub push_interval: GoDuration,
    /// Default `traefik`.
    pub service_name: String,
    /// Further attributes of the resource.
    pub resource_attributes: BTreeMap<String, String>,
    /// Over HTTP, unless `grpc` is set.
    #[serde(deserialize_with = "tree::switch")]
    pub http: Option<CollectorHttp>,
    /// Over gRPC.
    #[serde(deserialize_with = "tree::switch")]
    pub grpc: Option<CollectorGrpc>,
}

impl Default for MetricsOtlp {
    fn default() -> Self {
        let bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0];
        Self {
            add_entry_points_labels: true,
            add_routers_labels: false,
            add_services_labels: true,
            explicit_boundaries: bounds.into_iter().chain([7.5, 10.0]).collect(),
            push_interval: GoDuration::from_millis(10_000),
            service_name: SERVICE_NAME.to_owned(),
            resource_attributes: BTreeMap::new(),
            http: None,
            grpc: None,
        }
    }
}

impl MetricsOtlp {
    /// Where to.
    pub fn collector(&self) -> Collector {
        Collector { http: self.http.clone(), grpc: self.grpc.clone() }
    }
}

/// Log records to a collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogsOtlp {
    /// Default `traefik`.
    pub service_name: String,
    /// Further attributes of the resource.
    pub resource_attributes: BTreeMap<String, String>,
    /// Over HTTP, unless `grpc` is set.
    #[serde(deserialize_with = "tree::switch")]
    pub http: Option<CollectorHttp>,
    /// Over gRPC.
    #[serde(deserialize_with = "tree::switch")]
    pub grpc: Option<CollectorGrpc>,
}

impl Default for LogsOtlp {
    fn default() -> Self {
        Self {
            service_name: SERVICE_NAME.to_owned(),
            resource_attributes: BTreeMap::new(),
            http: None,
            grpc: None,
        }
    }
}

impl LogsOtlp {
    /// Where to.
    pub fn collector(&self) -> Collector {
        Collector { http: self.http.clone(), grpc: self.grpc.clone() }
    }
}
