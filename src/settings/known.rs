//! Every option that Traefik knows, with what Wharf does about it. What is not built, was
//! removed or is unknown is taken out of the tree and reported; the rest is for the decoder.

use crate::problem::{Code, Origin, Problem};
use crate::tree::known::{KnownOption, Schema, State, rows};
use crate::tree::{FlagKind, Node, suggest};

/// All known options, in the order that they are shown.
pub fn options() -> impl Iterator<Item = KnownOption> {
    rows(include_str!("known.tsv"))
}

/// How the flag of that name takes its value. Unknown ones take none, so that they do not
/// swallow the next argument before they are refused.
pub(super) fn flag_kind(schema: &Schema, name: &str) -> FlagKind {
    let path = name.replace('[', ".[");
    let place = path.split('.').try_fold(schema, |schema, key| schema.child(key));
    if name.eq_ignore_ascii_case("configfile") {
        return FlagKind::Value;
    }
    match place.and_then(|schema| schema.option.as_ref()).map(|option| option.kind) {
        None | Some("bool" | "struct" | "group" | "removed") => FlagKind::Switch,
        Some(kind) if kind.starts_with("list") => FlagKind::List,
        Some(_) => FlagKind::Value,
    }
}

/// Takes out of the tree, and reports, all that Wharf does not take.
pub(super) fn refuse(schema: &Schema, node: &mut Node, problems: &mut Vec<Problem>) {
    refuse_below(schema, node, "", problems);
}

fn refuse_below(schema: &Schema, node: &mut Node, path: &str, problems: &mut Vec<Problem>) {
    // What is below a plain value is the decoder's to report.
    if schema.below.is_empty() {
        return;
    }
    node.children.retain(|key, child| {
        let join = if path.is_empty() || key.index().is_some() { "" } else { "." };
        let at = |name: &str| format!("{path}{join}{name}");
        let Some(below) = schema.child(&key.0) else {
            let problem = match schema.group() {
                Some(option) => refusal(option, path, child.origin.clone()),
                None => unknown(schema, &key.0, &at(&key.0), child.origin.clone()),
            };
            problems.push(problem);
            return false;
        };
        let name = if below.name.starts_with(['<', '[']) { &key.0 } else { &*below.name };
        keep(below, child, &at(name), problems)
    });
}

/// Whether the node stays; reports it when not.
fn keep(schema: &Schema, node: &mut Node, path: &str, problems: &mut Vec<Problem>) -> bool {
    match &schema.option {
        Some(option) if option.state == State::Built => {}
        Some(option) => {
            // What was removed from a section has advice of its own.
            let mut removed = Vec::new();
            refuse_below(schema, node, path, &mut removed);
            removed.retain(|problem| problem.code == Code::UnknownName);
            if removed.is_empty() {
                removed.push(refusal(option, path, node.origin.clone()));
            }
            problems.append(&mut removed);
            return false;
        }
        None => {
            if let Some(option) = schema.group()
                && !node.children.keys().any(|key| schema.child(&key.0).is_some())
            {
                problems.push(refusal(option, path, node.origin.clone()));
                return false;
            }
        }
    }
    let was_empty = node.is_empty();
    refuse_below(schema, node, path, problems);
    // A section that only had refused things in it is not an empty section.
    !node.is_empty() || was_empty && schema.option.is_some()
}

fn refusal(option: &KnownOption, path: &str, origin: Origin) -> Problem {
    if option.state == State::Removed {
        return Problem::error(
            Code::UnknownName,
            origin,
            format!("`{path}` was removed in Traefik v3"),
        )
        .mend(option.meaning);
    }
    let text = format!("`{path}` is an option of Traefik's; Wharf does not support it yet");
    Problem::error(Code::NotBuilt, origin, text).mend(instead(path))
}

/// What to do without an option that is refused.
fn instead(path: &str) -> &'static str {
    const INSTEAD: [(&str, &str); 8] = [
        (
            "certificatesResolvers",
            "remove it; use `acme` instead, or certificates in a file (tls.certificates)",
        ),
        ("providers.swarm", "remove it; containers of this engine are found by providers.docker"),
        (
            "providers.http",
            "remove it, and let the answer be written to a file of providers.file, which is \
             watched",
        ),
        (
            "providers.rest",
            "remove it, and write the configuration to a file of providers.file, which is watched",
        ),
        (
            "providers.plugin",
            "remove it: there are no plugins; providers.file takes what a program writes",
        ),
        (
            "providers.",
            "remove it: Wharf has providers.docker and providers.file; what another source says \
             can be written to a file, which is watched",
        ),
        ("experimental.", "remove it: there are no plugins; the middlewares are built in"),
        ("tcpServersTransport", "remove it: there are no TCP routers that could use it"),
    ];
    if path.rsplit('.').next() == Some("http3") {
        return "remove it: clients then use HTTP/2 over the same address";
    }
    let known = INSTEAD.iter().find(|(start, _)| path.starts_with(start));
    known.map_or("remove it to start without it", |(_, mend)| mend)
}

pub(super) fn unknown(level: &Schema, key: &str, path: &str, origin: Origin) -> Problem {
    let mend = match suggest::nearest(key, level.words()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", level.taken().collect::<Vec<_>>().join(", ")),
    };
    Problem::error(Code::UnknownKey, origin, format!("no such option `{path}`")).mend(mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(paths: &[&str]) -> (Node, Vec<String>) {
        let mut node = Node::new(Origin::Internal);
        for path in paths {
            node.insert(path, "true", Origin::Flag(format!("--{path}").into())).unwrap();
        }
        let mut problems = Vec::new();
        refuse(&Schema::new(options()), &mut node, &mut problems);
        (node, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_option_that_is_not_taken_is_named_once_with_its_mend() {
        let (node, problems) = refused(&[
            "tracing.jaeger.collector.endpoint",
            "providers.swarm.endpoint",
            "providers.swarm.network",
            "providers.docker.swarmmode",
            "providers.docker",
            "entrypoints.web.adress",
            "certificatesresolvers.le.tailscale",
            "api.insecure",
            "nosuch",
        ]);

        assert_eq!(
            problems,
            [
                "flag --certificatesresolvers.le.tailscale: `certificatesResolvers.le.tailscale` is an \
                 option of Traefik's; Wharf does not support it yet; remove it; use \
                 `acme` instead, or certificates in a file (tls.certificates)",
                "flag --entrypoints.web.adress: no such option `entryPoints.web.adress`; did you \
                 mean `address`?",
                "flag --nosuch: no such option `nosuch`; known here: entryPoints, providers, api, \
                 ping, log, accessLog, metrics, certificatesResolvers, global, core, \
                 experimental, hostResolver, ocsp, serversTransport, tracing, spiffe, wharf",
                "flag --providers.docker.swarmmode: `providers.docker.swarmMode` was removed in \
                 Traefik v3; use providers.swarm",
                "flag --providers.swarm.endpoint: `providers.swarm` is an option of Traefik's; \
                 Wharf does not support it yet; remove it; containers of this engine are found by \
                 providers.docker",
                "flag --tracing.jaeger.collector.endpoint: `tracing.jaeger` was removed in \
                 Traefik v3; use tracing.otlp",
            ]
        );
        assert!(node.get("api.insecure").is_some());
        assert!(node.get("providers.docker").is_some());
        assert!(node.get("providers.swarm").is_none());
    }

    #[test]
    fn flags_take_their_values_as_their_options_do() {
        let schema = Schema::new(options());
        for (flag, kind) in [
            ("api", FlagKind::Switch),
            ("API.Insecure", FlagKind::Switch),
            ("configFile", FlagKind::Value),
            ("entrypoints.web.address", FlagKind::Value),
            ("entrypoints.web.http.middlewares", FlagKind::List),
            ("entrypoints.web.http.tls.domains[0].main", FlagKind::Value),
            ("nosuch", FlagKind::Switch),
        ] {
            assert_eq!(flag_kind(&schema, flag), kind, "{flag}");
        }
    }
}
