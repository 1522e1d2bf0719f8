//! What is sent to OpenTelemetry's collectors: by the settings, and as tasks.

use std::sync::Arc;

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
    /// Collectors, what waits for them, and how metrics name it.
    queued: Vec<(&'static str, Target, Queued)>,
    /// Who is told the metrics, and how often.
    metrics: Option<(Target, GoDuration)>,
}

impl Exports {
    /// Those of spans and metrics, by the settings; also how requests are traced.
    pub(super) fn traces_and_metrics(
        &mut self,
        settings: &Settings,
    ) -> Result<Option<Arc<Policy>>, String> {
        let mut policy = None;
        if let Some(traces) = &settings.tracing {
            let (made, queued) = observe::traces(traces).map_err(|problem| problem.to_string())?;
            let resource = observe::traces_resource(traces);
            let collector = traces.otlp.as_ref();
            let target = Target::new("tracing.otlp", Signal::Traces, collector, resource)?;
            self.queued.push(("traces", target, queued));
            policy = Some(made);
        }
        if let Some(otlp) = &settings.metrics.otlp {
            self.metrics = Some((metrics(otlp)?, otlp.push_interval));
        }
        Ok(policy)
    }

    /// What of the environment does not mean what it does to Traefik.
    pub(super) fn problems(&self) -> Vec<Problem> {
        if self.queued.is_empty() && self.metrics.is_none() {
            return Vec::new();
        }
        observe::environment_problems(std::env::vars())
    }

    /// A queue for records of the log, if a collector is to be told.
    pub(super) fn of_log(&mut self, settings: &Settings) -> Result<Option<Queue>, String> {
        let otlp = settings.log.as_ref().and_then(|log| log.otlp.as_ref());
        self.records("logs", "log.otlp", otlp)
    }

    /// The same of the access log.
    pub(super) fn of_access_log(&mut self, settings: &Settings) -> Result<Option<Queue>, String> {
        let otlp = settings.access_log.as_ref().and_then(|log| log.otlp.as_ref());
        self.records("access_logs", "accessLog.otlp", otlp)
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
        self.queued.push((name, target, queued));
        Ok(Some(queue))
    }

    /// Has the metrics say how much did not reach its collector.
    pub(super) fn show_unsent(&self, metrics: &Metrics) {
        for (name, _, queued) in &self.queued {
            metrics.show_unsent(name, queued.dropped());
        }
    }

    /// Starts the tasks that send.
    pub(super) fn spawn(
        self,
        tasks: &mut JoinSet<()>,
        metrics: &Arc<Metrics>,
        ending: &CancellationToken,
    ) {
        for (_, target, queued) in self.queued {
            tasks.spawn_local(export::run(target, queued, ending.clone()));
        }
        if let Some((target, every)) = self.metrics {
            tasks.spawn_local(export::push(target, Arc::clone(metrics), every, ending.clone()));
        }
    }
}

fn metrics(otlp: &MetricsOtlp) -> Result<Target, String> {
    let resource = observe::resource(&otlp.service_name, &otlp.resource_attributes);
    Target::new("metrics.otlp", Signal::Metrics, Some(&otlp.collector()), resource)
}
