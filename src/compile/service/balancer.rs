//! Load balancers as declared to load balancers at run time, and their transports.

use std::sync::Arc;

use super::Services;
use super::composite::Work;
use crate::balance::{
    self, ContainerSettings, CookieSettings, EngineState, HealthCheckSettings, HoldSettings,
    LoadBalancerSettings, PassiveSettings, ServerSettings, strategy,
};
use crate::compile::report::{Fault, known_names, origin, qualify};
use crate::compile::{Context, transport};
use crate::model::{
    Cookie, HealthCheck, Hold, LoadBalancer, Name, Provider, ReplicaFacts, ReplicaState, Server,
    Sticky,
};
use crate::problem::{Code, Origin, Problem};
use crate::settings::GoDuration;
use crate::upstream::Transport;

impl Services<'_> {
    pub(super) fn load_balancer(
        &mut self,
        work: &mut Work<'_, '_>,
        balancer: &LoadBalancer,
    ) -> Result<Arc<balance::Service>, Fault> {
        let (name, source) = (work.name, work.source);
        let transport = self.transport(&balancer.servers_transport, name.provider(), work.problems);
        let (key, transport) = transport.map_err(|fault| in_traefik_words(fault, balancer))?;
        let is_kept = self
            .previous
            .transports
            .get(&key)
            .is_some_and(|before| Arc::ptr_eq(before, &transport));
        if is_kept && let Some(service) = self.unchanged(name, source) {
            return Ok(service);
        }
        let settings = settings(self.cx, balancer)?;
        let previous = self.previous.services.get(name);
        balance::Service::load_balancer(
            name.shared(),
            settings,
            &transport,
            self.metrics(name),
            previous,
        )
        .map_err(|text| bad_server(text, balancer))
    }

    /// A transport and its qualified name; the table's before when its settings are the same.
    fn transport(
        &mut self,
        reference: &str,
        home: Provider,
        problems: &mut Vec<Problem>,
    ) -> Result<(Arc<str>, Arc<Transport>), Fault> {
        let key = match reference {
            "" => "default@internal".to_owned(),
            reference => qualify(reference, home),
        };
        if let Some((key, transport)) = self.transports.get_key_value(key.as_str()) {
            return Ok((Arc::clone(key), Arc::clone(transport)));
        }
        let (settings, from) = if reference.is_empty() {
            (transport::default(self.cx), Origin::Internal)
        } else {
            let name = Name::resolve(reference, home);
            let found = name.and_then(|name| self.desired.transports.get(&name));
            let found = found.ok_or_else(|| {
                Fault::new(Code::UnknownName, format!("servers transport not found {key}"))
                    .mend(known_names(reference, home, self.desired.transports.keys()))
            })?;
            (transport::named(self.cx, &found.value), origin(found))
        };
        let mut warn = |code: Code, text: String, mend: &str| {
            let problem = Problem::warning(code, from.clone(), text);
            problems.push(problem.about(format!("servers transport {key}")).mend(mend));
        };
        let before = self.previous.transports.get(key.as_str());
        let transport = match before.filter(|before| *before.settings() == settings) {
            Some(before) if before.is_current() => Arc::clone(before),
            Some(before) => Transport::build(&settings).unwrap_or_else(|text| {
                let text = format!("{text}; what was read before stays in use");
                warn(Code::Certificate, text, "mend the file");
                Arc::clone(before)
            }),
            None => Transport::build(&settings).map_err(|text| {
                Fault::new(Code::Certificate, format!("servers transport {key}: {text}"))
            })?,
        };
        for text in transport.remarks() {
            warn(Code::NotBuilt, text, "take it out, or name another one");
        }
        let key: Arc<str> = key.into();
        self.transports.insert(Arc::clone(&key), Arc::clone(&transport));
        Ok((key, transport))
    }
}

/// Our own words for people; for the API Go's, where it refuses the URL too.
fn bad_server(text: String, balancer: &LoadBalancer) -> Fault {
    let mut urls = balancer.servers.iter().map(|server| server.url.as_str());
    let fault = Fault::new(Code::BadValue, text.as_str()).field("loadbalancer.server.url");
    match urls.find(|url| url.starts_with(':')) {
        Some(url) => Fault {
            text: format!(
                "error parsing server URL {url}: parse \"{url}\": missing protocol scheme"
            ),
            plain: Some(text),
            ..fault
        },
        None => fault,
    }
}

/// Traefik finds a transport at fault while it builds the first server's proxy.
fn in_traefik_words(fault: Fault, balancer: &LoadBalancer) -> Fault {
    let url = balancer.servers.first().map(|server| server.url.as_str()).unwrap_or_default();
    let text =
        format!("error building proxy for server URL {url}: getting RoundTripper: {}", fault.text);
    Fault { plain: Some(fault.text), text, field: "loadbalancer.serverstransport", ..fault }
}

fn settings(cx: &Context, balancer: &LoadBalancer) -> Result<LoadBalancerSettings, Fault> {
    let written = balancer.strategy.as_str();
    let strategy = strategy::known(written).ok_or_else(|| unknown_strategy(written))?;
    Ok(LoadBalancerSettings {
        servers: balancer.servers.iter().map(server).collect(),
        strategy,
        sticky: cookie(balancer.sticky.as_ref()),
        pass_host_header: balancer.pass_host_header,
        health_check: balancer.health_check.as_ref().map(health_check),
        passive: balancer.passive_health_check.as_ref().map(|passive| PassiveSettings {
            failure_window: passive.failure_window.or_zero(),
            max_failed_attempts: passive.max_failed_attempts,
        }),
        hold: hold(cx, &balancer.hold),
        slow_start: balancer.slow_start.or_zero(),
        outlier_ejection: balancer.outlier_ejection.unwrap_or(cx.settings.wharf.outlier_ejection),
    })
}

fn hold(cx: &Context, hold: &Hold) -> HoldSettings {
    let usual = HoldSettings::default();
    let number = |given: Option<u32>, usual| {
        given.map_or(usual, |given| usize::try_from(given).unwrap_or(usize::MAX))
    };
    HoldSettings {
        limit: hold.duration.unwrap_or(cx.settings.wharf.hold).or_zero(),
        max_requests: number(hold.max_requests, usual.max_requests),
        max_bytes: number(hold.max_bytes, usual.max_bytes),
    }
}

fn unknown_strategy(written: &str) -> Fault {
    let text = format!("unsupported load-balancer strategy \"{written}\"");
    Fault::new(Code::BadValue, text)
        .mend("use `wrr`, `p2c`, `hrw` or `leasttime`")
        .field("loadbalancer.strategy")
}

fn server(server: &Server) -> ServerSettings {
    ServerSettings {
        url: server.url.clone(),
        weight: server.weight.unwrap_or(1),
        preserve_path: server.preserve_path,
        container: server.replica.as_ref().map(container),
    }
}

fn container(facts: &ReplicaFacts) -> ContainerSettings {
    ContainerSettings {
        id: Arc::clone(&facts.container.id),
        name: Arc::clone(&facts.container.name),
        state: engine_state(facts.state),
        has_health_check: facts.has_health_check,
        started: facts.started,
        deploy: facts.deploy.clone(),
    }
}

/// The model's state as cells know it.
pub fn engine_state(state: ReplicaState) -> EngineState {
    match state {
        ReplicaState::Starting => EngineState::Starting,
        ReplicaState::Running => EngineState::Running,
        ReplicaState::Unhealthy => EngineState::Unhealthy,
        ReplicaState::Paused => EngineState::Paused,
        ReplicaState::Stopping => EngineState::Stopping,
        ReplicaState::Gone => EngineState::Gone,
    }
}

/// As Traefik: `sticky` alone, without a cookie, is no stickiness.
pub(super) fn cookie(sticky: Option<&Sticky>) -> Option<CookieSettings> {
    let cookie: &Cookie = sticky?.cookie.as_ref()?;
    Some(CookieSettings {
        name: cookie.name.clone(),
        secure: cookie.secure,
        http_only: cookie.http_only,
        same_site: cookie.same_site.clone(),
        max_age: cookie.max_age,
        path: cookie.path.clone().unwrap_or_default(),
        domain: cookie.domain.clone(),
    })
}

fn health_check(check: &HealthCheck) -> HealthCheckSettings {
    HealthCheckSettings {
        grpc: check.mode == "grpc",
        scheme: check.scheme.clone(),
        port: check.port,
        path: check.path.clone(),
        method: check.method.clone(),
        status: check.status,
        hostname: check.hostname.clone(),
        headers: check.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        follow_redirects: check.follow_redirects,
        interval: check.interval.or_zero(),
        unhealthy_interval: check.unhealthy_interval.map(GoDuration::or_zero).unwrap_or_default(),
        timeout: check.timeout.or_zero(),
    }
}
