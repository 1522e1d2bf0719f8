//! What is sent to OpenTelemetry's collectors: by the settings, and as tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::control::export::{self, Target};
use crate::message::trace::Policy;
use crate::observe::{self, Metrics};
use crate::otlp::{self, Queue, Queued, Signal};
use crate::problem::Problem;
use crate::settings::{GoDuration, LogsOtlp, MetricsOtlp, Settings};

/// What is sent to collectors.
#[derive(Debug, Default)]
pub(super) struct Exports {
    /// What is to be sent from now on.
    new: Vec<Export>,
    /// What is sent, by signal; its token ends it, when what waits was sent.
    running: BTreeMap<&'static str, CancellationToken>,
    /// Who is told the metrics, and how often.
    metrics: Option<(Target, GoDuration)>,
}

/// A collector, and what waits for it.
#[derive(Debug)]
struct Export {
    /// How metrics name it.
    name: &'static str,
    target: Target,
    queued: Queued,
}

/// How often it is looked whether anybody still adds to what is sent.
const LOOK: Duration = Duration::from_millis(100);

pub(super) const TRACES: &str = "traces";
pub(super) const LOGS: &str = "logs";
pub(super) const ACCESS_LOGS: &str = "access_logs";

impl Exports {
    /// Spans by the settings, and how requests are traced.
    pub(super) fn traces(&mut self, settings: &Settings) -> Result<Option<Arc<Policy>>, String> {
        let Some(traces) = &settings.tracing else { return Ok(None) };
        let (policy, queued) = observe::traces(traces).map_err(|problem| problem.to_string())?;
        let resource = observe::traces_resource(traces);
        let target = Target::new("tracing.otlp", Signal::Traces, traces.otlp.as_ref(), resource)?;
        self.new.push(Export { name: TRACES, target, queued });
        Ok(Some(policy))
    }

    /// Metrics by the settings.
    pub(super) fn metrics(&mut self, settings: &Settings) -> Result<(), String> {
        if let Some(otlp) = &settings.metrics.otlp {
            self.metrics = Some((metrics(otlp)?, otlp.push_interval));
        }
        Ok(())
    }

    /// What of the environment does not mean what it does to Traefik.
    pub(super) fn problems(&self) -> Vec<Problem> {
        if self.new.is_empty() && self.metrics.is_none() {
            return Vec::new();
        }
        observe::environment_problems(std::env::vars())
    }

    /// A queue for records of the log, if a collector is to be told.
    pub(super) fn of_log(&mut self, settings: &Settings) -> Result<Option<Queue>, String> {
        let otlp = settings.log.as_ref().and_then(|log| log.otlp.as_ref());
        self.records(LOGS, "log.otlp", otlp)
    }

    /// The same of the access log.
    pub(super) fn of_access_log(&mut self, settings: &Settings) -> Result<Option<Queue>, String> {
        let otlp = settings.access_log.as_ref().and_then(|log| log.otlp.as_ref());
        self.records(ACCESS_LOGS, "accessLog.otlp", otlp)
    }

    fn records(
        &mut self,
        name: &'static str,
        option: &str,
        settings: Option<&LogsOtlp>,
    ) -> Result<Option<Queue>, String> {
        let Some(otlp) = settings else { return Ok(None) };
        let resource = observe::resource(&otlp.service_name, &otlp.resource_attributes);
        let target = Target::new(option, Signal::Logs, Some(&otlp.collector()), resource)?;
        let (queue, queued) = otlp::queue();
        self.new.push(Export { name, target, queued });
        Ok(Some(queue))
    }

    /// Begins to send what is new, and has the metrics say how much did not reach its collector.
    pub(super) fn spawn(
        &mut self,
        tasks: &mut JoinSet<()>,
        metrics: &Arc<Metrics>,
        ending: &CancellationToken,
    ) {
        for Export { name, target, queued } in self.new.drain(..) {
            metrics.show_unsent(name, queued.dropped());
            let token = ending.child_token();
            tasks.spawn_local(export::run(target, queued, token.clone()));
            self.running.insert(name, token);
        }
        if let Some((target, every)) = self.metrics.take() {
            tasks.spawn_local(export::push(target, Arc::clone(metrics), every, ending.clone()));
        }
    }

    /// Sends this signal as `new` says, or no longer; what is sent now ends when nobody uses it
    /// any more.
    pub(super) fn replace(
        &mut self,
        name: &'static str,
        new: Self,
        tasks: &mut JoinSet<()>,
        is_used: impl Fn() -> bool + 'static,
    ) {
        if let Some(token) = self.running.remove(name) {
            tasks.spawn_local(async move {
                while is_used() && !token.is_cancelled() {
                    tokio::time::sleep(LOOK).await;
                }
                token.cancel();
            });
        }
        self.new.extend(new.new);
    }
}

fn metrics(otlp: &MetricsOtlp) -> Result<Target, String> {
    let resource = observe::resource(&otlp.service_name, &otlp.resource_attributes);
    Target::new("metrics.otlp", Signal::Metrics, Some(&otlp.collector()), resource)
}
