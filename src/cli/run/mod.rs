//! `wharf run`: puts all parts together, waits for signals, takes everything down in order.

mod control;
mod tasks;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions};
use tokio_util::sync::CancellationToken;

use super::exports::Exports;
use super::upgrade::{COMMAND, Program, Taking};
use crate::acme;
use crate::api;
use crate::compile::Context;
use crate::control::reconcile;
use crate::listen::{self, Handed, Workers, WorkersConfig};
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
        .and_then(|read| Proxy::new(read, handed).map_err(|text| vec![text]));
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

fn access_log(
    settings: &Settings,
    records: Option<Queue>,
) -> Result<Option<Arc<AccessLog>>, Problem> {
    let Some(settings) = &settings.access_log else { return Ok(None) };
    let (access_log, problems) = AccessLog::start(settings, records)?;
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

/// What there is to do with other processes.
struct Passing {
    /// What is started to follow this one; `None`: nothing may.
    program: Option<Program>,
    /// The process that this one follows.
    taking: Option<Taking>,
}

/// Everything, listening but not yet told what to serve.
struct Proxy {
    context: Arc<Context>,
    published: Arc<Published>,
    access_log: Option<Arc<AccessLog>>,
    /// What is sent to collectors.
    exports: Exports,
    workers: Workers,
    terminating: CancellationToken,
    resolvers: acme::Setup,
}

impl Proxy {
    fn new(read: Read, handed: Option<Handed>) -> Result<Self, String> {
        let Read { settings, source, warnings } = read;
        let started = SystemTime::now();
        let text = |problem: Problem| problem.to_string();
        let mut exports = Exports::default();
        let records = exports.of_log(&settings)?;
        warn(&log::init(settings.log.as_ref(), records).map_err(text)?);
        warn_unseen(&warnings);
        tracing::info!("Wharf version {}", env!("CARGO_PKG_VERSION"));
        tracing::info!("Static configuration loaded from {source}");
        let records = exports.of_access_log(&settings)?;
        let access_log = access_log(&settings, records).map_err(text)?;
        tell_of_aliases(&settings);
        let tracing = exports.traces_and_metrics(&settings)?;
        warn(&exports.problems());
        let settings = Arc::new(settings);
        let count = worker_count(&settings);
        let metrics = Metrics::new(&settings.metrics, count);
        exports.show_unsent(&metrics);
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
            handed,
        };
        let mut resolvers = acme::open(&settings, published.acme());
        resolvers.problems.extend(listen::check_aliases(settings.host_resolver.as_ref()));
        warn(&resolvers.problems);
        let mut notices = warnings;
        notices.append(&mut resolvers.problems);
        let context = Context {
            entry_points,
            metrics,
            internal,
            certificates: std::mem::take(&mut resolvers.certificates),
            notices,
            spiffe: crate::cli::spiffe(&settings)?,
            settings,
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
