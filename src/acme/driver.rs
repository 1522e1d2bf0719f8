//! The task of one resolver: sees what is wanted, orders what is missing or due, keeps it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Failure, Refusal};
use super::jws::AccountKey;
use super::order::{Context, Failed, Pair};
use super::plan::{self, Held, Job, Open, Tried, at, back_off, covers, due, key};
use super::setup::{self, Resolver, Setup};
use super::status::{Entry, State};
use super::store::{Account, Certificate, Registration};
use super::words::{Words, words};
use super::{Shared, Source, Wanted};
use crate::observe::Metrics;
use crate::provider::Change;
use crate::tls::{self, Facts};

/// How often everything is looked at: clocks jump, machines sleep.
const LOOK: Duration = Duration::from_secs(60);
/// The same while something could not be written to the file.
const LOOK_UNSAVED: Duration = Duration::from_secs(20);
/// For a certificate to get into the file before it is served all the same.
const SAVING: Duration = Duration::from_secs(2);
/// The same at the end of the process.
const ENDING: Duration = Duration::from_secs(5);
/// No pause is longer than this; what says so was written before the clock was put back.
const LONGEST: Duration = Duration::from_secs(2 * 24 * 3600);
/// Between two looks that changes to the table cause.
const SETTLE: Duration = Duration::from_millis(100);

/// Runs all resolvers until cancelled.
pub async fn run<S: Source + Clone + 'static>(
    setup: Setup,
    source: S,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    changes: mpsc::Sender<Change>,
    token: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    for resolver in setup.resolvers {
        let driver = Driver {
            resolver,
            source: source.clone(),
            shared: Arc::clone(&shared),
            metrics: Arc::clone(&metrics),
            changes: changes.clone(),
            client: RefCell::default(),
            opening: Mutex::default(),
            refused: RefCell::default(),
            tried: RefCell::default(),
            words: RefCell::default(),
            renewals: RefCell::default(),
            written: Cell::default(),
        };
        tasks.spawn_local(Rc::new(driver).run(token.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Driver<S> {
    resolver: Resolver,
    source: S,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    changes: mpsc::Sender<Change>,
    client: RefCell<Option<Rc<Client>>>,
    /// Held while the account is opened; what came of the tries so far.
    opening: Mutex<()>,
    refused: RefCell<Option<Refused>>,
    tried: RefCell<HashMap<Vec<String>, Tried>>,
    /// What was wrong with the last order for some names.
    words: RefCell<HashMap<Vec<String>, Words>>,
    /// When the CA suggests to renew, and when to ask it again; by names.
    renewals: RefCell<HashMap<Vec<String>, (SystemTime, SystemTime)>>,
    /// When the file was last tried to be written.
    written: Cell<Option<Instant>>,
}

/// Why the account could not be opened.
struct Refused {
    failures: u32,
    /// It is left alone until then.
    until: SystemTime,
    why: Failed,
}

/// What goes on beside orders: nobody waits for a CA or a disk that hangs.
type Errand = Pin<Box<dyn Future<Output = ()>>>;

/// A certificate whose CA is to be asked when to renew it.
struct Question {
    names: Vec<String>,
    id: String,
    due: SystemTime,
}

impl<S: Source + 'static> Driver<S> {
    async fn run(self: Rc<Self>, token: CancellationToken) {
        let mut changed = self.source.subscribe();
        let mut running: FuturesUnordered<_> = FuturesUnordered::new();
        let mut errands: FuturesUnordered<Errand> = FuturesUnordered::new();
        let mut names: Vec<Vec<String>> = Vec::new();
        let mut open = Open::default();
        loop {
            let wanted = self.source.wanted(&self.resolver.name);
            let held = self.held();
            self.forget();
            if errands.is_empty() {
                errands.extend(Rc::clone(&self).errand(&wanted, &held));
            }
            let plan = self.plan(&wanted, &held, &names);
            for job in plan.jobs {
                if !open.begins(&job) {
                    continue;
                }
                names.push(job.names.clone());
                running.push(Rc::clone(&self).work(job));
            }
            self.show(&wanted, &held, &names);
            let look =
                if self.resolver.shelf.store.borrow().is_unsaved() { LOOK_UNSAVED } else { LOOK };
            let until = plan.wake.and_then(|at| at.duration_since(SystemTime::now()).ok());
            let pause = until.map_or(look, |until| until.min(look)).max(SETTLE);
            // Nothing is lost when one of these is dropped: orders go on in `running`.
            tokio::select! {
                biased;
                () = token.cancelled() => break,
                Some(done) = running.next(), if !running.is_empty() => {
                    names.retain(|names| *names != done.names);
                    open.ended(&done);
                }
                Some(()) = errands.next(), if !errands.is_empty() => {}
                Ok(()) = changed.changed() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
        // They are not polled any more: none of them may stand in line for the file.
        drop((running, errands));
        if timeout(ENDING, self.save()).await.is_err() {
            let path = &self.resolver.acme.storage;
            tracing::error!("resolver {}: {path} was not written in time", self.resolver.name);
        }
    }

    /// What is on hand.
    fn held(&self) -> Vec<Held> {
        let store = self.resolver.shelf.store.borrow();
        let suggested = self.renewals.borrow();
        let held = store.certificates(&self.resolver.name).iter().filter_map(|certificate| {
            let facts = certificate.facts()?;
            let names: Vec<String> =
                certificate.names().map(|name| name.to_ascii_lowercase()).collect();
            let (not_before, not_after) = (at(facts.about.not_before), at(facts.not_after));
            let due = due(not_before, not_after, &names);
            let due = suggested.get(&key(&names)).map_or(due, |(at, _)| due.min(*at));
            let issuer = facts.about.issuer_name.clone();
            Some(Held { names, issuer, not_before, not_after, due })
        });
        held.collect()
    }

    fn plan(&self, wanted: &[Wanted], held: &[Held], running: &[Vec<String>]) -> plan::Plan {
        let now = SystemTime::now();
        if let Some((until, _)) = self.refused(now) {
            return plan::Plan { wake: Some(until), ..plan::Plan::default() };
        }
        plan::plan(now, wanted, held, &self.others(held), running, &self.tried.borrow())
    }

    /// Names that certificates from elsewhere are good for.
    fn others(&self, held: &[Held]) -> Vec<String> {
        let now = SystemTime::now();
        let own: Vec<Vec<String>> = held.iter().map(|one| key(&one.names)).collect();
        // What is about to end, and nobody may renew, is no help.
        let is_lasting = |facts: &Facts| {
            let (from, until) = (at(facts.about.not_before), at(facts.not_after));
            until > now + until.duration_since(from).unwrap_or_default() / 10
        };
        let is_other = |facts: &Facts| is_lasting(facts) && !own.contains(&key(&facts.names));
        let others = self.source.served().into_iter().filter(is_other);
        others.flat_map(|facts| facts.names).collect()
    }

    /// One order, and what is to be done with what came of it.
    async fn work(self: Rc<Self>, job: Job) -> Job {
        let Resolver { name, .. } = &self.resolver;
        tracing::info!("resolver {name}: ordering a certificate for {}", job.names.join(", "));
        match self.obtain(&job).await {
            Ok(pair) => self.keep(&job, &pair).await,
            Err(failed) => self.failed(&job, &failed),
        }
        job
    }

    async fn obtain(&self, job: &Job) -> Result<Pair, Failed> {
        let client = self.client().await?;
        let result = self.order(&client, job).await;
        if let Err(Failed { why: Failure::Refused(refusal), .. }) = &result
            && refusal.is_of_account()
        {
            self.leave(&client, refusal);
            let client = self.client().await?;
            return self.order(&client, job).await;
        }
        result
    }

    async fn order(&self, client: &Client, job: &Job) -> Result<Pair, Failed> {
        let Resolver { acme, way, .. } = &self.resolver;
        let context = Context { client, acme, way, challenges: &self.shared.challenges };
        let replaces = if job.is_renewal { self.identity(&job.names) } else { None };
        context.obtain(&job.names, replaces.as_deref()).await
    }

    /// Forgets an account that the CA does not know any more, unless another order did.
    fn leave(&self, gone: &Rc<Client>, refusal: &Refusal) {
        let mut client = self.client.borrow_mut();
        if client.as_ref().is_some_and(|client| Rc::ptr_eq(client, gone)) {
            *client = None;
            let Resolver { name, shelf, .. } = &self.resolver;
            shelf.store.borrow_mut().drop_account(name);
            tracing::warn!(
                "resolver {name}: the CA does not know the account {} any more, so another one is \
                 registered: {refusal}",
                gone.account
            );
        }
    }

    /// The account, opened when it is first needed. What all orders that wait for it get is
    /// one try's result.
    async fn client(&self) -> Result<Rc<Client>, Failed> {
        let _opening = self.opening.lock().await;
        if let Some(client) = &*self.client.borrow() {
            return Ok(Rc::clone(client));
        }
        if let Some((_, why)) = self.refused(SystemTime::now()) {
            return Err(why);
        }
        match self.open().await {
            Ok(client) => {
                let client = Rc::new(client);
                *self.client.borrow_mut() = Some(Rc::clone(&client));
                *self.refused.borrow_mut() = None;
                Ok(client)
            }
            Err(why) => {
                let why = Failed::from(why);
                let mut refused = self.refused.borrow_mut();
                let failures = refused.as_ref().map_or(0, |last| last.failures) + 1;
                let pause = jittered(back_off(failures).min(Duration::from_secs(3600)));
                let until = SystemTime::now() + pause;
                *refused = Some(Refused { failures, until, why: why.clone() });
                Err(why)
            }
        }
    }

    /// Until when the account is left alone, and why.
    fn refused(&self, now: SystemTime) -> Option<(SystemTime, Failed)> {
        let refused = self.refused.borrow();
        let Refused { until, why, .. } = refused.as_ref()?;
        (*until > now && *until < now + LONGEST).then(|| (*until, why.clone()))
    }

    async fn open(&self) -> Result<Client, Failure> {
        let Resolver { name, acme, shelf, .. } = &self.resolver;
        let kept = shelf.store.borrow().kept(name).account;
        let uri = kept.as_ref().and_then(|account| account.registration.as_ref());
        let uri = uri.map(|registration| registration.uri.clone()).filter(|uri| !uri.is_empty());
        // Another CA's account is none here.
        let place = |url: &str| url.parse::<::http::Uri>().ok()?.into_parts().authority;
        let uri = uri.filter(|uri| place(uri) == place(&acme.ca_server));
        let key = match kept.as_ref().and_then(Account::key).filter(|_| uri.is_some()) {
            Some(der) => AccountKey::from_der(&der),
            None => tokio::task::spawn_blocking(AccountKey::generate)
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
        };
        let (client, registered) = Client::open(acme, key.map_err(Failure::Local)?, uri).await?;
        if let Some(body) = registered {
            let registration = Registration { body, uri: client.account.clone() };
            let account = Account::new(&acme.email, client.key.der(), registration);
            shelf.store.borrow_mut().put_account(name, account);
            tracing::info!("resolver {name}: registered the account {}", client.account);
            self.save().await;
        }
        Ok(client)
    }

    async fn keep(&self, job: &Job, pair: &Pair) {
        let Resolver { name, shelf, .. } = &self.resolver;
        let names = job.names.join(", ");
        let now = SystemTime::now();
        let facts = match usable(now, job, pair) {
            Ok(facts) => facts,
            Err(text) => {
                self.failed(job, &Failed { name: None, why: Failure::Local(text) });
                return;
            }
        };
        let certificate = Certificate::new(&job.names, &pair.chain, &pair.key);
        shelf.store.borrow_mut().put_certificate(name, certificate);
        let due = due(at(facts.about.not_before), at(facts.not_after), &job.names);
        let rest = plan::rest(now, due, self.tried.borrow().get(&key(&job.names)));
        self.tried.borrow_mut().insert(key(&job.names), rest);
        self.words.borrow_mut().remove(&key(&job.names));
        self.renewals.borrow_mut().remove(&key(&job.names));
        self.shared.board.write(name, |entry| entry.obtained += 1);
        self.metrics.acme(name, true);
        tracing::info!("resolver {name}: got a certificate for {names}");
        // Kept before it is served; but a disk that hangs keeps nobody waiting.
        let mut save = std::pin::pin!(self.save());
        let is_saved = timeout(SAVING, save.as_mut()).await.is_ok();
        self.publish().await;
        if !is_saved {
            save.await;
        }
    }

    fn failed(&self, job: &Job, failed: &Failed) {
        let Resolver { name, way, .. } = &self.resolver;
        let words = words(failed, way, &job.names);
        let mut tried = self.tried.borrow_mut();
        let failures = tried.get(&key(&job.names)).map_or(0, |tried| tried.failures) + 1;
        let pause = back_off(failures).max(words.retry_after.unwrap_or_default());
        let pause = jittered(pause.min(Duration::from_secs(24 * 3600)));
        let until = SystemTime::now() + pause;
        tried.insert(key(&job.names), Tried { failures, until });
        tracing::error!(
            "resolver {name}: no certificate for {}: {}; {}; next try in {} s",
            job.names.join(", "),
            words.error,
            words.mend,
            pause.as_secs()
        );
        self.words.borrow_mut().insert(key(&job.names), words);
        self.shared.board.write(name, |entry| entry.failed += 1);
        self.metrics.acme(name, false);
    }

    /// Has the table take what is on hand.
    async fn publish(&self) {
        let Resolver { name, shelf, .. } = &self.resolver;
        let files =
            shelf.store.borrow().certificates(name).iter().filter_map(setup::files).collect();
        let change = Change::Certificates { resolver: Arc::clone(name), files };
        // Its receiver is gone only at the end.
        let _ = self.changes.send(change).await;
    }

    /// Writes what is not in the file yet; one that can't be written is told, and tried
    /// again.
    async fn save(&self) {
        let Resolver { name, shelf, .. } = &self.resolver;
        let writing = Arc::clone(&shelf.writing).lock_owned().await;
        if !shelf.store.borrow().is_unsaved() {
            return;
        }
        self.written.set(Some(Instant::now()));
        let (path, text, changes) = shelf.store.borrow().to_save();
        let shown = path.display().to_string();
        // Nobody else writes until it is done, even if nobody waits for it any more.
        let write = move || {
            let result = super::file::replace(&path, &text);
            (result, writing)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let error = match &written {
            Ok((Ok(()), _)) => None,
            Ok((Err(error), _)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if error.is_none() {
            shelf.store.borrow_mut().saved(changes);
        }
        let trouble = error.map(|error| {
            (
                format!("{shown} can't be written: {error}; what is new is only in memory"),
                "make it writable, or free some space: it is tried again".to_owned(),
            )
        });
        let was = self.shared.board.read().get(name).and_then(|entry| entry.error.clone());
        if let Some((error, mend)) =
            trouble.as_ref().filter(|(error, _)| was.as_ref() != Some(error))
        {
            tracing::error!("resolver {name}: {error}; {mend}");
        }
        if self.shared.board.write(name, |entry| entry.trouble(trouble)) {
            self.source.touch();
        }
    }

    /// What is to be done beside orders, if anything.
    fn errand(self: Rc<Self>, wanted: &[Wanted], held: &[Held]) -> Option<Errand> {
        let is_time = self.written.get().is_none_or(|at| at.elapsed() >= LOOK_UNSAVED);
        if is_time && self.resolver.shelf.store.borrow().is_unsaved() {
            return Some(Box::pin(async move { self.save().await }));
        }
        let client = self.client.borrow().clone().filter(|client| client.has_renewal_info())?;
        let questions = self.questions(wanted, held);
        if questions.is_empty() {
            return None;
        }
        Some(Box::pin(async move { self.ask(&client, questions).await }))
    }

    /// Certificates whose CA was not asked for a while.
    fn questions(&self, wanted: &[Wanted], held: &[Held]) -> Vec<Question> {
        let now = SystemTime::now();
        let renewals = self.renewals.borrow();
        let open = held.iter().filter(|one| one.not_after > now && one.due > now);
        let questions = open.filter_map(|one| {
            let names = key(&one.names);
            let is_wanted = wanted.iter().any(|set| set.names.iter().any(|n| names.contains(n)));
            let is_known = renewals
                .get(&names)
                .is_some_and(|(_, again)| *again > now && *again < now + LONGEST);
            if !is_wanted || is_known {
                return None;
            }
            Some(Question { id: self.identity(&one.names)?, names, due: one.due })
        });
        questions.collect()
    }

    /// Asks the CA when to renew (RFC 9773).
    async fn ask(&self, client: &Client, questions: Vec<Question>) {
        const LATER: Duration = Duration::from_secs(6 * 3600);
        let mut is_away = false;
        for Question { names, id, due } in questions {
            let answer = if is_away { Ok(None) } else { client.renewal_info(&id).await };
            let now = SystemTime::now();
            let told = match answer {
                Ok(Some(polled)) => {
                    let again = polled.wait.unwrap_or(LATER);
                    let again = now + again.clamp(LOOK, Duration::from_secs(24 * 3600));
                    (polled.value.at(&names).unwrap_or(due), again)
                }
                Ok(None) => (due, now + LATER),
                Err(error) => {
                    tracing::debug!("renewal information for {}: {error}", names.join(", "));
                    // One that hangs is not asked for each of a thousand.
                    is_away = matches!(error, Failure::Server(_));
                    (due, now + LATER)
                }
            };
            // A certificate that came meanwhile was not what was asked about.
            if self.identity(&names).is_some_and(|now| now == id) {
                self.renewals.borrow_mut().insert(names, told);
            }
        }
    }

    /// Drops what was noted of names that nobody wanted for long.
    fn forget(&self) {
        let now = SystemTime::now();
        let mut tried = self.tried.borrow_mut();
        tried.retain(|_, tried| tried.until + LONGEST > now);
        self.words.borrow_mut().retain(|names, _| tried.contains_key(names));
        self.renewals.borrow_mut().retain(|_, (_, again)| *again + LONGEST > now);
    }

    /// How the CA calls the certificate on hand for these names.
    fn identity(&self, names: &[String]) -> Option<String> {
        let store = self.resolver.shelf.store.borrow();
        let wanted = key(names);
        let found = store.certificates(&self.resolver.name).iter().find(|certificate| {
            let names: Vec<String> =
                certificate.names().map(|name| name.to_ascii_lowercase()).collect();
            key(&names) == wanted
        })?;
        let (chain, _) = found.pair()?;
        tls::renewal_id(&chain)
    }

    /// Puts up how it stands.
    fn show(&self, wanted: &[Wanted], held: &[Held], running: &[Vec<String>]) {
        let name = &self.resolver.name;
        let mut entries: BTreeMap<Vec<String>, Entry> = BTreeMap::new();
        for one in held {
            let entry = entries.entry(key(&one.names)).or_default();
            entry.names.clone_from(&one.names);
            entry.state = State::Unused;
            entry.issuer.clone_from(&one.issuer);
            entry.not_before = Some(one.not_before);
            entry.not_after = Some(one.not_after);
            entry.renewal = Some(one.due);
        }
        let others = self.others(held);
        for set in wanted {
            let is_covered = |entry: &Entry| {
                set.names.iter().all(|n| entry.names.iter().any(|have| plan::covers(have, n)))
            };
            let routers = set.routers.iter().map(ToString::to_string);
            let found = entries.values_mut().find(|entry| is_covered(entry));
            if let Some(entry) = found {
                entry.state = State::Valid;
                entry.is_default |= set.is_default;
                entry.routers.extend(routers);
                continue;
            }
            // Nothing is waited for where a certificate from elsewhere is served.
            if set.names.iter().all(|n| others.iter().any(|have| plan::covers(have, n))) {
                continue;
            }
            let entry = entries.entry(key(&set.names)).or_default();
            entry.names.clone_from(&set.names);
            entry.is_default |= set.is_default;
            entry.routers.extend(routers);
        }
        for names in running {
            let entry = entries.entry(key(names)).or_default();
            entry.names.clone_from(names);
            entry.state = State::Ordering;
        }
        for (names, words) in &*self.words.borrow() {
            let Some(entry) = entries.get_mut(names) else { continue };
            if entry.state != State::Ordering && entry.not_after.is_none() {
                entry.state = State::Failed;
            }
            entry.error = Some(words.error.clone());
            entry.mend = Some(words.mend.clone());
            entry.next_try = self.tried.borrow().get(names).map(|tried| tried.until);
        }
        let entries = entries.into_values().collect();
        if self.shared.board.write(name, |resolver| resolver.entries = entries) {
            self.source.touch();
        }
    }
}

/// What a CA's certificate says, if it is any use for what was ordered; else why not.
fn usable(now: SystemTime, job: &Job, pair: &Pair) -> Result<Facts, String> {
    let facts = tls::facts_of_pair(&pair.chain, &pair.key)
        .map_err(|error| format!("the CA's certificate can't be used: {error}"))?;
    let is_named = |name: &&String| facts.names.iter().any(|have| covers(have, name));
    if let Some(name) = job.names.iter().find(|name| !is_named(name)) {
        return Err(format!("the CA's certificate is not for {name}"));
    }
    if at(facts.not_after) <= now {
        let text = "the CA's certificate has ended already: is this machine's clock right?";
        return Err(text.to_owned());
    }
    Ok(facts)
}

/// Up to a tenth more, so that many that failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish() % 1000;
    pause + pause * u32::try_from(random).unwrap_or_default() / 10_000
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pair(names: &[&str], until: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem().into() }
    }

    #[test]
    fn what_a_ca_gives_is_looked_at_before_it_is_kept() {
        let now = at(1_800_000_000);
        let names = vec!["a.example.org".to_owned(), "*.b.example.org".to_owned()];
        let job = Job { names, is_renewal: false };
        let right = pair(&["a.example.org", "*.b.example.org"], 2090);
        assert!(usable(now, &job, &right).is_ok());

        let other = pair(&["a.example.org", "*.b.example.org"], 2090);
        for (pair, wanted) in [
            (Pair { chain: right.chain.clone(), key: other.key }, "does not belong"),
            (Pair { chain: "nonsense".into(), key: right.key }, "can't be used"),
            (pair(&["a.example.org"], 2090), "not for *.b.example.org"),
            (pair(&["a.example.org", "*.b.example.org"], 2021), "clock"),
        ] {
            let error = usable(now, &job, &pair).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
