//! Routers as declared.

use serde::{Deserialize, Serialize};

use crate::tree;

/// One router. Field names are Traefik's; empty ones are not printed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Router {
    /// Entry points by name; empty: the default ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entry_points: Vec<String>,
    /// Middlewares in order, as written (`auth`, `auth@file`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<String>,
    /// The service, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The rule, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// `v3`, `v2`, `default` or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule_syntax: String,
    /// The rule is the provider's default one.
    #[serde(skip)]
    pub default_rule: bool,
    /// Higher is tried first; 0: the byte length of the rule.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i64,
    /// Present: the router answers TLS only.
    #[serde(deserialize_with = "tree::switch", skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouterTls>,
    /// Per-router switches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observability: Option<RouterObservability>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// The `tls` section of a router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouterTls {
    /// Named TLS options, as written; empty: `default`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub options: String,
    /// ACME resolver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_resolver: String,
    /// Names to get certificates for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Domain>,
}

/// One certificate's names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Domain {
    /// The main name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub main: String,
    /// Further names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<String>,
}

impl Domain {
    /// All names as certificates have them, the main one first.
    pub fn names(&self) -> Vec<String> {
        tidy([&self.main].into_iter().chain(&self.sans).map(String::as_str))
    }
}

/// Names in lower case without the dot at the end, each once.
pub fn tidy<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let mut tidied: Vec<String> = Vec::new();
    for name in names {
        let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
        if !name.is_empty() && !tidied.contains(&name) {
            tidied.push(name);
        }
    }
    tidied
}

/// What is observed of one router; `None`: as the entry point says (on).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouterObservability {
    /// Access log lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_logs: Option<bool>,
    /// Metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<bool>,
    /// Traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<bool>,
    /// `minimal` or `detailed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_verbosity: Option<String>,
}
