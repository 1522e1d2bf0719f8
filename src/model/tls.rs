//! TLS as declared: certificates, stores, options.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Domain, Items, Name, Secret, Sourced};

/// The `tls` section of all files together.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates.
    pub certificates: Vec<Arc<Sourced<CertificateFiles>>>,
    /// Named options; `default` is the fallback.
    pub options: Items<TlsOptions>,
    /// Stores; only `default` is used.
    pub stores: Items<Store>,
}

impl Tls {
    /// The store that is used. As Traefik: none, where several providers declare it.
    pub fn default_store(&self) -> Option<(&Name, &Arc<Sourced<Store>>)> {
        let mut found = self.default_stores();
        found.next().filter(|_| found.next().is_none())
    }

    /// All that are called `default`, one per provider.
    pub fn default_stores(&self) -> impl Iterator<Item = (&Name, &Arc<Sourced<Store>>)> {
        self.stores.iter().filter(|(name, _)| name.local() == "default")
    }
}

/// A certificate and its key: file paths or PEM texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub cert_file: String,
    /// Key.
    pub key_file: Secret,
    /// Stores it goes to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
}

/// One certificate store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Store {
    /// For names that no other certificate covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_certificate: Option<CertificateFiles>,
    /// The same, obtained by a resolver; what is given goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_generated_cert: Option<GeneratedCert>,
}

impl Store {
    /// The certificate to obtain, as far as it is used.
    pub fn generated(&self) -> Option<&GeneratedCert> {
        self.default_generated_cert.as_ref().filter(|_| self.default_certificate.is_none())
    }
}

/// A default certificate that a resolver obtains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GeneratedCert {
    /// The resolver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resolver: String,
    /// Its names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
}

impl GeneratedCert {
    /// The names, lower case, each once, the main one first.
    pub fn names(&self) -> Vec<String> {
        self.domain.as_ref().map(Domain::names).unwrap_or_default()
    }
}

/// Named TLS options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsOptions {
    /// `VersionTLS12`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub min_version: String,
    /// `VersionTLS13`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub max_version: String,
    /// Go's names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// Go's names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curve_preferences: Vec<String>,
    /// Client certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// Refuse handshakes whose name no certificate covers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sni_strict: bool,
    /// Default `h2`, `http/1.1`, `acme-tls/1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn_protocols: Vec<String>,
    /// No session tickets.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_session_tickets: bool,
    /// Deprecated and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer_server_cipher_suites: Option<bool>,
}

/// Which client certificates are asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientAuth {
    /// Files or PEM texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_files: Vec<String>,
    /// Whether clients need one.
    pub client_auth_type: ClientAuthType,
}

/// Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAuthType {
    /// Not asked for.
    #[default]
    NoClientCert,
    /// Asked for, anything goes.
    RequestClientCert,
    /// Needed, not verified.
    RequireAnyClientCert,
    /// Verified when given.
    VerifyClientCertIfGiven,
    /// Needed and verified.
    RequireAndVerifyClientCert,
}
