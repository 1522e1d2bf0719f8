//! The serde decoder out of a tree. Collects every problem it finds, not only the first:
//! what could not be decoded is set aside and the rest is decoded again.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Visitor};

use super::access::{Children, Texts};
use super::failure::{Failure, Path, State};
use super::scalar::{self, Asked};
use super::{Node, suggest};
use crate::problem::{Code, Problem, Severity};

/// Marks the newtype of [`switch`]; no type of ours has this name.
const SWITCH: &str = "$wharf::switch";

/// Decodes a node. Unread keys and bad values become problems, with the nearest known key.
/// `None` when anything in it could not be understood.
pub fn decode<T: DeserializeOwned>(node: &Node, problems: &mut Vec<Problem>) -> Option<T> {
    let state = State::default();
    let decoded = loop {
        let known = state.count();
        match T::deserialize(Decoder { node, state: &state, path: Path::Root, is_on: false }) {
            Ok(value) => break Some(value),
            Err(failure) => state.report(node, Path::Root, failure),
        }
        // Nothing more was set aside, so another round would end the same way.
        if state.count() == known {
            break None;
        }
    };
    let found = state.problems.into_inner();
    let is_sound = found.iter().all(|problem| problem.severity == Severity::Warning);
    problems.extend(found);
    decoded.filter(|_| is_sound)
}

/// For fields that may stand alone: `tls: true`, `tls:` and `tls: {}` are on with defaults;
/// any other text switches the section and all keys below it off, as in Traefik.
/// Use as `#[serde(deserialize_with = "tree::switch")]` on an `Option<Section>`.
pub fn switch<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_newtype_struct(SWITCH, SwitchVisitor(PhantomData))
}

/// A section that may stand alone, where there is no field to put [`switch`] on.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch<T>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        switch(deserializer).map(Self)
    }
}

struct SwitchVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SwitchVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, or options below it")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        T::deserialize(deserializer).map(Some)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        Option::deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Decoder<'n> {
    pub(super) node: &'n Node,
    pub(super) state: &'n State,
    pub(super) path: Path<'n>,
    /// Whether a [`switch`] has already dealt with the node's own value.
    pub(super) is_on: bool,
}

impl<'n> Decoder<'n> {
    fn own_key(&self) -> String {
        match self.path {
            Path::Below(_, key) => key.to_owned(),
            Path::Root => {
                let written = super::insert::written(&self.node.origin);
                written.rsplit('.').next().unwrap_or_default().to_owned()
            }
        }
    }

    /// The text of something that has nothing below it.
    fn scalar(&self, asked: Asked) -> Result<&'n str, Failure> {
        if self.node.children.is_empty() {
            return Ok(self.node.value.as_deref().unwrap_or_default());
        }
        let given = if self.node.is_list() { "a list" } else { "keys below it" };
        Err(Failure::refused(format!("takes {asked}, not {given}"), asked.mend()))
    }

    /// The children of something that has keys of its own below it.
    fn section(&self) -> Result<(), Failure> {
        let Node { value, children, .. } = self.node;
        match value {
            _ if self.is_on => {}
            // As Traefik: an empty section says nothing, so it is a mistake.
            None if children.is_empty() && matches!(self.path, Path::Root) => {}
            _ if children.is_empty() => {
                let key = self.own_key();
                let text = format!("says nothing: {key} cannot be a standalone element");
                return Err(Failure::refused(text, "set a key below it, or remove it"));
            }
            Some(text) if !text.eq_ignore_ascii_case("true") => {
                let text = scalar::quoted(text);
                let text = format!("takes keys below it, not the value {text} as well");
                return Err(Failure::refused(text, "remove the value"));
            }
            Some(_) | None => {}
        }
        if self.node.is_list() {
            let text = "takes keys below it, not a list";
            return Err(Failure::refused(text, "write keys in place of the items"));
        }
        Ok(())
    }

    /// Reports the children that no field is named like.
    fn refuse_unknown(&self, fields: &'static [&'static str]) {
        for (key, child) in self.node.entries() {
            let is_known = fields.iter().any(|field| field.eq_ignore_ascii_case(key));
            if is_known || self.state.is_aside(child) {
                continue;
            }
            let path = Path::Below(&self.path, key);
            let mend = match suggest::nearest(key, fields.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if fields.is_empty() => "remove it".to_owned(),
                None => format!("known here: {}", fields.join(", ")),
            };
            let origin = child.origin.clone();
            let text = format!("no such key `{path}`");
            self.state.push(Problem::error(Code::UnknownKey, origin, text).mend(mend));
            self.state.set_aside(child);
        }
    }

    /// Decodes a [`switch`].
    fn switch<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let on = Self { is_on: true, ..self };
        let Some(value) = self.node.value.as_deref() else {
            return visitor.visit_some(on);
        };
        if value.is_empty() || value.eq_ignore_ascii_case("true") {
            return visitor.visit_some(on);
        }
        // As Traefik, which does not say so: any other text switches the section off.
        let is_plain = value.eq_ignore_ascii_case("false");
        if !is_plain || !self.node.children.is_empty() {
            let (key, text) = (self.own_key(), scalar::quoted(value));
            let keys = if self.node.children.is_empty() { "" } else { " and all keys below it" };
            let text = format!("{text} switches `{key}`{keys} off");
            let problem = Problem::warning(Code::Notice, self.node.origin.clone(), text);
            self.state.push(problem.mend(format!("`{key}` is on with the value true")));
        }
        visitor.visit_none()
    }

    fn map(self) -> Children<'n> {
        Children::new(self, None)
    }
}

macro_rules! scalars {
    ($($method:ident $visit:ident $kind:ty, $asked:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let asked = $asked;
            let text = self.scalar(asked)?;
            match scalar::parse::<$kind>(text.trim(), asked) {
                Ok(value) => visitor.$visit(value),
                Err(failure) => Err(failure),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Failure;

    scalars! {
        deserialize_i8 visit_i8 i8, Asked::Whole;
        deserialize_i16 visit_i16 i16, Asked::Whole;
        deserialize_i32 visit_i32 i32, Asked::Whole;
        deserialize_i64 visit_i64 i64, Asked::Whole;
        deserialize_u8 visit_u8 u8, Asked::Count(u64::from(u8::MAX));
        deserialize_u16 visit_u16 u16, Asked::Count(u64::from(u16::MAX));
        deserialize_u32 visit_u32 u32, Asked::Count(u64::from(u32::MAX));
        deserialize_u64 visit_u64 u64, Asked::Count(u64::MAX);
        deserialize_f32 visit_f32 f32, Asked::Number;
        deserialize_f64 visit_f64 f64, Asked::Number;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let text = self.scalar(Asked::Bool)?;
        visitor.visit_bool(scalar::boolean(text)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(self.scalar(Asked::Text)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_list() {
            self.deserialize_seq(visitor)
        } else if self.node.children.is_empty() {
            visitor.visit_str(self.node.value.as_deref().unwrap_or_default())
        } else {
            visitor.visit_map(self.map())
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if name == SWITCH { self.switch(visitor) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.children.is_empty() {
            let text = self.node.value.as_deref().unwrap_or_default();
            // As Traefik: commas part items, blanks around them do not count.
            let texts = if text.trim().is_empty() { Vec::new() } else { text.split(',').collect() };
            return visitor.visit_seq(Texts::new(self, texts));
        }
        if !self.node.is_list() {
            let text = "takes a list, not keys below it";
            return Err(Failure::refused(text, "write items, or one text with commas"));
        }
        if let Some(value) = &self.node.value {
            let value = scalar::quoted(value);
            let text = format!("takes a list, not the value {value} as well");
            return Err(Failure::refused(text, "make the value one more item of the list"));
        }
        visitor.visit_seq(self.map())
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.section()?;
        visitor.visit_map(self.map())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.section()?;
        self.refuse_unknown(fields);
        visitor.visit_map(Children::new(self, Some(fields)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let text = self.scalar(Asked::Word)?.trim();
        match variants.iter().find(|variant| variant.eq_ignore_ascii_case(text)) {
            Some(variant) => visitor.visit_enum(StrDeserializer::<Failure>::new(variant)),
            None => Err(scalar::no_variant(text, variants)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn is_human_readable(&self) -> bool {
        true
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit_struct tuple_struct
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
