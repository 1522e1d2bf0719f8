//! What tells series apart, under Traefik's names.

use super::metrics::ScopeName;
use super::series::Key;

/// Names and values.
pub(super) type Labels<'a> = Vec<(&'a str, &'a str)>;

/// The middle of its series' names.
pub(super) fn family_of(name: &ScopeName) -> &'static str {
    match name {
        ScopeName::EntryPoint(_) => "entrypoint",
        ScopeName::Router { .. } => "router",
        ScopeName::Service(_) => "service",
    }
}

/// Whose series it is.
pub(super) fn scope_labels(name: &ScopeName) -> Labels<'_> {
    match name {
        ScopeName::EntryPoint(name) => vec![("entrypoint", name)],
        ScopeName::Router { router, service } => vec![("router", router), ("service", service)],
        ScopeName::Service(name) => vec![("service", name)],
    }
}

/// A series' labels, in the order that Traefik prints them.
pub(super) fn key_labels<'a>(code: &'a str, key: Key, scope: &Labels<'a>) -> Labels<'a> {
    let mut labels = vec![("code", code), ("method", key.method()), ("protocol", key.protocol())];
    labels.extend(scope.iter().copied());
    labels
}
