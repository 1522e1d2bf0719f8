//! Templates of the v2 syntax: literal text with `{name:pattern}` parts, for hosts, paths and
//! query parameters.

use super::print::argument;
use super::regexp;

/// What a template stands for; a part without a pattern of its own takes this much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part is one label; case does not count.
    Host,
    /// A part is one segment.
    Path,
    /// A part is one segment, and more may follow.
    PathPrefix,
    /// A part is anything.
    Query,
}

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    /// The text before the first part.
    literal: String,
    pattern: String,
    has_parts: bool,
}

impl Template {
    /// As written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What everything that fits begins with.
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// The same as a regular expression in Go's dialect.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether it is more than literal text.
    pub(super) fn has_parts(&self) -> bool {
        self.has_parts
    }

    /// Reads one. `named` is how errors call it. The errors are Traefik's.
    pub(super) fn read(source: &str, named: &str, kind: Kind) -> Result<Self, String> {
        let (open, anything) = match kind {
            Kind::Host => ("(?i)^", "[^.]+"),
            Kind::Path | Kind::PathPrefix => ("^", "[^/]+"),
            Kind::Query => ("^", ".*"),
        };
        let mut template = Self {
            source: source.to_owned(),
            literal: String::new(),
            pattern: open.to_owned(),
            has_parts: false,
        };
        let mut rest = source;
        while let Some((before, part, after)) = split(rest, named)? {
            template.push_literal(before);
            let (name, pattern) = part.split_once(':').unwrap_or((part, anything));
            if name.is_empty() || pattern.is_empty() {
                return Err(format!("mux: missing name or pattern in \"{{{part}}}\""));
            }
            // By itself first, so that no part can close the group it stands in.
            regexp::compile(&format!("^{pattern}$"))?;
            template.pattern.extend(["(?:", pattern, ")"]);
            template.has_parts = true;
            rest = after;
        }
        template.push_literal(rest);
        if kind != Kind::PathPrefix {
            template.pattern.push('$');
        }
        regexp::compile(&template.pattern)?;
        Ok(template)
    }

    /// A host without parts, whatever it holds.
    pub(super) fn literal_host(name: &str) -> Self {
        Self {
            source: name.to_owned(),
            literal: name.to_owned(),
            pattern: format!("(?i)^{}$", regex::escape(name)),
            has_parts: false,
        }
    }

    fn push_literal(&mut self, text: &str) {
        if !self.has_parts {
            self.literal.push_str(text);
        }
        self.pattern.push_str(&regex::escape(text));
    }
}

/// The text before the next part, the part without its braces, and the text after it. Braces
/// within a part, such as those of `[a-z]{2}`, are its own when they are in pairs.
fn split<'a>(text: &'a str, named: &str) -> Result<Option<(&'a str, &'a str, &'a str)>, String> {
    let unbalanced = || format!("mux: unbalanced braces in {}", quoted(named));
    let mut open = None;
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => {
                open.get_or_insert(at);
                depth += 1;
            }
            b'}' => {
                depth = depth.checked_sub(1).ok_or_else(unbalanced)?;
                if let Some(open) = open.filter(|_| depth == 0) {
                    let part = text.get(open + 1..at).unwrap_or_default();
                    let (before, after) = (text.get(..open), text.get(at + 1..));
                    return Ok(Some((before.unwrap_or_default(), part, after.unwrap_or_default())));
                }
            }
            _ => {}
        }
    }
    if depth > 0 { Err(unbalanced()) } else { Ok(None) }
}

fn quoted(text: &str) -> String {
    let text = argument(text);
    // In back-ticks unless it holds some; Go's %q always takes double quotes.
    match text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
        Some(plain) => format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"")),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(source: &str, kind: Kind, text: &str) -> bool {
        let template = Template::read(source, source, kind).unwrap();
        regexp::compile(template.pattern()).unwrap().is_match(text)
    }

    #[test]
    fn parts_take_what_their_kind_takes() {
        let cases = [
            ("{sub:[a-z]+}.test", Kind::Host, "a.test", true),
            ("{sub:[A-Z]+}.Test", Kind::Host, "a.test", true),
            ("{sub}.test", Kind::Host, "a.b.test", false),
            ("{x:a|b}.test", Kind::Host, "b.test", true),
            ("a.test", Kind::Host, "axtest", false),
            ("^a$", Kind::Host, "a", false),
            ("/a/{id}", Kind::Path, "/a/12", true),
            ("/a/{id}", Kind::Path, "/a/12/x", false),
            ("/a/{id}", Kind::PathPrefix, "/a/12/x", true),
            ("/{x:[a-z]{2}}", Kind::Path, "/ab", true),
            ("/{x:a|b}c", Kind::PathPrefix, "/a", false),
            ("/{x:a}{y:b}", Kind::Path, "/ab", true),
            ("x{y}z", Kind::Query, "xyz", true),
            ("{y}", Kind::Query, "", true),
        ];
        for (source, kind, text, expected) in cases {
            assert_eq!(fits(source, kind, text), expected, "{source} on {text}");
        }
    }

    #[test]
    fn the_literal_ends_at_the_first_part() {
        for (source, literal) in [("/a/{id}/b", "/a/"), ("/a", "/a"), ("/{x}{y}", "/")] {
            let template = Template::read(source, source, Kind::Path).unwrap();
            assert_eq!(template.literal(), literal, "{source}");
        }
    }

    /// The texts are those that Traefik 3.7.15 answers.
    #[test]
    fn errors_are_in_traefik_words() {
        let cases = [
            ("{a", r#"mux: unbalanced braces in "{a""#),
            ("a}", r#"mux: unbalanced braces in "a}""#),
            ("{:x}", r#"mux: missing name or pattern in "{:x}""#),
            ("{x:}", r#"mux: missing name or pattern in "{x:}""#),
            ("{x:(}", "error parsing regexp: missing closing ): `^($`"),
            ("{x:a)(b}", "error parsing regexp: unexpected ): `^a)(b$`"),
        ];
        for (source, text) in cases {
            assert_eq!(Template::read(source, source, Kind::Host).unwrap_err(), text, "{source}");
        }
    }
}
