//! Every label key that Traefik knows, as data; and the nearest known key to one that nobody
//! knows.

use std::sync::LazyLock;

use crate::middleware;
use crate::tree::known::{KnownOption, Schema, State, rows};
use crate::tree::suggest;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(options().chain(own_options())));
static OWN: LazyLock<Schema> = LazyLock::new(|| Schema::new(own_options()));

/// All known keys without their root, in the spelling of files: labels are written in lower
/// case. Those of middlewares are last.
pub fn options() -> impl Iterator<Item = KnownOption> {
    let middlewares = middleware::options().map(|option| option.below(MIDDLEWARE));
    rows(include_str!("known.tsv")).chain(middlewares)
}

/// The keys that Traefik does not know, without their root, which is `wharf.`.
pub fn own_options() -> impl Iterator<Item = KnownOption> {
    rows(include_str!("own.tsv"))
}

/// Whether a key, given without its root, is one that Traefik does not know.
pub(super) fn is_own(path: &str) -> bool {
    let mut level = &*OWN;
    for word in path.split('.') {
        let Some(next) = level.child(word) else { return false };
        level = next;
    }
    level.option.is_some()
}

const MIDDLEWARE: &str = "http.middlewares.<middleware>";

/// Whether a key, given without its root, belongs to an HTTP middleware.
pub(super) fn is_of_middleware(path: &str) -> bool {
    let mut words = path.split('.');
    let mut next = |word: &str| words.next().is_some_and(|found| found.eq_ignore_ascii_case(word));
    next("http") && next("middlewares")
}

/// A key that nobody knows, or that takes no value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    /// The key is known, but has keys below it only.
    pub(super) is_section: bool,
    /// The part that is unknown.
    pub(super) part: String,
    /// The whole key as it was likely meant.
    pub(super) meant: Option<String>,
    /// What is known in its place.
    pub(super) known: Vec<String>,
}

/// What becomes of a key, given without its root.
pub(super) fn find(path: &str) -> Result<State, Unknown> {
    let mut level = &*SCHEMA;
    let mut taken = 0;
    for word in path.split('.') {
        let (name, items) = word.find('[').map_or((word, ""), |at| word.split_at(at));
        let named = level.child(name);
        if let Some(option) = level.group().filter(|_| named.is_none()) {
            return Ok(option.state);
        }
        let Some(next) = named else { return Err(unknown(level, path, taken, name)) };
        level = next;
        if !items.is_empty() {
            level = match level.child("[") {
                Some(item) => item,
                None => return Err(Unknown { part: word.to_owned(), ..Unknown::default() }),
            };
        }
        taken += word.len() + 1;
    }
    match level.option.as_ref().or(level.group()) {
        Some(option) => Ok(option.state),
        None => Err(Unknown {
            is_section: true,
            part: path.rsplit('.').next().unwrap_or_default().to_owned(),
            meant: None,
            known: words(level),
        }),
    }
}

fn unknown(level: &Schema, path: &str, taken: usize, name: &str) -> Unknown {
    let known = words(level);
    let meant = suggest::nearest(name, known.iter().map(String::as_str)).map(|near| {
        let (before, after) = (path.get(..taken), path.get(taken + name.len()..));
        format!("{}{near}{}", before.unwrap_or_default(), after.unwrap_or_default())
    });
    Unknown { is_section: false, part: name.to_owned(), meant, known }
}

/// What is known below, as labels are written.
fn words(level: &Schema) -> Vec<String> {
    let mut words: Vec<_> = level.words().map(str::to_ascii_lowercase).collect();
    words.sort();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_any_case_with_any_names_and_indexes() {
        for (path, state) in [
            ("http.routers.web.rule", State::Built),
            ("HTTP.Routers.Web.TLS.Domains[3].Main", State::Built),
            ("http.routers.web.tls", State::Built),
            ("http.routers.web.tls.certResolver", State::Built),
            ("http.middlewares.m.headers.customRequestHeaders.X-A", State::Built),
            ("http.services.s.weighted.services[0].name", State::Later),
            ("tcp.routers.x.rule", State::Later),
            ("swarm.network", State::Ignored),
            ("tls.options.x.minversion", State::Ignored),
            ("http.middlewares.m.plugin.p.a.b", State::Later),
        ] {
            assert_eq!(find(path), Ok(state), "{path}");
        }
    }

    #[test]
    fn keys_that_traefik_does_not_know_are_told_from_the_others() {
        for (path, is_so) in [
            ("http.services.s.loadbalancer.slowstart", true),
            ("HTTP.services.s.loadBalancer.Hold.Duration", true),
            ("http.services.s.loadbalancer.hold", false),
            ("http.services.s.loadbalancer.strategy", false),
            ("http.services.s.loadbalancer.slowstart.more", false),
        ] {
            assert_eq!(is_own(path), is_so, "{path}");
            assert_eq!(find(path).is_ok(), is_so || path.ends_with("strategy"), "{path}");
        }
    }

    #[test]
    fn an_unknown_key_has_the_whole_key_that_was_likely_meant() {
        for (path, part, meant) in [
            ("enabled", "enabled", Some("enable")),
            ("http.routers.web.rul", "rul", Some("http.routers.web.rule")),
            (
                "http.services.a.loadbalancer.server.prot",
                "prot",
                Some("http.services.a.loadbalancer.server.port"),
            ),
            ("http.router.web.rule", "router", Some("http.routers.web.rule")),
            ("http.routers.web.nosuchfield", "nosuchfield", None),
            ("http.routers.web.entrypoints[0]", "entrypoints[0]", None),
        ] {
            let unknown = find(path).unwrap_err();
            assert_eq!((&*unknown.part, unknown.meant.as_deref()), (part, meant), "{path}");
        }
    }
}
