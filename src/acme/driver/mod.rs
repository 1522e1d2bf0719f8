//! The task of one resolver: sees what is wanted, orders what is missing or due, keeps it.

mod account;
mod board;
mod keeping;
mod renewal;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Failure};
use super::order::{Context, Failed, Pair};
use super::plan::{self, Held, Job, Open, Tried, at, back_off, due, key};
use super::setup::{Resolver, Setup};
use super::words::{Words, words};
use super::{Shared, Source, Wanted};
use crate::observe::Metrics;
use crate::provider::Change;
use crate::tls::Facts;
use account::Refused;
use renewal::Errand;

/// How often everything is looked at: clocks jump, machines sleep.
const LOOK: Duration = Duration::from_secs(60);
/// The same while something could not be written to the file.
const LOOK_UNSAVED: Duration = Duration::from_secs(20);
/// For the file to be written at the end of the process.
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

    /// Drops what was noted of names that nobody wanted for long.
    fn forget(&self) {
        let now = SystemTime::now();
        let mut tried = self.tried.borrow_mut();
        tried.retain(|_, tried| tried.until + LONGEST > now);
        self.words.borrow_mut().retain(|names, _| tried.contains_key(names));
        self.renewals.borrow_mut().retain(|_, (_, again)| *again + LONGEST > now);
    }
}

/// Up to a tenth more, so that many that failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish() % 1000;
    pause + pause * u32::try_from(random).unwrap_or_default() / 10_000
}
