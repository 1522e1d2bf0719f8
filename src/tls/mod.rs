//! Certificates, TLS options, choice by server name. Must never do network I/O.

mod about;
mod certificate;
mod chain;
mod client_auth;
mod default;
pub mod ocsp;
mod options;
mod order;
mod store;
mod subject;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{CipherSuite, ServerConfig};

use self::certificate::Loader;
use self::options::Built;
use self::order::Ordered;
use self::store::Certificates;
use crate::model;
use crate::problem::Problem;

pub use self::certificate::{Facts, Served, Trouble};
pub use self::chain::{facts_of, facts_of_pair, renewal_id};
pub use self::subject::subject;

/// The TLS options that the routers of one entry point ask for: lower-case host to
/// qualified name (`default`, `strict@file`).
pub type HostOptions = HashMap<Box<str>, Arc<str>, ahash::RandomState>;

/// The name of the options of hosts that ask for none.
pub const DEFAULT: &str = "default";

/// Everything a handshake needs, compiled: certificates by name, options by name.
#[derive(Debug, Default)]
pub struct Index {
    hosts: Box<[HostOptions]>,
    certificates: Arc<Certificates>,
    /// By name; `None`: they can't be used, and what asks for them is refused.
    options: BTreeMap<Arc<str>, Option<Built>>,
    loader: Loader,
}

/// What a handshake was given.
#[derive(Clone, Debug)]
pub struct Choice {
    config: Ordered,
    /// The options' name: `default`, `strict@file`.
    pub options: Arc<str>,
}

impl Choice {
    /// The configuration with certificates and options, for a client that offers these
    /// cipher suites.
    pub fn config(&self, offered: &[CipherSuite]) -> &Arc<ServerConfig> {
        if order::prefers_chacha(offered) { &self.config.theirs } else { &self.config.ours }
    }
}

impl Index {
    /// Compiles the `tls` section. `hosts` is by `message::EntryPoint::index`.
    /// Configurations whose content is as in `previous` are kept, with their sessions.
    pub fn build(
        tls: &model::Tls,
        hosts: Vec<HostOptions>,
        previous: &Self,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut loader = Loader::after(&previous.loader);
        let certificates = store::build(tls, &mut loader, &previous.certificates, &mut problems);
        let mut options = BTreeMap::new();
        let named = tls.options.iter().map(|(name, options)| (name.shared(), Some(&**options)));
        for (name, declared) in named.chain([(DEFAULT.into(), None)]) {
            // `default@file` redefines the default; it is known by both names.
            let is_default = &*name == "default@file";
            let name = if is_default { DEFAULT.into() } else { name };
            if options.contains_key(&name) {
                continue;
            }
            let previous = previous.options.get(&name).and_then(Option::as_ref);
            let built =
                options::build(declared, &certificates, &mut loader, previous, &mut problems);
            options.insert(name, built);
        }
        (Self { hosts: hosts.into(), certificates, options, loader }, problems)
    }

    /// The configuration for a server name (lower case, `None` without SNI) on an entry
    /// point; `None`: refuse with `unrecognized_name` (sniStrict, or options that can't be
    /// used).
    pub fn choose(
        &self,
        entry_point: usize,
        server_name: Option<&str>,
        local: IpAddr,
    ) -> Option<Choice> {
        let server_name = server_name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let wanted = server_name.and_then(|name| self.options_for(entry_point, name));
        let wanted = wanted.map_or(DEFAULT, |name| name);
        let wanted = if wanted == "default@file" { DEFAULT } else { wanted };
        let (name, built) = self.options.get_key_value(wanted)?;
        let built = built.as_ref()?;
        if built.sni_strict && !self.certificates.covers(server_name) {
            return None;
        }
        let config = match server_name {
            Some(_) => &built.config,
            None => built.by_address.get(&local).unwrap_or(&built.config),
        };
        Some(Choice { config: config.clone(), options: Arc::clone(name) })
    }

    /// The options' name that a request for this host asks for, to find misdirected ones.
    pub fn options_for(&self, entry_point: usize, host: &str) -> Option<&Arc<str>> {
        let hosts = self.hosts.get(entry_point)?;
        hosts.get(host).or_else(|| {
            // `*.example.org`: 255 bytes hold any name that DNS does.
            let (_, parent) = host.split_once('.')?;
            let mut wildcard = [0; 255];
            let wildcard = wildcard.get_mut(..parent.len() + 2)?;
            wildcard.get_mut(..2)?.copy_from_slice(b"*.");
            wildcard.get_mut(2..)?.copy_from_slice(parent.as_bytes());
            hosts.get(std::str::from_utf8(wildcard).ok()?)
        })
    }

    /// The certificate, key and CA files that were read, to be watched.
    pub fn sources(&self) -> Vec<PathBuf> {
        self.loader.paths()
    }

    /// Whether one of the files changed since it was read: time to build again.
    pub fn is_stale(&self) -> bool {
        self.loader.is_stale()
    }

    /// What is known of each certificate, for metrics and the dashboard.
    pub fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.certificates.facts()
    }

    /// Each certificate as it is served, the default one with them.
    pub fn served(&self) -> impl Iterator<Item = Served> {
        self.certificates.served()
    }

    /// What is known of each declared certificate, which the default one is not.
    pub fn declared(&self) -> impl Iterator<Item = &Facts> {
        self.certificates.declared()
    }
}

#[cfg(test)]
mod tests;
