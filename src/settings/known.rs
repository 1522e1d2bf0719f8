//! Every option that Traefik knows, with what Wharf does about it. What is not built, was
//! removed or is unknown is taken out of the tree and reported; the rest is for the decoder.

use crate::problem::{Code, Origin, Problem};
use crate::tree::{FlagKind, Node, suggest};

/// What Wharf does about an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Takes it.
    Built,
    /// Knows it from Traefik and refuses it.
    Later,
    /// Refuses it as Traefik does.
    Removed,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOption {
    /// What Wharf does about it.
    pub state: State,
    /// `entryPoints.<name>.address`; a last part `*` stands for all below.
    pub path: &'static str,
    /// `bool`, `string`, `list`, `struct`, ...
    pub kind: &'static str,
    /// Its default, in words.
    pub default: &'static str,
    /// What it does; of removed ones, what to do instead.
    pub meaning: &'static str,
}

/// All known options, in the order that they are shown.
pub fn options() -> impl Iterator<Item = KnownOption> {
    include_str!("known.tsv").lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let state = match columns.next()? {
            "built" => State::Built,
            "removed" => State::Removed,
            _ => State::Later,
        };
        Some(KnownOption {
            state,
            path: columns.next()?,
            kind: columns.next()?,
            default: columns.next()?,
            meaning: columns.next()?,
        })
    })
}

/// The known options by their paths.
#[derive(Debug, Default)]
pub(super) struct Schema {
    name: String,
    option: Option<KnownOption>,
    below: Vec<Schema>,
}

impl Schema {
    pub(super) fn new() -> Self {
        let mut root = Self::default();
        for option in options() {
            let path = option.path.replace("[n]", ".[n]");
            let names: Vec<&str> = path.split('.').collect();
            root.insert(&names, option);
        }
        root
    }

    fn insert(&mut self, names: &[&str], option: KnownOption) {
        let [name, rest @ ..] = names else {
            self.option = Some(option);
            return;
        };
        if let Some(schema) = self.below.iter_mut().find(|schema| schema.name == *name) {
            schema.insert(rest, option);
            return;
        }
        let mut schema = Self { name: (*name).to_owned(), ..Self::default() };
        schema.insert(rest, option);
        self.below.push(schema);
    }

    /// What is below under this key.
    pub(super) fn child(&self, key: &str) -> Option<&Self> {
        let named = self.below.iter().find(|schema| schema.name.eq_ignore_ascii_case(key));
        named.or_else(|| {
            let any = if key.starts_with('[') { "[n]" } else { "<name>" };
            self.below.iter().find(|schema| schema.name == any)
        })
    }

    /// How the flag of that name takes its value. Unknown ones take none, so that they do not
    /// swallow the next argument before they are refused.
    pub(super) fn flag_kind(&self, name: &str) -> FlagKind {
        let path = name.replace('[', ".[");
        let place = path.split('.').try_fold(self, |schema, key| schema.child(key));
        if name.eq_ignore_ascii_case("configfile") {
            return FlagKind::Value;
        }
        match place.and_then(|schema| schema.option.as_ref()).map(|option| option.kind) {
            None | Some("bool" | "struct" | "group" | "removed") => FlagKind::Switch,
            Some(kind) if kind.starts_with("list") => FlagKind::List,
            Some(_) => FlagKind::Value,
        }
    }

    /// Whether everything below it is one thing.
    fn group(&self) -> Option<&KnownOption> {
        self.below.iter().find(|schema| schema.name == "*")?.option.as_ref()
    }

    /// Takes out of the tree, and reports, all that Wharf does not take.
    pub(super) fn refuse(&self, node: &mut Node, problems: &mut Vec<Problem>) {
        self.refuse_below(node, "", problems);
    }

    fn refuse_below(&self, node: &mut Node, path: &str, problems: &mut Vec<Problem>) {
        // What is below a plain value is the decoder's to report.
        if self.below.is_empty() {
            return;
        }
        node.children.retain(|key, child| {
            let join = if path.is_empty() || key.index().is_some() { "" } else { "." };
            let at = |name: &str| format!("{path}{join}{name}");
            let Some(schema) = self.child(&key.0) else {
                let problem = match self.group() {
                    Some(option) => refusal(option, path, child.origin.clone()),
                    None => unknown(self, &key.0, &at(&key.0), child.origin.clone()),
                };
                problems.push(problem);
                return false;
            };
            let name = if schema.name.starts_with(['<', '[']) { &key.0 } else { &*schema.name };
            schema.keep(child, &at(name), problems)
        });
    }

    /// Whether the node stays; reports it when not.
    fn keep(&self, node: &mut Node, path: &str, problems: &mut Vec<Problem>) -> bool {
        match &self.option {
            Some(option) if option.state == State::Built => {}
            Some(option) => {
                // What was removed from a section has advice of its own.
                let mut removed = Vec::new();
                self.refuse_below(node, path, &mut removed);
                removed.retain(|problem| problem.code == Code::UnknownName);
                if removed.is_empty() {
                    removed.push(refusal(option, path, node.origin.clone()));
                }
                problems.append(&mut removed);
                return false;
            }
            None => {
                if let Some(option) = self.group()
                    && !node.children.keys().any(|key| self.child(&key.0).is_some())
                {
                    problems.push(refusal(option, path, node.origin.clone()));
                    return false;
                }
            }
        }
        self.refuse_below(node, path, problems);
        // A section that only had refused things in it is not an empty section.
        !node.is_empty() || self.option.is_some()
    }
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
    let mend = if path.starts_with("certificatesResolvers") || path.ends_with("certResolver") {
        "remove it, and give certificates in a file of the file provider (tls.certificates)"
    } else {
        "remove it to start without it"
    };
    Problem::error(Code::NotBuilt, origin, text).mend(mend)
}

pub(super) fn unknown(level: &Schema, key: &str, path: &str, origin: Origin) -> Problem {
    let known = level.below.iter().map(|schema| &*schema.name);
    let known = known.filter(|name| !name.starts_with(['<', '[', '*']));
    let mend = match suggest::nearest(key, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
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
        Schema::new().refuse(&mut node, &mut problems);
        (node, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_option_that_is_not_taken_is_named_once_with_its_mend() {
        let (node, problems) = refused(&[
            "tracing.otlp.http.endpoint",
            "tracing.samplerate",
            "tracing.jaeger.collector.endpoint",
            "providers.swarm.endpoint",
            "providers.swarm.network",
            "providers.docker.swarmmode",
            "providers.docker",
            "entrypoints.web.adress",
            "certificatesresolvers.le.acme.email",
            "api.insecure",
            "nosuch",
        ]);

        assert_eq!(
            problems,
            [
                "flag --certificatesresolvers.le.acme.email: `certificatesResolvers.le` is an \
                 option of Traefik's; Wharf does not support it yet; remove it, and give \
                 certificates in a file of the file provider (tls.certificates)",
                "flag --entrypoints.web.adress: no such option `entryPoints.web.adress`; did you \
                 mean `address`?",
                "flag --nosuch: no such option `nosuch`; known here: entryPoints, providers, api, \
                 ping, log, accessLog, metrics, certificatesResolvers, global, core, \
                 experimental, hostResolver, ocsp, serversTransport, tracing, spiffe, \
                 tcpServersTransport, pilot, wharf",
                "flag --providers.docker.swarmmode: `providers.docker.swarmMode` was removed in \
                 Traefik v3; use providers.swarm",
                "flag --providers.swarm.endpoint: `providers.swarm` is an option of Traefik's; \
                 Wharf does not support it yet; remove it to start without it",
                "flag --tracing.jaeger.collector.endpoint: `tracing.jaeger` was removed in \
                 Traefik v3; use tracing.otlp",
            ]
        );
        assert!(node.get("api.insecure").is_some());
        assert!(node.get("providers.docker").is_some());
        assert!(node.get("providers.swarm").is_none());
        assert!(node.get("tracing").is_none());
    }

    #[test]
    fn flags_take_their_values_as_their_options_do() {
        let schema = Schema::new();
        for (flag, kind) in [
            ("api", FlagKind::Switch),
            ("API.Insecure", FlagKind::Switch),
            ("configFile", FlagKind::Value),
            ("entrypoints.web.address", FlagKind::Value),
            ("entrypoints.web.http.middlewares", FlagKind::List),
            ("entrypoints.web.http.tls.domains[0].main", FlagKind::Value),
            ("nosuch", FlagKind::Switch),
        ] {
            assert_eq!(schema.flag_kind(flag), kind, "{flag}");
        }
    }
}
