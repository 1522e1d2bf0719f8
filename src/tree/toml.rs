//! TOML into a tree, with the place of every key.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Places, twice};
use super::{Key, Node};
use crate::problem::{Code, Origin, Problem};

/// Deeper files are refused: what walks a tree recurses.
const MAX_DEPTH: usize = 64;

pub(super) fn read(path: &Path, text: &str) -> Result<Node, Problem> {
    let source = Source { places: Places::new(path), text };
    let table = DeTable::parse(text).map_err(|error| {
        let origin = error.span().map_or(source.places.at(0, 0), |span| source.place(span.start));
        Problem::error(Code::File, origin, format!("not valid TOML: {}", error.message())).mend(
            "see this line and the one before: `key = \"value\"`, texts in quotes, brackets closed",
        )
    })?;
    let mut root = Node::new(source.places.at(0, 0));
    fill(&mut root, table.get_ref(), &source, MAX_DEPTH)?;
    Ok(root)
}

struct Source<'s> {
    places: Places,
    text: &'s str,
}

impl Source<'_> {
    fn place(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.places.at(line as u64, column as u64)
    }
}

fn fill(
    node: &mut Node,
    table: &DeTable<'_>,
    source: &Source<'_>,
    depth: usize,
) -> Result<(), Problem> {
    let mut entries: Vec<_> = table.iter().collect();
    // The table is sorted by key; the second of two is the one further down.
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let origin = source.place(key.span().start);
        let child = make(value, origin, source, depth)?;
        let name = Key((&**key.get_ref()).into());
        if let Some(first) = node.children.get(&name) {
            return Err(twice(&name.0, child.origin, &first.origin));
        }
        node.children.insert(name, child);
    }
    Ok(())
}

fn make(
    value: &Spanned<DeValue<'_>>,
    origin: Origin,
    source: &Source<'_>,
    depth: usize,
) -> Result<Node, Problem> {
    let Some(depth) = depth.checked_sub(1) else {
        let text = format!("nested deeper than {MAX_DEPTH} levels");
        return Err(Problem::error(Code::File, origin, text).mend("nest it less deep"));
    };
    let mut node = Node::new(origin);
    match value.get_ref() {
        DeValue::String(text) => node.value = Some((&**text).into()),
        DeValue::Integer(number) => node.value = Some(number.to_string().into()),
        DeValue::Float(number) => node.value = Some(number.to_string().into()),
        DeValue::Boolean(value) => node.value = Some(value.to_string().into()),
        DeValue::Datetime(value) => node.value = Some(value.to_string().into()),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let origin = source.place(item.span().start);
                node.children.insert(Key::item(index), make(item, origin, source, depth)?);
            }
        }
        DeValue::Table(table) => fill(&mut node, table, source, depth)?,
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Result<Node, Problem> {
        read(Path::new("traefik.toml"), text)
    }

    #[test]
    fn keys_keep_their_places_and_scalars_their_text() {
        let node = toml(concat!(
            "[entryPoints.web]\n",
            "  address = \":80\"\n",
            "[[list]]\n",
            "  b = 1.10\n",
            "[api]\n",
            "  insecure = true\n",
            "[ping]\n",
        ))
        .unwrap();

        let text = |path: &str| node.get(path).unwrap().value.as_deref();
        assert_eq!(text("entrypoints.web.address"), Some(":80"));
        assert_eq!(text("list.[0].b"), Some("1.10"));
        assert_eq!(text("api.insecure"), Some("true"));
        assert_eq!(text("ping"), None);
        let place = |path: &str| node.get(path).unwrap().origin.to_string();
        assert_eq!(place("entrypoints.web.address"), "traefik.toml:2:3");
        assert_eq!(place("api"), "traefik.toml:5:2");
    }

    #[test]
    fn broken_text_names_its_line() {
        for (text, place) in [
            ("a = [1, 2\n", "traefik.toml:"),
            ("a = 1\na = 2\n", "traefik.toml:2:1"),
            ("a = 1\nA = 2\n", "traefik.toml:2:1"),
        ] {
            let problem = toml(text).unwrap_err();
            assert!(problem.to_string().starts_with(place), "{problem}");
        }
    }
}
