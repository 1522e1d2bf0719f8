//! TLS towards servers that settings of middlewares name: certificates from files or texts.

use std::sync::Arc;

use serde::Serializer;

use super::disk;
use crate::upstream::{Transport, TransportSettings};

/// What is known by; each a file or a PEM text, or empty.
pub(super) struct Material<'a> {
    /// Authorities, instead of the system's.
    pub(super) ca: &'a str,
    /// The client certificate.
    pub(super) cert: &'a str,
    /// Its key.
    pub(super) key: &'a str,
    /// Does not verify the server.
    pub(super) insecure_skip_verify: bool,
}

/// A transport with these certificates. The error is in Traefik's words.
pub(super) fn transport(
    material: &Material<'_>,
    base: TransportSettings,
) -> Result<Arc<Transport>, String> {
    let mut settings =
        TransportSettings { insecure_skip_verify: material.insecure_skip_verify, ..base };
    if !material.ca.is_empty() {
        settings.root_cas.push(pem("ca", material.ca)?);
    }
    match (material.cert.is_empty(), material.key.is_empty()) {
        (true, true) => {}
        (false, false) => {
            let pair = (pem("cert", material.cert)?, pem("key", material.key)?);
            settings.certificates.push(pair);
        }
        _ => return Err("both TLS cert and key must be defined".to_owned()),
    }
    // What is wrong inside is not told: it may be any file of this machine (L3).
    Transport::build(&settings).map_err(|error| {
        let is_ca = error.starts_with("rootCAs");
        let what = if is_ca { "failed to parse CA" } else { "failed to load TLS keypair" };
        what.to_owned()
    })
}

/// A PEM text, or what is in the file of that name.
fn pem(option: &str, file_or_text: &str) -> Result<String, String> {
    if file_or_text.contains("-----BEGIN") {
        return Ok(file_or_text.to_owned());
    }
    let text = disk::read(file_or_text).map_err(|error| format!("tls.{option}: {error}"))?;
    if text.contains("-----BEGIN") {
        return Ok(text);
    }
    Err(format!("tls.{option}: {file_or_text}: no PEM"))
}

/// Serializes a key: the name of its file; a text is never shown.
pub(super) fn hidden<S: Serializer>(key: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if key.contains("-----BEGIN") { "xxxx" } else { key })
}
