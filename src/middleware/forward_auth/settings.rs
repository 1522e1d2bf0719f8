//! The settings of `forwardAuth`, with Traefik's names and defaults.

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::server;
use crate::middleware::client_tls;

/// Settings of `forwardAuth`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The URL that is asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// TLS towards it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Passes X-Forwarded-* of the request on (true), or rebuilds all (false). Unset:
    /// rebuilds five of them, and passes the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_forward_header: Option<bool>,
    /// Fields of the answer that replace the request's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub auth_response_headers: Vec<String>,
    /// The same by a pattern.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_response_headers_regex: String,
    /// The only fields of the request that are sent; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub auth_request_headers: Vec<String>,
    /// Cookies of the answer that go to the client.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_auth_cookies_to_response: Vec<String>,
    /// The field of the answer that names the user to the access log.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub header_field: String,
    /// Most bytes of the answer; negative: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_response_body_size: Option<i64>,
    /// Sends the request's body.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forward_body: bool,
    /// Most bytes of it; negative: no limit.
    pub max_body_size: i64,
    /// Leaves Location of the answer as it is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preserve_location_header: bool,
    /// Asks with the request's method instead of GET.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preserve_request_method: bool,
    /// Where to send the client when the answer is 401.
    #[serde(rename = "authSigninURL", skip_serializing_if = "String::is_empty")]
    pub auth_signin_url: String,
}

/// TLS towards the server: each a file or a PEM text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Authorities, instead of the system's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca: String,
    /// Without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_optional: Option<bool>,
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
            address: String::new(),
            tls: None,
            trust_forward_header: None,
            auth_response_headers: Vec::new(),
            auth_response_headers_regex: String::new(),
            auth_request_headers: Vec::new(),
            add_auth_cookies_to_response: Vec::new(),
            header_field: String::new(),
            max_response_body_size: None,
            forward_body: false,
            max_body_size: -1,
            preserve_location_header: false,
            preserve_request_method: false,
            auth_signin_url: String::new(),
        }
    }
}

impl Settings {
    /// What is accepted and will not do what was meant.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Err(why) = server::parse(&self.address) {
            remarks.push(format!(
                "forwardAuth.address {:?} {why}: every request gets 500; write one such as \
                 http://auth:9091/verify",
                self.address
            ));
        }
        if self.tls.as_ref().is_some_and(|tls| tls.ca_optional.is_some()) {
            remarks.push(
                "`forwardAuth.tls.caOptional` is deprecated and has no effect; take it off"
                    .to_owned(),
            );
        }
        let field = (!self.header_field.is_empty()).then_some(&self.header_field);
        let lists = self.auth_response_headers.iter().chain(&self.auth_request_headers);
        for name in lists.chain(field).filter(|name| name_of(name).is_none()) {
            remarks.push(format!("forwardAuth: {name:?} is no header name and never found"));
        }
        remarks
    }
}

/// The names that can be names.
pub(super) fn names(texts: &[String]) -> Box<[HeaderName]> {
    texts.iter().filter_map(name_of).collect()
}

fn name_of(text: &String) -> Option<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).ok()
}
