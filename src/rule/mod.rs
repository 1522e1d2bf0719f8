//! Rules: text to a tree and back, with positions. Must never match a request.

/// A rule as a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// One matcher.
    Match(Matcher),
    /// Not.
    Not(Box<Expr>),
    /// All; at least two.
    And(Vec<Expr>),
    /// Any; at least two.
    Or(Vec<Expr>),
}

/// A matcher with its arguments, checked for their number but not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// `Host`.
    Host(String),
    /// `HostRegexp`.
    HostRegexp(String),
    /// `Path`.
    Path(String),
    /// `PathPrefix`.
    PathPrefix(String),
    /// `PathRegexp`.
    PathRegexp(String),
    /// `Method`.
    Method(String),
    /// `Header`.
    Header(String, String),
    /// `HeaderRegexp`.
    HeaderRegexp(String, String),
    /// `Query`.
    Query(String, Option<String>),
    /// `QueryRegexp`.
    QueryRegexp(String, Option<String>),
    /// `ClientIP`.
    ClientIp(String),
}

/// A rule that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RuleError {
    /// Byte range in the rule.
    pub span: std::ops::Range<usize>,
    /// In Traefik's words where it has any: `unsupported function: Hostt`.
    pub text: String,
    /// What was expected or the nearest known name.
    pub mend: Option<String>,
}

/// Reads a v3 rule.
pub fn parse(_text: &str) -> Result<Expr, RuleError> {
    todo!()
}
