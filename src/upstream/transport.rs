//! How servers of one service are talked to.

use std::time::Duration;

/// The settings of a transport, as plain values. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportSettings {
    /// SNI and name to expect; empty: the host of the server URL.
    pub server_name: String,
    /// Do not verify servers.
    pub insecure_skip_verify: bool,
    /// CA files or PEM texts, added to the system's.
    pub root_cas: Vec<String>,
    /// Client certificates: chain and key, each a file or a PEM text.
    pub certificates: Vec<(String, String)>,
    /// URI that must be among the names of a server's certificate; empty: any.
    pub peer_cert_uri: String,
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
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            server_name: String::new(),
            insecure_skip_verify: false,
            root_cas: Vec::new(),
            certificates: Vec::new(),
            peer_cert_uri: String::new(),
            disable_http2: false,
            max_idle_per_server: 200,
            workers: 1,
            dial_timeout: Some(Duration::from_secs(30)),
            response_header_timeout: None,
            idle_timeout: Some(Duration::from_secs(90)),
            read_idle_timeout: None,
            ping_timeout: Duration::from_secs(15),
        }
    }
}
