//! `rfc2136`: the zone's own server, by dynamic update (RFC 2136), signed with a shared key
//! (RFC 8945). Variables as lego's `dnsupdate`, by its new and its old names.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key_file::{self, Written};
use super::variables::{Patience, Variables};
use super::{Record, Trouble};
use crate::dns::{self, ALGORITHMS, Change, Code, Key, Objection, Refused, Resolver, Server};

/// What its variables begin with: lego's new name, and the one that everybody knows.
pub(super) const PREFIXES: [&str; 2] = ["DNSUPDATE_", "RFC2136_"];

/// As lego.
const ALGORITHM: &str = "hmac-sha1";

/// The server.
#[derive(Debug)]
pub(super) struct Rfc2136 {
    server: Server,
    key: Option<Signer>,
    /// Where given, the longest first; else the server is asked.
    zones: Vec<String>,
    ttl: u32,
    limit: Duration,
    pub(super) patience: Patience,
}

/// The key, and what is said of it.
#[derive(Debug)]
struct Signer {
    key: Key,
    name: String,
    algorithm: String,
}

impl Rfc2136 {
    pub(super) fn new(variables: &Variables<'_>) -> Result<Self, String> {
        let missing = "dnsChallenge.provider rfc2136: set RFC2136_NAMESERVER to the address of the \
                       zone's primary server";
        let (name, server) = variables.found("NAMESERVER")?.ok_or(missing)?;
        let server = server.parse().map_err(|error| format!("{name}: {error}"))?;
        let zones = variables.text("ZONES")?.unwrap_or_default();
        let zones = zones.split(',').map(str::trim).filter(|zone| !zone.is_empty());
        let mut zones: Vec<String> = zones.map(qualified).collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.len()));
        let mut patience = variables.patience()?;
        // Its name in lego's first versions.
        if variables.text("PROPAGATION_TIMEOUT")?.is_none() {
            patience.limit = variables.seconds("TIMEOUT", 60)?;
        }
        // Read so that a typing error is told; records of one name stand side by side here,
        // so none has to wait for another.
        variables.seconds("SEQUENCE_INTERVAL", 60)?;
        Ok(Self {
            server,
            key: signer(variables)?,
            zones,
            ttl: variables.number("TTL", 120)?,
            limit: variables.seconds("DNS_TIMEOUT", 10)?.max(Duration::from_secs(1)),
            patience,
        })
    }

    pub(super) async fn change(&self, change: Change, record: &Record) -> Result<(), Trouble> {
        let zone = self.zone(&record.name).await?;
        let Record { name, value, .. } = record;
        let update = dns::Update { zone: &zone, name, text: value, ttl: self.ttl, change };
        let key = self.key.as_ref().map(|signer| &signer.key);
        let done = dns::update(&self.server, &update, key, self.limit).await;
        done.map_err(|refused| self.trouble(&refused, &zone))
    }

    async fn zone(&self, name: &str) -> Result<String, Trouble> {
        if self.zones.is_empty() {
            let servers = vec![self.server.clone()];
            let resolver = Resolver { servers, limit: self.limit, is_tcp_only: false };
            return resolver.zone(name).await.map_err(|error| Trouble {
                text: error.to_string(),
                mend: "RFC2136_NAMESERVER must be the primary server of the name's zone, and let \
                       this machine ask for its SOA record; or name the zone in RFC2136_ZONES"
                    .into(),
            });
        }
        let is_in = |zone: &&String| {
            name.strip_suffix(zone.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.zones.iter().find(is_in).cloned().ok_or_else(|| Trouble {
            text: format!("{name} is in none of the zones {}", self.zones.join(", ")),
            mend: "add its zone to RFC2136_ZONES".into(),
        })
    }

    /// What a refusal means.
    fn trouble(&self, refused: &Refused, zone: &str) -> Trouble {
        let (code, objection) = match refused {
            Refused::Error(error) => {
                return Trouble {
                    text: format!("update of {zone}: {error}"),
                    mend: "see that RFC2136_NAMESERVER is right and can be reached from here"
                        .into(),
                };
            }
            Refused::Says(code, objection) => (*code, *objection),
        };
        let said = match objection {
            Some(Objection::Key) => "BADKEY".to_owned(),
            Some(Objection::Signature) => "BADSIG".to_owned(),
            Some(Objection::Time) => "BADTIME".to_owned(),
            Some(Objection::Other(code)) => format!("TSIG error {code}"),
            None => code.to_string(),
        };
        let mend = match (objection, &self.key) {
            (Some(Objection::Key), Some(Signer { name, algorithm, .. })) => format!(
                "the server knows no key {name} for {algorithm}: set RFC2136_TSIG_KEY and \
                 RFC2136_TSIG_ALGORITHM as in its configuration"
            ),
            (Some(Objection::Signature), Some(Signer { name, .. })) => format!(
                "RFC2136_TSIG_SECRET is not the secret that the server has for the key {name}"
            ),
            (Some(Objection::Time), _) => {
                "the server's clock and this machine's differ by minutes: set them".into()
            }
            (_, None) if [Code::REFUSED, Code::NOT_AUTH].contains(&code) => {
                "the server wants updates to be signed: set RFC2136_TSIG_KEY, \
                 RFC2136_TSIG_SECRET and RFC2136_TSIG_ALGORITHM"
                    .into()
            }
            (_, Some(Signer { name, .. })) if code == Code::REFUSED => format!(
                "let the key {name} change TXT records in {zone} at the server (allow-update, \
                 update-policy, acl)"
            ),
            _ if [Code::NOT_AUTH, Code::NOT_ZONE].contains(&code) => format!(
                "{} is not the primary server of {zone}: set RFC2136_NAMESERVER, or RFC2136_ZONES",
                self.server
            ),
            _ => "see the server's own log".into(),
        };
        let text = format!("DNS server {} refuses the update of {zone}: {said}", self.server);
        Trouble { text, mend }
    }
}

/// The key, if there is one.
fn signer(variables: &Variables<'_>) -> Result<Option<Signer>, String> {
    if let Some(algorithm) = variables.text("TSIG_ALGORITHM")?
        && algorithm.trim_end_matches('.').eq_ignore_ascii_case("gss-tsig")
    {
        return Err("RFC2136_TSIG_ALGORITHM gss-tsig (Kerberos) is not built; use a key that the \
                    server shares with us"
            .into());
    }
    let written = match variables.found("TSIG_FILE")? {
        Some((variable, path)) => {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| format!("{variable} {path}: {error}"))?;
            key_file::read(&text).map_err(|error| format!("{variable} {path}: {error}"))?
        }
        None => Written {
            name: variables.text("TSIG_KEY")?.unwrap_or_default(),
            algorithm: variables.text("TSIG_ALGORITHM")?.unwrap_or_default(),
            secret: variables.text("TSIG_SECRET")?.unwrap_or_default(),
        },
    };
    let Written { name, mut algorithm, secret } = written;
    match (name.is_empty(), secret.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => {
            return Err("RFC2136_TSIG_SECRET is set, and RFC2136_TSIG_KEY is not".into());
        }
        (false, true) => {
            return Err("RFC2136_TSIG_KEY is set, and RFC2136_TSIG_SECRET is not".into());
        }
        (false, false) => {}
    }
    if algorithm.is_empty() {
        ALGORITHM.clone_into(&mut algorithm);
    }
    let secret = STANDARD
        .decode(secret.trim())
        .map_err(|_| "RFC2136_TSIG_SECRET is no base64, as tsig-keygen writes it")?;
    let key = Key::new(&name, &algorithm, &secret)
        .map_err(|error| format!("RFC2136_TSIG_KEY: {error}"))?;
    let key = key.ok_or_else(|| {
        let all = ALGORITHMS.join(", ");
        format!("RFC2136_TSIG_ALGORITHM {algorithm:?}; there are {all}")
    })?;
    Ok(Some(Signer { key, name, algorithm }))
}

/// Lower case, with the dot at its end.
fn qualified(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(given: &[(&str, &str)]) -> Result<Rfc2136, String> {
        let environment = |name: &str| {
            given.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
        };
        Rfc2136::new(&Variables::new(&environment, &PREFIXES))
    }

    const SERVER: (&str, &str) = ("RFC2136_NAMESERVER", "192.0.2.1");

    #[test]
    fn variables_are_legos() {
        let usual = provider(&[SERVER]).unwrap();
        assert_eq!(usual.server.to_string(), "192.0.2.1:53");
        assert_eq!((usual.ttl, usual.limit), (120, Duration::from_secs(10)));
        let (limit, pause) = (Duration::from_secs(60), Duration::from_secs(2));
        assert_eq!(usual.patience, Patience { limit, pause, prefix: "RFC2136_" });
        assert!(usual.key.is_none());

        let given = provider(&[
            SERVER,
            ("DNSUPDATE_NAMESERVER", "[2001:db8::1]:5353"),
            ("RFC2136_TTL", "5"),
            ("RFC2136_DNS_TIMEOUT", "3"),
            ("RFC2136_TIMEOUT", "90"),
            ("RFC2136_TSIG_KEY", "k.example.org"),
            ("RFC2136_TSIG_SECRET", "c2VjcmV0"),
            ("RFC2136_TSIG_ALGORITHM", "hmac-sha512."),
            ("RFC2136_ZONES", "Example.org, a.example.org."),
        ])
        .unwrap();
        assert_eq!(given.server.to_string(), "[2001:db8::1]:5353");
        assert_eq!((given.ttl, given.limit), (5, Duration::from_secs(3)));
        assert_eq!(given.patience.limit, Duration::from_secs(90));
        assert_eq!(given.key.unwrap().name, "k.example.org");
        assert_eq!(given.zones, ["a.example.org.", "example.org."]);
    }

    #[test]
    fn what_is_wrong_with_a_variable_is_told_by_its_name() {
        for (given, wanted) in [
            (&[][..], "set RFC2136_NAMESERVER"),
            (&[("RFC2136_NAMESERVER", "a:b")], "RFC2136_NAMESERVER: "),
            (&[SERVER, ("RFC2136_TSIG_KEY", "k")], "RFC2136_TSIG_SECRET is not"),
            (&[SERVER, ("RFC2136_TSIG_SECRET", "c2VjcmV0")], "RFC2136_TSIG_KEY is not"),
            (&[SERVER, ("RFC2136_TTL", "-1")], "RFC2136_TTL=\"-1\" is no whole number"),
            (&[SERVER, ("RFC2136_TSIG_FILE", "/no/such")], "RFC2136_TSIG_FILE /no/such: "),
            (&[SERVER, ("RFC2136_TSIG_ALGORITHM", "gss-tsig.")], "Kerberos"),
            (
                &[SERVER, ("RFC2136_TSIG_KEY", "k"), ("RFC2136_TSIG_SECRET", "?")],
                "RFC2136_TSIG_SECRET is no base64",
            ),
            (
                &[
                    SERVER,
                    ("RFC2136_TSIG_KEY", "k"),
                    ("RFC2136_TSIG_SECRET", "c2VjcmV0"),
                    ("RFC2136_TSIG_ALGORITHM", "hmac-md5"),
                ],
                "there are hmac-sha1, hmac-sha224",
            ),
        ] {
            let error = provider(given).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_is_in_the_longest_zone_that_is_named() {
        let provider = provider(&[SERVER, ("RFC2136_ZONES", "example.org,a.example.org")]).unwrap();
        for (name, zone) in [
            ("_acme-challenge.a.example.org.", Some("a.example.org.")),
            ("_acme-challenge.b.example.org.", Some("example.org.")),
            ("_acme-challenge.notexample.org.", None),
        ] {
            assert_eq!(provider.zone(name).await.ok().as_deref(), zone, "{name}");
        }
    }

    #[test]
    fn each_refusal_has_its_mend() {
        let key = [
            SERVER,
            ("RFC2136_TSIG_KEY", "k.org"),
            ("RFC2136_TSIG_SECRET", "c2VjcmV0"),
            ("RFC2136_TSIG_ALGORITHM", "hmac-sha256"),
        ];
        for (given, code, objection, wanted) in [
            (
                &key[..],
                Code::NOT_AUTH,
                Some(Objection::Key),
                "BADKEY: the server knows no key k.org",
            ),
            (&key, Code::NOT_AUTH, Some(Objection::Signature), "BADSIG: RFC2136_TSIG_SECRET"),
            (&key, Code::NOT_AUTH, Some(Objection::Time), "BADTIME: the server's clock"),
            (&key, Code::REFUSED, None, "REFUSED: let the key k.org change TXT records"),
            (&key[..1], Code::REFUSED, None, "REFUSED: the server wants updates to be signed"),
            (&key, Code::NOT_AUTH, None, "NOTAUTH: 192.0.2.1:53 is not the primary server"),
            (&key, Code::SERVER_FAILURE, None, "SERVFAIL: see the server's own log"),
        ] {
            let provider = provider(given).unwrap();
            let Trouble { text, mend } =
                provider.trouble(&Refused::Says(code, objection), "example.org.");
            let all = format!("{text}: {mend}");
            assert!(all.contains(wanted), "{all}");
        }
    }
}
