//! One untyped form for labels, flags, environment, YAML and TOML, and one serde decoder
//! out of it. Must never know what a key means.

use std::collections::BTreeMap;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::problem::{Origin, Problem};

/// One place of a configuration: a value, or children, or both (a label may switch a
/// section on and set keys below it).
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it was written.
    pub origin: Origin,
    /// Its text, if it has one. YAML's and TOML's scalars are kept as text.
    pub value: Option<Box<str>>,
    /// What is below it. List items have the keys `[0]`, `[1]`, ...
    pub children: BTreeMap<Key, Node>,
}

/// A key as written; compares without ASCII case.
#[derive(Clone, Debug)]
pub struct Key(pub Box<str>);

impl Key {
    fn lower(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.lower().cmp(other.lower())
    }
}

/// Decodes a node. Unread keys and bad values become problems, with the nearest known key.
/// `None` when anything in it could not be understood.
pub fn decode<T: DeserializeOwned>(_node: &Node, _problems: &mut Vec<Problem>) -> Option<T> {
    todo!()
}

/// For fields that may stand alone: `tls: true`, `tls:` and `tls: {}` are on with defaults;
/// any other text switches the section and all keys below it off, as in Traefik.
/// Use as `#[serde(deserialize_with = "tree::switch")]` on an `Option<Section>`.
pub fn switch<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}
