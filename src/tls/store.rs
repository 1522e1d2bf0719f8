//! Certificates by server name: exact names before wildcards of one label.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{Facts, Loaded, Loader, Served};
use super::default;
use crate::model;
use crate::problem::{Code, Origin, Problem};

/// All certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    all: Vec<Arc<Loaded>>,
    /// Names, and addresses as text.
    exact: HashMap<Box<str>, Arc<Loaded>, ahash::RandomState>,
    /// `*.example.com` as `example.com`.
    wildcard: HashMap<Box<str>, Arc<Loaded>, ahash::RandomState>,
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
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, One)> {
        let all = self.exact.iter();
        all.filter_map(|(name, loaded)| Some((name.parse().ok()?, One(Arc::clone(loaded)))))
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

    pub(super) fn served(&self) -> impl Iterator<Item = Served> {
        self.all.iter().chain(&self.fallback).map(|loaded| Served(Arc::clone(loaded)))
    }

    fn find(&self, name: &str) -> Option<&Arc<Loaded>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.exact
            .get(name)
            .or_else(|| name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent)))
    }

    /// Of the certificates for all of these names, the one that lasts longest.
    fn longest(&self, names: &[String]) -> Option<Arc<Loaded>> {
        let is_for = |loaded: &&Arc<Loaded>| {
            let have = &loaded.facts.names;
            let parent = |name: &str| Some(format!("*.{}", name.split_once('.')?.1));
            names.iter().all(|name| {
                have.contains(name) || parent(name).is_some_and(|name| have.contains(&name))
            })
        };
        let fitting = self.all.iter().filter(|_| !names.is_empty()).filter(is_for);
        fitting.max_by_key(|loaded| loaded.facts.not_after).map(Arc::clone)
    }

    fn add(&mut self, loaded: &Arc<Loaded>) {
        for name in &loaded.facts.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            // The first one declared stays.
            map.entry(name.into()).or_insert_with(|| Arc::clone(loaded));
        }
        self.all.push(Arc::clone(loaded));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| self.find(name));
        found.or(self.fallback.as_ref()).map(|loaded| loaded.key())
    }
}

/// The same certificate for every client.
#[derive(Debug)]
pub(super) struct One(Arc<Loaded>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.key())
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
        let pair = loader.pair(&files.cert_file, &files.key_file);
        let problem = match &pair {
            Err(error) => {
                let mend = "give certFile and keyFile as paths that the proxy can read, or as PEM";
                let text = format!("{what}: {error}");
                Some(Problem::error(Code::Certificate, origin.clone(), text).mend(mend))
            }
            Ok(one) => one.trouble().map(|trouble| {
                let text = format!("{what}: {}", trouble.text);
                let problem = Problem::warning(Code::Certificate, origin.clone(), text);
                problem.mend(trouble.mend.as_str())
            }),
        };
        problems.extend(problem);
        pair.ok()
    };
    for declared in &tls.certificates {
        let origin = declared.from.first().cloned().unwrap_or(Origin::Internal);
        if let Some(loaded) = load(&declared.value, &origin, "tls.certificates") {
            chosen.add(&loaded);
        }
    }
    if let Some((_, store)) = tls.default_store() {
        let origin = store.from.first().cloned().unwrap_or(Origin::Internal);
        if let Some(files) = &store.value.default_certificate {
            chosen.fallback = load(files, &origin, "tls.stores.default.defaultCertificate");
        }
        if let Some(generated) = store.value.generated() {
            chosen.fallback = chosen.longest(&generated.names());
        }
    }
    problems.extend(unused(tls));
    if chosen.fallback.is_none() {
        if chosen.generated.is_none() {
            chosen.generated = default::generate().map_err(|problem| problems.push(problem)).ok();
        }
        chosen.fallback.clone_from(&chosen.generated);
    }
    if chosen.is_same(previous) { Arc::clone(previous) } else { Arc::new(chosen) }
}

/// Stores that nothing uses.
fn unused(tls: &model::Tls) -> Vec<Problem> {
    let place = |store: &model::Sourced<_>| store.from.first().cloned().unwrap_or(Origin::Internal);
    let others = tls.stores.iter().filter(|(name, _)| name.local() != "default");
    let mut problems: Vec<_> = others
        .map(|(name, store)| {
            let text = "only the store `default` is used, as in Traefik";
            let problem = Problem::warning(Code::Notice, place(store), text);
            problem.about(format!("TLS store {name}")).mend("call it `default`, or remove it")
        })
        .collect();
    if tls.default_store().is_none() {
        let all: Vec<_> = tls.default_stores().map(|(name, _)| name.as_str()).collect();
        for (name, store) in tls.default_stores() {
            let text = format!(
                "the default TLS store is defined in multiple providers, [{}]; none is used",
                all.join(" ")
            );
            let problem = Problem::error(Code::Conflict, place(store), text);
            problems.push(problem.about(format!("TLS store {name}")).mend("keep one of them"));
        }
    }
    problems
}
