//! Paths: brought to one form at entry, so that matchers, middlewares, logs and servers
//! all see the same one (RFC 3986 section 6.2.2).

use std::borrow::Cow;

use super::EntryPoint;

/// A path that is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// A `%` without two hexadecimal digits.
    #[error("broken percent-encoding")]
    Escape,
    /// A control byte, a blank or DEL.
    #[error("control byte")]
    Control,
    /// It does not start with a slash.
    #[error("no leading slash")]
    Relative,
    /// A rewritten path that steps out through `.` or `..`.
    #[error("dot segment after a rewrite")]
    DotSegment,
}

/// How a byte of a path is treated; see [`class`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Letters, digits, `-._~`: never encoded.
    Unreserved,
    /// Encoded and plain are two things: ``:/?#[]@!$&'()*+,;=%``.
    Reserved,
    /// Not allowed plain; encoded on the way.
    Other,
    /// Refused plain.
    Control,
}

const fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
        b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'('
        | b')' | b'*' | b'+' | b',' | b';' | b'=' | b'%' => Class::Reserved,
        0..=b' ' | 0x7f => Class::Control,
        _ => Class::Other,
    }
}

/// The one form of a path: unreserved escapes decoded, the others in upper case, bytes
/// that may not stand in a path encoded; with `sanitizePath` on the entry point, dot
/// segments resolved and slashes merged. Allocates only when something changes.
pub fn normalise<'p>(path: &'p str, entry_point: &EntryPoint) -> Result<Cow<'p, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::Relative);
    }
    let encoded = encoding(path)?;
    if !entry_point.sanitize_path || !has_segments_to_clean(&encoded) {
        return Ok(encoded);
    }
    Ok(Cow::Owned(clean(&encoded)))
}

/// The same for a path that a middleware made: dot segments are refused instead of
/// resolved, since they would lead out of what the router matched (`stripPrefix` of `/a`
/// from `/a../b`). Double slashes stay, as the middleware meant them.
pub fn after_rewrite<'p>(path: &'p str, entry_point: &EntryPoint) -> Result<Cow<'p, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::Relative);
    }
    let encoded = encoding(path)?;
    let steps = entry_point.sanitize_path && encoded.split('/').any(|s| s == "." || s == "..");
    if steps { Err(BadPath::DotSegment) } else { Ok(encoded) }
}

/// The path for matching, from a normalised one: escapes decoded but for reserved
/// characters and what would not be UTF-8.
pub fn routing(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%'
            && let Some((decoded, tail)) = escape(tail)
            && class(decoded) != Class::Reserved
        {
            out.push(decoded);
            rest = tail;
            continue;
        }
        out.push(byte);
        rest = tail;
    }
    // A path with bytes that are no text is matched as it is written.
    String::from_utf8(out).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// Whether a normalised path holds an escape that the entry point refuses
/// (`encodedCharacters`).
pub fn is_refused(path: &str, entry_point: &EntryPoint) -> bool {
    !entry_point.refused_escapes.is_empty()
        && path.contains('%')
        && entry_point.refused_escapes.iter().any(|escape| path.contains(escape))
}

/// The query as it is sent on: `;` splits as `&` does, or is encoded.
pub fn query<'q>(query: &'q str, entry_point: &EntryPoint) -> Cow<'q, str> {
    if !query.contains(';') {
        return Cow::Borrowed(query);
    }
    let with = if entry_point.encode_query_semicolons { "%3B" } else { "&" };
    Cow::Owned(query.replace(';', with))
}

/// Percent-encoding brought to one form.
fn encoding(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let plain = |byte: &u8| !matches!(class(*byte), Class::Unreserved | Class::Reserved);
    let Some(first) = path.bytes().position(|byte| byte == b'%' || plain(&byte)) else {
        return Ok(Cow::Borrowed(path));
    };
    let mut out = String::with_capacity(path.len() + 16);
    out.push_str(path.get(..first).unwrap_or_default());
    let mut rest = path.as_bytes().get(first..).unwrap_or_default();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (decoded, tail) = escape(tail).ok_or(BadPath::Escape)?;
            rest = tail;
            if class(decoded) == Class::Unreserved {
                out.push(char::from(decoded));
            } else {
                push_escape(&mut out, decoded);
            }
            continue;
        }
        match class(byte) {
            Class::Unreserved | Class::Reserved => out.push(char::from(byte)),
            Class::Other => push_escape(&mut out, byte),
            Class::Control => return Err(BadPath::Control),
        }
    }
    Ok(if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) })
}

/// The byte behind a `%`, and what follows.
fn escape(tail: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], tail) = tail.split_first_chunk::<2>()?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some((digit(high)? << 4 | digit(low)?, tail))
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    out.push('%');
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

fn has_segments_to_clean(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.windows(2).any(|pair| matches!(pair, [b'/', b'/' | b'.']))
}

/// As Go's `URL.JoinPath`: dot segments resolved, slashes merged, a trailing slash kept.
fn clean(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() || path.ends_with('/') {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry_point(sanitize_path: bool) -> EntryPoint {
        EntryPoint { sanitize_path, ..EntryPoint::for_tests() }
    }

    #[test]
    fn paths_are_brought_to_one_form_as_traefik_does() {
        let on = entry_point(true);
        let off = entry_point(false);
        for (sent, cleaned, raw) in [
            ("/", "/", "/"),
            ("/a/../b", "/b", "/a/../b"),
            ("//a//b", "/a/b", "//a//b"),
            ("/a/./b", "/a/b", "/a/./b"),
            ("/a%2e%2e/b", "/a../b", "/a../b"),
            ("/%2e%2e/b", "/b", "/../b"),
            ("/a\\b", "/a%5Cb", "/a%5Cb"),
            ("/caf\u{e9}", "/caf%C3%A9", "/caf%C3%A9"),
            ("/a%2fb", "/a%2Fb", "/a%2Fb"),
            ("/%41", "/A", "/A"),
            ("/a/", "/a/", "/a/"),
            ("/a/..", "/", "/a/.."),
            ("/a/b/..", "/a", "/a/b/.."),
            ("/a/b/../", "/a/", "/a/b/../"),
            ("/../../x", "/x", "/../../x"),
            ("/.a/..b", "/.a/..b", "/.a/..b"),
            ("//evil.example", "/evil.example", "//evil.example"),
        ] {
            assert_eq!(normalise(sent, &on).as_deref(), Ok(cleaned), "{sent} cleaned");
            assert_eq!(normalise(sent, &off).as_deref(), Ok(raw), "{sent} raw");
        }
    }

    #[test]
    fn nothing_is_allocated_when_nothing_changes() {
        let on = entry_point(true);
        for path in ["/", "/api/users/7", "/a%2Fb%20c", "/a:b@c;d=e"] {
            assert!(matches!(normalise(path, &on), Ok(Cow::Borrowed(_))), "{path}");
        }
    }

    #[test]
    fn broken_escapes_and_control_bytes_are_refused() {
        let on = entry_point(true);
        for (path, error) in [
            ("/%", BadPath::Escape),
            ("/%4", BadPath::Escape),
            ("/%zz", BadPath::Escape),
            ("/a b", BadPath::Control),
            ("/a\u{7f}", BadPath::Control),
            ("*", BadPath::Relative),
            ("", BadPath::Relative),
        ] {
            assert_eq!(normalise(path, &on), Err(error), "{path}");
        }
    }

    #[test]
    fn matching_sees_reserved_escapes_only() {
        for (path, matched) in [
            ("/foo%20bar", "/foo bar"),
            ("/a%2Fb", "/a%2Fb"),
            ("/caf%C3%A9", "/caf\u{e9}"),
            ("/%FF", "/%FF"),
            ("/100%25", "/100%25"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(routing(path), matched);
        }
    }

    #[test]
    fn a_rewrite_cannot_step_out() {
        let on = entry_point(true);
        assert_eq!(after_rewrite("/../b", &on), Err(BadPath::DotSegment));
        assert_eq!(after_rewrite("/%2e%2E/b", &on), Err(BadPath::DotSegment));
        assert_eq!(after_rewrite("/..b//c", &on).as_deref(), Ok("/..b//c"));
        assert_eq!(after_rewrite("/../b", &entry_point(false)).as_deref(), Ok("/../b"));
    }

    #[test]
    fn semicolons_split_queries_or_are_encoded() {
        let mut entry_point = entry_point(true);
        assert_eq!(query("a=1;b=2", &entry_point), "a=1&b=2");
        entry_point.encode_query_semicolons = true;
        assert_eq!(query("a=1;b=2", &entry_point), "a=1%3Bb=2");
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(path in "/[a-z./%0-9A-F\\\\;{}]{0,24}") {
            let on = entry_point(true);
            if let Ok(once) = normalise(&path, &on) {
                let twice = normalise(&once, &on);
                prop_assert_eq!(twice.as_deref(), Ok(once.as_ref()));
                prop_assert!(!once.split('/').any(|s| s == ".."));
            }
        }
    }
}
