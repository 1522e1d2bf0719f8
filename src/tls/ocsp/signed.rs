//! What is signed by whom: OCSP answers and the certificates of those who give them.

use rustls::crypto::aws_lc_rs;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der::{BIT_STRING, Reader, SEQUENCE};

/// The form that certificates and answers share: a body, an algorithm, a signature.
pub(super) struct Signed<'a> {
    /// The body with tag and length, which is what was signed.
    body: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// What comes after.
    pub(super) rest: Reader<'a>,
}

impl<'a> Signed<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut parts = Reader(der).sequence()?;
        let body = parts.next().filter(|body| body.tag == SEQUENCE)?.whole;
        let algorithm = parts.take(SEQUENCE)?;
        let signature = bits(parts.take(BIT_STRING)?)?;
        Some(Self { body, algorithm, signature, rest: parts })
    }

    /// What is in the body.
    pub(super) fn content(&self) -> Option<Reader<'a>> {
        Reader(self.body).sequence()
    }

    /// Whether the holder of this key (a `SubjectPublicKeyInfo`) signed it, by an algorithm
    /// that handshakes take, too.
    pub(super) fn is_by(&self, key: &[u8]) -> bool {
        let parts = || {
            let mut parts = Reader(key).sequence()?;
            Some((parts.take(SEQUENCE)?, bits(parts.take(BIT_STRING)?)?))
        };
        let Some((kind, key)) = parts() else { return false };
        let known = aws_lc_rs::default_provider().signature_verification_algorithms;
        known.all.iter().any(|one| {
            one.signature_alg_id().as_ref() == self.algorithm
                && one.public_key_alg_id().as_ref() == kind
                && one.verify_signature(key, self.body, self.signature).is_ok()
        })
    }
}

/// A bit string of whole bytes.
pub(super) fn bits(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, bytes)| bytes)
}

/// Whether the authority lets this certificate answer for it (RFC 6960, 4.2.2.2): signed by
/// it, for OCSP, and good now (Unix seconds).
pub(super) fn may_answer(delegate: &[u8], authority_key: &[u8], now: i64) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(delegate) else { return false };
    let is_for_ocsp = certificate
        .extended_key_usage()
        .ok()
        .flatten()
        .is_some_and(|usage| usage.value.ocsp_signing);
    let validity = certificate.validity();
    is_for_ocsp
        && (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
        && Signed::read(delegate).is_some_and(|signed| signed.is_by(authority_key))
}
