//! How servers of one service are talked to.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;

use super::{protocols, tls};
use crate::spiffe::Source;

/// The settings of a transport, as plain values. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportSettings {
    /// SNI and name to expect; empty: the host of the server URL.
    pub server_name: String,
    /// Do not verify servers.
    pub insecure_skip_verify: bool,
    /// CA files or PEM texts, instead of the system's.
    pub root_cas: Vec<String>,
    /// The system's roots beside `root_cas`.
    pub system_roots: bool,
    /// Client certificates: chain and key, each a file or a PEM text.
    pub certificates: Vec<(String, String)>,
    /// URI that must be among the names of a server's certificate; empty: any.
    pub peer_cert_uri: String,
    /// Cipher suites up to TLS 1.2 by Go's names; empty: all good ones.
    pub cipher_suites: Vec<String>,
    /// Lowest version by Go's name: `VersionTLS12`; empty: that.
    pub min_version: String,
    /// Highest version by Go's name; empty: `VersionTLS13`.
    pub max_version: String,
    /// Speak HTTP/1.1 only.
    pub disable_http2: bool,
    /// Idle connections kept per server over all workers; 0: 2 as in Go, negative: none.
    pub max_idle_per_server: i64,
    /// Workers that share the idle connections.
    pub workers: usize,
    /// To connect.
    pub dial_timeout: Option<Duration>,
    /// From the request sent to the head of the response.
    pub response_header_timeout: Option<Duration>,
    /// How long an idle connection is kept.
    pub idle_timeout: Option<Duration>,
    /// HTTP/2: silence after which a ping is sent.
    pub read_idle_timeout: Option<Duration>,
    /// HTTP/2: wait for the answer to that ping.
    pub ping_timeout: Duration,
    /// Servers are known by their identity, and get ours; `None`: by their name.
    pub spiffe: Option<SpiffeTransport>,
}

/// Identities of SPIFFE instead of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeTransport {
    /// Where ours comes from; `None`: nowhere, and no server can be reached.
    pub source: Option<Source>,
    /// Ids that servers may have.
    pub ids: Vec<String>,
    /// The trust domain that they must be of; counts only without ids. Both empty: any.
    pub trust_domain: String,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            server_name: String::new(),
            insecure_skip_verify: false,
            root_cas: Vec::new(),
            system_roots: false,
            certificates: Vec::new(),
            peer_cert_uri: String::new(),
            cipher_suites: Vec::new(),
            min_version: String::new(),
            max_version: String::new(),
            disable_http2: false,
            max_idle_per_server: 200,
            workers: 1,
            dial_timeout: Some(Duration::from_secs(30)),
            response_header_timeout: None,
            idle_timeout: Some(Duration::from_secs(90)),
            read_idle_timeout: None,
            ping_timeout: Duration::from_secs(15),
            spiffe: None,
        }
    }
}

/// How servers of one service are talked to: TLS and time limits. Built at compile,
/// shared while its settings stay the same.
#[derive(Debug)]
pub struct Transport {
    settings: TransportSettings,
    tls: OnceLock<TlsConfigs>,
    /// What was in the files that it names.
    files: tls::Content,
}

/// One TLS configuration per list of protocols offered.
#[derive(Debug)]
pub(super) struct TlsConfigs {
    /// `h2` and `http/1.1`.
    pub(super) any: Arc<ClientConfig>,
    /// `http/1.1` alone: for upgrades, which HTTP/2 does not have.
    pub(super) http1: Arc<ClientConfig>,
}

impl Transport {
    /// Reads the certificates and makes the TLS configuration. The error names the setting.
    pub fn build(settings: &TransportSettings) -> Result<Arc<Self>, String> {
        let tls = OnceLock::new();
        // Plain settings cannot fail, and most servers speak no TLS: their roots (some
        // hundred kilobytes) are read when the first one does.
        let files = tls::content(settings);
        let is_plain = TransportSettings {
            root_cas: Vec::new(),
            certificates: Vec::new(),
            cipher_suites: Vec::new(),
            min_version: String::new(),
            max_version: String::new(),
            spiffe: None,
            ..settings.clone()
        } == *settings;
        if !is_plain {
            let _ = tls.set(tls::configs(settings)?);
        }
        Ok(Arc::new(Self { settings: settings.clone(), tls, files }))
    }

    /// The files that it names still hold what was read.
    pub fn is_current(&self) -> bool {
        self.files == tls::content(&self.settings)
    }

    /// What its settings ask for and is not done, in words for the user.
    pub fn remarks(&self) -> Vec<String> {
        protocols::remarks(&self.settings)
    }

    /// What it was built from; compile reuses a transport whose settings are equal.
    pub fn settings(&self) -> &TransportSettings {
        &self.settings
    }

    /// Where our identity comes from; no server can be reached before there is one.
    pub(super) fn identity(&self) -> Option<&Source> {
        self.settings.spiffe.as_ref()?.source.as_ref()
    }

    /// The TLS configuration for HTTP/1.1.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        self.tls().map(|configs| Arc::clone(&configs.http1))
    }

    /// The TLS configuration.
    pub(super) fn tls(&self) -> Result<&TlsConfigs, String> {
        if let Some(configs) = self.tls.get() {
            return Ok(configs);
        }
        let made = tls::configs(&self.settings)?;
        Ok(self.tls.get_or_init(|| made))
    }

    /// Idle connections one worker keeps per server.
    pub(super) fn idle_limit(&self) -> usize {
        let total = match self.settings.max_idle_per_server {
            0 => 2,
            given => usize::try_from(given).unwrap_or(0),
        };
        total.div_ceil(self.settings.workers.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_are_divided_over_the_workers() {
        for (total, workers, each) in
            [(200, 4, 50), (200, 3, 67), (0, 4, 1), (0, 1, 2), (-1, 2, 0), (5, 0, 5)]
        {
            let settings =
                TransportSettings { max_idle_per_server: total, workers, ..Default::default() };
            let transport = Transport::build(&settings).unwrap();

            assert_eq!(transport.idle_limit(), each, "{total} over {workers}");
        }
    }

    #[test]
    fn a_missing_root_file_is_named() {
        let settings = TransportSettings {
            root_cas: vec!["/nowhere/ca.pem".to_owned()],
            ..Default::default()
        };

        let error = Transport::build(&settings).unwrap_err();

        assert!(error.contains("rootCAs") && error.contains("/nowhere/ca.pem"), "{error}");
    }
}
