//! One untyped form for labels, flags, environment, YAML and TOML, and one serde decoder
//! out of it. Must never know what a key means.

mod access;
mod decode;
mod environment;
mod failure;
pub mod file;
mod flags;
mod insert;
pub mod known;
mod scalar;
pub mod suggest;
mod toml;
mod yaml;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::problem::Origin;

pub use decode::{Switch, decode, switch};
pub use environment::environment;
pub use flags::{FlagKind, flags};
pub use insert::{MAX_LABELS, label};

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

/// Whether a value is what it is when nothing is said; for `skip_serializing_if`, since the
/// API leaves such values out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Node {
    /// Nothing, written at `origin`.
    pub fn new(origin: Origin) -> Self {
        Self { origin, value: None, children: BTreeMap::new() }
    }

    /// A text, written at `origin`.
    pub fn text(origin: Origin, value: impl Into<Box<str>>) -> Self {
        Self { value: Some(value.into()), ..Self::new(origin) }
    }

    /// What is right below it under this key, in any case.
    pub fn child(&self, key: &str) -> Option<&Node> {
        self.children.get(&Key(key.into()))
    }

    /// Takes out what is right below it under this key, in any case.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        self.children.remove(&Key(key.into()))
    }

    /// What is below it at a path such as `http.routers`.
    pub fn get(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| node.child(key))
    }

    /// What is right below it, with the keys as written; list items in their order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.children.iter().map(|(key, node)| (&*key.0, node))
    }

    /// Whether it is a list: items and nothing else.
    pub fn is_list(&self) -> bool {
        !self.children.is_empty() && self.children.keys().all(|key| key.index().is_some())
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.value.is_none() && self.children.is_empty()
    }
}

/// A key as written; compares without ASCII case, list items by number.
#[derive(Clone, Debug)]
pub struct Key(pub Box<str>);

impl Key {
    /// The key of a list item.
    pub fn item(index: usize) -> Self {
        Self(format!("[{index}]").into())
    }

    /// The number of a list item.
    pub fn index(&self) -> Option<usize> {
        self.0.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    }

    fn lower(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.index(), other.index()) {
            (Some(one), Some(two)) => one.cmp(&two),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => self.lower().cmp(other.lower()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_without_case_and_items_by_number() {
        assert_eq!(Key("Rule".into()), Key("rULE".into()));
        assert!(Key::item(2) < Key::item(10));
        assert!(Key::item(2) < Key("a".into()));
    }
}
