//! Regular expressions as Traefik's users write them: Go's dialect, within limits, by an
//! engine whose time is linear.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// Longest source in bytes.
const LONGEST: usize = 4 * 1024;

/// Most classes far beyond ASCII in an expression that does not look at case: to fold one takes
/// ten milliseconds, and thousands fit into a line.
const MOST_FOLDED: usize = 8;

/// Compiles a regular expression in Go's dialect. The error is in Go's words where they
/// are the same: ``error parsing regexp: missing closing ): `(` ``.
pub fn compile(source: &str) -> Result<Regex, String> {
    if source.len() > LONGEST {
        return Err(format!("error parsing regexp: longer than {LONGEST} bytes"));
    }
    let translated = translate(source);
    if translated.is_folded && translated.wide > MOST_FOLDED {
        return Err(format!(
            "error parsing regexp: more than {MOST_FOLDED} classes beyond ASCII with (?i): \
             `{source}`"
        ));
    }
    RegexBuilder::new(&translated.text)
        .size_limit(1 << 20)
        .dfa_size_limit(2 << 20)
        .nest_limit(64)
        .build()
        .map_err(|error| describe(source, &error))
}

fn describe(source: &str, error: &regex::Error) -> String {
    let text = if matches!(error, regex::Error::CompiledTooBig(_)) {
        "expression nests too deeply or repeats too often".to_owned()
    } else {
        error.to_string()
    };
    let reason = text.rsplit("error: ").next().unwrap_or(&text).trim();
    let reason = match reason {
        "unclosed group" => "missing closing )",
        "unopened group" => "unexpected )",
        "unclosed character class" => "missing closing ]",
        "repetition operator missing expression" => "missing argument to repetition operator",
        "unrecognized escape sequence" => "invalid escape sequence",
        "invalid character class range, the start must be <= the end" => {
            "invalid character class range"
        }
        reason if reason.starts_with("look-around") => "invalid or unsupported Perl syntax",
        reason => reason,
    };
    format!("error parsing regexp: {reason}: `{source}`")
}

/// Go's dialect in this engine's: `\d`, `\w`, `\s` and `\b` know ASCII only, `{` that starts no
/// count is a plain brace, `\Q...\E` quotes, and classes have no set operators.
fn translate(source: &str) -> Translated {
    let mut out = Translated {
        text: String::with_capacity(source.len() + 16),
        wide: 0,
        is_folded: folds(source),
    };
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\\' => escape(rest, false, &mut out),
            '[' => class(rest, &mut out),
            '{' if !is_count(rest) => {
                out.text.push_str("\\{");
                1
            }
            plain => {
                out.text.push(plain);
                plain.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// An expression in this engine's dialect.
struct Translated {
    text: String,
    /// Classes that reach far beyond ASCII.
    wide: usize,
    /// It does not look at case, at least somewhere.
    is_folded: bool,
}

/// Whether a flag `i` is set anywhere: `(?i)`, `(?si:`.
fn folds(source: &str) -> bool {
    source.split("(?").skip(1).any(|rest| {
        let flags = rest.split(|letter: char| !letter.is_ascii_alphabetic() && letter != '-');
        flags.into_iter().next().is_some_and(|flags| flags.contains('i'))
    })
}

/// What an expression costs to compile, roughly: one is four microseconds.
pub fn weight(source: &str) -> usize {
    const EACH: usize = 128;
    let translated = translate(source);
    let wide = translated.wide * if translated.is_folded { 2048 } else { 256 };
    let mut weight = EACH + source.len() + wide;
    for (at, _) in source.match_indices('{') {
        let rest = source.get(at..).unwrap_or_default();
        if !is_count(rest) {
            continue;
        }
        let numbers = rest.get(1..).unwrap_or_default().split('}').next().unwrap_or_default();
        let most = numbers.split(',').filter_map(|number| number.parse::<usize>().ok()).max();
        let before = source.get(..at).unwrap_or_default();
        let is_large = before.ends_with([')', '}']) || translated.wide > 0;
        let each = if is_large { 4096 } else { 0 };
        weight = weight.saturating_add(each + most.unwrap_or(1).saturating_mul(16));
    }
    weight
}

/// Whether `{2}`, `{2,}` or `{2,3}` stands at the start.
fn is_count(rest: &str) -> bool {
    let Some((inner, _)) = rest.get(1..).and_then(|rest| rest.split_once('}')) else {
        return false;
    };
    let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Copies one escape; returns how much of `rest` it took.
fn escape(rest: &str, in_class: bool, out: &mut Translated) -> usize {
    let letter = rest.chars().nth(1);
    let is_wide = match letter {
        Some('p' | 'P') => true,
        Some('D' | 'W' | 'S') => in_class,
        _ => false,
    };
    out.wide += usize::from(is_wide);
    let out = &mut out.text;
    let (open, close) = if in_class { ("", "") } else { ("[", "]") };
    let class = match letter {
        Some('d') => Some((open, "0-9", close)),
        Some('w') => Some((open, "0-9A-Za-z_", close)),
        Some('s') => Some((open, "\\t\\n\\f\\r ", close)),
        Some('D') => Some(("[^", "0-9", "]")),
        Some('W') => Some(("[^", "0-9A-Za-z_", "]")),
        Some('S') => Some(("[^", "\\t\\n\\f\\r ", "]")),
        Some('b') if !in_class => Some(("(?-u:", "\\b", ")")),
        _ => None,
    };
    if let Some((open, body, close)) = class {
        out.extend([open, body, close]);
        return 2;
    }
    match letter {
        Some('Q') if !in_class => {
            let body = rest.get(2..).unwrap_or_default();
            let end = body.find("\\E");
            out.push_str(&regex::escape(body.get(..end.unwrap_or(body.len())).unwrap_or_default()));
            end.map_or(rest.len(), |end| end + 4)
        }
        Some(letter) => {
            out.push('\\');
            out.push(letter);
            1 + letter.len_utf8()
        }
        None => {
            out.push('\\');
            1
        }
    }
}

/// Copies one bracketed class; returns how much of `rest` it took.
fn class(rest: &str, out: &mut Translated) -> usize {
    out.text.push('[');
    let mut at = 1;
    if rest.get(at..).is_some_and(|rest| rest.starts_with('^')) {
        out.text.push('^');
        at += 1;
    }
    let start = at;
    while let Some(inner) = rest.get(at..).filter(|inner| !inner.is_empty()) {
        let first = inner.chars().next().unwrap_or_default();
        at += match first {
            ']' if at > start => {
                out.text.push(']');
                return at + 1;
            }
            '\\' => escape(inner, true, out),
            '[' if inner.starts_with("[:") && inner.contains(":]") => {
                let length = inner.find(":]").map_or(1, |end| end + 2);
                out.wide += usize::from(inner.starts_with("[:^"));
                out.text.push_str(inner.get(..length).unwrap_or_default());
                length
            }
            // Set operators and nested classes are this engine's, not Go's.
            '[' | ']' | '&' | '~' => {
                let _ = write!(out.text, "\\{first}");
                1
            }
            '-' if inner.starts_with("--") => {
                out.text.push_str("\\-");
                1
            }
            plain => {
                if plain == '-' {
                    out.wide += usize::from(is_far(inner.get(1..).unwrap_or_default()));
                }
                out.text.push(plain);
                plain.len_utf8()
            }
        };
    }
    at
}

/// Whether a range may end beyond ASCII here.
fn is_far(end: &str) -> bool {
    let mut letters = end.chars();
    match letters.next() {
        Some('\\') => letters.next().is_some_and(|letter| matches!(letter, 'x' | 'u' | 'U')),
        Some(letter) => !letter.is_ascii(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_dialect_is_understood() {
        let cases = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{0663}", false),
            (r"^[\w.-]+$", "a_1.b-c", true),
            (r"^[^\s]+$", "a b", false),
            (r"^[\D]+$", "ab", true),
            ("^[[]a[]]$", "[a]", true),
            ("^[a&&b]+$", "a&b", true),
            ("^[[:alpha:]]+$", "ab", true),
            ("{id}", "x{id}", true),
            (r"^a{2}$", "aa", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"\bfoo\b", "a foo b", true),
            ("(?i)FOO", "foo", true),
            ("(?P<x>a)", "a", true),
            (r"^/\w{1,200}/é.$", "/abc/éü", true),
        ];

        for (pattern, text, expected) in cases {
            assert_eq!(compile(pattern).unwrap().is_match(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn errors_are_in_go_words() {
        assert_eq!(compile("(").unwrap_err(), "error parsing regexp: missing closing ): `(`");
        assert_eq!(compile("[a").unwrap_err(), "error parsing regexp: missing closing ]: `[a`");
        assert!(compile("a(?=b)").unwrap_err().contains("invalid or unsupported Perl syntax"));
        assert!(compile("(a{1000}){1000}").is_err());
        assert!(compile(&"(".repeat(5000)).is_err());
    }

    #[test]
    fn what_takes_long_to_compile_is_refused_or_weighs_much() {
        for source in [
            "[a-\u{10ffff}]",
            r"[a-\u{10ffff}]",
            r"[a-\x{10ffff}]",
            r"\pL",
            r"[\D]",
            r"[[:^alpha:]]",
        ] {
            let many = source.repeat(MOST_FOLDED + 1);
            for folded in ["(?i)", "(?s)(?mi-s:x)", "(?P<n>x)(?-i)"] {
                let error = compile(&format!("{folded}{many}")).unwrap_err();
                assert!(error.contains("beyond ASCII"), "{source}: {error}");
            }
            assert!(compile(&many).is_ok(), "{source}");
            assert!(weight(&format!("(?i){source}")) > 2048, "{source}");
        }
        assert!(compile(&"(?i)[^/a-z]".repeat(100)).is_ok());
        for (source, least, most) in [
            ("^/api/[0-9a-f]{8}-[0-9a-f]{4}$", 300, 500),
            ("^/[^/]{1,255}$", 4000, 5000),
            (r"\pL{20}", 4096, 5000),
            ("((a{9}){9}){9}", 8192, 10000),
            ("a{1000}", 16000, 17000),
            ("{id}", 100, 200),
        ] {
            let weight = weight(source);
            assert!((least..=most).contains(&weight), "{source}: {weight}");
        }
    }
}
