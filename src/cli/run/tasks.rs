//! The tasks of the control thread.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Proxy;
use crate::balance::{self, Service};
use crate::compile::Context;
use crate::control::{ocsp, reconcile};
use crate::observe::Metrics;
use crate::provider::{self, Change};
use crate::table::Published;
use crate::{acme, spiffe, tls};

/// Changes that may wait for the reconcile task; a provider that fills it sends one newer
/// list instead.
const CHANGES: usize = 1024;

/// The task that orders certificates.
pub(super) struct Orders {
    pub(super) stop: CancellationToken,
    pub(super) ended: CancellationToken,
}

impl Proxy {
    /// The tasks of the control thread.
    pub(super) fn spawn(
        &mut self,
        loaded: &CancellationToken,
        ending: &CancellationToken,
    ) -> (JoinSet<()>, mpsc::Sender<Change>) {
        let mut tasks = JoinSet::new();
        self.exports.spawn(&mut tasks, &self.context.metrics, ending);
        let (sender, changes) = mpsc::channel(CHANGES);
        let Context { settings, metrics, .. } = &*self.context;
        tasks.spawn_local(reconcile::run(
            self.contexts.subscribe(),
            Arc::clone(&self.published),
            changes,
            loaded.clone(),
            ending.clone(),
        ));
        tasks.spawn_local(balance::checks::run(
            Live(Arc::clone(&self.published)),
            Arc::clone(metrics),
            ending.clone(),
        ));
        tasks.spawn_local(tick(Arc::clone(metrics), ending.clone()));
        if let Some(settings) = settings.ocsp.clone() {
            let published = Arc::clone(&self.published);
            tasks.spawn_local(ocsp::run(settings, published, sender.clone(), ending.clone()));
        }
        // A bad address ended the start.
        if let Some(source) = self.context.spiffe.clone()
            && let Ok(agent) = spiffe::Address::parse(&settings.spiffe.workload_api_addr)
        {
            let provider = Arc::new(default_provider());
            tasks.spawn_local(spiffe::run(source, agent, provider, ending.clone()));
        }
        let latest = || self.latest.subscribe();
        tasks.spawn_local(provider::docker::run(latest(), sender.clone(), ending.clone()));
        tasks.spawn_local(provider::file::run(latest(), sender.clone(), ending.clone()));
        if settings.providers.docker.is_none() && settings.providers.file.is_none() {
            tracing::warn!(
                "no provider is set, so there is nothing to route to; set providers.docker \
                 (--providers.docker)"
            );
        }
        (tasks, sender)
    }

    /// Starts ordering certificates, which only one process may do.
    pub(super) fn order(
        &mut self,
        tasks: &mut JoinSet<()>,
        changes: &mpsc::Sender<Change>,
        ending: &CancellationToken,
    ) -> Orders {
        let (stop, ended) = (ending.child_token(), CancellationToken::new());
        let run = acme::run(
            std::mem::take(&mut self.resolvers),
            Live(Arc::clone(&self.published)),
            Arc::clone(self.published.acme()),
            Arc::clone(&self.context.metrics),
            changes.clone(),
            stop.clone(),
        );
        let guard = ended.clone().drop_guard();
        tasks.spawn_local(async move {
            run.await;
            drop(guard);
        });
        Orders { stop, ended }
    }

    /// Reads the resolvers' files again: the process before may have added to them.
    pub(super) async fn read_certificates(&mut self, changes: &mpsc::Sender<Change>) {
        let mut setup = acme::open(&self.context.settings, self.published.acme());
        for (resolver, files) in std::mem::take(&mut setup.certificates) {
            // Nobody receives any more when everything ends.
            let _ = changes.send(Change::Certificates { resolver, files }).await;
        }
        self.resolvers = setup;
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
