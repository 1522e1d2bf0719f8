//! What a chain of certificates says, for those who obtain them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Facts, facts, load};

/// What the first certificate of a chain, PEM, says.
pub fn facts_of(chain: &str) -> Option<Facts> {
    facts(&CertificateDer::from_pem_slice(chain.as_bytes()).ok()?)
}

/// The same of a chain that this key, PEM, belongs to; else why they can't be used.
pub fn facts_of_pair(chain: &str, key: &str) -> Result<Facts, String> {
    load(chain.as_bytes(), key.as_bytes()).map(|loaded| loaded.facts)
}

/// How renewal information calls the first certificate of a chain (RFC 9773, 4.1): the
/// authority's key and the serial number, as they stand in it.
pub fn renewal_id(chain: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let key = certificate.extensions().iter().find_map(|one| {
        let ParsedExtension::AuthorityKeyIdentifier(authority) = one.parsed_extension() else {
            return None;
        };
        authority.key_identifier.as_ref().map(|key| key.0)
    })?;
    let serial = certificate.tbs_certificate.raw_serial();
    Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(key), URL_SAFE_NO_PAD.encode(serial)))
}
