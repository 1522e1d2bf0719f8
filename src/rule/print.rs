//! Trees to text; what is printed parses to the same tree.

use std::fmt::{self, Display, Formatter, Write};

use super::{Expr, Matcher, Tree};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match(matcher) => matcher.fmt(f),
            Self::Not(inner) => {
                f.write_char('!')?;
                operand(inner, f)
            }
            Self::And(parts) => joined(parts, " && ", f),
            Self::Or(parts) => joined(parts, " || ", f),
        }
    }
}

fn joined(parts: &[Expr], operator: &str, f: &mut Formatter<'_>) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(operator)?;
        }
        operand(part, f)?;
    }
    Ok(())
}

/// A part of a larger expression: what has an operator of its own goes in parentheses.
fn operand(part: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    match part {
        Tree::Match(_) | Tree::Not(_) => part.fmt(f),
        Tree::And(_) | Tree::Or(_) => write!(f, "({part})"),
    }
}

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name())?;
        for (index, one) in self.arguments().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&argument(one))?;
        }
        f.write_char(')')
    }
}

/// An argument in back-ticks, or in double quotes when it holds what these can't.
pub(super) fn argument(text: &str) -> String {
    if !text.contains(|letter: char| letter == '`' || letter.is_control()) {
        return format!("`{text}`");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                // A control character is below U+00A0.
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
