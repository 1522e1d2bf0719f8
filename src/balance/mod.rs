//! Services at run time: replica cells, picking, stickiness, health, holding, retrying.
//! Must never know labels or containers' settings.

mod account;
mod answer;
mod budget;
pub mod checks;
mod children;
mod copy;
pub mod deploy;
mod deploying;
mod drain;
mod failover;
mod forward;
mod generation;
mod generations;
mod group;
mod health;
mod highest;
mod hold;
mod mirror;
mod outlier;
mod probe;
mod ramp;
mod replica;
mod rotation;
mod settings;
mod split;
mod state;
mod sticky;
pub mod strategy;
mod switch;
#[cfg(test)]
mod tests;
mod times;
mod weighted;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use http::{Request, Response};
use tokio::time::Instant;

use crate::message::{Body, Exchange, Handler};
use crate::observe;
use crate::upstream::{Server, Transport};
use account::Account;
use forward::LoadBalancer;
use generations::Member;
use group::Group;
use highest::Highest;
use mirror::{Mirroring, Traffic};
use weighted::Weighted;

pub use children::Child;
pub use deploy::{Deploy, DeployRules};
pub use failover::{ErrorSettings, FailoverSettings};
pub use generation::{BackOff, Generation, GenerationState};
pub use mirror::MirroringSettings;
pub use replica::Replica;
pub use settings::{
    ContainerSettings, CookieSettings, HealthCheckSettings, HoldSettings, LoadBalancerSettings,
    PassiveSettings, ServerSettings,
};
pub use state::{Change, EngineState, ReplicaState};
pub use sticky::default_name as sticky_name;
pub use strategy::Strategy;

/// A service that requests are sent to. Shared by all workers; what lives longer than its
/// settings (servers' states, turns, those who wait) is carried over from one table to the
/// next.
pub struct Service {
    /// Qualified name: `web@docker`.
    pub name: Arc<str>,
    /// Its metrics.
    pub metrics: observe::Requests,
    kind: Kind,
}

enum Kind {
    LoadBalancer(Arc<LoadBalancer>),
    Weighted(Weighted),
    Highest(Highest),
    Mirroring(Mirroring),
    Failover(FailoverSettings),
    /// Another service behind what its requests go through first.
    Fronted(Arc<dyn Front>, Arc<Service>),
    Internal(Arc<dyn Handler>),
}

/// What all requests to a service go through first: the middlewares of its own.
pub trait Front: Send + Sync {
    /// Takes a request to the service, and its answer back.
    fn call<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Request<Body>,
        service: &'a Service,
    ) -> LocalBoxFuture<'a, Response<Body>>;
}

impl Service {
    /// Servers behind one name. Cells of servers that `previous` had too (same URL and
    /// container) are carried over. The error names the server URL that is wrong.
    pub fn load_balancer(
        name: Arc<str>,
        settings: LoadBalancerSettings,
        transport: &Arc<Transport>,
        metrics: observe::Requests,
        previous: Option<&Arc<Service>>,
    ) -> Result<Arc<Self>, String> {
        let previous = previous.and_then(|service| service.balancer());
        let group = previous
            .map_or_else(|| Group::new(Arc::clone(&name)), |previous| Arc::clone(&previous.group));
        let mut members = Vec::with_capacity(settings.servers.len());
        for server in &settings.servers {
            let old = previous.and_then(|previous| previous.replica(server));
            members.push(Member {
                replica: replica(server, transport, &group, previous, old)?,
                weight: children::share(server.weight),
                deploy: server.container.as_ref().and_then(|container| container.deploy.clone()),
            });
        }
        for member in &members {
            member.replica.set_checked(settings.health_check.is_some());
        }
        let replicas = members.iter().map(|member| Arc::clone(&member.replica)).collect();
        group.set_members(members, settings.slow_start);
        let cookie = settings.sticky.as_ref().map(|cookie| sticky::Cookie::new(cookie, &name));
        let balancer = LoadBalancer {
            transport: Arc::clone(transport),
            replicas,
            group,
            metrics: metrics.clone(),
            cookie,
            settings,
        };
        Ok(Arc::new(Self { name, metrics, kind: Kind::LoadBalancer(Arc::new(balancer)) }))
    }

    /// A share of the requests for each child. With `follow_health`, children that are down
    /// get none.
    pub fn weighted(
        name: Arc<str>,
        children: Vec<Child>,
        follow_health: bool,
        sticky: Option<&CookieSettings>,
        metrics: observe::Requests,
    ) -> Arc<Self> {
        let kind = Kind::Weighted(Weighted::new(&name, children, follow_health, sticky));
        Arc::new(Self { name, metrics, kind })
    }

    /// A child for each client address.
    pub fn highest_random_weight(
        name: Arc<str>,
        children: Vec<Child>,
        follow_health: bool,
        metrics: observe::Requests,
    ) -> Arc<Self> {
        Arc::new(Self { name, metrics, kind: Kind::Highest(Highest::new(children, follow_health)) })
    }

    /// A service whose requests are copied to others. Percentages go on where `previous`,
    /// of the same name, left off.
    pub fn mirroring(
        name: Arc<str>,
        settings: MirroringSettings,
        metrics: observe::Requests,
        previous: Option<&Arc<Service>>,
    ) -> Arc<Self> {
        let traffic = previous.and_then(|service| {
            let Kind::Mirroring(before) = &Self::behind(service).kind else { return None };
            Some(Arc::clone(&before.traffic))
        });
        let traffic = traffic.unwrap_or_else(|| Traffic::new(&settings.dropped));
        Arc::new(Self { name, metrics, kind: Kind::Mirroring(Mirroring { settings, traffic }) })
    }

    /// A service with a second one for when it is down.
    pub fn failover(
        name: Arc<str>,
        settings: FailoverSettings,
        metrics: observe::Requests,
    ) -> Arc<Self> {
        Arc::new(Self { name, metrics, kind: Kind::Failover(settings) })
    }

    /// A service whose requests go through `front` first.
    pub fn fronted(front: Arc<dyn Front>, service: Arc<Service>) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::clone(&service.name),
            metrics: service.metrics.clone(),
            kind: Kind::Fronted(front, service),
        })
    }

    /// Something inside Wharf.
    pub fn internal(
        name: Arc<str>,
        handler: Arc<dyn Handler>,
        metrics: observe::Requests,
    ) -> Arc<Self> {
        Arc::new(Self { name, metrics, kind: Kind::Internal(handler) })
    }

    /// Whether it is just this inside Wharf.
    pub fn is_internal(&self, handler: &Arc<dyn Handler>) -> bool {
        matches!(&self.kind, Kind::Internal(own) if Arc::ptr_eq(own, handler))
    }

    /// Answers a request: picks a server, sends, retries where that is safe, or answers
    /// with the proxy's own 502, 503 or 504. Counts the service's metrics.
    pub async fn call(&self, exchange: &mut Exchange, request: Request<Body>) -> Response<Body> {
        match &self.kind {
            Kind::LoadBalancer(balancer) => forward::forward(balancer, exchange, request).await,
            Kind::Weighted(weighted) => weighted.call(exchange, request).await,
            Kind::Highest(highest) => highest.call(exchange, request).await,
            Kind::Mirroring(mirroring) => mirroring.call(exchange, request).await,
            Kind::Failover(failover) => failover.call(exchange, request).await,
            Kind::Fronted(front, service) => front.call(exchange, request, service).await,
            Kind::Internal(handler) if !self.metrics.is_on() => handler.handle(exchange, request),
            Kind::Internal(handler) => {
                let mut request = request;
                let account = Account::internal(&self.metrics, exchange, &mut request);
                account.answer(handler.handle(exchange, request))
            }
        }
    }

    /// A server takes requests; of a service of services, one of theirs.
    pub fn is_up(&self) -> bool {
        match &self.kind {
            Kind::LoadBalancer(balancer) => !balancer.group.rotation.load().ready.is_empty(),
            Kind::Weighted(weighted) => weighted.children.is_up(),
            Kind::Highest(highest) => highest.children.is_up(),
            Kind::Mirroring(mirroring) => mirroring.settings.main.is_up(),
            Kind::Failover(failover) => failover.is_up(),
            Kind::Fronted(_, service) => service.is_up(),
            Kind::Internal(_) => true,
        }
    }

    /// The service behind its front, where it has one; else itself.
    pub fn behind(this: &Arc<Self>) -> &Arc<Self> {
        if let Kind::Fronted(_, service) = &this.kind { service } else { this }
    }

    /// Its servers; none unless it is a load balancer.
    pub fn replicas(&self) -> &[Arc<Replica>] {
        self.balancer().map_or(&[], |balancer| &balancer.replicas)
    }

    /// It has active health checks, so the API shows its servers' states.
    pub fn is_checked(&self) -> bool {
        self.health_check().is_some()
    }

    /// Requests that wait for a server now.
    pub fn waiting(&self) -> usize {
        self.balancer().map_or(0, |balancer| balancer.group.waiting())
    }

    /// The generations of its servers, newest first; none where there is nothing to tell of
    /// them: one alone, without labels of a deploy.
    pub fn generations(&self) -> Vec<Generation> {
        let balancer = self.balancer().filter(|_| self.has_generations());
        balancer.map_or_else(Vec::new, |balancer| balancer.group.generations())
    }

    /// Its servers, each with its generation, where generations can be told apart.
    pub fn by_generation(&self) -> impl Iterator<Item = (&Arc<Replica>, Option<&Arc<str>>)> {
        self.balancer().into_iter().flat_map(|balancer| {
            balancer
                .replicas
                .iter()
                .zip(balancer.settings.servers.iter().map(ServerSettings::generation))
        })
    }

    /// Whether there is something to tell of its servers' generations.
    pub fn has_generations(&self) -> bool {
        self.balancer().is_some_and(|balancer| balancer.group.has_generations())
    }

    /// Takes the counts of the generations now, and backs off from the newest if it fails.
    fn look_at_generations(&self, now: Instant) {
        if let Some(balancer) = self.balancer() {
            balancer.group.look(now);
        }
    }

    /// Whether a server is one of the newest generation, and requests are split between that
    /// and the older ones.
    fn is_apart(&self, replica: &Arc<Replica>) -> bool {
        self.balancer().is_some_and(|balancer| {
            let rotation = balancer.group.rotation.load();
            rotation.split.as_ref().is_some_and(|split| split.is_newest(replica))
        })
    }

    /// Its servers are watched for ones that fail where the others do not. Where clients stay
    /// with a server, the requests of one are not like those of the others; and what
    /// `passiveHealthCheck` says goes first.
    fn watches_outliers(&self) -> bool {
        self.balancer().is_some_and(|balancer| {
            balancer.settings.outlier_ejection
                && balancer.settings.passive.is_none()
                && balancer.replicas.len() > 1
        })
    }

    /// Takes a server out until then, unless too many are out already.
    fn eject(&self, replica: &Arc<Replica>, until: Instant, why: Arc<str>) -> bool {
        self.balancer().is_some_and(|balancer| balancer.group.eject(replica, until, why))
    }

    /// The requests to each of its servers are like those to the others.
    fn spreads_evenly(&self) -> bool {
        self.balancer().is_some_and(|balancer| {
            balancer.cookie.is_none() && balancer.settings.strategy != Strategy::Rendezvous
        })
    }

    fn health_check(&self) -> Option<(&HealthCheckSettings, &Arc<Transport>)> {
        let balancer = self.balancer()?;
        Some((balancer.settings.health_check.as_ref()?, &balancer.transport))
    }

    fn balancer(&self) -> Option<&Arc<LoadBalancer>> {
        match &self.kind {
            Kind::LoadBalancer(balancer) => Some(balancer),
            Kind::Fronted(_, service) => service.balancer(),
            Kind::Weighted(_)
            | Kind::Highest(_)
            | Kind::Mirroring(_)
            | Kind::Failover(_)
            | Kind::Internal(_) => None,
        }
    }
}

impl LoadBalancer {
    /// The cell of a server, if it is the same one: same URL, same container.
    fn replica(&self, server: &ServerSettings) -> Option<&Arc<Replica>> {
        let container = server.container.as_ref().map(|container| &container.id);
        self.replicas
            .iter()
            .find(|old| *old.url == *server.url && old.container.as_ref() == container)
    }
}

fn replica(
    settings: &ServerSettings,
    transport: &Arc<Transport>,
    group: &Arc<Group>,
    previous: Option<&Arc<LoadBalancer>>,
    old: Option<&Arc<Replica>>,
) -> Result<Arc<Replica>, String> {
    let is_same = |previous: &Arc<LoadBalancer>| {
        let before = previous.settings.servers.iter().find(|before| {
            before.url == settings.url
                && before.container.as_ref().map(|container| &container.id)
                    == settings.container.as_ref().map(|container| &container.id)
        });
        Arc::ptr_eq(&previous.transport, transport)
            && before.is_some_and(|before| {
                before.preserve_path == settings.preserve_path
                    && before.container.as_ref().map(|c| c.has_health_check)
                        == settings.container.as_ref().map(|c| c.has_health_check)
            })
    };
    let replica = if let Some(same) = old.filter(|_| previous.is_some_and(is_same)) {
        Arc::clone(same)
    } else {
        let server = Server::parse(&settings.url, settings.preserve_path, transport)?;
        Replica::new(settings, server, group, old)
    };
    if let Some(container) = &settings.container {
        replica.declare(container.state);
    }
    Ok(replica)
}
