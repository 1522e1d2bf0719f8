//! An identity with its key, and the roots that identities of servers are known by.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::id::{BadId, Id, TrustDomain};
use super::wire::{self, Malformed};

/// Most certificates of a chain, and most roots of a trust domain.
const MOST: usize = 1000;

/// An identity, as the agent gave it.
#[derive(Debug)]
pub struct Svid {
    /// Whose it is: ours.
    pub id: Id,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) roots: BTreeMap<TrustDomain, Arc<RootCertStore>>,
}

/// Why something is no identity.
#[derive(Debug, thiserror::Error)]
pub enum BadSvid {
    /// Not what the agent answers.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The agent gave none.
    #[error("no identity in the answer")]
    None,
    /// Not X.509.
    #[error("{0}: a certificate that can't be read")]
    Certificate(&'static str),
    /// A certificate without an id, or with several.
    #[error("a certificate with {0} URIs among its names; an identity has one")]
    Uris(usize),
    /// A certificate of somebody else's making.
    #[error("an id that {0}")]
    Id(#[from] BadId),
    /// It may sign others.
    #[error("a certificate of an authority, which is nobody's identity")]
    Authority,
    /// The certificate names nobody.
    #[error("an id that is only that of a trust domain")]
    NoPath,
    /// The key is another's, or of an unknown kind.
    #[error("the key: {0}")]
    Key(rustls::Error),
}

impl Svid {
    /// Reads the agent's answer; of several identities the first counts, as in Traefik.
    pub fn read(message: &[u8], provider: &CryptoProvider) -> Result<Self, BadSvid> {
        let response = wire::response(message)?;
        let first = response.svids.first().ok_or(BadSvid::None)?;
        let chain = certificates("x509_svid", first.chain)?;
        let id = leaf(chain.first().ok_or(BadSvid::None)?)?;
        if !id.has_path() {
            return Err(BadSvid::NoPath);
        }
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(first.key.to_vec()));
        let key = CertifiedKey::from_der(chain, key, provider).map_err(BadSvid::Key)?;
        let mut roots = BTreeMap::new();
        for svid in &response.svids {
            let domain = Id::parse(svid.id)?.trust_domain();
            roots.insert(domain, Arc::new(store(svid.bundle)?));
        }
        for (domain, bundle) in response.federated {
            // What others send must not cost us our own identity.
            match (TrustDomain::parse(domain), store(bundle)) {
                (Ok(domain), Ok(store)) => {
                    roots.entry(domain).or_insert(Arc::new(store));
                }
                (_, Err(error)) => {
                    tracing::warn!(
                        "SPIFFE: federated trust domain {domain:?} is left out: {error}"
                    );
                }
                (Err(error), _) => {
                    tracing::warn!(
                        "SPIFFE: federated trust domain {domain:?} is left out: {error}"
                    );
                }
            }
        }
        Ok(Self { id, key: Arc::new(key), roots })
    }
}

/// Whose a certificate is; it must be nobody's who signs others.
pub(super) fn leaf(certificate: &CertificateDer<'_>) -> Result<Id, BadSvid> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| BadSvid::Certificate("the leaf"))?;
    let id = id(&parsed)?;
    let usage = parsed.key_usage().map_err(|_| BadSvid::Certificate("key usage"))?;
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign());
    if parsed.is_ca() || signs {
        return Err(BadSvid::Authority);
    }
    Ok(id)
}

fn id(certificate: &X509Certificate<'_>) -> Result<Id, BadSvid> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| BadSvid::Certificate("alternative names"))?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uris: Vec<&str> = names
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    let [uri] = uris[..] else { return Err(BadSvid::Uris(uris.len())) };
    Ok(Id::parse(uri)?)
}

/// Certificates that stand one behind the other.
fn certificates(what: &'static str, der: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadSvid> {
    let mut all = Vec::new();
    let mut rest = der;
    while !rest.is_empty() && all.len() < MOST {
        let (left, _) =
            x509_parser::parse_x509_certificate(rest).map_err(|_| BadSvid::Certificate(what))?;
        let one = rest.get(..rest.len() - left.len()).unwrap_or_default();
        all.push(CertificateDer::from(one.to_vec()));
        rest = left;
    }
    Ok(all)
}

/// The roots that can be used: one that is odd must not cost the others.
fn store(bundle: &[u8]) -> Result<RootCertStore, BadSvid> {
    let mut store = RootCertStore::empty();
    let (added, ignored) = store.add_parsable_certificates(certificates("bundle", bundle)?);
    if added == 0 && ignored > 0 {
        return Err(BadSvid::Certificate("bundle"));
    }
    Ok(store)
}
