//! The static configuration: typed, with Traefik's names and defaults. Read once at
//! start from one source (file, else flags, else environment), and again when that is asked for;
//! what is in force is replaced as a whole and never changed.

mod change;
mod check;
mod duration;
mod entry_point;
mod known;
mod observe;
mod otlp;
mod provider;
mod read;
mod resolver;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::tree;

pub use change::{Compared, Difference, Needs, compare, needs};
pub use duration::{DurationError, GoDuration};
pub use entry_point::{
    AliasStrategy, EncodedCharacters, EntryPoint, EntryPointHttp, EntryPointTls, ForwardedHeaders,
    Http2, LifeCycle, Observability, ProxyProtocol, RedirectTo, Redirections, RespondingTimeouts,
    Transport,
};
pub use known::options;
pub use observe::{
    AccessLog, AccessLogFields, AccessLogFilters, FieldMode, HeaderFields, Log, Metrics, Ping,
    Prometheus, QueryParameters,
};
pub use otlp::{
    Collector, CollectorGrpc, CollectorHttp, CollectorTls, LogsOtlp, MetricsOtlp, Tracing,
};
pub use provider::{Docker, DomainNames, EngineTls, File, Providers};
pub use read::{Read, Start, part, read};
pub use resolver::{
    Acme, DnsChallenge, Eab, HttpChallenge, LETS_ENCRYPT, Propagation, Resolver, TlsChallenge,
};

/// The whole static configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Options for all entry points.
    pub global: Global,
    /// Entry points by name. Never empty after reading: `http` on `:80` when none is given,
    /// and `traefik` on `:8080` when something needs it.
    pub entry_points: BTreeMap<String, EntryPoint>,
    /// Where dynamic configuration comes from.
    pub providers: Providers,
    /// API and dashboard.
    #[serde(deserialize_with = "tree::switch")]
    pub api: Option<Api>,
    /// `/ping`.
    #[serde(deserialize_with = "tree::switch")]
    pub ping: Option<Ping>,
    /// Wharf's own log.
    #[serde(deserialize_with = "tree::switch")]
    pub log: Option<Log>,
    /// The access log.
    #[serde(deserialize_with = "tree::switch")]
    pub access_log: Option<AccessLog>,
    /// Metrics.
    pub metrics: Metrics,
    /// How dynamic configuration is read.
    #[serde(deserialize_with = "tree::switch")]
    pub core: Option<Core>,
    /// Accepted.
    pub experimental: Experimental,
    /// Tracing.
    #[serde(deserialize_with = "tree::switch")]
    pub tracing: Option<Tracing>,
    /// The default transport towards servers.
    pub servers_transport: StaticTransport,
    /// Where this process gets its identity from.
    pub spiffe: Spiffe,
    /// Where certificates come from, by name.
    pub certificates_resolvers: BTreeMap<String, Resolver>,
    /// OCSP answers are stapled to certificates.
    #[serde(deserialize_with = "tree::switch")]
    pub ocsp: Option<Ocsp>,
    /// What requests' hosts are aliases of.
    #[serde(deserialize_with = "tree::switch")]
    pub host_resolver: Option<HostResolver>,
    /// What Traefik does not have.
    pub wharf: Wharf,
}

/// How OCSP answers are obtained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ocsp {
    /// Whom to ask instead of the responder that a certificate names.
    pub responder_overrides: BTreeMap<String, String>,
}

/// Whether `Host` also looks at what a request's host is an alias of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostResolver {
    /// It does.
    pub cname_flattening: bool,
    /// The file that names the DNS servers to ask, as resolv.conf(5).
    pub resolv_config: String,
    /// Aliases of aliases that are followed.
    pub resolv_depth: i64,
}

impl Default for HostResolver {
    fn default() -> Self {
        Self {
            cname_flattening: false,
            resolv_config: "/etc/resolv.conf".to_owned(),
            resolv_depth: 5,
        }
    }
}

/// Options for all entry points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Global {
    /// Accepted; Wharf never phones home.
    pub check_new_version: bool,
    /// Accepted; Wharf never phones home.
    pub send_anonymous_usage: bool,
    /// Do not add the peer to X-Forwarded-For, on any entry point.
    #[serde(rename = "notAppendXForwardedFor")]
    pub not_append_x_forwarded_for: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            check_new_version: true,
            send_anonymous_usage: false,
            not_append_x_forwarded_for: false,
        }
    }
}

/// What Traefik tries out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Experimental {
    /// Allows `log.otlp` and `accessLog.otlp`.
    pub otlplogs: bool,
    /// Accepted: other proxy code of Traefik's; Wharf has but one.
    #[serde(deserialize_with = "tree::switch")]
    pub fast_proxy: Option<FastProxy>,
    /// Accepted: there are no plugins.
    pub abort_on_plugin_failure: bool,
    /// Accepted: no effect in Traefik either without the provider it allows.
    pub knative: bool,
    /// The same.
    pub kubernetes_gateway: bool,
    /// The same.
    #[serde(rename = "kubernetesIngressNGINX")]
    pub kubernetes_ingress_nginx: bool,
}

/// Options of Traefik's other proxy code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FastProxy {
    /// Accepted.
    pub debug: bool,
}

/// How dynamic configuration is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Core {
    /// The rule syntax of routers that name none: `v3` or `v2`.
    pub default_rule_syntax: String,
    /// Routers with TLS options that clash are not served, instead of with the default ones.
    #[serde(rename = "strictTLSOptions")]
    pub strict_tls_options: bool,
}

impl Default for Core {
    fn default() -> Self {
        Self { default_rule_syntax: "v3".to_owned(), strict_tls_options: false }
    }
}

/// API and dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Api {
    /// Serve both on the entry point `traefik` without a router.
    pub insecure: bool,
    /// The dashboard beside the API; default true.
    pub dashboard: bool,
    /// `/debug/vars`.
    pub debug: bool,
    /// Path prefix; default `/`.
    pub base_path: String,
    /// Accepted.
    pub disable_dashboard_ad: bool,
    /// Name shown on the dashboard.
    pub dashboard_name: String,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            insecure: false,
            dashboard: true,
            debug: false,
            base_path: "/".to_owned(),
            disable_dashboard_ad: false,
            dashboard_name: String::new(),
        }
    }
}

/// The default transport: a servers transport with fewer options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StaticTransport {
    /// Do not verify servers.
    pub insecure_skip_verify: bool,
    /// Files or PEM texts.
    #[serde(rename = "rootCAs")]
    pub root_cas: Vec<String>,
    /// Idle connections kept per server; 0: 2 (Go), negative: none.
    pub max_idle_conns_per_host: i64,
    /// Time limits.
    pub forwarding_timeouts: StaticTimeouts,
    /// Identities instead of names.
    #[serde(deserialize_with = "tree::switch")]
    pub spiffe: Option<SpiffePeers>,
}

/// Where this process gets its identity from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spiffe {
    /// `unix:///path` or `tcp://address:port`; empty: nowhere.
    #[serde(rename = "workloadAPIAddr")]
    pub workload_api_addr: String,
}

/// Servers that are known by their SPIFFE identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpiffePeers {
    /// The ids that servers may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The trust domain that they must be of; counts only without ids.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trust_domain: String,
}

impl Default for StaticTransport {
    fn default() -> Self {
        Self {
            insecure_skip_verify: false,
            root_cas: Vec::new(),
            max_idle_conns_per_host: 200,
            forwarding_timeouts: StaticTimeouts::default(),
            spiffe: None,
        }
    }
}

/// Time limits of the default transport; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StaticTimeouts {
    /// To connect.
    pub dial_timeout: GoDuration,
    /// For the response head.
    pub response_header_timeout: GoDuration,
    /// A connection without work.
    pub idle_conn_timeout: GoDuration,
}

impl Default for StaticTimeouts {
    fn default() -> Self {
        Self {
            dial_timeout: GoDuration::from_secs(30),
            response_header_timeout: GoDuration::from_secs(0),
            idle_conn_timeout: GoDuration::from_secs(90),
        }
    }
}

/// Options of Wharf's own, under `wharf`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wharf {
    /// Worker threads; 0: one per CPU that the process may use.
    pub workers: u32,
    /// Answer 404, as Traefik does, when a known router's containers are not running.
    #[serde(rename = "notFoundWhenDown")]
    pub not_found_when_down: bool,
    /// How long a request may wait for a server that is expected; 0 turns waiting off.
    pub hold: GoDuration,
    /// Take servers out for a time that fail where the others of their service do not.
    pub outlier_ejection: bool,
    /// Open client connections in all; 0: nine tenths of the limit on open files.
    pub max_connections: u32,
    /// How long connections may stay at a process that handed over to another.
    pub upgrade_timeout: GoDuration,
    /// What becomes of a name that unrelated containers define with different settings.
    pub conflicts: Conflicts,
    /// Keep containers of different Compose projects out of each other's services, also where
    /// they define them alike.
    pub isolate_projects: bool,
    /// Take over the static configuration's file when it changes.
    pub watch: bool,
}

/// What becomes of a name that unrelated containers define with different settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Conflicts {
    /// Who came first keeps it.
    #[default]
    #[serde(rename = "keepFirst")]
    KeepFirst,
    /// As Traefik: nobody has it.
    #[serde(rename = "drop")]
    Drop,
}

impl Default for Wharf {
    fn default() -> Self {
        Self {
            workers: 0,
            not_found_when_down: false,
            hold: GoDuration::from_secs(10),
            outlier_ejection: true,
            max_connections: 0,
            upgrade_timeout: GoDuration::from_secs(3600),
            conflicts: Conflicts::KeepFirst,
            isolate_projects: false,
            watch: true,
        }
    }
}
