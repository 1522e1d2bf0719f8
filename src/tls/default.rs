//! The self-signed certificate for names that no other covers, made once at start.

use std::sync::Arc;

use rand::Rng as _;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use super::certificate::{Loaded, facts, from_parts};
use crate::problem::{Code, Origin, Problem};

/// As Traefik's: `CN=TRAEFIK DEFAULT CERT`, `<hex>.<hex>.traefik.default`, one year.
pub(super) fn generate() -> Result<Arc<Loaded>, Problem> {
    made().map(Arc::new).map_err(|error| {
        let text = format!("make the default certificate: {error}");
        Problem::error(Code::Certificate, Origin::Internal, text)
            .mend("set tls.stores.default.defaultCertificate in a file of the file provider")
    })
}

fn made() -> Result<Loaded, String> {
    let mut random = rand::rng();
    let name = format!(
        "{:032x}.{:032x}.traefik.default",
        random.random::<u128>(),
        random.random::<u128>()
    );
    let text = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![name]).map_err(text)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "TRAEFIK DEFAULT CERT");
    params.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    // Clients' clocks may be a little behind.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(365);
    let key = KeyPair::generate().map_err(text)?;
    let certificate = params.self_signed(&key).map_err(text)?;
    let der = certificate.der().clone();
    let facts = facts(&der).ok_or("it can't be read back")?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    from_parts(vec![der], &key, facts)
}
