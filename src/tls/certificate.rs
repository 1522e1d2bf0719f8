//! Certificates and keys, from files or PEM text. Key material is never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::{Zeroize as _, Zeroizing};

use super::about::{About, about};

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Common name of the subject.
    pub common_name: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// DNS names and IP addresses, lower case; the common name when there are none.
    pub names: Vec<String>,
    /// When it ends, in Unix seconds.
    pub not_after: i64,
    /// What else it says.
    pub about: About,
}

/// A certificate with its key, ready to sign.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Replaced when another OCSP answer is stapled.
    key: ArcSwap<CertifiedKey>,
    /// Why none is, where one should be.
    trouble: ArcSwapOption<Trouble>,
    pub(super) facts: Facts,
}

/// What is wrong with a certificate that is served, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub mend: String,
}

/// A certificate as it is served. What is stapled to it is changed in place, for all tables
/// that it is in.
#[derive(Clone, Debug)]
pub struct Served(pub(super) Arc<Loaded>);

impl Served {
    /// What it says.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.key.load().cert.clone()
    }

    /// Whether this OCSP answer is stapled.
    pub fn has(&self, answer: Option<&[u8]>) -> bool {
        self.0.key.load().ocsp.as_deref() == answer
    }

    /// Staples an OCSP answer, DER, or takes it off.
    pub fn staple(&self, answer: Option<Vec<u8>>) {
        let key = CertifiedKey { ocsp: answer, ..CertifiedKey::clone(&self.0.key.load()) };
        self.0.key.store(Arc::new(key));
    }

    /// Notes what is wrong; true when that is news.
    pub fn note(&self, trouble: Option<Trouble>) -> bool {
        if self.0.trouble.load().as_deref() == trouble.as_ref() {
            return false;
        }
        self.0.trouble.store(trouble.map(Arc::new));
        true
    }
}

impl Loaded {
    /// The certificate with what is stapled to it now.
    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        self.key.load_full()
    }

    /// What is wrong with it.
    pub(super) fn trouble(&self) -> Option<Arc<Trouble>> {
        self.trouble.load_full()
    }
}

/// When a file was written and how long it is: enough to see that it changed.
type Stamp = Option<(SystemTime, u64)>;

/// Files as they were read.
#[derive(Debug, Default)]
pub(super) struct Loader {
    stamps: BTreeMap<PathBuf, Stamp>,
    /// By a digest of certificate and key, so that what did not change is the same value.
    loaded: BTreeMap<[u8; 32], Arc<Loaded>>,
    previous: BTreeMap<[u8; 32], Arc<Loaded>>,
}

/// Why a certificate can't be used.
#[derive(Debug)]
pub(super) struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Loader {
    /// One that takes over what an earlier one made.
    pub(super) fn after(previous: &Self) -> Self {
        Self { previous: previous.loaded.clone(), ..Self::default() }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.stamps.keys().cloned().collect()
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stamps.iter().any(|(path, seen)| stamp(path) != *seen)
    }

    /// The content of a file, or the text itself when it is PEM.
    pub(super) fn text(&mut self, what: &str, source: &str) -> Result<Vec<u8>, Unusable> {
        if source.trim_start().starts_with("-----BEGIN") {
            return Ok(source.as_bytes().to_vec());
        }
        if source.is_empty() {
            return Err(Unusable(format!("no {what} given")));
        }
        let path = Path::new(source);
        self.stamps.insert(path.to_owned(), stamp(path));
        std::fs::read(path).map_err(|error| Unusable(format!("{what} {source}: {error}")))
    }

    /// A certificate chain and its key.
    pub(super) fn pair(&mut self, chain: &str, key: &str) -> Result<Arc<Loaded>, Unusable> {
        use sha2::{Digest, Sha256};
        let chain_text = self.text("certFile", chain)?;
        let key_text = Zeroizing::new(self.text("keyFile", key)?);
        let mut digest = Sha256::new();
        digest.update(chain_text.len().to_le_bytes());
        digest.update(&chain_text);
        digest.update(&key_text);
        let digest: [u8; 32] = digest.finalize().into();
        let loaded = match self.loaded.get(&digest).or_else(|| self.previous.get(&digest)) {
            Some(loaded) => Arc::clone(loaded),
            None => Arc::new(load(&chain_text, &key_text).map_err(|error| {
                let (chain, key) = (shown(chain), shown(key));
                Unusable(format!("certificate {chain} with key {key}: {error}"))
            })?),
        };
        self.loaded.insert(digest, Arc::clone(&loaded));
        Ok(loaded)
    }
}

/// Texts are not printed: one of them is a key.
fn shown(source: &str) -> &str {
    if source.trim_start().starts_with("-----BEGIN") { "given as text" } else { source }
}

fn stamp(path: &Path) -> Stamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

pub(super) fn load(chain: &[u8], key: &[u8]) -> Result<Loaded, String> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate is no PEM: {error}"))?;
    let leaf = chain.first().ok_or("there is no certificate in it")?;
    let facts = facts(leaf).ok_or("the certificate can't be read")?;
    let mut key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "the key is no PEM in PKCS #1, PKCS #8 or SEC 1 form")?;
    let loaded = from_parts(chain, &key, facts);
    key.zeroize();
    loaded
}

/// Puts the parts together, and checks that they belong together.
pub(super) fn from_parts(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'_>,
    facts: Facts,
) -> Result<Loaded, String> {
    let key = any_supported_type(key).map_err(|_| "the key is of no supported type")?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Loaded {
                key: ArcSwap::from_pointee(certified),
                trouble: ArcSwapOption::empty(),
                facts,
            })
        }
        Err(_) => Err("the key does not belong to the certificate".to_owned()),
    }
}

/// Reads what a certificate says.
pub(super) fn facts(der: &CertificateDer<'_>) -> Option<Facts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let common_name = certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut names: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(alternative_name)
        .collect();
    let about = about(der, &certificate, names.clone());
    if !common_name.is_empty() && !names.contains(&common_name.to_ascii_lowercase()) {
        names.push(common_name.to_ascii_lowercase());
    }
    let serial = certificate.tbs_certificate.raw_serial().iter();
    let serial = serial.fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    });
    let not_after = certificate.validity().not_after.timestamp();
    Some(Facts { common_name, serial, names, not_after, about })
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some(name.to_ascii_lowercase());
    }
    let GeneralName::IPAddress(bytes) = name else { return None };
    let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|address| address.to_string())
}
