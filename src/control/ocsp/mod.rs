//! The task that keeps OCSP answers stapled to certificates. As Traefik: only where `ocsp` is
//! set, for each certificate that names a responder, the default one too; asked again at half
//! of an answer's time; kept a day for certificates that go and come back.

mod ask;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::provider::Change;
use crate::settings;
use crate::table::Published;
use crate::tls::ocsp::{Answer, Question, Status};
use crate::tls::{Served, Trouble};
use crate::upstream::{Transport, TransportSettings};

/// How often everything is looked at: clocks jump, machines sleep.
const LOOK: Duration = Duration::from_secs(60);
/// Between two looks that changes to the table cause.
const SETTLE: Duration = Duration::from_millis(200);
/// Questions on their way at once, and to one responder: one that hangs holds up nobody else's.
const AT_ONCE: usize = 64;
const EACH: usize = 4;
/// As Traefik: for certificates that nobody provides any more.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// After a failure; doubles up to the longest, which is Traefik's.
/// An answer is never left unasked for longer, however long it is good for.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Staples until cancelled.
pub async fn run(
    settings: settings::Ocsp,
    published: Arc<Published>,
    changes: mpsc::Sender<Change>,
    ending: CancellationToken,
) {
    let transport = match Transport::build(&TransportSettings {
        max_idle_per_server: 1,
        dial_timeout: Some(Duration::from_secs(5)),
        ..TransportSettings::default()
    }) {
        Ok(transport) => transport,
        Err(error) => {
            tracing::error!("no OCSP answer is stapled: {error}");
            return;
        }
    };
    let mut revisions = published.subscribe();
    let mut known = Known::new(settings, transport);
    loop {
        let served: Vec<Served> = published.load().tls.served().collect();
        if known.look(&served) && changes.send(Change::Stapled).await.is_err() {
            return;
        }
        let next = known.next();
        // All may be dropped: what is on its way is kept outside, and everything is looked at
        // next.
        tokio::select! {
            () = ending.cancelled() => return,
            () = known.answered() => {}
            () = pause(&mut revisions, next) => {}
        }
    }
}

/// Until the table changed, or that moment came.
async fn pause(revisions: &mut watch::Receiver<u64>, next: Option<SystemTime>) {
    let next = next.map(|next| next.duration_since(SystemTime::now()).unwrap_or_default());
    let longest = next.map_or(LOOK, |next| next.clamp(SETTLE, LOOK));
    let change = async {
        if revisions.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let _ = tokio::time::timeout(longest, change).await;
    tokio::time::sleep(SETTLE).await;
}

/// What is known of certificates, by fingerprint, and whom is asked about them.
struct Known {
    settings: Arc<settings::Ocsp>,
    transport: Arc<Transport>,
    all: HashMap<String, Entry>,
    asking: FuturesUnordered<LocalBoxFuture<'static, Answered>>,
    /// How many questions are on their way to a responder.
    asked: HashMap<String, usize>,
}

/// What a question came to.
struct Answered {
    /// The certificate's fingerprint.
    id: String,
    responder: String,
    result: Result<(Vec<u8>, Answer), String>,
}

/// What is known of one.
struct Entry {
    question: Option<Question>,
    /// The last one that says that it is good.
    stapled: Option<(Vec<u8>, Answer)>,
    /// When to ask again.
    due: SystemTime,
    stage: Stage,
    failures: u32,
    trouble: Option<Trouble>,
    /// When it was last served.
    seen: SystemTime,
}

/// Where the next question about a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not due, as far as is known.
    Idle,
    /// It waits for others to the same responder.
    Waiting,
    /// On its way.
    Asked,
}

impl Known {
    fn new(settings: settings::Ocsp, transport: Arc<Transport>) -> Self {
        Self {
            settings: Arc::new(settings),
            transport,
            all: HashMap::new(),
            asking: FuturesUnordered::new(),
            asked: HashMap::new(),
        }
    }

    /// Begins to ask what is due and staples what is known; true when something is wrong now
    /// that was not, or the other way round.
    fn look(&mut self, served: &[Served]) -> bool {
        let now = SystemTime::now();
        for one in served {
            let id = &one.facts().about.fingerprint;
            if let Some(entry) = self.all.get_mut(id) {
                entry.seen = now;
            } else {
                self.all.insert(id.clone(), Entry::of(one, now));
            }
        }
        self.all.retain(|_, entry| entry.seen <= now && entry.seen + KEPT > now);
        for one in served {
            self.ask(&one.facts().about.fingerprint, now);
        }
        put(&mut self.all, served)
    }

    /// Asks about a certificate, if that is due and its responder has not too much to answer.
    fn ask(&mut self, id: &str, now: SystemTime) {
        let Some(entry) = self.all.get_mut(id) else { return };
        if entry.stage == Stage::Asked || !entry.is_due(now) {
            return;
        }
        let Some(question) = entry.question.clone() else { return };
        let first = question.responders.first().map(|first| instead(&self.settings, first));
        let responder = first.unwrap_or_default().to_owned();
        let asked = self.asked.get(&responder).copied().unwrap_or_default();
        if asked >= EACH || self.asking.len() >= AT_ONCE {
            entry.stage = Stage::Waiting;
            return;
        }
        entry.stage = Stage::Asked;
        self.asked.insert(responder.clone(), asked + 1);
        let (settings, transport) = (Arc::clone(&self.settings), Arc::clone(&self.transport));
        let id = id.to_owned();
        self.asking.push(Box::pin(async move {
            let result = obtain(&settings, &transport, &question).await;
            Answered { id, responder, result }
        }));
    }

    /// Waits for the next answer and takes it.
    async fn answered(&mut self) {
        match self.asking.next().await {
            Some(answered) => self.take(answered),
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, Answered { id, responder, result }: Answered) {
        if let Some(asked) = self.asked.get_mut(&responder) {
            *asked = asked.saturating_sub(1);
        }
        self.asked.retain(|_, asked| *asked > 0);
        if let Some(entry) = self.all.get_mut(&id) {
            entry.stage = Stage::Idle;
            entry.take(&id, result, SystemTime::now());
        }
    }

    /// When something is to be done, whatever is answered.
    fn next(&self) -> Option<SystemTime> {
        let idle = |entry: &&Entry| entry.question.is_some() && entry.stage == Stage::Idle;
        self.all.values().filter(idle).map(Entry::next).min()
    }
}

/// Puts on certificates what is known of them; true when what is wrong with one is news.
fn put(all: &mut HashMap<String, Entry>, served: &[Served]) -> bool {
    let now = SystemTime::now();
    served.iter().fold(false, |is_news, one| {
        let entry = all.get_mut(&one.facts().about.fingerprint);
        is_news | entry.is_some_and(|entry| entry.put(one, now))
    })
}

/// The answer of the first responder that gives one that can be used.
async fn obtain(
    settings: &settings::Ocsp,
    transport: &Arc<Transport>,
    question: &Question,
) -> Result<(Vec<u8>, Answer), String> {
    let mut why = String::new();
    for responder in &question.responders {
        let url = instead(settings, responder);
        let answer = ask::ask(transport, url, question.request.clone()).await;
        let looked_into = answer.and_then(|der| {
            let answer = question.answer(&der, SystemTime::now())?;
            Ok((der, answer))
        });
        match looked_into {
            Ok(found) => return Ok(found),
            Err(error) => why = format!("{url}: {error}"),
        }
    }
    Err(why)
}

/// Whom to ask for a responder, which may be given as a URL (as Traefik wants it) or as a
/// host, since a flag's name can't hold a URL.
fn instead<'s>(settings: &'s settings::Ocsp, responder: &'s str) -> &'s str {
    let bare = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
    let url: Option<http::Uri> = responder.parse().ok();
    let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let mut overrides = settings.responder_overrides.iter();
    let found = overrides
        .find(|(name, _)| bare(name) == bare(responder) || name.eq_ignore_ascii_case(host));
    found.map_or(responder, |(_, url)| url)
}

impl Entry {
    fn of(one: &Served, now: SystemTime) -> Self {
        let (question, why) = match Question::of(&one.chain()) {
            Ok(question) => (question, None),
            Err(why) => (None, Some(why)),
        };
        let trouble = why.map(|why| Trouble {
            text: format!("no OCSP answer can be stapled: {why}"),
            mend: "put the authority's certificate behind it in the file".to_owned(),
        });
        let stage = Stage::Idle;
        Self { question, stapled: None, due: now, stage, failures: 0, trouble, seen: now }
    }

    /// A pause that is longer than any was written before the clock was put back.
    fn is_due(&self, now: SystemTime) -> bool {
        self.due <= now || self.due > now + LONGEST * 2
    }

    fn take(&mut self, id: &str, result: Result<(Vec<u8>, Answer), String>, now: SystemTime) {
        let mend = "the CA's responder may be down or not to be reached from here; it is asked \
                    again";
        let (text, mend) = match result {
            Ok((der, answer)) => {
                self.failures = 0;
                let half = answer.until.duration_since(answer.since).unwrap_or_default() / 2;
                self.due = (answer.since + half).min(now + LONGEST).max(now + PAUSE);
                match answer.status {
                    Status::Good => {
                        tracing::debug!("OCSP: {id} is good until {:?}", answer.until);
                        self.stapled = Some((der, answer));
                        self.trouble = None;
                        return;
                    }
                    Status::Revoked(when, why) => {
                        self.stapled = None;
                        self.due = self.due.min(now + LONGEST_PAUSE);
                        let when = time::OffsetDateTime::from(when).date();
                        (
                            format!("its authority revoked it on {when} ({why})"),
                            "clients may refuse it: get another one, with another key",
                        )
                    }
                    Status::Unknown => {
                        self.stapled = None;
                        self.due = self.due.min(now + LONGEST_PAUSE);
                        (
                            "its authority does not know it".to_owned(),
                            "ask the authority, or get another one",
                        )
                    }
                }
            }
            Err(why) => {
                let pause = PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
                self.failures += 1;
                self.due = now + pause;
                (format!("no OCSP answer: {why}"), mend)
            }
        };
        self.trouble = Some(Trouble { text, mend: mend.to_owned() });
    }

    /// Puts on the certificate what is known; true when what is wrong with it is news.
    fn put(&mut self, one: &Served, now: SystemTime) -> bool {
        // Clients refuse one that is out of date, and none is no harm.
        if self.stapled.as_ref().is_some_and(|(_, answer)| answer.until <= now) {
            self.stapled = None;
        }
        let answer = self.stapled.as_ref().map(|(der, _)| der);
        if !one.has(answer.map(Vec::as_slice)) {
            one.staple(answer.cloned());
        }
        let trouble = self.trouble.clone().map(|trouble| Trouble {
            text: format!("certificate for {}: {}", named(one), trouble.text),
            ..trouble
        });
        let is_news = one.note(trouble.clone());
        if let Some(trouble) = trouble.filter(|_| is_news) {
            tracing::warn!("{}; {}", trouble.text, trouble.mend);
        }
        is_news
    }

    fn next(&self) -> SystemTime {
        self.stapled.as_ref().map_or(self.due, |(_, answer)| answer.until.min(self.due))
    }
}

fn named(one: &Served) -> String {
    let facts = one.facts();
    facts.names.first().unwrap_or(&facts.common_name).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let now = SystemTime::UNIX_EPOCH;
        let (question, stage) = (None, Stage::Idle);
        Entry { question, stapled: None, due: now, stage, failures: 0, trouble: None, seen: now }
    }

    #[test]
    fn a_responder_that_hangs_holds_up_only_its_own() {
        let transport = Transport::build(&TransportSettings::default()).unwrap();
        let mut known = Known::new(settings::Ocsp::default(), transport);
        let now = SystemTime::now();
        for number in 0..AT_ONCE {
            for at in ["hangs", "good"] {
                let question = Question::for_tests(&format!("http://{at}.example/"));
                let entry = Entry { question: Some(question), ..entry() };
                known.all.insert(format!("{at}{number}"), entry);
            }
        }
        let asked = |known: &Known, at: &str| {
            let of_it = known.all.iter().filter(|(id, _)| id.starts_with(at));
            of_it.filter(|(_, entry)| entry.stage == Stage::Asked).count()
        };

        for at in ["hangs", "good"] {
            for number in 0..AT_ONCE {
                known.ask(&format!("{at}{number}"), now);
            }
            assert_eq!(asked(&known, at), EACH);
        }
        let responder = "http://good.example/".to_owned();
        let answer = good(now, Duration::from_secs(3600));
        known.take(Answered { id: "good0".to_owned(), responder, result: Ok(answer) });
        for number in 0..AT_ONCE {
            known.ask(&format!("good{number}"), SystemTime::now());
        }

        assert_eq!((asked(&known, "good"), asked(&known, "hangs")), (EACH, EACH));
        assert_eq!(known.all["good0"].stage, Stage::Idle);
        assert_eq!(known.all["good4"].stage, Stage::Asked);
        // The one that was answered is due again at half of its answer's time.
        assert!(known.next().is_some_and(|next| next > now));
    }

    fn good(since: SystemTime, life: Duration) -> (Vec<u8>, Answer) {
        (vec![1], Answer { status: Status::Good, since, until: since + life })
    }

    #[test]
    fn an_answer_is_asked_for_again_at_half_of_its_time_and_after_growing_pauses() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let hour = Duration::from_secs(3600);
        let mut entry = entry();

        entry.take("id", Ok(good(now, 48 * hour)), now);
        assert_eq!(entry.due, now + 24 * hour);
        assert!(!entry.is_due(now + 23 * hour) && entry.is_due(now + 24 * hour));

        let mut pauses = Vec::new();
        for _ in 0..12 {
            entry.take("id", Err("gone".to_owned()), now);
            pauses.push(entry.due.duration_since(now).unwrap().as_secs());
        }
        let expected = [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600];
        assert_eq!(pauses, expected);
        // What was stapled stays as long as it is good.
        assert!(entry.stapled.is_some() && entry.trouble.is_some());
        entry.take("id", Ok(good(now, hour)), now);
        assert_eq!((entry.failures, &entry.trouble), (0, &None));
    }

    #[test]
    fn a_revoked_certificate_is_named_and_has_nothing_stapled() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut entry = entry();
        entry.take("id", Ok(good(now, Duration::from_secs(100_000))), now);
        let status = Status::Revoked(now, "key compromise");
        let until = now + Duration::from_secs(1_000_000);

        entry.take("id", Ok((vec![2], Answer { status, since: now, until })), now);

        assert!(entry.stapled.is_none());
        assert!(entry.trouble.unwrap().text.contains("revoked it on 2027-01-15 (key compromise)"));
    }

    #[test]
    fn a_responder_is_replaced_by_its_url_or_its_host() {
        let overrides = [("http://a.example/x", "http://one"), ("b.example", "http://two")];
        let overrides = overrides.map(|(name, url)| (name.to_owned(), url.to_owned()));
        let settings = settings::Ocsp { responder_overrides: overrides.into() };

        for (responder, expected) in [
            ("http://a.example/x", "http://one"),
            ("http://a.example/x/", "http://one"),
            ("http://a.example/y", "http://a.example/y"),
            ("http://b.example/y", "http://two"),
        ] {
            assert_eq!(instead(&settings, responder), expected, "{responder}");
        }
    }
}
