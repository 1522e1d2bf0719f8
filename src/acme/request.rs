//! A certificate's key and the request for it.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{self, KeySize};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize, SanType,
};

use crate::model::Secret;
use crate::settings::Acme;

/// Longest common name (RFC 5280, A.1: ub-common-name).
const LONGEST_NAME: usize = 64;

/// A key, PEM, and the request for its certificate, DER.
type Request = (Secret, Vec<u8>);

/// A new key and the request for these names. Takes some seconds for RSA, a minute for the
/// longest.
pub(super) fn make(acme: &Acme, names: &[String]) -> Result<Request, String> {
    let wrong = |error: rcgen::Error| format!("the certificate request: {error}");
    let key = key(&acme.key_type)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(wrong)?;
    for address in &acme.email_addresses {
        let address = address.as_str().try_into().map_err(wrong)?;
        params.subject_alt_names.push(SanType::Rfc822Name(address));
    }
    params.distinguished_name = DistinguishedName::new();
    if let Some(main) = names.first()
        && !acme.disable_common_name
        && main.len() <= LONGEST_NAME
    {
        params.distinguished_name.push(DnType::CommonName, main.as_str());
    }
    let csr = params.serialize_request(&key).map_err(wrong)?;
    Ok((key.serialize_pem().into(), csr.der().to_vec()))
}

/// The kinds of keys that can be asked for.
pub(super) const KINDS: [&str; 5] = ["EC256", "EC384", "RSA2048", "RSA4096", "RSA8192"];

fn key(kind: &str) -> Result<KeyPair, String> {
    let pair = match kind.to_ascii_uppercase().as_str() {
        "" | "EC256" => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        "EC384" => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        "RSA2048" => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        "RSA4096" => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        "RSA8192" => return longest().ok_or_else(|| format!("a key of type {kind} failed")),
        _ => return Err(format!("keyType {kind:?}: one of {} is possible", KINDS.join(", "))),
    };
    pair.map_err(|error| format!("a key of type {kind}: {error}"))
}

/// A kind that rcgen can use but not make.
fn longest() -> Option<KeyPair> {
    let pair = rsa::KeyPair::generate(KeySize::Rsa8192).ok()?;
    let der = pair.as_der().ok()?;
    KeyPair::from_pkcs8_der_and_sign_algo(&der.as_ref().into(), &PKCS_RSA_SHA256).ok()
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509CertificationRequest};

    use super::*;

    #[test]
    fn every_kind_of_key_is_made_and_named_in_the_request() {
        for kind in ["", "EC256", "ec384", "RSA2048"] {
            let acme = Acme { key_type: kind.to_owned(), ..Acme::default() };
            let names = ["a.example.org".to_owned(), "b.example.org".to_owned()];

            let (key, csr) = make(&acme, &names).unwrap();

            assert!(key.contains("PRIVATE KEY"), "{kind}");
            let (_, csr) = X509CertificationRequest::from_der(&csr).unwrap();
            let subject = csr.certification_request_info.subject.to_string();
            assert_eq!(subject, "CN=a.example.org");
        }
        let acme = Acme { key_type: "DSA".into(), ..Acme::default() };
        assert!(make(&acme, &["a".to_owned()]).unwrap_err().contains("EC256, EC384"));
    }

    #[test]
    fn the_common_name_is_left_out_when_it_is_unwanted_or_too_long() {
        let long = format!("{}.example.org", "a".repeat(60));
        for (disable_common_name, name) in [(true, "a.example.org"), (false, long.as_str())] {
            let acme = Acme { disable_common_name, ..Acme::default() };

            let (_, csr) = make(&acme, &[name.to_owned()]).unwrap();

            let (_, csr) = X509CertificationRequest::from_der(&csr).unwrap();
            assert_eq!(csr.certification_request_info.subject.to_string(), "");
        }
    }
}
