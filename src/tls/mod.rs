//! Certificates, TLS options, choice by server name. Must never do network I/O.

use std::sync::Arc;

/// Everything a handshake needs, compiled: certificates by name, options by name.
#[derive(Debug, Default)]
pub struct Index {}

/// What a handshake was given.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The configuration with certificates and options.
    pub config: Arc<rustls::ServerConfig>,
    /// The options' name: `default`, `strict@file`.
    pub options: Arc<str>,
}

impl Index {
    /// The configuration for a server name (lower case, `None` without SNI) on an entry
    /// point; `None`: refuse with `unrecognized_name` (sniStrict).
    pub fn choose(&self, _entry_point: usize, _server_name: Option<&str>) -> Option<Choice> {
        None
    }

    /// The options' name that a request for this host asks for, to find misdirected ones.
    pub fn options_for(&self, _entry_point: usize, _host: &str) -> Option<&Arc<str>> {
        None
    }
}
