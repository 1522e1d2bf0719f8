//! Ping, logs and metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{GoDuration, LogsOtlp, MetricsOtlp};
use crate::tree;

/// `/ping`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ping {
    /// Default `traefik`.
    pub entry_point: String,
    /// No router of its own.
    pub manual_routing: bool,
    /// Status while shutting down; default 503.
    pub terminating_status_code: u16,
}

impl Default for Ping {
    fn default() -> Self {
        Self {
            entry_point: "traefik".to_owned(),
            manual_routing: false,
            terminating_status_code: 503,
        }
    }
}

/// Wharf's own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Log {
    /// TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC in any case.
    pub level: String,
    /// `common` or `json`.
    pub format: String,
    /// Empty: stdout.
    pub file_path: String,
    /// Megabytes before the file is rotated; 0: never.
    pub max_size: i64,
    /// Days that old files are kept; 0: for ever.
    pub max_age: i64,
    /// Old files that are kept; 0: all.
    pub max_backups: i64,
    /// gzip old files.
    pub compress: bool,
    /// No colours.
    pub no_color: bool,
    /// To a collector, too.
    #[serde(deserialize_with = "tree::switch")]
    pub otlp: Option<LogsOtlp>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "ERROR".to_owned(),
            format: "common".to_owned(),
            file_path: String::new(),
            max_size: 0,
            max_age: 0,
            max_backups: 0,
            compress: false,
            no_color: false,
            otlp: None,
        }
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLog {
    /// Empty: stdout.
    pub file_path: String,
    /// `common`, `genericCLF` or `json`.
    pub format: String,
    /// Which requests.
    pub filters: AccessLogFilters,
    /// Which fields.
    pub fields: AccessLogFields,
    /// Lines to hold before writing.
    pub buffering_size: i64,
    /// Requests to internal services too.
    pub add_internals: bool,
    /// Write the file too when OTLP is on.
    pub dual_output: bool,
    /// To a collector, instead of the file.
    #[serde(deserialize_with = "tree::switch")]
    pub otlp: Option<LogsOtlp>,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            file_path: String::new(),
            format: "common".to_owned(),
            filters: AccessLogFilters::default(),
            fields: AccessLogFields::default(),
            buffering_size: 0,
            add_internals: false,
            dual_output: false,
            otlp: None,
        }
    }
}

/// A line is kept when any of these holds; none set: every line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogFilters {
    /// `200`, `400-499`.
    pub status_codes: Vec<String>,
    /// Requests that were retried.
    pub retry_attempts: bool,
    /// Requests that took longer.
    pub min_duration: GoDuration,
}

/// Which fields a line holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogFields {
    /// Default keep.
    pub default_mode: FieldMode,
    /// By field.
    pub names: BTreeMap<String, FieldMode>,
    /// Request headers.
    pub headers: HeaderFields,
    /// The query.
    pub query_parameters: QueryParameters,
}

/// Which request headers a line holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderFields {
    /// Default drop.
    pub default_mode: FieldMode,
    /// By header, in any case.
    pub names: BTreeMap<String, FieldMode>,
}

impl Default for HeaderFields {
    fn default() -> Self {
        Self { default_mode: FieldMode::Drop, names: BTreeMap::new() }
    }
}

/// Whether the query is logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryParameters {
    /// Default keep.
    pub default_mode: FieldMode,
}

/// What to do with a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldMode {
    /// Log it.
    #[default]
    Keep,
    /// Leave it out.
    Drop,
    /// Log `REDACTED`.
    Redact,
}

/// Metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Internal services too.
    pub add_internals: bool,
    /// `/metrics`.
    #[serde(deserialize_with = "tree::switch")]
    pub prometheus: Option<Prometheus>,
    /// To a collector.
    #[serde(deserialize_with = "tree::switch")]
    pub otlp: Option<MetricsOtlp>,
}

/// `/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Prometheus {
    /// Bounds in seconds; default 0.1, 0.3, 1.2, 5.
    pub buckets: Vec<f64>,
    /// Default true.
    pub add_entry_points_labels: bool,
    /// Default true: a difference from Traefik, so that queries by router have answers.
    pub add_routers_labels: bool,
    /// Default true.
    pub add_services_labels: bool,
    /// Default `traefik`.
    pub entry_point: String,
    /// No router of its own.
    pub manual_routing: bool,
    /// Further labels of `requests_total`, from request headers.
    pub header_labels: BTreeMap<String, String>,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            buckets: vec![0.1, 0.3, 1.2, 5.0],
            add_entry_points_labels: true,
            add_routers_labels: true,
            add_services_labels: true,
            entry_point: "traefik".to_owned(),
            manual_routing: false,
            header_labels: BTreeMap::new(),
        }
    }
}
