//! Services as declared to services at run time.

mod balancer;
mod composite;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use super::middleware::{Middlewares, qualified};
use super::report::{Fault, known, known_names, qualify};
use crate::balance;
use crate::middleware::Chain;
use crate::model::{Desired, Name, Provider, Service, ServiceKind, Sourced};
use crate::observe::Requests;
use crate::problem::{Code, Problem};
use crate::table::Table;
use crate::upstream::Transport;

pub use balancer::engine_state;
use composite::Work;

/// Deepest nesting of services in services.
const DEEPEST: usize = 64;

/// Services that one request can lead to at most, each counted as often as it is named: two
/// that name the next one twice, sixty deep, would never be done with a request.
const MOST: u64 = 4096;

/// Builds services when they are first used, as Traefik does: one that no router uses is
/// neither built nor probed.
pub(super) struct Services<'a> {
    cx: &'a Context,
    desired: &'a Desired,
    previous: &'a Table,
    pub(super) built: BTreeMap<Name, Arc<balance::Service>>,
    pub(super) transports: BTreeMap<Arc<str>, Arc<Transport>>,
    /// Middlewares of services, built.
    pub(super) chains: BTreeMap<Name, Arc<Chain>>,
    faults: BTreeMap<Name, Fault>,
    /// Those that are being built.
    open: Vec<Name>,
    /// How many services each leads to, itself included.
    sizes: BTreeMap<Name, u64>,
    /// The same, so far, of the one that is being built.
    size: u64,
}

impl<'a> Services<'a> {
    pub(super) fn new(cx: &'a Context, desired: &'a Desired, previous: &'a Table) -> Self {
        Self {
            cx,
            desired,
            previous,
            built: BTreeMap::new(),
            transports: BTreeMap::new(),
            chains: BTreeMap::new(),
            faults: BTreeMap::new(),
            open: Vec::new(),
            sizes: BTreeMap::new(),
            size: 0,
        }
    }

    /// The service of that name as written on something of `home`.
    pub(super) fn get(
        &mut self,
        reference: &str,
        home: Provider,
        middlewares: &mut Middlewares<'a>,
        problems: &mut Vec<Problem>,
    ) -> Result<Arc<balance::Service>, Fault> {
        let Some(name) = Name::resolve(reference, home) else {
            return Err(self.missing(reference, home));
        };
        if let Some(service) = self.built.get(&name) {
            self.size += self.sizes.get(&name).copied().unwrap_or(1);
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
        let outer = std::mem::replace(&mut self.size, 1);
        let mut work = Work { name: &name, source, middlewares, problems };
        let built = self.build(&mut work).and_then(|service| self.fronted(&mut work, service));
        self.open.pop();
        let size = std::mem::replace(&mut self.size, outer);
        match built.and_then(|service| if size > MOST { Err(too_many()) } else { Ok(service) }) {
            Ok(service) => {
                self.size += size;
                self.sizes.insert(name.clone(), size);
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
            let metrics = self.metrics(&name);
            let before = self.previous.services.get(&name).filter(|before| {
                before.is_internal(handler) && before.metrics.is_on() == metrics.is_on()
            });
            let service = before.map_or_else(
                || balance::Service::internal(name.shared(), Arc::clone(handler), metrics),
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
            .mend(known(name.as_str(), names)))
    }

    fn metrics(&self, name: &Name) -> Requests {
        let is_counted =
            name.provider() != Provider::Internal || self.cx.metrics.counts_internals();
        if is_counted { self.cx.metrics.service(name.as_str()) } else { Requests::off() }
    }

    fn build(&mut self, work: &mut Work<'_, 'a>) -> Result<Arc<balance::Service>, Fault> {
        match &work.source.value.kind {
            ServiceKind::LoadBalancer(balancer) => self.load_balancer(work, balancer),
            ServiceKind::Weighted(weighted) => self.weighted(work, weighted),
            ServiceKind::Mirroring(mirroring) => self.mirroring(work, mirroring),
            ServiceKind::Failover(failover) => self.failover(work, failover),
            ServiceKind::HighestRandomWeight(highest) => self.highest(work, highest),
        }
    }

    /// The service behind middlewares of its own, where it names any.
    fn fronted(
        &mut self,
        work: &mut Work<'_, 'a>,
        service: Arc<balance::Service>,
    ) -> Result<Arc<balance::Service>, Fault> {
        let (name, names) = (work.name, &work.source.value.middlewares);
        if names.is_empty() {
            return Ok(service);
        }
        let home = name.provider();
        let before = self.previous.service_chains.get(name);
        let declared = self.previous.desired.services.get(name);
        let written = declared.map(|before| qualified(&before.value.middlewares, home));
        let chain = work
            .middlewares
            .chain(names, home, before.zip(written.as_deref()), self, work.problems)
            .map_err(|fault| fault.field("middlewares"))?;
        let is_kept = before.is_some_and(|before| Arc::ptr_eq(before, &chain));
        self.chains.insert(name.clone(), Arc::clone(&chain));
        let old = self.previous.services.get(name).filter(|_| is_kept);
        if let Some(old) = old
            && Arc::ptr_eq(balance::Service::behind(old), &service)
        {
            return Ok(Arc::clone(old));
        }
        Ok(balance::Service::fronted(chain, service))
    }

    /// The service of that name in the table before, without its front, when it was declared
    /// the same.
    fn unchanged(&self, name: &Name, source: &Sourced<Service>) -> Option<Arc<balance::Service>> {
        let (wharf, was) = (&self.cx.settings.wharf, &self.previous.settings.wharf);
        if (wharf.hold, wharf.outlier_ejection) != (was.hold, was.outlier_ejection) {
            return None;
        }
        let before = self.previous.desired.services.get(name)?;
        let is_same =
            std::ptr::eq(Arc::as_ptr(before), source) || before.value.kind == source.value.kind;
        let service = self.previous.services.get(name).filter(|_| is_same)?;
        Some(Arc::clone(balance::Service::behind(service)))
    }
}

fn too_many() -> Fault {
    let text =
        format!("it leads to more than {MOST} services, each counted as often as it is named");
    Fault::new(Code::BadValue, text).mend("name fewer services in services and their middlewares")
}
