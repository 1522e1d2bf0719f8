//! How servers are talked to, as declared.

use serde::{Deserialize, Serialize};

use super::CertificateFiles;
use crate::settings::{GoDuration, SpiffePeers};
use crate::tree;

/// A named servers transport.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServersTransport {
    /// SNI and name to expect; empty: the host of the server URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    /// Do not verify the server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
    /// Files or PEM texts.
    #[serde(rename = "rootCAs", skip_serializing_if = "Vec::is_empty")]
    pub root_cas: Vec<String>,
    /// Client certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateFiles>,
    /// Idle connections kept per server; 0: 2 (Go), negative: none. Only the default transport
    /// has Traefik's 200; a named one that says nothing has Go's.
    pub max_idle_conns_per_host: i64,
    /// Time limits.
    pub forwarding_timeouts: ForwardingTimeouts,
    /// No HTTP/2.
    #[serde(rename = "disableHTTP2", skip_serializing_if = "std::ops::Not::not")]
    pub disable_http2: bool,
    /// Cipher suites up to TLS 1.2, by Go's names; empty: all good ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// `VersionTLS12`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub min_version: String,
    /// `VersionTLS13`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub max_version: String,
    /// URI that must be among the certificate's names.
    #[serde(rename = "peerCertURI", skip_serializing_if = "String::is_empty")]
    pub peer_cert_uri: String,
    /// Identities instead of names.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "tree::switch")]
    pub spiffe: Option<SpiffePeers>,
}

/// Time limits towards servers; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ForwardingTimeouts {
    /// To connect; default 30 s.
    pub dial_timeout: GoDuration,
    /// For the response head; default none.
    pub response_header_timeout: GoDuration,
    /// A connection without work; default 90 s.
    pub idle_conn_timeout: GoDuration,
    /// HTTP/2: silence before a ping; default none.
    pub read_idle_timeout: GoDuration,
    /// HTTP/2: wait for its answer; default 15 s.
    pub ping_timeout: GoDuration,
}

impl Default for ForwardingTimeouts {
    fn default() -> Self {
        Self {
            dial_timeout: GoDuration::from_secs(30),
            response_header_timeout: GoDuration::from_secs(0),
            idle_conn_timeout: GoDuration::from_secs(90),
            read_idle_timeout: GoDuration::from_secs(0),
            ping_timeout: GoDuration::from_secs(15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_transport_keeps_as_few_idle_connections_as_in_traefik() {
        assert_eq!(ServersTransport::default().max_idle_conns_per_host, 0);
    }
}
