//! `wharf run`: puts all parts together, waits for signals, takes everything down in order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::signals::{Asked, Signals};
use crate::acme;
use crate::api;
use crate::balance::{self, Service};
use crate::compile::Context;
use crate::control::{export, ocsp, reconcile};
use crate::listen::{self, Workers, WorkersConfig};
use crate::message::trace::Policy;
use crate::observe::{self, AccessLog, Metrics, log};
use crate::otlp::{Queued, Signal};
use crate::problem::Problem;
use crate::provider;
use crate::settings::{Read, Settings, Start, read};
use crate::table::Published;
use crate::tls;

/// Changes that may wait for the reconcile task; a provider that fills it sends one newer
/// list instead.
const CHANGES: usize = 1024;
/// For control tasks to end once they were told.
const TASKS_END: Duration = Duration::from_secs(5);
/// As Rust's own for a panic.
const PANICKED: u8 = 101;

/// Runs the proxy by the process's arguments until a signal comes.
pub(super) fn command(arguments: &[String]) -> ExitCode {
    start(&Start::with_arguments(arguments), &CancellationToken::new())
}

/// Runs the proxy by these flags alone until a signal comes or `stopping` is cancelled; for
/// `wharf demo`, which has a project to take down afterwards.
pub(crate) fn proxy(flags: &[String], stopping: &CancellationToken) -> ExitCode {
    start(&Start { arguments: flags.to_vec(), ..Start::default() }, stopping)
}

fn start(start: &Start, stopping: &CancellationToken) -> ExitCode {
    raise_open_files();
    let result = read(start)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
        .and_then(|read| Proxy::new(read).map_err(|text| vec![text]));
    match result {
        Ok(proxy) => proxy.run(stopping),
        Err(texts) => {
            for text in texts {
                eprintln!("wharf: {text}");
            }
            ExitCode::FAILURE
        }
    }
}

fn access_log(settings: &Settings) -> Result<Option<Arc<AccessLog>>, Problem> {
    let Some(started) = settings.access_log.as_ref().map(AccessLog::start) else { return Ok(None) };
    let (access_log, problems) = started?;
    warn(&problems);
    Ok(Some(access_log))
}

/// As many open files as the system lets this process have, as Go does at its start: the
/// soft limit is for programs that use `select`, and 1,024 are but 900 connections.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Without it there are fewer connections, and `listen` reads how many.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// Everything, listening but not yet told what to serve.
struct Proxy {
    context: Arc<Context>,
    published: Arc<Published>,
    access_log: Option<Arc<AccessLog>>,
    /// Collectors, and what waits for them.
    exports: Vec<(export::Target, Queued)>,
    workers: Workers,
    terminating: CancellationToken,
    resolvers: acme::Setup,
}

impl Proxy {
    fn new(read: Read) -> Result<Self, String> {
        let Read { settings, source, warnings } = read;
        let started = SystemTime::now();
        let text = |problem: Problem| problem.to_string();
        warn(&log::init(settings.log.as_ref()).map_err(text)?);
        warn_unseen(&warnings);
        tracing::info!("Wharf version {}", env!("CARGO_PKG_VERSION"));
        tracing::info!("Static configuration loaded from {source}");
        let access_log = access_log(&settings).map_err(text)?;
        tell_of_aliases(&settings);
        let (tracing, exports) = exports(&settings)?;
        let settings = Arc::new(settings);
        let count = worker_count(&settings);
        let metrics = Metrics::new(&settings.metrics, count);
        for (target, queued) in &exports {
            metrics.show_unsent(target.signal().as_str(), queued.dropped());
        }
        let published = Arc::new(Published::default());
        let entry_points = listen::entry_points(&settings).map_err(|error| error.to_string())?;
        let terminating = CancellationToken::new();
        let internal = api::handlers(&api::Sources {
            published: Arc::clone(&published),
            settings: Arc::clone(&settings),
            metrics: Arc::clone(&metrics),
            started,
            terminating: terminating.clone(),
        });
        let config = WorkersConfig {
            settings: Arc::clone(&settings),
            entry_points: Arc::clone(&entry_points),
            workers: count,
            published: Arc::clone(&published),
            metrics: Arc::clone(&metrics),
            access_log: access_log.clone(),
            tracing,
        };
        let mut resolvers = acme::open(&settings, published.acme());
        warn(&resolvers.problems);
        let mut notices = warnings;
        notices.append(&mut resolvers.problems);
        let context = Context {
            settings,
            entry_points,
            metrics,
            internal,
            certificates: std::mem::take(&mut resolvers.certificates),
            notices,
            workers: count,
        };
        let context = Arc::new(context);
        // A health check that comes with the first connection must find `/ping`.
        reconcile::begin(&context, &published);
        let workers = Workers::start(&config).map_err(|error| error.to_string())?;
        for (entry_point, address) in context.entry_points.iter().zip(workers.addresses()) {
            tracing::info!("entry point {} listens on {address}", entry_point.name);
        }
        Ok(Self { context, published, access_log, exports, workers, terminating, resolvers })
    }

    fn run(self, stopping: &CancellationToken) -> ExitCode {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("control")
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(self.control(stopping)),
            Err(error) => {
                eprintln!("wharf: start the control thread: {error}");
                ExitCode::FAILURE
            }
        }
    }

    async fn control(mut self, stopping: &CancellationToken) -> ExitCode {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                eprintln!("wharf: listen to signals: {error}");
                return ExitCode::FAILURE;
            }
        };
        let ending = CancellationToken::new();
        let mut tasks = self.spawn(&ending);
        // The demo's project hears the same signals, and may have said so first.
        let mut signals_due = 1;
        let status = loop {
            tokio::select! {
                () = stopping.cancelled() => {
                    signals_due = 2;
                    break ExitCode::SUCCESS;
                }
                asked = signals.next() => match asked {
                    Asked::Stop => break ExitCode::SUCCESS,
                    Asked::Reopen => self.reopen(),
                    Asked::Nothing => tracing::warn!(
                        "SIGHUP is not handled: files are watched, nothing needs a reload"
                    ),
                },
                Some(ended) = tasks.join_next() => if ended.is_err_and(|error| error.is_panic()) {
                    // A control side that is half dead is worse than a restart.
                    tracing::error!("a control task ended in a panic, stopping");
                    break ExitCode::from(PANICKED);
                },
            }
        };
        let cut = self.stop(&mut signals, signals_due).await;
        ending.cancel();
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(TASKS_END, all).await.is_err() {
            tracing::warn!("control tasks did not end in time");
        }
        tracing::info!("Shutting down");
        if let Some(access_log) = &self.access_log {
            access_log.close();
        }
        cut.unwrap_or(status)
    }

    /// The tasks of the control thread.
    fn spawn(&mut self, ending: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (target, queued) in self.exports.drain(..) {
            tasks.spawn_local(export::run(target, queued, ending.clone()));
        }
        let (sender, changes) = mpsc::channel(CHANGES);
        let Context { settings, metrics, .. } = &*self.context;
        tasks.spawn_local(reconcile::run(
            Arc::clone(&self.context),
            Arc::clone(&self.published),
            changes,
            ending.clone(),
        ));
        tasks.spawn_local(balance::checks::run(
            Live(Arc::clone(&self.published)),
            Arc::clone(metrics),
            ending.clone(),
        ));
        tasks.spawn_local(tick(Arc::clone(metrics), ending.clone()));
        tasks.spawn_local(acme::run(
            std::mem::take(&mut self.resolvers),
            Live(Arc::clone(&self.published)),
            Arc::clone(self.published.acme()),
            Arc::clone(metrics),
            sender.clone(),
            ending.clone(),
        ));
        if let Some(settings) = settings.ocsp.clone() {
            let published = Arc::clone(&self.published);
            tasks.spawn_local(ocsp::run(settings, published, sender.clone(), ending.clone()));
        }
        if settings.providers.docker.is_some() {
            let docker =
                provider::docker::run(Arc::clone(settings), sender.clone(), ending.clone());
            tasks.spawn_local(docker);
        }
        if settings.providers.file.is_some() {
            let file = provider::file::run(Arc::clone(settings), sender, ending.clone());
            tasks.spawn_local(file);
        }
        if settings.providers.docker.is_none() && settings.providers.file.is_none() {
            tracing::warn!(
                "no provider is set, so there is nothing to route to; set providers.docker \
                 (--providers.docker)"
            );
        }
        tasks
    }

    /// Lets requests in flight end; a status when that many more signals cut that short.
    async fn stop(&mut self, signals: &mut Signals, signals_due: u8) -> Option<ExitCode> {
        tracing::info!("I have to go...");
        tracing::info!("Stopping server gracefully");
        self.terminating.cancel();
        let again = async {
            for _ in 0..signals_due {
                while signals.next().await != Asked::Stop {}
            }
        };
        // Dropping the drain is safe: `stop` takes over whatever it left.
        let is_cut = tokio::select! {
            () = self.workers.drain() => false,
            () = again => true,
        };
        if is_cut {
            tracing::warn!("told to stop again: cutting what is in flight");
            self.workers.stop().await;
        }
        tracing::info!("Server stopped");
        is_cut.then_some(ExitCode::FAILURE)
    }

    fn reopen(&self) {
        log::reopen();
        if let Some(access_log) = &self.access_log {
            access_log.reopen();
        }
        tracing::info!("log files are opened anew");
    }
}

/// As Traefik at its start. No problem of the table's: it would be there for all who have not
/// chosen, and aliases of the fields that the proxy manages are removed in any case.
fn tell_of_aliases(settings: &Settings) {
    let points = settings.entry_points.iter();
    let open = points.filter(|(_, on)| on.http.alias_headers_strategy.is_none());
    let open: Vec<&str> = open.map(|(name, _)| name.as_str()).collect();
    if !open.is_empty() {
        tracing::warn!(
            "aliasHeadersStrategy is not configured on {}: fields such as X_Name or X.Name go on \
             beside X-Name, and servers that read both alike can be misled; set it to delete or \
             reject",
            open.join(", ")
        );
    }
}

/// The same of what the first table's problems will say, if they are seen.
fn warn_unseen(problems: &[Problem]) {
    if !tracing::enabled!(tracing::Level::WARN) {
        warn(problems);
    }
}

/// How requests are traced, and what is sent to collectors.
type Exports = (Option<Arc<Policy>>, Vec<(export::Target, Queued)>);

fn exports(settings: &Settings) -> Result<Exports, String> {
    let Some(traces) = &settings.tracing else { return Ok((None, Vec::new())) };
    warn(&observe::environment_problems(std::env::vars()));
    let (policy, queued) = observe::traces(traces).map_err(|problem| problem.to_string())?;
    let resource = observe::traces_resource(traces);
    let collector = traces.otlp.as_ref();
    let target = export::Target::new("tracing.otlp", Signal::Traces, collector, resource)?;
    Ok((Some(policy), vec![(target, queued)]))
}

/// Says warnings where they are seen even with the default log level, which hides them.
fn warn(problems: &[Problem]) {
    for problem in problems {
        if tracing::enabled!(tracing::Level::WARN) {
            tracing::warn!("{problem}");
        } else {
            eprintln!("wharf: warning: {problem}");
        }
    }
}

/// One worker per CPU that the process may use: affinity and cgroup limits count.
fn worker_count(settings: &Settings) -> usize {
    match usize::try_from(settings.wharf.workers) {
        Ok(0) | Err(_) => std::thread::available_parallelism().map_or(1, usize::from),
        Ok(count) => count,
    }
}

/// Keeps the plots' seconds.
async fn tick(metrics: Arc<Metrics>, ending: CancellationToken) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            _ = seconds.tick() => metrics.tick(),
        }
    }
}

/// The published table, as the health checks and the resolvers need it.
#[derive(Clone)]
struct Live(Arc<Published>);

impl balance::checks::Source for Live {
    fn services(&self) -> Vec<Arc<Service>> {
        self.0.load().services.values().map(Arc::clone).collect()
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    fn touch(&self) {
        self.0.touch();
    }
}

impl acme::Source for Live {
    fn wanted(&self, resolver: &str) -> Vec<acme::Wanted> {
        let table = self.0.load();
        table.wanted.iter().filter(|one| *one.resolver == *resolver).cloned().collect()
    }

    fn touch(&self) {
        self.0.touch();
    }

    fn served(&self) -> Vec<tls::Facts> {
        self.0.load().tls.declared().cloned().collect()
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
