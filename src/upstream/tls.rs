//! TLS towards servers: roots, client certificates, verification.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::protocols;
use super::transport::{SpiffeTransport, TlsConfigs, TransportSettings};
use crate::spiffe::{Allowed, Own, Verifier};

/// Where systems keep their roots, as Go looks for them.
const SYSTEM_STORES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Makes the configurations that a transport's settings ask for.
pub(super) fn configs(settings: &TransportSettings) -> Result<TlsConfigs, String> {
    let mut any = config(settings)?;
    let mut http1 = any.clone();
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    if settings.disable_http2 {
        any.alpn_protocols.clone_from(&http1.alpn_protocols);
    } else {
        any.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Ok(TlsConfigs { any: Arc::new(any), http1: Arc::new(http1) })
}

fn config(settings: &TransportSettings) -> Result<ClientConfig, String> {
    if let Some(peers) = &settings.spiffe {
        return spiffe(settings, peers);
    }
    let provider = Arc::new(protocols::provider(settings)?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&protocols::versions(settings)?)
        .map_err(|error| format!("cipherSuites, minVersion, maxVersion: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(settings, Arc::clone(&provider))?);
    if settings.certificates.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let mut pairs = Vec::with_capacity(settings.certificates.len());
    for (chain, key) in &settings.certificates {
        let chain = certificates("certificates.certFile", chain)?;
        let key = PrivateKeyDer::from_pem_slice(&pem("certificates.keyFile", key)?)
            .map_err(|error| format!("certificates.keyFile: {error}"))?;
        let pair = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|error| format!("certificates: {error}"))?;
        pairs.push(Arc::new(pair));
    }
    Ok(builder.with_client_cert_resolver(Arc::new(Pairs(pairs))))
}

/// As Traefik: nothing else is to be set about TLS. The errors are Traefik's, which then goes on
/// without an identity; here the servers can't be reached.
fn spiffe(settings: &TransportSettings, peers: &SpiffeTransport) -> Result<ClientConfig, String> {
    let Some(source) = &peers.source else {
        return Err("SPIFFE is enabled for this transport, but not configured; set \
                    spiffe.workloadAPIAddr in the static configuration"
            .to_owned());
    };
    let allowed = Allowed::read(&peers.ids, &peers.trust_domain)
        .map_err(|error| format!("unable to build SPIFFE authorizer: {error}"))?;
    let has_others = settings.insecure_skip_verify
        || ![&settings.root_cas, &settings.cipher_suites].iter().all(|list| list.is_empty())
        || !settings.certificates.is_empty()
        || ![
            &settings.server_name,
            &settings.peer_cert_uri,
            &settings.min_version,
            &settings.max_version,
        ]
        .iter()
        .all(|text| text.is_empty());
    if has_others {
        return Err("TLS and SPIFFE configuration cannot be defined at the same time".to_owned());
    }
    let provider = Arc::new(protocols::provider(settings)?);
    let verifier = Verifier::new(source.clone(), allowed, Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&protocols::versions(settings)?)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(Own(source.clone())));
    // A session that is taken up again would show neither a new identity nor a new root.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Client certificates, of which a server gets the first that it takes, as from Go.
#[derive(Debug)]
struct Pairs(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Pairs {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |pair: &&Arc<CertifiedKey>| {
            pair.key.choose_scheme(schemes).is_some()
                && (issuers.is_empty() || pair.cert.iter().any(|one| is_issued_by(one, issuers)))
        };
        self.0.iter().find(fits).map(Arc::clone)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn is_issued_by(certificate: &CertificateDer<'_>, issuers: &[&[u8]]) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, parsed)| issuers.contains(&parsed.issuer().as_raw()))
}

/// What the files that a transport names hold; `None` for one that can't be read.
pub(super) type Content = Vec<Option<Vec<u8>>>;

/// Reads the files of the settings; PEM texts among them are none.
pub(super) fn content(settings: &TransportSettings) -> Content {
    let pairs = settings.certificates.iter().flat_map(|(chain, key)| [chain, key]);
    let files = settings.root_cas.iter().chain(pairs).filter(|file| !is_text(file));
    files.map(|file| std::fs::read(file).ok()).collect()
}

fn is_text(file_or_text: &str) -> bool {
    file_or_text.contains("-----BEGIN")
}

fn verifier(
    settings: &TransportSettings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let inner: Arc<dyn ServerCertVerifier> = if settings.insecure_skip_verify {
        Arc::new(Unverified(Arc::clone(&provider)))
    } else {
        WebPkiServerVerifier::builder_with_provider(roots(settings)?, provider)
            .build()
            .map_err(|error| format!("rootCAs: {error}"))?
    };
    if settings.peer_cert_uri.is_empty() {
        return Ok(inner);
    }
    Ok(Arc::new(WithUri { uri: settings.peer_cert_uri.as_str().into(), inner }))
}

/// As Traefik: roots that are given replace the system's.
fn roots(settings: &TransportSettings) -> Result<Arc<RootCertStore>, String> {
    if settings.root_cas.is_empty() {
        return Ok(system_roots());
    }
    let mut store = if settings.system_roots {
        RootCertStore::clone(&system_roots())
    } else {
        RootCertStore::empty()
    };
    for given in &settings.root_cas {
        for certificate in certificates("rootCAs", given)? {
            store.add(certificate).map_err(|error| format!("rootCAs: {error}"))?;
        }
    }
    Ok(Arc::new(store))
}

/// The operator's store; Mozilla's list where there is none, as in an image from scratch.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let given = std::env::var("SSL_CERT_FILE").ok();
        for path in given.iter().map(String::as_str).chain(SYSTEM_STORES) {
            let Ok(text) = std::fs::read(path) else { continue };
            store.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
            if !store.is_empty() {
                return Arc::new(store);
            }
        }
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Arc::new(store)
    }))
}

fn certificates(setting: &str, file_or_text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = pem(setting, file_or_text)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{setting}: {error}"))?;
    if found.is_empty() {
        return Err(format!("{setting}: no certificate in it; expected PEM"));
    }
    Ok(found)
}

fn pem(setting: &str, file_or_text: &str) -> Result<Vec<u8>, String> {
    if is_text(file_or_text) {
        return Ok(file_or_text.as_bytes().to_vec());
    }
    std::fs::read(file_or_text).map_err(|error| format!("{setting}: {file_or_text}: {error}"))
}

/// `insecureSkipVerify`: any certificate will do, but its key must have signed.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// `peerCertURI`: as the inner verifier, and the URI must be among the leaf's names.
#[derive(Debug)]
struct WithUri {
    uri: Box<str>,
    inner: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for WithUri {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        if has_uri(end_entity, &self.uri) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn has_uri(certificate: &CertificateDer<'_>, uri: &str) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    parsed.subject_alternative_name().ok().flatten().is_some_and(|names| {
        names.value.general_names.iter().any(
            |name| matches!(name, x509_parser::extensions::GeneralName::URI(found) if *found == uri),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> (String, String, CertificateDer<'static>) {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://test/web".try_into().unwrap()));
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        (made.pem(), key.serialize_pem(), made.der().clone())
    }

    #[test]
    fn a_uri_is_found_among_the_names_of_a_certificate() {
        let (_, _, der) = certificate();

        assert!(has_uri(&der, "spiffe://test/web"));
        assert!(!has_uri(&der, "spiffe://test/other"));
        assert!(!has_uri(&CertificateDer::from(vec![1, 2, 3]), "spiffe://test/web"));
    }

    #[test]
    fn certificates_may_be_texts() {
        let (chain, key, _) = certificate();
        let settings = TransportSettings {
            root_cas: vec![chain.clone()],
            certificates: vec![(chain, key)],
            ..Default::default()
        };

        let made = configs(&settings).unwrap();

        assert_eq!(made.any.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(made.http1.alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[test]
    fn http2_is_not_offered_when_it_is_off() {
        let settings = TransportSettings { disable_http2: true, ..Default::default() };

        assert_eq!(configs(&settings).unwrap().any.alpn_protocols, [b"http/1.1".to_vec()]);
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let (chain, _, _) = certificate();
        let settings =
            TransportSettings { certificates: vec![(chain.clone(), chain)], ..Default::default() };

        assert!(configs(&settings).unwrap_err().starts_with("certificates.keyFile"));
    }
}
