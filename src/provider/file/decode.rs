//! One file's tree to model parts.

use std::sync::Arc;

use super::known;
use super::service::service;
use crate::labels::bad_name;
use crate::middleware::Spec;
use crate::model::{
    CertificateFiles, Desired, Items, Name, Provider, Router, ServersTransport, Sourced, Store,
    TlsOptions,
};
use crate::problem::{Code, Origin, Problem, Severity};
use crate::tree::known::State;
use crate::tree::{self, Node, suggest};

/// Reads a file. Each thing that can't be understood is left out alone.
pub(super) fn decode(root: &Node) -> Desired {
    let mut desired = Desired::default();
    let mut problems = Vec::new();
    for (key, section) in root.entries() {
        match named(key, &["http", "tls", "tcp", "udp"]) {
            Some("http") => http(section, &mut desired, &mut problems),
            Some("tls") => tls(section, &mut desired, &mut problems),
            Some(_) if section.is_empty() => {}
            Some(kind) => problems.push(
                Problem::error(
                    Code::NotBuilt,
                    section.origin.clone(),
                    format!("{} routers are not built yet", kind.to_ascii_uppercase()),
                )
                .mend(format!("remove the section {kind}; the rest of the file is served")),
            ),
            None => problems.push(unknown(key, section, &["http", "tls", "tcp", "udp"])),
        }
    }
    desired.problems = problems;
    desired
}

pub(super) fn named<'k>(key: &str, names: &[&'k str]) -> Option<&'k str> {
    names.iter().copied().find(|name| name.eq_ignore_ascii_case(key))
}

pub(super) fn unknown(key: &str, node: &Node, names: &[&str]) -> Problem {
    let mend = match suggest::nearest(key, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", names.join(", ")),
    };
    Problem::error(Code::UnknownKey, node.origin.clone(), format!("no such section `{key}`"))
        .mend(mend)
}

fn http(section: &Node, desired: &mut Desired, problems: &mut Vec<Problem>) {
    const NAMES: [&str; 4] = ["routers", "middlewares", "services", "serversTransports"];
    refuse_value("http", section, problems);
    for (key, node) in section.entries() {
        let mut reader = Reader { part: "http", node, problems };
        match named(key, &NAMES) {
            Some("routers") => reader.all("routers", "router", &mut desired.routers, router),
            Some("middlewares") => {
                reader.all("middlewares", "middleware", &mut desired.middlewares, Spec::decode);
            }
            Some("services") => reader.all("services", "service", &mut desired.services, service),
            Some(name) => {
                let decode = tree::decode::<ServersTransport>;
                reader.all(name, "servers transport", &mut desired.transports, decode);
            }
            None => problems.push(unknown(key, node, &NAMES)),
        }
    }
}

fn tls(section: &Node, desired: &mut Desired, problems: &mut Vec<Problem>) {
    const NAMES: [&str; 3] = ["certificates", "stores", "options"];
    refuse_value("tls", section, problems);
    for (key, node) in section.entries() {
        let mut reader = Reader { part: "tls", node, problems };
        match named(key, &NAMES) {
            Some("certificates") => reader.certificates(&mut desired.tls.certificates),
            Some("stores") => {
                reader.all("stores", "TLS store", &mut desired.tls.stores, tree::decode::<Store>);
            }
            Some(name) => {
                let decode = tree::decode::<TlsOptions>;
                reader.all(name, "TLS options", &mut desired.tls.options, decode);
            }
            None => problems.push(unknown(key, node, &NAMES)),
        }
    }
}

fn refuse_value(key: &str, node: &Node, problems: &mut Vec<Problem>) {
    if let Some(value) = node.value.as_deref().filter(|value| !value.is_empty()) {
        let text = format!("`{key}` takes sections below it, not the value {value:?}");
        let problem = Problem::error(Code::BadValue, node.origin.clone(), text);
        problems.push(problem.mend("remove the value, and write sections below it"));
    }
}

/// Reads the things of one section.
struct Reader<'r> {
    /// `http` or `tls`.
    part: &'static str,
    node: &'r Node,
    problems: &'r mut Vec<Problem>,
}

impl Reader<'_> {
    fn all<T>(
        &mut self,
        section: &str,
        kind: &str,
        items: &mut Items<T>,
        decode: impl Fn(&Node, &mut Vec<Problem>) -> Option<T>,
    ) {
        refuse_value(section, self.node, self.problems);
        for (name, node) in self.node.entries() {
            let mut found = Vec::new();
            found.extend(bad_name(kind, name, node));
            found.extend(not_built(self.part, section, node));
            let value = if found.is_empty() { decode(node, &mut found) } else { None };
            let name = Name::new(name, Provider::File);
            if value.is_none() && !found.iter().any(|p| p.severity == Severity::Error) {
                // Whatever it was, it must not go without a word.
                let problem = Problem::error(Code::BadValue, node.origin.clone(), "not understood");
                found.push(problem.mend("write keys below it, as the documentation shows"));
            }
            let about = format!("{kind} {name}");
            self.problems.extend(found.into_iter().map(|problem| problem.about(about.as_str())));
            if let Some(value) = value {
                let from = vec![node.origin.clone()];
                items.insert(name, Arc::new(Sourced::new(value, from)));
            }
        }
    }

    fn certificates(&mut self, all: &mut Vec<Arc<Sourced<CertificateFiles>>>) {
        if !self.node.is_list() && !self.node.is_empty() {
            let text = "`tls.certificates` is a list";
            let problem = Problem::error(Code::BadValue, self.node.origin.clone(), text);
            self.problems.push(problem.mend("put a - in front of each certFile"));
            return;
        }
        for (_, node) in self.node.entries() {
            let Some(value) = tree::decode::<CertificateFiles>(node, self.problems) else {
                continue;
            };
            if value.cert_file.is_empty() || value.key_file.is_empty() {
                let missing = if value.cert_file.is_empty() { "certFile" } else { "keyFile" };
                let text = format!("a certificate needs `{missing}`");
                let problem = Problem::error(Code::Certificate, node.origin.clone(), text);
                self.problems.push(problem.mend("give certFile and keyFile, paths or PEM texts"));
                continue;
            }
            all.push(Arc::new(Sourced::new(value, vec![node.origin.clone()])));
        }
    }
}

/// What is known to Traefik and not built here, by name.
fn not_built(part: &str, section: &str, node: &Node) -> Vec<Problem> {
    let found = known::thing(part, section).map(|schema| schema.refused(node)).unwrap_or_default();
    found
        .into_iter()
        .map(|(path, node, option)| {
            let text = format!("`{path}` is not built yet");
            let mend = if option.state == State::Removed { option.meaning } else { "remove it" };
            Problem::error(Code::NotBuilt, node.origin.clone(), text).mend(mend)
        })
        .collect()
}

fn router(node: &Node, problems: &mut Vec<Problem>) -> Option<Router> {
    // A router of nothing but defaults has no rule, which the compiler says better.
    if node.is_empty() { Some(Router::default()) } else { tree::decode(node, problems) }
}

/// Puts one file's content to that of others. What two files name the same stays with the
/// first, as in Traefik.
pub(super) fn join(all: &mut Desired, one: &Desired) {
    let problems = &mut all.problems;
    put("router", &mut all.routers, &one.routers, problems);
    put("middleware", &mut all.middlewares, &one.middlewares, problems);
    put("service", &mut all.services, &one.services, problems);
    put("servers transport", &mut all.transports, &one.transports, problems);
    put("TLS options", &mut all.tls.options, &one.tls.options, problems);
    put("TLS store", &mut all.tls.stores, &one.tls.stores, problems);
    for certificate in &one.tls.certificates {
        if all.tls.certificates.iter().all(|known| known.value != certificate.value) {
            all.tls.certificates.push(Arc::clone(certificate));
        }
    }
    all.problems.extend(one.problems.iter().cloned());
}

fn put<T>(kind: &str, all: &mut Items<T>, one: &Items<T>, problems: &mut Vec<Problem>) {
    for (name, item) in one {
        let Some(first) = all.get(name) else {
            all.insert(name.clone(), Arc::clone(item));
            continue;
        };
        let place = |item: &Sourced<T>| item.from.first().cloned().unwrap_or(Origin::Internal);
        let text = format!("already in {}, which is used", place(first));
        problems.push(
            Problem::error(Code::Conflict, place(item), text)
                .about(format!("{kind} {name}"))
                .mend("give one of the two another name"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(text: &str) -> Desired {
        decode(&tree::file::yaml(Path::new("/x/dynamic.yml"), text).unwrap())
    }

    fn texts(desired: &Desired) -> Vec<String> {
        desired.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_sections_are_read_and_qualified() {
        let desired = read(
            "http:\n  routers:\n    web:\n      rule: Host(`a`)\n      service: web\n      tls: {}\n\
             \x20 middlewares:\n    strip:\n      stripPrefix:\n        prefixes: [/a, /b]\n\
             \x20 services:\n    web:\n      loadBalancer:\n        servers:\n        - url: http://127.0.0.1:81\n\
             \x20   split:\n      weighted:\n        services:\n        - {name: web, weight: 3}\n\
             \x20 serversTransports:\n    slow:\n      forwardingTimeouts:\n        dialTimeout: 7s\n\
             tls:\n  certificates:\n  - certFile: a.pem\n    keyFile: a.key\n\
             \x20 stores:\n    default:\n      defaultCertificate:\n        certFile: b.pem\n        keyFile: b.key\n\
             \x20 options:\n    strict:\n      minVersion: VersionTLS13\n      sniStrict: true\n",
        );

        assert_eq!(texts(&desired), Vec::<String>::new());
        let names: Vec<_> = desired
            .routers
            .keys()
            .chain(desired.middlewares.keys())
            .chain(desired.services.keys())
            .chain(desired.transports.keys())
            .chain(desired.tls.options.keys())
            .map(Name::as_str)
            .collect();
        assert_eq!(
            names,
            ["web@file", "strip@file", "split@file", "web@file", "slow@file", "strict@file"]
        );
        assert_eq!((desired.tls.certificates.len(), desired.tls.stores.len()), (1, 1));
        let router = desired.routers.values().next().unwrap();
        assert!(router.value.tls.is_some());
        assert!(router.from[0].to_string().starts_with("/x/dynamic.yml:3"), "{:?}", router.from);
    }

    #[test]
    fn one_bad_field_leaves_out_its_own_thing_and_names_the_line() {
        for (bad, text) in [
            ("routers: {bad: {rul: x}}", "no such key `rul`; did you mean `rule`?"),
            ("routers: {bad: {priority: abc}}", "priority"),
            ("routers: {bad: {rule: x, parentRefs: [a]}}", "`parentRefs` is not built"),
            ("routers: {b@d: {rule: x}}", "holds an @"),
            (
                "services: {bad: {loadBalancr: {}}}",
                "no kind of service `loadBalancr`; did you mean `loadBalancer`?",
            ),
            ("services: {bad: {loadBalancer: {servers: [{weight: 1}]}}}", "without a `url`"),
            ("services: {bad: {loadBalancer: {server: {port: 1}}}}", "is for labels"),
            (
                "services: {bad: {failover: {service: a, error: {status: [500]}}}}",
                "no such key `error`; did you mean `errors`?",
            ),
            (
                "serversTransports: {bad: {spiffe: {id: []}}}",
                "no such key `spiffe.id`; did you mean `ids`?",
            ),
            ("serversTransports: {bad: {dialTimeout: 1}}", "no such key `dialTimeout`"),
            ("models: {}", "no such section `models`"),
        ] {
            let good = "http:\n  middlewares:\n    ok: {stripPrefix: {prefixes: [/a]}}\n";

            let desired = read(&format!("{good}  {bad}\n"));

            assert_eq!(desired.middlewares.len(), 1, "{bad}");
            assert!(desired.routers.is_empty() && desired.services.is_empty(), "{bad}");
            let texts = texts(&desired);
            let is_told =
                texts.iter().any(|t| t.contains(text) && t.starts_with("/x/dynamic.yml:4"));
            assert!(is_told, "{bad}: {texts:?}");
        }
    }

    #[test]
    fn tcp_and_udp_are_refused_by_name_and_the_rest_is_served() {
        let desired =
            read("tcp:\n  routers: {a: {rule: x}}\nhttp:\n  routers: {b: {rule: x}}\nudq: {}\n");

        assert_eq!(desired.routers.len(), 1);
        let texts = texts(&desired);
        assert!(texts[0].contains("TCP routers are not built yet"), "{texts:?}");
        assert!(texts[1].contains("no such section `udq`; did you mean `udp`?"), "{texts:?}");
    }

    #[test]
    fn two_files_with_one_name_keep_the_first() {
        let mut all = Desired::default();
        join(&mut all, &read("http: {routers: {a: {rule: first}}}"));
        join(&mut all, &read("http: {routers: {a: {rule: second}, b: {rule: x}}}"));

        let rules: Vec<_> = all.routers.values().map(|item| item.value.rule.as_str()).collect();
        assert_eq!(rules, ["first", "x"]);
        assert!(all.problems[0].text.contains("already in /x/dynamic.yml"));
    }
}
