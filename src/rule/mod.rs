//! Rules: text to a tree and back, with positions. Must never match a request.

pub mod constraint;
mod lex;
mod matcher;
mod parse;
mod print;
pub mod regexp;

pub use matcher::Matcher;

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
        Ok(match self {
            Self::Match(matcher) => Tree::Match(map(matcher)?),
            Self::Not(inner) => Tree::Not(Box::new(inner.try_map(map)?)),
            Self::And(all) => {
                Tree::And(all.iter().map(|one| one.try_map(map)).collect::<Result<_, _>>()?)
            }
            Self::Or(any) => {
                Tree::Or(any.iter().map(|one| one.try_map(map)).collect::<Result<_, _>>()?)
            }
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

/// Reads a v3 rule.
pub fn parse(text: &str) -> Result<Expr, RuleError> {
    parse::tree(text)?.try_map(&mut matcher::from_call)
}

#[cfg(test)]
mod tests;
