//! Certificates by server name: exact names before wildcards of one label.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{Facts, Loaded, Loader};
use super::default;
use crate::model;
use crate::problem::{Code, Origin, Problem};

/// All certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    all: Vec<Arc<Loaded>>,
    /// Names, and addresses as text.
    exact: HashMap<Box<str>, Arc<CertifiedKey>, ahash::RandomState>,
    /// `*.example.com` as `example.com`.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>, ahash::RandomState>,
    /// For everything else.
    fallback: Option<Arc<Loaded>>,
    /// Made once at start, and carried along.
    generated: Option<Arc<Loaded>>,
}

impl Certificates {
    /// Whether a certificate other than the default one is for this name.
    pub(super) fn covers(&self, server_name: Option<&str>) -> bool {
        server_name.is_some_and(|name| self.find(name).is_some())
    }

    /// Those with an IP address among their names.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, &Arc<CertifiedKey>)> {
        self.exact.iter().filter_map(|(name, key)| Some((name.parse().ok()?, key)))
    }

    pub(super) fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.all.iter().chain(&self.fallback).map(|loaded| &loaded.facts)
    }

    /// Those that were declared: all but the default one.
    pub(super) fn declared(&self) -> impl Iterator<Item = &Facts> {
        self.all.iter().map(|loaded| &loaded.facts)
    }

    /// Whether handshakes would go as with another set.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let key = |loaded: &Arc<Loaded>| Arc::as_ptr(loaded);
        self.all.iter().map(key).eq(other.all.iter().map(key))
            && self.fallback.as_ref().map(key) == other.fallback.as_ref().map(key)
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.exact
            .get(name)
            .or_else(|| name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent)))
    }

    fn add(&mut self, loaded: &Arc<Loaded>) {
        for name in &loaded.facts.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            // The first one declared stays.
            map.entry(name.into()).or_insert_with(|| Arc::clone(&loaded.key));
        }
        self.all.push(Arc::clone(loaded));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| self.find(name));
        found.or(self.fallback.as_ref().map(|loaded| &loaded.key)).map(Arc::clone)
    }
}

/// Loads what is declared; one that can't be used is left out with a problem.
pub(super) fn build(
    tls: &model::Tls,
    loader: &mut Loader,
    previous: &Arc<Certificates>,
    problems: &mut Vec<Problem>,
) -> Arc<Certificates> {
    let mut chosen = Certificates { generated: previous.generated.clone(), ..Default::default() };
    let mut load = |files: &model::CertificateFiles, origin: &Origin, what: &str| {
        loader
            .pair(&files.cert_file, &files.key_file)
            .map_err(|error| {
                let mend = "give certFile and keyFile as paths that the proxy can read, or as PEM";
                let problem =
                    Problem::error(Code::Certificate, origin.clone(), format!("{what}: {error}"));
                problems.push(problem.mend(mend));
            })
            .ok()
    };
    for declared in &tls.certificates {
        let origin = declared.from.first().cloned().unwrap_or(Origin::Internal);
        if let Some(loaded) = load(&declared.value, &origin, "tls.certificates") {
            chosen.add(&loaded);
        }
    }
    let store = tls.stores.iter().find(|(name, _)| name.local() == "default");
    if let Some((_, store)) = store
        && let Some(files) = &store.value.default_certificate
    {
        let origin = store.from.first().cloned().unwrap_or(Origin::Internal);
        chosen.fallback = load(files, &origin, "tls.stores.default.defaultCertificate");
    }
    if chosen.fallback.is_none() {
        if chosen.generated.is_none() {
            chosen.generated = default::generate().map_err(|problem| problems.push(problem)).ok();
        }
        chosen.fallback.clone_from(&chosen.generated);
    }
    if chosen.is_same(previous) { Arc::clone(previous) } else { Arc::new(chosen) }
}
