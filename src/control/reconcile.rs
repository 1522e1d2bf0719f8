//! The one writer: takes what providers say, compiles it, publishes the table, and passes
//! replicas' states on in between.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::lost::Lost;
use super::news;
use super::pace::Pace;
use crate::compile::{self, Certificates, Context};
use crate::model::{Desired, Provider, ReplicaState, ServiceKind};
use crate::problem::Code;
use crate::provider::{Change, EngineState};
use crate::table::{Published, Table};

/// Changes taken in one go before time is looked at again.
const BATCH: usize = 256;

/// How often certificate files are looked at: they change without their provider's files.
const LOOK: Duration = Duration::from_secs(2);

/// Publishes what Wharf itself serves, before any provider has spoken.
pub fn begin(cx: &Arc<Context>, published: &Arc<Published>) {
    Reconciler::new(Arc::clone(cx), Arc::clone(published)).publish();
}

/// Runs until cancelled, from what [`begin`] published, and by another context when there is
/// one. `loaded` is cancelled when the table holds what every provider said first.
pub async fn run(
    mut contexts: watch::Receiver<Arc<Context>>,
    published: Arc<Published>,
    mut changes: Receiver<Change>,
    loaded: CancellationToken,
    token: CancellationToken,
) {
    let cx = Arc::clone(&contexts.borrow_and_update());
    let mut pace = Pace::new(throttle(&cx));
    let mut silent = providers(&cx);
    let mut reconciler = Reconciler::new(cx, published);
    if silent.is_empty() {
        loaded.cancel();
    }
    let mut due: Option<Instant> = None;
    let (mut batch, mut is_open) = (Vec::with_capacity(BATCH), true);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Each branch may be dropped at any await without loss: `recv_many` takes nothing
        // unless it returns, and a tick that is lost comes again.
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            Ok(()) = contexts.changed() => {
                let cx = Arc::clone(&contexts.borrow_and_update());
                pace.limit(throttle(&cx));
                silent.retain(|one| providers(&cx).contains(one));
                reconciler.change(cx);
                due = Some(Instant::now());
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let began = Instant::now();
                reconciler.publish();
                if silent.is_empty() {
                    loaded.cancel();
                }
                pace.made(began, Instant::now());
                due = None;
            }
            _ = looks.tick(), if due.is_none() => {
                if reconciler.published.load().tls.is_stale() {
                    due = Some(pace.due(Instant::now()));
                }
            }
            () = sleep_until(reconciler.lost.due().unwrap_or_else(Instant::now)),
                if reconciler.lost.due().is_some() =>
            {
                for cell in reconciler.lost.take_over(&reconciler.published.load(), Instant::now()) {
                    cell.cut();
                }
            }
            count = changes.recv_many(&mut batch, BATCH), if is_open => {
                // All providers have ended; what they said last still stands.
                is_open = count > 0;
                for change in batch.drain(..) {
                    if let Change::Desired(provider, desired) = &change
                        && reconciler.has_spoken(*provider, desired)
                    {
                        silent.retain(|one| one != provider);
                    }
                    if reconciler.take(change) {
                        due = due.or_else(|| Some(pace.due(Instant::now())));
                    }
                }
            }
        }
    }
}

fn throttle(cx: &Context) -> Duration {
    cx.settings.providers.providers_throttle_duration.or_zero()
}

/// Whoever is to speak before the table is whole.
fn providers(cx: &Context) -> Vec<Provider> {
    let settings = &cx.settings.providers;
    let docker = settings.docker.as_ref().map(|_| Provider::Docker);
    docker.into_iter().chain(settings.file.as_ref().map(|_| Provider::File)).collect()
}

/// What was said so far.
struct Reconciler {
    cx: Arc<Context>,
    published: Arc<Published>,
    docker: Arc<Desired>,
    file: Arc<Desired>,
    /// What resolvers have.
    certificates: Certificates,
    /// States of containers that the engine told since the last `docker`; newer than what
    /// stands there.
    newer: HashMap<Arc<str>, ReplicaState>,
    /// States of containers as last passed on to their cells.
    known: HashMap<Arc<str>, ReplicaState>,
    lost: Lost,
    /// The files are others than those that `file` is from, and were not understood yet.
    is_elsewhere: bool,
}

impl Reconciler {
    fn new(cx: Arc<Context>, published: Arc<Published>) -> Self {
        let certificates = cx.certificates.clone();
        Self {
            cx,
            published,
            docker: Arc::default(),
            file: Arc::default(),
            certificates,
            newer: HashMap::new(),
            known: HashMap::new(),
            lost: Lost::default(),
            is_elsewhere: false,
        }
    }

    /// Goes on by another context. What a provider said that is off now is over.
    fn change(&mut self, cx: Arc<Context>) {
        let before = std::mem::replace(&mut self.cx, cx);
        let (was, is) = (&before.settings.providers, &self.cx.settings.providers);
        self.is_elsewhere |= was.file != is.file;
        if is.docker.is_none() && was.docker.is_some() {
            self.docker = Arc::default();
            self.newer.clear();
            self.published.store_engine(EngineState::default());
        }
        if is.file.is_none() {
            self.file = Arc::default();
        }
    }

    /// What the files say: of others that can't be read or understood only that, and what was
    /// served before stays.
    fn files(&mut self, desired: Arc<Desired>) {
        let is_nothing = desired.routers.is_empty()
            && desired.services.is_empty()
            && desired.middlewares.is_empty()
            && desired.tls.certificates.is_empty();
        if self.is_elsewhere && is_nothing && !self.has_spoken(Provider::File, &desired) {
            let problems = desired.problems.clone();
            self.file = Arc::new(Desired { problems, ..Desired::clone(&self.file) });
            return;
        }
        self.is_elsewhere = false;
        self.file = desired;
    }

    /// Whether what this provider says is what there is. Without an engine, or with a file that
    /// can't be read or understood, it says too that there is nothing, for its problem to be
    /// seen.
    fn has_spoken(&self, provider: Provider, desired: &Desired) -> bool {
        match provider {
            Provider::Docker => self.published.engine().connected,
            Provider::File => !desired.problems.iter().any(|problem| problem.code == Code::File),
            Provider::Internal => true,
        }
    }

    /// Takes a change; true when it needs a new table.
    fn take(&mut self, change: Change) -> bool {
        match change {
            // It was on its way when the provider was switched off.
            Change::Desired(Provider::Docker, _) if self.cx.settings.providers.docker.is_none() => {
                false
            }
            Change::Desired(Provider::File, _) if self.cx.settings.providers.file.is_none() => {
                false
            }
            Change::Desired(Provider::Docker, desired) => {
                // The list was made after these states were told, so it knows better.
                self.newer.clear();
                self.docker = desired;
                true
            }
            Change::Desired(Provider::File | Provider::Internal, desired) => {
                self.files(desired);
                true
            }
            Change::Replica { container, state } => {
                self.replica(container, state);
                false
            }
            Change::Moved { container, from } => {
                self.moved(&container, &from);
                false
            }
            Change::Engine(state) => {
                self.engine(state);
                false
            }
            Change::Stapled => true,
            Change::Certificates { resolver, files } => {
                self.certificates.insert(resolver, files);
                true
            }
        }
    }

    fn replica(&mut self, container: Arc<str>, state: ReplicaState) {
        let table = self.published.load();
        let before = self.known.insert(Arc::clone(&container), state);
        if let Some(cells) = table.replicas.get(&container) {
            for cell in cells {
                cell.set_engine(compile::engine_state(state));
            }
            if before != Some(state)
                && let Some(cell) = cells.first()
            {
                let name = cell.container_name.as_deref().unwrap_or(&container);
                tracing::info!("server {} (container {name}) is {}", cell.url, word(state));
            }
            self.published.touch();
        }
        drop(table);
        self.newer.insert(container, state);
    }

    /// Addresses lead nowhere now; the new table follows.
    fn moved(&mut self, container: &Arc<str>, from: &[IpAddr]) {
        let table = self.published.load();
        for cell in table.replicas.get(container).into_iter().flatten() {
            if cell.ip().is_some_and(|ip| from.contains(&ip)) {
                self.lost.add(cell);
            }
        }
        // Should the container come back to the same address, its cell has to be told.
        self.known.insert(Arc::clone(container), ReplicaState::Gone);
        self.published.touch();
    }

    fn engine(&self, state: EngineState) {
        if self.cx.settings.providers.docker.is_none() {
            return;
        }
        self.cx.metrics.engine(state.connected, state.calls);
        if *self.published.engine() != state {
            self.published.store_engine(state);
        }
    }

    /// Compiles what is wanted now, and publishes it.
    fn publish(&mut self) {
        let before = self.published.load_full();
        let desired = merged(&self.docker, &self.file, &self.certificates);
        let after = Arc::new(compile::compile(&self.cx, &desired, &before));
        self.pass_on(&after);
        self.published.store(Arc::clone(&after));
        self.cx.metrics.reload();
        let certificates = after.tls.facts().map(|facts| {
            let names = facts.names.join(",");
            (facts.common_name.clone(), facts.serial.clone(), names, facts.not_after)
        });
        self.cx.metrics.set_certificates(certificates);
        news::tell(&before, &after);
    }

    /// Tells the cells what their containers' states are, where that changed or where the
    /// table was made of something older.
    fn pass_on(&mut self, table: &Table) {
        let said = states(&self.docker);
        for (container, cells) in &table.replicas {
            let newer = self.newer.get(container).copied();
            let Some(state) = newer.or_else(|| said.get(container).copied()) else { continue };
            if newer.is_none() && self.known.get(container) == Some(&state) {
                continue;
            }
            for cell in cells {
                cell.set_engine(compile::engine_state(state));
            }
        }
        self.known = said.into_iter().map(|(id, state)| (Arc::clone(id), state)).collect();
        self.known.extend(self.newer.iter().map(|(id, state)| (Arc::clone(id), *state)));
    }
}

/// Containers and their states as the list says.
fn states(desired: &Desired) -> HashMap<&Arc<str>, ReplicaState> {
    let mut states = HashMap::new();
    for service in desired.services.values() {
        if let ServiceKind::LoadBalancer(balancer) = &service.value.kind {
            let facts = balancer.servers.iter().filter_map(|server| server.replica.as_ref());
            states.extend(facts.map(|facts| (&facts.container.id, facts.state)));
        }
    }
    states
}

/// All providers together. Names carry their provider, so nothing can clash.
pub fn merged(
    docker: &Arc<Desired>,
    file: &Arc<Desired>,
    certificates: &Certificates,
) -> Arc<Desired> {
    let mut all = Desired::clone(docker);
    let file = Desired::clone(file);
    all.routers.extend(file.routers);
    all.middlewares.extend(file.middlewares);
    all.services.extend(file.services);
    all.transports.extend(file.transports);
    // What is given by hand goes before what was obtained.
    all.tls.certificates.extend(file.tls.certificates);
    all.tls.certificates.extend(certificates.values().flatten().map(Arc::clone));
    all.tls.options.extend(file.tls.options);
    all.tls.stores.extend(file.tls.stores);
    all.problems.extend(file.problems);
    Arc::new(all)
}

fn word(state: ReplicaState) -> &'static str {
    match state {
        ReplicaState::Starting => "starting",
        ReplicaState::Running => "running",
        ReplicaState::Unhealthy => "unhealthy",
        ReplicaState::Paused => "paused",
        ReplicaState::Stopping => "stopping",
        ReplicaState::Gone => "gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::tests::{context, desired, router};
    use crate::model::Name;
    use crate::problem::{Origin, Problem};
    use crate::settings::{self, Settings};
    use tokio::sync::mpsc;

    fn file(rule: &str) -> Change {
        Change::Desired(Provider::File, Arc::new(desired(&[("web", router(rule))])))
    }

    fn with_files(settings: &mut Settings) {
        settings.providers.file = Some(settings::File::default());
    }

    fn with_engine(settings: &mut Settings) {
        settings.providers.docker = Some(settings::Docker::default());
    }

    fn reconciler(adjust: impl FnOnce(&mut Settings)) -> (Reconciler, Arc<Published>) {
        let published = Arc::new(Published::default());
        (Reconciler::new(Arc::new(context(adjust)), Arc::clone(&published)), published)
    }

    fn rules(table: &Table) -> Vec<&str> {
        table.routes.values().map(|route| &*route.rule).collect()
    }

    #[tokio::test]
    async fn what_a_provider_says_is_published_and_outlives_it() {
        let published = Arc::new(Published::default());
        let mut changed = published.subscribe();
        let (sender, receiver) = mpsc::channel(8);
        let token = CancellationToken::new();
        let (_held, cx) = watch::channel(Arc::new(context(with_files)));
        let loaded = CancellationToken::new();
        let task = tokio::spawn(run(cx, Arc::clone(&published), receiver, loaded, token.clone()));

        for rule in ["Host(`a`)", "Host(`b`)"] {
            sender.send(file(rule)).await.unwrap();
        }
        drop(sender);
        let is_last = |_: &u64| rules(&published.load()) == ["Host(`b`)"];
        changed.wait_for(is_last).await.unwrap();

        token.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn the_table_is_whole_once_the_engine_was_there() {
        let published = Arc::new(Published::default());
        let (sender, receiver) = mpsc::channel(8);
        let (loaded, token) = (CancellationToken::new(), CancellationToken::new());
        let (_held, cx) = watch::channel(Arc::new(context(with_engine)));
        let task =
            tokio::spawn(run(cx, Arc::clone(&published), receiver, loaded.clone(), token.clone()));
        let docker = || Change::Desired(Provider::Docker, Arc::new(desired(&[])));
        let mut changed = published.subscribe();

        let away = EngineState { error: Some("no such file".into()), ..EngineState::default() };
        sender.send(Change::Engine(away)).await.unwrap();
        sender.send(docker()).await.unwrap();
        changed.wait_for(|_| published.load().revision > 0).await.unwrap();
        assert!(!loaded.is_cancelled());
        let here = EngineState { connected: true, ..EngineState::default() };
        sender.send(Change::Engine(here)).await.unwrap();
        sender.send(docker()).await.unwrap();
        loaded.cancelled().await;

        token.cancel();
        task.await.unwrap();
    }

    #[test]
    fn providers_replace_only_what_they_said_themselves() {
        let (mut reconciler, published) = reconciler(|settings| {
            with_files(settings);
            with_engine(settings);
        });
        let mut docker = desired(&[]);
        let name = Name::new("web", Provider::Docker);
        let sourced = desired(&[("web", router("Host(`d`)"))]).routers.into_values().next();
        docker.routers.insert(name, sourced.unwrap());

        assert!(reconciler.take(Change::Desired(Provider::Docker, Arc::new(docker))));
        assert!(reconciler.take(file("Host(`a`)")));
        reconciler.publish();
        assert_eq!(rules(&published.load()), ["Host(`d`)", "Host(`a`)"]);

        reconciler.take(file("Host(`b`)"));
        reconciler.publish();
        assert_eq!(rules(&published.load()), ["Host(`d`)", "Host(`b`)"]);
        assert_eq!(published.load().revision, 2);
    }

    #[test]
    fn the_engines_state_is_published_without_a_new_table() {
        let (mut reconciler, published) = reconciler(with_engine);
        let state = EngineState { connected: true, ..EngineState::default() };

        assert!(!reconciler.take(Change::Engine(state)));

        assert!(published.engine().connected);
        assert_eq!(published.load().revision, 0);
    }

    #[test]
    fn a_provider_that_is_switched_off_is_over_and_what_is_on_its_way_is_not_taken() {
        let (mut reconciler, published) = reconciler(with_files);
        reconciler.take(file("Host(`a`)"));
        reconciler.publish();
        assert_eq!(rules(&published.load()), ["Host(`a`)"]);

        reconciler.change(Arc::new(context(|_| ())));
        assert!(!reconciler.take(file("Host(`b`)")));
        reconciler.publish();

        assert!(rules(&published.load()).is_empty());
    }

    #[test]
    fn other_files_that_cannot_be_read_leave_what_was_served_and_are_said() {
        let (mut reconciler, published) = reconciler(with_files);
        reconciler.take(file("Host(`a`)"));
        reconciler.change(Arc::new(context(|settings| {
            let directory = "/elsewhere".to_owned();
            settings.providers.file = Some(settings::File { directory, ..Default::default() });
        })));
        let problem = Problem::error(Code::File, Origin::file("/elsewhere"), "is not there");
        let nothing = || Desired { problems: vec![problem.clone()], ..desired(&[]) };

        reconciler.take(Change::Desired(Provider::File, Arc::new(nothing())));
        reconciler.publish();
        assert_eq!(rules(&published.load()), ["Host(`a`)"]);
        assert!(published.load().problems.contains(&problem));

        // Once they were understood, what they say is what there is.
        reconciler.take(file("Host(`b`)"));
        reconciler.take(Change::Desired(Provider::File, Arc::new(nothing())));
        reconciler.publish();
        assert!(rules(&published.load()).is_empty());
    }

    #[test]
    fn other_settings_reach_services_that_did_not_change() {
        use crate::compile::tests::with_service;
        let (mut reconciler, published) = reconciler(with_files);
        reconciler.take(Change::Desired(Provider::File, Arc::new(with_service())));
        reconciler.publish();
        let service = || published.load().services.values().next().map(Arc::clone).unwrap();
        let before = service();
        reconciler.publish();
        assert!(Arc::ptr_eq(&before, &service()));

        reconciler.change(Arc::new(context(|settings| {
            with_files(settings);
            settings.wharf.hold = settings::GoDuration::from_secs(3);
        })));
        reconciler.publish();

        assert!(!Arc::ptr_eq(&before, &service()));
        assert!(Arc::ptr_eq(&before.replicas()[0], &service().replicas()[0]));
    }
}
