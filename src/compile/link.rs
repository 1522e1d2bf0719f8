//! Routers to routes, one after the other, and what became of each thing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::middleware::{Middlewares, qualified};
use super::placement::Placed;
use super::report::{Fault, known, origin};
use super::service::Services;
use super::tls::Claim;
use super::{Context, Problems, internal_names, outcome, router};
use crate::balance;
use crate::message::trace::Verbosity;
use crate::middleware::Chain;
use crate::model::{Desired, Name, Provider, Router};
use crate::observe::Requests;
use crate::problem::{Code, Problem};
use crate::route::Route;
use crate::rule::Syntax;
use crate::table::{Outcome, Status, Table};
use crate::upstream::Transport;

/// Links routers to what they name.
pub(super) struct Linker<'a> {
    cx: &'a Context,
    desired: &'a Desired,
    previous: &'a Table,
    problems: Problems<'a>,
    numbers: HashMap<&'a str, usize>,
    default_options: Arc<str>,
    services: Services<'a>,
    middlewares: Middlewares<'a>,
    routes: BTreeMap<Name, Arc<Route>>,
    routers: BTreeMap<Name, Outcome>,
    on: Vec<Vec<Arc<Route>>>,
    claims: Vec<Claim>,
}

/// All that was linked.
pub(super) struct Linked {
    pub(super) routes: BTreeMap<Name, Arc<Route>>,
    pub(super) routers: BTreeMap<Name, Outcome>,
    pub(super) services: BTreeMap<Name, Arc<balance::Service>>,
    pub(super) service_outcomes: BTreeMap<Name, Outcome>,
    pub(super) middlewares: BTreeMap<Name, Outcome>,
    pub(super) service_chains: BTreeMap<Name, Arc<Chain>>,
    pub(super) transports: BTreeMap<Arc<str>, Arc<Transport>>,
    /// By entry point.
    pub(super) on: Vec<Vec<Arc<Route>>>,
    /// Which TLS options routers want for their hosts.
    pub(super) claims: Vec<Claim>,
}

impl<'a> Linker<'a> {
    pub(super) fn new(
        cx: &'a Context,
        desired: &'a Desired,
        previous: &'a Table,
        problems: Problems<'a>,
    ) -> Self {
        let numbers = cx.entry_points.iter().enumerate();
        Self {
            cx,
            desired,
            previous,
            problems,
            numbers: numbers.map(|(number, on)| (&*on.name, number)).collect(),
            default_options: "default".into(),
            services: Services::new(cx, desired, previous),
            middlewares: Middlewares::new(desired, &previous.desired, cx.workers),
            routes: BTreeMap::new(),
            routers: BTreeMap::new(),
            on: cx.entry_points.iter().map(|_| Vec::new()).collect(),
            claims: Vec::new(),
        }
    }

    /// Links one router; what is wrong with it stays with it.
    pub(super) fn link(&mut self, placed: &Placed) {
        let router = &placed.router.value;
        let mut outcome = Outcome {
            entry_points: placed.entry_points.clone(),
            middlewares: qualified(&router.middlewares, placed.name.provider()),
            ..Outcome::default()
        };
        let attached = self.attach(placed, &mut outcome);
        if attached.is_empty() {
            self.routers.insert(placed.name.clone(), outcome);
            return;
        }
        outcome.priority = router::priority(router);
        let mut faults = router::faults(&placed.name, router);
        let is_strict = self.cx.settings.core.as_ref().is_some_and(|core| core.strict_tls_options);
        if placed.clashes && is_strict {
            faults.push(router::clash());
        }
        match self.route(placed, &outcome, &mut faults) {
            Some(route) if faults.is_empty() => {
                if route.tls {
                    self.claim(placed, &route, &attached, &mut outcome);
                }
                for number in attached {
                    if let Some(on) = self.on.get_mut(number) {
                        on.push(Arc::clone(&route));
                    }
                }
                self.routes.insert(placed.name.clone(), route);
            }
            _ => {
                outcome.status = Status::Disabled;
                for fault in faults {
                    if !fault.is_reported {
                        self.problems.push(fault.problem("router", &placed.name, &placed.router));
                    }
                    outcome.errors.push(fault.text);
                }
            }
        }
        self.routers.insert(placed.name.clone(), outcome);
    }

    /// The numbers of its entry points in the table; unknown ones are told.
    fn attach(&mut self, placed: &Placed, outcome: &mut Outcome) -> Vec<usize> {
        let mut attached = Vec::with_capacity(placed.entry_points.len());
        let mut unknown = Vec::new();
        for name in &placed.entry_points {
            match self.numbers.get(name.as_str()) {
                Some(number) if !attached.contains(number) => {
                    attached.push(*number);
                    outcome.used.push(name.clone());
                }
                Some(_) => {}
                None => unknown.push(name),
            }
        }
        // As Traefik, which sorts them here and keeps the router's own list as it is.
        outcome.used.sort_unstable();
        for name in &unknown {
            let text = format!("entryPoint \"{name}\" doesn't exist");
            let mend = known(name, self.cx.entry_points.iter().map(|on| &*on.name));
            let fault =
                Fault::new(Code::UnknownName, text.as_str()).mend(mend).field("entrypoints");
            let mut problem = fault.problem("router", &placed.name, &placed.router);
            if !attached.is_empty() {
                problem.severity = crate::problem::Severity::Warning;
            }
            self.problems.push(problem);
            outcome.errors.push(text);
            outcome.status = Status::Warning;
        }
        if attached.is_empty() {
            let text = "no valid entryPoint for this router";
            if unknown.is_empty() {
                let fault = Fault::new(Code::UnknownName, text).mend("declare an entry point");
                self.problems.push(fault.problem("router", &placed.name, &placed.router));
            }
            outcome.errors.push(text.to_owned());
            outcome.status = Status::Disabled;
        }
        attached
    }

    /// The route, or more faults. All of them are looked for, so that nobody has to mend
    /// one to be told of the next.
    fn route(
        &mut self,
        placed: &Placed,
        outcome: &Outcome,
        faults: &mut Vec<Fault>,
    ) -> Option<Arc<Route>> {
        let router = &placed.router.value;
        let home = placed.name.provider();
        let before = self.previous.routes.get(&placed.name);
        let service = (!router.service.is_empty())
            .then(|| self.services.get(&router.service, home, &mut self.middlewares, self.problems))
            .and_then(|service| service.map_err(|fault| faults.push(fault.field("service"))).ok());
        let names = self.previous.routers.get(&placed.name).map(|old| old.middlewares.as_slice());
        let chain = self
            .middlewares
            .chain(
                &router.middlewares,
                home,
                before.map(|route| &route.chain).zip(names),
                &mut self.services,
                self.problems,
            )
            .map_err(|fault| faults.push(fault.field("middlewares")))
            .ok();
        let program = router::program(router, before).map_err(|all| faults.extend(all)).ok();
        let tls_options = router::tls_options(router, home, self.desired, &self.default_options)
            .map_err(|fault| faults.push(fault))
            .ok();
        let (service, chain, program) = (service?, chain?, program?);
        let is_internal = service.name.ends_with("@internal");
        let (counted, access_log, tracing) = self.observed(router, is_internal);
        let route = Route {
            name: placed.name.clone(),
            rule: router.rule.as_str().into(),
            syntax: Syntax::named(&router.rule_syntax),
            program,
            priority: outcome.priority,
            precedence: match home {
                Provider::Internal => 0,
                Provider::Docker | Provider::File => {
                    1 + self.cx.settings.providers.place(home.as_str())
                }
            },
            holder: placed.router.holder.clone(),
            tls: router.tls.is_some(),
            chain,
            metrics: Requests::off(),
            service,
            counted,
            access_log,
            tracing,
            tls_options: tls_options?,
        };
        let metrics = if counted {
            self.cx.metrics.router(route.name.as_str(), &route.service.name)
        } else {
            Requests::off()
        };
        let is_same = |before: &&Arc<Route>| {
            before.metrics.is_on() == metrics.is_on() && router::is_same(before, &route)
        };
        if let Some(before) = before.filter(is_same) {
            return Some(Arc::clone(before));
        }
        Some(Arc::new(Route { metrics, ..route }))
    }

    /// Whether requests of a router are counted and logged, and how they are traced. As Traefik:
    /// not those of Wharf's own services, unless that was asked for.
    fn observed(&self, router: &Router, is_internal: bool) -> (bool, bool, Verbosity) {
        let said = router.observability.as_ref();
        let metrics = said.and_then(|said| said.metrics).unwrap_or(true);
        let lines = said.and_then(|said| said.access_logs).unwrap_or(true);
        let spans = said.and_then(|said| said.tracing).unwrap_or(true);
        let details = said.and_then(|said| said.trace_verbosity.as_deref()) == Some("detailed");
        let access_log = self.cx.settings.access_log.as_ref();
        let traces = self.cx.settings.tracing.as_ref();
        let is_traced = spans && traces.is_some_and(|traces| !is_internal || traces.add_internals);
        (
            metrics && (!is_internal || self.cx.metrics.counts_internals()),
            lines && access_log.is_some_and(|log| !is_internal || log.add_internals),
            match (is_traced, details) {
                (false, _) => Verbosity::Off,
                (true, false) => Verbosity::Minimal,
                (true, true) => Verbosity::Detailed,
            },
        )
    }

    /// Notes which TLS options the router wants for its hosts.
    fn claim(
        &mut self,
        placed: &Placed,
        route: &Arc<Route>,
        attached: &[usize],
        outcome: &mut Outcome,
    ) {
        let hosts = route.program.hosts();
        if hosts.is_empty() && route.tls_options != self.default_options {
            let text = format!(
                "no domain found in rule {}, the TLS option {} cannot be applied",
                route.rule, route.tls_options
            );
            let problem = Problem::warning(Code::Notice, origin(&placed.router), text.as_str())
                .about(subject(&placed.name))
                .mend("add a `Host` to the rule");
            self.problems.push(problem);
            outcome.errors.push(text);
            outcome.status = Status::Warning;
        }
        for number in attached {
            for host in &hosts {
                self.claims.push(Claim {
                    entry_point: *number,
                    host: host.as_str().into(),
                    options: Arc::clone(&route.tls_options),
                    router: placed.name.clone(),
                });
            }
        }
    }

    /// What became of services and middlewares, once all routers are linked.
    pub(super) fn finish(self, placed: &[Placed]) -> Linked {
        let mut services: BTreeMap<Name, Vec<String>> = BTreeMap::new();
        let mut middlewares: BTreeMap<Name, Vec<String>> = BTreeMap::new();
        let own = internal_names(self.cx).chain(self.desired.services.keys().cloned());
        services.extend(own.map(|name| (name, Vec::new())));
        let names = self.desired.middlewares.keys().cloned();
        middlewares.extend(names.map(|name| (name, Vec::new())));
        // As Traefik: only those that a router names itself; in the order of router names.
        for Placed { name, router, .. } in placed {
            let used = Name::resolve(&router.value.service, name.provider());
            if let Some(users) = used.and_then(|used| services.get_mut(&used)) {
                users.push(name.to_string());
            }
            for reference in &router.value.middlewares {
                let used = Name::resolve(reference, name.provider());
                if let Some(users) = used.and_then(|used| middlewares.get_mut(&used)) {
                    users.push(name.to_string());
                }
            }
        }
        let mut routers = self.routers;
        super::tls::settle(&self.claims, self.desired, &mut routers, self.problems);
        let service_outcomes = services
            .into_iter()
            .map(|(name, used)| {
                let outcome = outcome(self.services.fault(&name), used);
                (name, outcome)
            })
            .collect();
        let middlewares = middlewares
            .into_iter()
            .map(|(name, used)| {
                let outcome = outcome(self.middlewares.fault(&name), used);
                (name, outcome)
            })
            .collect();
        Linked {
            routes: self.routes,
            routers,
            services: self.services.built,
            service_outcomes,
            middlewares,
            service_chains: self.services.chains,
            transports: self.services.transports,
            on: self.on,
            claims: self.claims,
        }
    }
}

fn subject(name: &Name) -> String {
    format!("router {name}")
}
