//! The ACME protocol (RFC 8555) with an account: one function per request.
//!
//! Own code, since the `acme` module of rustls-acme drops the answers' header fields, so
//! that Retry-After can't be obeyed nor a preferred chain be chosen, knows P-256 accounts
//! only, where Traefik's are RSA, has neither external accounts nor profiles nor renewal
//! information, and reads answers of any length.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::dns::Trouble;
use super::http::{Answer, Http};
use super::jws::{AccountKey, Signer};
use crate::settings::Acme;

/// Tries of one request whose nonce was refused.
const NONCE_TRIES: usize = 5;
/// Nonces kept for later requests.
const NONCES: usize = 8;

/// Where the CA's resources are (RFC 8555, 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
    new_order: String,
    renewal_info: Option<String>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    external_account_required: bool,
    profiles: serde_json::Map<String, Value>,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// The CA could not be reached, or what it said is no ACME.
    Server(String),
    /// The CA refused.
    Refused(Refusal),
    /// It is ours to mend: a setting, a file.
    Local(String),
    /// A record could not be put up, or is not out.
    Dns(Trouble),
}

/// A problem document (RFC 7807, RFC 8555 section 6.7).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    /// `urn:ietf:params:acme:error:rateLimited`, without what stands before the last colon.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// In the CA's words.
    pub(super) detail: String,
    /// One per name, where the CA gives them.
    pub(super) subproblems: Vec<Refusal>,
    /// When to come back.
    #[serde(skip)]
    pub(super) retry_after: Option<Duration>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(text) | Self::Local(text) | Self::Dns(Trouble { text, .. }) => {
                f.write_str(text)
            }
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)?;
        for one in self.subproblems.iter().take(10) {
            write!(f, "; {}: {}", one.kind, one.detail)?;
        }
        Ok(())
    }
}

impl Refusal {
    /// Whether the account is of no use any more: the CA forgot it, or somebody who has its
    /// key deactivated it (RFC 8555, 7.3.6), for which there is no kind of its own.
    pub(super) fn is_of_account(&self) -> bool {
        let says = |word| self.detail.to_ascii_lowercase().contains(word);
        self.kind == "accountDoesNotExist"
            || self.kind == "unauthorized" && says("account") && says("deactivated")
    }

    /// Short kinds, and texts that are safe to print.
    pub(super) fn tidy(mut self) -> Self {
        let kind = self.kind.rsplit(':').next().unwrap_or_default();
        self.kind = clean(kind, 64);
        self.detail = clean(&self.detail, 500);
        self.subproblems.truncate(10);
        self.subproblems = self.subproblems.into_iter().map(Self::tidy).collect();
        self
    }
}

/// One line of at most `most` letters.
pub(super) fn clean(text: &str, most: usize) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(most).collect()
}

/// An order (RFC 8555, 7.1.3).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Order {
    pub(super) status: String,
    #[serde(default)]
    pub(super) authorizations: Vec<String>,
    pub(super) finalize: String,
    pub(super) certificate: Option<String>,
    pub(super) error: Option<Refusal>,
}

/// The CA's wish to see that a name is ours (RFC 8555, 7.1.4).
#[derive(Debug, Deserialize)]
pub(super) struct Authorization {
    pub(super) status: String,
    pub(super) identifier: Identifier,
    #[serde(default)]
    pub(super) challenges: Vec<Challenge>,
}

/// A name.
#[derive(Debug, Deserialize)]
pub(super) struct Identifier {
    pub(super) value: String,
}

/// One way to show that a name is ours.
#[derive(Debug, Deserialize)]
pub(super) struct Challenge {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) token: String,
    pub(super) error: Option<Refusal>,
}

/// What was asked for, and how long the CA wants to be left alone.
pub(super) struct Polled<T> {
    pub(super) value: T,
    pub(super) wait: Option<Duration>,
}

/// When the CA suggests to renew (RFC 9773).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenewalInfo {
    pub(super) suggested_window: Window,
}

/// From when to when, RFC 3339.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Window {
    pub(super) start: String,
    pub(super) end: String,
}

impl RenewalInfo {
    /// A moment in the window, always the same for the same names.
    pub(super) fn at(&self, names: &[String]) -> Option<SystemTime> {
        let moment = |text: &str| {
            let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(at.unix_timestamp()).ok()?))
        };
        let (start, end) =
            (moment(&self.suggested_window.start)?, moment(&self.suggested_window.end)?);
        let width = end.duration_since(start).unwrap_or_default().as_secs().max(1);
        let spread = names.iter().flat_map(|name| name.bytes());
        let spread = spread.fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Some(start + Duration::from_secs(spread % width))
    }
}

/// An account at a CA.
#[derive(Debug)]
pub(super) struct Client {
    http: Http,
    directory: Directory,
    pub(super) key: AccountKey,
    /// The account's URL.
    pub(super) account: String,
    nonces: RefCell<Vec<String>>,
}

impl Client {
    /// Takes up the account that was stored, or registers one. The second value is the
    /// account as the CA described it, when it was registered now.
    pub(super) async fn open(
        acme: &Acme,
        key: AccountKey,
        account: Option<String>,
    ) -> Result<(Self, Option<Value>), Failure> {
        let http = Http::new(acme).map_err(Failure::Local)?;
        let answer =
            http.call(Method::GET, &acme.ca_server, None).await.map_err(Failure::Server)?;
        let directory: Directory = parsed(&acme.ca_server, &checked(answer)?)?;
        let profiles = &directory.meta.profiles;
        if !acme.profile.is_empty() && !profiles.contains_key(&acme.profile) {
            let known: Vec<_> = profiles.keys().map(String::as_str).collect();
            let text = format!("the CA has no profile {:?}; it has {known:?}", acme.profile);
            return Err(Failure::Local(text));
        }
        let known = account.is_some();
        let nonces = RefCell::default();
        let mut client =
            Self { http, directory, key, account: account.unwrap_or_default(), nonces };
        if known {
            return Ok((client, None));
        }
        let body = client.register(acme).await?;
        Ok((client, Some(body)))
    }

    async fn register(&mut self, acme: &Acme) -> Result<Value, Failure> {
        let url = self.directory.new_account.clone();
        let mut payload = json!({ "termsOfServiceAgreed": true });
        if let Some(fields) = payload.as_object_mut() {
            if !acme.email.is_empty() {
                fields.insert("contact".into(), json!([format!("mailto:{}", acme.email)]));
            }
            match &acme.eab {
                Some(eab) => {
                    let binding = self.key.bind(eab, &url).map_err(Failure::Local)?;
                    fields.insert("externalAccountBinding".into(), binding);
                }
                None if self.directory.meta.external_account_required => {
                    let text = "the CA wants an external account: set eab.kid and eab.hmacEncoded";
                    return Err(Failure::Local(text.into()));
                }
                None => {}
            }
        }
        let answer = self.post(Signer::Key, &url, &payload.to_string()).await?;
        let account = answer.location().ok_or_else(|| lacking(&url, "Location"))?;
        account.clone_into(&mut self.account);
        parsed(&url, &answer)
    }

    /// Orders a certificate for these names; gives the order's URL. `replaces` is what
    /// `tls::renewal_id` made of the certificate that it is to take the place of.
    pub(super) async fn new_order(
        &self,
        names: &[String],
        profile: &str,
        replaces: Option<&str>,
    ) -> Result<(String, Order), Failure> {
        let names: Vec<_> =
            names.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let mut payload = json!({ "identifiers": names });
        if let Some(fields) = payload.as_object_mut() {
            if !profile.is_empty() {
                fields.insert("profile".into(), profile.into());
            }
            if let Some(replaces) = replaces.filter(|_| self.directory.renewal_info.is_some()) {
                fields.insert("replaces".into(), replaces.into());
            }
        }
        let url = &self.directory.new_order;
        let answer = self.ask(url, &payload.to_string()).await?;
        let order = answer.location().ok_or_else(|| lacking(url, "Location"))?.to_owned();
        Ok((order, parsed(url, &answer)?))
    }

    /// What the CA wants to see of one name.
    pub(super) async fn authorization(&self, url: &str) -> Result<Polled<Authorization>, Failure> {
        self.get(url).await
    }

    /// Says that a challenge's answer is up.
    pub(super) async fn respond(&self, challenge: &Challenge) -> Result<(), Failure> {
        self.ask(&challenge.url, "{}").await.map(drop)
    }

    /// How an order goes.
    pub(super) async fn order(&self, url: &str) -> Result<Polled<Order>, Failure> {
        self.get(url).await
    }

    /// Sends the certificate request.
    pub(super) async fn finalize(&self, order: &Order, csr: &[u8]) -> Result<(), Failure> {
        let payload = json!({ "csr": URL_SAFE_NO_PAD.encode(csr) });
        self.ask(&order.finalize, &payload.to_string()).await.map(drop)
    }

    /// The chain, PEM; of several the first that `wanted` likes.
    pub(super) async fn certificate(
        &self,
        url: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Failure> {
        let first = self.ask(url, "").await?;
        if wanted(&first.body) {
            return Ok(first.body);
        }
        for other in first.alternates() {
            let other = self.ask(&other, "").await?;
            if wanted(&other.body) {
                return Ok(other.body);
            }
        }
        Ok(first.body)
    }

    /// Whether the CA says when to renew.
    pub(super) fn has_renewal_info(&self) -> bool {
        self.directory.renewal_info.is_some()
    }

    /// When to renew; `None` when the CA does not say such things.
    pub(super) async fn renewal_info(
        &self,
        certificate: &str,
    ) -> Result<Option<Polled<RenewalInfo>>, Failure> {
        let Some(base) = &self.directory.renewal_info else { return Ok(None) };
        let url = format!("{}/{certificate}", base.trim_end_matches('/'));
        let answer = self.http.call(Method::GET, &url, None).await.map_err(Failure::Server)?;
        let answer = checked(answer)?;
        Ok(Some(Polled { value: parsed(&url, &answer)?, wait: answer.retry_after() }))
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<Polled<T>, Failure> {
        let answer = self.ask(url, "").await?;
        Ok(Polled { value: parsed(url, &answer)?, wait: answer.retry_after() })
    }

    async fn ask(&self, url: &str, payload: &str) -> Result<Answer, Failure> {
        self.post(Signer::Account(&self.account), url, payload).await
    }

    async fn post(&self, signer: Signer<'_>, url: &str, payload: &str) -> Result<Answer, Failure> {
        let mut tries = NONCE_TRIES;
        loop {
            tries -= 1;
            let nonce = self.nonce().await?;
            let body = self.key.sign(signer, &nonce, url, payload).map_err(Failure::Local)?;
            let answer = self.http.call(Method::POST, url, Some(body)).await;
            let answer = answer.map_err(Failure::Server)?;
            self.keep(&answer);
            match checked(answer) {
                // As RFC 8555, 6.5 wants it: again, with the nonce that came along.
                Err(Failure::Refused(refusal)) if refusal.kind == "badNonce" && tries > 0 => {}
                result => return result,
            }
        }
    }

    async fn nonce(&self) -> Result<String, Failure> {
        if let Some(nonce) = self.nonces.borrow_mut().pop() {
            return Ok(nonce);
        }
        let url = &self.directory.new_nonce;
        let answer = self.http.call(Method::HEAD, url, None).await.map_err(Failure::Server)?;
        answer.nonce().ok_or_else(|| lacking(url, "Replay-Nonce"))
    }

    fn keep(&self, answer: &Answer) {
        let mut nonces = self.nonces.borrow_mut();
        if let Some(nonce) = answer.nonce()
            && nonces.len() < NONCES
        {
            nonces.push(nonce);
        }
    }
}

fn checked(answer: Answer) -> Result<Answer, Failure> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let refusal = serde_json::from_str(&answer.body).unwrap_or_else(|_| Refusal {
        kind: answer.status.as_str().to_owned(),
        detail: answer.body.clone(),
        ..Refusal::default()
    });
    let mut refusal = refusal.tidy();
    refusal.retry_after = answer.retry_after();
    if refusal.kind.is_empty() {
        answer.status.as_str().clone_into(&mut refusal.kind);
    }
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        "rateLimited".clone_into(&mut refusal.kind);
    }
    Err(Failure::Refused(refusal))
}

fn parsed<T: DeserializeOwned>(url: &str, answer: &Answer) -> Result<T, Failure> {
    serde_json::from_str(&answer.body)
        .map_err(|error| Failure::Server(format!("{url}: the answer is no ACME: {error}")))
}

fn lacking(url: &str, field: &str) -> Failure {
    Failure::Server(format!("{url}: the answer has no {field}"))
}
