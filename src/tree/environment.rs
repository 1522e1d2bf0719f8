//! Environment variables into a tree.

use super::{Key, Node};
use crate::problem::{Origin, Problem};

/// Reads the variables whose names begin with one of `prefixes` (`TRAEFIK_`) in any case.
/// `TRAEFIK_ENTRYPOINTS_WEB_ADDRESS` is `entrypoints.web.address`, `..._DOMAINS_0_MAIN` is
/// `...domains[0].main`, as in Traefik.
pub fn environment<'e, I>(variables: I, prefixes: &[&str], problems: &mut Vec<Problem>) -> Node
where
    I: IntoIterator<Item = (&'e str, &'e str)>,
{
    let mut root = Node::new(Origin::Internal);
    for (name, value) in variables {
        let Some(rest) = prefixes.iter().find_map(|prefix| {
            let (start, rest) = name.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(rest)
        }) else {
            continue;
        };
        let path = path(rest);
        if let Err(problem) = root.insert(&path, value, Origin::Env(name.into())) {
            problems.push(problem);
        }
    }
    root
}

fn path(name: &str) -> String {
    let mut path = String::new();
    for word in name.to_ascii_lowercase().split('_') {
        if !path.is_empty() && !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(
                &word.parse().map_or_else(|_| format!("[{word}]"), |n| Key::item(n).0.into()),
            );
            continue;
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(word);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_paths_in_any_case() {
        let variables = [
            ("TRAEFIK_ENTRYPOINTS_WEB_ADDRESS", ":80"),
            ("Traefik_Api", "true"),
            ("WHARF_ENTRYPOINTS_WEB_HTTP_TLS_DOMAINS_0_MAIN", "a.org"),
            ("PATH", "/bin"),
        ];
        let mut problems = Vec::new();

        let root = environment(variables, &["TRAEFIK_", "WHARF_"], &mut problems);

        assert_eq!(problems, []);
        assert_eq!(root.get("entryPoints.web.address").unwrap().value.as_deref(), Some(":80"));
        assert_eq!(root.get("api").unwrap().origin, Origin::Env("Traefik_Api".into()));
        assert!(root.get("entryPoints.web.http.tls.domains.[0].main").is_some());
        assert_eq!(root.children.len(), 2);
    }
}
