//! Constraints: which containers a provider takes, by their labels.

use std::collections::BTreeMap;

use regex::Regex;

use super::parse::{Call, tree};
use super::{RuleError, Tree, regexp};
use crate::tree::suggest::nearest;

/// An expression over labels: ``Label(`a`, `b`) && !LabelRegex(`c`, `^d`)``.
#[derive(Clone, Debug)]
pub struct Constraint(Tree<Test>);

#[derive(Clone, Debug)]
enum Test {
    Equals { key: String, value: String },
    Matches { key: String, pattern: Regex },
}

/// Reads a constraint. Names keep their case.
pub fn parse(text: &str) -> Result<Constraint, RuleError> {
    tree(text)?.try_map(&mut test).map(Constraint)
}

impl Constraint {
    /// Whether a container with these labels is taken. A label that is absent counts as
    /// empty.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = |key: &str| labels.get(key).map_or("", String::as_str);
        self.0.holds(&mut |test| match test {
            // As Traefik: an absent label is the same as an empty one.
            Test::Equals { key, value } => label(key) == value,
            Test::Matches { key, pattern } => pattern.is_match(label(key)),
        })
    }
}

fn test(call: &Call) -> Result<Test, RuleError> {
    const KNOWN: [&str; 2] = ["Label", "LabelRegex"];
    if !KNOWN.contains(&call.name.as_str()) {
        let name = &call.name;
        let error =
            RuleError::parsing(call.name_span.clone(), format!("unsupported function: {name}"));
        return Err(match nearest(name, KNOWN) {
            Some(known) => error.mend(format!("did you mean `{known}`?")),
            None => error.mend("constraints know `Label` and `LabelRegex`"),
        });
    }
    let [key, value] = call.arguments.as_slice() else {
        let text = format!("{} takes 2 arguments, not {}", call.name, call.arguments.len());
        return Err(RuleError::adding(call.span.clone(), text)
            .mend(format!("write {}(`key`, `value`)", call.name)));
    };
    let key = key.clone();
    if call.name == "Label" {
        return Ok(Test::Equals { key, value: value.clone() });
    }
    match regexp::compile(value) {
        Ok(pattern) => Ok(Test::Matches { key, pattern }),
        Err(text) => Err(RuleError::adding(call.span.clone(), text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_selects_by_labels() {
        let labels: BTreeMap<String, String> =
            [("tier", "web"), ("team", "blue-1")].map(|(k, v)| (k.into(), v.into())).into();
        let cases = [
            ("Label(`tier`, `web`)", true),
            ("Label(`tier`, `api`)", false),
            ("Label(\"tier\",\"web\") && LabelRegex(`team`, `blue`)", true),
            ("LabelRegex(`team`, `^lue`)", false),
            ("!Label(`none`, `x`)", true),
            ("LabelRegex(`none`, `^$`)", true),
            ("Label(`none`, ``)", true),
            ("Label(`a`, `b`) || (Label(`tier`, `web`) && !Label(`team`, `red`))", true),
        ];

        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap().matches(&labels), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_constraint_says_what_is_wrong_and_how_to_mend_it() {
        let unknown = parse("label(`a`, `b`)").unwrap_err();
        assert_eq!(unknown.text, "unsupported function: label");
        assert_eq!(unknown.mend.as_deref(), Some("did you mean `Label`?"));

        assert_eq!(parse("Label(`a`)").unwrap_err().text, "Label takes 2 arguments, not 1");
        assert!(parse("LabelRegex(`a`, `(`)").unwrap_err().text.contains("missing closing )"));
    }
}
