//! Query parameters as Go reads them, compared without building a map.

use std::str;

use regex::Regex;
use smallvec::SmallVec;

/// What stands between two parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Separators {
    /// `&` and, as Traefik by default, `;`.
    #[default]
    AmpersandAndSemicolon,
    /// `&` only, for entry points with `encodeQuerySemicolons`.
    Ampersand,
}

impl Separators {
    fn is(self, letter: char) -> bool {
        letter == '&' || letter == ';' && self == Self::AmpersandAndSemicolon
    }
}

/// Whether any parameter `key` has exactly this value.
pub(super) fn has(query: &str, separators: Separators, key: &str, value: &str) -> bool {
    parameters(query, separators, key).any(|raw| is(raw, value))
}

/// Whether any parameter `key` has a value that matches.
pub(super) fn matches(query: &str, separators: Separators, key: &str, pattern: &Regex) -> bool {
    parameters(query, separators, key).any(|raw| fits(raw, pattern))
}

/// Whether the first parameter `key` has a value that matches.
pub(super) fn first_matches(
    query: &str,
    separators: Separators,
    key: &str,
    pattern: &Regex,
) -> bool {
    parameters(query, separators, key).next().is_some_and(|raw| fits(raw, pattern))
}

fn fits(raw: &str, pattern: &Regex) -> bool {
    let decoded: SmallVec<[u8; 256]> = decode(raw).collect();
    match str::from_utf8(&decoded) {
        Ok(text) => pattern.is_match(text),
        Err(_) => pattern.is_match(&String::from_utf8_lossy(&decoded)),
    }
}

/// The raw values of one key. As Go: a pair with a broken escape is no pair.
fn parameters<'a>(
    query: &'a str,
    separators: Separators,
    key: &'a str,
) -> impl Iterator<Item = &'a str> {
    query
        .split(move |letter| separators.is(letter))
        .filter(|pair| !pair.is_empty() && is_sound(pair))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(name, _)| is(name, key))
        .map(|(_, value)| value)
}

/// Whether every `%` is followed by two hexadecimal digits.
fn is_sound(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut bytes = after.bytes();
        let mut is_digit = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        is_digit() && is_digit()
    })
}

fn is(raw: &str, text: &str) -> bool {
    if raw.contains(['%', '+']) { decode(raw).eq(text.bytes()) } else { raw == text }
}

/// Escapes and `+` resolved; the text is sound.
fn decode(raw: &str) -> impl Iterator<Item = u8> {
    let mut bytes = raw.bytes();
    std::iter::from_fn(move || {
        Some(match bytes.next()? {
            b'%' => digit(bytes.next()?) << 4 | digit(bytes.next()?),
            b'+' => b' ',
            plain => plain,
        })
    })
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_go_does() {
        let cases = [
            ("a=1&b=2", "b", "2", true),
            ("a=1;b=2", "b", "2", true),
            ("only", "only", "", true),
            ("only=1", "only", "", false),
            ("a=1&a=2", "a", "2", true),
            ("na%6De=x+y%2B", "name", "x y+", true),
            ("a=%zz", "a", "%zz", false),
            ("a=b=c", "a", "b=c", true),
            ("", "a", "", false),
            ("&&", "", "", false),
        ];
        for (query, key, value, expected) in cases {
            assert_eq!(has(query, Separators::default(), key, value), expected, "{query}");
        }

        assert!(has("a=1;b=2", Separators::Ampersand, "a", "1;b=2"));
        assert!(matches("a=x%31", Separators::Ampersand, "a", &Regex::new("^x1$").unwrap()));
    }
}
