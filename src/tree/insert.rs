//! Dotted paths (labels, flags, environment) into a tree, with the limits that text from
//! strangers needs.

use super::{Key, Node};
use crate::problem::{Code, ContainerRef, Origin, Problem};

/// Labels that are read from one container.
pub const MAX_LABELS: usize = 1024;
const MAX_KEY_BYTES: usize = 512;
const MAX_VALUE_BYTES: usize = 64 * 1024;
const MAX_DEPTH: usize = 32;
const MAX_INDEX: usize = 1023;

/// Puts one label into a container's tree. Its root (`traefik`, `wharf`) is dropped, so that
/// both can say the same thing; saying different things is a problem.
pub fn label(
    root: &mut Node,
    container: &ContainerRef,
    key: &str,
    value: &str,
) -> Result<(), Problem> {
    let origin = Origin::Label { container: container.clone(), key: key.into() };
    match key.split_once('.') {
        Some((_, path)) => root.insert(path, value, origin),
        None => Err(invalid(key, origin)),
    }
}

impl Node {
    /// Sets the value at a path such as `tls.domains[0].main`. The origin's own text is what
    /// problems quote.
    pub fn insert(&mut self, path: &str, value: &str, origin: Origin) -> Result<(), Problem> {
        if path.len() > MAX_KEY_BYTES {
            return Err(too_much(origin, "key", path.len(), MAX_KEY_BYTES, "bytes"));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(too_much(origin, "value", value.len(), MAX_VALUE_BYTES, "bytes"));
        }
        let keys = split(path, &origin)?;
        if keys.len() > MAX_DEPTH {
            return Err(too_much(origin, "key", keys.len(), MAX_DEPTH, "levels"));
        }
        let mut node = self;
        for key in keys {
            node = node.children.entry(key).or_insert_with(|| Node::new(origin.clone()));
        }
        match &node.value {
            Some(there) if **there != *value => Err(clash(origin, &node.origin)),
            Some(_) => Ok(()),
            None => {
                node.value = Some(value.into());
                node.origin = origin;
                Ok(())
            }
        }
    }
}

fn clash(origin: Origin, other: &Origin) -> Problem {
    let other = written(other);
    Problem::error(Code::Conflict, origin, format!("`{other}` sets the same to another value"))
        .mend("keep one of the two")
}

fn split(path: &str, origin: &Origin) -> Result<Vec<Key>, Problem> {
    let mut keys = Vec::new();
    for element in path.split('.') {
        let (name, items) = element.find('[').map_or((element, ""), |at| element.split_at(at));
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(invalid(&written(origin), origin.clone()));
        }
        keys.push(Key(name.into()));
        let mut rest = items;
        while !rest.is_empty() {
            let (index, tail) = rest
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .ok_or_else(|| invalid(&written(origin), origin.clone()))?;
            let index = index
                .parse()
                .ok()
                .filter(|index| *index <= MAX_INDEX)
                .ok_or_else(|| bad_index(index, origin.clone()))?;
            keys.push(Key::item(index));
            rest = tail;
        }
    }
    Ok(keys)
}

/// The key as the user wrote it.
pub(super) fn written(origin: &Origin) -> String {
    match origin {
        Origin::Label { key, .. } => key.to_string(),
        Origin::Flag(name) | Origin::Env(name) => name.to_string(),
        Origin::Container(_) | Origin::File { .. } | Origin::Engine(_) | Origin::Internal => {
            origin.to_string()
        }
    }
}

// As Traefik's words, which people search for.
fn invalid(key: &str, origin: Origin) -> Problem {
    Problem::error(Code::BadValue, origin, format!("invalid element: {key}"))
        .mend("a key is names with single dots between them, and `[0]` for list items")
}

fn bad_index(index: &str, origin: Origin) -> Problem {
    Problem::error(Code::BadValue, origin, format!("no list item `[{index}]`"))
        .mend(format!("list items are numbered from [0] to [{MAX_INDEX}]"))
}

fn too_much(origin: Origin, what: &str, is: usize, limit: usize, unit: &str) -> Problem {
    let text = format!("the {what} has {is} {unit}, more than the {limit} that are read");
    Problem::error(Code::BadValue, origin, text).mend(format!("make the {what} shorter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> ContainerRef {
        ContainerRef { name: "web-1".into(), id: "0123456789abcdef".into() }
    }

    fn tree(labels: &[(&str, &str)]) -> Result<Node, Problem> {
        let mut root = Node::new(Origin::Container(container()));
        for (key, value) in labels {
            label(&mut root, &container(), key, value)?;
        }
        Ok(root)
    }

    #[test]
    fn a_key_becomes_a_path_with_list_items() {
        let root = tree(&[
            ("traefik.http.routers.x.tls", "true"),
            ("traefik.http.routers.x.tls.domains[0].main", "a.org"),
            ("wharf.http.routers.X.Rule", "Path(`/`)"),
        ])
        .unwrap();

        let router = root.get("http.routers.x").unwrap();
        assert_eq!(router.child("tls").unwrap().value.as_deref(), Some("true"));
        assert_eq!(router.get("tls.domains.[0].main").unwrap().value.as_deref(), Some("a.org"));
        assert_eq!(router.get("rule").unwrap().value.as_deref(), Some("Path(`/`)"));
        assert!(router.get("tls.domains").unwrap().is_list());
    }

    #[test]
    fn keys_that_cannot_be_split_are_refused_in_traefiks_words() {
        for key in [
            "traefik.http.routers..rule",
            "traefik.",
            "traefik",
            "traefik.http.",
            "traefik.a[0",
            "traefik.a[0]b",
            "traefik.[0]",
        ] {
            let problem = tree(&[(key, "x")]).unwrap_err();
            assert_eq!(&*problem.text, format!("invalid element: {key}"), "{key}");
        }
    }

    #[test]
    fn what_goes_past_a_limit_is_refused() {
        let deep = format!("traefik{}", ".a".repeat(33));
        let long = format!("traefik.{}", "a".repeat(513));
        for key in [&*deep, &*long, "traefik.a[1024]", "traefik.a[-1]", "traefik.a[x]"] {
            assert!(tree(&[(key, "x")]).is_err(), "{key}");
        }
        assert!(tree(&[("traefik.a", &"x".repeat(64 * 1024 + 1))]).is_err());
        assert!(tree(&[("traefik.a[1023]", "x")]).is_ok());
    }

    #[test]
    fn one_key_may_be_written_twice_only_with_one_value() {
        assert!(tree(&[("traefik.enable", "true"), ("wharf.enable", "true")]).is_ok());

        let problem = tree(&[("traefik.enable", "true"), ("wharf.Enable", "no")]).unwrap_err();

        assert_eq!(problem.code, Code::Conflict);
        assert!(problem.to_string().contains("`traefik.enable`"), "{problem}");
        assert!(problem.to_string().contains("wharf.Enable"), "{problem}");
    }
}
