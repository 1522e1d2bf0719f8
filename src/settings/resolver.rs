//! Certificate resolvers: `certificatesResolvers.<name>`.

use serde::{Deserialize, Serialize};

use super::GoDuration;
use crate::tree;

/// One resolver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resolver {
    /// ACME, RFC 8555.
    #[serde(deserialize_with = "tree::switch")]
    pub acme: Option<Acme>,
}

/// How certificates are obtained by ACME.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Acme {
    /// Contact of the account.
    pub email: String,
    /// URL of the CA's directory.
    pub ca_server: String,
    /// File that keeps account and certificates.
    pub storage: String,
    /// Kind of the certificates' keys: `EC256`, `EC384`, `RSA2048`, `RSA4096`, `RSA8192`.
    /// Empty: `EC256`, where Traefik has `RSA4096`.
    pub key_type: String,
    /// Accepted: a certificate itself says how long it lives.
    pub certificates_duration: i64,
    /// Issuer's common name of the chain to choose among those offered.
    pub preferred_chain: String,
    /// Profile to ask for (RFC 9773's sibling draft, as Let's Encrypt has it).
    pub profile: String,
    /// CA files, or PEM texts, to verify the ACME server; instead of the system's.
    pub ca_certificates: Vec<String>,
    /// The system's roots beside `ca_certificates`.
    pub ca_system_cert_pool: bool,
    /// Name to expect in the ACME server's certificate.
    pub ca_server_name: String,
    /// Limit of one call to the ACME server.
    pub client_timeout: GoDuration,
    /// Limit of the wait for the head of its answer.
    pub client_response_header_timeout: GoDuration,
    /// Limit of the wait for the certificate once an order is finalized.
    pub certificate_timeout: GoDuration,
    /// No common name in the certificate request.
    #[serde(rename = "disableCommonName")]
    pub disable_common_name: bool,
    /// E-mail addresses in the certificate request.
    pub email_addresses: Vec<String>,
    /// External account binding.
    pub eab: Option<Eab>,
    /// HTTP-01.
    #[serde(deserialize_with = "tree::switch")]
    pub http_challenge: Option<HttpChallenge>,
    /// TLS-ALPN-01.
    #[serde(deserialize_with = "tree::switch")]
    pub tls_challenge: Option<TlsChallenge>,
    /// DNS-01.
    #[serde(deserialize_with = "tree::switch")]
    pub dns_challenge: Option<DnsChallenge>,
}

/// Let's Encrypt's.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

impl Default for Acme {
    fn default() -> Self {
        Self {
            email: String::new(),
            ca_server: LETS_ENCRYPT.to_owned(),
            storage: "acme.json".to_owned(),
            key_type: String::new(),
            certificates_duration: 2160,
            preferred_chain: String::new(),
            profile: String::new(),
            ca_certificates: Vec::new(),
            ca_system_cert_pool: false,
            ca_server_name: String::new(),
            client_timeout: GoDuration::from_secs(120),
            client_response_header_timeout: GoDuration::from_secs(30),
            certificate_timeout: GoDuration::from_secs(30),
            disable_common_name: false,
            email_addresses: Vec::new(),
            eab: None,
            http_challenge: None,
            tls_challenge: None,
            dns_challenge: None,
        }
    }
}

/// An account that the CA knows from elsewhere (RFC 8555, 7.3.4).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Eab {
    /// Its key's id.
    pub kid: String,
    /// Its HMAC key, base64url.
    pub hmac_encoded: String,
}

impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eab").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// HTTP-01.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpChallenge {
    /// The entry point that the CA reaches on port 80.
    pub entry_point: String,
    /// Wait between putting the answer up and asking for validation.
    pub delay: GoDuration,
}

/// TLS-ALPN-01.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsChallenge {
    /// Wait between putting the answer up and asking for validation.
    pub delay: GoDuration,
}

/// DNS-01.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsChallenge {
    /// Who sets the TXT record: `exec`, `httpreq`, `rfc2136`.
    pub provider: String,
    /// DNS servers to look for the record at: `host[:port]`.
    pub resolvers: Vec<String>,
    /// How to see that the record is out.
    #[serde(deserialize_with = "tree::switch")]
    pub propagation: Option<Propagation>,
    /// Deprecated: `propagation.delayBeforeChecks`.
    pub delay_before_check: GoDuration,
    /// Deprecated: `propagation.disableChecks`.
    pub disable_propagation_check: bool,
}

/// How to see that a TXT record is out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Propagation {
    /// Do not look at all.
    pub disable_checks: bool,
    /// Do not ask the zone's own servers.
    #[serde(rename = "disableANSChecks")]
    pub disable_ans_checks: bool,
    /// Every one of `resolvers` must show it.
    #[serde(rename = "requireAllRNS")]
    pub require_all_rns: bool,
    /// Wait before the first look.
    pub delay_before_checks: GoDuration,
}
