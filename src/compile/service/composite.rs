//! Services made of services.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::balancer::cookie;
use super::{DEEPEST, Services};
use crate::balance::{self, Child, ErrorSettings, FailoverSettings, MirroringSettings};
use crate::compile::middleware::Middlewares;
use crate::compile::report::Fault;
use crate::model::{
    Failover, FailoverErrors, HighestRandomWeight, Mirroring, Name, Provider, Service, ServiceKind,
    Sourced, Weighted, WeightedService,
};
use crate::problem::{Code, Problem};

type Built = Result<Arc<balance::Service>, Fault>;

/// One service that is being built, and what that takes.
pub(super) struct Work<'w, 'a> {
    pub(super) name: &'w Name,
    pub(super) source: &'w Sourced<Service>,
    pub(super) middlewares: &'w mut Middlewares<'a>,
    pub(super) problems: &'w mut Vec<Problem>,
}

impl<'a> Services<'a> {
    pub(super) fn weighted(&mut self, work: &mut Work<'_, 'a>, weighted: &Weighted) -> Built {
        let as_traefik = |child: &str, fault: Fault| {
            let text = format!("building HTTP service \"{child}\": {}", fault.text);
            Fault { text, ..fault }
        };
        let follow = weighted.health_check.is_some();
        let children = self.children(work, &weighted.services, follow, as_traefik)?;
        if let Some(service) = self.kept(work, children.iter().map(|child| &child.name)) {
            return Ok(service);
        }
        let sticky = cookie(weighted.sticky.as_ref());
        let (name, metrics) = (work.name.shared(), self.metrics(work.name));
        Ok(balance::Service::weighted(name, children, follow, sticky.as_ref(), metrics))
    }

    pub(super) fn highest(
        &mut self,
        work: &mut Work<'_, 'a>,
        highest: &HighestRandomWeight,
    ) -> Built {
        let follow = highest.health_check.is_some();
        let children = self.children(work, &highest.services, follow, |_, fault| fault)?;
        if let Some(service) = self.kept(work, children.iter().map(|child| &child.name)) {
            return Ok(service);
        }
        let (name, metrics) = (work.name.shared(), self.metrics(work.name));
        Ok(balance::Service::highest_random_weight(name, children, follow, metrics))
    }

    pub(super) fn mirroring(&mut self, work: &mut Work<'_, 'a>, mirroring: &Mirroring) -> Built {
        let main = self.child(work, &mirroring.service)?;
        let mut mirrors = Vec::with_capacity(mirroring.mirrors.len());
        for mirror in &mirroring.mirrors {
            let service = self.child(work, &mirror.name)?;
            let percent = u8::try_from(mirror.percent).ok().filter(|percent| *percent <= 100);
            let percent = percent.ok_or_else(|| {
                Fault::new(Code::BadValue, "percent must be between 0 and 100")
                    .mend(format!("write a number from 0 to 100, not {}", mirror.percent))
            })?;
            mirrors.push((service, percent));
        }
        let names = mirroring.mirrors.iter().map(|mirror| &mirror.name);
        if let Some(service) = self.kept(work, names.chain([&mirroring.service])) {
            return Ok(service);
        }
        let settings = MirroringSettings {
            main,
            mirrors,
            copies_bodies: mirroring.mirror_body,
            max_body: u64::try_from(mirroring.max_body_size).ok(),
            dropped: self.cx.metrics.dropped_copies(work.name.as_str()),
        };
        let previous = self.previous.services.get(work.name);
        let (name, metrics) = (work.name.shared(), self.metrics(work.name));
        Ok(balance::Service::mirroring(name, settings, metrics, previous))
    }

    pub(super) fn failover(&mut self, work: &mut Work<'_, 'a>, failover: &Failover) -> Built {
        let main = self.child(work, &failover.service)?;
        let errors = failover.errors.as_ref().filter(|errors| !errors.status.is_empty());
        if errors.is_none() {
            self.must_report_health(work.name, &failover.service)?;
        }
        let fallback = self.child(work, &failover.fallback)?;
        if failover.health_check.is_some() {
            self.must_report_health(work.name, &failover.fallback)?;
        }
        let errors = errors.map(|errors| error_settings(work.name, errors)).transpose()?;
        if let Some(service) = self.kept(work, [&failover.service, &failover.fallback]) {
            return Ok(service);
        }
        let settings = FailoverSettings { main, fallback, errors };
        let (name, metrics) = (work.name.shared(), self.metrics(work.name));
        Ok(balance::Service::failover(name, settings, metrics))
    }

    fn child(&mut self, work: &mut Work<'_, 'a>, reference: &str) -> Built {
        self.get(reference, work.name.provider(), work.middlewares, work.problems)
    }

    fn children(
        &mut self,
        work: &mut Work<'_, 'a>,
        declared: &[WeightedService],
        follow_health: bool,
        in_words: impl Fn(&str, Fault) -> Fault,
    ) -> Result<Vec<Child>, Fault> {
        let mut children = Vec::with_capacity(declared.len());
        for WeightedService { name, weight } in declared {
            let service = self.child(work, name).map_err(|fault| in_words(name, fault))?;
            if follow_health {
                self.must_report_health(work.name, name)?;
            }
            children.push(Child { name: name.clone(), weight: weight.unwrap_or(1), service });
        }
        Ok(children)
    }

    /// The service of the table before, when it was declared the same and so were all below.
    fn kept<'n>(
        &self,
        work: &Work<'_, 'a>,
        children: impl IntoIterator<Item = &'n String>,
    ) -> Option<Arc<balance::Service>> {
        let is_kept = |child: &String| {
            let name = Name::resolve(child, work.name.provider())?;
            let (before, now) = (self.previous.services.get(&name)?, self.built.get(&name)?);
            Some(Arc::ptr_eq(before, now))
        };
        let mut children = children.into_iter();
        let are_kept = children.all(|child| is_kept(child) == Some(true));
        are_kept.then(|| self.unchanged(work.name, work.source)).flatten()
    }

    /// As Traefik: what goes by the health of a service needs one that has a health check.
    fn must_report_health(&self, parent: &Name, child: &str) -> Result<(), Fault> {
        let name = Name::resolve(child, parent.provider());
        let declared = name.as_ref().and_then(|name| self.desired.services.get(name));
        let Some(declared) = declared else {
            let is_internal = name.is_some_and(|name| name.provider() == Provider::Internal);
            let text = format!(
                "child service {child} of {parent} not a healthcheck.StatusUpdater (*mux.Router)"
            );
            let plain = format!("{child} has no health check, and {parent} goes by its health");
            let fault = Fault { plain: Some(plain), ..Fault::new(Code::BadValue, text) };
            let fault = fault.mend("take it out, or remove `healthCheck`");
            return if is_internal { Err(fault) } else { Ok(()) };
        };
        let home = name.map_or(parent.provider(), |name| name.provider());
        let Some(why) = self.silence(&declared.value.kind, home, 0) else { return Ok(()) };
        let text = format!("cannot register {child} as updater for {parent}: {why}");
        let plain = format!("{child} has no health check, and {parent} goes by its health");
        let mend = if matches!(declared.value.kind, ServiceKind::LoadBalancer(_)) {
            format!("give {child} a `healthCheck` with a `path`")
        } else {
            format!("give {child} `healthCheck: {{}}`")
        };
        Err(Fault { plain: Some(plain), ..Fault::new(Code::BadValue, text) }.mend(mend))
    }
}

impl Services<'_> {
    /// Why a service tells nobody of its health, as Traefik says it; `None`: it does.
    fn silence(&self, kind: &ServiceKind, home: Provider, depth: usize) -> Option<String> {
        if let Some(kind) = silent(kind) {
            return Some(format!("healthCheck not enabled in config for this {kind} service"));
        }
        // A mirroring service has the health of its main one.
        let ServiceKind::Mirroring(mirroring) = kind else { return None };
        let name = Name::resolve(&mirroring.service, home).filter(|_| depth < DEEPEST)?;
        let main = &self.desired.services.get(&name)?.value.kind;
        let why = self.silence(main, name.provider(), depth + 1)?;
        Some(format!("cannot register service of mirroring as updater: {why}"))
    }
}

/// What Traefik calls a service that tells nobody of its health; `None`: it does.
fn silent(kind: &ServiceKind) -> Option<&'static str> {
    let (reports, kind) = match kind {
        ServiceKind::LoadBalancer(balancer) => {
            let kind = match balancer.strategy.as_str() {
                "p2c" => "P2C",
                "hrw" => "HRW",
                "leasttime" => "LeastTime",
                _ => "WRR",
            };
            (balancer.health_check.is_some(), kind)
        }
        ServiceKind::Weighted(weighted) => (weighted.health_check.is_some(), "WRR"),
        ServiceKind::HighestRandomWeight(highest) => (highest.health_check.is_some(), "HRW"),
        ServiceKind::Mirroring(mirroring) => (mirroring.health_check.is_some(), "mirroring"),
        ServiceKind::Failover(failover) => (failover.health_check.is_some(), "failover"),
    };
    (!reports).then_some(kind)
}

fn error_settings(name: &Name, errors: &FailoverErrors) -> Result<ErrorSettings, Fault> {
    let statuses = errors.status.iter().map(|text| {
        range(text).map_err(|part| {
            let text = format!(
                "error creating failover service {name}: creating HTTP code ranges: \
                 strconv.Atoi: parsing {part:?}: invalid syntax"
            );
            let plain = format!("failover.errors.status: {part:?} is no status");
            Fault { plain: Some(plain), ..Fault::new(Code::BadValue, text) }
                .mend("write a status such as 503, or a range such as 500-599")
        })
    });
    Ok(ErrorSettings {
        statuses: statuses.collect::<Result<_, _>>()?,
        max_request_body: u64::try_from(errors.max_request_body_bytes).ok(),
    })
}

/// `503` or `500-599`; the error is the part that is no number.
fn range(text: &str) -> Result<RangeInclusive<u16>, &str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = first.parse().map_err(|_| first)?;
    Ok(first..=last.parse().map_err(|_| last)?)
}
