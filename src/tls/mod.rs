//! Certificates, TLS options, choice by server name. Must never do network I/O.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model;
use crate::problem::Problem;

/// The TLS options that the routers of one entry point ask for: lower-case host to
/// qualified name (`default`, `strict@file`).
pub type HostOptions = HashMap<Box<str>, Arc<str>, ahash::RandomState>;

/// Everything a handshake needs, compiled: certificates by name, options by name.
#[derive(Debug, Default)]
pub struct Index {
    hosts: Box<[HostOptions]>,
}

/// What a handshake was given.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The configuration with certificates and options.
    pub config: Arc<rustls::ServerConfig>,
    /// The options' name: `default`, `strict@file`.
    pub options: Arc<str>,
}

/// A certificate's subject as Go prints it.
pub fn subject(_der: &[u8]) -> Option<Box<str>> {
    None
}

impl Index {
    /// Compiles the `tls` section. `hosts` is by `message::EntryPoint::index`.
    /// Configurations whose content is as in `previous` are kept, with their sessions.
    pub fn build(
        _tls: &model::Tls,
        hosts: Vec<HostOptions>,
        _previous: &Self,
    ) -> (Self, Vec<Problem>) {
        (Self { hosts: hosts.into() }, Vec::new())
    }

    /// The configuration for a server name (lower case, `None` without SNI) on an entry
    /// point; `None`: refuse with `unrecognized_name` (sniStrict).
    pub fn choose(
        &self,
        _entry_point: usize,
        _server_name: Option<&str>,
        _local: IpAddr,
    ) -> Option<Choice> {
        None
    }

    /// The options' name that a request for this host asks for, to find misdirected ones.
    pub fn options_for(&self, entry_point: usize, host: &str) -> Option<&Arc<str>> {
        self.hosts.get(entry_point)?.get(host)
    }

    /// The certificate, key and CA files that were read, to be watched.
    pub fn sources(&self) -> &[PathBuf] {
        &[]
    }

    /// Whether one of the files changed since it was read: time to build again.
    pub fn is_stale(&self) -> bool {
        false
    }
}
