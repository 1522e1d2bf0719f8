//! Figures, spans and rules in plain words.

use std::time::{Duration, SystemTime};

use crate::rule::{self, Expr, Matcher, Syntax, Tree};

/// How long ago: `12 s`, `3 min`, `5 h`, `2 d`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago a moment was; nothing when the clock was set back.
pub(super) fn ago(moment: SystemTime, now: SystemTime) -> String {
    span(now.duration_since(moment).unwrap_or_default())
}

/// A count with thin gaps: `12 345`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + 6);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `1 server`, `2 servers`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The same of large counts: `12 345 requests`.
pub(super) fn plural_of(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(number)) }
}

/// A line of a rule in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// How deep it stands.
    pub(super) depth: usize,
    /// `host is`, `all of`.
    pub(super) text: String,
    /// What it is compared with.
    pub(super) values: Vec<String>,
}

/// A rule in words, one line per condition; nothing when it does not parse.
pub(super) fn conditions(rule: &str, syntax: Syntax) -> Vec<Condition> {
    let mut lines = Vec::new();
    if let Ok(expression) = rule::parse(rule, syntax) {
        // That all must hold needs no heading at the top.
        let parts = match &expression {
            Tree::And(parts) => parts.as_slice(),
            Tree::Match(_) | Tree::Not(_) | Tree::Or(_) => std::slice::from_ref(&expression),
        };
        for part in parts {
            tell(part, 0, false, &mut lines);
        }
    }
    lines
}

fn tell(expression: &Expr, depth: usize, negated: bool, lines: &mut Vec<Condition>) {
    let heading = |text: &str| Condition { depth, text: text.to_owned(), values: Vec::new() };
    match expression {
        Tree::Match(matcher) => lines.push(Condition {
            depth,
            text: phrase(matcher, negated).to_owned(),
            values: matcher.arguments().map(str::to_owned).collect(),
        }),
        Tree::Not(inner) => tell(inner, depth, !negated, lines),
        Tree::And(parts) => {
            lines.push(heading(if negated { "not all of" } else { "all of" }));
            for part in parts {
                tell(part, depth + 1, false, lines);
            }
        }
        Tree::Or(parts) => {
            lines.push(heading(if negated { "none of" } else { "any of" }));
            for part in parts {
                tell(part, depth + 1, false, lines);
            }
        }
    }
}

fn phrase(matcher: &Matcher, negated: bool) -> &'static str {
    match (matcher.name(), negated) {
        ("Host", false) => "host is",
        ("Host", true) => "host is not",
        ("HostRegexp", false) => "host fits the pattern",
        ("HostRegexp", true) => "host does not fit the pattern",
        ("Path", false) => "path is",
        ("Path", true) => "path is not",
        ("PathPrefix", false) => "path begins with",
        ("PathPrefix", true) => "path does not begin with",
        ("PathRegexp", false) => "path fits the pattern",
        ("PathRegexp", true) => "path does not fit the pattern",
        ("Method", false) => "method is",
        ("Method", true) => "method is not",
        ("Header", false) => "header has the value",
        ("Header", true) => "header does not have the value",
        ("HeaderRegexp", false) => "header fits the pattern",
        ("HeaderRegexp", true) => "header does not fit the pattern",
        ("Query", false) => "query has",
        ("Query", true) => "query does not have",
        ("QueryRegexp", false) => "query fits the pattern",
        ("QueryRegexp", true) => "query does not fit the pattern",
        ("ClientIP", false) => "client address is in",
        ("ClientIP", true) => "client address is not in",
        (_, false) => "matches",
        (_, true) => "does not match",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_counts_are_short() {
        let cases = [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (172_800, "2 d")];
        for (seconds, text) in cases {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(plural(1, "server"), "1 server");
        assert_eq!(plural(0, "server"), "0 servers");
    }

    #[test]
    fn rules_are_told_line_by_line() {
        let told = |rule: &str| {
            conditions(rule, Syntax::V3)
                .into_iter()
                .map(|line| {
                    format!("{}{} {}", "  ".repeat(line.depth), line.text, line.values.join(", "))
                })
                .collect::<Vec<_>>()
        };

        assert_eq!(
            told("Host(`a.test`) && (PathPrefix(`/x`) || !Method(`GET`))"),
            ["host is a.test", "any of ", "  path begins with /x", "  method is not GET"]
        );
        assert_eq!(
            told("!(Host(`a`) && Host(`b`))"),
            ["not all of ", "  host is a", "  host is b"]
        );
        assert!(told("Hostt(`a`)").is_empty());
    }
}
