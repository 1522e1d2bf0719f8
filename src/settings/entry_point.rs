//! Entry points.

use serde::{Deserialize, Serialize};

use super::GoDuration;
use crate::tree;

/// One entry point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntryPoint {
    /// `[host]:port[/tcp|/udp]`.
    pub address: String,
    /// Routers that name no entry point listen here.
    pub as_default: bool,
    /// The redirection leaves ACME's challenge path to the routers.
    #[serde(rename = "allowACMEByPass")]
    pub allow_acme_by_pass: bool,
    /// Several processes may bind the address.
    pub reuse_port: bool,
    /// Life cycle and time limits.
    pub transport: Transport,
    /// PROXY protocol.
    #[serde(deserialize_with = "tree::switch")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Who may set X-Forwarded-*.
    pub forwarded_headers: ForwardedHeaders,
    /// HTTP options.
    pub http: EntryPointHttp,
    /// HTTP/2 limits.
    pub http2: Http2,
    /// What is observed of the routers here that do not say so themselves.
    pub observability: Option<Observability>,
}

/// What is observed of an entry point's routers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observability {
    /// Access log lines; default true.
    pub access_logs: bool,
    /// Metrics; default true.
    pub metrics: bool,
    /// Spans; default true.
    pub tracing: bool,
    /// `minimal` or `detailed`.
    pub trace_verbosity: String,
}

impl Default for Observability {
    fn default() -> Self {
        let trace_verbosity = "minimal".to_owned();
        Self { access_logs: true, metrics: true, tracing: true, trace_verbosity }
    }
}

/// Life cycle and time limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Transport {
    /// At shutdown.
    pub life_cycle: LifeCycle,
    /// Towards clients.
    pub responding_timeouts: RespondingTimeouts,
    /// Longest life of a connection; 0: no limit.
    pub keep_alive_max_time: GoDuration,
    /// Requests per connection; 0: no limit.
    pub keep_alive_max_requests: u64,
}

/// What happens at shutdown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifeCycle {
    /// Time to go on accepting.
    pub request_accept_grace_timeout: GoDuration,
    /// Time for open requests; default 10 s.
    pub grace_time_out: GoDuration,
}

impl Default for LifeCycle {
    fn default() -> Self {
        Self {
            request_accept_grace_timeout: GoDuration::from_secs(0),
            grace_time_out: GoDuration::from_secs(10),
        }
    }
}

/// Time limits towards clients; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RespondingTimeouts {
    /// Set: the whole request, as in Traefik. Unset: 30 s for the head and 60 s without a byte.
    pub read_timeout: Option<GoDuration>,
    /// The whole response.
    pub write_timeout: GoDuration,
    /// A connection without a request; default 180 s.
    pub idle_timeout: GoDuration,
}

impl Default for RespondingTimeouts {
    fn default() -> Self {
        Self {
            read_timeout: None,
            write_timeout: GoDuration::from_secs(0),
            idle_timeout: GoDuration::from_secs(180),
        }
    }
}

/// PROXY protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocol {
    /// From anyone.
    pub insecure: bool,
    /// From these addresses and ranges.
    #[serde(rename = "trustedIPs")]
    pub trusted_ips: Vec<String>,
}

/// Who may set X-Forwarded-*.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ForwardedHeaders {
    /// Anyone.
    pub insecure: bool,
    /// These addresses and ranges.
    #[serde(rename = "trustedIPs")]
    pub trusted_ips: Vec<String>,
    /// Fields named in Connection that middlewares may still see.
    pub connection: Vec<String>,
    /// Do not add the peer to X-Forwarded-For.
    #[serde(rename = "notAppendXForwardedFor")]
    pub not_append_x_forwarded_for: bool,
}

/// HTTP options of an entry point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntryPointHttp {
    /// Redirect everything elsewhere.
    pub redirections: Option<Redirections>,
    /// Put before those of every router.
    pub middlewares: Vec<String>,
    /// TLS for every router that has none of its own.
    #[serde(deserialize_with = "tree::switch")]
    pub tls: Option<EntryPointTls>,
    /// Send `;` in queries on as `%3B`.
    pub encode_query_semicolons: bool,
    /// Resolve `..`, `.` and `//`; default true.
    pub sanitize_path: bool,
    /// Largest head in bytes; default 1 MiB.
    pub max_header_bytes: i64,
    /// Encoded characters that paths may hold.
    pub encoded_characters: EncodedCharacters,
    /// What to do with fields whose names alias others; `None`: keep them.
    pub alias_headers_strategy: Option<AliasStrategy>,
    /// Deprecated: the same for names with underscores only.
    pub underscore_headers_strategy: Option<AliasStrategy>,
}

/// What to do with a field such as `X_Name` or `X.Name`, which many servers read as `X-Name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AliasStrategy {
    /// It goes on.
    Keep,
    /// It is taken out.
    Delete,
    /// The request is answered with 400.
    Reject,
}

impl Default for EntryPointHttp {
    fn default() -> Self {
        Self {
            redirections: None,
            middlewares: Vec::new(),
            tls: None,
            encode_query_semicolons: false,
            sanitize_path: true,
            max_header_bytes: 1_048_576,
            encoded_characters: EncodedCharacters::default(),
            alias_headers_strategy: None,
            underscore_headers_strategy: None,
        }
    }
}

/// Encoded characters that paths may hold; all true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EncodedCharacters {
    /// `%2F`.
    pub allow_encoded_slash: bool,
    /// `%5C`.
    pub allow_encoded_back_slash: bool,
    /// `%00`.
    pub allow_encoded_null_character: bool,
    /// `%3B`.
    pub allow_encoded_semicolon: bool,
    /// `%25`.
    pub allow_encoded_percent: bool,
    /// `%3F`.
    pub allow_encoded_question_mark: bool,
    /// `%23`.
    pub allow_encoded_hash: bool,
}

impl Default for EncodedCharacters {
    fn default() -> Self {
        Self {
            allow_encoded_slash: true,
            allow_encoded_back_slash: true,
            allow_encoded_null_character: true,
            allow_encoded_semicolon: true,
            allow_encoded_percent: true,
            allow_encoded_question_mark: true,
            allow_encoded_hash: true,
        }
    }
}

/// Redirections of an entry point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redirections {
    /// To another entry point.
    pub entry_point: Option<RedirectTo>,
}

/// Where to redirect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedirectTo {
    /// An entry point, or `:port`.
    pub to: String,
    /// Default `https`.
    pub scheme: String,
    /// 301/308; default true.
    pub permanent: bool,
    /// Priority of the router made for it; default 2^63-2.
    pub priority: i64,
}

impl Default for RedirectTo {
    fn default() -> Self {
        Self {
            to: String::new(),
            scheme: "https".to_owned(),
            permanent: true,
            priority: i64::MAX - 1,
        }
    }
}

/// Default TLS of an entry point's routers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntryPointTls {
    /// Named options.
    pub options: String,
    /// ACME resolver.
    pub cert_resolver: String,
    /// Names to get certificates for: `main` and `sans`.
    pub domains: Vec<super::provider::DomainNames>,
}

/// HTTP/2 limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Http2 {
    /// Default 250.
    pub max_concurrent_streams: u32,
    /// Bytes of the table for requests' fields; default 4096.
    pub max_decoder_header_table_size: u32,
    /// Accepted.
    pub max_encoder_header_table_size: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 250,
            max_decoder_header_table_size: 4096,
            max_encoder_header_table_size: 4096,
        }
    }
}
