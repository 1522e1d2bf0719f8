//! Which certificates are wanted, and of whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::placement::Placed;
use super::report::{Fault, known, origin};
use super::{Context, Problems};
use crate::acme::{self, Wanted};
use crate::model::{Domain, Name, RouterTls, Tls, tidy};
use crate::problem::{Code, Problem, Severity};
use crate::route::Route;
use crate::settings::Settings;

/// Most names of one certificate.
const MOST: usize = 100;

/// Of whom, and for which names.
type Key = (Arc<str>, Vec<String>);

/// Finds them, once each. As Traefik: `tls.domains` where there are any, else all hosts of
/// the rule for one certificate; a router whose resolver is unknown serves all the same.
pub(super) fn find(
    cx: &Context,
    placed: &[Placed],
    routes: &BTreeMap<Name, Arc<Route>>,
    tls: &Tls,
    problems: Problems<'_>,
) -> Vec<Wanted> {
    let mut wanted: BTreeMap<Key, (Vec<Name>, bool)> = BTreeMap::new();
    for one in placed {
        let Some(tls) = &one.router.value.tls else { continue };
        let Some(route) = routes.get(&one.name).filter(|_| !tls.cert_resolver.is_empty()) else {
            continue;
        };
        let resolver: Arc<str> = tls.cert_resolver.as_str().into();
        if let Some((text, mend)) = unknown(&cx.settings, &resolver, "Router") {
            problems.push(warning(one, Code::UnknownName, text, mend));
            continue;
        }
        for names in sets(tls, route) {
            if let Some((text, mend)) = refused(&cx.settings, &resolver, &names) {
                problems.push(warning(one, Code::BadValue, text, mend.to_owned()));
                continue;
            }
            let (users, _) = wanted.entry((Arc::clone(&resolver), names)).or_default();
            if !users.contains(&one.name) {
                users.push(one.name.clone());
            }
        }
    }
    if let Some(key) = default(&cx.settings, tls, problems) {
        wanted.entry(key).or_default().1 = true;
    }
    let wanted = wanted.into_iter().map(|((resolver, names), (routers, is_default))| Wanted {
        resolver,
        names,
        routers,
        is_default,
    });
    wanted.collect()
}

/// The certificate that a resolver is to obtain as the default one.
fn default(settings: &Settings, tls: &Tls, problems: Problems<'_>) -> Option<Key> {
    let (name, store) = tls.default_store()?;
    let mut warn = |code, text: String, mend: String| {
        let problem = Problem::warning(code, origin(store), text);
        problems.push(problem.about(format!("TLS store {name}")).mend(mend));
    };
    if store.value.default_certificate.is_some() && store.value.default_generated_cert.is_some() {
        warn(
            Code::Conflict,
            "defaultCertificate and defaultGeneratedCert cannot be defined at the same time; the \
             first one is used"
                .to_owned(),
            "remove one of them".to_owned(),
        );
    }
    let generated = store.value.generated()?;
    let names = generated.names();
    if names.is_empty() || generated.resolver.is_empty() {
        let missing = if names.is_empty() { "domain.main" } else { "resolver" };
        warn(
            Code::BadValue,
            format!("defaultGeneratedCert has no {missing}; the self-signed certificate is served"),
            format!("set tls.stores.default.defaultGeneratedCert.{missing}"),
        );
        return None;
    }
    if let Some((text, mend)) = unknown(settings, &generated.resolver, "defaultGeneratedCert") {
        warn(Code::UnknownName, text, mend);
        return None;
    }
    if let Some((text, mend)) = refused(settings, &generated.resolver, &names) {
        warn(Code::BadValue, text, mend.to_owned());
        return None;
    }
    Some((generated.resolver.as_str().into(), names))
}

/// What is wrong with a resolver's name, and the mend.
fn unknown(settings: &Settings, resolver: &str, who: &str) -> Option<(String, String)> {
    let resolvers = &settings.certificates_resolvers;
    if resolvers.contains_key(resolver) {
        return None;
    }
    let text = format!(
        "{who} uses a nonexistent certificate resolver: {resolver:?}; the default certificate is \
         served"
    );
    Some((text, known(resolver, resolvers.keys().map(String::as_str))))
}

/// Why a resolver can't order a certificate for these names, and the mend.
fn refused(
    settings: &Settings,
    resolver: &str,
    names: &[String],
) -> Option<(String, &'static str)> {
    let bad = names.iter().find_map(|name| Some((name, acme::bad_name(name)?)));
    let is_wildcard = names.iter().any(|name| name.starts_with("*."));
    let by_dns = settings
        .certificates_resolvers
        .get(resolver)
        .and_then(|resolver| resolver.acme.as_ref())
        .is_some_and(|acme| acme.dns_challenge.is_some());
    if let Some((name, why)) = bad {
        Some((
            format!("no certificate can be ordered for {name:?}: {why}"),
            "use a public DNS name, or take `certResolver` off",
        ))
    } else if is_wildcard && !by_dns {
        Some((
            format!(
                "no certificate can be ordered for {}: only the DNS challenge can show that all \
                 of a domain is ours",
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
    }
}

fn sets(tls: &RouterTls, route: &Route) -> Vec<Vec<String>> {
    let domains: Vec<_> = if tls.domains.is_empty() {
        let hosts = route.program.hosts();
        vec![tidy(hosts.iter().map(AsRef::as_ref).filter(|host: &&str| *host != "*"))]
    } else {
        tls.domains.iter().map(Domain::names).collect()
    };
    domains.into_iter().filter(|names| !names.is_empty()).collect()
}

fn warning(placed: &Placed, code: Code, text: String, mend: String) -> Problem {
    let fault = Fault::new(code, text).mend(mend).field("tls.certresolver");
    let mut problem = fault.problem("router", &placed.name, &placed.router);
    problem.severity = Severity::Warning;
    problem
}
