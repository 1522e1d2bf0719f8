//! The static configuration read again, on SIGHUP, for `wharf reload`, or since its file has
//! changed: what a running process can take over is taken over, the rest is said to need an
//! upgrade. With a mistake in it nothing changes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::control::Course;
use super::{Proxy, warn};
use crate::api;
use crate::cli::exports::{self, Exports};
use crate::cli::reload::{Report, Verdict};
use crate::compile::Context;
use crate::control::aside::aside;
use crate::listen;
use crate::message::trace::Policy;
use crate::observe::{AccessLog, log};
use crate::otlp::Queue;
use crate::problem::{Code, Origin, Problem, Severity};
use crate::provider;
use crate::settings::{self, Compared, Difference, Needs, Read, Settings, read};

/// For the configuration's file system to answer.
const READ: Duration = Duration::from_secs(10);

/// All that can fail has been done; what is `Same` stays as it is.
struct Next {
    read: Read,
    settings: Arc<Settings>,
    differences: Vec<Difference>,
    log: Change<(log::Ready, Option<Queue>)>,
    access_log: Change<(Option<Arc<AccessLog>>, Option<Queue>)>,
    tracing: Change<Option<Arc<Policy>>>,
    /// By signal: what is sent instead of what is sent now.
    exports: Vec<(&'static str, Exports)>,
    /// Values that nobody knows.
    unknown: Vec<Problem>,
}

enum Change<T> {
    Same,
    To(T),
}

impl Proxy {
    /// Reads the static configuration again and takes over what can be.
    pub(super) async fn reload(&mut self, on: &mut Course) -> Report {
        let read = self.read_again().await;
        let next = read.and_then(|read| self.next(read)).and_then(|mut next| {
            for problem in &mut next.unknown {
                // At a start these are but warnings: there is nothing before it that could go on.
                problem.severity = Severity::Error;
            }
            if next.unknown.is_empty() { Ok(next) } else { Err(next.unknown) }
        });
        match next {
            Ok(next) => self.turn(next, on),
            Err(mistakes) => self.refuse(&mistakes),
        }
    }

    /// Reads from where it was read from. What comes instead of a file that is gone, be it
    /// another or nothing, is not what anybody meant to put in force.
    async fn read_again(&self) -> Result<Read, Vec<Problem>> {
        let (start, file) = (self.start.clone(), self.file.clone());
        let work = move || {
            file.as_deref().map_or(Ok(()), is_there)?;
            let read = read(&start)?;
            match (file, &read.file) {
                (Some(file), now) if now.as_ref() != Some(&file) => {
                    let text = format!("is no longer what is read first: {} is", read.source);
                    let mend = "remove the other one, or run `wharf upgrade` to go over to it";
                    Err(vec![file_error(&file, text, mend)])
                }
                _ => Ok(read),
            }
        };
        let took_too_long = |_| {
            let text = format!("reading it takes longer than {} s", READ.as_secs());
            let mend = "see whether the file system that it is on answers";
            match &self.file {
                Some(file) => vec![file_error(file, text, mend)],
                None => mistake(&format!("the static configuration: {text}")),
            }
        };
        let read = timeout(READ, aside(work)).await.map_err(took_too_long)?;
        read.unwrap_or_else(|| Err(mistake("no thread can be started to read it")))
    }

    /// Everything that can go wrong with what was read.
    fn next(&self, read: Read) -> Result<Next, Vec<Problem>> {
        check(&read.settings)?;
        let compared = settings::compare(&self.context.settings, &read.settings);
        let Compared { adopted, differences } =
            compared.map_err(|error| mistake(&error.to_string()))?;
        let is_new = |one: &&Problem| one.code == Code::BadValue && !self.noticed.contains(one);
        let mut next = Next {
            unknown: read.warnings.iter().filter(is_new).cloned().collect(),
            read,
            settings: Arc::new(adopted),
            differences,
            log: Change::Same,
            access_log: Change::Same,
            tracing: Change::Same,
            exports: Vec::new(),
        };
        self.observed_by(&mut next).map_err(|problem| vec![problem])?;
        Ok(next)
    }

    /// Opens what is to be written to and sent from now on.
    fn observed_by(&self, next: &mut Next) -> Result<(), Problem> {
        let text = |text: String| Problem::error(Code::BadValue, Origin::Internal, text);
        let (is, was) = (&*next.settings, &*self.context.settings);
        let mut exported =
            |name: &'static str, exports: Exports| next.exports.push((name, exports));
        if is.log != was.log {
            let mut records = self.observed.log_records.clone();
            if is.log.as_ref().map(|log| &log.otlp) != was.log.as_ref().map(|log| &log.otlp) {
                let mut exports = Exports::default();
                records = exports.of_log(is).map_err(text)?;
                exported(exports::LOGS, exports);
            }
            let mut ready = log::open(is.log.as_ref(), records.clone())?;
            next.unknown.append(&mut ready.problems);
            next.log = Change::To((ready, records));
        }
        if is.access_log != was.access_log {
            let mut records = self.observed.access_log_records.clone();
            let otlp = |log: &settings::AccessLog| log.otlp.clone();
            if is.access_log.as_ref().map(otlp) != was.access_log.as_ref().map(otlp) {
                let mut exports = Exports::default();
                records = exports.of_access_log(is).map_err(text)?;
                exported(exports::ACCESS_LOGS, exports);
            }
            let lines = self.context.metrics.lines();
            let start = |log| AccessLog::start(log, records.clone(), lines);
            let (log, mut unknown) = is.access_log.as_ref().map(start).transpose()?.unzip();
            next.unknown.append(unknown.get_or_insert_default());
            next.access_log = Change::To((log, records));
        }
        if is.tracing != was.tracing {
            let mut exports = Exports::default();
            next.tracing = Change::To(exports.traces(is).map_err(text)?);
            exported(exports::TRACES, exports);
        }
        Ok(())
    }

    /// Takes over what there is to take over.
    fn turn(&mut self, next: Next, on: &mut Course) -> Report {
        let origin = next.read.file.as_ref().map_or(Origin::Internal, Origin::file);
        let (waiting, taken): (Vec<_>, Vec<_>) =
            next.differences.iter().partition(|one| one.needs == Needs::Upgrade);
        let waiting: Vec<_> = waiting.into_iter().map(|one| waits(one, origin.clone())).collect();
        let taken = taken.into_iter();
        let taken: Vec<_> =
            taken.map(|one| format!("`{}`: {} -> {}", one.option, one.before, one.now)).collect();
        self.noticed = [&*next.read.warnings, &waiting].concat();
        let notices = [&*self.noticed, &self.standing].concat();
        let settings = Arc::clone(&next.settings);
        let mut context = Context { notices, ..Context::clone(&self.context) };
        if *settings != *self.context.settings {
            self.observe(next, on);
            self.sources.settings = Arc::clone(&settings);
            context.internal = api::handlers(&self.sources);
            context.settings = settings;
            self.publish(context);
        } else if context.notices != self.context.notices {
            self.publish(context);
        }
        for line in &taken {
            tracing::info!("static configuration: {line}");
        }
        warn(&waiting);
        let verdict = if waiting.is_empty() { Verdict::Taken } else { Verdict::Waits };
        let waiting = waiting.iter().map(ToString::to_string);
        Report { verdict, lines: taken.into_iter().chain(waiting).collect() }
    }

    /// Logs, counts and traces by the next settings from now on.
    fn observe(&mut self, next: Next, on: &mut Course) {
        let observed = &mut self.observed;
        // What was sent so far is sent until nobody adds to it any more.
        let (lines, spans) = (
            observed.access_log.as_ref().map(Arc::downgrade),
            observed.tracing.as_ref().map(Arc::downgrade),
        );
        if let Change::To((ready, records)) = next.log {
            log::begin(ready);
            observed.log_records = records;
        }
        if let Change::To((access_log, records)) = next.access_log {
            observed.before.retain(|one| one.strong_count() > 0);
            observed.before.extend(lines.clone());
            observed.access_log = access_log;
            observed.access_log_records = records;
        }
        if let Change::To(tracing) = next.tracing {
            observed.tracing = tracing;
        }
        if next.settings.metrics != self.context.settings.metrics {
            self.context.metrics.change(&next.settings.metrics);
        }
        self.workers.observe(self.observed.observers(&next.settings));
        for (name, exports) in next.exports {
            let (lines, spans) = (lines.clone(), spans.clone());
            let is_used = move || match name {
                exports::TRACES => spans.as_ref().is_some_and(|one| one.strong_count() > 0),
                exports::ACCESS_LOGS => lines.as_ref().is_some_and(|one| one.strong_count() > 0),
                _ => false,
            };
            warn(&exports.problems());
            self.exports.replace(name, exports, &mut on.tasks, is_used);
        }
        self.exports.spawn(&mut on.tasks, &self.context.metrics, &on.ending);
    }

    /// Nothing changes but what is said about it.
    fn refuse(&mut self, mistakes: &[Problem]) -> Report {
        for mistake in mistakes {
            tracing::error!("{mistake}");
        }
        let text = "the static configuration has mistakes; what was in force stays in force";
        tracing::error!("{text}");
        let notices = [mistakes, &self.noticed, &self.standing].concat();
        if notices != self.context.notices {
            self.publish(Context { notices, ..Context::clone(&self.context) });
        }
        let lines = mistakes.iter().map(ToString::to_string).chain([text.to_owned()]);
        Report { verdict: Verdict::Mistake, lines: lines.collect() }
    }

    fn publish(&mut self, context: Context) {
        self.context = Arc::new(context);
        // First who compiles: what a provider says next belongs to these settings.
        self.contexts.send_replace(Arc::clone(&self.context));
        self.latest.send_if_modified(|latest| {
            let is_other = !Arc::ptr_eq(latest, &self.context.settings);
            latest.clone_from(&self.context.settings);
            is_other
        });
    }
}

/// What a start would refuse.
fn check(settings: &Settings) -> Result<(), Vec<Problem>> {
    let providers = &settings.providers;
    let docker = providers.docker.as_ref().map(provider::docker::check);
    let file = providers.file.as_ref().map(provider::file::check);
    let found: Vec<_> = [docker, file].into_iter().flatten().filter_map(Result::err).collect();
    if !found.is_empty() {
        return Err(found);
    }
    let points = listen::entry_points(settings);
    points.map_err(|error| mistake(&error.to_string()))?;
    crate::cli::spiffe(settings).map_err(|text| mistake(&text))?;
    Ok(())
}

/// The file must be one that can be read twice.
fn is_there(file: &Path) -> Result<(), Vec<Problem>> {
    let why = match std::fs::metadata(file) {
        Ok(found) if found.is_file() => return Ok(()),
        Ok(_) => "is no regular file, so that it can't be read again".to_owned(),
        Err(error) => format!("can't be read any more: {error}"),
    };
    Err(vec![file_error(file, why, "put it back, or run `wharf upgrade` to go on without it")])
}

fn file_error(file: &Path, text: String, mend: &'static str) -> Problem {
    Problem::error(Code::File, Origin::file(file), text).mend(mend)
}

fn mistake(text: &str) -> Vec<Problem> {
    vec![Problem::error(Code::BadValue, Origin::Internal, text)]
}

/// What is said of an option that needs an upgrade.
fn waits(difference: &Difference, origin: Origin) -> Problem {
    let Difference { option, before, now, .. } = difference;
    let text = format!("`{option}` has changed ({before} -> {now}), which needs a new process");
    let mend = "run `wharf upgrade`; in a container start a new one, as docs/upgrade.md says";
    Problem::warning(Code::Notice, origin, text).mend(mend)
}
