//! `wharf run`: puts all parts together, waits for signals, takes everything down in order.

mod control;
mod reload;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::exports::Exports;
use super::upgrade::{COMMAND, Program, Taking};
use crate::acme;
use crate::api;
use crate::compile::Context;
use crate::control::reconcile;
use crate::listen::{self, Handed, Observers, Workers, WorkersConfig};
use crate::message::trace::Policy;
use crate::observe::{AccessLog, Metrics, log};
use crate::otlp::Queue;
use crate::problem::Problem;
use crate::settings::{Read, Settings, Start, read};
use crate::table::Published;

/// Runs the proxy by the process's arguments until a signal comes.
pub(super) fn command(arguments: &[String]) -> ExitCode {
    let start_by = Start::with_arguments(arguments);
    start(&start_by, &CancellationToken::new(), Program::of_this_process().ok(), None)
}

/// The same, but in the place of the process that started this one.
pub(super) fn take_over(arguments: &[String]) -> ExitCode {
    let (taking, handed) = match Taking::begin() {
        Ok(taken) => taken,
        Err(error) => {
            eprintln!("wharf: {COMMAND}: {error}; only a proxy that hands over starts this");
            return ExitCode::FAILURE;
        }
    };
    let start_by = Start::with_arguments(arguments);
    let program = Program::of_this_process().ok();
    start(&start_by, &CancellationToken::new(), program, Some((taking, handed)))
}

/// Runs the proxy by these flags alone until a signal comes or `stopping` is cancelled; for
/// `wharf demo`, which has a project to take down afterwards.
pub(crate) fn proxy(flags: &[String], stopping: &CancellationToken) -> ExitCode {
    start(&Start { arguments: flags.to_vec(), ..Start::default() }, stopping, None, None)
}

/// Runs the proxy; `program` is what SIGUSR2 starts, `taken` what another process left it.
fn start(
    start: &Start,
    stopping: &CancellationToken,
    program: Option<Program>,
    taken: Option<(Taking, Handed)>,
) -> ExitCode {
    raise_open_files();
    let (taking, handed) = taken.unzip();
    let result = read(start)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
        .and_then(|read| Proxy::new(start.clone(), read, handed).map_err(|text| vec![text]));
    match result {
        Ok(proxy) => proxy.run(stopping, Passing { program, taking }),
        Err(texts) => {
            for text in texts {
                eprintln!("wharf: {text}");
            }
            ExitCode::FAILURE
        }
    }
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

/// What there is to do with other processes.
struct Passing {
    /// What is started to follow this one; `None`: nothing may.
    program: Option<Program>,
    /// The process that this one follows.
    taking: Option<Taking>,
}

/// Everything, listening but not yet told what to serve.
struct Proxy {
    /// What the static configuration is read by.
    start: Start,
    /// The file that it is from, if it is.
    file: Option<PathBuf>,
    context: Arc<Context>,
    /// The same for the task that compiles.
    contexts: watch::Sender<Arc<Context>>,
    /// The static configuration in force, for the providers.
    latest: watch::Sender<Arc<Settings>>,
    /// What was noticed in the static configuration when it was last understood.
    noticed: Vec<Problem>,
    /// The same of what was found at the start besides.
    standing: Vec<Problem>,
    published: Arc<Published>,
    observed: Observed,
    /// What is sent to collectors.
    exports: Exports,
    workers: Workers,
    /// What the API's answers are made of.
    sources: api::Sources,
    terminating: CancellationToken,
    resolvers: acme::Setup,
}

/// How requests, and we ourselves, are observed.
#[derive(Default)]
struct Observed {
    access_log: Option<Arc<AccessLog>>,
    /// Those before it that requests may still have.
    before: Vec<Weak<AccessLog>>,
    tracing: Option<Arc<Policy>>,
    /// What waits for collectors of the log and of the access log.
    log_records: Option<Queue>,
    access_log_records: Option<Queue>,
}

impl Observed {
    /// As the settings say at the start; the log has begun then.
    fn begin(
        settings: &Settings,
        exports: &mut Exports,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let access_log_records = exports.of_access_log(settings)?;
        let mut this = Self { access_log_records, ..Self::default() };
        if let Some(settings) = &settings.access_log {
            let records = this.access_log_records.clone();
            let started = AccessLog::start(settings, records, metrics.lines());
            let (access_log, problems) = started.map_err(|problem| problem.to_string())?;
            warn(&problems);
            this.access_log = Some(access_log);
        }
        tell_of_aliases(settings);
        this.tracing = exports.traces(settings)?;
        exports.metrics(settings)?;
        warn(&exports.problems());
        Ok(this)
    }

    /// All access logs that there are.
    fn access_logs(&self) -> impl Iterator<Item = Arc<AccessLog>> {
        let before = self.before.iter().filter_map(Weak::upgrade);
        before.chain(self.access_log.as_ref().map(Arc::clone))
    }

    fn observers(&self, settings: &Arc<Settings>) -> Observers {
        Observers {
            settings: Arc::clone(settings),
            access_log: self.access_log.clone(),
            tracing: self.tracing.clone(),
        }
    }
}

/// Begins the log, and says what there is to say first.
fn begin_log(read: &Read, exports: &mut Exports) -> Result<Option<Queue>, String> {
    let records = exports.of_log(&read.settings)?;
    let opened = log::open(read.settings.log.as_ref(), records.clone());
    let mut opened = opened.map_err(|problem| problem.to_string())?;
    let unknown = std::mem::take(&mut opened.problems);
    log::begin(opened);
    warn(&unknown);
    warn_unseen(&read.warnings);
    tracing::info!("Wharf version {}", env!("CARGO_PKG_VERSION"));
    tracing::info!("Static configuration loaded from {}", read.source);
    Ok(records)
}

impl Proxy {
    fn new(start: Start, read: Read, handed: Option<Handed>) -> Result<Self, String> {
        let mut exports = Exports::default();
        let log_records = begin_log(&read, &mut exports)?;
        let Read { settings, file, warnings, .. } = read;
        let settings = Arc::new(settings);
        let count = worker_count(&settings);
        let metrics = Metrics::new(&settings.metrics, count);
        let observed = Observed::begin(&settings, &mut exports, &metrics)?;
        let observed = Observed { log_records, ..observed };
        let published = Arc::new(Published::default());
        let terminating = CancellationToken::new();
        let sources = api::Sources {
            published: Arc::clone(&published),
            settings: Arc::clone(&settings),
            metrics: Arc::clone(&metrics),
            started: SystemTime::now(),
            terminating: terminating.clone(),
        };
        let entry_points = listen::entry_points(&settings).map_err(|error| error.to_string())?;
        let (mut resolvers, standing) = look_ups(&settings, &published);
        let context = Arc::new(Context {
            entry_points: Arc::clone(&entry_points),
            metrics: Arc::clone(&metrics),
            internal: api::handlers(&sources),
            certificates: std::mem::take(&mut resolvers.certificates),
            notices: [warnings.clone(), standing.clone()].concat(),
            spiffe: crate::cli::spiffe(&settings)?,
            settings: Arc::clone(&settings),
            workers: count,
        });
        // A health check that comes with the first connection must find `/ping`.
        reconcile::begin(&context, &published);
        let workers = Workers::start(WorkersConfig {
            observers: observed.observers(&settings),
            settings: Arc::clone(&settings),
            entry_points,
            workers: count,
            published: Arc::clone(&published),
            metrics,
            handed,
        });
        let workers = workers.map_err(|error| error.to_string())?;
        for (entry_point, address) in context.entry_points.iter().zip(workers.addresses()) {
            tracing::info!("entry point {} listens on {address}", entry_point.name);
        }
        Ok(Self {
            start,
            file,
            contexts: watch::Sender::new(Arc::clone(&context)),
            context,
            latest: watch::Sender::new(settings),
            noticed: warnings,
            standing,
            published,
            observed,
            exports,
            workers,
            sources,
            terminating,
            resolvers,
        })
    }

    fn run(self, stopping: &CancellationToken, passing: Passing) -> ExitCode {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("control")
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(self.control(stopping, passing)),
            Err(error) => {
                eprintln!("wharf: start the control thread: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// The resolvers of certificates, and what is to be said of all that looks something up.
fn look_ups(settings: &Settings, published: &Published) -> (acme::Setup, Vec<Problem>) {
    let mut resolvers = acme::open(settings, published.acme());
    resolvers.problems.extend(listen::check_aliases(settings.host_resolver.as_ref()));
    warn(&resolvers.problems);
    let standing = std::mem::take(&mut resolvers.problems);
    (resolvers, standing)
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
