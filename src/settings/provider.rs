//! Providers.

use serde::{Deserialize, Serialize};

use super::GoDuration;
use crate::tree;

/// Where dynamic configuration comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Providers {
    /// Longest wait between a change and its publication under a storm; default 2 s.
    pub providers_throttle_duration: GoDuration,
    /// Which provider wins between routers of equal priority, the first of all first; empty:
    /// docker, then file.
    pub precedence: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "tree::switch")]
    pub docker: Option<Docker>,
    /// Files.
    #[serde(deserialize_with = "tree::switch")]
    pub file: Option<File>,
}

impl Default for Providers {
    fn default() -> Self {
        Self {
            providers_throttle_duration: GoDuration::from_secs(2),
            precedence: Vec::new(),
            docker: None,
            file: None,
        }
    }
}

impl Providers {
    /// The place of the provider of that name in the precedence; one that is not in it is last.
    pub fn place(&self, name: &str) -> usize {
        let place = |mut names: std::slice::Iter<'_, String>| {
            names.position(|known| known.eq_ignore_ascii_case(name))
        };
        if self.precedence.is_empty() {
            return usize::from(name != "docker");
        }
        place(self.precedence.iter()).unwrap_or(self.precedence.len())
    }
}

/// The Docker provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Docker {
    /// `unix:///var/run/docker.sock`; `DOCKER_HOST` when not set.
    pub endpoint: String,
    /// Basic auth towards the engine.
    pub username: String,
    /// Basic auth towards the engine.
    pub password: String,
    /// Take containers without `traefik.enable` too; default true.
    pub exposed_by_default: bool,
    /// Follow events; default true.
    pub watch: bool,
    /// Go template of the rule of routers without one.
    pub default_rule: String,
    /// The network whose addresses are used.
    pub network: String,
    /// Expression over labels.
    pub constraints: String,
    /// Use published host addresses.
    #[serde(rename = "useBindPortIP")]
    pub use_bind_port_ip: bool,
    /// Keep services of containers that are not healthy.
    pub allow_empty_services: bool,
    /// Limit of calls to the engine; 0: 10 s.
    #[serde(rename = "httpClientTimeout")]
    pub http_client_timeout: GoDuration,
    /// TLS towards the engine.
    pub tls: Option<EngineTls>,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            username: String::new(),
            password: String::new(),
            exposed_by_default: true,
            watch: true,
            default_rule: "Host(`{{ normalize .Name }}`)".to_owned(),
            network: String::new(),
            constraints: String::new(),
            use_bind_port_ip: false,
            allow_empty_services: false,
            http_client_timeout: GoDuration::from_secs(0),
            tls: None,
        }
    }
}

/// TLS towards the engine: files or PEM texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EngineTls {
    /// Roots.
    pub ca: String,
    /// Client certificate.
    pub cert: String,
    /// Client key.
    pub key: String,
    /// Do not verify.
    pub insecure_skip_verify: bool,
}

/// The file provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct File {
    /// A folder, with its subfolders.
    pub directory: String,
    /// One file.
    pub filename: String,
    /// Reload on change; default true.
    pub watch: bool,
    /// Log the file after its template was run.
    pub debug_log_generated_template: bool,
}

impl Default for File {
    fn default() -> Self {
        Self {
            directory: String::new(),
            filename: String::new(),
            watch: true,
            debug_log_generated_template: false,
        }
    }
}

/// Names of one certificate in an entry point's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DomainNames {
    /// The main name.
    pub main: String,
    /// Further names.
    pub sans: Vec<String>,
}
