//! One order, from the names to the certificate (RFC 8555, 7.4).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use x509_parser::pem::Pem;

use super::challenge::{Challenges, Up};
use super::client::{Authorization, Challenge, Client, Failure, Order, Polled, Refusal};
use super::dns::{Dns, Record, Trouble};
use super::request;
use crate::model::Secret;
use crate::settings::Acme;

/// For the CA to look at all names.
const VALIDATION: Duration = Duration::from_secs(300);
/// First and longest pause between two looks at what the CA does.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// How it is shown that a name is ours.
#[derive(Debug)]
pub(super) enum Way {
    /// `http-01`; wait that long before the CA is asked to look.
    Http(Duration),
    /// `tls-alpn-01`, likewise.
    Tls(Duration),
    /// `dns-01`.
    Dns(Box<Dns>),
}

impl Way {
    /// The challenge's type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http-01",
            Self::Tls(_) => "tls-alpn-01",
            Self::Dns(_) => "dns-01",
        }
    }

    fn delay(&self) -> Duration {
        match self {
            Self::Http(delay) | Self::Tls(delay) => *delay,
            Self::Dns(_) => Duration::ZERO,
        }
    }
}

/// A certificate and its key, PEM.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) chain: String,
    pub(super) key: Secret,
}

/// Why an order failed, and for which name where that is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failed {
    pub(super) name: Option<String>,
    pub(super) why: Failure,
}

impl From<Failure> for Failed {
    fn from(why: Failure) -> Self {
        Self { name: None, why }
    }
}

/// What an order needs besides its names.
pub(super) struct Context<'a> {
    pub(super) client: &'a Client,
    pub(super) acme: &'a Acme,
    pub(super) way: &'a Way,
    pub(super) challenges: &'a Arc<Challenges>,
}

/// Answers that are up; they are taken down when the order ends, however it ends.
#[derive(Default)]
struct Answers {
    up: Vec<Up>,
    records: Vec<Record>,
    /// One that could not be put up; it may be there all the same.
    doubtful: Option<Record>,
}

impl Context<'_> {
    /// Obtains a certificate for these names.
    pub(super) async fn obtain(
        &self,
        names: &[String],
        replaces: Option<&str>,
    ) -> Result<Pair, Failed> {
        let (url, order) = match self.client.new_order(names, &self.acme.profile, replaces).await {
            // The CA may have forgotten what is to be replaced; that is no reason to lapse.
            Err(Failure::Refused(refusal))
                if replaces.is_some()
                    && matches!(&*refusal.kind, "alreadyReplaced" | "malformed" | "notFound") =>
            {
                self.client.new_order(names, &self.acme.profile, None).await
            }
            made => made,
        }?;
        let mut answers = Answers::default();
        let shown = self.show(&order, names, &mut answers).await;
        self.clean_up(&mut answers).await;
        drop(answers);
        shown?;
        Ok(self.finish(&url, order, names).await?)
    }

    /// Takes records down; the other answers go by themselves.
    async fn clean_up(&self, answers: &mut Answers) {
        let Way::Dns(dns) = self.way else { return };
        for record in answers.records.drain(..) {
            if let Err(Trouble { text, mend }) = dns.clean_up(&record).await {
                tracing::warn!("the TXT record at {} is left behind: {text}; {mend}", record.name);
            }
        }
        if let Some(record) = answers.doubtful.take() {
            // Why it could not be put up has been told, and is most often why this fails too.
            if let Err(Trouble { text, .. }) = dns.clean_up(&record).await {
                tracing::debug!("the TXT record at {} may be left behind: {text}", record.name);
            }
        }
    }

    /// Shows that all names are ours.
    async fn show(
        &self,
        order: &Order,
        wanted: &[String],
        answers: &mut Answers,
    ) -> Result<(), Failed> {
        let mut open = Vec::new();
        if order.authorizations.len() > wanted.len() {
            let text = "the CA wants to see more names than were ordered";
            return Err(Failure::Server(text.to_owned()).into());
        }
        for url in &order.authorizations {
            let authorization = self.client.authorization(url).await?.value;
            let name = ordered(&authorization.identifier.value, wanted)?;
            if authorization.status == "valid" {
                continue;
            }
            let challenge = self.challenge(authorization);
            let challenge = challenge.map_err(|why| Failed { name: Some(name.clone()), why })?;
            open.push((name, url, challenge));
        }
        // All orders put their answers up in one sequence: none waits for one that waits for it.
        open.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        for (name, _, challenge) in &open {
            let answered = self.answer(name, challenge, answers).await;
            answered.map_err(|why| Failed { name: Some(name.clone()), why })?;
        }
        if open.is_empty() {
            return Ok(());
        }
        if let Way::Dns(dns) = self.way {
            let out = dns.wait(&answers.records).await;
            out.map_err(|(name, why)| Failed { name: Some(name), why: Failure::Dns(why) })?;
        }
        sleep(self.way.delay()).await;
        for (name, _, challenge) in &open {
            let named = |why| Failed { name: Some(name.clone()), why };
            self.client.respond(challenge).await.map_err(named)?;
        }
        let until = Instant::now() + VALIDATION;
        for (name, url, _) in &open {
            let validated = self.validated(url, until).await;
            validated.map_err(|why| Failed { name: Some(name.clone()), why })?;
        }
        Ok(())
    }

    fn challenge(&self, authorization: Authorization) -> Result<Challenge, Failure> {
        let kind = self.way.kind();
        let offered: Vec<_> =
            authorization.challenges.iter().map(|challenge| challenge.kind.clone()).collect();
        let found = authorization.challenges.into_iter().find(|challenge| challenge.kind == kind);
        let found = found.ok_or_else(|| {
            Failure::Local(format!("the CA offers {} for it, not {kind}", offered.join(", ")))
        })?;
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if found.token.len() < 22 || !found.token.as_bytes().iter().all(is_token) {
            return Err(Failure::Server(format!("the CA's token {:?} is none", found.token)));
        }
        Ok(found)
    }

    async fn answer(
        &self,
        name: &str,
        challenge: &Challenge,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let answer = self.client.key.authorization(&challenge.token);
        match self.way {
            Way::Http(_) => answers.up.push(self.challenges.put_token(&challenge.token, answer)),
            Way::Tls(_) => {
                let until = Instant::now() + VALIDATION;
                let mut pauses = Pauses::new(until);
                loop {
                    let up = self.challenges.put_name(name, &answer).map_err(Failure::Local)?;
                    if let Some(up) = up {
                        answers.up.push(up);
                        break;
                    }
                    // Another resolver's order for the same name: its answer is in the way.
                    pauses.next(None, "another resolver's order for it does not end").await?;
                }
            }
            Way::Dns(dns) => {
                let record = dns.record(name, &answer).await;
                if let Err(trouble) = dns.present(&record).await {
                    answers.doubtful = Some(record);
                    return Err(Failure::Dns(trouble));
                }
                answers.records.push(record);
            }
        }
        Ok(())
    }

    async fn validated(&self, url: &str, until: Instant) -> Result<(), Failure> {
        let mut pauses = Pauses::new(until);
        loop {
            let Polled { value, wait } = self.client.authorization(url).await?;
            match value.status.as_str() {
                "valid" => return Ok(()),
                "pending" | "processing" => {}
                status => {
                    let mut errors = value.challenges.into_iter().filter_map(|one| one.error);
                    let refusal = errors.next().map(Refusal::tidy);
                    return Err(refusal.map_or_else(
                        || Failure::Server(format!("the CA says {status} and not why")),
                        Failure::Refused,
                    ));
                }
            }
            pauses.next(wait, "the CA has not looked at it").await?;
        }
    }

    async fn finish(&self, url: &str, order: Order, names: &[String]) -> Result<Pair, Failure> {
        let until = Instant::now() + VALIDATION;
        let mut pauses = Pauses::new(until);
        let mut order = order;
        while order.status == "pending" {
            let Polled { value, wait } = self.client.order(url).await?;
            order = value;
            if order.status == "pending" {
                pauses.next(wait, "the order stays pending").await?;
            }
        }
        let (acme, names) = (self.acme.clone(), names.to_vec());
        let made = tokio::task::spawn_blocking(move || request::make(&acme, &names)).await;
        let (key, csr) =
            made.map_err(|error| Failure::Local(error.to_string()))?.map_err(Failure::Local)?;
        if order.status == "ready" {
            self.client.finalize(&order, &csr).await?;
        }
        let limit = self.acme.certificate_timeout.positive().unwrap_or(VALIDATION);
        let mut pauses = Pauses::new(Instant::now() + limit);
        loop {
            let Polled { value, wait } = self.client.order(url).await?;
            match (value.status.as_str(), value.certificate) {
                ("valid", Some(certificate)) => {
                    let wanted = |chain: &str| likes(&self.acme.preferred_chain, chain);
                    let chain = self.client.certificate(&certificate, wanted).await?;
                    return Ok(Pair { chain, key });
                }
                ("invalid", _) => {
                    let refusal = value.error.unwrap_or_default().tidy();
                    return Err(Failure::Refused(refusal));
                }
                _ => pauses.next(wait, "the CA has not made the certificate").await?,
            }
        }
    }
}

/// The name as it was ordered. A CA must not have answers put up for any other: they could
/// be what another CA asked somebody else for.
fn ordered(name: &str, names: &[String]) -> Result<String, Failure> {
    let name = name.to_ascii_lowercase();
    if names.iter().any(|one| one.strip_prefix("*.").unwrap_or(one) == name) {
        return Ok(name);
    }
    Err(Failure::Server(format!("the CA asks about {name:?}, which was not ordered")))
}

/// Pauses between looks: growing, or as long as the CA says.
struct Pauses {
    until: Instant,
    next: Duration,
}

impl Pauses {
    fn new(until: Instant) -> Self {
        Self { until, next: PAUSES.0 }
    }

    async fn next(&mut self, wait: Option<Duration>, what: &str) -> Result<(), Failure> {
        if Instant::now() >= self.until {
            return Err(Failure::Server(format!("{what} in time")));
        }
        sleep(wait.unwrap_or(self.next).clamp(PAUSES.0, PAUSES.1)).await;
        self.next = (self.next * 2).min(PAUSES.1);
        Ok(())
    }
}

/// Whether a chain is by the issuer that was asked for: of its last certificate, as lego
/// compares.
fn likes(issuer: &str, chain: &str) -> bool {
    if issuer.is_empty() {
        return true;
    }
    let last = Pem::iter_from_buffer(chain.as_bytes()).flatten().last();
    let Some(last) = last else { return false };
    let Ok(certificate) = last.parse_x509() else { return false };
    let mut names = certificate.issuer().iter_common_name().filter_map(|name| name.as_str().ok());
    names.any(|name| name == issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_for_a_name_that_was_not_ordered() {
        let names = ["a.example.org".to_owned(), "*.b.example.org".to_owned()];
        for (asked, wanted) in [
            ("a.example.org", Some("a.example.org")),
            ("A.example.org", Some("a.example.org")),
            ("b.example.org", Some("b.example.org")),
            ("*.b.example.org", None),
            ("c.example.org", None),
            ("example.org", None),
            ("", None),
            ("a.example.org\n", None),
        ] {
            assert_eq!(ordered(asked, &names).ok().as_deref(), wanted, "{asked:?}");
        }
    }
}
