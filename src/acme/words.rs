//! ACME's refusals in plain words, with what to do about them.

use std::time::Duration;

use super::client::{Failure, Refusal, clean};
use super::dns::Trouble;
use super::order::{Failed, Way};

/// A failure as people read it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Words {
    pub(super) error: String,
    pub(super) mend: String,
    /// When the CA wants to be asked again, at the earliest.
    pub(super) retry_after: Option<Duration>,
}

/// The shortest pause after a rate limit that does not say how long.
const RATE_LIMIT: Duration = Duration::from_secs(3600);

/// Says what went wrong with an order for these names.
pub(super) fn words(failed: &Failed, way: &Way, names: &[String]) -> Words {
    let name = failed.name.as_ref().or(names.first()).map_or("the name", String::as_str);
    match &failed.why {
        Failure::Local(text) => Words {
            error: of(failed, text),
            mend: "mend the resolver's settings".into(),
            retry_after: None,
        },
        Failure::Dns(Trouble { text, mend }) => {
            Words { error: of(failed, text), mend: clean(mend, LONGEST), retry_after: None }
        }
        Failure::Server(text) => Words {
            error: of(failed, text),
            mend: "see that the CA's server (caServer) can be reached from here; it is tried \
                   again"
                .into(),
            retry_after: None,
        },
        Failure::Refused(refusal) => refused(failed, refusal, way, name),
    }
}

/// Longest text passed on: some of it is a server's.
const LONGEST: usize = 2000;

fn of(failed: &Failed, text: &str) -> String {
    let text = &*clean(text, LONGEST);
    failed.name.as_ref().map_or_else(|| text.to_owned(), |name| format!("{name}: {text}"))
}

fn refused(failed: &Failed, refusal: &Refusal, way: &Way, name: &str) -> Words {
    let port = if matches!(way, Way::Tls(_)) { 443 } else { 80 };
    let mend = match refusal.kind.as_str() {
        "dns" => format!(
            "{name} has no address that the CA can find: make its A or AAAA record point here"
        ),
        "connection" | "tls" if !matches!(way, Way::Dns(_)) => format!(
            "the CA can't reach port {port} of {name}: open it in firewall and router, and see \
             that it leads to this proxy"
        ),
        "unauthorized" | "incorrectResponse" => match way {
            Way::Dns(_) => format!(
                "the CA does not see the TXT record _acme-challenge.{name}: see that the \
                 provider's credentials are for this zone, leave the propagation checks on, or \
                 raise propagation.delayBeforeChecks"
            ),
            Way::Http(_) | Way::Tls(_) => format!(
                "somebody else answers at port {port} of {name}: its DNS record points to \
                 another machine, or something in front of this proxy answers by itself"
            ),
        },
        "caa" => format!("{name}'s CAA record names other CAs: add this one to it"),
        "rejectedIdentifier" | "unsupportedIdentifier" => format!(
            "the CA does not issue for {name}: use a public name, or take `certResolver` off"
        ),
        "rateLimited" => "the CA's rate limit is reached; wait, and use the CA's staging server \
                          for trials"
            .into(),
        "externalAccountRequired" => "set eab.kid and eab.hmacEncoded".into(),
        "invalidContact" | "unsupportedContact" => "set `email` to a real address".into(),
        "badCSR" | "badPublicKey" => "choose another keyType".into(),
        "serverInternal" | "500" | "502" | "503" | "504" => {
            "the CA has trouble of its own; it is tried again".into()
        }
        _ => format!("see the CA's words; it is tried again for {name}"),
    };
    let mut retry_after = refusal.retry_after;
    if refusal.kind == "rateLimited" {
        retry_after = Some(retry_after.unwrap_or(RATE_LIMIT));
    }
    Words { error: of(failed, &refusal.to_string()), mend, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_is_one_line_and_not_endless() {
        let why = Failure::Server(format!("no ACME:\nERROR forged\x1b[2J{}", "x".repeat(1 << 20)));
        let failed = Failed { name: None, why };

        let words = words(&failed, &Way::Http(Duration::ZERO), &["a.org".into()]);

        assert!(words.error.starts_with("no ACME: ERROR forged [2J"), "{:.40}", words.error);
        assert_eq!(words.error.len(), LONGEST);
    }

    #[test]
    fn each_refusal_has_its_mend() {
        let http = Way::Http(Duration::ZERO);
        let tls = Way::Tls(Duration::ZERO);
        for (kind, way, wanted) in [
            ("dns", &http, "A or AAAA record"),
            ("connection", &http, "port 80 of a.org"),
            ("connection", &tls, "port 443 of a.org"),
            ("unauthorized", &http, "somebody else answers"),
            ("caa", &tls, "CAA"),
            ("rateLimited", &http, "staging"),
            ("rejectedIdentifier", &http, "public name"),
            ("nosuch", &http, "the CA's words"),
        ] {
            let refusal = Refusal { kind: kind.into(), detail: "d".into(), ..Refusal::default() };
            let failed = Failed { name: Some("a.org".into()), why: Failure::Refused(refusal) };

            let words = words(&failed, way, &["b.org".into()]);

            assert!(words.mend.contains(wanted), "{kind}: {}", words.mend);
            assert_eq!(words.error, format!("a.org: {kind}: d"));
            assert_eq!(words.retry_after.is_some(), kind == "rateLimited");
        }
    }
}
