//! Queries in spans: every value redacted but for those that are named as safe.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const REDACTED: &[u8] = b"REDACTED";

/// The query with its values redacted. As Traefik, which has it from Go: sorted by name, one
/// value for each that is redacted, and without pairs that Go does not take.
pub fn redact(query: &str, safe: &[Box<str>]) -> String {
    let mut pairs: BTreeMap<Cow<'_, [u8]>, Vec<Cow<'_, [u8]>>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else { continue };
        let is_safe = safe.iter().any(|safe| *safe.as_bytes() == *name);
        let values = pairs.entry(name).or_default();
        if is_safe {
            values.push(value);
        } else if values.is_empty() {
            values.push(REDACTED.into());
        }
    }
    let mut out = String::with_capacity(query.len());
    for (name, values) in &pairs {
        for value in values {
            if !out.is_empty() {
                out.push('&');
            }
            push(&mut out, name);
            out.push('=');
            push(&mut out, value);
        }
    }
    out
}

/// `None` for a `%` that is followed by anything but two digits.
fn decoded(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains(['%', '+']) {
        return Some(text.as_bytes().into());
    }
    let mut bytes = text.as_bytes().iter();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high << 4 | low).ok()?
            }
            byte => *byte,
        });
    }
    Some(out.into())
}

fn push(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            b' ' => out.push('+'),
            // Writing to a string does not fail.
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_values_are_shown() {
        let safe = ["safe".into(), "a b".into()];
        for (query, shown) in [
            ("", ""),
            ("q=1&safe=2", "q=REDACTED&safe=2"),
            ("z=1&a=2&a=3", "a=REDACTED&z=REDACTED"),
            ("safe=1&safe=2", "safe=1&safe=2"),
            ("x", "x=REDACTED"),
            ("a+b=%c3%a4%20", "a+b=%C3%A4+"),
            ("a;b=1&c=%zz&d=%4&safe=1", "safe=1"),
            ("&&=x", "=REDACTED"),
        ] {
            assert_eq!(redact(query, &safe), shown, "{query}");
        }
    }
}
