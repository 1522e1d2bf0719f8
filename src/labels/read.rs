//! A container's labels to a tree: which are ours, which are known, what becomes of the rest.

use super::Container;
use super::known;
use crate::problem::{Code, ContainerRef, Origin, Problem};
use crate::tree::known::State;
use crate::tree::{self, Node};

/// Puts the labels of ours into a tree.
pub(super) fn labels(container: &Container, problems: &mut Vec<Problem>) -> Node {
    let this = &container.container;
    let mut root = Node::new(Origin::Container(this.clone()));
    let ours = container.labels.iter().filter(|(key, _)| is_ours(key));
    if ours.clone().count() > tree::MAX_LABELS {
        let text = format!("more than {} labels", tree::MAX_LABELS);
        problems.push(
            Problem::error(Code::BadValue, root.origin.clone(), text)
                .mend("declare some of it in a file"),
        );
        return root;
    }
    for (key, value) in ours {
        let outcome = admit(this, key).and_then(|()| tree::label(&mut root, this, key, value));
        problems.extend(outcome.err());
    }
    root
}

fn is_ours(key: &str) -> bool {
    let root = key.split('.').next().unwrap_or_default();
    key.len() > root.len()
        && (root.eq_ignore_ascii_case("traefik") || root.eq_ignore_ascii_case("wharf"))
}

/// Whether a key is to be read; the problem says why it is not.
fn admit(container: &ContainerRef, key: &str) -> Result<(), Problem> {
    let origin = || Origin::Label { container: container.clone(), key: key.into() };
    let (root, path) = key.split_once('.').unwrap_or((key, ""));
    if root != "traefik" && root != "wharf" {
        let text = format!("invalid label root {root}");
        let lower = root.to_ascii_lowercase();
        return Err(Problem::error(Code::UnknownKey, origin(), text)
            .mend(format!("write {lower}.{path}: the first word must be in lower case")));
    }
    if root == "traefik" && known::is_own(path) {
        // As Traefik, which leaves out the container, or does not look at the label: the same
        // labels must do the same there.
        let text = "no such key in Traefik: it is one of Wharf's own";
        let problem = if is_read_by_traefik(path) { Problem::error } else { Problem::warning };
        return Err(problem(Code::UnknownKey, origin(), text)
            .mend(format!("write `wharf.{path}`, which Traefik passes over")));
    }
    match known::find(path) {
        Ok(State::Built) => Ok(()),
        Ok(State::Ignored) => Err(without_effect(origin(), path)),
        // The middleware is refused by its kind, once and not for each key.
        Ok(State::Later) if known::is_of_middleware(path) => Ok(()),
        Ok(State::Later | State::Removed) => Err(not_built(origin(), path)),
        Err(unknown) => {
            let is_read = root != "traefik" || is_read_by_traefik(path);
            let text = if !is_read {
                format!("no such key `{}`, and so without effect, as in Traefik", unknown.part)
            } else if unknown.is_section {
                format!("`{}` cannot be a standalone element: set a key below it", unknown.part)
            } else {
                format!("no such key `{}`", unknown.part)
            };
            let mend = match unknown.meant {
                Some(meant) => format!("did you mean `{root}.{meant}`?"),
                None if unknown.known.is_empty() && unknown.is_section => {
                    "put a name behind it".to_owned()
                }
                None if unknown.known.is_empty() => {
                    "the key before it takes a value; lists are split at commas".to_owned()
                }
                None => format!("known here: {}", unknown.known.join(", ")),
            };
            let problem = if is_read { Problem::error } else { Problem::warning };
            Err(problem(Code::UnknownKey, origin(), text).mend(mend))
        }
    }
}

/// As Traefik, which reads what begins like this, not only whole words: `traefik.enabled` is
/// an error, `traefik.note` is nothing to it.
fn is_read_by_traefik(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["http", "tcp", "udp", "tls", "enable", "docker"].iter().any(|start| path.starts_with(start))
}

/// Says what Traefik does not: that a key has no effect.
fn without_effect(origin: Origin, path: &str) -> Problem {
    let mend = if path.to_ascii_lowercase().starts_with("swarm.") {
        "it is Swarm's; remove it if this is no Swarm service"
    } else {
        "remove it, or write it in a file: labels can't set it"
    };
    Problem::warning(Code::NotBuilt, origin, "has no effect as a label, as in Traefik").mend(mend)
}

fn not_built(origin: Origin, path: &str) -> Problem {
    let lower = path.to_ascii_lowercase();
    let (what, mend) = if lower.starts_with("tcp.") {
        ("TCP routers are", "remove the traefik.tcp.* labels")
    } else if lower.starts_with("udp.") {
        ("UDP routers are", "remove the traefik.udp.* labels")
    } else if lower.ends_with(".middlewares") {
        ("middlewares of a service are", "list them on the routers")
    } else {
        ("services of services by label are", "declare the service in a file")
    };
    Problem::error(
        Code::NotBuilt,
        origin,
        format!("{what} not built yet; the container is left out"),
    )
    .mend(mend)
}
