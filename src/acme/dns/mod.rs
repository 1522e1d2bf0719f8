//! DNS-01 (RFC 8555, 8.4): who puts TXT records up, and when they are out.

mod exec;
mod httpreq;
mod key_file;
mod propagation;
mod rfc2136;
mod variables;

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::dns::{self, Change, Resolver};
use crate::settings::DnsChallenge;
use exec::Exec;
use httpreq::HttpReq;
use propagation::Checks;
use rfc2136::Rfc2136;
use variables::{Environment, Variables, is_on};

/// For one DNS server to answer; as lego.
const LIMIT: Duration = Duration::from_secs(10);

/// A TXT record that answers a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// What it is shown for.
    pub(super) domain: String,
    /// `_acme-challenge.example.org.`, or what that is an alias of.
    pub(super) name: String,
    /// Its text.
    pub(super) value: String,
}

impl Record {
    fn of(domain: &str, name: String, authorization: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, authorization.as_bytes());
        Self { domain: domain.to_owned(), name, value: URL_SAFE_NO_PAD.encode(digest) }
    }
}

/// Where the record for a name is looked for; a `*.` counts for nothing.
fn challenge_name(domain: &str) -> String {
    format!("_acme-challenge.{}.", domain.strip_prefix("*.").unwrap_or(domain))
}

/// What went wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) text: String,
    pub(super) mend: String,
}

/// Where records are put up, and how it is seen that they are out.
#[derive(Debug)]
pub(super) struct Dns {
    provider: Provider,
    resolver: Resolver,
    checks: Checks,
    /// An alias at the challenge's name is none of our business.
    ignores_aliases: bool,
}

#[derive(Debug)]
enum Provider {
    Exec(Exec),
    HttpReq(Box<HttpReq>),
    Rfc2136(Box<Rfc2136>),
}

/// The providers that there are, by lego's codes.
pub(super) const PROVIDERS: [&str; 3] = ["exec", "httpreq", "rfc2136"];

impl Dns {
    /// Reads the provider's environment variables. The error names what is missing.
    pub(super) fn new(settings: &DnsChallenge) -> Result<Self, String> {
        Self::read(settings, &|name| std::env::var(name).ok())
    }

    fn read(settings: &DnsChallenge, environment: Environment<'_>) -> Result<Self, String> {
        let of = |prefixes| Variables::new(environment, prefixes);
        let provider = match settings.provider.as_str() {
            "exec" => Provider::Exec(Exec::new(&of(&["EXEC_"]))?),
            "httpreq" => Provider::HttpReq(Box::new(HttpReq::new(&of(&["HTTPREQ_"]))?)),
            "rfc2136" | "dnsupdate" => {
                Provider::Rfc2136(Box::new(Rfc2136::new(&of(&rfc2136::PREFIXES))?))
            }
            "" => return Err("dnsChallenge.provider is missing".into()),
            other => {
                return Err(format!(
                    "dnsChallenge.provider {other:?} is not built yet; there are {}: `exec` runs \
                     a script of yours, `httpreq` asks a server of yours, `rfc2136` updates the \
                     zone's own server",
                    PROVIDERS.join(", ")
                ));
            }
        };
        let is_tcp_only = is_on(environment, "LEGO_EXPERIMENTAL_DNS_TCP_ONLY");
        let resolver = Resolver { servers: servers(settings)?, limit: LIMIT, is_tcp_only };
        let ignores_aliases = is_on(environment, "LEGO_DISABLE_CNAME_SUPPORT");
        Ok(Self { provider, resolver, checks: Checks::of(settings), ignores_aliases })
    }

    /// The record for a name and a key authorization.
    pub(super) async fn record(&self, domain: &str, authorization: &str) -> Record {
        let mut name = challenge_name(domain);
        if !self.ignores_aliases {
            name = self.resolver.follow(&name).await;
        }
        Record::of(domain, name, authorization)
    }

    /// Puts a record up.
    pub(super) async fn present(&self, record: &Record) -> Result<(), Trouble> {
        self.change(Change::Add, record).await
    }

    /// Takes it down.
    pub(super) async fn clean_up(&self, record: &Record) -> Result<(), Trouble> {
        self.change(Change::Remove, record).await
    }

    async fn change(&self, change: Change, record: &Record) -> Result<(), Trouble> {
        let what = match change {
            Change::Add => "present",
            Change::Remove => "cleanup",
        };
        let done = match &self.provider {
            Provider::Exec(exec) => exec.run(what, record).await,
            Provider::HttpReq(server) => server.call(what, record).await,
            Provider::Rfc2136(server) => return server.change(change, record).await,
        };
        done.map_err(|text| Trouble { text, mend: "see the provider's variables".into() })
    }

    /// Waits until records are out. The error says for which name one is not.
    pub(super) async fn wait(&self, records: &[Record]) -> Result<(), (String, Trouble)> {
        let patience = match &self.provider {
            Provider::Exec(exec) => exec.patience,
            Provider::HttpReq(server) => server.patience,
            Provider::Rfc2136(server) => server.patience,
        };
        self.checks.wait(&self.resolver, patience, records).await
    }
}

/// Who is asked: those that are named, else the system's, else public ones as lego does.
fn servers(settings: &DnsChallenge) -> Result<Vec<dns::Server>, String> {
    if !settings.resolvers.is_empty() {
        let each = settings.resolvers.iter().map(|server| server.parse());
        let all: Result<_, String> = each.collect();
        return all.map_err(|error| format!("dnsChallenge.resolvers: {error}"));
    }
    let system = std::fs::read_to_string(dns::SYSTEM).unwrap_or_default();
    let mut servers = dns::configured(&system);
    if servers.is_empty() {
        servers = ["1.1.1.1", "1.0.0.1"].iter().filter_map(|one| one.parse().ok()).collect();
    }
    Ok(servers)
}
