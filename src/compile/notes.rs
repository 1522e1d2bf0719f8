//! What is allowed, and yet an operator should know of: what labels reach outside their own
//! provider, and servers that are not verified.

use crate::model::{Desired, Name, Provider, Router, ServiceKind, Sourced};
use crate::problem::{Code, Origin, Problem};
use crate::settings::Settings;

use super::report::origin;

/// All of them, for `wharf check`.
pub fn notes(settings: &Settings, desired: &Desired) -> Vec<Problem> {
    let mut notes = Vec::new();
    for (name, router) in of_labels(&desired.routers) {
        let written = [references(&router.value), router.value.middlewares.clone()].concat();
        notes.extend(foreign("router", name, router, &written));
    }
    for (name, middleware) in of_labels(&desired.middlewares) {
        let chain = middleware.value.chain().unwrap_or_default().iter().cloned();
        let service = middleware.value.service().map(str::to_owned);
        let written: Vec<String> = chain.chain(service).collect();
        notes.extend(foreign("middleware", name, middleware, &written));
    }
    for (name, service) in of_labels(&desired.services) {
        let mut written = service.value.middlewares.clone();
        if let ServiceKind::LoadBalancer(balancer) = &service.value.kind {
            written.push(balancer.servers_transport.clone());
        }
        notes.extend(foreign("service", name, service, &written));
    }
    for (name, transport) in &desired.transports {
        if transport.value.insecure_skip_verify {
            notes.push(unverified(origin(transport)).about(format!("servers transport {name}")));
        }
    }
    if settings.servers_transport.insecure_skip_verify {
        notes.push(unverified(Origin::Internal).about("serversTransport"));
    }
    notes
}

fn of_labels<T>(
    items: &crate::model::Items<T>,
) -> impl Iterator<Item = (&Name, &std::sync::Arc<Sourced<T>>)> {
    items.iter().filter(|(name, _)| name.provider() == Provider::Docker)
}

fn references(router: &Router) -> Vec<String> {
    let options = router.tls.as_ref().map(|tls| tls.options.clone());
    [Some(router.service.clone()), options].into_iter().flatten().collect()
}

/// A note for each reference that leaves the labels (security rule L5).
fn foreign<T>(
    kind: &str,
    name: &Name,
    source: &Sourced<T>,
    written: &[String],
) -> impl Iterator<Item = Problem> {
    let leaves = |reference: &&String| {
        reference.split_once('@').is_some_and(|(_, provider)| provider != "docker")
    };
    written.iter().filter(leaves).map(move |reference| {
        let text = format!("a label refers to {reference}, which is not made by labels");
        Problem::warning(Code::Notice, origin(source), text).about(format!("{kind} {name}"))
    })
}

fn unverified(origin: Origin) -> Problem {
    let text = "insecureSkipVerify: the servers' certificates are not verified";
    Problem::warning(Code::Notice, origin, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_leaves_the_labels_and_what_is_not_verified_is_listed() {
        let router = Router {
            service: "api@internal".to_owned(),
            middlewares: vec!["own".to_owned(), "auth@file".to_owned(), "x@docker".to_owned()],
            ..Router::default()
        };
        let mut desired = Desired::default();
        for provider in [Provider::Docker, Provider::File] {
            let sourced = Sourced::new(router.clone(), vec![Origin::Internal]);
            desired.routers.insert(Name::new("a", provider), Arc::new(sourced));
        }
        let mut settings = Settings::default();
        settings.servers_transport.insecure_skip_verify = true;

        let notes = notes(&settings, &desired);

        let texts: Vec<_> =
            notes.iter().map(|note| format!("{}: {}", note.subject, note.text)).collect();
        assert_eq!(
            texts,
            [
                "router a@docker: a label refers to api@internal, which is not made by labels",
                "router a@docker: a label refers to auth@file, which is not made by labels",
                "serversTransport: insecureSkipVerify: the servers' certificates are not verified",
            ]
        );
    }
}
