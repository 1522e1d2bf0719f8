//! Which certificates routers want, and of whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::placement::Placed;
use super::report::{Fault, known};
use super::{Context, Problems};
use crate::acme::{self, Wanted};
use crate::model::{Name, RouterTls};
use crate::problem::{Code, Problem};
use crate::route::Route;

/// Most names of one certificate.
const MOST: usize = 100;

/// Finds them, once each. As Traefik: `tls.domains` where there are any, else all hosts of
/// the rule for one certificate; a router whose resolver is unknown serves all the same.
pub(super) fn find(
    cx: &Context,
    placed: &[Placed],
    routes: &BTreeMap<Name, Arc<Route>>,
    problems: Problems<'_>,
) -> Vec<Wanted> {
    let mut wanted: BTreeMap<(Arc<str>, Vec<String>), Vec<Name>> = BTreeMap::new();
    for one in placed {
        let Some(tls) = &one.router.value.tls else { continue };
        let Some(route) = routes.get(&one.name).filter(|_| !tls.cert_resolver.is_empty()) else {
            continue;
        };
        let resolvers = &cx.settings.certificates_resolvers;
        if !resolvers.contains_key(&tls.cert_resolver) {
            let text = format!(
                "Router uses a nonexistent certificate resolver: {:?}; the default certificate \
                 is served",
                tls.cert_resolver
            );
            let mend = known(&tls.cert_resolver, resolvers.keys().map(String::as_str));
            problems.push(warning(one, Code::UnknownName, text, mend));
            continue;
        }
        for names in sets(tls, route) {
            let bad = names.iter().find_map(|name| Some((name, acme::bad_name(name)?)));
            let is_wildcard = names.iter().any(|name| name.starts_with("*."));
            let by_dns = resolvers
                .get(&tls.cert_resolver)
                .and_then(|resolver| resolver.acme.as_ref())
                .is_some_and(|acme| acme.dns_challenge.is_some());
            let refused = if let Some((name, why)) = bad {
                Some((
                    format!("no certificate can be ordered for {name:?}: {why}"),
                    "use a public DNS name, or take `certResolver` off",
                ))
            } else if is_wildcard && !by_dns {
                Some((
                    format!(
                        "no certificate can be ordered for {}: only the DNS challenge can show \
                         that all of a domain is ours",
                        names.join(", ")
                    ),
                    "use a resolver with `dnsChallenge`, or name the hosts one by one",
                ))
            } else if names.len() > MOST {
                Some((
                    format!("{} names are too many for one certificate", names.len()),
                    "100 at most: make several routers, or list them in several `tls.domains`",
                ))
            } else {
                None
            };
            if let Some((text, mend)) = refused {
                problems.push(warning(one, Code::BadValue, text, mend.to_owned()));
                continue;
            }
            let resolver: Arc<str> = tls.cert_resolver.as_str().into();
            let users = wanted.entry((resolver, names)).or_default();
            if !users.contains(&one.name) {
                users.push(one.name.clone());
            }
        }
    }
    let wanted = wanted.into_iter();
    wanted.map(|((resolver, names), routers)| Wanted { resolver, names, routers }).collect()
}

fn sets(tls: &RouterTls, route: &Route) -> Vec<Vec<String>> {
    let tidy = |names: Vec<&str>| {
        let mut tidied: Vec<String> = Vec::with_capacity(names.len());
        for name in names {
            let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
            if !name.is_empty() && !tidied.contains(&name) {
                tidied.push(name);
            }
        }
        tidied
    };
    let domains: Vec<_> = if tls.domains.is_empty() {
        let hosts = route.program.hosts();
        vec![tidy(hosts.iter().map(AsRef::as_ref).filter(|host: &&str| *host != "*").collect())]
    } else {
        let domains = tls.domains.iter();
        domains
            .map(|domain| {
                let sans = domain.sans.iter().map(String::as_str);
                tidy([domain.main.as_str()].into_iter().chain(sans).collect())
            })
            .collect()
    };
    domains.into_iter().filter(|names| !names.is_empty()).collect()
}

fn warning(placed: &Placed, code: Code, text: String, mend: String) -> Problem {
    let fault = Fault::new(code, text).mend(mend).field("tls.certresolver");
    let mut problem = fault.problem("router", &placed.name, &placed.router);
    problem.severity = crate::problem::Severity::Warning;
    problem
}
