//! `wharf check`: reads what the proxy would read, starts nothing, and prints all that would be
//! a problem.

mod compose;
mod project;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::print;
use crate::acme;
use crate::api;
use crate::compile::{self, Certificates, Context};
use crate::control::reconcile;
use crate::labels::{Container, Decoder};
use crate::listen;
use crate::model::Desired;
use crate::observe::Metrics;
use crate::problem::{Code, Origin, Problem, Severity};
use crate::provider::{self, Change};
use crate::settings::{Docker, Read, Settings, Start, part, read};
use crate::table::{Published, Table};

use compose::Compose;
use project::Planned;
use report::{Format, Report};

/// What stands for a port that only the image knows.
const SOME_PORT: u16 = 80;

/// Runs it with the arguments after its word.
pub(super) fn command(arguments: &[String]) -> ExitCode {
    let asked = match Asked::read(arguments) {
        Ok(asked) => asked,
        Err(text) => {
            eprintln!("wharf: {text}");
            return ExitCode::FAILURE;
        }
    };
    let report = look(&asked);
    let status = print(&report.text(asked.format));
    if report.is_sound() { status } else { ExitCode::FAILURE }
}

struct Asked {
    format: Format,
    /// For the static configuration.
    flags: Vec<String>,
    files: Vec<PathBuf>,
}

impl Asked {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut format = Format::Text;
        let mut rest = Vec::new();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value = match word.strip_prefix("--format") {
                Some("") => words.next().map(String::as_str).unwrap_or_default(),
                Some(value) if value.starts_with('=') => value.trim_start_matches('='),
                Some(_) | None => {
                    rest.push(word.clone());
                    continue;
                }
            };
            format = match value {
                "text" => Format::Text,
                "json" => Format::Json,
                other => return Err(format!("check: no format {other:?}; use text or json")),
            };
        }
        let (flags, files) = part(&rest);
        Ok(Self { format, flags, files: files.into_iter().map(PathBuf::from).collect() })
    }
}

/// Everything that would be a problem.
fn look(asked: &Asked) -> Report {
    let start = Start::with_arguments(&asked.flags);
    let Read { mut settings, source, warnings, .. } = match read(&start) {
        Ok(read) => read,
        // Without the static configuration everything else would be guessing.
        Err(problems) => return Report::new(problems, None),
    };
    let mut problems = warnings;
    let compose = match &*asked.files {
        [] => None,
        files => match compose::read(files) {
            Ok(compose) => Some(compose),
            Err(problem) => {
                problems.push(problem);
                return Report::new(problems, None);
            }
        },
    };
    assume_docker(&mut settings, &source, compose.is_some(), &mut problems);
    if let Some(compose) = &compose {
        unread_flags(&source, compose, &mut problems);
    }
    let settings = Arc::new(settings);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let desired = match runtime {
        Ok(runtime) => runtime.block_on(desired(&settings, compose.as_ref(), &mut problems)),
        Err(error) => {
            let text = format!("start the control thread: {error}");
            problems.push(Problem::error(Code::Engine, Origin::Internal, text));
            return Report::new(problems, compose.as_ref());
        }
    };
    match context(settings) {
        Ok(context) => {
            let table = compile::compile(&context, &desired, &Table::default());
            problems.extend(table.problems.iter().cloned());
            problems.extend(compile::unreached(&table));
            problems.extend(compile::dangling(&table));
            problems.extend(acme::crowd(&context.settings, &table.wanted));
            let notes = compile::notes(&context.settings, &table.desired);
            Report::new(problems, compose.as_ref()).counting(&table).noting(notes, compose.as_ref())
        }
        Err(text) => {
            problems.push(Problem::error(Code::BadValue, Origin::Internal, text));
            Report::new(problems, compose.as_ref())
        }
    }
}

/// Whoever asks for labels means them to be read.
fn assume_docker(
    settings: &mut Settings,
    source: &str,
    has_files: bool,
    problems: &mut Vec<Problem>,
) {
    let is_wanted = has_files || settings.providers.file.is_none();
    if settings.providers.docker.is_some() || !is_wanted {
        return;
    }
    settings.providers.docker = Some(Docker::default());
    // Without any static configuration none is meant.
    if source != "defaults" {
        let text = format!("providers.docker is not set in {source}: no label would be read");
        let problem = Problem::warning(Code::Notice, Origin::Internal, text);
        problems.push(problem.mend("set it: `docker: {}` under providers, or --providers.docker"));
    }
}

async fn desired(
    settings: &Arc<Settings>,
    compose: Option<&Compose>,
    problems: &mut Vec<Problem>,
) -> Arc<Desired> {
    let docker = match (compose, &settings.providers.docker) {
        (Some(compose), Some(docker)) => planned(settings, docker, compose, problems).await,
        (None, Some(_)) => from(settings, Provides::Docker).await,
        (_, None) => Arc::default(),
    };
    let file = match settings.providers.file {
        Some(_) => from(settings, Provides::File).await,
        None => Arc::default(),
    };
    reconcile::merged(&docker, &file, &Certificates::new())
}

enum Provides {
    Docker,
    File,
}

/// Without any static configuration, flags in the command of a service were hardly meant to be
/// left out.
fn unread_flags(source: &str, compose: &Compose, problems: &mut Vec<Problem>) {
    if source != "defaults" {
        return;
    }
    for (container, count) in project::proxies(&compose.root) {
        let text = format!(
            "its command holds static configuration ({count} flags), which is not read from there, \
             and no other was given"
        );
        let problem = Problem::warning(Code::Notice, Origin::Container(container), text);
        problems.push(problem.mend("give the same flags to `wharf check`, before the files"));
    }
}

/// What a provider says first; it is not followed any further.
async fn from(settings: &Arc<Settings>, provides: Provides) -> Arc<Desired> {
    let (sender, mut changes) = mpsc::channel(64);
    let (_held, settings) = watch::channel(Arc::clone(settings));
    let token = CancellationToken::new();
    let ended = token.clone();
    let run = async {
        match provides {
            Provides::Docker => provider::docker::run(settings, sender, token).await,
            Provides::File => provider::file::run(settings, sender, token).await,
        }
    };
    let first = async {
        let mut found = None;
        while let Some(change) = changes.recv().await {
            if let Change::Desired(_, desired) = change {
                found = Some(desired);
                break;
            }
        }
        ended.cancel();
        found.unwrap_or_default()
    };
    tokio::join!(run, first).1
}

/// What the containers of a Compose project would want.
async fn planned(
    settings: &Settings,
    docker: &Docker,
    compose: &Compose,
    problems: &mut Vec<Problem>,
) -> Arc<Desired> {
    let images = provider::docker::look(docker, project::images(&compose.root).into_iter()).await;
    let profiles = std::env::var("COMPOSE_PROFILES").unwrap_or_default();
    let mut all = project::containers(&compose.root, &compose.project, &images, &profiles);
    problems.extend(compose.warnings.iter().cloned());
    let first = decoded(settings, docker, &all);
    let unknown = all.iter_mut().filter(|planned| !planned.has_image);
    for Planned { container, .. } in unknown.filter(|one| needs_port(one, &first)) {
        container.exposed = vec![(SOME_PORT, "tcp".to_owned())];
        let text = "the port can't be guessed without the image, which is not here";
        let problem =
            Problem::warning(Code::Port, Origin::Container(container.container.clone()), text);
        problems.push(problem.mend(
            "pull or build the image, or set traefik.http.services.<name>.loadbalancer.server.port",
        ));
    }
    Arc::new(decoded(settings, docker, &all))
}

fn decoded(settings: &Settings, docker: &Docker, all: &[Planned]) -> Desired {
    let mut decoder = Decoder::new(docker, &settings.wharf);
    for Planned { container, .. } in all {
        decoder.update(&Arc::new(Container::clone(container)));
    }
    decoder.desired()
}

/// Whether no port was found for it, and none was written.
fn needs_port(planned: &Planned, desired: &Desired) -> bool {
    let this = Origin::Container(planned.container.container.clone());
    desired.problems.iter().any(|problem| {
        problem.code == Code::Port && problem.severity == Severity::Error && problem.origin == this
    })
}

/// What compiling needs; nothing in it runs or listens.
fn context(settings: Arc<Settings>) -> Result<Context, String> {
    let entry_points = listen::entry_points(&settings).map_err(|error| error.to_string())?;
    let metrics = Metrics::new(&settings.metrics, 1);
    let internal = api::handlers(&api::Sources {
        published: Arc::new(Published::default()),
        settings: Arc::clone(&settings),
        metrics: Arc::clone(&metrics),
        started: SystemTime::now(),
        terminating: CancellationToken::new(),
    });
    let mut notices = acme::check(&settings);
    notices.extend(listen::check_aliases(settings.host_resolver.as_ref()));
    let certificates = Certificates::new();
    let spiffe = super::spiffe(&settings)?;
    let workers = 1;
    Ok(Context {
        settings,
        entry_points,
        metrics,
        internal,
        certificates,
        notices,
        spiffe,
        workers,
    })
}
