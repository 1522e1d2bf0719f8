//! Client certificates: Go's five ways to ask for them.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::model::ClientAuthType;

/// The verifier for a way of asking; `None`: not asked for. `authorities` are PEM texts.
pub(super) fn verifier(
    kind: ClientAuthType,
    authorities: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let any = |is_needed| -> Option<Arc<dyn ClientCertVerifier>> {
        Some(Arc::new(Unverified { provider: Arc::clone(provider), is_needed }))
    };
    match kind {
        ClientAuthType::NoClientCert => Ok(None),
        ClientAuthType::RequestClientCert => Ok(any(false)),
        ClientAuthType::RequireAnyClientCert => Ok(any(true)),
        ClientAuthType::VerifyClientCertIfGiven => verified(authorities, provider, false).map(Some),
        ClientAuthType::RequireAndVerifyClientCert => {
            verified(authorities, provider, true).map(Some)
        }
    }
}

fn verified(
    authorities: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
    is_needed: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for text in authorities {
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate = certificate.map_err(|error| format!("a CA is no PEM: {error}"))?;
            roots.add(certificate).map_err(|error| format!("a CA can't be used: {error}"))?;
        }
    }
    if roots.is_empty() {
        return Err("clients are to be verified, but caFiles hold no certificate".to_owned());
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if is_needed { builder } else { builder.allow_unauthenticated() };
    let built = builder.build().map_err(|error| error.to_string())?;
    Ok(built)
}

/// Takes any certificate; the client must still hold its key.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
    is_needed: bool,
}

impl ClientCertVerifier for Unverified {
    fn client_auth_mandatory(&self) -> bool {
        self.is_needed
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
