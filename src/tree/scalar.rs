//! Single values out of text, as Go reads them, and the words for those that are none.

use std::fmt;
use std::str::FromStr;

use super::failure::Failure;
use super::suggest;

/// What a place takes.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// `true` or `false`.
    Bool,
    /// A whole number, perhaps negative.
    Whole,
    /// A whole number from 0 to this.
    Count(u64),
    /// A number with a fraction.
    Number,
    /// Any text.
    Text,
    /// One of some words.
    Word,
}

impl Asked {
    /// What to write.
    pub(super) fn mend(self) -> &'static str {
        match self {
            Self::Bool => "write true or false",
            Self::Whole | Self::Count(_) => "write a number without unit or fraction, such as 10",
            Self::Number => "write a number such as 0.5",
            Self::Text => "write one text",
            Self::Word => "write one word",
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Count(most) => write!(f, "a whole number from 0 to {most}"),
            Self::Whole => f.write_str("a whole number"),
            Self::Number => f.write_str("a number such as 0.5"),
            Self::Text => f.write_str("one text"),
            Self::Word => f.write_str("one word"),
        }
    }
}

/// Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, Failure> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(refusal(text, Asked::Bool)),
    }
}

/// A number, or why it is none.
pub(super) fn parse<T: FromStr>(text: &str, asked: Asked) -> Result<T, Failure> {
    text.parse().map_err(|_| refusal(text, asked))
}

fn refusal(text: &str, asked: Asked) -> Failure {
    let text = if text.is_empty() {
        format!("takes {asked}, and nothing is given")
    } else {
        format!("takes {asked}, not {}", quoted(text))
    };
    Failure::refused(text, asked.mend())
}

/// The words for a value that is none of the allowed ones.
pub(super) fn no_variant(text: &str, variants: &[&'static str]) -> Failure {
    let allowed = match variants {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => variants.join(", "),
    };
    let mend = match suggest::nearest(text, variants.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write `{}` or another of these", variants.first().unwrap_or(&"")),
    };
    Failure::refused(format!("takes {allowed}, not {}", quoted(text)), mend)
}

/// A value for a message: escaped, and cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_gos() {
        for text in ["1", "t", "T", "true", "TRUE", "True", " true "] {
            assert_eq!(boolean(text).ok(), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(boolean(text).ok(), Some(false), "{text}");
        }
        for (text, said) in [
            ("yes", "takes true or false, not \"yes\""),
            ("", "takes true or false, and nothing is given"),
        ] {
            assert_eq!(boolean(text).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(quoted(&"x".repeat(90)).len(), 85);
    }
}
