//! Both ends of a handshake with a server: who we are, and whether it is who it may be.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::id::{Id, TrustDomain};
use super::{Source, svid};

/// Which servers are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// All that a root is known for.
    Any,
    /// Those of a trust domain.
    Of(TrustDomain),
    /// These.
    Ids(Vec<Id>),
}

impl Allowed {
    /// Reads what settings allow. As Traefik: ids count before a trust domain. The error names
    /// the option and the value.
    pub fn read(ids: &[String], trust_domain: &str) -> Result<Self, String> {
        if !ids.is_empty() {
            let read = |id: &String| {
                Id::parse(id)
                    .map_err(|error| format!("spiffe.ids: invalid SPIFFE ID: {id:?} {error}"))
            };
            return ids.iter().map(read).collect::<Result<_, _>>().map(Self::Ids);
        }
        if trust_domain.is_empty() {
            return Ok(Self::Any);
        }
        TrustDomain::parse(trust_domain).map(Self::Of).map_err(|error| {
            format!("spiffe.trustDomain: invalid SPIFFE trust domain: {trust_domain:?} {error}")
        })
    }

    fn holds(&self, id: &Id) -> bool {
        match self {
            Self::Any => true,
            Self::Of(domain) => id.trust_domain() == *domain,
            Self::Ids(ids) => ids.contains(id),
        }
    }
}

/// Shows servers our newest identity.
#[derive(Debug)]
pub struct Own(pub Source);

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = Arc::clone(&self.0.current()?.key);
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Verifies a server by its id. Its name does not count.
#[derive(Debug)]
pub struct Verifier {
    source: Source,
    allowed: Allowed,
    provider: Arc<CryptoProvider>,
}

/// Why a server is not the one; it is told in the log.
#[derive(thiserror::Error)]
enum Refused {
    #[error("there is no SPIFFE identity yet, and so no roots")]
    Early,
    #[error("its certificate is none of SPIFFE: {0}")]
    Certificate(#[from] svid::BadSvid),
    #[error("no roots are known for the trust domain of {0}")]
    Foreign(Box<str>),
    #[error("{0} is none of those that are allowed")]
    Other(Box<str>),
}

// rustls shows what it does not know by `Debug`.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

impl Verifier {
    /// One that lets these servers pass.
    pub fn new(source: Source, allowed: Allowed, provider: Arc<CryptoProvider>) -> Self {
        Self { source, allowed, provider }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = self.source.current().ok_or(Refused::Early)?;
        let id = svid::leaf(end_entity).map_err(Refused::from)?;
        let roots = own.roots.get(&id.trust_domain());
        let roots = roots.ok_or_else(|| Refused::Foreign(id.as_str().into()))?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        if !self.allowed.holds(&id) {
            return Err(Refused::Other(id.as_str().into()).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
