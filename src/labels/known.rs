//! Every label key that Traefik knows, as data: what is read, what has no effect in Traefik
//! either, what is not built; and the nearest known key to one that nobody knows.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::tree::suggest;

/// One key per line, without its root: `read|ignored|refused`, a tab, the key.
const TABLE: &str = include_str!("known.tsv");

static ROOT: LazyLock<Level> = LazyLock::new(|| Level::read(TABLE));

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is decoded.
    Read,
    /// Traefik's Docker provider takes it and does nothing with it.
    Ignored,
    /// It does something in Traefik that is not built here.
    Refused,
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
    pub(super) known: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Level {
    fate: Option<Fate>,
    /// Known words below, in lower case.
    words: BTreeMap<&'static str, Level>,
    /// `<name>`: any word.
    any: Option<Box<Level>>,
    /// `[n]`: a list item.
    item: Option<Box<Level>>,
    /// `*`: everything below.
    rest: Option<Fate>,
}

impl Level {
    fn read(table: &'static str) -> Self {
        let mut root = Self::default();
        for line in table.lines() {
            let Some((fate, key)) = line.split_once('\t') else { continue };
            let fate = match fate {
                "ignored" => Fate::Ignored,
                "refused" => Fate::Refused,
                _ => Fate::Read,
            };
            root.add(key, fate);
        }
        root
    }

    fn add(&mut self, key: &'static str, fate: Fate) {
        let mut level = self;
        for word in key.split('.') {
            let (word, is_list) = match word.strip_suffix("[n]") {
                Some(word) => (word, true),
                None => (word, false),
            };
            level = match word {
                "*" => {
                    level.rest = Some(fate);
                    return;
                }
                _ if word.starts_with('<') => level.any.get_or_insert_default(),
                _ => level.words.entry(word).or_default(),
            };
            if is_list {
                level = level.item.get_or_insert_default();
            }
        }
        level.fate = Some(fate);
    }
}

/// What becomes of a key, given without its root.
pub(super) fn find(path: &str) -> Result<Fate, Unknown> {
    let mut level = &*ROOT;
    let mut taken = 0;
    for word in path.split('.') {
        let (name, items) = word.find('[').map_or((word, ""), |at| word.split_at(at));
        if let Some(fate) = level.rest {
            return Ok(fate);
        }
        let lower = name.to_ascii_lowercase();
        let next = level.words.get(lower.as_str()).or(level.any.as_deref());
        let Some(next) = next else { return Err(unknown(level, path, taken, name)) };
        level = next;
        if !items.is_empty() {
            level = match level.item.as_deref() {
                Some(item) => item,
                None => return Err(Unknown { part: word.to_owned(), ..Unknown::default() }),
            };
        }
        taken += word.len() + 1;
    }
    level.fate.or(level.rest).ok_or_else(|| Unknown {
        is_section: true,
        part: path.rsplit('.').next().unwrap_or_default().to_owned(),
        meant: None,
        known: level.words.keys().copied().collect(),
    })
}

fn unknown(level: &Level, path: &str, taken: usize, name: &str) -> Unknown {
    let known: Vec<_> = level.words.keys().copied().collect();
    let meant = suggest::nearest(name, known.iter().copied()).map(|near| {
        let (before, after) = (path.get(..taken), path.get(taken + name.len()..));
        format!("{}{near}{}", before.unwrap_or_default(), after.unwrap_or_default())
    });
    Unknown { is_section: false, part: name.to_owned(), meant, known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_any_case_with_any_names_and_indexes() {
        for (path, fate) in [
            ("http.routers.web.rule", Fate::Read),
            ("HTTP.Routers.Web.TLS.Domains[3].Main", Fate::Read),
            ("http.routers.web.tls", Fate::Read),
            ("http.routers.web.tls.certResolver", Fate::Refused),
            ("http.middlewares.m.headers.customRequestHeaders.X-A", Fate::Read),
            ("http.services.s.weighted.services[0].name", Fate::Refused),
            ("tcp.routers.x.rule", Fate::Refused),
            ("swarm.network", Fate::Ignored),
            ("tls.options.x.minversion", Fate::Ignored),
            ("http.middlewares.m.plugin.p.a.b", Fate::Read),
        ] {
            assert_eq!(find(path), Ok(fate), "{path}");
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
