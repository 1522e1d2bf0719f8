//! Named TLS options, from Go's names to rustls.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::certificate::Loader;
use super::client_auth;
use super::order::{self, Ordered};
use super::store::{Certificates, One};
use crate::model::{ClientAuthType, Sourced, TlsOptions};
use crate::problem::{Code, Origin, Problem};

/// TLS 1.2 sessions kept per configuration.
const SESSIONS: usize = 4096;
const ALPN: [&str; 3] = ["h2", "http/1.1", "acme-tls/1"];

/// Options, ready for handshakes.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) config: Ordered,
    pub(super) sni_strict: bool,
    /// For clients without SNI, by the address they connected to.
    pub(super) by_address: BTreeMap<IpAddr, Ordered>,
    /// What it was made from.
    declared: TlsOptions,
    authorities: Vec<Vec<u8>>,
    certificates: Arc<Certificates>,
}

/// Builds options; `None`, with a problem: they can't be used, and what asks for them must
/// not be served with others.
pub(super) fn build(
    declared: Option<&Sourced<TlsOptions>>,
    certificates: &Arc<Certificates>,
    loader: &mut Loader,
    previous: Option<&Built>,
    problems: &mut Vec<Problem>,
) -> Option<Built> {
    let origin = declared.and_then(|d| d.from.first()).cloned().unwrap_or(Origin::Internal);
    let options = declared.map(|declared| declared.value.clone()).unwrap_or_default();
    let mut notes = Notes { origin, problems };
    let authorities = authorities(&options, loader, &mut notes)?;
    let same =
        previous.filter(|built| built.declared == options && built.authorities == authorities);
    let config = match same {
        Some(built) if Arc::ptr_eq(&built.certificates, certificates) => {
            // Said again at each compile, though nothing is built.
            drop(provider(&options, &mut notes)?);
            drop(versions(&options, &mut notes)?);
            built.config.clone()
        }
        Some(built) => {
            drop(provider(&options, &mut notes)?);
            drop(versions(&options, &mut notes)?);
            // Other certificates, the same options: sessions and tickets are kept.
            let mut config = ServerConfig::clone(&built.config.ours);
            config.cert_resolver = Arc::clone(certificates) as _;
            Ordered::from(config)
        }
        None => Ordered::from(config(&options, &authorities, certificates, &mut notes)?),
    };
    let by_address = certificates
        .addresses()
        .map(|(address, key)| (address, Ordered::from(with_key(&config.ours, key))))
        .collect();
    let certificates = Arc::clone(certificates);
    let sni_strict = options.sni_strict;
    Some(Built { config, sni_strict, by_address, declared: options, authorities, certificates })
}

/// Where problems of one set of options go.
struct Notes<'p> {
    origin: Origin,
    problems: &'p mut Vec<Problem>,
}

impl Notes<'_> {
    fn error(&mut self, text: String, mend: &str) {
        let problem = Problem::error(Code::BadValue, self.origin.clone(), text);
        self.problems.push(problem.mend(mend));
    }

    fn warning(&mut self, text: String, mend: &str) {
        let problem = Problem::warning(Code::NotBuilt, self.origin.clone(), text);
        self.problems.push(problem.mend(mend));
    }
}

fn with_key(config: &ServerConfig, key: One) -> ServerConfig {
    let mut config = config.clone();
    config.cert_resolver = Arc::new(key);
    config
}

fn config(
    options: &TlsOptions,
    authorities: &[Vec<u8>],
    certificates: &Arc<Certificates>,
    notes: &mut Notes<'_>,
) -> Option<ServerConfig> {
    let provider = Arc::new(provider(options, notes)?);
    let versions = versions(options, notes)?;
    let kind = client_auth_type(options);
    let verifier = client_auth::verifier(kind, authorities, &provider)
        .map_err(|error| {
            notes.error(
                format!("tls.options.clientAuth: {error}"),
                "name a PEM file with the CA's certificate in clientAuth.caFiles",
            );
        })
        .ok()?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| {
            notes.error(
                format!("tls.options: {error}"),
                "choose cipherSuites and curvePreferences that fit minVersion and maxVersion",
            );
        })
        .ok()?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(certificates) as _);
    let protocols: Vec<&str> = if options.alpn_protocols.is_empty() {
        ALPN.to_vec()
    } else {
        options.alpn_protocols.iter().map(String::as_str).collect()
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    if options.disable_session_tickets {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        match aws_lc_rs::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            Err(error) => tracing::warn!(%error, "session tickets are off"),
        }
    }
    Some(config)
}

fn client_auth_type(options: &TlsOptions) -> ClientAuthType {
    match &options.client_auth {
        None => ClientAuthType::NoClientCert,
        // As Traefik: naming authorities alone means that clients are verified.
        Some(auth)
            if auth.client_auth_type == ClientAuthType::NoClientCert
                && !auth.ca_files.is_empty() =>
        {
            ClientAuthType::RequireAndVerifyClientCert
        }
        Some(auth) => auth.client_auth_type,
    }
}

/// The texts of `caFiles`; one that can't be read fails closed.
fn authorities(
    options: &TlsOptions,
    loader: &mut Loader,
    notes: &mut Notes<'_>,
) -> Option<Vec<Vec<u8>>> {
    let files = options.client_auth.as_ref().map_or(&[][..], |auth| &auth.ca_files);
    let mut texts = Vec::with_capacity(files.len());
    let mut is_whole = true;
    for file in files {
        match loader.text("clientAuth.caFiles", file) {
            Ok(text) => texts.push(text),
            Err(error) => {
                is_whole = false;
                notes.error(
                    format!("tls.options: {error}"),
                    "give a PEM file that the proxy can read; until then these options refuse \
                     every client",
                );
            }
        }
    }
    is_whole.then_some(texts)
}

fn versions(
    options: &TlsOptions,
    notes: &mut Notes<'_>,
) -> Option<Vec<&'static SupportedProtocolVersion>> {
    let mut read = |key: &str, text: &str, unset: u8| match text {
        "" => Some(unset),
        "VersionTLS10" => Some(10),
        "VersionTLS11" => Some(11),
        "VersionTLS12" => Some(12),
        "VersionTLS13" => Some(13),
        other => {
            let text = format!("invalid TLS {key}: {other:?}");
            notes.error(text, "use VersionTLS12 or VersionTLS13");
            None
        }
    };
    let min = read("minVersion", &options.min_version, 12)?;
    let max = read("maxVersion", &options.max_version, 13)?;
    if min < 12 && max >= 12 {
        notes.warning(
            format!("minVersion {} is not offered: it is broken", options.min_version),
            "TLS 1.2 is the oldest version that clients get; set minVersion: VersionTLS12",
        );
    }
    let mut versions = Vec::new();
    if max >= 13 {
        versions.push(&version::TLS13);
    }
    if min <= 12 && max >= 12 {
        versions.push(&version::TLS12);
    }
    if versions.is_empty() {
        notes.error(
            format!("no version from {:?} to {:?}", options.min_version, options.max_version),
            "allow VersionTLS12 or VersionTLS13",
        );
        return None;
    }
    Some(versions)
}

/// Suites and groups as asked for. What rustls does not have is left out with a warning;
/// when nothing is left, the options can't be used.
fn provider(options: &TlsOptions, notes: &mut Notes<'_>) -> Option<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    order::sort(&mut provider.cipher_suites);
    if !options.cipher_suites.is_empty() {
        let chosen: Vec<_> = options.cipher_suites.iter().filter_map(|n| suite(n, notes)).collect();
        let has_old =
            options.max_version != "VersionTLS13" && options.min_version != "VersionTLS13";
        // The suites of TLS 1.3 can't be chosen, as in Go.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || chosen.contains(suite));
        if has_old && chosen.is_empty() {
            notes.error(
                "none of the cipherSuites can be used".to_owned(),
                "name TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 or another ECDHE suite with GCM or \
                 CHACHA20_POLY1305, or set minVersion: VersionTLS13",
            );
            return None;
        }
    }
    if !options.curve_preferences.is_empty() {
        let groups: Vec<_> =
            options.curve_preferences.iter().filter_map(|name| group(name, notes)).collect();
        if groups.is_empty() {
            notes.error(
                "none of the curvePreferences can be used".to_owned(),
                "name X25519, CurveP256 or CurveP384",
            );
            return None;
        }
        provider.kx_groups = groups;
    }
    Some(provider)
}

fn suite(name: &str, notes: &mut Notes<'_>) -> Option<SupportedCipherSuite> {
    let rustls_name = match name {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        name => name,
    };
    let all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
    let found = all.copied().find(|suite| suite.suite().as_str() == Some(rustls_name));
    if found.is_none() && !name.starts_with("TLS_AES_") && !name.starts_with("TLS_CHACHA20_") {
        notes.warning(
            format!("cipher suite {name} is not offered: it has no forward secrecy or uses CBC"),
            "use a TLS_ECDHE_*_GCM_* or TLS_ECDHE_*_CHACHA20_POLY1305 suite for the same clients",
        );
    }
    found
}

fn group(name: &str, notes: &mut Notes<'_>) -> Option<&'static dyn SupportedKxGroup> {
    use aws_lc_rs::kx_group;
    match name {
        "X25519" => Some(kx_group::X25519),
        "X25519MLKEM768" => Some(kx_group::X25519MLKEM768),
        "SecP256r1MLKEM768" => Some(kx_group::SECP256R1MLKEM768),
        "CurveP256" | "secp256r1" => Some(kx_group::SECP256R1),
        "CurveP384" | "secp384r1" => Some(kx_group::SECP384R1),
        other => {
            notes.warning(
                format!("curve {other} is not offered"),
                "use X25519, CurveP256 or CurveP384",
            );
            None
        }
    }
}
