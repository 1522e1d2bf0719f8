//! YAML into a tree, with the place of every key.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::file::{Places, twice};
use super::{Key, Node};
use crate::problem::{Code, Problem};

/// Deeper files are refused: what walks a tree recurses.
const MAX_DEPTH: usize = 64;

pub(super) fn read(path: &Path, text: &str) -> Result<Node, Problem> {
    let places = Places::new(path);
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node::new(places.at(0, 0)));
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().filter(|place| *place != Location::UNKNOWN);
            let origin =
                place.map_or(places.at(0, 0), |place| places.at(place.line(), place.column()));
            Problem::error(Code::File, origin, format!("not valid YAML: {}", words(&error))).mend(
                "see this line and the one before: `key: value`, indented with blanks, \
                 brackets closed, and texts with : # * or ` in quotes",
            )
        })?;
    node(raw.value, raw.referenced, &Source { places, text })
}

/// The error without the place, which the origin says.
fn words(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or(text);
    let text = text.strip_prefix("error: ").unwrap_or(text);
    match (text.starts_with("line "), text.split_once(": ")) {
        (true, Some((_, rest))) => rest.to_owned(),
        _ => text.to_owned(),
    }
}

struct Source<'s> {
    places: Places,
    text: &'s str,
}

impl Source<'_> {
    /// The number as written, so that `1.10` stays `1.10`.
    fn number(&self, value: f64, place: Location) -> Box<str> {
        let start = place.span().byte_offset().and_then(|at| usize::try_from(at).ok());
        let written = start.and_then(|at| self.text.get(at..)).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
            end.and_then(|end| rest.get(..end)).unwrap_or(rest)
        });
        match written.filter(|text| text.parse() == Ok(value)) {
            Some(text) => text.into(),
            None => value.to_string().into(),
        }
    }
}

fn node(raw: Raw, place: Location, source: &Source<'_>) -> Result<Node, Problem> {
    let mut made = Node::new(source.places.at(place.line(), place.column()));
    match raw {
        Raw::Null => {}
        Raw::Text(text) => made.value = Some(text.into()),
        Raw::Number(value) => made.value = Some(source.number(value, place)),
        Raw::List(items) => {
            for (index, item) in items.into_iter().enumerate() {
                let item = node(item.value, item.referenced, source)?;
                made.children.insert(Key::item(index), item);
            }
        }
        Raw::Map(entries) => {
            for (key, value) in entries {
                let origin = source.places.at(key.referenced.line(), key.referenced.column());
                let mut child = node(value.value, value.referenced, source)?;
                child.origin = origin;
                let name = Key(key.value.into());
                if let Some(first) = made.children.get(&name) {
                    return Err(twice(&name.0, child.origin, &first.origin));
                }
                made.children.insert(name, child);
            }
        }
    }
    Ok(made)
}

/// A YAML value as the parser sees it.
enum Raw {
    Null,
    Text(String),
    Number(f64),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or keys")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_bytes<E: serde::de::Error>(self, _value: &[u8]) -> Result<Raw, E> {
        Err(E::custom("binary values have no place here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Result<Node, Problem> {
        read(Path::new("traefik.yml"), text)
    }

    #[test]
    fn keys_and_items_keep_their_places_and_scalars_their_text() {
        let node = yaml(concat!(
            "# a comment\n",
            "entryPoints:\n",
            "  web:\n",
            "    address: \":80\"\n",
            "list:\n",
            "  - a\n",
            "  - b: 1.10\n",
            "mode: 0777\n",
            "on: yes\n",
            "off: true\n",
            "none:\n",
            "empty: {}\n",
        ))
        .unwrap();

        let text = |path: &str| node.get(path).unwrap().value.as_deref();
        assert_eq!(text("entrypoints.web.address"), Some(":80"));
        assert_eq!(text("list.[0]"), Some("a"));
        assert_eq!(text("list.[1].b"), Some("1.10"));
        assert_eq!(text("mode"), Some("0777"));
        assert_eq!(text("on"), Some("yes"));
        assert_eq!(text("off"), Some("true"));
        assert_eq!(text("none"), None);
        assert_eq!(text("empty"), None);
        let place = |path: &str| node.get(path).unwrap().origin.to_string();
        assert_eq!(place("entrypoints.web"), "traefik.yml:3:3");
        assert_eq!(place("entrypoints.web.address"), "traefik.yml:4:5");
        assert_eq!(place("list.[1]"), "traefik.yml:7:5");
    }

    #[test]
    fn broken_text_names_its_line() {
        let cases = [
            ("a: [1, 2\nb: 3\n", "traefik.yml:"),
            ("a: 1\na: 2\n", "traefik.yml:2:1"),
            ("a: 1\nA: 2\n", "traefik.yml:2:1"),
            ("a:\n\t- b\n", "traefik.yml:2"),
        ];
        for (text, place) in cases {
            let problem = yaml(text).unwrap_err();
            assert!(problem.to_string().starts_with(place), "{problem}");
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_tree() {
        for text in ["", "\n\n", "# nothing\n"] {
            assert!(yaml(text).unwrap().is_empty(), "{text:?}");
        }
    }
}
