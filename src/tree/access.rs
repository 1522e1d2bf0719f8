//! The children of a node as serde asks for them: entries of a map, fields, list items.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed};

use super::decode::Decoder;
use super::failure::{Failure, Path};
use super::{Key, Node};

/// Children as the entries of a map, the fields of a struct, or the items of a list.
pub(super) struct Children<'n> {
    parent: Decoder<'n>,
    rest: std::collections::btree_map::Iter<'n, Key, Node>,
    fields: Option<&'static [&'static str]>,
    value: Option<(&'n str, &'n Node)>,
}

impl<'n> Children<'n> {
    pub(super) fn new(parent: Decoder<'n>, fields: Option<&'static [&'static str]>) -> Self {
        Self { parent, rest: parent.node.children.iter(), fields, value: None }
    }

    fn next(&mut self) -> Option<(&'n str, &'n Node)> {
        let state = self.parent.state;
        let (key, node) = self.rest.find(|(_, node)| !state.is_aside(node))?;
        Some((&key.0, node))
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        key: &str,
        node: &Node,
        seed: S,
    ) -> Result<S::Value, Failure> {
        let state = self.parent.state;
        let path = Path::Below(&self.parent.path, key);
        seed.deserialize(Decoder { node, state, path, is_on: false }).map_err(|failure| {
            state.report(node, path, failure);
            Failure::Reported
        })
    }
}

impl<'de> de::MapAccess<'de> for Children<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        self.value = self.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let field = self
            .fields
            .and_then(|fields| fields.iter().find(|field| field.eq_ignore_ascii_case(key)));
        let key = field.map_or(key, |field| *field);
        seed.deserialize(StrDeserializer::<Failure>::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        match self.value.take() {
            Some((key, node)) => self.decode(key, node, seed),
            None => Err(Failure::refused("has a value without a key", "write a key for it")),
        }
    }
}

impl<'de> de::SeqAccess<'de> for Children<'_> {
    type Error = Failure;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Failure> {
        match self.next() {
            Some((key, node)) => self.decode(key, node, seed).map(Some),
            None => Ok(None),
        }
    }
}

/// The items of a list written as `a, b`.
pub(super) struct Texts<'n> {
    parent: Decoder<'n>,
    rest: std::vec::IntoIter<&'n str>,
}

impl<'n> Texts<'n> {
    pub(super) fn new(parent: Decoder<'n>, texts: Vec<&'n str>) -> Self {
        Self { parent, rest: texts.into_iter() }
    }
}

impl<'de> de::SeqAccess<'de> for Texts<'_> {
    type Error = Failure;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Failure> {
        let Some(text) = self.rest.next() else { return Ok(None) };
        // Lives only here, so it is never set aside: a failure is the whole list's.
        let node = Node::text(self.parent.node.origin.clone(), text.trim());
        let Decoder { state, path, .. } = self.parent;
        seed.deserialize(Decoder { node: &node, state, path, is_on: false }).map(Some)
    }
}
