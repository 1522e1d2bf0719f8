//! References of what no router uses: as in Traefik nobody looks at them, so that a name that
//! is not there shows only when a router comes to use them. Only `wharf check` asks.

use std::collections::BTreeSet;

use super::report::{Fault, known_names, origin, qualify};
use crate::model::{Items, Name, Provider, Service, ServiceKind, WeightedService};
use crate::problem::{Code, Problem};
use crate::table::Table;

/// A warning for each reference to what is not there, where compile has not reported its owner.
pub fn dangling(table: &Table) -> Vec<Problem> {
    let desired = &table.desired;
    let told: BTreeSet<&str> = table.problems.iter().map(|problem| &*problem.subject).collect();
    let mut problems = Vec::new();
    for (name, source) in &desired.middlewares {
        let about = format!("middleware {name}");
        let home = name.provider();
        let inner = source.value.chain().unwrap_or_default();
        let gone = missing("middleware", inner, home, &desired.middlewares);
        let service = source.value.service().map(str::to_owned);
        let gone = gone.chain(missing("service", service.as_slice(), home, &desired.services));
        let gone = gone.filter(|_| !told.contains(&*about));
        problems.extend(gone.map(|fault| warning(&fault, origin(source), &about)));
    }
    for (name, source) in &desired.services {
        let about = format!("service {name}");
        let home = name.provider();
        let below = services(&source.value);
        let gone = missing("service", &below, home, &desired.services);
        let own = &source.value.middlewares;
        let gone = gone.chain(missing("middleware", own, home, &desired.middlewares));
        let gone = gone.filter(|_| !told.contains(&*about));
        problems.extend(gone.map(|fault| warning(&fault, origin(source), &about)));
    }
    problems
}

fn warning(fault: &Fault, origin: crate::problem::Origin, about: &str) -> Problem {
    let text = format!("{}; no router uses it so far", fault.text);
    let mend = fault.mend.as_deref().unwrap_or("define it, or correct the name");
    Problem::warning(fault.code, origin, text).about(about).mend(mend)
}

/// What the names of one kind refer to and nothing has.
fn missing<'a, T>(
    kind: &'a str,
    references: &'a [String],
    home: Provider,
    items: &'a Items<T>,
) -> impl Iterator<Item = Fault> + 'a {
    let is_gone = move |reference: &&String| match Name::resolve(reference, home) {
        // Those inside Wharf are no items.
        Some(name) => name.provider() != Provider::Internal && !items.contains_key(&name),
        None => true,
    };
    references.iter().filter(is_gone).map(move |reference| {
        let text = format!("the {kind} \"{}\" does not exist", qualify(reference, home));
        Fault::new(Code::UnknownName, text).mend(known_names(reference, home, items.keys()))
    })
}

/// The services that a service sends requests to.
fn services(service: &Service) -> Vec<String> {
    let named = |all: &[WeightedService]| all.iter().map(|one| one.name.clone()).collect();
    match &service.kind {
        ServiceKind::LoadBalancer(_) => Vec::new(),
        ServiceKind::Weighted(weighted) => named(&weighted.services),
        ServiceKind::HighestRandomWeight(highest) => named(&highest.services),
        ServiceKind::Failover(failover) => {
            vec![failover.service.clone(), failover.fallback.clone()]
        }
        ServiceKind::Mirroring(mirroring) => {
            let mirrors = mirroring.mirrors.iter().map(|mirror| mirror.name.clone());
            mirrors.chain([mirroring.service.clone()]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::compile::tests::{compiled, context, desired, router};
    use crate::model::{Desired, Router, Sourced, Weighted};
    use crate::problem::Origin;

    fn found(desired: Desired) -> Vec<String> {
        let table = compiled(&context(|_| ()), desired);
        let told = dangling(&table);
        told.iter().map(|problem| format!("{}: {}", problem.subject, problem.text)).collect()
    }

    fn weighted(names: &[&str]) -> Service {
        let child = |name: &&str| WeightedService { name: (*name).to_owned(), weight: None };
        let services = names.iter().map(child).collect();
        let weighted = Weighted { services, ..Weighted::default() };
        ServiceKind::Weighted(weighted).into()
    }

    fn with(mut desired: Desired, name: &str, service: Service) -> Desired {
        let source = Sourced::new(service, vec![Origin::Internal]);
        desired.services.insert(Name::new(name, Provider::File), Arc::new(source));
        desired
    }

    #[test]
    fn a_name_that_is_not_there_is_told_also_where_no_router_asks_for_it() {
        let desired = with(Desired::default(), "unused", weighted(&["gone", "noop@internal"]));

        assert_eq!(
            found(desired),
            [
                "service unused@file: the service \"gone@file\" does not exist; no router uses it so \
              far"
            ]
        );
    }

    #[test]
    fn what_compile_reports_is_not_told_twice() {
        let user = Router { service: "used".to_owned(), ..router("Host(`a`)") };
        let desired = with(desired(&[("a", user)]), "used", weighted(&["gone"]));

        assert_eq!(found(desired), [""; 0]);
    }
}
