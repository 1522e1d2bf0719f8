//! The path of a request as rewriting middlewares see and change it. Go keeps a decoded
//! and an encoded form side by side; prefixes are compared with the decoded one.

use std::borrow::Cow;
use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};

use super::Flow;
use crate::message::{Body, Exchange, path};

/// What was cut off.
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REPLACED_PATH: HeaderName = HeaderName::from_static("x-replaced-path");

/// What became of a rewrite.
pub(super) enum Outcome {
    /// The request has its new path.
    Done,
    /// Answer with this instead.
    Refused(Response<Body>),
}

impl From<Outcome> for Flow<Infallible> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Next,
            Outcome::Refused(response) => Self::Respond(response),
        }
    }
}

/// The answer for a path that a server could read in another way than we did.
pub(super) fn refused() -> Outcome {
    Outcome::Refused(worded(StatusCode::BAD_REQUEST, "Bad Request\n"))
}

/// The answer for a replacement that makes no path; the text is Go's.
pub(super) fn unusable(error: String) -> Outcome {
    Outcome::Refused(worded(StatusCode::INTERNAL_SERVER_ERROR, error + "\n"))
}

/// As Go's `http.Error`.
fn worded(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Puts an encoded path in place of the request's; the query stays. One that would
/// collapse when dot segments are resolved is refused: a server that does so would serve
/// another path than the one that was matched.
pub(super) fn set(exchange: &Exchange, request: &mut Request<Body>, mut path: String) -> Outcome {
    let changed = match path::after_rewrite(&path, &exchange.connection.entry_point) {
        Err(_) => return refused(),
        Ok(Cow::Borrowed(_)) => None,
        Ok(Cow::Owned(changed)) => Some(changed),
    };
    if let Some(changed) = changed {
        path = changed;
    }
    if path.contains("/.") && path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return refused();
    }
    if let Some(query) = request.uri().query() {
        path.reserve_exact(query.len() + 1);
        path.push('?');
        path.push_str(query);
    }
    // As `Bytes` it is taken over, not copied.
    let Ok(target) = PathAndQuery::from_maybe_shared(Bytes::from(path)) else { return refused() };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.path_and_query = Some(target);
    match Uri::from_parts(parts) {
        Ok(uri) => {
            *request.uri_mut() = uri;
            Outcome::Done
        }
        Err(_) => refused(),
    }
}

/// The same for a path that something of the client's was cut or moved in: there slashes
/// side by side are refused, too, as in Traefik.
pub(super) fn set_cut(exchange: &Exchange, request: &mut Request<Body>, path: String) -> Outcome {
    if path.contains("//") { refused() } else { set(exchange, request, path) }
}

/// Adds `X-Replaced-Path` with the path as it is now.
pub(super) fn remember(request: &mut Request<Body>) {
    if let Ok(value) = HeaderValue::from_str(request.uri().path()) {
        request.headers_mut().append(X_REPLACED_PATH, value);
    }
}

/// The path with all escapes resolved.
pub(super) fn decode(path: &str) -> Cow<'_, [u8]> {
    if !path.contains('%') {
        return Cow::Borrowed(path.as_bytes());
    }
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digits = (byte == b'%').then(|| (hex(ahead.next()), hex(ahead.next())));
        if let Some((Some(high), Some(low))) = digits {
            out.push(high << 4 | low);
            bytes = ahead;
        } else {
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

fn hex(byte: Option<u8>) -> Option<u8> {
    match byte? {
        byte @ b'0'..=b'9' => Some(byte - b'0'),
        byte @ b'a'..=b'f' => Some(byte - b'a' + 10),
        byte @ b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Encodes decoded bytes as Go's `URL.EscapedPath` does.
pub(super) fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_escaped(&mut out, byte);
        }
    }
    out
}

fn push_escaped(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        out.extend(DIGITS.get(usize::from(digit)));
    }
}

/// A new path, encoded, as users write it. An escape that is none is an error, and a byte
/// that may not stand in a path makes all of it be encoded anew: both as in Go.
pub(super) fn tidy(path: &str) -> Result<String, String> {
    let path = with_slash(path);
    let complete = complete(&path)?;
    Ok(if complete == path { complete } else { escape(&decode(&path)) })
}

/// The text with what may not stand in a path escaped, and what is escaped left so. An
/// escape that is none is an error, in Go's words.
pub(super) fn complete(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'%' {
            let mut digits = text.bytes().skip(at + 1);
            if hex(digits.next()).is_none() || hex(digits.next()).is_none() {
                let wrong = text.bytes().skip(at).take(3).map(char::from).collect::<String>();
                return Err(format!("invalid URL escape {wrong:?}"));
            }
            out.push('%');
        } else if byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/[]".contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_escaped(&mut out, byte);
        }
    }
    Ok(out)
}

/// Adds a query or fragment, with what may not stand in a URL at all escaped.
pub(super) fn push_printable(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>".contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_escaped(out, byte);
        }
    }
}

/// The path with a slash in front.
pub(super) fn with_slash(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(["/", path].concat()) }
}

/// The encoded path without a decoded prefix; `None` when it does not begin with it.
pub(super) fn strip(path: &str, prefix: &[u8]) -> Option<String> {
    if !path.contains('%') {
        let rest = path.as_bytes().strip_prefix(prefix)?;
        return std::str::from_utf8(rest).ok().map(|rest| with_slash(rest).into_owned());
    }
    let decoded = decode(path);
    let rest = decoded.strip_prefix(prefix)?;
    let rest = if rest.first() == Some(&b'/') {
        Cow::Borrowed(rest)
    } else {
        [b"/", rest].concat().into()
    };
    // The client's own spelling is kept where it still says the same: `/api/a%2Fb` is
    // `/a%2Fb`, but the slash that `/api%2Fx` is cut at is a slash: `/x`.
    let spelt =
        path.as_bytes().strip_prefix(prefix).and_then(|rest| std::str::from_utf8(rest).ok());
    if let Some(spelt) = spelt.map(with_slash).filter(|spelt| decode(spelt) == rest) {
        return Some(spelt.into_owned());
    }
    Some(escape(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_cut_in_the_decoded_path_and_the_rest_keeps_its_spelling() {
        for (path, prefix, rest) in [
            ("/api", "/api", Some("/")),
            ("/api/", "/api", Some("/")),
            ("/api/x/", "/api", Some("/x/")),
            ("/apix", "/api", Some("/x")),
            ("/v2/x", "/v2/", Some("/x")),
            ("/api%2Fx", "/api", Some("/x")),
            ("/api/a%2Fb", "/api", Some("/a%2Fb")),
            ("/api/a%20b", "/api", Some("/a%20b")),
            ("/api%20x", "/api", Some("/%20x")),
            ("/api/a(b)", "/api", Some("/a(b)")),
            ("/a%20b/c", "/a b", Some("/c")),
            ("/b/f%2Fo/z", "/b/f", Some("/o/z")),
            ("/api%2F..%2Fx", "/api", Some("/../x")),
            ("/x", "", Some("/x")),
            ("/other", "/api", None),
            ("/a%zz", "/a", Some("/%zz")),
        ] {
            assert_eq!(strip(path, prefix.as_bytes()).as_deref(), rest, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        let exchange = Exchange::for_tests();
        let set = |path: &str| {
            let mut request = Request::new(Body::empty());
            matches!(super::set(&exchange, &mut request, path.to_owned()), Outcome::Done)
        };
        for path in ["/.", "/..", "/./x", "/a/../b", "/a/..", "/%2e/x", "/.%2E/x", "/a/%2e%2e"] {
            assert!(!set(path), "{path}");
        }
        for path in ["/", "/a", "/.a", "/a./x", "/...", "/a..b/c", "/%2e%2e%2e", "/%2Fx", "/a//b"] {
            assert!(set(path), "{path}");
        }
    }

    #[test]
    fn new_paths_are_encoded_as_go_does() {
        for (path, tidied) in [
            ("", Ok("/")),
            ("foo", Ok("/foo")),
            ("/a%2fb", Ok("/a%2fb")),
            ("/a(b)", Ok("/a(b)")),
            ("/a b/%2f/x?y", Ok("/a%20b///x%3Fy")),
            ("/caf\u{e9}", Ok("/caf%C3%A9")),
            ("/%41", Ok("/%41")),
            ("/a%zz", Err("invalid URL escape \"%zz\"")),
            ("/a%4", Err("invalid URL escape \"%4\"")),
        ] {
            assert_eq!(tidy(path).as_deref().map_err(String::as_str), tidied, "{path}");
        }
    }
}
