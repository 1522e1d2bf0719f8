//! DNS-01 (RFC 8555, 8.4): who puts TXT records up, and when they are out.

mod exec;
mod httpreq;

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::settings::DnsChallenge;
use exec::Exec;
use httpreq::HttpReq;

/// A TXT record that answers a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// `_acme-challenge.example.org.`, fully qualified.
    pub(super) name: String,
    /// Its text.
    pub(super) value: String,
}

impl Record {
    /// The record for this name, whose `*.` counts for nothing, and this key authorization.
    pub(super) fn of(name: &str, authorization: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, authorization.as_bytes());
        let name = name.strip_prefix("*.").unwrap_or(name);
        Self { name: format!("_acme-challenge.{name}."), value: URL_SAFE_NO_PAD.encode(digest) }
    }
}

/// Where records are put up, and how long it takes until they are out.
#[derive(Debug)]
pub(super) struct Dns {
    provider: Provider,
    delay: Duration,
}

#[derive(Debug)]
enum Provider {
    Exec(Exec),
    HttpReq(Box<HttpReq>),
}

/// The providers that there are, by lego's codes.
pub(super) const PROVIDERS: [&str; 2] = ["exec", "httpreq"];

impl Dns {
    /// Reads the provider's environment variables. The error names what is missing.
    pub(super) fn new(settings: &DnsChallenge) -> Result<Self, String> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let provider = match settings.provider.as_str() {
            "exec" => Provider::Exec(Exec::new(&env)?),
            "httpreq" => Provider::HttpReq(Box::new(HttpReq::new(&env)?)),
            "" => return Err("dnsChallenge.provider is missing".into()),
            other => {
                return Err(format!(
                    "dnsChallenge.provider {other:?} is not built yet; there are {}: `exec` runs \
                     a script of yours, `httpreq` asks a server of yours",
                    PROVIDERS.join(", ")
                ));
            }
        };
        let propagation = settings.propagation.clone().unwrap_or_default();
        let delay = propagation.delay_before_checks.positive();
        let delay = delay.or(settings.delay_before_check.positive()).unwrap_or_default();
        Ok(Self { provider, delay })
    }

    /// Puts a record up.
    pub(super) async fn present(&self, record: &Record) -> Result<(), String> {
        match &self.provider {
            Provider::Exec(exec) => exec.run("present", record).await,
            Provider::HttpReq(server) => server.call("present", record).await,
        }
    }

    /// Takes it down.
    pub(super) async fn clean_up(&self, record: &Record) -> Result<(), String> {
        match &self.provider {
            Provider::Exec(exec) => exec.run("cleanup", record).await,
            Provider::HttpReq(server) => server.call("cleanup", record).await,
        }
    }

    /// Waits until records are out.
    pub(super) async fn wait(&self, _records: &[Record]) -> Result<(), String> {
        tokio::time::sleep(self.delay).await;
        Ok(())
    }
}
