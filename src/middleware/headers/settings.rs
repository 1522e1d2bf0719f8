//! The options of `headers`, in Traefik's order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings of `headers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Fields of requests to set; an empty value removes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_request_headers: BTreeMap<String, String>,
    /// Fields of answers to set; an empty value removes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_response_headers: BTreeMap<String, String>,
    /// CORS: credentials may be sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub access_control_allow_credentials: bool,
    /// CORS: fields that a request may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_control_allow_headers: Vec<String>,
    /// CORS: methods that a request may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_control_allow_methods: Vec<String>,
    /// CORS: who may ask; `*` is everyone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_control_allow_origin_list: Vec<String>,
    /// CORS: who may ask, as patterns that are not anchored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_control_allow_origin_list_regex: Vec<String>,
    /// CORS: fields of answers that scripts may read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_control_expose_headers: Vec<String>,
    /// CORS: seconds that a preflight holds; 0: not told.
    #[serde(skip_serializing_if = "is_zero")]
    pub access_control_max_age: i64,
    /// Adds `Origin` to `Vary`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub add_vary_header: bool,
    /// The only hosts that are served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Fields that may hold the host for `allowed_hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts_proxy_headers: Vec<String>,
    /// Without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_redirect: Option<bool>,
    /// Without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_temporary_redirect: Option<bool>,
    /// Without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_host: Option<String>,
    /// Fields whose value shows that the request came over TLS.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ssl_proxy_headers: BTreeMap<String, String>,
    /// Without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_force_host: Option<bool>,
    /// `max-age` of Strict-Transport-Security; 0: not sent.
    #[serde(skip_serializing_if = "is_zero")]
    pub sts_seconds: i64,
    /// `includeSubDomains`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sts_include_subdomains: bool,
    /// `preload`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sts_preload: bool,
    /// Sends Strict-Transport-Security over plain HTTP, too.
    #[serde(rename = "forceSTSHeader", skip_serializing_if = "std::ops::Not::not")]
    pub force_sts_header: bool,
    /// `X-Frame-Options: DENY`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub frame_deny: bool,
    /// X-Frame-Options; wins over `frame_deny`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub custom_frame_options_value: String,
    /// `X-Content-Type-Options: nosniff`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub content_type_nosniff: bool,
    /// `X-XSS-Protection: 1; mode=block`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub browser_xss_filter: bool,
    /// X-XSS-Protection; wins over `browser_xss_filter`.
    #[serde(rename = "customBrowserXSSValue", skip_serializing_if = "String::is_empty")]
    pub custom_browser_xss_value: String,
    /// Content-Security-Policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_security_policy: String,
    /// Content-Security-Policy-Report-Only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_security_policy_report_only: String,
    /// Public-Key-Pins, over TLS only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// Referrer-Policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub referrer_policy: String,
    /// Permissions-Policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub permissions_policy: String,
    /// Without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_policy: Option<String>,
    /// Does without allowed hosts, Strict-Transport-Security and Public-Key-Pins.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_development: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
