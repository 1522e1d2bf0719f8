//! Tables of known keys: what becomes of each, its type, its default and what it does. The
//! decoders, error messages, `--help`, the documents and the tests all read them.

use std::borrow::Cow;

use super::Node;

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is taken.
    Built,
    /// It is known from Traefik and refused.
    Later,
    /// It is refused as Traefik refuses it.
    Removed,
    /// It has no effect in Traefik either, and that is said.
    Ignored,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOption {
    /// What becomes of it.
    pub state: State,
    /// `entryPoints.<name>.address`; `[n]` stands for a list item, a last part `*` for all
    /// that is below.
    pub path: Cow<'static, str>,
    /// `bool`, `string`, `list`, `struct`, ...
    pub kind: &'static str,
    /// Its default; in brackets when that is no value.
    pub default: &'static str,
    /// What it does; of removed ones, what to do instead.
    pub meaning: &'static str,
}

impl KnownOption {
    /// The same below a path such as `http.middlewares.<middleware>`.
    #[must_use]
    pub fn below(self, path: &str) -> Self {
        Self { path: format!("{path}.{}", self.path).into(), ..self }
    }
}

/// Reads a table: a header line, then a key per line with its state, path, type, default and
/// meaning, parted by tabs.
pub fn rows(table: &'static str) -> impl Iterator<Item = KnownOption> {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let state = match columns.next()? {
            "built" => State::Built,
            "removed" => State::Removed,
            "ignored" => State::Ignored,
            _ => State::Later,
        };
        Some(KnownOption {
            state,
            path: columns.next()?.into(),
            kind: columns.next()?,
            default: columns.next()?,
            meaning: columns.next()?,
        })
    })
}

/// Known keys by their paths.
#[derive(Debug, Default)]
pub struct Schema {
    /// The last part of the path; empty at the root.
    pub name: String,
    /// What is known of the key itself; `None` when it only has keys below it.
    pub option: Option<KnownOption>,
    /// What is known below it, in the order of the table.
    pub below: Vec<Schema>,
}

impl Schema {
    /// All these keys.
    pub fn new(options: impl Iterator<Item = KnownOption>) -> Self {
        let mut root = Self::default();
        for option in options {
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

    /// What is below under this key, in any case; `[0]` is an item.
    pub fn child(&self, key: &str) -> Option<&Self> {
        let named = self.below.iter().find(|schema| schema.name.eq_ignore_ascii_case(key));
        named.or_else(|| {
            let any = if key.starts_with('[') { '[' } else { '<' };
            self.below.iter().find(|schema| schema.name.starts_with(any))
        })
    }

    /// What is known of everything below, when that is one thing.
    pub fn group(&self) -> Option<&KnownOption> {
        self.below.iter().find(|schema| schema.name == "*")?.option.as_ref()
    }

    /// What stands in a tree and is not taken: its path from here, its place, what is known
    /// of it. What is below one of these is not looked at.
    pub fn refused<'s, 'n>(&'s self, node: &'n Node) -> Vec<(String, &'n Node, &'s KnownOption)> {
        let mut found = Vec::new();
        self.collect("", node, &mut found);
        found
    }

    fn collect<'s, 'n>(
        &'s self,
        path: &str,
        node: &'n Node,
        found: &mut Vec<(String, &'n Node, &'s KnownOption)>,
    ) {
        for (key, child) in node.entries() {
            let schema = self.child(key);
            let name = match schema {
                Some(schema) if !schema.name.starts_with(['<', '[']) => &*schema.name,
                Some(_) | None => key,
            };
            let join = if path.is_empty() || key.starts_with('[') { "" } else { "." };
            let path = format!("{path}{join}{name}");
            let option = schema.map_or(self.group(), |schema| schema.option.as_ref());
            match (option.filter(|option| option.state != State::Built), schema) {
                (Some(option), _) => found.push((path, child, option)),
                (None, Some(schema)) => schema.collect(&path, child, found),
                // The decoder says what nobody knows.
                (None, None) => {}
            }
        }
    }

    /// The words that are known below, without the places of names and items.
    pub fn words(&self) -> impl Iterator<Item = &str> + Clone {
        let names = self.below.iter().map(|schema| &*schema.name);
        names.filter(|name| !name.starts_with(['<', '[', '*']))
    }

    /// Those of the words below that something is taken of.
    pub fn taken(&self) -> impl Iterator<Item = &str> {
        self.words().filter(|word| self.child(word).is_some_and(Self::has_built))
    }

    fn has_built(&self) -> bool {
        let is_built = self.option.as_ref().is_some_and(|option| option.state == State::Built);
        is_built || self.below.iter().any(Self::has_built)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Origin;

    const TABLE: &str = "state\tpath\ttype\tdefault\tmeaning\n\
        built\ta.<name>.list[n].main\tstring\t(none)\tOne\n\
        later\ta.<name>.rest.*\tgroup\t(none)\tTwo\n\
        ignored\tA2\tbool\tfalse\tThree\n";

    #[test]
    fn keys_are_found_in_any_case_with_any_names_and_indexes() {
        let schema = Schema::new(rows(TABLE));
        let at = |path: &str| path.split('.').try_fold(&schema, |schema, key| schema.child(key));
        let meaning = |path: &str| Some(at(path)?.option.as_ref()?.meaning);

        assert_eq!(meaning("a.web.list.[3].Main"), Some("One"));
        assert_eq!(meaning("a2"), Some("Three"));
        assert_eq!(meaning("a.web"), None);
        assert_eq!(at("a.web.rest").unwrap().group().unwrap().state, State::Later);
        assert!(at("b").is_none());
        assert_eq!(schema.words().collect::<Vec<_>>(), ["a", "A2"]);
        let whole = rows(TABLE).next().unwrap().below("http");
        assert_eq!(whole.path, "http.a.<name>.list[n].main");
    }

    #[test]
    fn what_is_not_taken_is_found_once_at_its_highest_place() {
        let mut root = Node::new(Origin::Internal);
        for path in ["a.Web.list[0].main", "A.Web.REST.x", "a.web.rest.y", "a2", "nosuch"] {
            root.insert(path, "1", Origin::Internal).unwrap();
        }
        let schema = Schema::new(rows(TABLE));

        let found: Vec<_> = schema.refused(&root).into_iter().map(|found| found.0).collect();

        assert_eq!(found, ["a.Web.rest.x", "a.Web.rest.y", "A2"]);
    }
}
