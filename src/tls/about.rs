//! What a certificate says of itself beyond its names, for the API.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{X509Certificate, X509Name};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::AttributeTypeAndValue;

/// A certificate in the words of Traefik's API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Alternative names, sorted.
    pub sans: Vec<String>,
    /// When it begins, in Unix seconds.
    pub not_before: i64,
    /// Serial number, decimal.
    pub serial: String,
    /// `v3`.
    pub version: String,
    /// Who it is for: organisation and country.
    pub subject: Party,
    /// Common name of who made it.
    pub issuer_name: String,
    /// Who made it.
    pub issuer: Party,
    /// `RSA`, `ECDSA` or `Unknown`.
    pub key_type: &'static str,
    /// In bits; 0 when the type is unknown.
    pub key_size: usize,
    /// As Go names it.
    pub signature: &'static str,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of the public key, hexadecimal.
    pub key_fingerprint: String,
}

/// Organisation and country of a name; empty when it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// `O`.
    pub organization: String,
    /// `C`.
    pub country: String,
}

/// Describes a certificate.
pub(super) fn about(
    der: &CertificateDer<'_>,
    certificate: &X509Certificate<'_>,
    mut sans: Vec<String>,
) -> About {
    sans.sort();
    let (key_type, key_size) = match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => ("RSA", key.key_size()),
        Ok(PublicKey::EC(point)) => ("ECDSA", point.key_size()),
        _ => ("Unknown", 0),
    };
    About {
        sans,
        not_before: certificate.validity().not_before.timestamp(),
        serial: certificate.tbs_certificate.serial.to_string(),
        version: format!("v{}", certificate.version().0.saturating_add(1)),
        subject: party(certificate.subject()),
        issuer_name: first(certificate.issuer().iter_common_name()),
        issuer: party(certificate.issuer()),
        key_type,
        key_size,
        signature: signature(&certificate.signature_algorithm.algorithm.to_id_string()),
        fingerprint: digest(der),
        key_fingerprint: digest(certificate.public_key().raw),
    }
}

fn party(name: &X509Name<'_>) -> Party {
    Party { organization: first(name.iter_organization()), country: first(name.iter_country()) }
}

fn first<'a>(mut parts: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> String {
    parts.next().and_then(|part| part.as_str().ok()).unwrap_or_default().to_owned()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

/// Go's names.
fn signature(oid: &str) -> &'static str {
    match oid {
        "1.2.840.113549.1.1.5" => "SHA1-RSA",
        "1.2.840.113549.1.1.10" => "SHA256-RSAPSS",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        _ => "Unknown",
    }
}
