//! Services as declared to services at run time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::{Fault, known_names, qualify};
use super::{Context, transport};
use crate::balance::{
    self, ContainerSettings, CookieSettings, EngineState, HealthCheckSettings,
    LoadBalancerSettings, PassiveSettings, ServerSettings, strategy,
};
use crate::model::{
    Cookie, Desired, HealthCheck, LoadBalancer, Name, Provider, ReplicaFacts, ReplicaState, Server,
    Service, Sourced, Sticky, Weighted,
};
use crate::observe::Requests;
use crate::problem::{Code, Problem};
use crate::settings::GoDuration;
use crate::table::Table;
use crate::upstream::Transport;

/// Deepest nesting of services in services.
const DEEPEST: usize = 64;

/// Builds services when they are first used, as Traefik does: one that no router uses is
/// neither built nor probed.
pub(super) struct Services<'a> {
    cx: &'a Context,
    desired: &'a Desired,
    previous: &'a Table,
    pub(super) built: BTreeMap<Name, Arc<balance::Service>>,
    pub(super) transports: BTreeMap<Arc<str>, Arc<Transport>>,
    faults: BTreeMap<Name, Fault>,
    /// Those that are being built.
    open: Vec<Name>,
}

impl<'a> Services<'a> {
    pub(super) fn new(cx: &'a Context, desired: &'a Desired, previous: &'a Table) -> Self {
        Self {
            cx,
            desired,
            previous,
            built: BTreeMap::new(),
            transports: BTreeMap::new(),
            faults: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// The service of that name as written on something of `home`.
    pub(super) fn get(
        &mut self,
        reference: &str,
        home: Provider,
        problems: &mut Vec<Problem>,
    ) -> Result<Arc<balance::Service>, Fault> {
        let Some(name) = Name::resolve(reference, home) else {
            return Err(self.missing(reference, home));
        };
        if let Some(service) = self.built.get(&name) {
            return Ok(Arc::clone(service));
        }
        if let Some(fault) = self.faults.get(&name) {
            return Err(fault.clone());
        }
        if name.provider() == Provider::Internal {
            return self.internal(name);
        }
        let desired = self.desired;
        let Some(source) = desired.services.get(&name) else {
            return Err(self.missing(reference, home));
        };
        if self.open.contains(&name) || self.open.len() >= DEEPEST {
            return Err(self.recursion(&name));
        }
        self.open.push(name.clone());
        let built = self.build(&name, source, problems);
        self.open.pop();
        match built {
            Ok(service) => {
                self.built.insert(name, Arc::clone(&service));
                Ok(service)
            }
            Err(fault) => {
                if !fault.is_reported {
                    problems.push(fault.problem("service", &name, source));
                }
                let fault = fault.reported();
                self.faults.insert(name, fault.clone());
                Err(fault)
            }
        }
    }

    /// What is wrong with a service, if anything; known once all routers are linked.
    pub(super) fn fault(&self, name: &Name) -> Option<&Fault> {
        self.faults.get(name)
    }

    fn missing(&self, reference: &str, home: Provider) -> Fault {
        let text = format!("the service \"{}\" does not exist", qualify(reference, home));
        let mend = known_names(reference, home, self.desired.services.keys());
        Fault::new(Code::UnknownName, text).mend(mend)
    }

    fn recursion(&self, name: &Name) -> Fault {
        let path = self.open.iter().chain([name]).map(|name| format!("service:{name}"));
        let path = path.collect::<Vec<_>>().join("->");
        let text = format!("could not instantiate service {name}: recursion detected in {path}");
        Fault::new(Code::BadValue, text).mend("take the service out of itself")
    }

    fn internal(&mut self, name: Name) -> Result<Arc<balance::Service>, Fault> {
        if let Some(handler) = self.cx.internal.get(name.as_str()) {
            let service = self.previous.services.get(&name).map_or_else(
                || {
                    balance::Service::internal(
                        name.shared(),
                        Arc::clone(handler),
                        self.metrics(&name),
                    )
                },
                Arc::clone,
            );
            self.built.insert(name, Arc::clone(&service));
            return Ok(service);
        }
        // As Traefik: a feature that is off is told from a name that nobody knows.
        let feature = match name.local() {
            "api" | "dashboard" => Some(("api", "turn it on with `api: {}`")),
            "ping" => Some(("ping", "turn it on with `ping: {}`")),
            "prometheus" => Some(("prometheus", "turn it on with `metrics.prometheus: {}`")),
            _ => None,
        };
        if let Some((feature, mend)) = feature {
            let text = format!("{feature} is not enabled");
            return Err(Fault::new(Code::UnknownName, text).mend(mend));
        }
        let names = self.cx.internal.keys().map(String::as_str);
        Err(Fault::new(Code::UnknownName, format!("unknown internal service {name}"))
            .mend(super::report::known(name.as_str(), names)))
    }

    fn metrics(&self, name: &Name) -> Requests {
        let is_counted =
            name.provider() != Provider::Internal || self.cx.metrics.counts_internals();
        if is_counted { self.cx.metrics.service(name.as_str()) } else { Requests::off() }
    }

    fn build(
        &mut self,
        name: &Name,
        source: &Sourced<Service>,
        problems: &mut Vec<Problem>,
    ) -> Result<Arc<balance::Service>, Fault> {
        match &source.value {
            Service::LoadBalancer(balancer) => self.load_balancer(name, source, balancer),
            Service::Weighted(weighted) => self.weighted(name, source, weighted, problems),
            Service::Mirroring(_) | Service::Failover(_) | Service::HighestRandomWeight(_) => {
                let kind = source.value.kind();
                let text = format!("services of the kind `{kind}` are not built yet");
                Err(Fault::new(Code::NotBuilt, text).mend("use `loadBalancer` or `weighted`"))
            }
        }
    }

    /// The service of that name in the table before, when it was declared the same.
    fn unchanged(&self, name: &Name, source: &Sourced<Service>) -> Option<Arc<balance::Service>> {
        let before = self.previous.desired.services.get(name)?;
        let is_same = std::ptr::eq(Arc::as_ptr(before), source) || before.value == source.value;
        self.previous.services.get(name).filter(|_| is_same).map(Arc::clone)
    }

    fn load_balancer(
        &mut self,
        name: &Name,
        source: &Sourced<Service>,
        balancer: &LoadBalancer,
    ) -> Result<Arc<balance::Service>, Fault> {
        let transport = self.transport(&balancer.servers_transport, name.provider());
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

    fn weighted(
        &mut self,
        name: &Name,
        source: &Sourced<Service>,
        weighted: &Weighted,
        problems: &mut Vec<Problem>,
    ) -> Result<Arc<balance::Service>, Fault> {
        let mut children = Vec::with_capacity(weighted.services.len());
        let mut are_kept = true;
        for child in &weighted.services {
            let service = self.get(&child.name, name.provider(), problems).map_err(|fault| {
                let text = format!("building HTTP service \"{}\": {}", child.name, fault.text);
                Fault { text, ..fault }
            })?;
            let before = Name::resolve(&child.name, name.provider())
                .and_then(|child| self.previous.services.get(&child));
            are_kept &= before.is_some_and(|before| Arc::ptr_eq(before, &service));
            children.push((child.name.clone(), child.weight.unwrap_or(1), service));
        }
        if are_kept && let Some(service) = self.unchanged(name, source) {
            return Ok(service);
        }
        let sticky = cookie(weighted.sticky.as_ref());
        Ok(balance::Service::weighted(name.shared(), children, sticky.as_ref(), self.metrics(name)))
    }

    /// A transport and its qualified name; the table's before when its settings are the same.
    fn transport(
        &mut self,
        reference: &str,
        home: Provider,
    ) -> Result<(Arc<str>, Arc<Transport>), Fault> {
        let key = match reference {
            "" => "default@internal".to_owned(),
            reference => qualify(reference, home),
        };
        if let Some((key, transport)) = self.transports.get_key_value(key.as_str()) {
            return Ok((Arc::clone(key), Arc::clone(transport)));
        }
        let settings = if reference.is_empty() {
            transport::default(self.cx)
        } else {
            let name = Name::resolve(reference, home);
            let found = name.and_then(|name| self.desired.transports.get(&name));
            let found = found.ok_or_else(|| {
                Fault::new(Code::UnknownName, format!("servers transport not found {key}"))
                    .mend(known_names(reference, home, self.desired.transports.keys()))
            })?;
            transport::named(self.cx, &found.value)
        };
        let before = self.previous.transports.get(key.as_str());
        let transport = match before.filter(|before| *before.settings() == settings) {
            Some(before) => Arc::clone(before),
            None => Transport::build(&settings).map_err(|text| {
                Fault::new(Code::Certificate, format!("servers transport {key}: {text}"))
            })?,
        };
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
        hold: cx.settings.wharf.hold.or_zero(),
    })
}

fn unknown_strategy(written: &str) -> Fault {
    let fault = if written == "leasttime" {
        Fault::new(Code::NotBuilt, "the strategy `leasttime` is not built yet")
    } else {
        let text = format!("unsupported load-balancer strategy \"{written}\"");
        Fault::new(Code::BadValue, text)
    };
    fault.mend("use `wrr`, `p2c` or `hrw`").field("loadbalancer.strategy")
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
fn cookie(sticky: Option<&Sticky>) -> Option<CookieSettings> {
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

#[cfg(test)]
mod tests {
    use crate::compile::compile;
    use crate::compile::tests::{compiled, context, desired, outcome, router};
    use crate::model::{Router, ServersTransport, WeightedService};
    use crate::problem::{ContainerRef, Origin};
    use crate::table::Status;

    use super::*;

    fn named(name: &str) -> Name {
        Name::new(name, Provider::File)
    }

    fn sourced<T>(value: T) -> Arc<Sourced<T>> {
        Arc::new(Sourced { value, from: vec![Origin::file("dynamic.yml")] })
    }

    fn server(url: &str) -> Server {
        let id = format!("id of {url}").into();
        let facts = ReplicaFacts {
            container: ContainerRef { name: "web-1".into(), id },
            state: ReplicaState::Running,
            has_health_check: true,
            started: None,
            generation: None,
        };
        Server { url: url.into(), replica: Some(facts), ..Server::default() }
    }

    fn balancer(urls: &[&str]) -> LoadBalancer {
        let servers = urls.iter().map(|url| server(url)).collect();
        LoadBalancer { servers, ..LoadBalancer::default() }
    }

    /// One router to the service `web`, and these services.
    fn with(services: Vec<(&str, Service)>) -> Desired {
        let mut all = desired(&[("web", Router { service: "web".into(), ..router("Host(`a`)") })]);
        let services = services.into_iter();
        all.services = services.map(|(name, service)| (named(name), sourced(service))).collect();
        all
    }

    fn weighted(children: &[&str]) -> Service {
        let services = children
            .iter()
            .map(|name| WeightedService { name: (*name).to_owned(), weight: None })
            .collect();
        Service::Weighted(Weighted { services, sticky: None })
    }

    #[test]
    fn a_service_at_fault_takes_its_routers_along() {
        let strategy = LoadBalancer { strategy: "foo".into(), ..balancer(&["http://10.0.0.1:80"]) };
        let lost =
            LoadBalancer { servers_transport: "lost".into(), ..balancer(&["http://10.0.0.1:80"]) };
        let cases = [
            (
                vec![("web", Service::LoadBalancer(strategy))],
                "unsupported load-balancer strategy \"foo\"",
            ),
            (
                vec![("web", Service::LoadBalancer(lost))],
                "error building proxy for server URL http://10.0.0.1:80: getting RoundTripper: \
                 servers transport not found lost@file",
            ),
            (
                vec![("web", Service::LoadBalancer(balancer(&["::bad"])))],
                "error parsing server URL ::bad: parse \"::bad\": missing protocol scheme",
            ),
            (
                vec![("web", weighted(&["gone"]))],
                "building HTTP service \"gone\": the service \"gone@file\" does not exist",
            ),
            (
                vec![("web", weighted(&["other"])), ("other", weighted(&["web"]))],
                "building HTTP service \"other\": building HTTP service \"web\": could not \
                 instantiate service web@file: recursion detected in \
                 service:web@file->service:other@file->service:web@file",
            ),
        ];
        for (services, text) in cases {
            let table = compiled(&context(|_| ()), with(services));

            assert_eq!(outcome(&table, "web@file").errors, [text]);
            assert_eq!(table.service_outcomes[&named("web")].errors, [text]);
            assert_eq!(table.service_outcomes[&named("web")].status, Status::Disabled);
            assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
        }
    }

    #[test]
    fn a_known_service_without_servers_keeps_its_router() {
        let table =
            compiled(&context(|_| ()), with(vec![("web", Service::LoadBalancer(balancer(&[])))]));

        assert_eq!(outcome(&table, "web@file").status, Status::Enabled);
        assert!(table.services.contains_key(&named("web")));
    }

    #[test]
    fn a_service_stays_while_it_is_declared_the_same_and_its_cells_longer() {
        let cx = context(|_| ());
        let made = |urls: &[&str], before: &Table| {
            let child = Service::LoadBalancer(balancer(urls));
            let services = vec![("web", weighted(&["child"])), ("child", child)];
            compile(&cx, &Arc::new(with(services)), before)
        };
        let service = |table: &Table, name: &str| Arc::clone(&table.services[&named(name)]);
        let first = made(&["http://10.0.0.1:80"], &Table::default());
        let same = made(&["http://10.0.0.1:80"], &first);
        let grown = made(&["http://10.0.0.1:80", "http://10.0.0.2:80"], &same);

        for name in ["web", "child"] {
            assert!(Arc::ptr_eq(&service(&first, name), &service(&same, name)), "{name}");
            assert!(!Arc::ptr_eq(&service(&same, name), &service(&grown, name)), "{name}");
        }
        let (old, new) = (service(&same, "child"), service(&grown, "child"));
        assert!(Arc::ptr_eq(&old.replicas()[0], &new.replicas()[0]));
        assert_eq!(grown.replicas["id of http://10.0.0.2:80"].len(), 1);
    }

    #[test]
    fn a_changed_transport_rebuilds_the_services_that_use_it() {
        let cx = context(|_| ());
        let made = |idle: i64, before: &Table| {
            let web = LoadBalancer {
                servers_transport: "mine".into(),
                ..balancer(&["http://10.0.0.1:80"])
            };
            let mut all = with(vec![("web", Service::LoadBalancer(web))]);
            let mine = ServersTransport { max_idle_conns_per_host: idle, ..Default::default() };
            all.transports.insert(named("mine"), sourced(mine));
            compile(&cx, &Arc::new(all), before)
        };
        let service = |table: &Table| Arc::clone(&table.services[&named("web")]);
        let first = made(5, &Table::default());
        let same = made(5, &first);
        let other = made(6, &same);

        assert!(Arc::ptr_eq(&service(&first), &service(&same)));
        assert!(!Arc::ptr_eq(&service(&same), &service(&other)));
    }
}
