//! Rules: text to a tree and back, with positions. Must never match a request.

pub mod constraint;
mod lex;
mod matcher;
mod parse;
mod print;
pub mod regexp;
mod template;
mod v2;

pub use matcher::Matcher;
pub use template::Template;

/// The language of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// Today's.
    #[default]
    V3,
    /// That of `ruleSyntax: v2`.
    V2,
}

impl Syntax {
    /// As Traefik: anything but `v2`, as it is written, is v3.
    pub fn named(name: &str) -> Self {
        if name == "v2" { Self::V2 } else { Self::V3 }
    }
}

/// Longest rule in bytes (a label can be megabytes long).
const LONGEST: usize = 16 * 1024;

/// Deepest nesting of parentheses and `!`.
const DEEPEST: usize = 64;

/// An expression over matchers of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree<M> {
    /// One matcher.
    Match(M),
    /// Not.
    Not(Box<Self>),
    /// All; at least two.
    And(Vec<Self>),
    /// Any; at least two.
    Or(Vec<Self>),
}

/// A rule as a tree.
pub type Expr = Tree<Matcher>;

impl<M> Tree<M> {
    /// The same tree over other matchers; stops at the first error.
    pub fn try_map<N, E>(&self, map: &mut impl FnMut(&M) -> Result<N, E>) -> Result<Tree<N>, E> {
        self.try_graft(&mut |matcher| map(matcher).map(Tree::Match))
    }

    /// The same tree with another in place of each matcher; stops at the first error.
    fn try_graft<N, E>(
        &self,
        map: &mut impl FnMut(&M) -> Result<Tree<N>, E>,
    ) -> Result<Tree<N>, E> {
        let mut all = |parts: &[Self]| {
            parts.iter().map(|one| one.try_graft(map)).collect::<Result<Vec<_>, E>>()
        };
        Ok(match self {
            Self::Match(matcher) => map(matcher)?,
            Self::Not(inner) => Tree::Not(Box::new(inner.try_graft(map)?)),
            Self::And(parts) => Tree::And(all(parts)?),
            Self::Or(parts) => Tree::Or(all(parts)?),
        })
    }

    /// Whether it holds, given which matchers do. Stops as early as it can.
    pub fn holds(&self, check: &mut impl FnMut(&M) -> bool) -> bool {
        match self {
            Self::Match(matcher) => check(matcher),
            Self::Not(inner) => !inner.holds(check),
            Self::And(all) => all.iter().all(|one| one.holds(check)),
            Self::Or(any) => any.iter().any(|one| one.holds(check)),
        }
    }

    /// Calls `visit` with each matcher, in the order they are written.
    pub fn each(&self, visit: &mut impl FnMut(&M)) {
        match self {
            Self::Match(matcher) => visit(matcher),
            Self::Not(inner) => inner.each(visit),
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.each(visit);
                }
            }
        }
    }
}

/// A rule that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RuleError {
    /// Byte range in the rule.
    pub span: std::ops::Range<usize>,
    /// In Traefik's words where it has any: `unsupported function: Hostt`.
    pub text: String,
    /// What was expected or the nearest known name.
    pub mend: Option<String>,
    /// How far it came.
    pub stage: Stage,
}

/// How far a rule came before its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It does not parse.
    Parsing,
    /// It parses, but a matcher does not take its arguments.
    Adding,
}

impl RuleError {
    /// An error of the text as such.
    fn parsing(span: std::ops::Range<usize>, text: impl Into<String>) -> Self {
        Self { span, text: text.into(), mend: None, stage: Stage::Parsing }
    }

    /// An error of a matcher's arguments.
    pub fn adding(span: std::ops::Range<usize>, text: impl Into<String>) -> Self {
        Self { span, text: text.into(), mend: None, stage: Stage::Adding }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// The whole sentence that Traefik's API shows for a router with this rule.
    pub fn sentence(&self, rule: &str) -> String {
        let stage = match self.stage {
            Stage::Parsing => "parsing",
            Stage::Adding => "adding",
        };
        format!("error while parsing rule {rule}: {stage} rule {rule}: {}", self.text)
    }
}

/// Reads a rule.
pub fn parse(text: &str, syntax: Syntax) -> Result<Expr, RuleError> {
    let calls = parse::tree(text)?;
    match syntax {
        Syntax::V3 => calls.try_map(&mut matcher::from_call),
        Syntax::V2 => calls.try_graft(&mut v2::from_call),
    }
}

#[cfg(test)]
mod tests;
